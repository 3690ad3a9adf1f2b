"""The driver between fake sockets: order, slow peers, broken ports, ends (T16, T17, T22, T23)."""

from __future__ import annotations

import asyncio
import base64
import logging
from typing import Any

import pytest

from calls.bridge.effects import DispatchTool
from calls.bridge.plan import Watchdog
from calls.bridge.reasons import EndCause
from calls.media import driver as driver_module
from calls.media.realtime_client import RealtimeUnreachable
from calls.media.recording import replay
from calls.wire.twilio_media import MAX_FRAME_BYTES
from tests.unit.media.fakes import ENDED, Stage, plan
from tools.spec import ToolResult

pytestmark = pytest.mark.unit


def _appended(stage: Stage) -> list[bytes]:
    return [
        base64.b64decode(event["audio"])
        for event in stage.model.sent
        if event["type"] == "input_audio_buffer.append"
    ]


def _played(stage: Stage) -> list[bytes]:
    return [
        base64.b64decode(message["media"]["payload"])
        for message in stage.frames.sent
        if message["event"] == "media"
    ]


async def _end(stage: Stage) -> Any:
    stage.stop()
    async with asyncio.timeout(5):
        ended = await stage.run
    assert stage.model.closed  # T23: the model's socket goes with the stream
    assert stage.problems == []
    record = "".join(stage.journal.pieces)
    assert replay(record) == record
    return ended


async def test_audio_goes_straight_through_both_ways_in_order() -> None:
    stage = Stage()
    await stage.ready()
    voices = [bytes([number]) * 160 for number in range(20)]
    for voice in voices:
        stage.media(voice)
    stage.speaks(voices[0])
    for voice in voices[1:]:
        stage.delta(voice)
    await stage.settle(200)
    assert _appended(stage) == voices
    assert b"".join(_played(stage)).endswith(b"".join(voices))
    ended = await _end(stage)
    assert (ended.ended_reason, ended.call_over) == ("customer-ended-call", True)


async def test_a_slow_model_socket_keeps_the_order_and_delays_no_playback() -> None:
    stage = Stage()
    await stage.ready()
    stage.model.gate.clear()
    voices = [bytes([number]) * 160 for number in range(10)]
    for voice in voices:
        stage.media(voice)
    stage.speaks(b"\x11" * 800)
    await stage.settle()
    assert _appended(stage) == []
    assert b"".join(_played(stage)).endswith(b"\x11" * 800)  # the other direction went on
    stage.model.gate.set()
    await stage.settle(200)
    assert _appended(stage) == voices
    await _end(stage)


async def test_a_slow_twilio_socket_keeps_the_order_and_delays_no_ear() -> None:
    stage = Stage()
    await stage.ready()
    stage.frames.gate.clear()
    stage.speaks(b"\x01" * 160)
    stage.delta(b"\x02" * 160)
    await stage.settle()
    stage.media(b"\x33" * 160)
    await stage.settle()
    assert _appended(stage) == [b"\x33" * 160]
    stage.frames.gate.set()
    await stage.settle(200)
    assert b"".join(_played(stage)).endswith(b"\x01" * 160 + b"\x02" * 160)
    await _end(stage)


