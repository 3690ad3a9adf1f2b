"""Live runs: real calls to a number by a scripted caller, one through each stack for each place.

Owns the runner of the kind ``live``: what a worker does from a place of a run to what its call did.
The call itself is ``live_dials``', our leg of it ``live_lines``'. Our side is read from the rows of
the call that came in, the old side from the log that is imported afterwards: nothing is dialled
again while a log is waited for. Tools are really called, by both stacks.
"""

from __future__ import annotations

import time
import uuid
from collections.abc import Callable
from dataclasses import dataclass
from decimal import Decimal
from typing import Final

from calls.models import Call, CallHandover, ParityCall, ParityRun, RunDial
from calls.parity.played import CallLatency, CallResult, Utterance
from calls.parity.scenario import Scenario
from calls.parity.scenario_reading import ScenarioWrong, scenario_read
from calls.parity.scripted_caller import call_seconds
from calls.services.call_plan import connection_for
from calls.services.caller_clips import clips_render
from calls.services.live_checks import CALLER, live_problem, twilio_problem
from calls.services.live_costs import dial_charge, place_untold
from calls.services.live_dials import (
    DialRefused,
    DialUnclear,
    dial_ask,
    dial_claim,
    dial_hang_up,
    dial_look_up,
    dial_of,
    dial_place,
    dial_void,
    has_waited,
    is_live,
    strangers_between,
)
from calls.services.live_lines import words_said
from calls.services.live_logs import log_fetch
from calls.services.parity_runners import CallHalted, CallLost, CallRefused, CallStopped
from calls.services.sequences import imported_of, sequence_of
from calls.services.wording import RenderError
from calls.telephony.twilio_rest import TwilioRest, TwilioSilent
from voiceplatform.base.fields import DecryptionError
from voiceplatform.base.models import Job

LOOK_SECONDS: Final = 0.3
ASK_SECONDS: Final = 15.0
# How long other calls of the run, or of another one, may keep the line from ringing.
FREE_SECONDS: Final = 600.0
# Longer than a request for a call may wait at Twilio and than its list may lag behind: what is
# taken for never placed too early would ring as a caller's, and another one beside it.
UNKNOWN_SECONDS: Final = 60.0
STORED_SECONDS: Final = 20.0
HANGS_UP_SECONDS: Final = 20.0
# What the old stack did is in its log, and a log takes a moment.
LOG_SECONDS: Final = 20.0
# Between two questions for it to the old stack's API.
FETCH_SECONDS: Final = 3.0
_OLD: Final = (ParityCall.Stack.VAPI, ParityCall.Stack.AGAIN)


@dataclass(frozen=True, slots=True)
class Pace:
    """How patiently a call is followed, in seconds."""

    look: float
    ask: float
    log: float
    sleep: Callable[[float], None] = time.sleep
    clock: Callable[[], float] = time.monotonic


def live_prepare(run: ParityRun) -> None:
    """Refuse a run that may not call, and render what its callers say.

    Raises:
        CallRefused: as its text says.
    """
    number = run.number
    problem = live_problem(
        assistant=run.assistant,
        revision=run.revision,
        number=number,
        model=run.model,
        options=run.options,
    )
    if problem or number is None:
        raise CallRefused(problem)
    try:
        with _rest(run) as rest:
            problem = twilio_problem(run, number, rest)
        if problem:
            raise CallRefused(problem)
        scenarios = {row.scenario: (_scenario(row), row.source_call_id) for row in _each(run)}
        connection = connection_for(number)
        assert connection is not None, "live_problem has looked"
        clips_render(run, scenarios, connection)
    except TwilioSilent as error:
        raise CallRefused(f"Twilio does not answer: {error}. Fix: resume the run later.") from error
    except RenderError as error:
        raise CallRefused(
            f"the callers' words could not be rendered: {error}. Fix: test the connection."
        ) from error
    except DecryptionError as error:
        raise CallRefused("no key opens a scenario or a secret. Fix: put the lost key back.") from (
            error
        )


