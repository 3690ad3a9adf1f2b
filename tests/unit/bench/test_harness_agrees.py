"""What the load generator and the rows of the bench must call the same."""

from __future__ import annotations

import pytest

from bench.building import SOURCES
from bench.instance import CALLER_HEAD
from bench.seed import PROMPT, TOOL_NAME

pytestmark = pytest.mark.unit


def test_the_model_asks_for_the_tool_that_the_assistant_has() -> None:
    text = (SOURCES / "model.h").read_text(encoding="utf-8")
    named = [piece.split('\\"')[0] for piece in text.split('\\"name\\":\\"')[1:]]
    rate_limits = {"requests", "tokens"}
    assert set(named) == {TOOL_NAME} | rate_limits


def test_the_model_knows_a_call_by_the_number_that_the_instructions_name() -> None:
    text = (SOURCES / "load.h").read_text(encoding="utf-8")
    assert f'#define CALLER_HEAD "{CALLER_HEAD}"' in text
    assert "{{customer.number}}" in PROMPT
