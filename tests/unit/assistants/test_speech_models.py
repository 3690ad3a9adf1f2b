"""Names of models: which can answer a call, and what the others are."""

from __future__ import annotations

import pytest

from assistants.speech_models import (
    TAKE_NO_HINTS,
    is_speech_model,
    shutdown_date,
    why_no_speech_model,
)
from calls.wire.realtime import takes_hints
from tests.unit.wire.test_realtime import TRANSCRIBERS

pytestmark = pytest.mark.unit


@pytest.mark.parametrize(
    "name",
    [
        *("gpt-realtime-2.1", "gpt-realtime-2.1-mini", "gpt-realtime-2", "gpt-realtime-1.5"),
        *("gpt-realtime", "gpt-realtime-2025-08-28", "gpt-realtime-mini"),
        *("gpt-realtime-mini-2025-12-15", "gpt-realtime-2.1-mini-2026-07-09", "gpt-realtime-3"),
    ],
)
def test_speech_models_of_the_list_and_their_successors_answer(name: str) -> None:
    assert is_speech_model(name)


@pytest.mark.parametrize(
    ("name", "why"),
    [
        ("gpt-realtime-whisper", "writes transcripts"),
        ("gpt-realtime-translate", "translates"),
        ("gpt-realtime-mini-2025-10-06", "shut down on 2026-07-23"),
        *((name, "no speech model") for name in ("gpt-4o", "gpt-realtime-", "gpt-realtimes", "")),
        ("my-gpt-realtime", "no speech model"),
    ],
)
def test_models_for_other_work_do_not(name: str, why: str) -> None:
    assert not is_speech_model(name)
    assert why in why_no_speech_model(name)


def test_models_that_end_have_a_day() -> None:
    assert shutdown_date("gpt-realtime-mini") == "2027-01-20"
    assert shutdown_date("gpt-realtime-2.1") == ""


def test_the_door_and_the_findings_know_the_same_transcribers() -> None:
    assert {name for name in TRANSCRIBERS if not takes_hints(name)} == set(TAKE_NO_HINTS)
