"""One step of a run: so many calls at once through one bridge, measured for a while.

Starts the load generator, dials, samples CPU and memory, and returns what it counted as one flat
mapping. It judges nothing (``figures`` does).
"""

from __future__ import annotations

import json
import subprocess
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bench.building import BenchError
from bench.processes import Cores, busy_seconds, prefer, start, stop, usage

STEP_SECONDS = 150.0  # nothing that is well takes longer than its own phases and this


@dataclass(frozen=True, slots=True)
class Ports:
    """Where the bridge listens, and where the load generator is to play model and tool server."""

    bridge: int
    model: int
    tools: int


@dataclass(frozen=True, slots=True)
class Load:
    """How much is asked of a bridge, and the priority of both sides.

    ``options`` go to the load generator as they are.
    """

    calls: int
    seconds: float
    per_second: float
    with_tools: bool = False
    nice: int = 0
    options: tuple[str, ...] = ()


# Returns the load generator's line of the n-th call; may raise BenchError.
Dial = Callable[[int], str]


def run_step(
    name: str,
    load: Load,
    *,
    loadgen: Path,
    ports: Ports,
    bridge: subprocess.Popen[bytes],
    cores: Cores,
    dial: Dial,
) -> dict[str, Any]:
    """Run one step and return its counts.

    Raises:
        BenchError: the load generator or the bridge gave up, or a call could not be placed.
    """
    before = usage(bridge.pid)
    command = [
        str(loadgen), "--sut-port", str(ports.bridge), "--model-port", str(ports.model),
        "--tools-port", str(ports.tools), "--calls", str(load.calls),
        "--seconds", str(load.seconds), *load.options,
        *(("--with-tools",) if load.with_tools else ()),
    ]  # fmt: skip
    generator = start(
        command,
        core=cores.harness,
        stdin=subprocess.PIPE,
        output=subprocess.PIPE,
        errors=subprocess.PIPE,
    )
    if load.nice:
        prefer(bridge.pid, load.nice)
        prefer(generator.pid, load.nice)
    overdue = threading.Timer(STEP_SECONDS + load.seconds, generator.kill)
    overdue.daemon = True
    overdue.start()
    problems: list[str] = []
    dialler: threading.Thread | None = None
    marks: dict[str, tuple[float, float, float, float, int]] = {}
    result: Mapping[str, Any] | None = None
    try:
        assert generator.stdout is not None
        for line in generator.stdout:
            event = json.loads(line)
            if event["ev"] == "ready":
                dialler = threading.Thread(
                    target=_dial_all, args=(generator, load, dial, problems), daemon=True
                )
                dialler.start()
            elif event["ev"] in {"window_start", "window_end"}:
                used = usage(bridge.pid)
                marks[event["ev"]] = (
                    time.monotonic(),
                    used.cpu_seconds,
                    used.media_cpu_seconds,
                    busy_seconds(cores.measured),
                    used.rss_bytes,
                )
            elif event["ev"] == "result":
                result = event
        generator.wait()
    finally:
        overdue.cancel()
        stop(generator, seconds=0.5)
        if dialler is not None:
            dialler.join(20)
    assert generator.stderr is not None
    said = generator.stderr.read().decode("utf-8", "replace").strip()
    if result is None or len(marks) < 2:
        why = "; ".join([*problems, said[-500:], f"it ended with {generator.returncode}"])
        raise BenchError(f"{name}: the load generator has no result: {why}")
    (t0, cpu0, media0, busy0, _), (t1, cpu1, media1, busy1, rss) = (
        marks["window_start"],
        marks["window_end"],
    )
    wall, calls = t1 - t0, load.calls
    return {
        "step": name,
        **result,
        "problems": [*problems, *([said[-500:]] if said else [])],
        "cpu_ms_per_call_s": 1000 * (cpu1 - cpu0) / wall / calls,
        "media_cpu_ms_per_call_s": 1000 * (media1 - media0) / wall / calls,
        "core_share": (cpu1 - cpu0) / wall,
        "other_core_share": max(0.0, (busy1 - busy0 - (cpu1 - cpu0)) / wall),
        "harness_core_share": result["harness_cpu_s"] / result["window_s"],
        "rss_kib_per_call": max(0, rss - before.rss_bytes) / 1024 / calls,
    }


def _dial_all(
    generator: subprocess.Popen[bytes], load: Load, dial: Dial, problems: list[str]
) -> None:
    """Place the calls at their rate; a problem ends the load generator."""
    assert generator.stdin is not None
    due = time.monotonic()
    for number in range(load.calls):
        time.sleep(max(0.0, due - time.monotonic()))
        due += 1 / load.per_second
        try:
            generator.stdin.write(dial(number).encode() + b"\n")
            generator.stdin.flush()
        except (BenchError, OSError) as problem:
            problems.append(f"call {number}: {problem}")
            generator.kill()
            return
