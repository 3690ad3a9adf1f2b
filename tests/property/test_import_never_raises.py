"""Whatever a file holds, reading and drafting never raise and never draft what cannot be stored."""

from __future__ import annotations

import json
import uuid
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from assistants.findings import account, leaves, pack_leaves, unpack_leaves
from assistants.importing import drafts_of, with_missing_tools
from assistants.wire.files import SUFFIXES, read_file
from assistants.wire.vapi_config import (
    FIRST_MESSAGE_MODES,
    REALTIME_VOICES,
    read_assistant,
    write_assistant,
)
from assistants.yaml12 import parse_yaml

pytestmark = pytest.mark.property

KEYS = (
    *("id", "name", "model", "voice", "transcriber", "firstMessage", "firstMessageMode", "server"),
    *("serverUrl", "serverUrlSecret", "messages", "systemPrompt", "prompt", "context", "role"),
    *("content", "tools", "toolIds", "toolRefs", "functions", "function", "parameters", "type"),
    *("destinations", "number", "url", "secret", "headers", "language", "voiceId", "provider"),
    *("maxDurationSeconds", "endCallFunctionEnabled", "forwardingPhoneNumber", "members"),
    *("createdAt", "default", "transferPlan", "twilioAccountSid", "assistantId", "message", "***"),
    *("assistant", "assistantOverrides", "assistantDestinations", "membersOverrides", "squadId"),
    *("hooks", "do", "toolId", "artifactPlan", "structuredOutputIds", "schema", "assistant_ids"),
    *("personalityId", "scenarioId", "simulationIds", "evaluations", "instructions", "results"),
    *("tools:append", "statusCode", "isServerUrlSecretSet", "assistantName", "uuid"),
)
WORDS = (
    *("function", "transferCall", "system", "endCall", "multi", "11labs", "twilio", "{{now}}", ""),
    *(
        "https://[",
        "https://x.example/?token=a",
        "***",
        "@{a=b}",
        "00000000-0000-4000-8000-000000000001",
    ),
)
SCALARS = (
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.text(max_size=8)
    | st.sampled_from(WORDS)
)
VALUES = st.recursive(
    SCALARS,
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.dictionaries(st.sampled_from(KEYS) | st.text(max_size=4), inner, max_size=6)
    ),
    max_leaves=25,
)
OBJECTS = st.dictionaries(st.sampled_from(KEYS), VALUES, min_size=1, max_size=8)
FOLDERS = (
    *("", "tools/", "assistants/", "squads/", "structuredOutputs/", "evals/", "phone-numbers/"),
    *("simulations/personalities/", "simulations/scenarios/", "simulations/tests/"),
    *("simulations/suites/", ".vapi-state."),
)
NAMES = st.sampled_from(
    [f"{folder}a{suffix}" for folder in FOLDERS for suffix in (*SUFFIXES, ".txt", "")]
)


def check(name: str, raw: bytes) -> None:
    reading = read_file(name, raw, parse_yaml)
    assert bool(reading.found) != bool(reading.problem) or reading.state_of
    drafts = with_missing_tools(drafts_of([reading], organisation_id=uuid.UUID(int=1)), ())
    for draft in drafts:
        assert draft.verdict or draft.document is not None
        assert not draft.verdict or draft.reason
        if draft.verdict:
            continue
        assert uuid.UUID(draft.object_id)
        text = json.dumps(draft.document, allow_nan=False)
        assert "\\u0000" not in text
        assert draft.original is not None
        listed = account(draft.original, draft.findings, draft.marks)
        assert [path for path, _ in listed] == list(leaves(draft.original))
        assert unpack_leaves(pack_leaves(listed)) == listed


@given(NAMES, st.binary(max_size=200))
def test_arbitrary_bytes(name: str, raw: bytes) -> None:
    check(name, raw)


@given(NAMES, st.text(max_size=200), st.sampled_from(["utf-8", "utf-16", "utf-16-le", "utf-8-sig"]))
def test_arbitrary_text(name: str, text: str, encoding: str) -> None:
    check(name, text.encode(encoding, "ignore"))


@given(NAMES, VALUES | OBJECTS)
def test_arbitrary_json(name: str, value: Any) -> None:
    check(name, json.dumps(value).encode("utf-8", "ignore"))


@given(VALUES | OBJECTS)
def test_readings_fit_their_columns(value: Any) -> None:
    reading = read_assistant(value)
    assert reading.voice in REALTIME_VOICES
    assert reading.first_message_mode in FIRST_MESSAGE_MODES
    assert 10 <= reading.max_duration_seconds <= 43_200
    assert len(reading.language) in (0, 2)
    assert len(reading.model) <= 80


@given(OBJECTS, st.text(max_size=20), st.sampled_from(REALTIME_VOICES))
def test_an_edit_is_read_back(value: Any, instructions: str, voice: str) -> None:
    edited = write_assistant(value, {"instructions": instructions, "voice": voice, "name": "N"})
    reading = read_assistant(edited)
    assert reading.instructions.strip() == instructions.strip()
    assert (reading.voice, reading.name) == (voice, "N")
