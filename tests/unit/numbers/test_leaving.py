"""What still depends on Vapi: each kind alone is found, with its weight; nothing else is."""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from calls.numbers.leaving import (
    AtTwilio,
    Dependency,
    Exported,
    LeavingFacts,
    LeavingNumber,
    Stranger,
    VapiAccount,
    dependencies,
    is_at_vapi,
    outstanding,
)

pytestmark = pytest.mark.unit

NOW = dt.datetime(2026, 11, 23, 12, tzinfo=dt.UTC)
VAPI = "https://api.vapi.ai/twilio"
OURS = "https://voice.example.com/twilio/voice"
LIVE = AtTwilio(voice_url=OURS, status_callback="https://voice.example.com/twilio/status")
NUMBER = LeavingNumber(
    "+14155550100", "direct", second_site="https://bins.example.com/1", at_twilio=LIVE
)
CLEAN = LeavingFacts(
    now=NOW,
    numbers=(NUMBER,),
    vapi=VapiAccount(),
    exported=Exported(NOW - dt.timedelta(hours=1), vapi_calls=3),
)
ALWAYS = {"scripts"}


def codes(facts: LeavingFacts) -> dict[str, str]:
    return {each.code: each.weight for each in dependencies(facts)}


def with_number(**columns: Any) -> LeavingFacts:
    return replace(CLEAN, numbers=(replace(NUMBER, **columns),))


def live(**columns: Any) -> LeavingFacts:
    return with_number(at_twilio=replace(LIVE, **columns))


PLANTED: dict[str, tuple[LeavingFacts, str]] = {
    "route": (with_number(route="vapi"), "blocks"),
    "schedule": (with_number(outside="vapi"), "blocks"),
    "overflow": (with_number(handed={"overflow": 3}), "ask"),
    "handed_over": (with_number(handed={"model-lost": 1}), "ask"),
    "not_seen": (with_number(at_twilio=None), "blocks"),
    "trunk": (live(is_on_trunk=True), "ask"),
    "voice_url": (live(voice_url=f"{VAPI}/inbound_call"), "blocks"),
    "status_callback": (live(status_callback=f"{VAPI}/status"), "blocks"),
    "sms_url": (live(sms_url=f"{VAPI}/sms"), "blocks"),
    "sms_fallback_url": (live(sms_fallback_url=f"{VAPI}/sms"), "blocks"),
    "no_second_site": (with_number(second_site=""), "blocks"),
    "second_site": (with_number(second_problem="it lies at Vapi"), "blocks"),
    "open_work": (with_number(open_work=("a move is open",)), "blocks"),
    "stranger": (replace(CLEAN, strangers=(Stranger("+14155550199", "at_twilio"),)), "blocks"),
    "vapi_owned": (replace(CLEAN, strangers=(Stranger("+14155550198", "vapi_owned"),)), "ask"),
    "kept_number": (replace(CLEAN, strangers=(Stranger("+14155550197", "kept"),)), "ask"),
    "account": (replace(CLEAN, unread=(("Main", "status 401"),)), "blocks"),
    "live_calls": (replace(CLEAN, live_at_vapi=1), "blocks"),
    "recordings": (replace(CLEAN, recordings_underway=2), "blocks"),
    "unknown_routes": (replace(CLEAN, unknown_routes=(("GET /campaign", 4),)), "ask"),
    "changed_at_vapi": (replace(CLEAN, vapi=VapiAccount(("assistant Desk",))), "ask"),
    "calls_at_vapi": (replace(CLEAN, vapi=VapiAccount(lately={"webCall": 2})), "ask"),
    "calls_since_export": (replace(CLEAN, vapi=VapiAccount(since_export=1)), "blocks"),
    "export": (replace(CLEAN, exported=None), "blocks"),
    "export_missing": (replace(CLEAN, exported=Exported(NOW, 3, missing=1)), "ask"),
    "calls_not_exported": (replace(CLEAN, exported=Exported(NOW)), "blocks"),
    "vapi_not_seen": (replace(CLEAN, vapi=None), "ask"),
}


