"""Workers of a live run die by SIGKILL while calls are on: each place is called once all the same.

Both stacks, Twilio and the model are the stand-ins; the worker is a process of its own. What it
leaves is followed by the next one, and the old stack's logs are fetched by the run itself.
"""

from __future__ import annotations

import asyncio
import os
import random
import subprocess
import sys
from collections.abc import Callable
from decimal import Decimal
from typing import Any

import pytest
from django.db import connections

from calls.media.database import in_database
from calls.models import ParityRun, RunDial
from calls.services import live_runs
from calls.standins.old_voice import API
from tests.drills.conftest import Tell
from tests.integration.calls.rig import Rig
from tests.integration.calls.test_live_runs import ASKS, begin, line, placed, play, sides
from tests.platform import ROOT
from voiceplatform.base.models import Job
from voiceplatform.supervisor.parent_death import before_exec

__all__ = ["line"]

pytestmark = [
    pytest.mark.acceptance,
    pytest.mark.django_db(transaction=True),
    pytest.mark.timeout(1800),
]

PAIRS, KILLS = 40, 8
SOON_SECONDS = 60.0


def _worker(rig: Rig, run: ParityRun) -> subprocess.Popen[bytes]:
    environment = {
        **os.environ,
        "DJANGO_SETTINGS_MODULE": "tests.settings",
        "DRILL_OLD_KEY": rig.old_voice.api_key,
        "DRILL_OLD_API": rig.standin_origin + API,
    }
    name = str(connections["default"].settings_dict["NAME"])
    return subprocess.Popen(
        [sys.executable, "-m", "tests.drills.live_victim", name, str(run.job_id)],
        cwd=ROOT, env=environment, stderr=None, preexec_fn=before_exec(),
    )  # fmt: skip


def _on() -> int:
    return RunDial.objects.filter(stream_used__gt=0).count()


def _left_behind(run: ParityRun) -> None:
    """Let the dead worker's lease be over, which takes minutes otherwise."""
    job = Job.objects.get(pk__in=[run.job_id])
    assert job.state == Job.State.RUNNING
    job.parameters["lease"]["until"] = 0
    job.parameters["attempts"] = 0  # how often a job may kill its worker is another test's
    job.save(update_fields=["parameters"])


async def test_killed_workers_leave_no_place_called_twice_and_none_uncalled(
    line: Rig,
    settings: Any,
    monkeypatch: pytest.MonkeyPatch,
    count: Callable[[int, int], int],
    tell: Tell,
) -> None:
    settings.VAPI_API_KEY, settings.VAPI_BASE_URL = (
        line.old_voice.api_key,
        line.standin_origin + API,
    )
    # A row that no request followed is waited for a minute otherwise.
    monkeypatch.setattr(live_runs, "UNKNOWN_SECONDS", 5.0)
    monkeypatch.setattr(live_runs, "LOOK_SECONDS", 0.3)
    pairs, kills = count(PAIRS, 1), count(KILLS, 1)
    draw = random.Random(7)
    run = await in_database(
        begin,
        line,
        documents={"asks": ASKS},
        pairs=pairs,
        parallel=4,
        cost_limit_usd=Decimal(pairs),
    )
    await in_database(run.refresh_from_db)
    for number in range(kills):
        wanted = 1 + number * 2 * pairs // (kills + 1)
        worker = _worker(line, run)
        try:
            async with asyncio.timeout(SOON_SECONDS + 4 * pairs):
                while await in_database(_on) < wanted:
                    assert worker.poll() is None, "it ended before it was killed"
                    await asyncio.sleep(0.15)
            await asyncio.sleep(draw.random() * 0.5)
        finally:
            worker.kill()
            worker.wait()
        await in_database(_left_behind, run)
    run = await play(run)
    rows = await sides(run)
    assert run.state == "done", run.problem
    assert [row.state for row in rows] == ["done"] * (2 * pairs)
    dials = await in_database(lambda: list(RunDial.objects.all()))
    over = [dial for dial in dials if dial.state == "ended"]
    assert len({dial.parity_call_id for dial in over}) == len(over) == 2 * pairs
    never = [dial for dial in dials if dial.state == "void"]
    assert {dial.problem for dial in never} <= {"Twilio never placed it"}
    assert placed(line) == 2 * pairs
    tell(
        "live runs, workers killed",
        f"{2 * pairs} calls of {pairs} pairs, {kills} workers killed while calls were on: each "
        f"place was called once, {len(never)} rows had no call yet and were asked for first",
    )
