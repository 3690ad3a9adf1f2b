"""What a call's rules leave of what it wants stored: masked, or nothing of what was said."""

from __future__ import annotations

from typing import Any

import pytest

from assistants.wire.vapi_compliance import keeps_no_words
from calls.bridge.effects import CallNews, NewsKind, RecordTool, RecordTurn
from calls.privacy.keeping import EVERYTHING, NOTHING, Keeping
from calls.privacy.patterns import KINDS, Redactor

pytestmark = pytest.mark.unit

MASKING = Keeping(Redactor(KINDS, year=2026))
NUMBER = "415-555-1212"


def _turn(**changes: Any) -> RecordTurn:
    values: dict[str, Any] = {
        "ordinal": 3, "role": "user", "text": f"It is {NUMBER}", "text_unheard": "",
        "item_id": "item_3", "started_ms": 10, "ended_ms": 20, "interrupted": False,
        "latency_ms": 7,
    }  # fmt: skip
    return RecordTurn(**values | changes)


TOOL = RecordTool("call_1", "book", f'{{"phone": "{NUMBER}"}}', "ok", f"Booked {NUMBER}", 1, 2)


def test_without_a_rule_everything_is_kept_as_it_is() -> None:
    turn = _turn()
    assert EVERYTHING.turn(turn) is turn
    assert EVERYTHING.tool(TOOL) == TOOL
    assert EVERYTHING.inputs and EVERYTHING.live(NUMBER) == NUMBER


def test_a_rule_masks_words_arguments_and_answers_and_records_no_inputs() -> None:
    assert MASKING.turn(_turn()).text == "It is [phone]"
    tool = MASKING.tool(TOOL)
    assert tool.arguments_json == '{"phone": "[phone]"}' and tool.output == "Booked [phone]"
    assert (tool.name, tool.state, tool.duration_ms) == ("book", "ok", 2)
    assert not MASKING.inputs
    assert MASKING.line(f"https://x.example/{NUMBER}") == "https://x.example/[phone]"
    assert MASKING.live("It is 415 5") == "It is [number]"


@pytest.mark.parametrize("changes", [{"ended_ms": None}, {"interrupted": True}])
def test_a_turn_that_is_cut_off_hides_the_beginning_of_a_number(changes: dict[str, Any]) -> None:
    assert MASKING.turn(_turn(text="It is 415 55", **changes)).text == "It is [number]"
    assert MASKING.turn(_turn(text="It is 415 55")).text == "It is 415 55"


def test_compliance_mode_keeps_that_something_was_said_and_nothing_of_it() -> None:
    turn = NOTHING.turn(_turn(text_unheard="and more"))
    assert (turn.text, turn.text_unheard) == ("", "")
    assert (turn.started_ms, turn.ended_ms, turn.latency_ms) == (10, 20, 7)
    tool = NOTHING.tool(TOOL)
    assert (tool.arguments_json, tool.output, tool.name) == ("", "", "book")
    assert not NOTHING.inputs
    assert NOTHING.live(NUMBER) == NOTHING.line(NUMBER) == ""


@pytest.mark.parametrize(
    ("document", "nothing"),
    [
        ({"hipaaEnabled": True}, True),
        ({"compliancePlan": {"hipaaEnabled": True}}, True),
        ({"compliancePlan": {"pciEnabled": True}}, True),
        ({"compliancePlan": {"hipaaEnabled": False}, "hipaaEnabled": False}, False),
        ({"compliancePlan": "yes"}, False),
        ({"hipaaEnabled": "true"}, False),
        ({}, False),
    ],
)
def test_either_plan_or_the_old_switch_means_compliance_mode(
    document: dict[str, Any], nothing: bool
) -> None:
    assert keeps_no_words(document) is nothing


@pytest.mark.parametrize("kind", ["sounds", "words", "output"])
def test_pieces_of_what_is_said_are_told_only_where_nothing_is_masked(kind: NewsKind) -> None:
    news = CallNews(1, kind, 5, text="415")
    assert EVERYTHING.news(news) is news
    assert MASKING.news(news) is None and NOTHING.news(news) is None


def test_whole_news_are_masked_and_others_pass() -> None:
    said = MASKING.news(CallNews(1, "said", 5, text=f"It is {NUMBER}"))
    calls = MASKING.news(CallNews(2, "calls", 5, text=f'{{"a": "{NUMBER}"}}'))
    assert said is not None and said.text == "It is [phone]"
    assert calls is not None and calls.text == '{"a": "[phone]"}'
    assert NOTHING.news(CallNews(1, "said", 5, text="Hello")) is None
    started = CallNews(3, "speech-started", 5)
    assert NOTHING.news(started) is started and MASKING.news(started) is started
