"""Liveness and readiness as ASGI answers; owns what "ready" means, changes nothing.

``/healthz``: this process runs its event loop. ``/readyz``: it may be sent new calls: the database
answers, the keys open what is stored, and it is not draining. Redis may die at any time (design.md
2.5): no call needs it, so its state is told and decides nothing. Both are answered before Django
sees the request, so that load balancers may use any Host, and database work runs on a thread of its
own, so that a slow view or query cannot delay the answer or the loop.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable, MutableMapping
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from django.conf import settings
from django.core.exceptions import ImproperlyConfigured
from django.db import DatabaseError, connection
from redis.asyncio import Redis
from redis.exceptions import RedisError

from calls.media import live
from voiceplatform.base.canary import canary_opens

REDIS_SECONDS = 0.5
DATABASE_SECONDS = 2.0

ASGIApp = Callable[..., Awaitable[None]]

_database_thread = ThreadPoolExecutor(max_workers=1, thread_name_prefix="readyz")


def _ask_database() -> tuple[str, str]:
    """Return the state of the database and of the field keys, in this thread."""
    try:
        with connection.cursor() as cursor:
            cursor.execute("SELECT 1")
        keys = "ok" if canary_opens() else "stored secrets do not open (base.E003)"
    except DatabaseError as error:
        return f"no answer ({type(error).__name__})", "unknown"
    except (ImproperlyConfigured, ValueError):
        return "ok", "missing or malformed (base.E002)"
    finally:
        connection.close()
    return "ok", keys


async def _database() -> tuple[str, str]:
    loop = asyncio.get_running_loop()
    try:
        async with asyncio.timeout(DATABASE_SECONDS):
            return await loop.run_in_executor(_database_thread, _ask_database)
    except TimeoutError:
        return f"no answer within {DATABASE_SECONDS} s", "unknown"


async def _redis() -> str:
    client: Redis = Redis.from_url(
        settings.REDIS_URL, socket_connect_timeout=REDIS_SECONDS, socket_timeout=REDIS_SECONDS
    )
    try:
        async with asyncio.timeout(REDIS_SECONDS):
            await client.ping()
    except (RedisError, OSError, TimeoutError) as error:
        return f"no answer ({type(error).__name__})"
    finally:
        await client.aclose()
    return "ok"


async def readiness() -> tuple[bool, dict[str, Any]]:
    """Return whether new calls may come, and the state of each part."""
    (database, keys), redis = await asyncio.gather(_database(), _redis())
    draining = live.is_draining()
    ready = (database, keys) == ("ok", "ok") and not draining
    return ready, {
        "ready": ready,
        "database": database,
        "field_keys": keys,
        "redis": redis,
        "draining": draining,
        "live_calls": live.active_count(),
    }


async def _answer(send: Callable[..., Awaitable[None]], status: int, body: dict[str, Any]) -> None:
    content = json.dumps(body).encode()
    headers = [
        (b"content-type", b"application/json"),
        (b"content-length", str(len(content)).encode("ascii")),
        (b"cache-control", b"no-store"),
    ]
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": content})


def with_health(inner: ASGIApp) -> ASGIApp:
    """Return an HTTP application that answers health paths itself and hands on the rest."""

    async def application(
        scope: MutableMapping[str, Any],
        receive: Callable[[], Awaitable[MutableMapping[str, Any]]],
        send: Callable[..., Awaitable[None]],
    ) -> None:
        if scope["path"] == "/healthz":
            await _answer(send, 200, {"alive": True})
        elif scope["path"] == "/readyz":
            ready, parts = await readiness()
            await _answer(send, 200 if ready else 503, parts)
        else:
            await inner(scope, receive, send)

    return application
