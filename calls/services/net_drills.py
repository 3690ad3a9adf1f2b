"""A drill: one call of ours to a test number is not answered, and who answers instead is timed.

Owns the job. Nothing at Twilio is changed and no number but a test number is touched: our voice
webhook refuses that one call (``net_flag``), which ends by the clock whoever dies. What the drill
shows is Twilio's doing, not a guess: the call's state there, and its errors.
"""

from __future__ import annotations

import time
import uuid
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final, Literal, TypeVar

import structlog
from django.conf import settings
from django.db import transaction
from django.utils import timezone

from calls.models import NumberMove, NumberNet, PhoneNumber
from calls.numbers import net_errors
from calls.services import move_rows
from calls.services.net_flag import flag_clear, flag_set
from calls.services.net_rows import net_fired, net_of
from calls.telephony.twilio_rest import TwilioRefused, TwilioRest, TwilioSilent
from voiceplatform.base.fields import DecryptionError
from voiceplatform.base.job_bell import JobBell
from voiceplatform.base.jobs import RunningJob, job_create
from voiceplatform.base.models import Job
from voiceplatform.base.services import audit_write

KIND: Final = "net_drill"
TASK: Final = "calls.tasks.run_net_drill"
SOFT_LIMIT_SECONDS: Final = 120
BELL: Final = JobBell(TASK, (KIND,))

CALL_SECONDS: Final = 30  # both legs end then, whatever happens
COMES_SECONDS: Final = 40.0
ANSWER_SECONDS: Final = 20.0
LOOK_SECONDS: Final = 0.5
_TWIML: Final = '<Response><Pause length="25"/></Response>'
_OVER: Final = frozenset({"completed", "busy", "failed", "no-answer", "canceled"})
_STEPS: Final = 4

T = TypeVar("T")

log = structlog.get_logger(__name__)


class DrillRefused(ValueError):
    """There can be no drill of this number now; the text names the cause and the fix."""


@dataclass(frozen=True, slots=True)
class Shown:
    """What the drill showed; ``seconds`` from our refusal to the answer, at most half a second
    too long."""

    outcome: Literal["held", "failed", "unknown"]
    words: str
    seconds: float | None = None


def net_drill_begin(*, number: PhoneNumber, actor: Any) -> Job:
    """Order a drill of a test number's net; a worker does it and the job shows how it goes.

    Raises:
        DrillRefused: as its text says.
    """
    net = net_of(number)
    if problem := drill_problem(number, net):
        raise DrillRefused(problem)
    with transaction.atomic():
        job = job_create(
            organisation=number.organisation,
            kind=KIND,
            actor=actor,
            parameters={"number_id": str(number.pk)},
            total=_STEPS,
        )
        audit_write(
            actor=actor, action="net.drill", organisation=number.organisation, target=number
        )
        transaction.on_commit(lambda: BELL.poke(job.pk))
    return job


def drill_problem(number: PhoneNumber, net: NumberNet) -> str:
    """Return why there can be no drill of a number now, '' if there can."""
    if not net.is_test:
        return (
            "A drill refuses one call on purpose, so it is for test numbers alone. Fix: mark a "
            "number that no customer calls as a test number."
        )
    if net.probe_state not in (NumberNet.Probe.ARMED, NumberNet.Probe.MENDED):
        found = net.probe_words or net.get_probe_state_display()
        return f"The number's net is not armed ({found}). Fix: move the number, or look now."
    moving = move_rows.open_move(number)
    if moving is not None and moving.step == NumberMove.Step.TESTED:
        return "Its move waits for the first caller. Fix: call the number once, then try again."
    if moving is not None:
        return "A move of this number is under way. Fix: wait until it is over."
    if net.drill_until is not None and net.drill_until > timezone.now():
        return "A drill of this number is under way. Fix: wait a minute."
    return ""


def drill_run(job_id: uuid.UUID | str) -> None:
    """Do one drill to its end; harmless when another worker has it or it has ended."""
    BELL.run(job_id, _drill)


def _drill(running: RunningJob) -> None:
    number = (
        PhoneNumber.objects.select_related("organisation", "twilio_account")
        .filter(pk=running.job.parameters["number_id"], organisation_id=running.job.organisation_id)
        .first()
    )
    if number is None:
        running.end(Job.State.FAILED, "The number does not exist any more.")
        return
    net = net_of(number)
    token = running.job.pk.hex
    flag_clear(net.pk, token)  # what a worker before this one left
    net.refresh_from_db()
    if problem := drill_problem(number, net):
        running.end(Job.State.FAILED, problem)
        return
    try:
        shown = _Drill(running, number, net, token).go()
    except (TwilioRefused, TwilioSilent, DecryptionError, ValueError) as error:
        running.end(Job.State.FAILED, f"It could not be carried out: {error}")
        return
    except DrillRefused as refused:
        running.end(Job.State.FAILED, str(refused))
        return
    finally:
        flag_clear(net.pk, token)
    state = Job.State.DONE if shown.outcome == "held" else Job.State.FAILED
    running.end(
        state,
        shown.words,
        counts=(_STEPS, _STEPS),
        result={"model": "calls.numbernet", "id": str(net.pk), "seconds": shown.seconds},
    )


