"""What still depends on Vapi, and what must be so before it is left: facts in, findings out.

Pure. Owns the rules of leaving: each finding names what depends, why, and the fix. ``blocks``: it
has to go first. ``ask``: it cannot be proved from here, so a person answers for it, with a why.
``note``: to be known. It must not look anything up, and it does not decide what follows.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final, Literal
from urllib.parse import urlsplit

Weight = Literal["blocks", "ask", "note"]
_ORDER: Final = ("blocks", "ask", "note")
CONFIRMATION: Final = "leave vapi"
# What lay further back says nothing of today: a week has every weekday in it.
LATELY: Final = dt.timedelta(days=7)
# An export that is older may lack calls that matter; making it again costs little.
EXPORT_GOOD_FOR: Final = dt.timedelta(hours=24)
VAPI_DOMAIN: Final = "vapi.ai"
_MOST_NAMED: Final = 5


@dataclass(frozen=True, slots=True)
class Dependency:
    """One thing that speaks against leaving. ``key`` is the same at every look."""

    code: str
    weight: Weight
    subject: str
    cause: str
    fix: str

    @property
    def key(self) -> str:
        """Return what an acceptance of it is stored under."""
        return f"{self.code}:{self.subject}" if self.subject else self.code


@dataclass(frozen=True, slots=True)
class AtTwilio:
    """The addresses that a number has at Twilio, its TwiML app's where that decides."""

    voice_url: str = field(default="", repr=False)
    voice_fallback_url: str = field(default="", repr=False)
    status_callback: str = field(default="", repr=False)
    sms_url: str = field(default="", repr=False)
    sms_fallback_url: str = field(default="", repr=False)
    is_on_trunk: bool = False


@dataclass(frozen=True, slots=True)
class LeavingNumber:
    """A number that is known here.

    Attributes:
        label: the number as staff know it.
        outside: the route outside the windows of its schedule, '' without one.
        handed: calls of the last week that were handed to the old stack, by the route's code.
        second_site: the address that answers when we do not, once Vapi is closed; '' for none.
        second_problem: why that address cannot be relied on, '' when it can.
        at_twilio: None when Twilio could not be asked, or has no such number.
        open_work: an open move, incident or plan, each in words.
    """

    label: str
    route: str
    canary_percent: int = 0
    outside: str = ""
    handed: Mapping[str, int] = field(default_factory=dict)
    second_site: str = field(default="", repr=False)
    second_problem: str = ""
    at_twilio: AtTwilio | None = None
    open_work: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Stranger:
    """A number that is not answered here: at Twilio and without a row, or bought from Vapi."""

    label: str
    kind: Literal["at_twilio", "vapi_owned", "kept"]


@dataclass(frozen=True, slots=True)
class VapiAccount:
    """What Vapi's API says. ``changed``: objects that differ from what was imported, by name.

    ``since_export`` are calls that are newer than the last export; ``lately`` those of the last
    week, by type.
    """

    changed: tuple[str, ...] = ()
    since_export: int = 0
    lately: Mapping[str, int] = field(default_factory=dict)
    newest_at: dt.datetime | None = None


@dataclass(frozen=True, slots=True)
class Exported:
    """The last export. ``vapi_calls`` is None where Vapi's own records were not asked for."""

    at: dt.datetime
    vapi_calls: int | None = None
    missing: int = 0
    is_verified: bool = True


@dataclass(frozen=True, slots=True)
class LeavingFacts:
    """All that the rules look at. ``live_at_vapi``: calls that are on there now.

    ``unread`` are accounts of Twilio that could not be asked, with why; ``unknown_routes`` what
    scripts asked for here lately and we lack; ``vapi`` is None without a key or an answer.
    """

    now: dt.datetime
    numbers: Sequence[LeavingNumber]
    strangers: Sequence[Stranger] = ()
    unread: Sequence[tuple[str, str]] = ()
    live_at_vapi: int = 0
    recordings_underway: int = 0
    unknown_routes: Sequence[tuple[str, int]] = ()
    vapi: VapiAccount | None = None
    vapi_problem: str = ""
    exported: Exported | None = None
    vapi_hosts: frozenset[str] = frozenset()


