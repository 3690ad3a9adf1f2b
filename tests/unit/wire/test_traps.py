"""Traps of the references that show in what we write to the vendors, whoever asks for it."""

from __future__ import annotations

import json
from typing import Any

import pytest

from calls.standins.twiml import parse_twiml
from calls.wire import realtime, twilio_voice

pytestmark = pytest.mark.unit

CONFIG = realtime.SessionConfig(
    instructions="You answer the phone.",
    language="en",
    tools=(realtime.FunctionTool("look", "Looks.", {"type": "object", "properties": {}}),),
)


@pytest.mark.parametrize("dialect", ["ga", "azure_ga", "beta"])
@pytest.mark.parametrize("tools_allowed", [True, False])
def test_o6_a_choice_of_tools_is_one_word(dialect: Any, tools_allowed: bool) -> None:
    """Forced by an object it is nested otherwise in each dialect, and fails in some."""
    update = json.loads(realtime.session_update(CONFIG, dialect, "cfg-1"))["session"]
    create = json.loads(
        realtime.response_create(
            "ask-1", dialect, instructions="", tools_allowed=tools_allowed, purpose="turn"
        )
    )["response"]
    assert update["tool_choice"] == "auto"
    assert create.get("tool_choice", "auto") == ("auto" if tools_allowed else "none")


def test_t18c_nothing_is_said_by_twilio_before_the_stream_unless_we_have_no_audio() -> None:
    urls = {"stream_url": "wss://h/m", "action_url": "https://h/n", "status_url": "https://h/s"}
    assert [
        verb.name for verb in parse_twiml(twilio_voice.connect_stream(**urls), "text/xml").verbs
    ] == ["Connect"]
