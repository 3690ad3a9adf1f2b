"""One kill of media with a call in each phase, and what must be true of every one of them."""

from __future__ import annotations

import os
import random
import re
import signal
from collections.abc import Callable
from dataclasses import dataclass

from calls.standins.caller import CallerStep, hang_up, say
from tests.drills.live_calls import (
    BOOK,
    CHECK_FIRST,
    CONNECT,
    END,
    LOOK_UP,
    PERSON,
    STORED_MS,
    TOOLS,
    LiveCalls,
    Placed,
    now_ms,
)
from tests.platform import alive, command_line, wait_until

PHASES = ("greeting", "answer", "tool pending", "barge-in", "transfer")
TOOL_SECONDS = 30.0  # so that it is pending when the kill comes
# An interruption is not over before it has been answered.
INTERRUPTING_MS = 1_500
# What was on its way when the process died is heard, and nobody is left to be told of it.
DYING_MS = 100
REPORT_SECONDS = 60.0  # a call whose last stream was killed is reported by the sweep

HELLO, ASK = "Hello, my name is {}.", "What is my name?"
SAY_AGAIN = re.compile("say that again")
TELL_NAME = (re.compile("Who are you"), "My name is {}. What is my name?")
LAST = hang_up(wait="heard", pattern=END, retorts=((SAY_AGAIN, ASK), TELL_NAME))


def script_of(phase: str, wish: str) -> tuple[CallerStep, ...]:
    """Return what the caller does who is to be in ``phase`` when the kill comes."""
    if phase == "tool pending":
        first = f"My name is {{}}, {wish}"
        told = re.compile("77|check first")
        return (
            say(first),
            say(ASK, wait="heard", pattern=told, retorts=((SAY_AGAIN, first),)),
            LAST,
        )
    if phase == "transfer":
        first = f"My name is {{}}, {CONNECT}"
        waits = hang_up(wait="silence_ms", wait_ms=25_000, retorts=((SAY_AGAIN, first),))
        return (say(first), waits)
    again = ((SAY_AGAIN, HELLO),)
    if phase == "barge-in":
        return (say(HELLO), say(ASK, wait="agent_audio_ms", wait_ms=500, retorts=again), LAST)
    return (say(HELLO), say(ASK, retorts=again), LAST)


@dataclass(frozen=True)
class Met:
    """A call that a kill met: in which phase, and the silence around it in ms."""

    placed: Placed
    phase: str
    silence_ms: int


def one_kill(calls: LiveCalls, primary: str, chance: random.Random) -> list[Met]:
    """Kill media when the call of ``primary`` is at its moment; return what became of each."""
    wish = chance.choice((LOOK_UP, BOOK))
    calls.answer_after(TOOL_SECONDS)
    placed = {
        phase: calls.place(*script_of(phase, wish)) for phase in PHASES if phase != "greeting"
    }
    wait_until(lambda: placed["answer"].caller_sounds(), what="the first words", seconds=40)
    placed["greeting"] = calls.place(*script_of("greeting", wish))
    await_moment(calls, primary, placed[primary], TOOLS[wish])
    after_ms = now_ms() + chance.randrange(900)
    wait_until(lambda: now_ms() >= after_ms, what="the moment")
    pending = {each.name: calls.posted(each, TOOLS[wish]) for each in placed.values()}
    before = calls.platform.pid_of("media")
    os.kill(before, signal.SIGKILL)
    kill_ms = now_ms()
    calls.answer_after(0.2)
    found = []
    for each in placed.values():
        silence_ms = _judged(calls, each, kill_ms)
        if silence_ms is not None:
            phase = _phase_at(each, kill_ms, bool(pending[each.name]))
            found.append(Met(each, phase, silence_ms))
    caller = placed["tool pending"]
    asked_before = pending[caller.name]
    asked = calls.posted(caller, TOOLS[wish])
    if wish == BOOK:
        assert len(asked) == 1, ("a tool that is not idempotent ran again", asked)
        if asked_before:
            assert CHECK_FIRST in caller.task.result().heard
    else:
        # It may have been sent between our look and the kill.
        assert len(asked) in ({2} if asked_before else {1, 2}), asked
        assert len(set(asked)) == 1, ("it was repeated as another call", asked)
    assert calls.platform.pid_of("media") != before
    return found


def await_moment(calls: LiveCalls, phase: str, placed: Placed, tool: str) -> None:
    """Wait until a call is where its phase begins."""
    moments: dict[str, Callable[[], object]] = {
        "greeting": lambda: placed.is_playing(),
        "answer": lambda: placed.caller_sounds()[0][1] < now_ms() and placed.is_playing(),
        "tool pending": lambda: calls.posted(placed, tool),
        "barge-in": lambda: len(placed.caller_sounds()) > 1,
        "transfer": lambda: "transferCall" in placed.asked_ms,
    }
    wait_until(moments[phase], what=f"{phase} of {placed.name}", seconds=40)


