"""Whole calls over real sockets: the real supervisor with uvicorn, and plain daphne.

Words travel in the audio, so what is read in the transcript was really carried.
"""

from __future__ import annotations

import contextlib
import re
import shutil
import socket
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from websockets.exceptions import ConnectionClosed, InvalidStatus
from websockets.sync.client import connect

from calls.standins.server import DEFAULT_AUTH_TOKEN
from calls.standins.twilio_webhook import signature_of
from tests.acceptance.calls_rig import (
    POLICY_LINE,
    CallsRig,
    PlacedCall,
    assert_no_traceback,
    stream_path,
)
from tests.acceptance.test_drain import assert_sigterm_lets_the_live_call_end
from tests.migrated import migrated_sqlite
from tests.platform import ROOT, Platform, clean_environment, free_port, wait_until
from voiceplatform.supervisor.parent_death import before_exec

pytestmark = [pytest.mark.acceptance, pytest.mark.timeout(180)]

GREETING = "Good morning, Harbour Dental. How can I help?"
HELLO = [
    ("assistant", GREETING),
    ("user", "Hello, are you open today?"),
    ("assistant", "Yes, we are open until six."),
    ("user", "Thank you, that is all."),
    ("assistant", "You are welcome. Have a good day."),
]


# One interpreter for all: to load the application takes longer than any of the commands.
_MANAGE = """
import sys
import manage

for line in sys.argv[1:]:
    sys.argv = ["manage.py", *line.split()]
    manage.main()
"""


def _manage(environment: dict[str, str], *lines: str) -> str:
    """Run management commands one after the other, all with success; return what they print."""
    command = [sys.executable, "-c", _MANAGE, *lines]
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def _environment(**extra: str) -> dict[str, str]:
    return clean_environment(DJANGO_SETTINGS_MODULE="voiceplatform.settings", **extra)


def _assert_hello(rig: CallsRig, placed: PlacedCall) -> None:
    report = placed.report()
    assert report["ok"], report
    # The policy line came first, once, in Twilio's voice or in the rendered one.
    lines = placed.said("say") + placed.said("heard")
    assert lines.count(POLICY_LINE) == 1
    assert lines[0] == POLICY_LINE
    assert report["heard"][-2:] == [HELLO[2][1], HELLO[4][1]]
    row = rig.ended(placed)
    assert (row["status"], row["ended_reason"]) == ("ended", "customer-ended-call")
    spoken = rig.spoken(placed)
    assert [turn for turn in spoken if turn[1] != POLICY_LINE] == HELLO
    assert row["first_word_ms"] >= 0  # 0: a rendered greeting right behind Twilio's own voice
    assert row["turn_latency_p95_ms"] >= row["turn_latency_p50_ms"] > 0
    (stream,) = row["metrics"]["streams"]
    assert stream["frames_in"] > 0
    assert stream["caller_bytes"] == stream["caller_bytes_forwarded"]


def _assert_barge_in(rig: CallsRig, placed: PlacedCall) -> None:
    report = placed.report()
    assert report["ok"], report
    (cut,) = report["cut"]
    row = rig.ended(placed)
    assert row["ended_reason"] == "customer-ended-call"
    sql = (
        "SELECT text, text_unheard FROM calls_turn t JOIN calls_call c ON c.id = t.call_id "
        "WHERE c.call_sid = ? AND interrupted"
    )
    ((heard, unheard),) = rig.query(sql, placed.call_sid)
    # What is stored as heard was heard; the rest is kept apart.
    assert cut.startswith(heard[:40])
    assert heard.startswith("We offer cleaning")
    assert unheard.endswith("every day.")
    assert ("assistant", "A cleaning costs eighty dollars.") in rig.spoken(placed)


@contextlib.contextmanager
def _busy_web(platform: Platform) -> Iterator[None]:
    """Keep two threads of the web process at work, rendering pages, for the length of the block."""
    over = threading.Event()
    answers: list[int] = []

    def ask() -> None:
        while not over.is_set():
            answers.append(platform.get("/admin/login/")[0])
            over.wait(0.2)  # busy without taking what the other tests need

    threads = [threading.Thread(target=ask, daemon=True) for _ in range(2)]
    for thread in threads:
        thread.start()
    try:
        yield
    finally:
        over.set()
        for thread in threads:
            thread.join(30)
    assert set(answers) == {200}
    assert len(answers) > 10


