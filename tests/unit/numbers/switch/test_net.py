"""How soon Twilio gives up on us, and whom it asks then."""

from __future__ import annotations

import pytest

from calls.numbers.old_stack import DYNAMIC_MS, MOST_MS, attempt_ms
from calls.numbers.route_problems import OWN_ANSWER_MS
from calls.numbers.switch.net import (
    NET_MS,
    Overrides,
    is_same_site,
    net_for,
    overrides_for,
    overrides_in,
    with_overrides,
    without_overrides,
)
from calls.numbers.switch.voice import Target

pytestmark = pytest.mark.unit

OURS = "https://voice.example.com/twilio/voice"
PREVIOUS = Target("url", url="https://old.example/in?token=1#rt=9000", method="GET")


def test_the_net_is_reached_within_six_seconds_whether_we_are_dead_or_hang() -> None:
    overrides = overrides_for()
    assert overrides.dead_ms == 3_000
    assert overrides.hanging_ms == 5_500 < NET_MS
    told = with_overrides(OURS, overrides)
    assert told == f"{OURS}#ct=1500&rt=5000&tt=5500&rc=1&rp=ct"
    assert overrides_in(told) == overrides


def test_what_twilio_is_told_once_fits_every_route_and_patience_a_number_may_have() -> None:
    quick, slow = overrides_for(MOST_MS), overrides_for(DYNAMIC_MS)
    assert quick == overrides_for()
    assert quick.hanging_ms < NET_MS
    for has_net in (True, False):
        for patience_ms in (0, 1, 3_000, 4_000, 10_000, 60_000):
            waited_ms = attempt_ms(has_net=has_net, fixed_assistant=True, patience_ms=patience_ms)
            assert waited_ms + OWN_ANSWER_MS <= quick.read_ms
            asked_ms = attempt_ms(has_net=has_net, fixed_assistant=False, patience_ms=patience_ms)
            assert asked_ms + OWN_ANSWER_MS <= slow.read_ms


def test_a_server_that_is_asked_is_waited_for_and_a_dead_site_still_left_soon() -> None:
    overrides = overrides_for(DYNAMIC_MS)
    assert overrides.read_ms == 10_000
    assert overrides.dead_ms == 3_000
    assert overrides.hanging_ms == 10_500


@pytest.mark.parametrize("slowest_ms", [0, 1_000, 3_000, 4_500, 9_000, 13_500])
def test_twilio_never_gives_up_on_an_answer_that_is_about_to_come(slowest_ms: int) -> None:
    overrides = overrides_for(slowest_ms)
    assert overrides.read_ms > slowest_ms
    # In one try, connected at the last moment.
    assert overrides.total_ms >= overrides.connect_ms + slowest_ms
    assert overrides_in(with_overrides(OURS, overrides)) == overrides  # in Twilio's ranges


@pytest.mark.parametrize("slowest_ms", [-1, 13_501, 60_000])
def test_more_than_twilio_waits_is_refused(slowest_ms: int) -> None:
    with pytest.raises(ValueError, match="13500|negative"):
        overrides_for(slowest_ms)


def test_without_overrides_twilios_defaults_count() -> None:
    for url in (OURS, f"{OURS}#", f"{OURS}#rt=99&ct=x&rc=-1&tt=99999&e=dublin"):
        assert overrides_in(url) == Overrides(5_000, 15_000, 15_000, 1)
    assert overrides_in(OURS).hanging_ms == 15_000


def test_repeated_reads_count_again() -> None:
    for tried in ("all", "rt", "4xx,rt"):
        overrides = overrides_in(f"{OURS}#ct=100&rt=1000&rc=2&rp={tried}")
        assert overrides.hanging_ms == 3 * 100 + 3 * 1_000


def test_overrides_replace_overrides_and_are_no_part_of_what_is_signed() -> None:
    told = with_overrides(f"{OURS}?x=1#rt=1000", overrides_for())
    assert told.count("#") == 1
    assert without_overrides(told) == f"{OURS}?x=1"


@pytest.mark.parametrize(
    "url", ["", "/twilio/voice", "voice.example.com/x", "ftp://x/", "https://"]
)
def test_an_address_twilio_could_not_ask_is_refused(url: str) -> None:
    with pytest.raises(ValueError, match="absolute"):
        with_overrides(url, overrides_for())


def test_the_previous_address_is_the_net_with_its_method_and_its_own_fragment() -> None:
    net = net_for(PREVIOUS, our_url=OURS)
    assert (net.source, net.url, net.method) == ("previous", PREVIOUS.url, "GET")


def test_the_operators_address_goes_before_the_previous_one() -> None:
    net = net_for(PREVIOUS, our_url=OURS, address="https://bins.example/EH1", method="GET")
    assert (net.source, net.url, net.method) == ("address", "https://bins.example/EH1", "GET")


@pytest.mark.parametrize(
    "before", [Target("trunk", "TK1"), Target("none"), Target("url", url=f"{OURS}#ct=100")]
)
def test_a_trunk_and_our_own_site_are_no_net(before: Target) -> None:
    assert net_for(before, our_url=OURS).source == "none"


def test_a_site_is_scheme_host_and_port() -> None:
    for same in ("https://VOICE.example.com:443/x", "https://voice.example.com./"):
        assert is_same_site(OURS, same)
    for other in (
        *("http://voice.example.com/", "https://voice.example.com:8443/", "https://example.com/"),
        *("", "/twilio/voice", "https://voice.example.com:x/", "https://[::1"),
    ):
        assert not is_same_site(OURS, other)
        assert not is_same_site(other, OURS)
    assert not is_same_site("", "")
