"""``python -m bench``: the whole run, as ``make bench`` starts it.

First the judge is judged (a bridge that loses frames on purpose must be found out), then rounds of
null bridge and platform, one after the other on the same core, then the platform with tool calls.
Whatever way it ends, nothing it started is left.
"""

from __future__ import annotations

import argparse
import contextlib
import fcntl
import json
import os
import signal
import sqlite3
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from pathlib import Path
from types import FrameType
from typing import Any

from bench import figures
from bench.building import BenchError, build
from bench.instance import ACCOUNT_SID, Instance
from bench.processes import Cores, cores, free_port, start, stop
from bench.step import Load, Ports, run_step
from voiceplatform import settings

ROOT = Path(__file__).resolve().parent.parent
FOLDER = settings.VAR_DIR / "bench"
PAGE = ROOT / "docs" / "bench.md"
STOP_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
FULL_CALLS, FULL_ROUNDS = 50, 3
NULL_SECONDS_SHARE = 0.6
# Fifty calls of two minutes begin one in two seconds; this is a rush.
CALLS_PER_SECOND, NULL_CALLS_PER_SECOND = 5.0, 50.0
# Turns as short as they can be, for the step that only tries the judge.
SHORT = ("--cycle-ms", "1500", "--caller-ms", "200", "--agent-ms", "400", "--settle", "0.2")
DROP_EVERY = 50
ENDED_SECONDS = 20.0


class _Stopped(Exception):
    """A signal asked for the end; ``args[0]`` is its number."""


class Bench:
    """One run."""

    def __init__(self, options: argparse.Namespace) -> None:
        self.options = options
        self.cores: Cores = cores()
        self.programs: dict[str, Path] = {}
        self.steps: list[dict[str, Any]] = []
        self.webhook_ms: list[float] = []
        self.begun = time.monotonic()

    def run(self) -> int:
        """Run, write the results and return the exit code: 0 only if every bar was kept."""
        self.programs = build(FOLDER / "build")
        self._judge_the_judge()
        self._say("starting the platform, all of its processes on one core")
        model_port, tools_port = free_port(), free_port()
        instance = Instance.start(
            FOLDER / "instance", calls=self.options.calls, core=self.cores.measured
        )
        try:
            instance.seed(model_port=model_port, tools_port=tools_port)
            for number in range(1, self.options.rounds + 1):
                self._say(f"round {number} of {self.options.rounds}")
                self._null("null", self.options.calls)
                self._ours(instance, "ours", Ports(instance.port, model_port, tools_port))
            self._say("with tool calls")
            self._ours(instance, "tools", Ports(instance.port, model_port, tools_port), tools=True)
            self.webhook_ms = instance.webhook_ms
        finally:
            instance.stop()
        return self._report()

    # ---- steps --------------------------------------------------------------------------------

    def _judge_the_judge(self) -> None:
        step = self._null("lossy", 4, seconds=2.0, drop_every=DROP_EVERY, options=SHORT)
        self.steps.remove(step)
        if not figures.judge_sees(step):
            raise BenchError(f"the harness did not see the frames that a bridge lost: {step}")
        self._say(f"a bridge that loses every {DROP_EVERY}th frame is found out")

    def _null(
        self,
        name: str,
        calls: int,
        *,
        seconds: float = 0.0,
        drop_every: int = 0,
        options: tuple[str, ...] = (),
    ) -> dict[str, Any]:
        ports = Ports(free_port(), free_port(), free_port())
        bridge = start(
            [
                str(self.programs["nullbridge"]), "--port", str(ports.bridge),
                "--up-port", str(ports.model), "--drop-every", str(drop_every),
            ],
            core=self.cores.measured,
            output=subprocess.DEVNULL,
        )  # fmt: skip
        load = Load(
            calls,
            seconds or self.options.seconds * NULL_SECONDS_SHARE,
            NULL_CALLS_PER_SECOND,
            nice=self.options.nice,
            options=options,
        )
        try:
            return self._step(
                name, load, ports, bridge, lambda n: f"CALL\tCA{n:032d}\t/\t{{}}\t\t0\t0"
            )
        finally:
            stop(bridge, seconds=1.0)

    def _ours(self, instance: Instance, name: str, ports: Ports, *, tools: bool = False) -> None:
        placed: list[tuple[str, int]] = []

        def dial(number: int) -> str:
            call_sid, line = instance.call_line(number)
            placed.append((call_sid, number))
            return line

        load = Load(
            self.options.calls,
            self.options.seconds,
            CALLS_PER_SECOND,
            with_tools=tools,
            nice=self.options.nice,
            options=("--account", ACCOUNT_SID),
        )
        step = self._step(name, load, ports, instance.process, dial)
        for call_sid, number in placed:
            instance.call_ended(call_sid, number)
        step["not_stored_as_ended"] = _wait_ended(instance.folder / "db.sqlite3", placed)
        if step["not_stored_as_ended"]:
            raise BenchError(f"{step['not_stored_as_ended']} calls were not stored as ended")

    def _step(
        self, name: str, load: Load, ports: Ports, bridge: subprocess.Popen[bytes], dial: Any
    ) -> dict[str, Any]:
        step = run_step(
            name,
            load,
            loadgen=self.programs["loadgen"],
            ports=ports,
            bridge=bridge,
            cores=self.cores,
            dial=dial,
        )
        self.steps.append(step)
        self._say(_line(step))
        return step

    # ---- results ------------------------------------------------------------------------------

    def _report(self) -> int:
        ours, null, tools = (
            [step for step in self.steps if step["step"] == name]
            for name in ("ours", "null", "tools")
        )
        rows = figures.rows_of(ours, null, tools, self.webhook_ms)
        verdict = figures.verdict_of(rows, self.steps)
        when = datetime.now(UTC)
        options = vars(self.options)
        document = {
            "at": when.isoformat(),
            "options": options,
            "cores": os.cpu_count(),
            "verdict": verdict,
            "rows": [{name: getattr(row, name) for name in row.__slots__} for row in rows],
            "webhook_ms": self.webhook_ms,
            "steps": self.steps,
        }
        path = FOLDER / f"{when:%Y%m%dT%H%M%SZ}.json"
        path.write_text(json.dumps(document, indent=1) + "\n", encoding="utf-8")
        sys.stdout.write(f"\n{figures.table(rows)}\nall counts: {_shown(path)}\n")
        full = self.options.calls >= FULL_CALLS and self.options.rounds >= FULL_ROUNDS
        if full and verdict != "noisy":
            head = (
                f"{when.date().isoformat()}: {self.options.calls} calls at once, "
                f"{self.options.rounds} rounds of {self.options.seconds:g} s, "
                f"{os.cpu_count()} cores, all processes of the platform on one of them."
            )
            PAGE.write_text(
                figures.page_with(PAGE.read_text(encoding="utf-8"), head, rows), encoding="utf-8"
            )
            sys.stdout.write(f"the figures are on {_shown(PAGE)}\n")
        else:
            sys.stdout.write("not a full run on a quiet machine: the page is left as it is\n")
        words = {
            "ok": "every bar was kept",
            "missed": "a bar was MISSED",
            "noisy": "a bar was missed, but the machine was not quiet: the harness itself was late",
        }
        sys.stdout.write(f"{words[verdict]}\n")
        return 0 if verdict == "ok" else 1

    def _say(self, text: str) -> None:
        sys.stdout.write(f"[{time.monotonic() - self.begun:5.1f} s] {text}\n")
        sys.stdout.flush()


