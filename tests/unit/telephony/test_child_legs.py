"""Whether somebody was dialled for a call, as Twilio tells it by its own clock."""

from __future__ import annotations

import json
from contextlib import suppress
from typing import Any

import pytest
from requests import ReadTimeout, Session
from twilio.http.http_client import TwilioHttpClient
from twilio.http.response import Response

from calls.parity.shadow_delay import Legs
from calls.telephony.child_legs import child_legs
from calls.telephony.twilio_client import CarrierSilent, TwilioAccess

pytestmark = pytest.mark.unit

ACCESS = TwilioAccess("AC" + "1" * 32, "token", "https://twilio.example")
CALL_SID = "CA" + "2" * 32
WRITTEN = {"Date": "Mon, 23 Nov 2026 12:00:10 GMT"}


def _answer(monkeypatch: pytest.MonkeyPatch, *created: str, **more: Any) -> list[str]:
    """Have Twilio list legs that were made then, and conferences: the call's times in each."""
    asked: list[str] = []
    rooms: list[str | None] = more.get("rooms", [])
    rows = [{"sid": f"CA{at}", "date_created": each} for at, each in enumerate(created)]
    body = {"calls": rows, "page": 0, "next_page_uri": None}

    def request(self: TwilioHttpClient, method: str, url: str, **options: Any) -> Response:
        asked.append(f"{method} {url} {options.get('params')}")
        if "error" in more:
            raise more["error"]
        if "/Participants/" in url:
            came = rooms[int(url.split("/Conferences/CF")[1].split("/")[0])]
            status = 404 if came is None else more.get("seat_status", 200)
            seat = {"call_sid": CALL_SID, "date_created": came}
            return Response(status, json.dumps(seat), WRITTEN)
        if "/Conferences" in url:
            waits = (options.get("params") or {}).get("Status") == "init"  # the last one does
            listed = [
                {"sid": f"CF{at}"} for at in range(len(rooms)) if waits == (at + 1 == len(rooms))
            ]
            page = {"conferences": listed, "page": 0, "next_page_uri": None}
            return Response(more.get("rooms_status", 200), json.dumps(page), WRITTEN)
        return Response(more.get("status", 200), json.dumps(body), more.get("headers", WRITTEN))

    monkeypatch.setattr(TwilioHttpClient, "request", request)
    return asked


def test_the_first_leg_counts_and_its_age_is_by_twilios_clock(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    asked = _answer(
        monkeypatch, "Mon, 23 Nov 2026 12:00:09 +0000", "Mon, 23 Nov 2026 12:00:07 +0000"
    )
    assert child_legs(ACCESS, CALL_SID) == Legs(are_some=True, ago_ms=3_000)
    assert len(asked) == 1 and CALL_SID in asked[0]


def test_nobody_was_dialled(monkeypatch: pytest.MonkeyPatch) -> None:
    _answer(monkeypatch)
    assert child_legs(ACCESS, CALL_SID) == Legs()


def test_who_was_moved_into_a_conference_may_talk_to_a_person_there(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The person is called by a call of their own, which is no leg of this one."""
    _answer(monkeypatch, rooms=[None, "Mon, 23 Nov 2026 12:00:06 +0000", None])
    assert child_legs(ACCESS, CALL_SID) == Legs(are_some=True, ago_ms=4_000)
    _answer(monkeypatch, rooms=[None, "Mon, 23 Nov 2026 12:00:09 +0000"])
    assert child_legs(ACCESS, CALL_SID) == Legs(are_some=True, ago_ms=1_000)
    _answer(monkeypatch, rooms=[None] * 10)
    assert child_legs(ACCESS, CALL_SID) == Legs()
    for unclear in ({"rooms": [None] * 11}, {"rooms_status": 500}):
        _answer(monkeypatch, **unclear)
        with pytest.raises(CarrierSilent):
            child_legs(ACCESS, CALL_SID)
    _answer(monkeypatch, rooms=["Mon, 23 Nov 2026 12:00:06 +0000"], seat_status=500)
    with pytest.raises(CarrierSilent):
        child_legs(ACCESS, CALL_SID)


@pytest.mark.parametrize("more", [{}, {"status": 500}, {"error": ReadTimeout()}])
def test_no_connection_is_left_open_where_it_is_asked_every_two_seconds(
    monkeypatch: pytest.MonkeyPatch, more: dict[str, Any]
) -> None:
    closed: list[Session] = []
    monkeypatch.setattr(Session, "close", lambda self: closed.append(self))
    _answer(monkeypatch, **more)
    with suppress(CarrierSilent):
        child_legs(ACCESS, CALL_SID)
    assert len(closed) == 1


@pytest.mark.parametrize("headers", [{}, None, {"Date": "today"}])
def test_without_a_time_there_is_no_age(monkeypatch: pytest.MonkeyPatch, headers: Any) -> None:
    _answer(monkeypatch, "Mon, 23 Nov 2026 12:00:09 +0000", headers=headers)
    assert child_legs(ACCESS, CALL_SID) == Legs(are_some=True, ago_ms=None)


def test_a_leg_without_a_time_leaves_the_age_open(monkeypatch: pytest.MonkeyPatch) -> None:
    _answer(monkeypatch, "Mon, 23 Nov 2026 12:00:09 +0000", "")
    assert child_legs(ACCESS, CALL_SID) == Legs(are_some=True, ago_ms=None)


@pytest.mark.parametrize("wrong", [{"status": 500}, {"error": ReadTimeout()}])
def test_no_answer_is_silence_and_not_nobody(
    monkeypatch: pytest.MonkeyPatch, wrong: dict[str, Any]
) -> None:
    _answer(monkeypatch, **wrong)
    with pytest.raises(CarrierSilent):
        child_legs(ACCESS, CALL_SID)
