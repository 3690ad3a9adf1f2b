"""Liveness and readiness: each part alone can take readiness away, and none can block the loop."""

from __future__ import annotations

import asyncio
import json
import time
from pathlib import Path
from typing import Any

import pytest
from asgiref.testing import ApplicationCommunicator
from cryptography.fernet import Fernet
from django.core.checks import run_checks
from django.db import OperationalError
from django.test import override_settings

from calls.media.live import LiveCalls
from voiceplatform import health
from voiceplatform.base import canary
from voiceplatform.base.models import EncryptionCanary

pytestmark = [pytest.mark.integration, pytest.mark.django_db(transaction=True)]


async def get(target: str) -> tuple[int, dict[str, Any]]:
    """Ask the health application."""

    async def elsewhere(scope: Any, receive: Any, send: Any) -> None:
        await send({"type": "http.response.start", "status": 299, "headers": []})
        await send({"type": "http.response.body", "body": b"{}"})

    scope = {"type": "http", "path": target, "headers": [(b"host", b"10.0.0.7")]}
    asked = ApplicationCommunicator(health.with_health(elsewhere), scope)
    start = await asked.receive_output(10)
    body = await asked.receive_output(10)
    return start["status"], json.loads(body["body"])


async def test_healthz_needs_nothing() -> None:
    assert await get("/healthz") == (200, {"alive": True})


async def test_other_paths_go_on() -> None:
    assert (await get("/healthz/"))[0] == 299


async def test_ready_when_every_part_answers(valkey_url: str) -> None:
    await asyncio.to_thread(canary.canary_ensure)
    status, parts = await get("/readyz")
    assert status == 200, parts
    assert (parts["database"], parts["redis"], parts["field_keys"]) == ("ok", "ok", "ok")


async def test_not_ready_while_draining(valkey_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    calls = LiveCalls()
    calls.begin_drain()
    calls.enter()
    monkeypatch.setattr(health, "live", calls)
    status, parts = await get("/readyz")
    assert (status, parts["draining"], parts["live_calls"]) == (503, True, 1)


async def test_calls_are_taken_without_redis_and_its_state_is_told(tmp_path: Path) -> None:
    with override_settings(REDIS_URL=f"unix://{tmp_path}/none.sock"):
        status, parts = await get("/readyz")
    assert (status, parts["ready"]) == (200, True)
    assert parts["redis"].startswith("no answer")


async def test_a_silent_redis_costs_half_a_second(tmp_path_factory: pytest.TempPathFactory) -> None:
    path = tmp_path_factory.mktemp("r") / "silent.sock"
    opened: list[asyncio.StreamWriter] = []
    async with await asyncio.start_unix_server(lambda _, writer: opened.append(writer), str(path)):
        began = time.monotonic()
        with override_settings(REDIS_URL=f"unix://{path}"):
            status, parts = await get("/readyz")
        assert status == 200
        assert parts["redis"].startswith("no answer")
        assert time.monotonic() - began < 3
        for writer in opened:
            writer.close()


async def test_not_ready_with_the_wrong_field_key(valkey_url: str) -> None:
    await asyncio.to_thread(canary.canary_ensure)
    with override_settings(FIELD_ENCRYPTION_KEYS=[Fernet.generate_key().decode()]):
        status, parts = await get("/readyz")
    assert status == 503
    assert "base.E003" in parts["field_keys"]


async def test_not_ready_without_field_keys(valkey_url: str) -> None:
    with override_settings(FIELD_ENCRYPTION_KEYS=[]):
        status, parts = await get("/readyz")
    assert (status, parts["database"]) == (503, "ok")
    assert "base.E002" in parts["field_keys"]


async def test_not_ready_without_the_database(
    valkey_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse() -> bool:
        raise OperationalError("away")

    monkeypatch.setattr(health, "canary_opens", refuse)
    status, parts = await get("/readyz")
    assert (status, parts["database"]) == (503, "no answer (OperationalError)")


async def test_a_hanging_database_blocks_neither_answer_nor_loop(
    valkey_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    release = asyncio.Event()
    loop = asyncio.get_running_loop()

    def hang() -> tuple[str, str]:
        asyncio.run_coroutine_threadsafe(release.wait(), loop).result(30)
        return "ok", "ok"

    monkeypatch.setattr(health, "_ask_database", hang)
    monkeypatch.setattr(health, "DATABASE_SECONDS", 0.2)
    asking = asyncio.create_task(get("/readyz"))
    assert (await get("/healthz"))[0] == 200
    status, parts = await asking
    release.set()
    assert status == 503
    assert parts["database"].startswith("no answer within")


def test_the_canary_is_written_once_and_never_rewritten() -> None:
    canary.canary_ensure()
    token = EncryptionCanary.objects.values_list("token", flat=True).get()
    assert token == canary.CLEAR
    with override_settings(FIELD_ENCRYPTION_KEYS=[Fernet.generate_key().decode()]):
        canary.canary_ensure()
        assert canary.canary_opens() is False
        found = run_checks(databases=["default"], tags=["database"])
        assert "base.E003" in [message.id for message in found]
    assert canary.canary_opens() is True
    assert "base.E003" not in [m.id for m in run_checks(databases=["default"], tags=["database"])]


def test_the_canary_check_is_silent_without_the_row_and_when_not_asked() -> None:
    from voiceplatform.base.checks import check_canary

    EncryptionCanary.objects.all().delete()
    assert check_canary(databases=["default"]) == []
    assert check_canary(databases=None) == []
