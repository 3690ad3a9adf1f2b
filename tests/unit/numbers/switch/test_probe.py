"""The nightly look: what was lost is mended, what was replaced is asked about."""

from __future__ import annotations

from dataclasses import replace

import pytest

from calls.numbers.switch.net import Net, Overrides, overrides_for, with_overrides
from calls.numbers.switch.probe import probe
from calls.numbers.switch.voice import VoiceConfig, read
from calls.numbers.switch.writes import here

pytestmark = pytest.mark.unit

SNAPSHOT = read(
    {
        "sid": "PN1",
        "account_sid": "AC1",
        "phone_number": "+15550001111",
        "voice_url": "https://vapi.example/in",
    }
)
OURS = "https://voice.example.com/twilio/voice"


def moved(net: Net, overrides: Overrides) -> VoiceConfig:
    return here(SNAPSHOT, base_url="https://voice.example.com", net=net, overrides=overrides)


WRITTEN = moved(Net("previous", SNAPSHOT.voice_url, "GET"), overrides_for())


def test_a_number_as_it_was_left_is_armed_and_says_how_soon() -> None:
    found = probe(WRITTEN, written=WRITTEN, snapshot=SNAPSHOT)
    assert (found.state, found.fields, found.dead_ms, found.hanging_ms) == ("armed", (), 3000, 5500)
    assert "3 s" in found.words
    assert "hangs" not in found.words


def test_a_long_hand_over_is_said_and_so_is_a_number_without_a_net() -> None:
    slow = moved(Net("address", "https://bins.example/EH1"), overrides_for(9_000))
    assert "10.5 s when it hangs" in probe(slow, written=slow, snapshot=SNAPSHOT).words
    bare = moved(Net("none"), overrides_for())
    assert "without a net" in probe(bare, written=bare, snapshot=SNAPSHOT).words


@pytest.mark.parametrize(
    ("change", "fields"),
    [
        ({"voice_fallback_url": ""}, ("voice_fallback_url",)),
        (
            {"voice_fallback_url": "", "voice_fallback_method": "POST"},
            ("voice_fallback_url", "voice_fallback_method"),
        ),
        ({"status_callback": ""}, ("status_callback",)),
        ({"voice_url": OURS}, ("voice_url",)),
        ({"voice_url": with_overrides(OURS, Overrides())}, ("voice_url",)),
    ],
)
def test_what_was_lost_is_mended(change: dict[str, str], fields: tuple[str, ...]) -> None:
    found = probe(replace(WRITTEN, **change), written=WRITTEN, snapshot=SNAPSHOT)
    assert (found.state, found.fields) == ("mend", fields)


@pytest.mark.parametrize(
    "change",
    [
        {"voice_url": "https://somebody.example/"},
        {"voice_url": ""},
        {"voice_url": f"{OURS}/2#ct=1500"},
        {"voice_fallback_url": "https://somebody.example/"},
        {"voice_fallback_method": "POST"},
        {"trunk_sid": "TK1"},
        {"voice_application_sid": "AP1"},
        {"voice_method": "GET"},
        {"voice_receive_mode": "fax"},
        {"voice_fallback_url": "", "trunk_sid": "TK1"},
    ],
)
def test_what_was_replaced_is_asked_about(change: dict[str, str]) -> None:
    found = probe(replace(WRITTEN, **change), written=WRITTEN, snapshot=SNAPSHOT)
    assert found.state == "alarm"
    assert set(found.fields) == set(change)


def test_a_number_that_went_back_by_itself_is_named_as_that() -> None:
    found = probe(SNAPSHOT, written=WRITTEN, snapshot=SNAPSHOT)
    assert found.state == "alarm"
    assert "before the move" in found.words


def test_a_number_is_compared_with_itself() -> None:
    with pytest.raises(ValueError, match="itself"):
        probe(replace(WRITTEN, sid="PN2"), written=WRITTEN, snapshot=SNAPSHOT)
