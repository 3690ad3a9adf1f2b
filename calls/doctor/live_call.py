"""One real call to a spare number, and the open questions of twilio.md 12 that it answers.

Blocking. The number is pointed here, called from another one of the account, and put back as it
was whatever happens; until then how it was lies in a file, for a run that was killed. The call is
short, so it costs cents. It must not show what was said.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import datetime
from difflib import SequenceMatcher
from pathlib import Path
from typing import Final, Literal

from django.conf import settings
from django.utils import timezone
from requests import RequestException
from twilio.base.exceptions import TwilioException, TwilioRestException
from twilio.rest import Client

from calls.models import Call, PhoneNumber, TwilioAccount
from calls.telephony.number_config import (
    NumberConfig,
    NumberConfigError,
    configure,
    here,
    number_config,
)
from calls.telephony.twilio_client import (
    GONE_CODES,
    TwilioAccess,
    access_of,
    client_for,
    complete_call,
)

# Both legs end then, whatever the caller's script or the assistant does: under 1 USD by far.
CALL_SECONDS: Final = 60
COMES_SECONDS: Final = 45.0
ENDS_SECONDS: Final = CALL_SECONDS + 45.0
_LOOK_SECONDS: Final = 0.2
CALLER_TWIML: Final = (
    '<Response><Pause length="8"/><Say>Hello, what are your opening hours?</Say>'
    '<Pause length="12"/><Say>Thank you. Goodbye.</Say><Pause length="3"/></Response>'
)

State = Literal["answered", "failed", "not checked"]
_ERRORS = (TwilioException, RequestException, NumberConfigError)


@dataclass(frozen=True, slots=True)
class CallAnswer:
    """What the call says to one question; ``source`` as in the references."""

    source: str
    question: str
    state: State
    answer: str


class LiveCallError(Exception):
    """No call can be placed; the message says what is missing, for people."""


@dataclass(frozen=True, slots=True)
class _Placed:
    sid: str
    at: datetime
    since_update_seconds: float


def live_call(
    account: TwilioAccount,
    number: str,
    caller: str = "",
    *,
    now: Callable[[], float] = time.monotonic,
) -> Iterator[CallAnswer]:
    """Point ``number`` here, call it once, put it back, and yield what that has shown.

    Args:
        caller: another number of the account, or one that Twilio has verified; '' picks one.

    Raises:
        LiveCallError: the number is not ready, there is nobody to call from, or Twilio refuses.
    """
    _ready(account, number)
    access = access_of(account)
    client = client_for(access)
    answers: list[CallAnswer] = []
    try:
        before = _as_it_was(client, number)
        from_number = caller or _other_number(client, number)
        ours = here(before)
        _keep(before)
        try:
            configure(client, ours, over=before)
            pointed_at = now()
            placed = _place(client, number, from_number, pointed_at, now)
            call = _followed(access, placed, account, number, now)
            answers = [*_of_call(call, placed), *_of_carrier(client, call, placed)]
        finally:
            answers.append(_put_back(client, before, over=ours))
    except TwilioRestException as error:
        told = f"Twilio refused: {error.status} {error.code}"
        raise LiveCallError(" ".join([told, *_left(answers)])) from error
    except _ERRORS as error:
        told = str(error) if isinstance(error, NumberConfigError) else type(error).__name__
        raise LiveCallError("; ".join([told, *_left(answers)])) from error
    yield from answers


def _left(answers: list[CallAnswer]) -> list[str]:
    return [each.answer for each in answers if each.state == "failed"]


def _ready(account: TwilioAccount, number: str) -> None:
    row = PhoneNumber.objects.filter(number_e164=number, twilio_account=account).first()
    if row is None:
        raise LiveCallError(f"{number} is not entered here; add it under Phone numbers, answering")
    if row.route != PhoneNumber.Route.DIRECT:
        raise LiveCallError(f"{number} does not answer here: its route is {row.route}, not direct")


def _other_number(client: Client, number: str) -> str:
    owned = client.incoming_phone_numbers.list(limit=20)
    for row in owned:
        if row.phone_number != number and (row.capabilities or {}).get("voice", True):
            return str(row.phone_number)
    for verified in client.outgoing_caller_ids.list(limit=1):
        return str(verified.phone_number)
    raise LiveCallError(
        "a number cannot call itself: name another one of the account, or one that Twilio has "
        "verified, with --from"
    )


# ---- the number -----------------------------------------------------------------------------


def kept_path(number: str) -> Path:
    """Return where a number's configuration lies while it is pointed here for a check."""
    return Path(settings.VAR_DIR) / "live_check" / f"{number.lstrip('+')}.json"


def _as_it_was(client: Client, number: str) -> NumberConfig:
    """Return how the number was before this check, or before one that was killed."""
    path = kept_path(number)
    if path.exists():
        try:
            earlier = NumberConfig.from_json(json.loads(path.read_text(encoding="utf-8")))
        except (ValueError, KeyError, TypeError) as error:
            raise LiveCallError(
                f"{path} cannot be read; look at the number, then delete it"
            ) from error
        try:
            configure(client, earlier, over=here(earlier))
        except NumberConfigError as error:
            raise LiveCallError(
                f"{error} since a check that was cut off. How it was is in {path}: put it back at "
                "Twilio, then delete the file"
            ) from error
        path.unlink()
    return number_config(client, number)


