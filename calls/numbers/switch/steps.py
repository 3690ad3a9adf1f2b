"""A move of one number, step by step, so that it can be cut off anywhere and taken up again.

    here   fetched -> stored -> posted -> compared -> tested -> done
    back   fetched -> stored -> posted -> done
    any -> stopped -> stored | compared | abandoned

Owns the order of the steps and what is left to do, given what is found at Twilio. Pure: events in,
the next state and at most one action out. The shell stores the state **before** it does the action
and begins with ``Resumed`` after every interruption; then a number is written once, because what
is found there says whether it was. There is no ETag: between a look and a write somebody else may
write, which the look that follows finds (twilio.md 5.5).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from enum import StrEnum
from typing import Final, Literal, assert_never

from calls.numbers.switch.voice import VoiceConfig
from calls.numbers.switch.writes import changed, changes

Direction = Literal["here", "back"]
StopCode = Literal["changed", "undone", "not_taken", "refused", "gone", "test_failed"]
# What Twilio accepted may be read back a moment later.
MOST_LOOKS: Final = 3


class Step(StrEnum):
    """How far a move is."""

    FETCHED = "fetched"  # a preview that nobody has confirmed
    STORED = "stored"  # the snapshot is kept; nothing is known to be written
    POSTED = "posted"  # Twilio said yes
    COMPARED = "compared"  # and it is so
    TESTED = "tested"  # a call of ours was answered
    DONE = "done"  # a caller's was, or the number is back
    STOPPED = "stopped"
    ABANDONED = "abandoned"


class MoveError(Exception):
    """The shell asked for something that this state does not have; the text says what."""


class NotConfirmed(MoveError):
    """A person has to confirm something else than they did; nothing was changed."""


@dataclass(frozen=True, slots=True)
class Stop:
    """Why a move waits for a person.

    Args:
        fields: the names of those that are not as they should be.
        found: what is there, None if it was not looked at. A yes counts for exactly that.
        goes_on_at: the step that a yes leads to; None: there is nothing to say yes to. Make a new
            preview then.
    """

    code: StopCode
    words: str
    fields: tuple[str, ...] = ()
    found: VoiceConfig | None = None
    goes_on_at: Step | None = Step.STORED

    @property
    def fingerprint(self) -> str:
        """Return what ``Accepted`` has to name, '' if nothing was looked at."""
        return "" if self.found is None else self.found.fingerprint()


@dataclass(frozen=True, slots=True)
class Move:
    """A move as it is kept. ``before`` is the snapshot on the way here, what we wrote on the way
    back."""

    direction: Direction
    before: VoiceConfig
    wanted: VoiceConfig
    step: Step = Step.FETCHED
    looks: int = 0
    accepted: str = ""
    first_call_sid: str = ""
    stop: Stop | None = None


def way_back(move: Move) -> Move:
    """Return the restore of a move here, however far it came.

    Raises:
        MoveError: it is itself a way back.
    """
    if move.direction == "back":
        raise MoveError("a restore has no restore; move the number again")
    return Move("back", before=move.wanted, wanted=move.before)


# ---- events -----------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Confirmed:
    """A person said yes to the preview; ``typed`` is the number as they typed it.

    On the way back nothing has to be typed: it must be quick, and the guard does it by itself.
    """

    typed: str = ""


@dataclass(frozen=True, slots=True)
class Resumed:
    """The move is taken up after an interruption, or just to look again."""


@dataclass(frozen=True, slots=True)
class Found:
    """Twilio was asked how the number is."""

    live: VoiceConfig


@dataclass(frozen=True, slots=True)
class Missing:
    """The account has no such number any more (20404)."""


@dataclass(frozen=True, slots=True)
class Posted:
    """Twilio answered the write with success."""


@dataclass(frozen=True, slots=True)
class PostUnclear:
    """No answer, or one of 429 and 5xx: it may have been written. Wait, then look."""


@dataclass(frozen=True, slots=True)
class PostRefused:
    """Twilio will not write that; ``why`` are its words."""

    why: str


@dataclass(frozen=True, slots=True)
class TestCallEnded:
    """The synthetic call is over."""

    __test__ = False  # no test case, whatever its name begins with

    is_good: bool
    why: str = ""


@dataclass(frozen=True, slots=True)
class WebhookSeen:
    """Twilio asked us about a call to the number that is not the synthetic one."""

    call_sid: str


@dataclass(frozen=True, slots=True)
class Accepted:
    """A person saw why the move stopped, and wants it to go on over what was found there.

    ``found`` is the fingerprint of what they were shown.
    """

    found: str = ""


@dataclass(frozen=True, slots=True)
class Abandoned:
    """A person leaves the number as it is."""


Event = (
    Confirmed
    | Resumed
    | Found
    | Missing
    | Posted
    | PostUnclear
    | PostRefused
    | TestCallEnded
    | WebhookSeen
    | Accepted
    | Abandoned
)

# ---- actions ----------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Fetch:
    """Ask Twilio how the number is; then ``Found`` or ``Missing``. ``again``: after a pause."""

    again: bool = False


@dataclass(frozen=True, slots=True)
class Post:
    """Write these fields in one request; then one of the three events of a post."""

    fields: Mapping[str, str] = field(repr=False)


@dataclass(frozen=True, slots=True)
class PlaceTestCall:
    """Place the synthetic call; then ``TestCallEnded``."""


@dataclass(frozen=True, slots=True)
class Ask:
    """Show a person why the move stopped."""

    stop: Stop


@dataclass(frozen=True, slots=True)
class Wait:
    """Nothing to do until a person confirms, or a caller calls."""


@dataclass(frozen=True, slots=True)
class Finished:
    """Nothing is left to do."""


Action = Fetch | Post | PlaceTestCall | Ask | Wait | Finished


def advance(move: Move, event: Event) -> tuple[Move, Action | None]:
    """Return the move after an event, and what is to be done; None: nothing new.

    Raises:
        NotConfirmed: a yes that does not fit; the move stays as it is.
        MoveError: the event has no place in this step.
    """
    match event:
        case Resumed():
            return _resumed(move)
        case WebhookSeen():
            return _webhook(move, event.call_sid)
        case Confirmed():
            return _confirmed(_at(move, event, Step.FETCHED), event.typed)
        case Accepted():
            return _accepted(_at(move, event, Step.STOPPED), event.found)
        case Abandoned():
            _at(move, event, *(step for step in Step if step is not Step.DONE))
            return replace(move, step=Step.ABANDONED, stop=None), Finished()
        case Found():
            return _found(_at(move, event, *_UNDER_WAY), event.live)
        case Missing():
            words = f"Twilio's account has no number {move.before.number_e164} any more"
            return _stopped(_at(move, event, *_UNDER_WAY), Stop("gone", words, goes_on_at=None))
        case Posted():
            return replace(_at(move, event, Step.STORED), step=Step.POSTED, looks=0), Fetch()
        case PostUnclear():
            return _at(move, event, Step.STORED), Fetch(again=True)
        case PostRefused():
            words = f"Twilio refused the change and said: {event.why}"
            return _stopped(_at(move, event, Step.STORED), Stop("refused", words))
        case TestCallEnded():
            return _test_call(_at(move, event, Step.COMPARED), event)
    assert_never(event)


_UNDER_WAY: Final = (Step.STORED, Step.POSTED, Step.COMPARED, Step.TESTED)


def _at(move: Move, event: Event, *steps: Step) -> Move:
    if move.step not in steps:
        raise MoveError(f"{type(event).__name__} has no place in a move that is {move.step}")
    return move


def _resumed(move: Move) -> tuple[Move, Action]:
    if move.step is Step.FETCHED:
        return move, Wait()
    if move.stop is not None:
        return move, Ask(move.stop)
    if move.step in (Step.DONE, Step.ABANDONED):
        return move, Finished()
    return replace(move, looks=0), Fetch()


def _confirmed(move: Move, typed: str) -> tuple[Move, Action]:
    if move.direction == "here" and typed.strip() != move.before.number_e164:
        raise NotConfirmed(f"Type the number itself, {move.before.number_e164}, to move it")
    return replace(move, step=Step.STORED), Fetch()


def _accepted(move: Move, found: str) -> tuple[Move, Action]:
    stop = move.stop
    if stop is None or stop.goes_on_at is None:
        raise NotConfirmed("this move cannot go on: look at the number again and move it anew")
    if found != stop.fingerprint:
        raise NotConfirmed("the number is not as it was shown; look at the difference again")
    step = stop.goes_on_at
    return replace(move, step=step, accepted=found, looks=0, stop=None), Fetch()


def _found(move: Move, live: VoiceConfig) -> tuple[Move, Action]:
    if live.sid != move.before.sid:
        raise MoveError("this is another number")
    if live == move.wanted:
        if move.step in (Step.STORED, Step.POSTED):
            move = replace(move, step=Step.COMPARED)
        return _go_on(move)
    if move.step is Step.STORED:
        # On an interrupted way the write may have been made: then the branch above was taken.
        if live == move.before or live.fingerprint() == move.accepted:
            return move, Post(changes(move.wanted, over=live))
    elif live == move.before:
        return _not_so(move, live)
    return _stopped(move, _changed(move, live))


def _not_so(move: Move, live: VoiceConfig) -> tuple[Move, Action]:
    if move.step is Step.POSTED and move.looks + 1 < MOST_LOOKS:
        return replace(move, looks=move.looks + 1), Fetch(again=True)
    differs = changed(move.wanted, live)
    if move.step is Step.POSTED:
        # T26: a write may succeed and change nothing.
        words = "Twilio took the change and did not make it"
        return _stopped(move, Stop("not_taken", words, differs, live))
    words = "somebody put the number back as it was before the move"
    return _stopped(move, Stop("undone", words, differs, live))


def _changed(move: Move, live: VoiceConfig) -> Stop:
    is_begun = move.step is not Step.STORED or _is_nearer(live, move.wanted, move.before)
    should_be = move.wanted if is_begun else move.before
    differs = changed(should_be, live)
    names = ", ".join(differs)
    if move.step is Step.POSTED:
        words = f"{names} reads otherwise than it was written a moment ago: somebody else wrote "
        words += "too, or Twilio keeps it in another form"
    else:
        words = f"somebody else has changed the number: {names} is not as it was left"
    # Before anything of ours is there, what is found is what a way back would have to lead to:
    # to write over it with the older snapshot would lose it.
    can_go_on = move.direction == "back" or is_begun or bool(move.accepted)
    goes_on_at = Step.STORED if can_go_on else None
    return Stop("changed", words, differs, live, goes_on_at)


def _is_nearer(live: VoiceConfig, one: VoiceConfig, other: VoiceConfig) -> bool:
    """Tell which of two somebody wrote over: a process may die before it stores what it wrote."""
    return len(changed(one, live)) < len(changed(other, live))


def _go_on(move: Move) -> tuple[Move, Action]:
    if move.direction == "back":
        return replace(move, step=Step.DONE), Finished()
    if move.step is Step.COMPARED:
        return move, PlaceTestCall()
    if move.first_call_sid:
        return replace(move, step=Step.DONE), Finished()
    return move, Wait()


def _test_call(move: Move, event: TestCallEnded) -> tuple[Move, Action]:
    if event.is_good:
        return _go_on(replace(move, step=Step.TESTED))
    words = f"the test call failed: {event.why}. Put the number back, or test it again"
    return _stopped(move, Stop("test_failed", words, goes_on_at=Step.COMPARED))


def _webhook(move: Move, call_sid: str) -> tuple[Move, Action | None]:
    """Note the first caller, who may come before our looks do and tells nothing of a way back."""
    if move.direction == "back" or move.first_call_sid or move.step is Step.FETCHED:
        return move, None
    move = replace(move, first_call_sid=call_sid)
    return _go_on(move) if move.step is Step.TESTED else (move, None)


def _stopped(move: Move, stop: Stop) -> tuple[Move, Action]:
    return replace(move, step=Step.STOPPED, stop=stop, accepted=""), Ask(stop)
