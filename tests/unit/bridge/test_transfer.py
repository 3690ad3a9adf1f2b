"""A blind transfer: what is said is heard, then the stream ends with the step ``dial``."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import pytest

from calls.bridge.effects import CloseStream, DispatchTools, HangUp, RecordTool, StreamEnded
from calls.bridge.opening import Opening
from calls.bridge.plan import CallPlan
from calls.bridge.reasons import EndCause
from calls.media.recording import tool_text
from tests.unit.bridge.line import Line, quiet_plan
from tools.spec import ToolResult, ToolSpec

pytestmark = pytest.mark.unit

DESK = "+15550100042"
DIAL = CloseStream("dial", 1000, DESK)


def desk_plan(**tool: Any) -> CallPlan:
    """Return a quiet plan with one transferCall."""
    spec = ToolSpec(name="transferCall", kind="transferCall", **{"transfer_to": DESK, **tool})
    return replace(quiet_plan(), tools=(spec,))


def test_the_announcement_is_heard_before_the_stream_ends() -> None:
    line = Line(desk_plan()).ready().created().audio(600).audio_done().calls("transferCall").done()
    assert line.effects(CloseStream) == []
    line.after(600).mark("g1:1")
    assert line.effects(CloseStream) == [DIAL]
    assert line.effects(HangUp) == []


def test_without_words_the_tools_message_is_said_first() -> None:
    line = Line(desk_plan(transfer_message="One moment please.")).ready().created()
    line.calls("transferCall").done()
    line.look()  # the output and the request for the words
    line.created("r2").audio(300, "a2", "r2").audio_done("a2", "r2").done("r2")
    line.after(300).mark("g1:1")
    assert line.effects(CloseStream) == [DIAL]


def test_a_transfer_is_not_the_end_of_the_call() -> None:
    line = Line(desk_plan()).ready().created().calls("transferCall").done()
    line.bridge.twilio_closed(line.now_ms)
    (ended,) = line.effects(StreamEnded)
    assert isinstance(ended, StreamEnded)
    assert (ended.call_over, ended.ended_reason) == (False, EndCause.TRANSFERRED.ended_reason)


def test_without_a_number_that_may_be_dialled_the_model_hears_so() -> None:
    line = Line(desk_plan(transfer_to="")).ready().created().calls("transferCall").done()
    (record,) = [each for each in line.effects(RecordTool) if isinstance(each, RecordTool)][-1:]
    assert record.state == "error"
    assert line.effects(CloseStream) == []


def asked() -> Line:
    """Return a call whose transfer's server has been asked where to."""
    line = Line(desk_plan(transfer_to="", asks_where=True)).ready().created()
    line.calls("transferCall").done()
    (sent,) = line.effects(DispatchTools)
    assert isinstance(sent, DispatchTools)
    assert [each.tool_call_id for each in sent.calls] == ["c1"]
    return line


def test_a_transfer_without_a_destination_goes_where_its_server_says() -> None:
    line = asked()
    result = ToolResult("", transfer_to=DESK, transfer_message="Going to the desk.")
    line.bridge.tool_finished("c1", result, line.now_ms)
    assert any("Going to the desk." in each for each in line.bridge.to_realtime)
    _, _, effects = line.look()
    assert [each.state for each in effects if isinstance(each, RecordTool)] == ["ok"]
    line.created("r2").audio(300, "a2", "r2").audio_done("a2", "r2").done("r2")
    assert line.effects(CloseStream) == []
    line.after(300).mark("g1:1")
    assert line.effects(CloseStream) == [DIAL]


def test_a_server_that_names_nobody_leaves_the_call_with_the_assistant() -> None:
    line = asked()
    line.tool("c1", "There is nobody.", "error").tick(20_000)
    assert line.effects(CloseStream, HangUp) == []


def test_an_asked_destination_survives_the_record() -> None:
    result = ToolResult("", transfer_to=DESK, transfer_message="Bye")
    value = json.loads(tool_text("c1", result))
    assert (value["transfer_to"], value["transfer_message"]) == (DESK, "Bye")


def test_talking_over_the_announcement_does_not_take_the_transfer_back() -> None:
    line = Line(desk_plan()).ready().created().audio(800).audio_done().calls("transferCall").done()
    line.after(200).speech("started").after(600).mark("g1:1")
    assert line.effects(CloseStream) == [DIAL]


def test_a_caller_whom_nobody_took_comes_back_with_a_note_for_the_model() -> None:
    lost = Opening(replace(quiet_plan(), resumed=True)).first_request()
    back = Opening(
        replace(quiet_plan(), resumed=True, resume_reason="transfer-failed")
    ).first_request()
    assert lost is not None and back is not None
    assert "interrupted" in lost.instructions
    assert "tried to transfer" in back.instructions
