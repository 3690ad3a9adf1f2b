"""What must hold before a run may place real calls, each with what to do about it.

Owns the refusals of live runs: of rows alone when a run is begun and before each call, of Twilio as
well when a worker takes the run. It places nothing.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final
from urllib.parse import urldefrag

from django.utils import timezone

from assistants.models import Assistant, AssistantRevision
from calls.models import CallPolicy, ParityRun, PhoneNumber
from calls.numbers.switch.voice import UnreadableNumber, read
from calls.parity.calling_hours import why_quiet
from calls.services.call_plan import connection_for
from calls.services.contract import contract_problem
from calls.services.live_tools import unconfirmed
from calls.services.move_rows import open_move
from calls.services.previous_targets import previous_of
from calls.telephony.addresses import public_url
from calls.telephony.twilio_rest import TwilioRefused, TwilioRest, TwilioSilent
from voiceplatform.base.fields import DecryptionError
from voiceplatform.base.phones import dialable

# Each takes two lines here and two legs at Twilio.
MOST_PARALLEL: Final = 5
CALLER: Final = "caller"


def live_problem(
    *,
    assistant: Assistant,
    revision: AssistantRevision,
    number: PhoneNumber | None,
    model: str,
    options: Mapping[str, Any],
) -> str:
    """Return why no live run may be played, '' if one may as far as is known here."""
    if number is None:
        return "a live run calls a number. Fix: choose one of the assistant's."
    return (
        _of_number(assistant, revision, number, model)
        or _of_caller(number, str(options.get(CALLER) or ""))
        or _of_tools(revision, number, options)
        or _of_both_stacks(number)
        or _of_policy(number)
    )


def _of_number(
    assistant: Assistant, revision: AssistantRevision, number: PhoneNumber, model: str
) -> str:
    if number.assistant_id != assistant.pk:
        return "another assistant answers this number. Fix: choose that one."
    if number.squad_id is not None:
        return "a squad answers this number, and live runs measure one assistant."
    if revision.pk != assistant.current_revision_id:
        return "a live call is answered by the current revision. Fix: publish this one first."
    if model and model != revision.model:
        return "a live call is answered by the revision's own model. Fix: leave the model away."
    return ""


def _of_caller(number: PhoneNumber, caller: str) -> str:
    if not caller or dialable(caller) != caller:
        return (
            "it is not known from which number to call. Fix: name a number of the same Twilio "
            "account, such as +15550100003."
        )
    if caller == number.number_e164:
        return "a number cannot call itself. Fix: name another number of the account."
    return ""


def _of_tools(revision: AssistantRevision, number: PhoneNumber, options: Mapping[str, Any]) -> str:
    try:
        words = unconfirmed(revision, number, options)
    except DecryptionError:
        return "no key opens what says which tools are called. Fix: put the lost key back."
    if not words:
        return ""
    return (
        f"both stacks really call their tools. {words} What they book or send is real. Fix: see "
        "that they may be called, and confirm it with your name in a new run."
    )


def _of_both_stacks(number: PhoneNumber) -> str:
    if number.route == PhoneNumber.Route.PAUSED:
        return "the number is paused. Fix: give it another route."
    if open_move(number) is not None:
        return "a move of the number is under way. Fix: wait until it is over."
    if not previous_of(number).voice:
        return (
            "its calls cannot be handed to the old stack: it is not known where they went, or they "
            "went to a trunk. Fix: enter the previous voice URL on the number's page."
        )
    try:
        connection = connection_for(number)
    except DecryptionError:
        return "no key opens the number's connection to the model. Fix: put the lost key back."
    if connection is None:
        return "the number has no connection to a model. Fix: give it one."
    return contract_problem(number, connection)


def _of_policy(number: PhoneNumber) -> str:
    policy = number.policy
    if policy is None or policy.reviewed_at is None:
        return "the number's call policy has not been reviewed. Fix: have it reviewed."
    if policy.recording_consent == CallPolicy.Consent.ASK:
        return (
            "the number's policy asks each caller for consent first, and no script answers that. "
            "Fix: hear past calls again instead."
        )
    return _quiet(number)


def _quiet(number: PhoneNumber) -> str:
    """Return why no call may be placed to a number now, '' if one may."""
    policy = number.policy
    hours = policy.calling_hours if policy is not None else {}
    desk = number.operator_desk
    return why_quiet(hours, desk.zone if desk is not None else "", timezone.now())


def twilio_problem(run: ParityRun, number: PhoneNumber, rest: TwilioRest) -> str:
    """Return what at Twilio keeps a run from calling, '' if nothing does.

    Raises:
        TwilioSilent: Twilio did not say.
    """
    caller = str(run.options.get(CALLER) or "")
    try:
        called = rest.number_by_e164(number.number_e164)
        calling = rest.number_by_e164(caller)
    except TwilioRefused as error:
        return f"Twilio refuses the account's login or the question ({error.status})."
    if called is None:
        return "the number is not in its Twilio account any more. Fix: look at the account."
    if calling is None:
        return (
            "the number to call from is not one of the same Twilio account. Fix: name one of its "
            "numbers; nobody else's is ever called from."
        )
    if (calling.get("capabilities") or {}).get("voice", True) is False:
        return "the number to call from cannot place calls. Fix: name one with voice."
    try:
        config = read(called)
    except UnreadableNumber as error:
        return f"Twilio's record of the number is not read: {error}"
    ours = public_url("/twilio/voice")
    if config.trunk_sid or config.voice_application_sid or urldefrag(config.voice_url)[0] != ours:
        return (
            "the number's calls do not come here, so only the old stack could be reached. Fix: "
            "move the number here with the route vapi; its callers stay with the old stack."
        )
    return ""


__all__ = [
    "CALLER",
    "MOST_PARALLEL",
    "TwilioSilent",
    "live_problem",
    "twilio_problem",
]