class _Drill:
    """One drill, on one worker."""

    def __init__(
        self,
        running: RunningJob,
        number: PhoneNumber,
        net: NumberNet,
        token: str,
        *,
        clock: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        self.running, self.number, self.net, self.token = running, number, net, token
        self.clock, self.sleep = clock, sleep

    def go(self) -> Shown:
        """Place the call, watch who answers it, and write down what that was."""
        with TwilioRest(self.number.twilio_account) as twilio:
            caller = self._caller(twilio)
            if not flag_set(self.net, token=self.token, caller=caller):
                raise DrillRefused("Another drill of this number has just begun.")
            self.running.progress(1, _STEPS, "calling the number")
            placed = twilio.post(
                "Calls.json",
                {
                    "To": self.number.number_e164,
                    "From": caller,
                    "Twiml": _TWIML,
                    "TimeLimit": str(CALL_SECONDS),
                    "Timeout": str(CALL_SECONDS),
                },
            )
            try:
                return self._watched(twilio)
            finally:
                _hang_up(twilio, str(placed.get("sid") or ""))

    def _caller(self, twilio: TwilioRest) -> str:
        """Return a number of the account to call from: a number cannot call itself.

        Raises:
            DrillRefused: there is none.
        """
        for each in twilio.numbers():
            voice = (each.get("capabilities") or {}).get("voice", True)
            if voice and each.get("phone_number") != self.number.number_e164:
                return str(each["phone_number"])
        raise DrillRefused(
            "The Twilio account has no other number to call from. Fix: buy one, or call the test "
            "number yourself while this site is stopped."
        )

    def _watched(self, twilio: TwilioRest) -> Shown:
        came = self._until(COMES_SECONDS, self._came)
        if came is None:
            words = f"No call came here within {COMES_SECONDS:.0f} s, so nothing was shown. Fix: "
            return Shown("unknown", words + "look at the number at Twilio, then try again.")
        call_sid, failed_at = came
        self.running.progress(2, _STEPS, "not answered here; who answers?")
        firing: dict[str, Any] = {"number": self.number, "part": _part(self.net), "kind": "drill"}
        # Now, so that nobody takes this call for a caller who was hurt.
        net_fired(
            **firing,
            words="a drill: one call was not answered here",
            call_sid=call_sid,
            fired_at=failed_at,
        )
        status = self._until(ANSWER_SECONDS, lambda: self._answered(twilio, call_sid))
        seconds = (timezone.now() - failed_at).total_seconds()
        self.running.progress(3, _STEPS, "reading Twilio's errors of the call")
        shown = self._judged(twilio, call_sid, status, round(seconds, 1))
        net_fired(**firing, words=shown.words, call_sid=call_sid, outcome=shown.outcome)
        if shown.seconds is not None:
            self.number.net_firings.filter(call_sid=call_sid, kind="drill").update(
                seconds=shown.seconds
            )
        return shown

    def _came(self) -> tuple[str, datetime] | None:
        row = NumberNet.objects.filter(pk=self.net.pk, drill_token=self.token)
        found = row.exclude(drill_call_sid="").values_list("drill_call_sid", "drill_failed_at")
        seen = found.first()
        return None if seen is None or seen[1] is None else (seen[0], seen[1])

    def _answered(self, twilio: TwilioRest, call_sid: str) -> str | None:
        status = str(twilio.get(f"Calls/{call_sid}.json").get("status") or "")
        return status if status == "in-progress" or status in _OVER else None

    def _until(self, seconds: float, look: Callable[[], T | None]) -> T | None:
        until = self.clock() + seconds
        while (found := look()) is None and self.clock() < until:
            self.sleep(LOOK_SECONDS)
        return found

    def _judged(
        self, twilio: TwilioRest, call_sid: str, status: str | None, seconds: float
    ) -> Shown:
        rows = twilio.pages(f"Calls/{call_sid}/Notifications.json")
        notes = [note for note in map(net_errors.read, rows) if note is not None]
        calls = net_errors.unanswered(notes, our_url=settings.PUBLIC_BASE_URL)
        if any(call.fallback_failed for call in calls):
            return Shown(
                "failed",
                "Twilio asked the net, and it failed too: the caller heard an "
                "error. Fix: look at what answers there.",
            )
        if status in ("in-progress", "completed"):
            who = "your address" if self.net.address else "what answered before the move"
            return Shown("held", f"Answered by {who} after {seconds:g} s.", seconds)
        if status is None:
            words = f"Nobody had answered after {ANSWER_SECONDS:.0f} s."
            return Shown("failed", words + " Fix: look at what answers there.")
        return Shown("failed", f"The call ended unanswered ({status}). Fix: set up a fallback.")


def _part(net: NumberNet) -> str:
    return "d" if net.previous_closed_at is not None else "a"


def _hang_up(twilio: TwilioRest, call_sid: str) -> None:
    if not call_sid:
        return
    try:
        twilio.post(f"Calls/{call_sid}.json", {"Status": "completed"})
    except (TwilioRefused, TwilioSilent):
        # Over already (T16), or it ends by its own limit.
        log.info("drill_call_not_ended", call_sid=call_sid)
