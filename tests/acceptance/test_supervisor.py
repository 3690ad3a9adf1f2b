"""The real supervisor with real children: start, crashes, drain, signals (T30)."""

from __future__ import annotations

import json
import os
import random
import signal
import socket
import time
from collections.abc import Callable

import pytest

from tests.platform import Platform, command_line, wait_until

pytestmark = [pytest.mark.acceptance, pytest.mark.timeout(180)]

Start = Callable[..., Platform]


def test_t30_a_life_killed_at_any_moment_and_begun_again_beside_another_instance(
    start_platform: Start, drill_scale: float
) -> None:
    """Kills during the start, a start, kill -9, a start on the same folder and port, Ctrl-C.

    Of the other instance it shares nothing, and a second signal ends that one at once.
    """
    chance = random.Random(7)
    lengths = {"secret_key": 65, "field_encryption_keys": 45}
    for _ in range(max(2, round(100 * drill_scale))):
        begun = start_platform(wait=False, fresh=True)
        begun.pids()
        moment = time.monotonic() + chance.random() * 1.5
        wait_until(lambda moment=moment: time.monotonic() > moment, what="a random moment")
        begun.pids()
        begun.process.kill()
        begun.process.wait()
        begun.assert_nothing_left(seconds=5)
        for name, length in lengths.items():
            path = begun.var_dir / "keys" / name
            assert not path.exists() or len(path.read_text()) == length

    first = start_platform()
    for part in ("valkey", "database", "media", "web", "worker", "beat", "watcher"):
        assert f"\n{part}" in "\n" + first.output(), part
    assert "sign in: user admin, password " in first.output()
    assert first.get("/healthz") == (200, '{"alive": true}')
    status, body = first.get("/readyz")
    assert (status, json.loads(body)["ready"]) == (200, True)
    status, page = first.get("/admin/login/")
    assert status == 200
    assert "csrfmiddlewaretoken" in page
    keys = {path.name: path.read_text() for path in (first.var_dir / "keys").iterdir()}
    for name in (*lengths, "admin_password"):
        assert (first.var_dir / "keys" / name).stat().st_mode & 0o777 == 0o600
    worker = first.pid_of("worker")
    wait_until(
        lambda: sum("ForkPoolWorker" in command_line(pid) for pid in first.pids()) >= 2,
        what=f"pool processes of worker {worker}",
    )
    first.process.kill()
    first.process.wait()

    # At once, while the parts of the first are dying, and beside another instance.
    second = start_platform(port=first.port, wait=False)
    other = start_platform("other", wait=False)
    second.wait_ready()
    other.wait_ready()
    first.assert_nothing_left(seconds=5)
    assert "sign in:" not in second.output()
    assert {path.name: path.read_text() for path in (second.var_dir / "keys").iterdir()} == keys
    assert len(second.pids()) >= 5
    for name in ("web.sock", "valkey.sock"):
        one, two = second.var_dir / "run" / name, other.var_dir / "run" / name
        assert one.is_socket()
        assert two.is_socket()
        assert one.stat().st_ino != two.stat().st_ino
    assert (other.var_dir / "keys" / "secret_key").read_text() != keys["secret_key"]
    assert second.stop(signal.SIGINT) == 0
    second.assert_nothing_left(seconds=2)
    assert "child died" not in second.output()

    assert other.get("/readyz")[0] == 200
    # A stopped media process cannot drain, so the first signal alone would wait for ever.
    os.kill(other.pid_of("media"), signal.SIGSTOP)
    other.pids()
    other.process.send_signal(signal.SIGTERM)
    wait_until(lambda: '"event": "stopping"' in other.output(), what="the drain to begin")
    other.process.send_signal(signal.SIGTERM)
    assert other.process.wait(5) == 1
    other.assert_nothing_left(seconds=2)


def test_a_signal_during_the_start_ends_it(start_platform: Start) -> None:
    platform = start_platform(wait=False)
    platform.pid_of("prepare")
    assert platform.stop() == 0
    platform.assert_nothing_left(seconds=2)


def test_a_taken_port_is_named_with_who_has_it_and_the_fix(start_platform: Start) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        platform = start_platform(wait=False, port=port)
        assert platform.process.wait(20) == 1
    assert f"port {port} is taken by pid {os.getpid()}" in platform.output()
    assert f"PORT={port + 1} make serve" in platform.output()


def test_starting_again_on_a_crashed_database_child_names_the_reason(start_platform: Start) -> None:
    platform = start_platform(
        wait=False, DATABASE_URL="sqlite:////nonexistent/folder/db.sqlite3",
        SECRET_KEY="k" * 60, FIELD_ENCRYPTION_KEYS="dGVzdC1vbmx5LWtleS10ZXN0LW9ubHkta2V5LTAwMDA=",
    )  # fmt: skip
    assert platform.process.wait(30) == 1
    assert "the database could not be prepared" in platform.output()
    platform.assert_nothing_left(seconds=2)


def test_runs_on_postgresql_with_keys_from_the_environment(
    start_platform: Start, postgres_url: str
) -> None:
    platform = start_platform(
        DATABASE_URL=postgres_url, SECRET_KEY="k" * 60,
        FIELD_ENCRYPTION_KEYS="dGVzdC1vbmx5LWtleS10ZXN0LW9ubHkta2V5LTAwMDA=",
    )  # fmt: skip
    assert platform.get("/readyz")[0] == 200
    assert "sign in:" not in platform.output()  # administrators are the operator's business there
    assert not (platform.var_dir / "db.sqlite3").exists()
    assert not (platform.var_dir / "keys").exists()
    assert platform.stop(signal.SIGTERM) == 0
    platform.assert_nothing_left(seconds=2)
    assert "child died" not in platform.output()


def test_missing_keys_outside_the_embedded_database_are_the_checks_message(
    start_platform: Start,
) -> None:
    platform = start_platform("b", wait=False, DATABASE_URL="sqlite:////nonexistent/db.sqlite3")
    assert platform.process.wait(30) == 1
    assert "(base.E001)" in platform.output()
    assert "(base.E002)" in platform.output()
    assert not (platform.var_dir / "keys").exists()


def test_a_wrong_variable_is_one_sentence_and_exit_code_2(start_platform: Start) -> None:
    platform = start_platform("c", wait=False, DRAIN_SECONDS="soon")
    assert platform.process.wait(30) == 2
    assert platform.output() == (
        "DRAIN_SECONDS='soon' is not a whole number. Fix: e.g. DRAIN_SECONDS=600.\n"
    )
