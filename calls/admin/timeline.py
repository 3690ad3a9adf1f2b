"""The waterfall of a call as plain geometry: rows of turns and tool calls become bars with numbers.

Pure: no database and no HTML; the template turns the result into SVG. All positions are in the
SVG's own units; times are milliseconds from the call's first stream start.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from calls.admin.words import clock, ms_in_words

WIDTH = 1000
_LEFT = 86
_RIGHT = 14
_LANE_HEIGHT = 44
_LANE_TOP = 14
_BAR_HEIGHT = 24
_MINIMUM_BAR = 3.0
_LABEL_PER_CHARACTER = 6.0
_TICK_STEPS_MS = (
    *(500, 1000, 2000, 5000, 10_000, 15_000, 30_000),
    *(60_000, 120_000, 300_000, 600_000, 1_800_000, 3_600_000),
)
_MOST_TICKS = 10
LANES = (("user", "Caller"), ("assistant", "Assistant"), ("tool", "Tools"))


@dataclass(frozen=True, slots=True)
class Span:
    """Something that took time: ``lane`` is user, assistant, system or tool."""

    lane: str
    started_ms: int
    ended_ms: int | None
    label: str
    note: str = ""
    kind: str = ""
    anchor: str = ""


@dataclass(frozen=True, slots=True)
class Bar:
    """A span as a rectangle."""

    x: float
    y: float
    width: float
    height: float
    css: str
    title: str
    label: str
    anchor: str
    cut_x: float | None = None

    @property
    def cut_top(self) -> float:
        """Where the mark of an interruption begins."""
        return self.y - 4

    @property
    def cut_bottom(self) -> float:
        """Where the mark of an interruption ends."""
        return self.y + self.height + 4

    @property
    def middle(self) -> float:
        """The height of the label."""
        return self.y + self.height / 2

    @property
    def label_x(self) -> float:
        """The left edge of the label."""
        return round(self.x + 6, 1)


@dataclass(frozen=True, slots=True)
class Tick:
    """A vertical line with a time."""

    x: float
    text: str


@dataclass(frozen=True, slots=True)
class Lane:
    """A horizontal band with a name."""

    y: float
    middle: float
    height: float
    name: str


@dataclass(frozen=True, slots=True)
class Timeline:
    """The whole picture."""

    width: int
    height: float
    left: int
    plot_right: float
    axis_y: float
    bars: tuple[Bar, ...]
    ticks: tuple[Tick, ...]
    lanes: tuple[Lane, ...]

    @property
    def plot_width(self) -> float:
        """The width of the lanes."""
        return self.plot_right - self.left


def draw(spans: Sequence[Span], total_ms: int = 0) -> Timeline | None:
    """Return the picture of ``spans``, or None when there is nothing to show.

    A span without an end reaches to the end of the call, or 400 ms where that is unknown.
    """
    if not spans:
        return None
    ends = [s.ended_ms if s.ended_ms is not None else s.started_ms + 400 for s in spans]
    total = max(total_ms, *ends, *(span.started_ms for span in spans), 1000)
    scale = (WIDTH - _LEFT - _RIGHT) / total
    tops = {key: _LANE_TOP + index * _LANE_HEIGHT for index, (key, _) in enumerate(LANES)}
    bars = tuple(_bar(span, end, scale, tops) for span, end in zip(spans, ends, strict=True))
    axis_y = _LANE_TOP + len(LANES) * _LANE_HEIGHT
    return Timeline(
        width=WIDTH,
        height=axis_y + 24,
        left=_LEFT,
        plot_right=WIDTH - _RIGHT,
        axis_y=axis_y,
        bars=bars,
        ticks=_ticks(total, scale),
        lanes=tuple(
            Lane(tops[key], tops[key] + _LANE_HEIGHT / 2, _LANE_HEIGHT, name) for key, name in LANES
        ),
    )


def _bar(span: Span, ended_ms: int, scale: float, tops: dict[str, int]) -> Bar:
    width = max((ended_ms - span.started_ms) * scale, _MINIMUM_BAR)
    x = min(_LEFT + span.started_ms * scale, WIDTH - _RIGHT - width)
    took = ms_in_words(max(ended_ms - span.started_ms, 0))
    parts = [span.label, f"{clock(span.started_ms)}, {took}", span.note]
    lane = span.lane if span.lane in tops else "assistant"
    return Bar(
        x=round(x, 1),
        y=tops[lane] + (_LANE_HEIGHT - _BAR_HEIGHT) / 2,
        width=round(width, 1),
        height=_BAR_HEIGHT,
        css=f"vp-bar-{span.lane}{f' vp-bar-{span.kind}' if span.kind else ''}",
        title="; ".join(part for part in parts if part),
        label=span.label if width > _LABEL_PER_CHARACTER * len(span.label) + 12 else "",
        anchor=span.anchor,
        cut_x=round(x + width, 1) if span.kind == "interrupted" else None,
    )


def _ticks(total_ms: int, scale: float) -> tuple[Tick, ...]:
    step = next((s for s in _TICK_STEPS_MS if total_ms / s <= _MOST_TICKS), _TICK_STEPS_MS[-1])
    marks = range(0, total_ms + 1, step)
    return tuple(Tick(round(_LEFT + ms * scale, 1), _short(ms)) for ms in marks)


def _short(ms: int) -> str:
    if ms % 1000:
        return f"{ms / 1000:.1f} s"
    seconds = ms // 1000
    return f"{seconds} s" if seconds < 60 else f"{seconds // 60}:{seconds % 60:02d}"
