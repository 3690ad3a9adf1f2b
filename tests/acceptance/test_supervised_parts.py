"""Parts of a running instance that die one by one: the supervisor brings each back (T30)."""

from __future__ import annotations

import threading
import time

import pytest

from tests.platform import Platform, alive, wait_until

pytestmark = [pytest.mark.acceptance, pytest.mark.timeout(180)]


def _blocked_clients(path: str) -> int:
    from redis import Redis
    from redis.exceptions import RedisError

    with Redis(unix_socket_path=path, socket_timeout=2) as client:
        try:
            return int(client.info("clients")["blocked_clients"])
        except RedisError:
            return 0


def test_second_instance_on_one_folder_is_refused_in_a_sentence(shared_platform: Platform) -> None:
    second = Platform.start(shared_platform.var_dir)
    assert second.process.wait(20) == 1
    assert f"already running as pid {shared_platform.process.pid}" in second.output()
    assert shared_platform.get("/healthz")[0] == 200


def test_kill_9_of_web_touches_no_call_path_and_web_comes_back(shared_platform: Platform) -> None:
    media = shared_platform.pid_of("media")
    before = shared_platform.kill("web")
    slowest = 0.0
    # What media answers itself must go on at once while web is away.
    while shared_platform.find("web") in (None, before):
        began = time.monotonic()
        assert shared_platform.get("/healthz")[0] == 200
        slowest = max(slowest, time.monotonic() - began)
    assert slowest < 1.0
    # Asked while web boots: the supervisor holds the socket, so the request waits for it.
    assert shared_platform.get("/admin/login/")[0] == 200
    assert shared_platform.pid_of("web") != before
    assert shared_platform.pid_of("media") == media
    assert '"child": "web", "reason": "killed by SIGKILL"' in shared_platform.output()


def test_requests_sent_while_media_is_dead_are_answered_by_its_successor(
    shared_platform: Platform,
) -> None:
    before = shared_platform.kill("media")
    wait_until(lambda: not alive(before), what="media to be gone")
    answers: list[int] = []
    threads = [
        threading.Thread(target=lambda: answers.append(shared_platform.get("/healthz")[0]))
        for _ in range(5)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    assert answers == [200] * 5
    assert shared_platform.pid_of("media") != before


def test_kill_9_of_valkey_brings_it_back_on_its_socket_and_the_worker_recovers(
    shared_platform: Platform,
) -> None:
    path = shared_platform.var_dir / "run" / "valkey.sock"
    # A worker that listens waits in a BRPOP, which Valkey lists as a blocked client.
    wait_until(lambda: _blocked_clients(str(path)) >= 1, what="the worker to listen", seconds=60)
    before = shared_platform.kill("valkey")
    wait_until(lambda: shared_platform.find("valkey") not in (None, before), what="a new Valkey")
    wait_until(lambda: shared_platform.get("/readyz")[0] == 200, what="readiness", seconds=10)
    assert path.is_socket()
    # The same worker or, where kombu fails over an acknowledgement on its way, its successor.
    wait_until(lambda: _blocked_clients(str(path)) >= 1, what="it to listen again", seconds=60)
    assert shared_platform.find("worker") is not None, shared_platform.output()[-6000:]
