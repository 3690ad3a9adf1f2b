"""Does the steps of a move: what ``calls.numbers.switch.steps`` orders is asked of Twilio here.

Owns the loop of look, write and look again: the state is stored **before** each action, under a
lease that is checked with each store; then a process may die anywhere, and the next one finds out
at Twilio what was done. HTTP happens outside of transactions. Waits longer than the caller's time
are written into the row, and the beat takes the move up again. It must not decide what follows.
"""

from __future__ import annotations

import time
import uuid
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, Final, Literal, assert_never

import structlog
from django.db import transaction
from django.db.models import F
from django.utils import timezone

from calls.models import NumberMove, PhoneNumber, TwilioAccount
from calls.numbers.switch.steps import (
    Ask,
    Event,
    Fetch,
    Finished,
    Found,
    Missing,
    Move,
    PlaceTestCall,
    Post,
    Posted,
    PostRefused,
    PostUnclear,
    Resumed,
    Step,
    TestCallEnded,
    Wait,
    advance,
)
from calls.numbers.switch.voice import UnreadableNumber, read
from calls.numbers.switch.writes import as_form
from calls.services import move_test_calls
from calls.services.move_restores import restore_begin
from calls.services.move_rows import Held, MoveLost, columns_of, move_of, row_of, take
from calls.telephony.rest_rules import WAITS_SECONDS
from calls.telephony.twilio_rest import NeverSent, TwilioRefused, TwilioRest, TwilioSilent
from voiceplatform.base.services import audit_write

# ``waits``: a person has to confirm nothing, a caller has to come. ``person``: stopped.
State = Literal["done", "again", "person", "waits", "nothing"]

# What Twilio accepted may be read back a moment later.
_READ_BACK_SECONDS: Final = 0.5
# With a login that is not taken, somebody has to mend the account; nothing is lost by waiting.
_LOGIN_SECONDS: Final = 60.0
_LONGEST_SECONDS: Final = 60.0
# While the first caller is waited for: somebody else may change the number meanwhile.
_WATCH: Final = timedelta(minutes=15)

log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class Outcome:
    """How far a move came; ``retry_after_seconds`` is when it is worth coming back."""

    state: State
    words: str
    retry_after_seconds: float = 0.0


def move_run(
    move_id: uuid.UUID,
    *,
    within_seconds: float,
    clock: Callable[[], float] = time.monotonic,
    sleep: Callable[[float], None] = time.sleep,
) -> Outcome:
    """Carry a move on until it waits, is done, stopped, or the time is over. Idempotent.

    Args:
        within_seconds: waits that are longer than what is left of it are left to the beat.
    """
    held = take(move_id)
    if held is None:
        return outcome_of(move_id)
    try:
        row = row_of(move_id)
        with TwilioRest(_account_of(row), within_seconds=0) as twilio:
            until = clock() + within_seconds
            _Run(held, row, twilio, until, clock, sleep).go()
    except MoveLost:
        log.warning("move_lost", move_id=str(move_id))
    except (UnreadableNumber, ValueError) as error:
        # The row was tampered with, or the account has no usable login: nothing was sent.
        _put_off(held, str(error), _LOGIN_SECONDS)
    finally:
        held.release()
    return outcome_of(move_id)


def outcome_of(move_id: uuid.UUID) -> Outcome:
    """Return how far a move is, from its row alone."""
    row = NumberMove.objects.defer("state", "snapshot").filter(pk=move_id).first()
    if row is None:
        return Outcome("nothing", "there is no such move")
    if row.step == NumberMove.Step.DONE:
        is_back = row.direction == NumberMove.Direction.BACK
        return Outcome("done", "back as it was" if is_back else "its calls come here")
    if row.step == NumberMove.Step.ABANDONED:
        return Outcome("nothing", "the move was given up")
    if row.step == NumberMove.Step.REPLACED:
        return Outcome("nothing", "a way back took the move over")
    if row.step == NumberMove.Step.STOPPED:
        return Outcome("person", row.problem)
    if row.step == NumberMove.Step.TESTED:
        return Outcome("waits", "written and compared; it waits for the first caller")
    at = max((each for each in (row.next_at, row.lease_until) if each), default=None)
    left = (at - timezone.now()).total_seconds() if at else 1.0
    return Outcome("again", row.problem or "under way", max(0.5, left))


