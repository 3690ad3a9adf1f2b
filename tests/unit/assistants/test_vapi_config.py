"""Reading and writing assistant documents (vapi.md 2)."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from assistants.wire.vapi_config import (
    REALTIME_VOICES,
    AssistantReading,
    read_assistant,
    write_assistant,
)

pytestmark = pytest.mark.unit

FIELDS = [
    *("name", "model", "messages", "role", "content", "systemPrompt", "tools", "toolIds"),
    *("firstMessage", "firstMessageMode", "voice", "provider", "voiceId", "transcriber"),
    *("language", "maxDurationSeconds", "server", "url", "secret", "serverUrl"),
]
JSON = st.recursive(
    st.none() | st.booleans() | st.floats() | st.integers() | st.text(max_size=10),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(FIELDS), inner, max_size=6)
    ),
    max_leaves=25,
)


@given(JSON)
def test_reading_is_total_and_stays_in_bounds(document: Any) -> None:
    reading = read_assistant(document)
    assert 10 <= reading.max_duration_seconds <= 43_200
    assert reading.voice in REALTIME_VOICES
    assert len(reading.language) in (0, 2)  # empty: any language
    assert reading.model == "" or reading.model.startswith("gpt-realtime")
    assert all(isinstance(item, str) for item in reading.tool_ids)
    write_assistant(document, {"instructions": "x", "server_secret": "", "voice": "cedar"})


def test_a_voice_of_its_own_replaces_the_stand_in_too_and_keeps_the_speed() -> None:
    paula = {"provider": "11labs", "voiceId": "paula", "speed": 1.1, "stability": 0.5}
    heard = read_assistant({"voice": paula}).voice
    new = write_assistant({"voice": paula}, {"own_voice": heard})
    assert new["voice"] == {"provider": "openai", "voiceId": heard, "speed": 1.1}
    assert write_assistant({"voice": "paula"}, {"own_voice": "ash"})["voice"] == {
        "provider": "openai",
        "voiceId": "ash",
    }


def test_an_empty_document_has_vapis_defaults() -> None:
    assert read_assistant({}) == AssistantReading()
    assert read_assistant({}).max_duration_seconds == 600
    assert read_assistant(None) == read_assistant([]) == AssistantReading()


@pytest.mark.parametrize(
    ("model", "expected"),
    [
        ("gpt-realtime-2.1", "gpt-realtime-2.1"),
        ("gpt-realtime-2.1-mini", "gpt-realtime-2.1-mini"),
        ("gpt-4o", ""),
        ("gpt-realtime-whisper", ""),
        ("gpt-4o-realtime-preview-2024-12-17", ""),
        (7, ""),
    ],
)
def test_only_realtime_models_are_taken(model: Any, expected: str) -> None:
    assert read_assistant({"model": {"provider": "openai", "model": model}}).model == expected


@pytest.mark.parametrize(
    ("given_value", "expected"),
    [(5, 10), (90_000, 43_200), (120.0, 120), ("60", 600), (True, 600), (float("nan"), 600)],
)
def test_duration_is_held_in_bounds(given_value: Any, expected: int) -> None:
    assert read_assistant({"maxDurationSeconds": given_value}).max_duration_seconds == expected


def test_server_wins_over_the_legacy_fields() -> None:
    document = {
        "serverUrl": "https://old",
        "serverUrlSecret": "old",
        "server": {"url": "https://new", "secret": "new"},
    }
    reading = read_assistant(document)
    assert (reading.server_url, reading.server_secret) == ("https://new", "new")
    legacy = read_assistant({"serverUrl": "https://old", "serverUrlSecret": "old"})
    assert (legacy.server_url, legacy.server_secret) == ("https://old", "old")


def test_writing_reads_back_and_leaves_the_rest_alone() -> None:
    document = {
        "kept": [1],
        "model": {
            "provider": "anthropic",
            "model": "claude",
            "messages": [{"role": "system", "content": "old"}, {"role": "user", "content": "u"}],
            "tools": [{"type": "endCall"}],
        },
        "voice": {"provider": "11labs", "voiceId": "paula"},
        "serverUrl": "https://old",
    }
    changes = {
        "name": "n",
        "instructions": "new",
        "first_message": "hi",
        "voice": read_assistant(document).voice,
        "language": "de",
        "model": "",
        "max_duration_seconds": 60,
        "tool_ids": ["t1"],
        "server_url": "https://new",
    }
    new = write_assistant(document, changes)
    reading = read_assistant(new)
    for name, value in changes.items():
        expected = tuple(value) if isinstance(value, list) else value
        assert getattr(reading, name) == expected
    assert new["kept"] == [1]
    assert new["model"]["model"] == "claude"
    assert {"role": "user", "content": "u"} in new["model"]["messages"]
    assert new["voice"] == document["voice"]  # its stand-in was not changed
    assert "serverUrl" not in new
    assert document["serverUrl"] == "https://old"


def test_an_emptied_model_leaves_the_choice_to_the_connection() -> None:
    document = {"model": {"provider": "openai", "model": "gpt-realtime-2.1"}}
    assert read_assistant(write_assistant(document, {"model": ""})).model == ""