# What no row and no API shows; said on the page and in the report, so that nobody believes more.
UNSEEN: Final = (
    "Requests that your scripts send to Vapi with one of its keys: Vapi shows no list of them by "
    "its API.",
    "Pages and apps that start calls with Vapi's public key, unless they made one in the last week "
    "and a private key was given.",
    "Servers of yours that accept requests from Vapi's addresses or with its secret: they go on "
    "accepting them.",
    "What others have stored of Vapi's addresses of recordings: they end with the account.",
)


def is_at_vapi(url: str, hosts: frozenset[str] = frozenset()) -> bool:
    """Tell whether an address lies at Vapi; ``hosts`` are further hosts of it, e.g. a stand-in."""
    try:
        parts = urlsplit(url.strip())
        host = (parts.hostname or "").rstrip(".").lower()
        place = f"{host}:{parts.port}" if parts.port else host
    except ValueError:
        return False
    return host == VAPI_DOMAIN or host.endswith(f".{VAPI_DOMAIN}") or place in hosts


def dependencies(facts: LeavingFacts) -> tuple[Dependency, ...]:
    """Return what depends on Vapi, the worst first; of the numbers in their order."""
    found: list[Dependency] = []
    for number in facts.numbers:
        found += _of_route(number)
        found += _of_calls(number)
        found += _of_twilio(number, facts.vapi_hosts)
        found += _of_net(number)
        found += _of_work(number)
    found += [_of_stranger(each) for each in facts.strangers]
    found += [_of_account(label, why) for label, why in facts.unread]
    found += _of_now(facts)
    found += _of_scripts(facts)
    found += _of_vapi(facts)
    found += _of_export(facts)
    return tuple(sorted(found, key=lambda each: _ORDER.index(each.weight)))


def outstanding(
    found: Sequence[Dependency], accepted: Mapping[str, object] | None = None
) -> tuple[Dependency, ...]:
    """Return what keeps from leaving: all that blocks, and what nobody has answered for."""
    known = accepted or {}
    return tuple(
        each
        for each in found
        if each.weight == "blocks" or (each.weight == "ask" and each.key not in known)
    )


def _of_route(number: LeavingNumber) -> list[Dependency]:
    found = []
    label, fix = number.label, "set its route to direct, or to paused if nobody is to answer"
    if number.route == "vapi":
        cause = "its route is vapi: every call goes there"
        found.append(Dependency("route", "blocks", label, cause, fix))
    elif number.route == "canary":
        cause = f"its route is canary: {100 - number.canary_percent}% of its calls go to Vapi"
        found.append(Dependency("route", "blocks", label, cause, fix))
    if number.outside in {"vapi", "canary"} and number.route != "paused":
        cause = f"outside the windows of its schedule its route is {number.outside}"
        fix = "choose another route for outside, or remove the schedule"
        found.append(Dependency("schedule", "blocks", label, cause, fix))
    return found


def _of_calls(number: LeavingNumber) -> list[Dependency]:
    """Find what happened although the route says otherwise: overflow, a model out of reach, …"""
    label = number.label
    overflow = number.handed.get("overflow", 0)
    others = {
        code: count
        for code, count in sorted(number.handed.items())
        if count and code not in {"overflow", "route-vapi", "canary-out", "old-probe"}
    }
    found = []
    if overflow:
        cause = f"{_calls(overflow)} of the last week went to Vapi because every line was taken"
        fix = "raise MAX_CONCURRENT_CALLS or add a machine, so that a week passes without"
        found.append(Dependency("overflow", "ask", label, cause, fix))
    if others and number.route not in {"vapi", "canary"}:
        why = ", ".join(f"{code} {count}" for code, count in others.items())
        total = sum(others.values())
        cause = f"{_calls(total)} of the last week went to Vapi all the same ({why})"
        fix = "look at these calls and mend the cause; after leaving, such callers reach a person "
        fix += "or hear the last words"
        found.append(Dependency("handed_over", "ask", label, cause, fix))
    return found


