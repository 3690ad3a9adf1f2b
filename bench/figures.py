"""What the counts of a run mean: figures, bars, verdict, table, page. Pure.

A figure of several rounds is the median of the rounds, with the worst one beside it; counts of lost
or altered frames are summed. Figures of ours are shown with those of the null bridge of the same
rounds, because milliseconds of one machine say little about another.
"""

from __future__ import annotations

import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

Step = Mapping[str, Any]
Verdict = Literal["ok", "missed", "noisy"]

FIRST_WORD_P95_MS = 150.0
TURN_P99_MS = 30.0
# A harness that is later than this with its own frames measures itself.
PACING_P99_MS = 5.0
BEGIN, END = "<!-- figures: begin -->", "<!-- figures: end -->"

# Anything in these means that the bridge lost or bent something, or that a call was no call.
FAULTS = (
    "failed", "dropped", "never_bridged", "up_lost", "down_lost", "corrupt", "reordered",
    "foreign_bytes", "bad_json", "bad_stream_sid", "sessions_without_key", "sessions_left_open",
    "clears", "truncates", "cancels", "responses_in_vain", "tools_doubled", "tools_unknown",
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Row:
    """One line of the table; ``bar`` and ``kept`` are None where nothing is promised."""

    what: str
    ours: str
    worst: str = ""
    beside: str = ""
    bar: str = ""
    kept: bool | None = None


def median_of(steps: Sequence[Step], *path: str) -> float:
    """Return the median over rounds of a number in each step, -1 without any sample."""
    values = _values(steps, path)
    return statistics.median(values) if values else -1.0


def worst_of(steps: Sequence[Step], *path: str) -> float:
    """Return the largest over rounds of a number in each step, -1 without any sample."""
    return max(_values(steps, path), default=-1.0)


def _values(steps: Sequence[Step], path: Sequence[str]) -> list[float]:
    found = []
    for step in steps:
        value: Any = step
        for key in path:
            value = value[key]
        if value >= 0:
            found.append(float(value))
    return found


def faults_of(steps: Sequence[Step]) -> dict[str, int]:
    """Return what went wrong, by name, over all steps."""
    found = {name: sum(int(step[name]) for step in steps) for name in FAULTS}
    found["tools_lost"] = sum(int(step["tools_asked"]) - int(step["tools_done"]) for step in steps)
    return {name: count for name, count in found.items() if count}


def judge_sees(step: Step) -> bool:
    """Tell whether the harness has seen the frames that a lossy bridge lost on purpose."""
    return int(step["up_lost"]) > 0 and int(step["up_recv"]) > 0 and int(step["down_lost"]) == 0


def ratio_of(ours: Sequence[Step], null: Sequence[Step], *path: str) -> float:
    """Return the median over rounds of ours divided by the null bridge's of the same round."""
    pairs = zip(_values(ours, path), _values(null, path), strict=False)
    ratios = [mine / other for mine, other in pairs if other > 0]
    return statistics.median(ratios) if ratios else -1.0


def rows_of(
    ours: Sequence[Step], null: Sequence[Step], tools: Sequence[Step], webhook_ms: Sequence[float]
) -> list[Row]:
    """Return the table of a run: ours and the null bridge in talk, ours with tool calls."""
    every = [*ours, *tools]
    first, turn = median_of(every, "first_word_ms", "p95"), median_of(ours, "turn_ms", "p99")
    faults = faults_of(every)
    frames = sum(int(step["up_sent"]) + int(step["down_sent"]) for step in every)
    late = sum(int(step["up_late"]) + int(step["down_late"]) for step in every)
    null_late = sum(int(step["up_late"]) + int(step["down_late"]) for step in null)
    null_frames = sum(int(step["up_sent"]) + int(step["down_sent"]) for step in null)
    cpu, null_cpu = median_of(ours, "cpu_ms_per_call_s"), median_of(null, "cpu_ms_per_call_s")
    rows = [
        Row(
            "first webhook to first word, P95",
            _ms(first),
            _ms(worst_of(every, "first_word_ms", "p95")),
            "",
            f"under {FIRST_WORD_P95_MS:.0f} ms",
            0 <= first < FIRST_WORD_P95_MS,
        ),
        Row(
            "end of caller speech to first audio, P99",
            _ms(turn),
            _ms(worst_of(ours, "turn_ms", "p99")),
            _ms(median_of(null, "turn_ms", "p99")),
            f"under {TURN_P99_MS:.0f} ms",
            0 <= turn < TURN_P99_MS,
        ),
        Row(
            "frames lost, altered or out of order; calls that failed",
            "none" if not faults else ", ".join(f"{k} {v}" for k, v in sorted(faults.items())),
            bar="none",
            kept=not faults,
        ),
        Row(
            "frames later than one frame (20 ms)",
            f"{late} of {frames}",
            "",
            f"{null_late} of {null_frames}",
        ),
        _latency_row("time added to a frame both ways, P50", ours, null, "p50"),
        _latency_row("time added to a frame both ways, P99", ours, null, "p99"),
        Row(
            "CPU per second of one call, all processes",
            _ms(cpu),
            _ms(worst_of(ours, "cpu_ms_per_call_s")),
            f"{_ms(null_cpu)}; ours is {ratio_of(ours, null, 'cpu_ms_per_call_s'):.1f} times that",
        ),
        Row(
            "… of that in the media process",
            _ms(median_of(ours, "media_cpu_ms_per_call_s")),
            _ms(worst_of(ours, "media_cpu_ms_per_call_s")),
        ),
        # Later rounds use again what the first one took.
        Row("memory per call", f"{worst_of(ours, 'rss_kib_per_call'):.0f} KiB"),
        Row("voice webhook answered, P50", _ms(quantile(webhook_ms, 0.5))),
        Row("voice webhook answered, P99", _ms(quantile(webhook_ms, 0.99))),
    ]
    if tools:
        rows += _tool_rows(tools, cpu)
    return rows


def _latency_row(what: str, ours: Sequence[Step], null: Sequence[Step], at: str) -> Row:
    ratio = ratio_of(ours, null, "added_ms", at)
    return Row(
        what,
        _ms(median_of(ours, "added_ms", at)),
        _ms(worst_of(ours, "added_ms", at)),
        f"{_ms(median_of(null, 'added_ms', at))}; ours is {ratio:.1f} times that",
    )


def _tool_rows(tools: Sequence[Step], cpu_without: float) -> list[Row]:
    calls = sum(int(step["calls"]) for step in tools)
    done = sum(int(step["tools_done"]) for step in tools)
    return [
        Row(
            f"a tool call, without the tool server's own time, {at.upper()}",
            _ms(median_of(tools, "tool_ms", at)),
            _ms(worst_of(tools, "tool_ms", at)),
            f"out {_ms(median_of(tools, 'tool_out_ms', at))}, "
            f"back {_ms(median_of(tools, 'tool_back_ms', at))}; {done} calls of {calls} callers",
        )
        for at in ("p50", "p95", "p99")
    ] + [
        Row(
            "CPU per second of one call that asks a tool every five seconds",
            _ms(median_of(tools, "cpu_ms_per_call_s")),
            _ms(worst_of(tools, "cpu_ms_per_call_s")),
            f"without tools {_ms(cpu_without)}",
        )
    ]


def quantile(values: Sequence[float], share: float) -> float:
    """Return the smallest value that at least ``share`` of the values do not exceed, -1 of none."""
    if not values:
        return -1.0
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(share * len(ordered)))]