def _each(run: ParityRun) -> list[ParityCall]:
    """Return one call of each scenario."""
    found: dict[str, ParityCall] = {}
    for row in run.calls.order_by("scenario", "index").defer("sequence", "transcript", "extras"):
        found.setdefault(row.scenario, row)
    return list(found.values())


def _scenario(call: ParityCall) -> Scenario:
    try:
        return scenario_read(call.document, call.scenario)
    except ScenarioWrong as wrong:
        raise CallRefused(str(wrong)[:300]) from wrong


def _rest(run: ParityRun) -> TwilioRest:
    assert run.number is not None, "live_problem has looked"
    try:
        return TwilioRest(run.number.twilio_account)
    except ValueError as error:
        raise CallRefused(f"the number's Twilio account cannot be used: {error}") from error


def live_play(call: ParityCall, pace: Pace | None = None) -> CallResult:
    """Place the call of one place of a run, follow it to its end and return what it did.

    A call that was placed before, by a worker that died, is followed and not placed again.

    Raises:
        CallRefused: it may not or cannot be placed, or its log is not here yet.
        CallLost: it was cut off, or nobody knows yet what became of it.
    """
    scenario = _scenario(call)
    with _rest(call.run) as rest:
        player = _Player(call, scenario, rest, pace or Pace(LOOK_SECONDS, ASK_SECONDS, LOG_SECONDS))
        dial = dial_of(call)
        if dial is None:
            dial = player.placed()
        if dial.state != RunDial.State.ENDED:
            player.follow(dial)
        player.check(dial)
        return player.result(dial)