def _keep(config: NumberConfig) -> None:
    path = kept_path(config.number_e164)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(config.as_json()), encoding="utf-8")


def _put_back(client: Client, before: NumberConfig, *, over: NumberConfig) -> CallAnswer:
    source, question = "twilio.md 5.5", "Is the number configured as it was before?"
    path = kept_path(before.number_e164)
    try:
        configure(client, before, over=over)
    except _ERRORS as error:
        told = str(error) if isinstance(error, NumberConfigError) else type(error).__name__
        return CallAnswer(
            source, question, "failed", f"no: {told}. How it was is in {path}; run this again"
        )
    path.unlink(missing_ok=True)
    return CallAnswer(source, question, "answered", "yes, field by field")


# ---- the call -------------------------------------------------------------------------------


def _place(
    client: Client, number: str, caller: str, pointed_at: float, now: Callable[[], float]
) -> _Placed:
    at = timezone.now()
    made = client.calls.create(
        to=number, from_=caller, twiml=CALLER_TWIML, time_limit=CALL_SECONDS, timeout=30
    )
    return _Placed(str(made.sid), at, now() - pointed_at)


def _followed(
    access: TwilioAccess,
    placed: _Placed,
    account: TwilioAccount,
    number: str,
    now: Callable[[], float],
) -> Call | None:
    """Return the call as it came here and has ended, None if none came; ends what goes on."""
    began = now()
    rows = Call.objects.filter(
        twilio_account=account, callee=number, created_at__gte=placed.at
    ).select_related("revision")
    try:
        while now() - began < ENDS_SECONDS:
            call: Call | None = rows.order_by("created_at").first()
            # Twilio may say that it is over before the stream has stored what it measured.
            if call is not None and call.status == Call.Status.ENDED and not call.report_due_at:
                return call
            if call is None and now() - began > COMES_SECONDS:
                return None
            time.sleep(_LOOK_SECONDS)
        return rows.order_by("created_at").first()
    finally:
        complete_call(access, placed.sid)


def _of_call(call: Call | None, placed: _Placed) -> Iterator[CallAnswer]:
    question = "Does a call reach the assistant, and how fast does it speak?"
    if call is None:
        why = "no call came here; look at Twilio's debugger and at the refused requests"
        yield CallAnswer("the call", question, "failed", why)
        return
    heard = call.first_word_ms is not None
    yield CallAnswer(
        "the call",
        question,
        "answered" if heard else "failed",
        f"{call.duration_seconds} s, first word after {call.first_word_ms} ms, answers after "
        f"{call.turn_latency_p50_ms} ms (median), {call.cost_usd:.4f} USD of the model, "
        f"ended as {call.ended_reason or 'nothing yet'}",
    )
    if call.media_token_used_at is not None:
        yield CallAnswer(
            "twilio.md 12.1",
            "Headers and signed URL of the media handshake",
            "answered",
            "the signature fits the wss address of the TwiML; other headers are not kept",
        )
    came_seconds = (call.created_at - placed.at).total_seconds() + placed.since_update_seconds
    yield CallAnswer(
        "twilio.md 12.7",
        "Time from an update of a number to its first call",
        "answered",
        f"a call {came_seconds:.1f} s after the update met the new configuration",
    )
    yield from _greeting(call)


def _greeting(call: Call) -> Iterator[CallAnswer]:
    revision = call.revision
    first = call.turns.filter(role="assistant").order_by("ordinal").first()
    if revision is None or first is None or not revision.first_message:
        return
    alike = SequenceMatcher(None, _plain(revision.first_message), _plain(first.text)).ratio()
    said = "word for word" if alike == 1 else f"{alike:.0%} alike"
    yield CallAnswer(
        "openai_realtime.md 15.4",
        "Is a verbatim greeting followed reliably?",
        "answered",
        f"in this one call it was {said}",
    )


def _plain(text: str) -> str:
    return " ".join("".join(c if c.isalnum() else " " for c in text.casefold()).split())


def _of_carrier(client: Client, call: Call | None, placed: _Placed) -> Iterator[CallAnswer]:
    if call is not None:
        question = "Completing a call that has ended"
        try:
            client.calls(call.call_sid).update(status="completed")
            told = "accepted"
        except TwilioRestException as error:
            known = "as expected" if error.code in GONE_CODES else "which is new"
            told = f"refused with {error.status}, code {error.code}, {known}"
        yield CallAnswer("twilio.md 12.9", question, "answered", told)
    question = "Billing lines of one call"
    try:
        records = client.usage.records.today.list(limit=500)
    except TwilioException:  # of a list the SDK tells no more than that
        told = "the account's usage records could not be read"
        yield CallAnswer("twilio.md 12.11", question, "not checked", told)
        return
    used = sorted({str(each.category) for each in records if str(each.count or "0") != "0"})
    yield CallAnswer(
        "twilio.md 12.11",
        question,
        "answered",
        "categories with use today, of the whole account: " + (", ".join(used) or "none yet"),
    )