def _ms(value: float) -> str:
    if value < 0:
        return "no sample"
    return f"{value:.2f} ms" if value < 10 else f"{value:.0f} ms"


def verdict_of(rows: Sequence[Row], steps: Sequence[Step]) -> Verdict:
    """Return whether every bar was kept; ``noisy`` if one was missed by a harness out of pace."""
    if all(row.kept is not False for row in rows):
        return "ok"
    paced = all(step["pacing_ms"]["p99"] < PACING_P99_MS for step in steps)
    return "missed" if paced else "noisy"


def table(rows: Sequence[Row]) -> str:
    """Return the rows as a table of Markdown."""
    lines = ["| figure | ours | worst round | beside it | bar |", "|---|---|---|---|---|"]
    for row in rows:
        bar = row.bar if row.kept is None else f"{row.bar}: {'kept' if row.kept else 'MISSED'}"
        cells = (row.what, row.ours, row.worst, row.beside, bar)
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines) + "\n"


def page_with(page: str, head: str, rows: Sequence[Row]) -> str:
    """Return the page with the figures of this run in place of those it had.

    Raises:
        ValueError: the page has no place for them.
    """
    before, found_begin, rest = page.partition(BEGIN)
    _, found_end, after = rest.partition(END)
    if not found_begin or not found_end:
        raise ValueError(f"the page has no {BEGIN} … {END}")
    return f"{before}{BEGIN}\n{head}\n\n{table(rows)}{END}{after}"
