"""What counts of a run mean: a fault is found whatever kind it is, and bars are kept or missed."""

from __future__ import annotations

from typing import Any

import pytest

from bench import figures
from tests.platform import ROOT

pytestmark = pytest.mark.unit


def spread(p50: float, p95: float, p99: float) -> dict[str, float]:
    return {"n": 100, "p50": p50, "p95": p95, "p99": p99, "max": p99}


NO_SAMPLE = {"n": 0, "p50": -1.0, "p95": -1.0, "p99": -1.0, "max": 0.0}


def step(**changes: Any) -> dict[str, Any]:
    """Return a step in which everything went well."""
    return {
        **dict.fromkeys(figures.FAULTS, 0),
        "step": "ours",
        "calls": 50,
        "up_sent": 1000,
        "up_recv": 1000,
        "up_late": 0,
        "down_sent": 500,
        "down_late": 0,
        "tools_asked": 0,
        "tools_done": 0,
        "first_word_ms": spread(40, 80, 90),
        "turn_ms": spread(1, 3, 5),
        "added_ms": spread(1, 2, 4),
        "tool_ms": NO_SAMPLE,
        "tool_out_ms": NO_SAMPLE,
        "tool_back_ms": NO_SAMPLE,
        "pacing_ms": spread(0, 0, 1),
        "cpu_ms_per_call_s": 8.0,
        "media_cpu_ms_per_call_s": 7.0,
        "rss_kib_per_call": 900.0,
    } | changes


NULL = step(first_word_ms=NO_SAMPLE, added_ms=spread(0.2, 0.3, 1), cpu_ms_per_call_s=1.0)


def rows(*ours: dict[str, Any], tools: tuple[dict[str, Any], ...] = ()) -> list[figures.Row]:
    return figures.rows_of(ours, [NULL] * len(ours), tools, [10.0, 20.0])


def test_a_clean_run_keeps_every_bar() -> None:
    clean = step()
    assert figures.faults_of([clean]) == {}
    assert figures.verdict_of(rows(clean), [clean, NULL]) == "ok"


@pytest.mark.parametrize("fault", figures.FAULTS)
def test_each_fault_in_any_round_misses_the_bar(fault: str) -> None:
    bad = step(**{fault: 1})
    assert figures.faults_of([step(), bad]) == {fault: 1}
    assert figures.verdict_of(rows(step(), bad), [step(), bad, NULL]) == "missed"


def test_a_tool_call_without_an_answer_is_a_fault() -> None:
    bad = step(tools_asked=7, tools_done=6, tool_ms=spread(9, 9, 9))
    assert figures.faults_of([bad]) == {"tools_lost": 1}
    assert figures.verdict_of(rows(step(), tools=(bad,)), [bad]) == "missed"


@pytest.mark.parametrize(
    "slow",
    [
        {"first_word_ms": spread(100, figures.FIRST_WORD_P95_MS, 160)},
        {"turn_ms": spread(1, 3, figures.TURN_P99_MS)},
        {"first_word_ms": NO_SAMPLE},
        {"turn_ms": NO_SAMPLE},
    ],
    ids=["first word", "turn", "no first word", "no turn"],
)
def test_a_figure_at_its_bar_or_without_a_sample_misses_it(slow: dict[str, Any]) -> None:
    assert figures.verdict_of(rows(step(**slow)), [step(**slow)]) == "missed"


def test_a_bar_that_a_late_harness_missed_says_nothing() -> None:
    late = step(turn_ms=spread(1, 3, 99), pacing_ms=spread(0, 1, figures.PACING_P99_MS))
    assert figures.verdict_of(rows(late), [late]) == "noisy"
    kept = step(pacing_ms=late["pacing_ms"])
    assert figures.verdict_of(rows(kept), [kept]) == "ok"


def test_figures_are_medians_of_the_rounds_and_ratios_are_taken_within_a_round() -> None:
    ours = [step(cpu_ms_per_call_s=each) for each in (4.0, 90.0, 6.0)]
    null = [step(cpu_ms_per_call_s=each) for each in (2.0, 30.0, 1.0)]
    assert figures.median_of(ours, "cpu_ms_per_call_s") == 6.0
    assert figures.worst_of(ours, "cpu_ms_per_call_s") == 90.0
    assert figures.ratio_of(ours, null, "cpu_ms_per_call_s") == 3.0
    assert figures.median_of([step(turn_ms=NO_SAMPLE)], "turn_ms", "p99") == -1.0


def test_memory_is_what_the_first_round_took() -> None:
    table = figures.table(rows(step(rss_kib_per_call=900.0), step(rss_kib_per_call=3.0)))
    assert "| memory per call | 900 KiB |" in table


def test_the_judge_must_see_what_a_lossy_bridge_lost_and_only_that() -> None:
    assert figures.judge_sees(step(up_lost=9))
    assert not figures.judge_sees(step())
    assert not figures.judge_sees(step(up_lost=9, up_recv=0))
    assert not figures.judge_sees(step(up_lost=9, down_lost=1))


@pytest.mark.parametrize(
    ("values", "share", "found"),
    [([], 0.99, -1.0), ([5.0], 0.99, 5.0), ([3.0, 1.0, 2.0, 4.0], 0.5, 3.0)],
)
def test_quantile(values: list[float], share: float, found: float) -> None:
    assert figures.quantile(values, share) == found


def test_the_page_takes_new_figures_in_place_of_old_ones() -> None:
    page = f"# Bench\n\n{figures.BEGIN}\nold\n{figures.END}\n\nAfter.\n"
    once = figures.page_with(page, "first run", rows(step()))
    twice = figures.page_with(once, "second run", rows(step(turn_ms=spread(1, 3, 40))))
    assert "old" not in once
    assert "under 30 ms: kept" in once
    assert "first run" not in twice
    assert "under 30 ms: MISSED" in twice
    assert twice.startswith("# Bench\n\n<!--")
    assert twice.endswith("-->\n\nAfter.\n")
    assert len({line.count("|") for line in twice.splitlines() if line.startswith("|")}) == 1
    with pytest.raises(ValueError, match="no <!-- figures: begin"):
        figures.page_with("# Bench", "", [])


def test_our_page_has_a_place_for_them() -> None:
    page = (ROOT / "docs" / "bench.md").read_text(encoding="utf-8")
    assert "under 30 ms: kept" in figures.page_with(page, "", rows(step()))