class _Player:
    """One place of a run, in the hands of one thread."""

    def __init__(self, call: ParityCall, scenario: Scenario, rest: TwilioRest, pace: Pace) -> None:
        number = call.run.number
        assert number is not None, "live_problem has looked"
        self._call, self._run, self._number = call, call.run, number
        self._scenario, self._rest, self._pace = scenario, rest, pace
        self._most_seconds = call_seconds(scenario)

    # ---- placing --------------------------------------------------------------------------------

    def placed(self) -> RunDial:
        """Place the call, once the line is free to ring."""
        until = self._pace.clock() + FREE_SECONDS
        while True:
            if self._is_cancelled():
                raise CallStopped("the run was cancelled before it was placed")
            dial = dial_claim(
                self._call,
                number=self._number,
                caller_e164=str(self._run.options.get(CALLER) or ""),
            )
            if dial is not None:
                break
            if self._pace.clock() > until:
                raise CallLost("another call from that number has been ringing all the time")
            self._pace.sleep(self._pace.look)
        self._look_again(dial)
        try:
            dial_place(dial, self._rest, most_seconds=self._most_seconds)
        except DialRefused as refused:
            raise CallRefused(f"{refused}. Fix: look at the account.") from refused
        except DialUnclear as unclear:
            dial.refresh_from_db()
            if not is_live(dial):
                raise CallLost(f"it was not placed: {unclear}") from unclear
        return dial

    def _look_again(self, dial: RunDial) -> None:
        """See that the run may still call: much changes in the hours that it takes.

        Raises:
            CallHalted: it may not, and neither may its other calls.
            CallLost: Twilio does not say.
        """
        run = ParityRun.objects.select_related(
            *("assistant", "revision__assistant", "number__twilio_account", "number__policy"),
            *("number__operator_desk", "number__connection"),
        ).get(pk=self._run.pk)
        problem = ""
        try:
            problem = live_problem(
                assistant=run.assistant,
                revision=run.revision,
                number=run.number,
                model=run.model,
                options=run.options,
            )
            if not problem and run.number is not None:
                problem = twilio_problem(run, run.number, self._rest)
        except TwilioSilent as error:
            dial_void(dial, "Twilio did not say whether it may be placed")
            raise CallLost(f"it was not placed: Twilio does not answer: {error}") from error
        except DecryptionError:
            problem = "no key opens a secret of the number. Fix: put the lost key back."
        if problem:
            dial_void(dial, "not placed: the run may not call any more")
            raise CallHalted(problem)

    # ---- following ------------------------------------------------------------------------------

    def follow(self, dial: RunDial) -> None:
        """Wait until a call is over; what must not go on is hung up."""
        clock, asked_at = self._pace.clock, self._pace.clock()
        until = clock() + self._most_seconds + 120
        while True:
            dial.refresh_from_db()
            if not is_live(dial):
                return
            if self._is_cancelled():
                words = "the run was cancelled while it was on"
                self._cut_off(dial, "cancelled", words, CallStopped)
            if not dial.caller_sid:
                # Not hung up before: without its id nobody could be asked to.
                if has_waited(dial, UNKNOWN_SECONDS):
                    self._give_up_unknown(dial)
            elif dial.call_id is None and dial.expected_until and has_waited(dial):
                words = "no call came here within 45 s of being placed"
                self._cut_off(dial, "lost", f"{words}. Fix: look at the number at Twilio")
            if clock() > until:
                self._cut_off(dial, "time", "it did not end by its limit")
            if clock() - asked_at > self._pace.ask:
                asked_at = clock()
                dial_ask(dial, self._rest)
            self._pace.sleep(self._pace.look)

    def _give_up_unknown(self, dial: RunDial) -> None:
        """Give up a call that never told its id, unless that has come meanwhile.

        Raises:
            CallLost: none was placed, or Twilio does not say.
            CallRefused: one may have been; a person decides.
        """
        try:
            found = dial_look_up(dial, self._rest)
        except DialUnclear as unclear:
            raise CallLost(f"nobody knows yet whether it was placed: {unclear}") from unclear
        if found == "none":
            if dial_void(dial, "Twilio never placed it", only_unknown=True):
                raise CallLost("Twilio never placed it")
        elif dial_void(dial, "nobody knows whether it was placed", only_unknown=True):
            raise CallRefused(
                "nobody knows whether it was placed: Twilio lists a call between these numbers, "
                "and none has told us that it is the run's. Another program's is never taken for "
                "it. Fix: look at the account's calls; once that one is over, resume the run: it "
                "is then called anew."
            )

    def _cut_off(
        self, dial: RunDial, why: str, words: str, error: type[CallLost] = CallLost
    ) -> None:
        until = self._pace.clock() + HANGS_UP_SECONDS
        while not dial_hang_up(dial, self._rest, why=why):
            if self._pace.clock() > until:
                # It stays as it is, so that no other one is placed; the next worker looks again.
                raise error(f"{words}, and Twilio does not say that it is over")
            self._pace.sleep(self._pace.look)
        self._charge(dial)
        dial_void(dial, words)
        raise error(words, cost_usd=self._untold())

    def _is_cancelled(self) -> bool:
        jobs = Job.objects.filter(pk__in=[self._run.job_id])
        found = jobs.values_list("cancel_requested", "finished_at").first()
        # A job that is over under us was ended by somebody else: what is on is not ours any more.
        return found is None or bool(found[0]) or found[1] is not None

    # ---- what came of it ------------------------------------------------------------------------

    def check(self, dial: RunDial) -> None:
        """Let a call that shows nothing count for nothing.

        Raises:
            CallRefused, CallLost: it does.
        """
        dial.refresh_from_db()
        came = dial.call
        if dial.state == RunDial.State.VOID:
            raise CallLost(dial.problem or "it counts for nothing")
        if came is not None and came.route_code == "test-refused":
            self._give_up(dial, came.route_reason)
            raise CallRefused(
                f"{came.route_reason}. Fix: mend that and resume the run.", cost_usd=self._untold()
            )
        if came is None:
            why = dial.problem or "our leg ended before"
            raise self._lost(dial, f"no call came here: {why}")
        if dial.answered_at is None or not dial.stream_used:
            why = f"{dial.problem or 'nobody answered'}; {came.route_reason}"
            raise self._lost(dial, f"our leg was not joined: {why}")
        if strangers_between(dial):
            words = "another call from that number came in meanwhile: nobody knows which was ours"
            raise self._lost(dial, words)
        if dial.ended_by in ("lost", "cancelled"):
            raise self._lost(dial, "it was cut off in the middle")

    def _lost(self, dial: RunDial, words: str) -> CallLost:
        self._give_up(dial, words)
        return CallLost(words[:300], cost_usd=self._untold())

    def _give_up(self, dial: RunDial, words: str) -> None:
        self._charge(dial)
        dial_void(dial, words)

    def result(self, dial: RunDial) -> CallResult:
        """Return what a call did."""
        assert dial.call_id is not None, "check has looked"
        old = self._call.stack in _OLD
        find = self._old_call if old else self._our_call
        came = find(dial, dial.call_id)
        self._charge(dial)
        waits = tuple(turn.latency_ms for turn in came.turns.all() if turn.latency_ms is not None)
        return CallResult(
            sequence=sequence_of(came),
            transcript=tuple(
                Utterance(turn.role, turn.text, turn.started_ms)
                for turn in came.turns.order_by("ordinal")
                if turn.text and turn.role in ("user", "assistant")
            ),
            latency=CallLatency(first_word_ms=came.first_word_ms, turns_ms=waits),
            cost_usd=self._untold(),
            audio_seconds=dial.said_seconds,
            extras={
                "call": str(came.pk),
                "ended_by": dial.ended_by,
                "heard": words_said(dial),
                "attempts": self._call.dials.count(),
            },
        )

    def _our_call(self, dial: RunDial, call_id: uuid.UUID) -> Call:
        until = self._pace.clock() + STORED_SECONDS
        while True:
            came: Call = Call.objects.get(pk=call_id)
            # Twilio may say that it is over before the stream has stored what it measured.
            if came.status == Call.Status.ENDED and came.report_due_at is None:
                break
            if self._pace.clock() > until:
                break
            self._pace.sleep(self._pace.look)
        if came.started_at is None:
            why = came.ended_reason or came.route_reason
            raise self._lost(dial, f"our stack took no stream: {why}")
        if came.revision_id != self._run.revision_id:
            self._give_up(dial, "another revision answered")
            raise CallRefused(
                "another revision answered: the assistant was changed meanwhile. Fix: begin a run "
                "of the revision that answers now.",
                cost_usd=self._untold(),
            )
        return came

    def _old_call(self, dial: RunDial, call_id: uuid.UUID) -> Call:
        came: Call
        handover = CallHandover.objects.filter(call_id=call_id).first()
        if handover is None or not handover.is_taken:
            raise self._lost(dial, "the old stack gave Twilio nothing")
        clock = self._pace.clock
        until = clock() + self._pace.log
        asked_at, problem = float("-inf"), ""
        while True:
            if clock() - asked_at >= FETCH_SECONDS:
                asked_at = clock()
                came = Call.objects.select_related("organisation").get(pk=call_id)
                problem = log_fetch(came, within_seconds=until - clock())
            came = Call.objects.get(pk=call_id)
            imported = imported_of(came)
            if imported is not None and imported.is_whole:
                return came
            if clock() > until or self._is_cancelled():
                break
            self._pace.sleep(self._pace.look)
        if imported is not None and came.tool_invocations.exists():
            return came  # what its recording addresses saw; compared as far as it goes
        self._charge(dial)
        why = f" (Vapi was asked: {problem})" if problem else ""
        raise CallRefused(
            f"it was made, and its log is not here yet{why}. Fix: import the old stack's call "
            "logs, then resume the run: it is not called again.",
            cost_usd=self._untold(),
        )

    def _charge(self, dial: RunDial) -> None:
        """Store what a call has cost, with what is known of it."""
        dial.refresh_from_db()
        dial_charge(dial)

    def _untold(self) -> Decimal:
        """Return what calls for this place have cost and its row does not tell yet.

        Under 0 where a log told that one has cost less than was taken for it.
        """
        return place_untold(self._call)
