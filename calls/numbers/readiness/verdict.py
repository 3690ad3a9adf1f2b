"""One number's row: one colour, one reason, one next step, and everything else below them.

Owns the order of findings and the list of facts that is shown. Pure: the same facts give the same
row.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable, Iterable, Mapping
from dataclasses import asdict, dataclass
from typing import Any, Final

from calls.numbers.readiness.capacity import with_margin
from calls.numbers.readiness.facts import NumberFacts, Source
from calls.numbers.readiness.findings import COLOURS, WEIGHTS, Colour, Found
from calls.numbers.readiness.here_rules import answering_findings, here_findings
from calls.numbers.readiness.twilio_rules import peak_words, target_before, twilio_findings

# Of two findings of the same weight the earlier field is told first: what it depends on comes
# before what depends on it.
_FIELDS: Final = (
    *("provider", "sid", "account_sid", "number", "voice_region", "voice_receive_mode"),
    *("account", "assistant", "policy", "operator_desk", "secrets", "connection", "model"),
    *("health", "voice_application_sid", "trunk_sid", "voice_url", "voice_fallback_url"),
)
Mask = Callable[[str], str]
READY: Final = "Nothing speaks against moving it"


@dataclass(frozen=True, slots=True)
class Fact:
    """One thing that is shown with its source and date; ``at`` is ISO 8601 with a zone, or ''."""

    name: str
    value: str
    source: Source
    at: str


@dataclass(frozen=True, slots=True)
class Verdict:
    """What is said of a number. ``step`` and ``link`` are the first finding's that has one.

    ``sources`` are the documents that were read for who would answer.
    """

    colour: Colour
    reason: str
    step: str
    link: str
    target: str
    findings: tuple[Found, ...]
    facts: tuple[Fact, ...]
    sources: tuple[str, ...] = ()


def verdict_of(facts: NumberFacts, mask: Mask) -> Verdict:
    """Judge a number by what is known of it.

    Args:
        mask: returns an address without the secrets in it; whatever is shown went through it.
    """
    found = [*twilio_findings(facts, mask)]
    # Whoever would answer is asked for once the number can be here at all.
    cannot_be_here = {each.code for each in found} & {"vapi_owned", "other_carrier"}
    if facts.is_here and not cannot_be_here:
        found += here_findings(facts)
    return _verdict(facts, found, tuple(_facts(facts, mask)))


def verdict_again(facts: NumberFacts, stored: Iterable[Mapping[str, Any]]) -> Verdict:
    """Judge anew who would answer, and keep what else was found; its facts are left as they were.

    Args:
        facts: those of this side are read, the others not.
        stored: the findings of the last check, as ``Found.as_json`` wrote them.
    """
    kept = (Found.from_json(each) for each in stored)
    found = [each for each in kept if each.field != "assistant"]
    return _verdict(facts, [*found, *answering_findings(facts)], ())


def _verdict(facts: NumberFacts, found: list[Found], shown: tuple[Fact, ...]) -> Verdict:
    found.sort(key=_order)
    worst = found[0] if found else None
    step = next((each for each in found if each.step), None)
    return Verdict(
        colour=COLOURS[worst.weight] if worst else "green",
        reason=READY if worst is None or worst.weight == "note" else worst.short,
        step=step.step if step else "Move it",
        link=step.link if step else "number",
        target=step.target if step else facts.number_id,
        findings=tuple(found),
        facts=shown,
        sources=facts.answering.sources if facts.answering is not None else (),
    )


def _order(each: Found) -> tuple[int, int, str]:
    place = _FIELDS.index(each.field) if each.field in _FIELDS else len(_FIELDS)
    return WEIGHTS.index(each.weight), place, each.code


def _facts(facts: NumberFacts, mask: Mask) -> list[Fact]:
    return [*_of_twilio(facts, mask), *_of_limits(facts), *_of_here(facts)]


def _of_twilio(facts: NumberFacts, mask: Mask) -> list[Fact]:
    at_twilio, before = facts.twilio, target_before(facts)
    shown: list[Fact] = []
    if facts.imported is not None:
        value = facts.imported.provider
        shown.append(_fact("Provider at Vapi", value, "imported", facts.imported.at))
    if before is None or at_twilio.config is None:
        return shown
    kinds = {"trunk": "SIP trunk", "app": "TwiML app", "url": "its own address", "none": "nothing"}
    answers = " ".join(each for each in (kinds[before.kind], before.sid) if each)
    moment = at_twilio.at
    shown += [
        _fact("Twilio account", at_twilio.account_name, "live", moment),
        _fact("Answered by", answers, "live", moment),
        _fact("Address that is asked", mask(before.url) or "none", "live", moment),
        _fact("Fallback", mask(before.fallback_url) or "none", "live", moment),
        _fact("Region", at_twilio.voice_region or "not known", "live", moment),
        _fact("Text messages", _texts(facts, mask), "live", moment),
    ]
    return shown


def _texts(facts: NumberFacts, mask: Mask) -> str:
    sms = facts.twilio.sms
    if sms.application_sid:
        return f"TwiML app {sms.application_sid} {mask(sms.application_url)}".strip()
    return mask(sms.url) or "none"


def _of_limits(facts: NumberFacts) -> list[Fact]:
    account, model = facts.account, facts.model
    shown: list[Fact] = []
    if account.at is not None:
        value = f"{account.kind or 'kind not told'}, {account.status or 'status not told'}"
        shown.append(_fact("Kind of account", value, "live", account.at))
    if account.profile:
        shown.append(_fact("Profile", account.profile, "entered", account.entered_at))
    if account.calls_per_second is not None:
        value = str(account.calls_per_second)
        shown.append(_fact("Outgoing calls a second", value, "entered", account.entered_at))
    if account.peak is not None:
        value = f"{peak_words(account.peak)}, {with_margin(account.peak.calls)} with margin"
        name = "Most calls at once, account"
        shown.append(_fact(name, value, "live", account.peak.checked_at))
    for name, limit in (("Tokens", model.tokens), ("Responses", model.requests)):
        if limit is not None:
            shown.append(_fact(f"{name} a minute", str(limit.limit), limit.source, limit.at))
    for name, each in (("Tokens", model.tokens_per_call), ("Responses", model.requests_per_call)):
        if each is not None:
            value = f"{each:.0f}, of {model.measured_calls} calls"
            shown.append(_fact(f"{name} a minute and call", value, "live", model.measured_at))
    if model.peak is not None:
        value = f"{peak_words(model.peak)}, {with_margin(model.peak.calls)} with margin"
        name = "Most calls at once, connection"
        shown.append(_fact(name, value, "live", model.peak.checked_at))
    return shown


def _of_here(facts: NumberFacts) -> list[Fact]:
    if not facts.is_here:
        return []
    shown = [_fact("Route", facts.route, "live", facts.at)]
    if facts.answering is not None:
        shown.append(_fact("Assistant", facts.answering.name, "live", facts.answering.at))
    if facts.policy is not None:
        value = facts.policy.name + ("" if facts.policy.reviewed_at else ", not reviewed")
        shown.append(_fact("Call policy", value, "entered", facts.policy.reviewed_at))
    row = facts.connection
    if row is not None:
        value = f"{row.name}, {row.model}, region {row.region or 'not stated'}"
        shown.append(_fact("Model connection", value, "entered", row.at))
    if facts.health is not None:
        shown += [
            _fact(
                f"Doctor: {check.name}", f"{check.state}: {check.detail}", "live", facts.health.at
            )
            for check in facts.health.checks
        ]
    return shown


def _fact(name: str, value: str, source: Source, at: dt.datetime | None) -> Fact:
    return Fact(name, value, source, at.isoformat(timespec="seconds") if at is not None else "")


def facts_json(facts: tuple[Fact, ...]) -> list[dict[str, Any]]:
    """Return facts as plain values."""
    return [asdict(each) for each in facts]
