"""A discrete event loop for sans-I/O parts: it joins them by wires with latency and lets time jump
from event to event. Deterministic; it must not know what travels, wait, or use a clock.
"""

from __future__ import annotations

import heapq
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Protocol

from calls.standins.peer import Close, Output, Refuse, Send

MAX_STEPS_AT_ONE_TIME = 10_000


class Part(Protocol):
    """Anything that lives by time given to it."""

    def tick(self, now_ms: int) -> None:
        """Do what is due up to `now_ms`."""

    def next_deadline_ms(self) -> int | None:
        """Return when `tick` has work next; None: nothing planned."""


class VirtualClock:
    """A clock that is set, never read from the machine."""

    def __init__(self, now_ms: int = 0) -> None:
        self.now_ms = now_ms

    def advance_to(self, now_ms: int) -> None:
        """Move forward; raises ValueError backwards."""
        if now_ms < self.now_ms:
            raise ValueError(f"time cannot go back from {self.now_ms} to {now_ms}")
        self.now_ms = now_ms


@dataclass(frozen=True, slots=True)
class Wire:
    """One direction between two parts; `latency_ms` is one way, order is kept.

    `source` drains one part (plain str or bytes mean Send), `sink` gets each frame and the time,
    `closed` gets the time when the source closed or refused, `jitter` says how many ms longer
    the next frame takes.
    """

    source: Callable[[], Iterable[Output | str | bytes]]
    sink: Callable[[str | bytes, int], None]
    closed: Callable[[int], None] | None = None
    latency_ms: int = 0
    jitter: Callable[[], int] | None = None


def run_virtual(
    parts: Sequence[Part],
    until_ms: int,
    wires: Sequence[Wire] = (),
    *,
    clock: VirtualClock | None = None,
    stop_when: Callable[[], bool] | None = None,
) -> int:
    """Run until `until_ms` (inclusive), `stop_when`, or until nothing is left; return the time.

    Outputs are drained after every step, so a part that answers at once is heard at the same
    instant plus latency. The same inputs give the same run. Raises RuntimeError when time stands
    still: a part keeps asking for a deadline that has passed.
    """
    clock = clock or VirtualClock()
    travelling: list[tuple[int, int, Wire, Output]] = []
    number = 0
    steps = 0
    arrivals: dict[int, int] = {}  # by wire, of which there may be more later

    def collect() -> None:
        nonlocal number
        for index, wire in enumerate(wires):
            for output in wire.source():
                item = Send(output) if isinstance(output, str | bytes) else output
                number += 1
                due_ms = clock.now_ms + wire.latency_ms + (wire.jitter() if wire.jitter else 0)
                arrivals[index] = max(arrivals.get(index, 0), due_ms)
                heapq.heappush(travelling, (arrivals[index], number, wire, item))

    collect()
    while stop_when is None or not stop_when():
        due = [at_ms for part in parts if (at_ms := part.next_deadline_ms()) is not None]
        if travelling:
            due.append(travelling[0][0])
        if not due or min(due) > until_ms:
            return clock.now_ms
        steps = steps + 1 if min(due) <= clock.now_ms else 0
        if steps > MAX_STEPS_AT_ONE_TIME:
            stuck = [part for part in parts if (part.next_deadline_ms() or 0) <= clock.now_ms]
            raise RuntimeError(f"time stands still at {clock.now_ms} ms because of {stuck}")
        clock.advance_to(max(clock.now_ms, min(due)))
        for part in parts:
            part.tick(clock.now_ms)
        collect()
        while travelling and travelling[0][0] <= clock.now_ms:
            _, _, wire, item = heapq.heappop(travelling)
            _deliver(wire, item, clock.now_ms)
            collect()
    return clock.now_ms


def _deliver(wire: Wire, item: Output, now_ms: int) -> None:
    if isinstance(item, Send):
        wire.sink(item.data, now_ms)
    elif isinstance(item, Close | Refuse) and wire.closed is not None:
        wire.closed(now_ms)
