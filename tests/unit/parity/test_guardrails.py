"""Patterns of drift, the sentences against them, and who is allowed to judge these."""

from __future__ import annotations

from typing import Any

import pytest

from calls.parity.differ import difference
from calls.parity.guardrails import (
    Effect,
    Observed,
    Pattern,
    effect,
    instruction_of,
    instructions_in,
    is_held_out,
    patterns_of,
    proposals,
    with_instructions,
)
from calls.parity.sequence import Sequence, ToolCall

pytestmark = pytest.mark.unit

SEED = 7


def pair(old: str, new: str, key: str = "k", **arguments: Any) -> Observed:
    """Return a pair of calls whose tools are words; ``arguments`` are those of ``book``."""

    def side(names: str, index: int) -> Sequence:
        tools = tuple(
            ToolCall(name, {k: v[index] for k, v in arguments.items()} if name == "book" else {})
            for name in names.split()
        )
        return Sequence(key, "direct" if index else "vapi", tools)

    marks: Any = {"book": {"guests.phone": "phone", "when": "date"}}
    return Observed(key, difference(side(old, 0), side(new, 1), marks))


@pytest.mark.parametrize(
    ("old", "new", "pattern", "sentence"),
    [
        (
            "check book",
            "book",
            Pattern("omitted", "check", "book"),
            "Always call check before you call book.",
        ),
        (
            "check",
            "",
            Pattern("omitted", "check"),
            "Do not answer from memory: call check first, and say only what it returned.",
        ),
        (
            "note endCall",
            "endCall",
            Pattern("omitted", "note", "endCall"),
            "Always call note before you end the call.",
        ),
        (
            "endCall",
            "",
            Pattern("omitted", "endCall"),
            "Call endCall yourself when it is time; do not wait for the caller to hang up.",
        ),
        (
            "book",
            "book sms",
            Pattern("extra", "sms"),
            "Do not call sms unless the caller asked for exactly that.",
        ),
    ],
)
def test_each_way_to_drift_has_its_sentence(
    old: str, new: str, pattern: Pattern, sentence: str
) -> None:
    assert patterns_of(pair(old, new).difference) == {pattern}
    assert instruction_of(pattern) == sentence


def test_a_wrong_order_names_both_tools_whichever_was_called_moved() -> None:
    for old, new in (("check book", "book check"), ("check book note", "book note check")):
        (found,) = patterns_of(pair(old, new).difference)
        assert (found.kind, found.tool) == ("order", "check")
    (found,) = patterns_of(pair("a b c", "c a b").difference)
    assert (found.kind, found.other) == ("order", "c")
    assert instruction_of(Pattern("order", "check", "book")) == (
        "Call check first, wait for its result, and only then call book."
    )


def test_a_wrong_argument_is_one_pattern_whatever_its_place_and_value() -> None:
    one = pair("book", "book", guests=([{"phone": "2125550143"}], [{"phone": "2125550144"}]))
    (found,) = patterns_of(one.difference)
    assert found == Pattern("argument", "book", path="guests.phone", field="phone")
    assert instruction_of(found) == (
        "When you call book, give guests.phone as the caller said it, in international form, every "
        "digit."
    )
    assert "212" not in found.words


def drifting(count: int, clean: int) -> list[Observed]:
    """Return pairs of which ``count`` leave out the check."""
    bad = [pair("check book", "book", f"bad-{n}") for n in range(count)]
    return bad + [pair("check book", "check book", f"good-{n}") for n in range(clean)]


def test_what_drifts_again_and_again_is_proposed_from_calls_that_are_not_held_out() -> None:
    pairs = drifting(20, 40)
    (found,) = proposals(pairs, seed=SEED)
    seen = [each for each in pairs if not is_held_out(each.key, SEED)]
    assert found.looked_at == len(seen) < 60
    assert found.seen == sum(each.key.startswith("bad") for each in seen)
    # With every held-out pair taken away beforehand nothing changes: none was looked at.
    assert proposals(seen, seed=SEED) == (found,)


def test_what_was_seen_once_is_no_pattern() -> None:
    pairs = [pair("check book", "book", "only"), *drifting(0, 5)]
    seed = next(seed for seed in range(50) if not is_held_out("only", seed))
    assert proposals(pairs, seed=seed) == ()
    assert proposals(drifting(0, 40), seed=SEED) == ()


def test_a_rare_slip_among_very_many_calls_is_no_pattern() -> None:
    assert proposals(drifting(4, 600), seed=SEED) == ()


def test_a_call_keeps_its_side_and_about_four_of_ten_are_held_out() -> None:
    keys = [f"call-{n}" for n in range(2_000)]
    held = [key for key in keys if is_held_out(key, SEED)]
    assert 0.36 < len(held) / len(keys) < 0.44
    assert held == [key for key in keys if is_held_out(key, SEED)]
    assert held != [key for key in keys if is_held_out(key, SEED + 1)]


def test_an_effect_is_measured_on_held_out_calls_alone() -> None:
    before, words = drifting(30, 30), "check is left out before book"
    after = [
        Observed(each.key, pair("check book", "check book", each.key).difference)
        if is_held_out(each.key, SEED)
        else each
        for each in before
    ]
    found = effect(words, before, after, seed=SEED)
    assert found.before > 0 and found.after == 0
    assert found.before_of == found.after_of == sum(is_held_out(e.key, SEED) for e in before)
    assert found.verdict == "better"
    # Cured where it was proposed, and nowhere else: no better.
    overfitted = [
        each
        if is_held_out(each.key, SEED)
        else Observed(each.key, pair("check book", "check book", each.key).difference)
        for each in before
    ]
    assert effect(words, before, overfitted, seed=SEED).verdict == "no-better"


@pytest.mark.parametrize(
    ("found", "verdict"),
    [
        (Effect(4, 20, 1, 20), "too-few"),  # p = 0.34: chance does as much
        (Effect(5, 20, 0, 20), "better"),  # p = 0.047
        (Effect(4, 20, 0, 20), "too-few"),  # p = 0.11
        (Effect(4, 20, 2, 10), "no-better"),
        (Effect(4, 20, 4, 20), "no-better"),
        (Effect(0, 20, 0, 20), "too-few"),
        (Effect(3, 20, 0, 0), "too-few"),
    ],
)
def test_the_verdict_compares_shares(found: Effect, verdict: str) -> None:
    assert found.verdict == verdict


PROMPT = "You answer the phone.\n\n# Style\nBe brief.\n"


def test_instructions_stand_in_a_section_of_their_own_each_once() -> None:
    once = with_instructions(PROMPT, ["Always call check."])
    assert once.startswith("You answer the phone.\n\n# Style\nBe brief.\n")
    assert instructions_in(once) == ("Always call check.",)
    assert with_instructions(once, ["Always call check."]) == once
    twice = with_instructions(once, ["Call  book\nlast."])
    assert instructions_in(twice) == ("Always call check.", "Call book last.")
    assert twice.count("## Rules for your tools") == 1


def test_a_section_that_somebody_put_behind_stays_behind() -> None:
    prompt = with_instructions(PROMPT, ["One."]) + "\n\n# Closing\nSay goodbye."
    changed = with_instructions(prompt, ["Two."])
    assert instructions_in(changed) == ("One.", "Two.")
    assert changed.endswith("# Closing\nSay goodbye.")


def test_an_empty_prompt_takes_instructions_too() -> None:
    assert instructions_in(with_instructions("", ["One."])) == ("One.",)
    assert with_instructions(PROMPT, ["", "  "]) == PROMPT
