"""How many requests each API key may make: one bucket per key, shared by all processes.

Owns the buckets: in Redis while it answers, in this process while it does not; must not know HTTP
or what a key is. REST framework's own throttles read and write a list of times in two steps, so two
processes lose counts to each other, and they know no burst; here one script does it at once.

The algorithm is GCRA: per key one number, the moment at which the bucket would be full again.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable

import redis
from django.conf import settings
from redis.backoff import NoBackoff
from redis.retry import Retry

logger = logging.getLogger(__name__)

_KEY = "voiceplatform:rate:"
# A limit is not worth waiting for: without an answer by then this process counts alone.
_REDIS_SECONDS = 0.1
_RETRY_REDIS_AFTER_SECONDS = 5.0
_MAX_LOCAL_BUCKETS = 10_000

# Redis's own clock, so that the clocks of machines need not agree. Numbers go as text: a Lua number
# comes back as an integer.
_TAKE = """
local clock = redis.call('TIME')
local now = tonumber(clock[1]) + tonumber(clock[2]) / 1000000
local interval, room = tonumber(ARGV[1]), tonumber(ARGV[2])
local full_at = tonumber(redis.call('GET', KEYS[1]) or now)
if full_at < now then full_at = now end
local wait = full_at + interval - now - room
if wait > 0 then return tostring(wait) end
redis.call('SET', KEYS[1], string.format('%.6f', full_at + interval), 'PX',
           math.ceil((full_at + interval - now) * 1000) + 1000)
return '0'
"""


class LocalBuckets:
    """The buckets of one process; bounded, and safe between threads."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._lock = threading.Lock()
        self._full_at: dict[str, float] = {}

    def take(self, name: str, *, per_second: float, burst: int) -> float:
        """Take one request; return 0, or the seconds until one can be taken."""
        interval, now = 1 / per_second, self._clock()
        with self._lock:
            full_at = max(self._full_at.get(name, now), now) + interval
            wait = full_at - now - burst * interval
            if wait > 1e-9:  # rounding of a sum of intervals
                return wait
            if name not in self._full_at and len(self._full_at) >= _MAX_LOCAL_BUCKETS:
                self._forget(now)
            self._full_at[name] = full_at
        return 0.0

    def _forget(self, now: float) -> None:
        """Drop full buckets, which say nothing, and when all are in use the oldest tenth."""
        self._full_at = {name: at for name, at in self._full_at.items() if at > now}
        if len(self._full_at) >= _MAX_LOCAL_BUCKETS:
            for name in list(self._full_at)[: _MAX_LOCAL_BUCKETS // 10]:
                del self._full_at[name]


class SharedBuckets:
    """Buckets in Redis; while it fails, those of this process, and a new try every few seconds."""

    def __init__(
        self,
        url: str,
        clock: Callable[[], float] = time.monotonic,
        *,
        redis_seconds: float = _REDIS_SECONDS,
    ) -> None:
        self._client = redis.Redis.from_url(
            url,
            socket_connect_timeout=redis_seconds,
            socket_timeout=redis_seconds,
            retry=Retry(NoBackoff(), 0),
        )
        self._script = self._client.register_script(_TAKE)
        self._local = LocalBuckets(clock)
        self._clock = clock
        self._alone_until = 0.0

    def take(self, name: str, *, per_second: float, burst: int) -> float:
        """Take one request; return 0, or the seconds until one can be taken. Never raises."""
        if self._clock() >= self._alone_until:
            interval = 1 / per_second
            try:
                answer = self._script(keys=[_KEY + name], args=[interval, burst * interval])
                return float(answer)
            except (redis.RedisError, OSError) as error:
                self._alone_until = self._clock() + _RETRY_REDIS_AFTER_SECONDS
                logger.warning(
                    "rate limits are counted by this process alone: Redis does not answer",
                    extra={"error": type(error).__name__},
                )
        return self._local.take(name, per_second=per_second, burst=burst)


_shared: SharedBuckets | None = None
_shared_url = ""
_lock = threading.Lock()


def take(name: str) -> float:
    """Take one request from the bucket ``name`` with the limits of the settings.

    Returns 0 when there was one, else the seconds until there is. Never raises and never waits
    longer than a tenth of a second.
    """
    global _shared, _shared_url
    with _lock:
        if _shared is None or _shared_url != settings.REDIS_URL:
            _shared, _shared_url = SharedBuckets(settings.REDIS_URL), settings.REDIS_URL
        buckets = _shared
    return buckets.take(
        name, per_second=settings.REST_REQUESTS_PER_SECOND, burst=settings.REST_REQUESTS_BURST
    )