def test_calls_through_the_supervisor_the_commands_that_look_at_them_and_t30_the_drain(
    start_platform: Callable[..., Platform],
) -> None:
    platform = start_platform(standins=True)
    rig = CallsRig(platform.base_url, platform.var_dir / "db.sqlite3")
    hello, barge_in = rig.place("hello"), rig.place("barge_in")  # T32: two at once
    with _busy_web(platform):
        _assert_hello(rig, hello)
        _assert_barge_in(rig, barge_in)
    environment = _environment(VAR_DIR=str(platform.var_dir), PORT=str(platform.port))
    ids = [rig.call(placed.call_sid)["id"] for placed in (hello, barge_in)]
    replays = [f"replay_call {call_id}" for call_id in ids]
    told = _manage(environment, *replays, "doctor --json")
    assert told.count("outputs the same") == len(ids), told
    for name in ("signature Stand-in", "media socket", "model Stand-in", "redis", "database"):
        assert f'"check": "{name}", "state": "ok"' in told, told
    assert_sigterm_lets_the_live_call_end(platform)
    output = platform.output()
    assert "\nstandins " in output
    assert_no_traceback(output.replace("calls.tasks.drain_outbox", ""))
    for words in ("Harbour", "eighty dollars", "+15550107777"):
        assert words not in output  # design.md 10


# ---- daphne -----------------------------------------------------------------------------------


@contextlib.contextmanager
def _process(environment: dict[str, str], log: Path, *arguments: str) -> Iterator[Any]:
    with log.open("wb") as out:
        process = subprocess.Popen(
            [sys.executable, "-m", *arguments],
            cwd=ROOT, env=environment, stdout=out, stderr=subprocess.STDOUT,
            preexec_fn=before_exec(),
        )  # fmt: skip
    try:
        yield process
    finally:
        process.terminate()
        process.wait(20)


def _listens(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


@pytest.fixture
def daphne(tmp_path: Path) -> Iterator[tuple[CallsRig, Path]]:
    """The whole application in one daphne process, with stand-ins, without a worker."""
    port = free_port()
    base_url = f"http://127.0.0.1:{port}"
    environment = _environment(
        VAR_DIR=str(tmp_path),
        PORT=str(port),
        SECRET_KEY="k" * 60,
        FIELD_ENCRYPTION_KEYS="dGVzdC1vbmx5LWtleS10ZXN0LW9ubHkta2V5LTAwMDA=",
    )
    log, standins_log = tmp_path / "daphne.log", tmp_path / "standins.log"
    standins = ("calls.standins", "--port", "0", "--platform-url", base_url)
    with _process(environment, standins_log, *standins):
        wait_until(lambda: "http://" in standins_log.read_text(), what="the stand-ins", seconds=30)
        found = re.search(r"http://\S+", standins_log.read_text())
        assert found is not None
        shutil.copyfile(migrated_sqlite(), tmp_path / "db.sqlite3")
        _manage(environment, f"prepare_instance --standins-url {found.group()}")
        application = ("daphne", "-p", str(port), "voiceplatform.asgi:application")
        with _process(environment, log, *application):
            wait_until(lambda: _listens(port), what=f"daphne: {log.read_text()}", seconds=60)
            yield CallsRig(base_url, tmp_path / "db.sqlite3"), log


def test_calls_and_refusals_under_plain_daphne(daphne: tuple[CallsRig, Path]) -> None:
    rig, log = daphne
    hello, barge_in = rig.place("hello"), rig.place("barge_in")
    _assert_hello(rig, hello)
    _assert_barge_in(rig, barge_in)
    assert _refusal(rig, "/twilio/media/00000000-0000-4000-8000-000000000000/x") == 403
    assert _refusal(rig, "/nothing") == 403
    assert rig.post("/twilio/voice", {"CallSid": "CA1"}) == 400
    # daphne knows no message limit of ours, so the driver closes; and it can send no 1008 or 1009.
    assert _close_code(rig, "a" * 70_000) == 4009
    assert _close_code(rig, *["{"] * 20) == 4008
    assert_no_traceback(log.read_text())


def _refusal(rig: CallsRig, path: str) -> int:
    with pytest.raises(InvalidStatus) as refused:
        connect(rig.base_url.replace("http", "ws") + path, proxy=None)
    return int(refused.value.response.status_code)


def _close_code(rig: CallsRig, *frames: str) -> int:
    """Open the stream of a new call as Twilio would, send frames and return the close code."""
    number = len(rig.query("SELECT 1 FROM calls_call"))
    call_sid = f"CA{number:032x}"
    form = {"CallSid": call_sid, "From": "+15550107777", "To": "+15550100001"}
    assert rig.post("/twilio/voice", form) == 200
    path = stream_path(rig.answer("/twilio/voice", form))
    url = rig.base_url.replace("http", "ws") + path
    signature = signature_of(url, {}, DEFAULT_AUTH_TOKEN)
    headers = {"x-twilio-signature": signature}
    with connect(url, additional_headers=headers, proxy=None, compression=None) as socket:
        for frame in frames:
            socket.send(frame)
        with pytest.raises(ConnectionClosed) as closed:
            while True:
                socket.recv(timeout=20)
    assert closed.value.rcvd is not None
    return int(closed.value.rcvd.code)
