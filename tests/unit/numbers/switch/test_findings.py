"""What speaks against moving a number: each kind found, none invented."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from calls.numbers.switch.findings import Finding, MoveFacts, findings
from calls.numbers.switch.net import Net, Overrides, overrides_for
from calls.numbers.switch.voice import Application, VoiceConfig, read

pytestmark = pytest.mark.unit

OURS = "https://voice.example.com/twilio/voice"
BIN = Net("address", "https://bins.example/EH1")


def number(**fields: Any) -> VoiceConfig:
    resource = {"sid": "PN1", "account_sid": "AC1", "phone_number": "+15550001111"}
    return read({**resource, **fields})


URL = number(voice_url="https://vapi.example/in?token=parrot")
APP = number(voice_application_sid="AP1")
TRUNK = number(trunk_sid="TK1")
READ_APP = Application("AP1", "https://vapi.example/in")
GOOD = MoveFacts(
    config=URL,
    account_sid="AC1",
    route="direct",
    net=BIN,
    overrides=overrides_for(),
    our_url=OURS,
    voice_region="us1",
    expected=URL,
)


def codes(found: tuple[Finding, ...]) -> dict[str, str]:
    return {each.code: each.severity for each in found}


@pytest.mark.parametrize(
    "facts",
    [
        GOOD,
        replace(GOOD, route="canary"),
        replace(GOOD, config=APP, application=READ_APP, expected=APP, route="canary"),
        replace(GOOD, voice_region="IE1", account_region="ie1"),
        replace(GOOD, expected=None),
    ],
)
def test_nothing_speaks_against_a_number_that_is_as_it_should_be(facts: MoveFacts) -> None:
    assert findings(facts) == ()


@pytest.mark.parametrize(
    ("change", "code", "severity"),
    [
        ({"provider": "vapi"}, "vapi_owned", "blocks"),
        ({"provider": "vonage"}, "other_carrier", "blocks"),
        ({"config": None}, "not_in_account", "blocks"),
        ({"account_sid": "AC2"}, "other_account", "blocks"),
        ({"voice_region": ""}, "region_unknown", "ask"),
        ({"voice_region": "sg1", "account_region": "sg1"}, "region_without_streams", "blocks"),
        ({"voice_region": "ie1"}, "region_other", "blocks"),
        (
            {"config": replace(URL, voice_receive_mode="fax"), "expected": None},
            "not_voice",
            "blocks",
        ),
        ({"expected": replace(URL, voice_method="GET")}, "not_as_expected", "ask"),
        (
            {"config": replace(URL, voice_url=f"{OURS}#ct=9"), "expected": None},
            "already_here",
            "blocks",
        ),
        ({"config": TRUNK, "expected": None, "route": "canary"}, "trunk_route", "blocks"),
        ({"config": TRUNK, "expected": None, "route": "paused"}, "trunk_route", "blocks"),
        ({"config": TRUNK, "expected": TRUNK}, "trunk_at_once", "note"),
        ({"config": APP, "expected": None}, "app_unknown", "ask"),
        ({"config": number(), "expected": None}, "nobody_answers", "note"),
        ({"net": Net("none")}, "no_net", "ask"),
        ({"net": Net("address", OURS)}, "net_is_ours", "blocks"),
        ({"net": Net("previous", "https://vapi.example/in")}, "net_untried", "note"),
        ({"overrides": overrides_for(9_000)}, "net_slow", "note"),
        ({"overrides": Overrides()}, "net_slow", "note"),
    ],
)
def test_each_is_found_alone_with_its_field_cause_and_fix(
    change: dict[str, Any], code: str, severity: str
) -> None:
    found = findings(replace(GOOD, **change))
    assert codes(found) == {code: severity}
    (one,) = found
    assert one.field
    assert one.cause
    assert one.fix
    assert "parrot" not in repr(one)


def test_t35_the_region_of_the_number_and_of_the_credentials_are_both_named() -> None:
    (found,) = findings(replace(GOOD, voice_region="au1"))
    assert "au1" in found.cause
    assert "us1" in found.cause


def test_a_canary_needs_an_address_to_hand_over_to() -> None:
    for config in (number(), APP):
        found = codes(findings(replace(GOOD, config=config, expected=None, route="canary")))
        assert found["no_previous_url"] == "blocks"


def test_an_app_that_leads_here_is_here_already() -> None:
    facts = replace(GOOD, config=APP, application=Application("AP1", OURS), expected=None)
    assert codes(findings(facts)) == {"already_here": "blocks"}


def test_who_changed_a_field_hears_which() -> None:
    (found,) = findings(replace(GOOD, expected=replace(URL, voice_url="https://was.example/")))
    assert "voice_url" in found.cause


def test_the_worst_comes_first_and_all_are_told() -> None:
    facts = replace(
        GOOD,
        net=Net("previous", "https://vapi.example/in"),
        voice_region="",
        config=replace(URL, voice_receive_mode="fax"),
        expected=None,
    )
    found = findings(facts)
    assert [each.severity for each in found] == ["blocks", "ask", "note"]


def test_a_number_of_vapis_is_told_to_be_ported_or_forwarded_and_nothing_else() -> None:
    (found,) = findings(replace(GOOD, provider="vapi", config=None, voice_region="sg1"))
    assert "port" in found.fix
    assert "forward" in found.fix
