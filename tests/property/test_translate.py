"""Any document becomes a plan, and any plan a session that the vendor's types accept."""

from __future__ import annotations

import datetime as dt
import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from assistants.assistant_account import account_assistant
from assistants.findings import STATES, Notes
from assistants.translate import session_plan
from calls.services.sessions import session_config
from calls.wire import realtime
from tests.contract import check_realtime_client

pytestmark = pytest.mark.property

NOW = dt.datetime(2026, 11, 22, 15, 4, tzinfo=dt.UTC)
TEXT = st.one_of(
    st.sampled_from(
        ["{{name}}", "{{ 'now' | date: '%A' }}", "{% if x %}", "https://example.com/a"]
    ),
    st.text(st.characters(exclude_categories=["Cs"]), max_size=9),
)
LEAF = st.one_of(st.none(), st.booleans(), st.integers(), st.floats(allow_nan=False), TEXT)
ANY: Any = st.recursive(
    LEAF,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXT, inner, max_size=3),
    max_leaves=8,
)


def held_by(*keys: str) -> Any:
    """Return objects that may hold these keys, with anything in them."""
    return st.one_of(ANY, st.fixed_dictionaries({}, optional=dict.fromkeys(keys, ANY)))


MESSAGE = held_by("role", "content") | st.fixed_dictionaries(
    {"role": st.sampled_from(["system", "user", "assistant"]), "content": TEXT}
)
SMART = {"startSpeakingPlan": {"smartEndpointingEnabled": True}}
DOCUMENTS = st.fixed_dictionaries(
    {},
    optional={
        "firstMessage": ANY,
        "firstMessageMode": ANY,
        "endCallMessage": ANY,
        "model": st.one_of(
            held_by("model", "maxTokens", "temperature", "reasoningEffort", "systemPrompt"),
            st.fixed_dictionaries({"messages": st.lists(MESSAGE, max_size=3)}),
        ),
        "voice": held_by("provider", "voiceId", "speed"),
        "transcriber": held_by("language", "languages", "keyterm", "keywords", "prompt"),
        "startSpeakingPlan": st.one_of(
            st.just(SMART["startSpeakingPlan"]),
            held_by("waitSeconds", "smartEndpointingPlan", "transcriptionEndpointingPlan"),
        ),
        "stopSpeakingPlan": held_by("numWords", "voiceSeconds", "backoffSeconds"),
        "backgroundSpeechDenoisingPlan": held_by("smartDenoisingPlan"),
        "backgroundDenoisingEnabled": ANY,
        "keypadInputPlan": held_by("enabled", "timeoutSeconds", "delimiters"),
        "hooks": ANY,
        "endCallPhrases": ANY,
        "variableValues": ANY,
        "silenceTimeoutSeconds": ANY,
    },
)


@given(
    document=st.one_of(ANY, DOCUMENTS),
    model=st.sampled_from(["gpt-realtime-2.1", "gpt-realtime", "mine"]),
    transcriber=st.sampled_from(["gpt-transcribe", "whisper-1", "gpt-realtime-whisper"]),
    dialect=st.sampled_from(["openai_ga", "azure_ga", "beta"]),
)
def test_every_document_becomes_a_session(
    document: Any, model: str, transcriber: str, dialect: Any
) -> None:
    plan = session_plan(document, voice="marin", variables={"name": "Ada"}, now=NOW)
    config = session_config(plan, model=model, transcription_model=transcriber, tools=())
    event = json.loads(realtime.session_update(config, dialect, "cfg-1"))
    check_realtime_client(event, {"openai_ga": "ga"}.get(dialect, dialect))
    assert (plan.greeting_mode == "exact") == bool(plan.greeting.strip())


@given(document=DOCUMENTS)
def test_every_document_is_accounted_for(document: dict[str, Any]) -> None:
    notes = Notes()
    account_assistant(document, notes)
    assert {finding.state for finding in notes.findings} <= set(STATES)
    assert all(finding.message for finding in notes.findings)