def _of_twilio(number: LeavingNumber, hosts: frozenset[str]) -> list[Dependency]:
    label, live = number.label, number.at_twilio
    if live is None:
        cause = "Twilio could not be asked what is set on it, or has no such number"
        fix = "check the account's token, then look again; a number that was given back is deleted "
        fix += "here first"
        return [Dependency("not_seen", "blocks", label, cause, fix)]
    found = []
    if live.is_on_trunk:
        cause = "a SIP trunk answers it, so its calls do not come here"
        fix = "move it here, or find out where the trunk leads"
        found.append(Dependency("trunk", "ask", label, cause, fix))
    elif is_at_vapi(live.voice_url, hosts):
        cause = "its voice address at Twilio is Vapi's"
        found.append(Dependency("voice_url", "blocks", label, cause, "move the number here"))
    if is_at_vapi(live.status_callback, hosts):
        cause = "its status callback at Twilio is Vapi's"
        fix = "move the number here, which sets it to ours, or empty it in Twilio's console"
        found.append(Dependency("status_callback", "blocks", label, cause, fix))
    for name, url in (("SmsUrl", live.sms_url), ("SmsFallbackUrl", live.sms_fallback_url)):
        if is_at_vapi(url, hosts):
            cause = f"its {name} at Twilio is Vapi's: text messages still go there"
            fix = "set it in Twilio's console to who is to get them, or empty it; this platform "
            fix += "never writes settings of text messages"
            code = "sms_url" if name == "SmsUrl" else "sms_fallback_url"
            found.append(Dependency(code, "blocks", label, cause, fix))
    return found


def _of_net(number: LeavingNumber) -> list[Dependency]:
    label = number.label
    if number.route == "paused" or (number.at_twilio and number.at_twilio.is_on_trunk):
        return []
    fix = "enter an address of your own on the number's net: static TwiML on other infrastructure "
    fix += "that dials a person, or a second site"
    if not number.second_site:
        cause = "nobody is asked when we do not answer, once Vapi is closed"
        return [Dependency("no_second_site", "blocks", label, cause, fix)]
    if number.second_problem:
        cause = f"the address of its net cannot be relied on: {number.second_problem}"
        return [Dependency("second_site", "blocks", label, cause, fix)]
    return []


def _of_work(number: LeavingNumber) -> list[Dependency]:
    fix = "finish or close it on the number's page"
    return [
        Dependency("open_work", "blocks", number.label, words, fix) for words in _unique(number)
    ]


def _unique(number: LeavingNumber) -> tuple[str, ...]:
    words = "; ".join(dict.fromkeys(number.open_work))
    return (words,) if words else ()


def _of_stranger(stranger: Stranger) -> Dependency:
    label = stranger.label
    if stranger.kind == "vapi_owned":
        cause = "the number was bought from Vapi and ends with the account there"
        fix = "port it to your Twilio account; or answer for it that it is given up"
        return Dependency("vapi_owned", "ask", label, cause, fix)
    if stranger.kind == "kept":
        cause = "the number was imported from Vapi, but no call of it can come here"
        fix = "add its Twilio account and move it, or answer for it that it stays elsewhere"
        return Dependency("kept_number", "ask", label, cause, fix)
    cause = "the number is in your Twilio account, is answered by Vapi, and is not known here"
    fix = "import or add it and move it, or change its address in Twilio's console"
    return Dependency("stranger", "blocks", label, cause, fix)


def _of_account(label: str, why: str) -> Dependency:
    cause = f"the Twilio account could not be read: {why}"
    fix = "check its SID, token or key under Twilio accounts, then look again"
    return Dependency("account", "blocks", label, cause, fix)


def _of_now(facts: LeavingFacts) -> list[Dependency]:
    found = []
    if facts.live_at_vapi:
        cause = f"{_calls(facts.live_at_vapi)} handed to Vapi {_is(facts.live_at_vapi)} still on"
        found.append(Dependency("live_calls", "blocks", "", cause, "wait until they are over"))
    if facts.recordings_underway:
        number = facts.recordings_underway
        cause = f"{number} recording{_s(number)} {_is(number)} still at Twilio and not stored here"
        fix = "wait some minutes; under Recordings stands what keeps one from being fetched"
        found.append(Dependency("recordings", "blocks", "", cause, fix))
    return found