def _phase_at(placed: Placed, kill_ms: int, pending: bool) -> str:
    said = [begin for begin, _ in placed.caller_sounds() if begin <= kill_ms]
    heard = any(begin <= kill_ms <= end for begin, end in placed.agent_sounds())
    dialled_ms = placed.dialled_ms()
    asked_ms = placed.asked_ms.get("transferCall")
    if asked_ms is not None and asked_ms <= kill_ms and (dialled_ms or kill_ms) >= kill_ms:
        return "transfer"
    if pending:
        return "tool pending"
    if len(said) > 1 and kill_ms - said[1] < INTERRUPTING_MS:
        return "barge-in"
    if not said:
        return "greeting"
    return "answer" if heard else "between"


def _judged(calls: LiveCalls, placed: Placed, kill_ms: int) -> int | None:
    """Wait for the end of a call, fail if anything was lost, return the silence around the kill.

    None: the call was with a person before the kill came.
    """
    report = placed.task.result(90)
    story = (placed.name, report.heard, report.cut, report.said, report.errors, placed.live.events)
    assert report.failures == [], story
    transfers = any(CONNECT in text for text in report.said)
    assert report.dialled == ([PERSON] if transfers else []), story
    assert report.ended_by == ("twiml" if transfers else "caller"), story
    # Words are said again that the kill met before their text or any answer had come, no others.
    if calls.knew(placed, kill_ms) and _was_answered(placed, kill_ms):
        assert sum(f"name is {placed.name}" in text for text in report.said) == 1, story
    if not transfers:
        assert report.heard[-1] == f"You are {placed.name}.", story
    wait_until(lambda: calls.status(placed) == "ended", what="the stored end")
    if not transfers:  # the others are reported by the sweep
        _wait_for_report(calls, placed)
        assert len(calls.reports(placed)) == 1
    stored = " ".join(text for _, text in calls.spoken(placed))
    for peer in placed.peers:
        for each in peer.heard:
            end_ms = peer._start_ms + each.end_byte // 8
            if each.complete and not kill_ms - STORED_MS < end_ms <= kill_ms + DYING_MS:
                assert each.text in stored, (each.text, stored, story)
    waited_for_tool = bool(placed.asked_ms) and not transfers
    dialled_ms = placed.dialled_ms()
    if dialled_ms is not None and dialled_ms <= kill_ms:
        return None
    silence_ms = placed.silence_after(kill_ms, waits_for_tool=waited_for_tool)
    assert silence_ms is not None, story
    return silence_ms


def _was_answered(placed: Placed, kill_ms: int) -> bool:
    spoke = [begin for begin, _ in placed.caller_sounds()]
    return bool(spoke) and any(spoke[0] < begin < kill_ms for begin, _ in placed.agent_sounds())


def _wait_for_report(calls: LiveCalls, placed: Placed) -> None:
    try:
        wait_until(lambda: calls.reports(placed), what="the report", seconds=REPORT_SECONDS)
    except AssertionError as error:
        raise AssertionError(f"{error} of {placed.name}: {calls.outbox(placed)}") from None


def assert_reported_once(calls: LiveCalls) -> None:
    """Fail unless the end of every call was reported under exactly one id, once."""
    for placed in calls.placed.values():
        _wait_for_report(calls, placed)
    told = {placed.name: calls.reports(placed) for placed in calls.placed.values()}
    assert {name: ids for name, ids in told.items() if len(ids) != 1} == {}


def rolling_restart(calls: LiveCalls, number: int, chance: random.Random) -> tuple[int, list[int]]:
    """Replace media under ``number`` live calls, then let the old one hand over those left on it.

    Return how many were handed over, and the silences around that in ms.
    """
    platform = calls.platform
    calls.answer_after(0.2)
    before = platform.pid_of("media")
    placed = []
    for index in range(number):
        placed.append(calls.place(*script_of("barge-in" if index % 3 == 2 else "answer", LOOK_UP)))
        after_ms = now_ms() + chance.randrange(150)
        wait_until(lambda after_ms=after_ms: now_ms() >= after_ms, what="the next caller")
    wait_until(lambda: placed[-1].is_playing(), what="the last greeting", seconds=40)
    platform.process.send_signal(signal.SIGUSR1)
    successor = platform.pid_of("media", other_than=before)
    wait_until(lambda: "leaving media" in command_line(before), what="the old one's leave")
    for each in placed:  # nobody has noticed anything
        assert len(each.peers) == 1, each.live.events
    late = calls.place(*script_of("answer", LOOK_UP))
    # Its time is over: the second of two signals says so.
    seen = platform.output().count('"draining"')
    os.kill(before, signal.SIGTERM)
    wait_until(lambda: platform.output().count('"draining"') > seen, what="the first signal")
    os.kill(before, signal.SIGTERM)
    told_ms = now_ms()
    wait_until(lambda: not alive(before), what="the end of the old one", seconds=20)
    for each in [*placed, late]:
        _judged(calls, each, told_ms)
    assert len(late.peers) == 1
    handed_over = [each for each in placed if len(each.peers) > 1]
    assert all(len(each.peers) == 2 for each in handed_over)
    assert platform.pid_of("media") == successor
    silences = [each.silence_after(told_ms, waits_for_tool=False) for each in handed_over]
    return len(handed_over), [ms for ms in silences if ms is not None]