def _account_of(row: NumberMove) -> TwilioAccount:
    """Return the account that has the number at Twilio, whatever our own row says by now."""
    named = TwilioAccount.objects.for_organisation(row.organisation).filter(
        account_sid=move_of(row).before.account_sid
    )
    account: TwilioAccount = named.first() or row.number.twilio_account
    return account


def _put_off(held: Held, words: str, seconds: float) -> None:
    try:
        held.write(problem=words[:500], next_at=timezone.now() + timedelta(seconds=seconds))
    except MoveLost:
        log.warning("move_lost", move_id=str(held.move_id))


class _Put(Exception):
    """The rest is for later; what is next is in the row."""


class _Run:
    """One process's turn at one move."""

    def __init__(
        self,
        held: Held,
        row: NumberMove,
        twilio: TwilioRest,
        until: float,
        clock: Callable[[], float],
        sleep: Callable[[float], None],
    ) -> None:
        self.held, self.row, self.twilio = held, row, twilio
        self.until, self.clock, self.sleep = until, clock, sleep
        self.move = move_of(row)
        self.silences = row.silences

    def go(self) -> None:
        """Take event after event until there is nothing to do now."""
        event: Event | None = Resumed()
        try:
            while event is not None:
                stored = self.move.step
                move, action = advance(self.move, event)
                if self._settles(move, stored):
                    return
                self.move = move
                event = self._do(action) if action is not None else None
        except _Put:
            return

    def _settles(self, move: Move, stored: Step) -> bool:
        """Put off the end of a way back while a move that it took over may still be writing."""
        settle = self.row.settle_until
        if move.direction != "back" or move.step is not Step.DONE or settle is None:
            return False
        if settle <= timezone.now():
            return False
        # Taken up again it looks, and writes again if the late write has come.
        again = Move("back", before=self.move.before, wanted=self.move.wanted, step=Step.STORED)
        words = "back at Twilio; looked at once more when the move that it replaced has ended"
        self.held.write(**{**columns_of(again), "problem": words, "next_at": settle})
        self.move = again
        self._pause((settle - timezone.now()).total_seconds())
        self.row.settle_until = None
        self.go()
        return True

    # ---- actions ------------------------------------------------------------------------------

    def _do(self, action: Any) -> Event | None:
        match action:
            case Fetch():
                self._store(next_at=self._soon())
                return self._fetch(again=action.again)
            case Post():
                self._store(next_at=self._soon(), may_be_written=True, writes=F("writes") + 1)
                return self._post(action.fields)
            case PlaceTestCall():
                return self._test_call()
            case Ask():
                self._ask()
                return None
            case Wait():
                self._store(next_at=timezone.now() + _WATCH)
                return None
            case Finished():
                self._finish()
                return None
        assert_never(action)

    def _fetch(self, *, again: bool) -> Event:
        if again and self.move.step is Step.STORED:
            # After a write without an answer: it may have been made.
            self._pause(self._wait_seconds(None))
        elif again:
            # Never left to the beat: who is taken up again counts these looks anew, for ever.
            self.sleep(_READ_BACK_SECONDS)
        while True:
            try:
                resource = self.twilio.number(self.move.before.sid)
                found = Found(read(resource))
            except TwilioRefused as error:
                if error.is_gone:
                    return Missing()
                self._put_off(f"{error}. Fix: mend the Twilio account's token or key")
            except TwilioSilent as error:
                self._silent(error)
            except UnreadableNumber as error:
                self._put_off(str(error))
            else:
                return found

    def _post(self, fields: Mapping[str, str]) -> Event:
        path = f"IncomingPhoneNumbers/{self.move.before.sid}.json"
        try:
            self.twilio.post(path, as_form(fields))
        except TwilioRefused as error:
            return Missing() if error.is_gone else PostRefused(f"{error.words} ({error.code})")
        except NeverSent as error:
            return PostRefused(str(error))
        except TwilioSilent as error:
            self.silences += 1
            self._retry_after = error.retry_after_seconds
            self.held.write(silences=self.silences, problem=str(error)[:500])
            return PostUnclear()
        self.silences = 0
        return Posted()

    def _test_call(self) -> Event | None:
        self._store(next_at=self._soon())
        test = move_test_calls.test_step(self.held, self.row, self.twilio)
        if test.state == "pending":
            self.held.write(next_at=timezone.now() + timedelta(seconds=test.wait_seconds))
            self._pause(test.wait_seconds)
            self.row = row_of(self.row.pk)
            if self.row.lease_token != self.held.token:
                raise MoveLost(str(self.row.pk))
            return Resumed()
        return TestCallEnded(is_good=test.state == "good", why=test.words)

    def _ask(self) -> None:
        stop = self.move.stop
        if stop is None or self.row.step == NumberMove.Step.STOPPED:
            self._store(next_at=None)
            return
        log.warning("move_stopped", move_id=str(self.row.pk), code=stop.code)
        with transaction.atomic():
            # First the number, then its moves, as whoever orders a way back locks them: the other
            # way round each of two would wait for the other.
            rows = PhoneNumber.objects.select_for_update().filter(pk=self.row.number_id)
            rows.values_list("pk").first()
            # Nothing of ours is on its way, so whoever puts the number back need not wait for it.
            self._store(next_at=None, lease_until=None)
            audit_write(
                actor=None,
                action="number.move_stopped",
                organisation=self.row.organisation,
                target=self.row.number,
                details={"move": str(self.row.pk), "code": stop.code, "fields": list(stop.fields)},
            )
            if stop.code == "test_failed":
                # The number rings where nobody answers, and perhaps nobody watches: it goes back
                # without being told to. A move that goes wrong later is the guard's.
                restore_begin(number=self.row.number, actor=None, why=stop.words)

    def _finish(self) -> None:
        now = timezone.now()
        is_done = self.move.step is Step.DONE
        columns: dict[str, Any] = {**columns_of(self.move), "next_at": None, "finished_at": now}
        with transaction.atomic():
            if is_done and self.move.direction == "back" and self.row.restores_id:
                NumberMove.objects.filter(pk=self.row.restores_id).update(closed_at=now)
            audit_write(
                actor=None,
                action=f"number.move_{self.move.step}",
                organisation=self.row.organisation,
                target=self.row.number,
                details={"move": str(self.row.pk), "direction": self.move.direction},
            )
            self.held.write(**columns)
        log.info("move_finished", move_id=str(self.row.pk), step=str(self.move.step))

    # ---- rows and waits -----------------------------------------------------------------------

    _retry_after: float | None = None

    def _store(self, **columns: Any) -> None:
        self.held.write(**{**columns_of(self.move), "silences": self.silences, **columns})

    def _soon(self) -> Any:
        # If this process dies now, the next one takes it up when the lease is over.
        return timezone.now()

    def _silent(self, error: TwilioSilent) -> None:
        self.silences += 1
        self.held.write(silences=self.silences, problem=str(error)[:500])
        self._pause(self._wait_seconds(error.retry_after_seconds))

    def _wait_seconds(self, retry_after_seconds: float | None) -> float:
        asked = retry_after_seconds or self._retry_after or 0.0
        self._retry_after = None
        step = min(max(self.silences, 1), len(WAITS_SECONDS)) - 1
        return min(_LONGEST_SECONDS, max(WAITS_SECONDS[step], asked))

    def _pause(self, seconds: float) -> None:
        """Wait if there is time for it, else leave the move to the beat.

        Raises:
            _Put: it was left.
        """
        if self.clock() + seconds > self.until:
            self.held.write(next_at=timezone.now() + timedelta(seconds=seconds))
            raise _Put
        while seconds > 0:
            part = min(seconds, 5.0)
            self.sleep(part)
            seconds -= part
            self.held.write()

    def _put_off(self, words: str) -> None:
        self.held.write(
            problem=words[:500], next_at=timezone.now() + timedelta(seconds=_LOGIN_SECONDS)
        )
        raise _Put
