"""Which result of the old stack answers a call of ours."""

from __future__ import annotations

from typing import Any

import pytest

from calls.parity.differ import difference
from calls.parity.known_results import alike_by
from calls.parity.past import PastTool
from calls.parity.replay import OurCall, Replayed
from calls.parity.replay_outcome import new_sequence, old_sequence, result_of
from tests.replays import script

pytestmark = pytest.mark.unit

ALIKE = alike_by({"book": {"phone": "phone", "guest.email": "email"}})


@pytest.mark.parametrize(
    ("old", "new", "same"),
    [
        ({"phone": "+1 212 555 0123"}, {"phone": "(212) 555-0123"}, True),
        ({"phone": "212 555 0123"}, {"phone": "212 555 0124"}, False),
        ({"service": "Haircut"}, {"service": "haircut "}, True),
        ({"service": "haircut"}, {"service": "colour"}, False),
        ({"people": 2}, {"people": 2.0}, True),
        ({"people": 2}, {"people": 3}, False),
        ({"notes": "She wants a window"}, {"notes": "window seat"}, True),
        ({"notes": "a"}, {}, True),
        ({"extra": ""}, {}, True),
        ({"extra": "x"}, {}, False),
        ({"guest": {"email": "A@x.com"}}, {"guest": {"email": "a@X.com"}}, True),
        ({"guest": {"email": "a@x.com"}}, {"guest": {"email": "b@x.com"}}, False),
        ({"why": "word " * 20}, {"why": "other " * 20}, True),
        ({"days": ["Mon", "Tue"]}, {"days": ["Tue", "Mon"]}, False),
    ],
)
def test_a_result_answers_calls_that_ask_the_same(
    old: dict[str, Any], new: dict[str, Any], same: bool
) -> None:
    assert ALIKE("book", old, new) is ALIKE("book", new, old) is same


def test_a_replay_gives_both_sequences_and_the_pair_is_compared_as_far_as_it_went() -> None:
    check = PastTool("check", {"day": "Tue"}, "free", 1_000, "c1", "ok")
    book = PastTool("book", {"phone": "212 555 0123"}, "GB-1", 5_000, "c2", "ok")
    ours = [OurCall("book", {"phone": "212 555 0124"}, 1, 4_900, None)]
    replayed = Replayed(
        calls=ours, compared=(check, book), cut="unknown-result", cost_microusd=2_500
    )
    old, new = old_sequence("past", replayed), new_sequence("past", replayed)
    assert (old.cut, new.cut) == (True, True)
    found = difference(old, new, {"book": {"phone": "phone"}})
    assert found.cut and found.omitted == ("check",) and found.extra == ()
    assert [(each.old, each.new) for each in found.arguments] == [("212 555 0123", "212 555 0124")]
    result = result_of("past", script(("user", "Hi.")), replayed)
    assert result.cut and str(result.cost_usd) == "0.0025"
    assert [tool.name for tool in result.sequence.tools] == ["book"]


def test_the_platforms_own_tools_have_one_name_on_both_sides() -> None:
    tool = PastTool("end_call", {}, None, 1, "c")
    replayed = Replayed(calls=[OurCall("end_call", {}, 0, 1, None, tool)], compared=(tool,))
    old, new = old_sequence("k", replayed), new_sequence("k", replayed)
    assert [each.name for each in (*old.tools, *new.tools)] == ["endCall", "endCall"]