def _line(step: dict[str, Any]) -> str:
    """Return what a step shows while a run goes on."""
    faults = figures.faults_of([step])
    parts = [
        f"{step['step']:<6} {step['calls']} calls",
        f"CPU {step['cpu_ms_per_call_s']:.2f} ms per call and second"
        f" ({step['core_share']:.0%} of the core, others {step['other_core_share']:.0%})",
        f"added P50 {step['added_ms']['p50']:.2f} P99 {step['added_ms']['p99']:.2f} ms",
    ]
    if step["turn_ms"]["n"]:
        parts.append(f"turn P99 {step['turn_ms']['p99']:.2f} ms")
    if step["first_word_ms"]["n"]:
        parts.append(f"first word P95 {step['first_word_ms']['p95']:.0f} ms")
    if step["tools_done"]:
        parts.append(f"{step['tools_done']} tool calls P50 {step['tool_ms']['p50']:.1f} ms")
    parts.append(
        f"harness {step['harness_core_share']:.0%}, late P99 {step['pacing_ms']['p99']} ms"
    )
    parts.append(f"faults {faults or 'none'}")
    return "; ".join([*parts, *step["problems"]])


def _wait_ended(database: Path, placed: list[tuple[str, int]]) -> int:
    """Wait until the calls are stored as ended; return how many are not in time."""
    sids = [call_sid for call_sid, _ in placed]
    sql = (
        "SELECT COUNT(*) FROM calls_call WHERE status = 'ended' AND call_sid IN "  # noqa: S608 - marks only
        f"({', '.join('?' * len(sids))})"
    )
    deadline = time.monotonic() + ENDED_SECONDS
    while True:
        with contextlib.closing(
            sqlite3.connect(f"file:{database}?mode=ro", uri=True, timeout=10)
        ) as connection:
            missing = len(sids) - int(connection.execute(sql, sids).fetchone()[0])
        if not missing or time.monotonic() > deadline:
            return missing
        time.sleep(0.2)


@contextlib.contextmanager
def _alone() -> Iterator[None]:
    """Hold the folder: two runs at once would measure each other."""
    FOLDER.mkdir(parents=True, exist_ok=True)
    with (FOLDER / "lock").open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise BenchError("another bench runs in this folder. Fix: wait for it.") from None
        yield


def _told(number: int, frame: FrameType | None) -> None:
    for each in STOP_SIGNALS:
        signal.signal(each, signal.SIG_IGN)  # what is being ended is ended in order
    raise _Stopped(number)


def _shown(path: Path) -> str:
    return str(path.relative_to(ROOT)) if path.is_relative_to(ROOT) else str(path)


def main(arguments: Sequence[str] | None = None) -> int:
    """Read the options and run; 0: every bar kept, 1: not, 2: it could not run."""
    parser = argparse.ArgumentParser(prog="make bench", description=__doc__.split("\n")[0])
    parser.add_argument("--calls", type=int, default=FULL_CALLS, help="calls at once")
    parser.add_argument("--rounds", type=int, default=FULL_ROUNDS, help="null bridge, then ours")
    parser.add_argument("--seconds", type=float, default=12.0, help="measured in each step of ours")
    parser.add_argument("--nice", type=int, default=0, help="of both sides, -20 to 19; see docs")
    options = parser.parse_args(arguments)
    if options.nice < os.getpriority(os.PRIO_PROCESS, 0) and os.geteuid() != 0:
        parser.error("--nice below our own priority needs root")
    if options.calls < 1 or options.rounds < 1 or options.seconds <= 0:
        parser.error("--calls, --rounds and --seconds are at least 1")
    for number in STOP_SIGNALS:
        signal.signal(number, _told)
    try:
        with _alone():
            return Bench(options).run()
    except BenchError as problem:
        sys.stderr.write(f"bench: {problem}\n")
        return 2
    except _Stopped as request:
        sys.stderr.write("bench: stopped; nothing is left running\n")
        return 128 + int(request.args[0])


if __name__ == "__main__":
    sys.exit(main())
