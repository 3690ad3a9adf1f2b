"""What speaks against moving a number because of Twilio: owner, region, target, net, account.

Pure. The findings on the number's configuration are those of the move itself
(``calls.numbers.switch.findings``), so that the page and the move never disagree; here they get a
weight and a short form. Text messages are told of and never touched.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Final

from calls.numbers.readiness.capacity import with_margin
from calls.numbers.readiness.facts import (
    PROFILE_CALLS,
    TRIAL_CALLS,
    Account,
    NumberFacts,
    Peak,
)
from calls.numbers.readiness.findings import Found, Link, Weight, cut
from calls.numbers.switch.findings import Finding, MoveFacts, findings
from calls.numbers.switch.net import is_same_site, overrides_for
from calls.numbers.switch.voice import Target, target_of

# Short form and step, by the move's code. What is missing here is shown with its own words.
_SAID: Final[dict[str, tuple[str, str, Link]]] = {
    "vapi_owned": (
        "Bought from Vapi: no address at Twilio moves it",
        "Port it to your Twilio account, or forward it to a number of yours",
        "",
    ),
    "other_carrier": (
        "Not at Twilio: only numbers of Twilio can be served here",
        "Port it to your Twilio account, or leave it where it is",
        "",
    ),
    "not_in_account": (
        "In none of the Twilio accounts that are entered here",
        "Enter the account or sub-account that owns it, with its own token",
        "account_add",
    ),
    "other_account": (
        "Another Twilio account owns it than the one it is entered with",
        "Choose the account that owns it, or enter that account",
        "number",
    ),
    "region_without_streams": (
        "Its calls are handled in a region without media streams",
        "Route the number to us1, ie1 or au1 in Twilio's console, then check again",
        "",
    ),
    "region_other": (
        "Its calls are handled in another region than the credentials are of",
        "Enter the account with the region and the token of that region",
        "account",
    ),
    "region_unknown": (
        "Twilio did not say in which region its calls are handled",
        "Look at the number's region in Twilio's console, then check again",
        "",
    ),
    "not_voice": (
        "It takes faxes, not calls",
        "Set it to voice in Twilio's console, or leave it where it is",
        "",
    ),
    "trunk_at_once": (
        "A SIP trunk answers it: all its calls move at once, without a canary",
        "Move it when few people call, with a net that dials a person",
        "number",
    ),
    "app_unknown": (
        "Its TwiML app could not be read: who answers now is not known",
        "Let the credentials read TwiML apps, then check again",
        "account",
    ),
    "nobody_answers": (
        "Nothing answers its calls now, so the way back leads to nothing",
        "Check that this is the number you mean",
        "number",
    ),
    "no_net": (
        "No fallback: if we do not answer, callers hear an error",
        "Enter the address of static TwiML that dials a person, a TwiML Bin for one",
        "number",
    ),
    "net_is_ours": (
        "Its fallback is our own site, which is what has failed when it is asked",
        "Enter an address on other infrastructure, a TwiML Bin for one",
        "number",
    ),
}
_WEIGHTS: Final[dict[str, Weight]] = {
    "region_unknown": "unknown",
    "app_unknown": "unknown",
    "trunk_at_once": "look",
    "nobody_answers": "look",
}
_SEVERITIES: Final[dict[str, Weight]] = {"blocks": "blocks", "ask": "look", "note": "note"}
_OURS: Final = frozenset({"already_here", "trunk_route", "no_previous_url"})
_NET: Final = frozenset({"no_net", "net_is_ours", "net_untried", "net_slow"})


def twilio_findings(facts: NumberFacts, mask: Callable[[str], str]) -> Iterator[Found]:
    """Yield what speaks against the move at Twilio, in no order."""
    provider = facts.imported.provider if facts.imported is not None else "twilio"
    at_twilio = facts.twilio
    if provider == "twilio" and at_twilio.config is None:
        yield _nowhere(facts)
        return
    for each in findings(_move_facts(facts, provider)):
        is_net = each.code in _NET and at_twilio.config is not None
        if each.code in _OURS or (is_net and is_ours(facts)):
            continue
        yield _found(each, facts)
    if at_twilio.config is None:
        return
    if is_ours(facts):
        cause = "its calls come to this platform already"
        yield Found("already_here", "note", "voice_url", "Its calls come here already", cause)
    yield from _not_here(facts)
    yield from _texts(facts, mask)
    yield from _account(facts.account, at_twilio.account_name)


def is_ours(facts: NumberFacts) -> bool:
    """Tell whether Twilio asks us already."""
    before = target_before(facts)
    return before is not None and is_same_site(before.url, facts.our_url)


def target_before(facts: NumberFacts) -> Target | None:
    """Return what answers at Twilio, by precedence; None if the number was not found."""
    config = facts.twilio.config
    return None if config is None else target_of(config, facts.twilio.application)


def _move_facts(facts: NumberFacts, provider: str) -> MoveFacts:
    at_twilio = facts.twilio
    return MoveFacts(
        config=at_twilio.config,
        # A number without a row has no account to differ from.
        account_sid=facts.account_sid or at_twilio.account_sid,
        route="direct",
        net=facts.net,
        overrides=overrides_for(facts.slowest_ms),
        our_url=facts.our_url,
        application=at_twilio.application,
        provider=provider,
        voice_region=at_twilio.voice_region,
        account_region=at_twilio.account_region,
    )


def _found(each: Finding, facts: NumberFacts) -> Found:
    short, step, link = _SAID.get(each.code, (cut(_sentence(each.cause)), _sentence(each.fix), ""))
    weight = _WEIGHTS.get(each.code, _SEVERITIES[each.severity])
    target = facts.number_id if link == "number" else ""
    return Found(each.code, weight, each.field, short, each.cause, step, link, target)


def _sentence(text: str) -> str:
    return text[:1].upper() + text[1:]


def _nowhere(facts: NumberFacts) -> Found:
    """Say why no account lists the number: none has it, or not all could be asked."""
    at_twilio = facts.twilio
    if at_twilio.accounts == 0:
        cause = "no Twilio account is entered, so Twilio was not asked about the number"
        short, step = "No Twilio account is entered here", "Enter the account that owns it"
        return Found("no_account", "blocks", "account", short, cause, step, "account_add")
    if at_twilio.unread:
        cause = "no account that could be read has the number; not read: "
        cause += "; ".join(at_twilio.unread)
        short = "Not looked up: a Twilio account gave no list of its numbers"
        step = "Correct the account's token or key, then check again"
        return Found("account_unread", "unknown", "account", short, cause, step, "account")
    if at_twilio.at is None:
        cause = "Twilio has not been asked about the number yet"
        return Found("not_asked", "unknown", "account", "Not checked yet", cause, "Check it now")
    short, step, link = _SAID["not_in_account"]
    cause = "none of the Twilio accounts that are entered here has such a number"
    return Found("not_in_account", "blocks", "sid", short, cause, step, link)


def _not_here(facts: NumberFacts) -> Iterator[Found]:
    if facts.is_here:
        return
    if facts.imported is not None and not facts.imported.account_is_known:
        cause = "the import kept the number, but its Twilio account was not entered here then"
        short = "Imported before its Twilio account was entered here"
        step = "Import the file again: the account is known now"
    else:
        cause = "Twilio has the number, and no row here says who would answer it"
        short, step = "At Twilio, but not here yet", "Import it from Vapi, or add it"
    yield Found("not_here", "blocks", "number", short, cause, step, "number_add")


def _texts(facts: NumberFacts, mask: Callable[[str], str]) -> Iterator[Found]:
    sms = facts.twilio.sms
    where = mask(sms.application_url if sms.application_sid else sms.url)
    if not (where or sms.application_sid):
        return
    by = f"the TwiML app {sms.application_sid}" if sms.application_sid else "its own address"
    cause = f"text messages are handled by {by}"
    cause += f" ({where})" if where else ", whose address could not be read"
    cause += "; a move leaves that as it is"
    yield Found("texts", "note", "sms_url", "Text messages stay where they are", cause)


def _account(account: Account, name: str) -> Iterator[Found]:
    if account.status and account.status != "active":
        cause = f"Twilio calls the account {account.status}: its numbers take no calls"
        short = cut(f"Its Twilio account is {account.status}")
        step = "Have Twilio activate the account, then check again"
        yield Found("account_inactive", "blocks", "account", short, cause, step, "account")
        return
    yield from _at_once(account, name)
    if account.calls_per_second is not None:
        cause = f"{account.calls_per_second} outgoing calls a second; calls that come in, and "
        cause += "transfers, are not limited by it (twilio.md 8.1)"
        yield Found("calls_per_second", "note", "cps", "Outgoing calls a second are known", cause)


def _at_once(account: Account, name: str) -> Iterator[Found]:
    """Compare last month's most calls at once with what the account's profile allows."""
    if account.kind.lower() == "trial":
        limit: int | None = TRIAL_CALLS
    elif account.profile in PROFILE_CALLS:
        limit = PROFILE_CALLS[account.profile]
    else:
        cause = "how many calls the account takes at once depends on its profile, which Twilio's "
        cause += "API does not tell; without one it may be 2 (twilio.md 8.1)"
        short = "How many calls its Twilio account takes at once is not known"
        step = "Look up the profile in Twilio's Trust Hub and enter it"
        yield Found("profile_unknown", "unknown", "account", short, cause, step, "account_limits")
        return
    if limit is None:
        return
    peak = account.peak
    if peak is None:
        cause = f"the account takes {limit} calls at once, and last month's most is not known"
        short = f"Its account takes {limit} calls at once; last month's most is not known"
        step = "Let the credentials list calls, then check again"
        yield Found("peak_unknown", "unknown", "account", short, cause, step, "account")
    elif with_margin(peak.calls) > limit:
        cause = f"the account {name} takes {limit} calls at once; last month there were "
        cause += f"{peak_words(peak)}, and half as many again have to fit"
        short = f"Its account takes {limit} calls at once; {with_margin(peak.calls)} have to fit"
        step = "Have the business profile approved in Twilio's Trust Hub, then enter it"
        yield Found("account_too_small", "blocks", "account", short, cause, step, "account_limits")


def peak_words(peak: Peak) -> str:
    """Say how many calls there were at once; "at least" where the list was cut."""
    return f"at least {peak.calls}" if peak.is_least else str(peak.calls)
