"""What a number's voice configuration is, what thereby answers, and the snapshot of it."""

from __future__ import annotations

import json
from typing import Any

import pytest

from calls.numbers.switch.voice import (
    VOICE_FIELDS,
    Application,
    Snapshot,
    UnreadableNumber,
    read,
    read_application,
    routes_of,
    target_of,
)

pytestmark = pytest.mark.unit

PLAIN = {"sid": "PN1", "account_sid": "AC1", "phone_number": "+15550001111"}
VAPI = "https://vapi.example/twilio/inbound_call?token=parrot"
APP = Application("AP1", "https://app.example/voice", "GET", status_callback="https://app/s")


def snapshot(**fields: Any) -> Snapshot:
    config = read({**PLAIN, **fields})
    return Snapshot(config, APP, "us1", "2026-11-22T10:00:00+00:00", "ops@example.com")


def test_no_field_of_text_messages_is_known() -> None:
    assert not [name for name in VOICE_FIELDS if name.startswith("sms")]
    assert read({**PLAIN, "sms_url": "https://a/"}) == read({**PLAIN, "sms_url": "https://b/"})


def test_t25_null_and_empty_read_the_same() -> None:
    nulls = read({**PLAIN, **dict.fromkeys(VOICE_FIELDS)})
    empty = read({**PLAIN, **dict.fromkeys(VOICE_FIELDS, "")})
    assert nulls == empty == read(PLAIN)
    assert nulls.voice()["trunk_sid"] == nulls.voice()["voice_url"] == ""
    assert (nulls.voice_method, nulls.voice_receive_mode) == ("POST", "voice")


@pytest.mark.parametrize(("value", "read_as"), [(True, "true"), ("true", "true"), (False, "false")])
def test_a_switch_reads_the_same_as_a_word(value: object, read_as: str) -> None:
    assert read({**PLAIN, "voice_caller_id_lookup": value}).voice_caller_id_lookup == read_as


@pytest.mark.parametrize("resource", [{}, {"sid": "PN1"}, {"phone_number": "+1"}])
def test_what_is_no_number_is_refused(resource: dict[str, str]) -> None:
    with pytest.raises(UnreadableNumber, match="no sid"):
        read(resource)


def test_a_trunk_and_an_app_at_once_are_refused() -> None:
    with pytest.raises(UnreadableNumber, match="at once"):
        read({**PLAIN, "trunk_sid": "TK1", "voice_application_sid": "AP1"})


def test_t26_a_trunk_answers_before_the_address_and_so_does_an_app() -> None:
    trunk = target_of(read({**PLAIN, "voice_url": VAPI, "trunk_sid": "TK1"}), APP)
    assert (trunk.kind, trunk.sid, trunk.url) == ("trunk", "TK1", "")
    app = target_of(read({**PLAIN, "voice_url": VAPI, "voice_application_sid": "AP1"}), APP)
    assert (app.kind, app.url, app.method) == ("app", "https://app.example/voice", "GET")
    assert app.status_callback == "https://app/s"


def test_an_address_answers_when_nothing_else_is_set_and_else_nothing() -> None:
    url = target_of(read({**PLAIN, "voice_url": VAPI, "voice_method": "get"}))
    assert (url.kind, url.url, url.method) == ("url", VAPI, "GET")
    assert target_of(read({**PLAIN, "voice_fallback_url": VAPI})).kind == "none"


@pytest.mark.parametrize("application", [None, Application("AP2", "https://other.example/")])
def test_an_app_that_was_not_read_leaves_the_answerer_unknown(
    application: Application | None,
) -> None:
    target = target_of(read({**PLAIN, "voice_application_sid": "AP1"}), application)
    assert (target.kind, target.is_known, target.url) == ("app", False, "")


def test_a_trunk_knows_only_there_and_here() -> None:
    assert routes_of("trunk") == ("vapi", "direct")
    for kind in ("app", "url", "none"):
        assert routes_of(kind) == ("vapi", "canary", "direct", "paused")  # type: ignore[arg-type]


def test_an_app_reads_like_a_number() -> None:
    app = read_application({"sid": "AP1", "voice_url": None, "voice_method": "get", "x": 1})
    assert (app.voice_url, app.voice_method, app.status_callback_method) == ("", "GET", "POST")
    with pytest.raises(UnreadableNumber):
        read_application({})


def test_a_snapshot_comes_back_from_its_row_as_it_was() -> None:
    for fields in ({"voice_url": VAPI}, {"trunk_sid": "TK1"}, {"voice_application_sid": "AP1"}):
        taken = snapshot(**fields)
        assert Snapshot.from_json(json.loads(json.dumps(taken.as_json()))) == taken


def test_a_snapshot_that_was_altered_is_no_way_back() -> None:
    for name in VOICE_FIELDS:
        kept = snapshot(voice_url=VAPI).as_json()
        kept["config"][name] = "altered"
        with pytest.raises(UnreadableNumber, match="altered"):
            Snapshot.from_json(kept)


@pytest.mark.parametrize(
    "broken", [{}, {"version": 1}, {"version": 2}, {"version": 1, "config": 3}]
)
def test_what_is_no_snapshot_is_refused(broken: dict[str, Any]) -> None:
    with pytest.raises(UnreadableNumber):
        Snapshot.from_json(broken)


def test_a_fingerprint_tells_every_field_and_the_number() -> None:
    prints = {read({**PLAIN, name: "x"}).fingerprint() for name in VOICE_FIELDS}
    prints |= {read(PLAIN).fingerprint(), read({**PLAIN, "sid": "PN2"}).fingerprint()}
    assert len(prints) == len(VOICE_FIELDS) + 2


def test_no_repr_shows_an_address_or_a_number() -> None:
    shown = repr((snapshot(voice_url=VAPI, status_callback=VAPI), target_of(read(PLAIN), APP)))
    assert "parrot" not in shown
    assert "555000" not in shown
