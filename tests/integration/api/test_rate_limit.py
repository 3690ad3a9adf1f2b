"""The limit of requests per key: the bucket itself, shared in Valkey, alone without it, and 429."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import pytest
from django.test import Client

from tests import factories
from tests.servers import running_valkey
from voiceplatform.base import rate_limit
from voiceplatform.base.rate_limit import LocalBuckets, SharedBuckets

pytestmark = pytest.mark.integration


# On a busy machine a Redis that lives may take longer than a limit is worth.
PATIENT = 20.0


class Clock:
    """Seconds that pass when the test says so."""

    now = 1000.0

    def __call__(self) -> float:
        return self.now


def taken(buckets: LocalBuckets | SharedBuckets, name: str, times: int, **limit: Any) -> int:
    """Return how many of ``times`` requests passed."""
    return sum(buckets.take(name, **limit) == 0 for _ in range(times))


def test_a_bucket_holds_its_burst_and_fills_at_its_rate() -> None:
    clock = Clock()
    buckets = LocalBuckets(clock)
    limit = {"per_second": 20.0, "burst": 100}
    assert taken(buckets, "a", 150, **limit) == 100
    assert buckets.take("a", **limit) == pytest.approx(0.05)
    assert taken(buckets, "b", 1, **limit) == 1  # another key, another bucket
    clock.now += 0.5
    assert taken(buckets, "a", 20, **limit) == 10
    clock.now += 3600
    assert taken(buckets, "a", 150, **limit) == 100  # never more than the burst


def test_local_buckets_are_bounded() -> None:
    clock = Clock()
    buckets = LocalBuckets(clock)
    for number in range(rate_limit._MAX_LOCAL_BUCKETS + 50):
        assert buckets.take(str(number), per_second=0.001, burst=2) == 0
    assert len(buckets._full_at) <= rate_limit._MAX_LOCAL_BUCKETS
    clock.now += 1_000_000
    for number in range(rate_limit._MAX_LOCAL_BUCKETS):
        buckets.take(f"later {number}", per_second=0.001, burst=2)
    assert len(buckets._full_at) <= rate_limit._MAX_LOCAL_BUCKETS


def test_two_processes_share_one_bucket_in_redis() -> None:
    limit = {"per_second": 0.01, "burst": 10}
    with running_valkey() as path:
        one, two = (SharedBuckets(f"unix://{path}", redis_seconds=PATIENT) for _ in range(2))
        assert [taken(one, "k", 6, **limit), taken(two, "k", 6, **limit)] == [6, 4]
        assert 90 < one.take("k", **limit) <= 100
        assert taken(two, "other", 1, **limit) == 1
        # What is over is forgotten: a key that rests leaves nothing behind.
        assert 0 < one._client.pttl("voiceplatform:rate:k") <= 1_001_000


def test_a_dead_redis_costs_one_wait_and_then_the_process_counts_alone(tmp_path: Path) -> None:
    clock = Clock()
    path = tmp_path / "v.sock"
    buckets = SharedBuckets(f"unix://{path}", clock, redis_seconds=PATIENT)
    limit = {"per_second": 0.01, "burst": 10}
    began = time.monotonic()
    assert taken(buckets, "k", 12, **limit) == 10
    assert time.monotonic() - began < PATIENT
    with running_valkey(path):
        assert buckets.take("k", **limit) > 0  # not asked again yet
        clock.now += 6
        assert taken(buckets, "k", 12, **limit) == 10  # Redis's own count
    clock.now += 6
    assert buckets.take("k", **limit) > 0  # dead again: our own bucket, still empty


@pytest.mark.django_db
def test_over_the_limit_is_429_with_retry_after_and_vapis_body(settings: Any) -> None:
    settings.REST_REQUESTS_PER_SECOND, settings.REST_REQUESTS_BURST = 0.1, 3
    _, clear = factories.make_api_key(factories.make_organisation())
    _, other = factories.make_api_key(factories.make_organisation())
    headers = {"authorization": f"Bearer {clear}"}
    answers = [Client().get("/tool", headers=headers) for _ in range(4)]
    assert [answer.status_code for answer in answers] == [200, 200, 200, 429]
    refused = answers[-1]
    assert 1 <= int(refused["Retry-After"]) <= 10
    body = refused.json()
    assert (body["error"], body["statusCode"]) == ("Too Many Requests", 429)
    assert "Retry-After" in body["message"]
    assert Client().get("/tool", headers={"authorization": f"Bearer {other}"}).status_code == 200
    assert Client().get("/tool", headers={"authorization": "Bearer vp_wrong"}).status_code == 401
