"""The call of our own that shows that a moved number's calls come here.

Placed through Twilio's REST API from another number of the account, so it comes in over the
telephone network like any other; it is good when its webhook has come here, and then it is ended.
Owns that call alone. What follows from it is ``calls.numbers.switch.steps``'s.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from typing import Final, Literal

import structlog
from django.utils import timezone

from calls.models import Call, NumberMove
from calls.services.move_rows import Held
from calls.telephony.twilio_rest import TwilioRefused, TwilioRest, TwilioSilent

# A call rings within a few seconds; a busy account queues calls (one a second, twilio.md 8.1).
COMES_SECONDS: Final = 45.0
# For so long a call from the test's number is taken for the test.
COMING: Final = timedelta(seconds=90)
# Both legs end then, whatever happens; by then we have hung up.
CALL_SECONDS: Final = 30
LOOK_SECONDS: Final = 1.0
_MOST_PLACED: Final = 2
_TWIML: Final = '<Response><Pause length="20"/></Response>'

log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class TestStep:
    """How far the call is; ``wait_seconds`` until it is worth looking again."""

    __test__ = False  # no test case, whatever its name begins with

    state: Literal["pending", "good", "failed"]
    words: str = ""
    wait_seconds: float = 0.0


def test_step(held: Held, row: NumberMove, twilio: TwilioRest) -> TestStep:
    """Place the call, or look whether the one that was placed has come in.

    Raises:
        MoveLost: another process has the move.
    """
    if row.test_state in ("answered", "skipped"):
        return TestStep("good", row.test_words)
    if row.test_state != "placed" or row.test_placed_at is None:
        return _place(held, row, twilio)
    if row.test_seen_sid:
        return _came(held, row, twilio)
    waited = (timezone.now() - row.test_placed_at).total_seconds()
    if waited < COMES_SECONDS:
        return TestStep("pending", wait_seconds=LOOK_SECONDS)
    if not row.test_call_sid:
        # Nobody knows whether it was placed: the process died before it stored Twilio's answer, or
        # there was none. Each may be a call that is paid for.
        if row.tests_placed < _MOST_PLACED:
            return _place(held, row, twilio)
        return _skipped(held, "Twilio did not say whether it placed one, and none came")
    words = f"no call came here within {COMES_SECONDS:.0f} s of being placed from another number"
    held.write(test_state="failed", test_words=words)
    _hang_up(twilio, row.test_call_sid)
    return TestStep("failed", words)


test_step.__test__ = False  # type: ignore[attr-defined]  # as above


def _place(held: Held, row: NumberMove, twilio: TwilioRest) -> TestStep:
    try:
        caller = row.test_caller or _caller(twilio, row.number.number_e164)
    except (TwilioRefused, TwilioSilent) as error:
        return _skipped(held, f"not placed: the account's numbers could not be read ({error})")
    if not caller:
        return _skipped(
            held, "not placed: the account has no other number to call from; call it yourself"
        )
    now = timezone.now()
    held.write(
        test_state="placed",
        test_caller=caller,
        test_placed_at=now,
        test_call_sid="",
        test_words="",
        tests_placed=row.tests_placed + 1,
    )
    form = {
        "To": row.number.number_e164,
        "From": caller,
        "Twiml": _TWIML,
        "TimeLimit": str(CALL_SECONDS),
        "Timeout": "20",
    }
    try:
        made = twilio.post("Calls.json", form)
    except TwilioRefused as error:
        return _skipped(held, f"not placed: Twilio refused it: {error.words} ({error.code})")
    except TwilioSilent:
        # It may have been placed; look whether it comes.
        return TestStep("pending", wait_seconds=LOOK_SECONDS)
    held.write(test_call_sid=str(made.get("sid") or "")[:34])
    return TestStep("pending", wait_seconds=LOOK_SECONDS)


def _caller(twilio: TwilioRest, number_e164: str) -> str:
    """Return a number to call from, '' if there is none: a number cannot call itself."""
    for each in twilio.numbers():
        voice = (each.get("capabilities") or {}).get("voice", True)
        if each.get("phone_number") != number_e164 and voice:
            return str(each["phone_number"])
    for each in twilio.pages("OutgoingCallerIds.json"):
        return str(each.get("phone_number") or "")
    return ""


def _skipped(held: Held, words: str) -> TestStep:
    # That no call can be placed says nothing about the number: the first caller shows it.
    held.write(test_state="skipped", test_words=words[:300])
    return TestStep("good", words)


def _came(held: Held, row: NumberMove, twilio: TwilioRest) -> TestStep:
    call = Call.objects.filter(call_sid=row.test_seen_sid).first()
    stack = call.stack if call is not None else ""
    held.write(test_state="answered", test_words=f"it came here and was given to {stack or 'us'}")
    if row.test_call_sid:
        _hang_up(twilio, row.test_call_sid)
    return TestStep("good")


def _hang_up(twilio: TwilioRest, call_sid: str) -> None:
    try:
        twilio.post(f"Calls/{call_sid}.json", {"Status": "completed"})
    except (TwilioRefused, TwilioSilent):
        # Over already (T16), or it ends by its own limit.
        log.info("test_call_not_ended", call_sid=call_sid)


def recent(row: NumberMove) -> bool:
    """Tell whether a test call of this move may be coming in now; it may be late."""
    if row.test_state not in ("placed", "failed") or row.test_placed_at is None:
        return False
    return bool(timezone.now() - row.test_placed_at < COMING)