def test_a_clean_account_asks_only_for_what_nobody_can_see() -> None:
    assert codes(CLEAN) == {"scripts": "ask"}


@pytest.mark.parametrize("code", PLANTED)
def test_each_dependency_is_found_and_no_other_is_invented(code: str) -> None:
    facts, weight = PLANTED[code]
    assert codes(facts) == {code: weight, "scripts": "ask"}
    found = next(each for each in dependencies(facts) if each.code == code)
    assert found.cause and found.fix


def test_canary_says_how_many_callers_still_go_there() -> None:
    facts = with_number(route="canary", canary_percent=90, handed={"canary-out": 40})
    found = [each for each in dependencies(facts) if each.code == "route"]
    assert "10% of its calls" in found[0].cause
    # Those who went there because of the route are its own words already.
    assert codes(facts) == {"route": "blocks", "scripts": "ask"}


def test_paused_number_needs_no_second_site_and_its_schedule_means_nothing() -> None:
    facts = with_number(route="paused", second_site="", outside="vapi")
    assert codes(facts) == {"scripts": "ask"}


def test_without_a_key_records_at_vapi_are_answered_for_and_with_one_they_are_exported() -> None:
    facts = replace(CLEAN, exported=Exported(NOW), vapi=None)
    assert codes(facts)["calls_not_exported"] == "ask"
    assert codes(replace(facts, vapi=VapiAccount()))["calls_not_exported"] == "blocks"


def test_export_is_good_for_a_day_and_only_if_it_reads_back() -> None:
    for exported in (
        Exported(NOW - dt.timedelta(hours=25), 3),
        Exported(NOW, 3, is_verified=False),
    ):
        assert codes(replace(CLEAN, exported=exported)) == {"export": "blocks", "scripts": "ask"}
    assert codes(replace(CLEAN, exported=Exported(NOW - dt.timedelta(hours=23), 3))) == {
        "scripts": "ask"
    }


def test_an_answer_for_one_number_is_none_for_another_and_lifts_nothing_that_blocks() -> None:
    first = replace(NUMBER, handed={"overflow": 1})
    second = replace(first, label="+14155550101", route="vapi")
    found = dependencies(replace(CLEAN, numbers=(first, second)))
    accepted: dict[str, object] = {
        "overflow:+14155550100": {},
        "scripts": {},
        "route:+14155550101": {},
    }
    left = outstanding(found, accepted)
    assert [each.key for each in left] == ["route:+14155550101", "overflow:+14155550101"]


def test_what_blocks_comes_first() -> None:
    facts = replace(with_number(handed={"overflow": 1}), live_at_vapi=1, recordings_underway=1)
    weights = [each.weight for each in dependencies(facts)]
    assert weights == sorted(weights, key=("blocks", "ask", "note").index)


def test_keys_are_the_same_at_every_look() -> None:
    facts = with_number(handed={"overflow": 1})
    later = with_number(handed={"overflow": 9})
    key: Callable[[Dependency], str] = lambda each: each.key  # noqa: E731
    assert list(map(key, dependencies(facts))) == list(map(key, dependencies(later)))


@pytest.mark.parametrize(
    ("url", "expected"),
    [
        ("https://api.vapi.ai/twilio/sms", True),
        ("https://vapi.ai", True),
        ("HTTPS://API.VAPI.AI./x", True),
        ("https://api.vapi.ai:443/x", True),
        ("https://vapi.ai.example.com/", False),
        ("https://notvapi.ai/", False),
        ("https://example.com/?to=api.vapi.ai", False),
        ("https://user@api.vapi.ai/x", True),
        ("http://127.0.0.1:9/x", True),
        ("http://127.0.0.1:10/x", False),
        ("", False),
        ("http://[broken", False),
    ],
)
def test_vapi_is_told_by_the_host_alone(url: str, expected: bool) -> None:
    assert is_at_vapi(url, frozenset({"127.0.0.1:9"})) is expected
