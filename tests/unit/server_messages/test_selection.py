"""Which messages are wanted, and what the bridge tells for them (vapi.md 5.1)."""

from __future__ import annotations

from typing import Any, get_args

import pytest

from calls.bridge.effects import NewsKind
from calls.services.server_messages.selection import (
    DEFAULT_MESSAGES,
    FINAL_TRANSCRIPT,
    THINNED,
    messages_of,
    news_wanted,
    wanted_messages,
)

pytestmark = pytest.mark.unit


def test_v17_nothing_named_is_exactly_vapi_s_eleven() -> None:
    assert wanted_messages({}) == DEFAULT_MESSAGES
    assert sorted(DEFAULT_MESSAGES) == [
        *("assistant.started", "conversation-update", "end-of-call-report", "function-call"),
        *("handoff-destination-request", "hang", "speech-update", "status-update"),
        *("tool-calls", "transfer-destination-request", "user-interrupted"),
    ]


@pytest.mark.parametrize(
    ("named", "wanted"),
    [
        ([], set()),
        (["hang", 7, None], {"hang"}),
        ("hang", set(DEFAULT_MESSAGES)),
        (None, set(DEFAULT_MESSAGES)),
        (["language-changed"], {"language-change-detected"}),
    ],
)
def test_a_list_is_taken_as_it_is_and_anything_else_as_absent(named: Any, wanted: set[str]) -> None:
    assert wanted_messages({"serverMessages": named}) == wanted


def test_the_bridge_tells_only_what_is_wanted() -> None:
    assert news_wanted({"end-of-call-report", "status-update"}) == ()
    assert news_wanted(DEFAULT_MESSAGES) == (
        *("conversation", "interrupted", "late", "speech-started", "speech-stopped"),
    )
    assert news_wanted({FINAL_TRANSCRIPT}) == ("said",)


def test_who_takes_every_transcript_gets_the_final_ones_once() -> None:
    both = frozenset({"transcript", FINAL_TRANSCRIPT})
    assert messages_of("said", both) == ("transcript",)
    assert messages_of("words", both) == ("transcript",)
    assert messages_of("said", frozenset({FINAL_TRANSCRIPT})) == (FINAL_TRANSCRIPT,)
    assert messages_of("words", frozenset({FINAL_TRANSCRIPT})) == ()


def test_every_kind_of_news_becomes_a_message() -> None:
    everything = frozenset(
        name
        for name in (
            *DEFAULT_MESSAGES,
            *("transcript", "model-output", "voice-input", "language-change-detected"),
            *("phone-call-control", "assistant.speechStarted"),
        )
    )
    assert all(messages_of(kind, everything) for kind in get_args(NewsKind))


def test_what_ends_a_call_is_never_thinned() -> None:
    assert not THINNED & {
        *("end-of-call-report", "status-update", "tool-calls", "phone-call-control"),
        *("transfer-update", "assistant.started"),
    }
