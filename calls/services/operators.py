"""A person for the caller: which destination a number has, and who is reached there right now.

Owns the way from rows to ``calls.numbers.hours``. It stores nothing and dials nobody.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from django.utils import timezone

from calls.bridge.person_plan import PersonPlan
from calls.models import Call, CallPolicy, OperatorDesk, PhoneNumber
from calls.numbers import hours
from calls.numbers.destinations import destination_of
from calls.numbers.hours import Decision, Desk
from calls.numbers.phrases import Sentence, sentence, words


@dataclass(frozen=True, slots=True)
class Handover:
    """What becomes of a caller who needs a person at one moment.

    ``say`` is spoken before it rings, or instead when nobody is there (``reach`` message).
    """

    decision: Decision
    say: str = ""
    language: str = ""
    ring_seconds: int = 30
    shows_caller: bool = True


def desk_of(number: PhoneNumber | None) -> OperatorDesk | None:
    """Return the destination of a number: its own, else its organisation's default."""
    if number is None:
        return None
    if number.operator_desk is not None:
        return number.operator_desk
    assert number.organisation_id is not None, "every number has an organisation"
    defaults = OperatorDesk.objects.filter(is_default=True)
    return defaults.filter(organisation_id=number.organisation_id).first()


def desk_value(desk: OperatorDesk) -> Desk:
    """Return a row as the value that hours are judged by; what cannot be read counts as closed."""
    try:
        holidays = frozenset(hours.holidays_of(desk.holidays))
    except hours.HoursError:
        holidays = frozenset()
    return Desk(
        # Checked again: a row may have been written before a rule was.
        destination=destination_of(desk.destination),
        zone=desk.zone,
        hours=hours.hours_stored(desk.hours),
        always_open=desk.always_open,
        holidays=holidays,
        outside=desk.outside,  # type: ignore[arg-type]  # the column's choices are the words
        outside_destination=destination_of(desk.outside_destination),
    )


def reached(desk: OperatorDesk | None, now: datetime | None = None) -> Decision:
    """Return whom a caller would reach at ``now`` (aware; the present when absent)."""
    moment = now or timezone.now()
    decision = hours.decide(desk_value(desk) if desk is not None else None, moment)
    if decision.reach == "dial" and not decision.to:
        return Decision("message", "", f"the destination may not be dialled; {decision.reason}")
    return decision


def handover(
    desk: OperatorDesk | None, *, language: str = "en", now: datetime | None = None
) -> Handover:
    """Return what becomes of a caller who needs a person, with the words to be spoken."""
    decision = reached(desk, now)
    if desk is None or decision.reach == "nothing":
        return Handover(decision)
    if decision.reach == "message":
        say, spoken = _own_or("closed", desk.outside_message, language)
    else:
        say, spoken = _own_or("announcement", desk.announcement, language)
    return Handover(
        decision,
        say=say,
        language=spoken,
        ring_seconds=desk.ring_seconds,
        shows_caller=desk.shows_caller,
    )


def dial_step(found: Handover, why: str) -> dict[str, Any]:
    """Return the stored step that dials a person, with everything a repeated answer needs."""
    return {
        "kind": "dial",
        "to": found.decision.to,
        "operator": why,
        "say": found.say,
        "language": found.language,
        "ring_seconds": found.ring_seconds,
        "shows_caller": found.shows_caller,
    }


def second_step(desk: OperatorDesk | None, step: Mapping[str, Any]) -> dict[str, Any] | None:
    """Return the stored step that tries the desk's other number, None if it was that or has none.

    ``step``: the one that nobody answered. It rings on at once: nothing is said again.
    """
    if desk is None or desk.unanswered != OperatorDesk.Unanswered.NUMBER:
        return None
    other = destination_of(desk.unanswered_destination)
    if not other or other == step.get("to"):
        return None
    return {**step, "to": other, "say": ""}


def assistant_goes_on(call: Call, desk: OperatorDesk | None) -> bool:
    """Tell whether a caller whom no person took is brought back to the assistant.

    Not where the assistant had failed itself, nor to one whose policy line the caller refused.
    """
    if call.next_step.get("operator") != "operator":
        return False
    policy = call.policy_wording.policy if call.policy_wording is not None else None
    if call.policy_refused_at and policy and policy.on_refusal == CallPolicy.Refusal.HUMAN:
        return False
    return desk is None or desk.unanswered != OperatorDesk.Unanswered.MESSAGE


def spoken_line(call: Call) -> tuple[str, str] | None:
    """Return the policy line that Twilio speaks before the first stream, and its language.

    It may have been rendered since: what counts is that Twilio was told to speak it.
    """
    wording = call.policy_wording
    if wording is None or call.policy_played_at is None or call.stream_count != 1 or call.consent:
        return None
    return wording.text, wording.language