async def test_a_model_socket_that_takes_nothing_is_aborted(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(driver_module, "BLOCKED_SECONDS", 0.0)
    stage = Stage(plan(watchdog=Watchdog(caller_audio_ms=40)))
    await stage.ready()
    stage.model.gate.clear()
    stage.media(b"\x01" * 160)
    async with asyncio.timeout(5):
        ended = await stage.run
    assert stage.model.aborted
    # The session is lost, the call is not: the action URL resumes it.
    assert ended.call_over is False
    assert stage.log == ["next step resume"]


async def test_caller_audio_before_the_model_is_ready_is_kept_t18a() -> None:
    stage = Stage()
    stage.start()
    for number in range(5):
        stage.media(bytes([number]) * 160)
    await stage.settle()
    assert _appended(stage) == []
    await stage.ready()
    assert b"".join(_appended(stage)) == b"".join(bytes([n]) * 160 for n in range(5))
    stage.frames.incoming.put_nowait(ENDED)
    await stage.run


async def test_what_was_said_before_the_claim_is_read_first() -> None:
    stage = Stage()
    stage.prepared.config_sent = True
    stage.prepared.said = ['{"type":"session.created","event_id":"e1","session":{}}']
    await stage.ready()
    # The pool has sent the configuration already.
    assert "session.update" not in stage.model_types
    await _end(stage)


@pytest.mark.parametrize("error", [RuntimeError("bug"), KeyError("x")])
async def test_a_tool_port_that_raises_does_not_end_the_call(error: Exception) -> None:
    stage = Stage()

    async def broken(effect: DispatchTool) -> ToolResult:
        raise error

    stage.tool = broken
    await stage.ready()
    stage.calls_tool()
    await stage.settle()
    stage.media(b"\x01" * 160)
    await stage.settle()
    assert _appended(stage) == [b"\x01" * 160]
    assert stage.problems == ["a task of a call failed"]  # and it is not silent
    stage.problems.clear()
    assert (await _end(stage)).call_over is True


async def test_a_tool_that_never_returns_does_not_hold_the_end_of_the_call() -> None:
    stage = Stage()
    waits = asyncio.Event()
    cancelled: list[bool] = []

    async def endless(effect: DispatchTool) -> ToolResult:
        try:
            await waits.wait()
        except asyncio.CancelledError:
            cancelled.append(True)
            raise
        return ToolResult("late", outcome="ok")

    stage.tool = endless
    await stage.ready()
    stage.calls_tool()
    await stage.settle()
    assert (await _end(stage)).call_over is True
    waits.set()
    await stage.settle()
    assert stage.problems == []


async def test_a_tool_result_goes_back_to_the_model() -> None:
    stage = Stage()
    await stage.ready()
    stage.calls_tool()
    await stage.settle()
    outputs = [event for event in stage.model.sent if event["type"] == "conversation.item.create"]
    assert [event["item"]["call_id"] for event in outputs] == ["call_1"]
    await _end(stage)


async def test_a_frame_over_64_kib_closes_1009() -> None:
    stage = Stage()
    await stage.ready()
    stage.twilio("x" * (MAX_FRAME_BYTES + 1))
    async with asyncio.timeout(5):
        ended = await stage.run
    assert stage.frames.closed_with == 1009
    assert ended.call_over is False


async def test_twenty_binary_frames_close_1008_and_nineteen_do_not() -> None:
    stage = Stage()
    await stage.ready()
    for _ in range(19):
        stage.twilio(b"\x00")
    await stage.settle()
    assert stage.frames.closed_with is None
    stage.twilio(b"\x00")
    async with asyncio.timeout(5):
        ended = await stage.run
    assert stage.frames.closed_with == 1008
    assert (stage.log, ended.call_over) == (["next step resume"], False)


async def test_t22_a_close_without_stop_is_an_end_and_a_stop_twice_is_one() -> None:
    lost = Stage()
    await lost.ready()
    lost.frames.incoming.put_nowait(ENDED)
    ended = await lost.run
    assert (ended.ended_reason, ended.call_over) == (EndCause.STREAM_LOST.ended_reason, False)
    twice = Stage()
    await twice.ready()
    twice.stop()
    assert (await _end(twice)).call_over is True


async def test_the_next_step_is_stored_before_twilio_is_told_to_hang_up() -> None:
    stage = Stage()
    await stage.ready()
    stage.driver.end(EndCause.OPERATOR_ENDED)
    await stage.settle()
    assert stage.log == ["next step hangup", "hang up"]
    ended = await _end(stage)
    assert (ended.ended_reason, ended.call_over) == ("manually-canceled", True)


async def test_t17_before_start_the_stream_is_closed_and_rest_is_left_alone() -> None:
    stage = Stage()
    stage.driver.end(EndCause.OPERATOR_ENDED)
    async with asyncio.timeout(5):
        ended = await stage.run
    assert stage.log == ["next step hangup"]
    assert stage.frames.closed_with == 1000
    assert ended.call_over is True


async def test_shut_down_stores_resume_and_closes_at_once() -> None:
    stage = Stage()
    await stage.ready()
    stage.driver.shut_down()
    async with asyncio.timeout(5):
        ended = await stage.run
    assert stage.log == ["next step resume"]
    assert (ended.ended_reason, ended.call_over) == ("worker-shutdown", False)
    stage.driver.shut_down()  # a second one finds nothing to do
    await stage.settle()
    assert stage.log == ["next step resume"]


async def test_a_disconnect_in_the_middle_of_the_goodbye_ends_the_call() -> None:
    stage = Stage(plan(end_call_message="Goodbye."))
    await stage.ready()
    stage.calls_tool("endCall")
    await stage.settle()
    stage.speaks(b"\x01" * 4000, "r2", "i2")
    await stage.settle()
    stage.frames.incoming.put_nowait(ENDED)
    async with asyncio.timeout(5):
        ended = await stage.run
    assert stage.model.closed
    assert ended.metrics["stream_ms"] >= 0


@pytest.mark.parametrize("code", [401, 500, 1006])
async def test_a_model_that_cannot_be_dialled_ends_the_stream(code: int) -> None:
    stage = Stage()
    stage.connect_error = RealtimeUnreachable(code)
    stage.start()
    for _ in range(3):
        await stage.settle()
    stage.stop()
    async with asyncio.timeout(5):
        ended = await stage.run
    assert ended.metrics["notes"]["realtime_close"] == str(code)


async def test_the_first_deadline_ends_a_stream_that_never_starts(
    caplog: pytest.LogCaptureFixture,
) -> None:
    stage = Stage(plan(watchdog=Watchdog(start_ms=20)))
    async with asyncio.timeout(5):
        ended = await stage.run
    assert ended.ended_reason == EndCause.STREAM_NEVER_STARTED.ended_reason
    assert stage.log == ["next step hangup"]
    assert not [r for r in caplog.records if r.levelno >= logging.ERROR]


async def test_a_bug_in_the_bridge_is_raised_and_closes_the_model(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    stage = Stage()
    await stage.ready()

    def broken(*_: object) -> None:
        raise ZeroDivisionError

    monkeypatch.setattr(stage.driver._bridge, "receive_twilio", broken)
    stage.media(b"\x01" * 160)
    with pytest.raises(ZeroDivisionError):
        await asyncio.wait_for(stage.run, 5)
    assert stage.model.closed
