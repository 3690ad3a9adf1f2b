"""What speaks against moving a number: each finding names the field, the cause and the fix.

Pure: facts in, findings out, the worst first. It looks at the configuration at Twilio alone;
assistants, policies and limits are judged elsewhere. It must not guess: what is not known is asked.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, Literal

from calls.numbers.switch.net import NET_MS, Net, Overrides, is_same_site
from calls.numbers.switch.voice import Application, Target, VoiceConfig, routes_of, target_of
from calls.numbers.switch.writes import changed

# ``blocks``: it cannot be moved. ``ask``: a person has to say yes. ``note``: to be known.
Severity = Literal["blocks", "ask", "note"]
_ORDER: Final = ("blocks", "ask", "note")
# Media Streams exist there and nowhere else (twilio.md 7.5).
STREAM_REGIONS: Final = ("us1", "ie1", "au1")


@dataclass(frozen=True, slots=True)
class Finding:
    """Something that speaks against a move."""

    code: str
    severity: Severity
    field: str
    cause: str
    fix: str


@dataclass(frozen=True, slots=True)
class MoveFacts:
    """What is known of a number that is to answer here.

    Args:
        config: as fetched a moment ago; None if the Twilio account has no such number.
        application: the app that it names, if it could be read.
        provider: the kind of number that Vapi's export names (vapi.md 7.1).
        voice_region: the region whose record decides, by Twilio's routes API; '' if not known.
        account_region: the region of the credentials that fetched it.
        account_sid: the account of those credentials.
        route: the route that it is to have.
        net: whom Twilio asks when we do not answer.
        overrides: how patient Twilio is with us.
        our_url: any address of ours.
        expected: how it was when it was last looked at; None if it never was.
    """

    config: VoiceConfig | None
    account_sid: str
    route: str
    net: Net
    overrides: Overrides
    our_url: str
    application: Application | None = None
    provider: str = "twilio"
    voice_region: str = ""
    account_region: str = "us1"
    expected: VoiceConfig | None = None


def findings(facts: MoveFacts) -> tuple[Finding, ...]:
    """Return what speaks against the move, the worst first; one that blocks may be alone."""
    found = _owner(facts)
    if not found and facts.config is not None:
        before = target_of(facts.config, facts.application)
        found = [
            *_region(facts.voice_region, facts.account_region),
            *_configuration(facts.config, facts),
            *_target(before, facts),
            *_net(before, facts),
        ]
    return tuple(sorted(found, key=lambda each: _ORDER.index(each.severity)))


def _owner(facts: MoveFacts) -> list[Finding]:
    if facts.provider == "vapi":
        cause = "the number was bought from Vapi and is in no Twilio account of yours"
        fix = "port it to your Twilio account, or have it forwarded to a number that you own"
        return [Finding("vapi_owned", "blocks", "provider", cause, fix)]
    if facts.provider != "twilio":
        cause = f"the number is not at Twilio but of the kind {facts.provider}"
        fix = "port it to your Twilio account, or leave it on Vapi"
        return [Finding("other_carrier", "blocks", "provider", cause, fix)]
    if facts.config is None:
        cause = "the Twilio account has no such number"
        fix = "enter the account or sub-account that owns it, with its own token or key"
        return [Finding("not_in_account", "blocks", "sid", cause, fix)]
    if facts.config.account_sid != facts.account_sid:
        cause = f"the number belongs to the account {facts.config.account_sid}"
        fix = "enter that account with its own token: its webhooks are signed with it"
        return [Finding("other_account", "blocks", "account_sid", cause, fix)]
    return []


def _region(number: str, account: str) -> list[Finding]:
    number, account = number.strip().lower(), account.strip().lower()
    if not number:
        cause = "Twilio did not say in which region the number's calls are handled"
        fix = f"look at the number's region in Twilio's console; go on if it is {account}"
        return [Finding("region_unknown", "ask", "voice_region", cause, fix)]
    if number not in STREAM_REGIONS:
        cause = f"the number's calls are handled in {number}, where there are no media streams"
        fix = f"route the number to one of {', '.join(STREAM_REGIONS)} in Twilio's console"
        return [Finding("region_without_streams", "blocks", "voice_region", cause, fix)]
    if number != account:
        # A number has a record per region, and only that of its routing region counts (5.6, T35).
        cause = f"the number's calls are handled in {number}, the credentials are of {account}"
        fix = f"enter the account with the token or key of {number}; nothing else takes effect"
        return [Finding("region_other", "blocks", "voice_region", cause, fix)]
    return []


def _configuration(config: VoiceConfig, facts: MoveFacts) -> list[Finding]:
    found = []
    if config.voice_receive_mode != "voice":
        cause = f"the number takes {config.voice_receive_mode}, not calls"
        fix = "set it to voice in Twilio's console, or leave it where it is"
        found.append(Finding("not_voice", "blocks", "voice_receive_mode", cause, fix))
    if facts.expected is not None and facts.expected.voice() != config.voice():
        names = ", ".join(changed(facts.expected, config))
        cause = f"somebody changed {names} since the number was last looked at"
        fix = "look at the difference, and go on if it is as it should be"
        found.append(Finding("not_as_expected", "ask", names, cause, fix))
    return found


def _target(before: Target, facts: MoveFacts) -> list[Finding]:
    found = []
    if is_same_site(before.url, facts.our_url):
        cause = "its calls come here already, so a snapshot of now would be no way back"
        fix = "use the snapshot of the move that brought it here"
        found.append(Finding("already_here", "blocks", _field(before), cause, fix))
    if facts.route not in routes_of(before.kind):
        cause = f"a trunk answers it, and a trunk knows no route {facts.route}"
        fix = "choose direct, which moves all of its calls at once, or leave it on vapi"
        found.append(Finding("trunk_route", "blocks", "trunk_sid", cause, fix))
    elif before.kind == "trunk":
        cause = "a trunk answers it: all of its calls come here at once, none can be handed back "
        cause += "while it rings, and nobody is asked when we do not answer but the net below"
        fix = "move it when few people call, and watch it"
        found.append(Finding("trunk_at_once", "note", "trunk_sid", cause, fix))
    elif facts.route == "canary" and not before.url:
        cause = "there is no address to which a share of the calls could be handed over"
        fix = "choose direct, or enter the address that answered before"
        found.append(Finding("no_previous_url", "blocks", _field(before), cause, fix))
    if not before.is_known:
        cause = f"the TwiML app {before.sid} could not be read: who answers now is not known"
        fix = "let the credentials read TwiML apps, or go on; the app is put back all the same"
        found.append(Finding("app_unknown", "ask", "voice_application_sid", cause, fix))
    if before.kind == "none":
        cause = "nothing answers the number's calls now"
        fix = "nothing to do; the way back is to nothing"
        found.append(Finding("nobody_answers", "note", "voice_url", cause, fix))
    return found


def _net(before: Target, facts: MoveFacts) -> list[Finding]:
    name, net, overrides = "voice_fallback_url", facts.net, facts.overrides
    found = []
    if net.source == "none":
        cause = "nobody is asked when we do not answer: callers hear an error, and the call ends"
        fix = "enter the address of static TwiML that dials a person, a TwiML Bin for one"
        found.append(Finding("no_net", "ask", name, cause, fix))
    elif is_same_site(net.url, facts.our_url):
        cause = "the fallback is our own site, which is what has failed when it is asked"
        fix = "enter an address on other infrastructure, a TwiML Bin for one"
        found.append(Finding("net_is_ours", "blocks", name, cause, fix))
    elif net.source == "previous":
        cause = "the previous stack takes calls only while they ring, and asked by a fallback it "
        cause += "has not been tried"
        fix = "fire the drill on a test number before you rely on it"
        found.append(Finding("net_untried", "note", name, cause, fix))
    worst_ms = max(overrides.dead_ms, overrides.hanging_ms)
    if net.source != "none" and worst_ms > NET_MS:
        cause = f"if our site hangs, the fallback is asked after {worst_ms / 1000:g} s, because a "
        cause += "server is asked who answers this number, which takes long; if it is dead, after "
        cause += f"{overrides.dead_ms / 1000:g} s"
        fix = "give the number an assistant of its own, here and at Vapi, before it is moved: then "
        fix += f"it is {NET_MS / 1000:g} s at most"
        found.append(Finding("net_slow", "note", "voice_url", cause, fix))
    return found


def _field(target: Target) -> str:
    return "voice_application_sid" if target.kind == "app" else "voice_url"