def line_hears_keys(call: Call) -> bool:
    """Tell whether a key means something while Twilio speaks before a stream."""
    plan = person_plan(call, call.number.max_call_seconds if call.number is not None else 0)
    return bool(plan.operator_key or (plan.refusal_key and call.stream_count == 1))


def message_hears_key(call: Call) -> bool:
    """Tell whether the operator's key means something during a call's last words; once it does."""
    words, desk = call.metrics.get("last_words"), desk_of(call.number)
    if desk is None or not desk.key or (isinstance(words, dict) and words.get("again")):
        return False
    return reached(desk).reach == "dial"


def back_words(call: Call) -> tuple[str, str]:
    """Return what is said to a caller before the assistant goes on, and its language.

    Nothing, for the assistant says that nobody answered; but a policy line that a key cut off, and
    after an emergency what to dial.
    """
    language = call.revision.language if call.revision is not None else "en"
    wording = call.policy_wording
    if call.consent_state == Call.Consent.PENDING:
        return "", language  # the question comes first, and the line with it
    if wording is not None and call.policy_played_at is None and not wording.audio_mulaw:
        return wording.text, wording.language
    if call.emergency_at is None:
        return "", language
    policy = call.policy_wording.policy if call.policy_wording is not None else None
    return _own_or("emergency", policy.emergency_notice if policy else "", language)


def no_answer_words(desk: OperatorDesk | None, language: str) -> tuple[str, str]:
    """Return what is said when nobody takes the call, and its language."""
    return _own_or("no_answer", desk.no_answer_message if desk else "", language)


def fallback_words(number: PhoneNumber | None, language: str) -> tuple[str, str]:
    """Return what is said when neither the assistant nor a person can be reached."""
    return _own_or("unreachable", number.fallback_message if number else "", language)


def person_plan(call: Call, max_seconds: int) -> PersonPlan:
    """Return the keys and words that bring the caller of a stream to a person.

    What the call has done once it does not do again. ``max_seconds``: how long the call may last
    from now; a key is taken when somebody could be reached now or then.
    """
    number, language = call.number, call.revision.language if call.revision is not None else "en"
    desk, now = desk_of(number), timezone.now()
    reach = reached(desk, now).reach
    later = reached(desk, now + timedelta(seconds=max_seconds)).reach
    answers = {reach, later} != {"nothing"}
    policy = call.policy_wording.policy if call.policy_wording is not None else None
    if policy is None and number is not None:
        policy = number.policy
    refusal, emergency = _refusal_of(call, policy, language), {}
    if policy is not None and call.emergency_at is None:
        emergency = _emergency_of(policy, language, reach)
    if refusal.get("on_refusal") == CallPolicy.Refusal.HUMAN and not answers:
        refusal["on_refusal"] = CallPolicy.Refusal.END.value
    return PersonPlan(
        reachable=reach == "dial",
        operator_key=desk.key if desk is not None and answers else "",
        **refusal,
        **emergency,
    )


def _refusal_of(call: Call, policy: CallPolicy | None, language: str) -> dict[str, Any]:
    asks = policy is not None and policy.recording_consent != CallPolicy.Consent.NONE
    if policy is None or not asks or call.policy_wording is None or call.policy_refused_at:
        return {}
    return {
        "refusal_key": policy.refusal_key,
        "refusal_words": words("refusal", language),
        "on_refusal": str(policy.on_refusal),
    }


def _emergency_of(policy: CallPolicy, language: str, reach: str) -> dict[str, Any]:
    action = str(policy.emergency)
    if action == CallPolicy.Emergency.AUTO:
        in_health = policy.sector.strip().casefold().startswith("health")
        action = "transfer" if in_health else "nothing"
    if action == "nothing":
        return {}
    if action == "transfer" and reach != "dial":
        action = "notice"
    return {
        "on_emergency": action,
        "emergency_words": tuple(policy.emergency_words) or words("emergency", language),
        "emergency_notice": _own_or("emergency", policy.emergency_notice, language)[0],
    }


def _own_or(kind: Sentence, own: str, language: str) -> tuple[str, str]:
    return (own, language) if own else sentence(kind, language)


def preview(desk: OperatorDesk | None, now: datetime | None = None) -> str:
    """Say in a sentence whom a caller would reach right now."""
    decision = reached(desk, now)
    if desk is None:
        return (
            "Right now a caller who asks for a person would reach nobody: there is no destination."
        )
    words = {
        "dial": f"would reach {decision.to}",
        "message": "would hear the message, then the call ends",
        "nothing": "would stay with the assistant",
    }[decision.reach]
    return f"Right now a caller {words} ({decision.reason})."