def _of_scripts(facts: LeavingFacts) -> list[Dependency]:
    found = []
    if facts.unknown_routes:
        named = ", ".join(
            f"{route} ({count})" for route, count in facts.unknown_routes[:_MOST_NAMED]
        )
        more = len(facts.unknown_routes) - _MOST_NAMED
        named += f" and {more} more" if more > 0 else ""
        cause = f"scripts asked us lately for routes of Vapi's that are not here: {named}"
        fix = "change the scripts; until then they need Vapi for that"
        found.append(Dependency("unknown_routes", "ask", "", cause, fix))
    cause = "nobody can see from here who still sends requests to Vapi with its keys"
    fix = "look through your programs, pages and automation tools for api.vapi.ai and Vapi's keys, "
    fix += "then answer for it"
    found.append(Dependency("scripts", "ask", "", cause, fix))
    return found


def _of_vapi(facts: LeavingFacts) -> list[Dependency]:
    vapi = facts.vapi
    if vapi is None:
        why = f": {facts.vapi_problem}" if facts.vapi_problem else ""
        cause = f"Vapi's account was not looked at{why}"
        fix = "give a private key of Vapi's, so that changes, calls and recordings there are seen; "
        fix += "or answer for it that nothing there is needed"
        return [Dependency("vapi_not_seen", "ask", "", cause, fix)]
    found = []
    for name in vapi.changed:
        cause = "it was changed or made at Vapi after the last import"
        fix = "import it again and look at the difference, or answer for it that ours is right"
        found.append(Dependency("changed_at_vapi", "ask", name, cause, fix))
    total = sum(vapi.lately.values())
    if total:
        kinds = ", ".join(f"{kind} {count}" for kind, count in sorted(vapi.lately.items()) if count)
        when = f", the newest at {vapi.newest_at:%Y-%m-%d %H:%M} UTC" if vapi.newest_at else ""
        cause = f"Vapi had {_calls(total)} in the last week ({kinds}{when})"
        fix = "find out what makes them: numbers that are not moved, scripts, web pages; when they "
        fix += "are from before the last number moved, answer for it"
        found.append(Dependency("calls_at_vapi", "ask", "", cause, fix))
    return found


def _of_export(facts: LeavingFacts) -> list[Dependency]:
    exported = facts.exported
    fix = "export again; what is exported already costs little"
    if exported is None:
        cause = "nothing has been exported"
        return [Dependency("export", "blocks", "", cause, "export everything into a folder")]
    found = []
    if not exported.is_verified:
        cause = "the export could not be read back as it was written"
        found.append(Dependency("export", "blocks", "", cause, fix))
    elif facts.now - exported.at > EXPORT_GOOD_FOR:
        cause = f"the last export is of {exported.at:%Y-%m-%d %H:%M} UTC, over a day old"
        found.append(Dependency("export", "blocks", "", cause, fix))
    if exported.missing:
        cause = f"{exported.missing} calls or recordings could not be exported; the report of the "
        cause += "export names them"
        fix_missing = "export again, or answer for it that they are not needed"
        found.append(Dependency("export_missing", "ask", "", cause, fix_missing))
    if exported.vapi_calls is None:
        cause = "Vapi's own records of calls and its recordings are not in the export"
        fix_calls = "export with a private key of Vapi's"
        weight: Weight = "blocks"
        if facts.vapi is None:
            weight, fix_calls = "ask", f"{fix_calls}, or answer for it that they are not needed"
        found.append(Dependency("calls_not_exported", weight, "", cause, fix_calls))
    elif facts.vapi is not None and facts.vapi.since_export:
        cause = f"Vapi has had {_calls(facts.vapi.since_export)} since the last export"
        found.append(Dependency("calls_since_export", "blocks", "", cause, fix))
    return found


def _calls(count: int) -> str:
    return f"{count} call{_s(count)}"


def _s(count: int) -> str:
    return "" if count == 1 else "s"


def _is(count: int) -> str:
    return "is" if count == 1 else "are"
