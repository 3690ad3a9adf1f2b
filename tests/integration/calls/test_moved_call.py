"""A move is complete when calls come here: our own test call first, then a caller's."""

from __future__ import annotations

from typing import Any

import pytest

from calls.media.database import in_database
from calls.models import NumberMove, PhoneNumber
from calls.services import move_test_calls
from calls.services.number_moves import move_continue, restore_try
from calls.standins.scenario import parse_scenario
from tests.integration.calls.rig import CALLER, Rig
from tests.integration.moves.test_moves import begin

pytestmark = [pytest.mark.integration, pytest.mark.django_db(transaction=True)]

OTHER = "+15550100088"
OLD = "https://old.example.com/voice"
SHORT = parse_scenario({"name": "short", "caller": [{"hang_up": {"silence_ms": 300}}]})


def _own(rig: Rig) -> dict[str, Any]:
    row = rig.carrier.numbers.add(rig.number.number_e164, voice_url=OLD, sms_url=OLD)
    rig.carrier.numbers.add(OTHER)
    rig.carrier.incoming_scenario = SHORT
    return row


def _fresh(number: PhoneNumber) -> PhoneNumber:
    found: PhoneNumber = PhoneNumber.objects.select_related(
        "organisation", "twilio_account", "policy"
    ).get(pk=number.pk)
    return found


async def test_the_test_call_comes_here_and_then_a_caller(rig: Rig) -> None:
    row = _own(rig)
    number = await in_database(_fresh, rig.number)
    move = await in_database(begin, number)
    move = await in_database(move_continue, move.pk)
    assert (move.step, move.test_state, move.first_call_sid) == ("tested", "answered", "")
    assert row["voice_url"].startswith("https://voice.example.com/twilio/voice#")
    report = await rig.carrier.place_call(number.number_e164, CALLER, scenario=SHORT)
    move = await in_database(move_continue, move.pk)
    assert (move.step, move.first_call_sid) == ("done", report.call_sid)


async def test_a_test_call_that_does_not_come_puts_the_number_back(
    rig: Rig, monkeypatch: pytest.MonkeyPatch
) -> None:
    row = _own(rig)
    monkeypatch.setattr(move_test_calls, "COMES_SECONDS", 1.0)
    # Twilio does not find us: a wrong name, a firewall.
    rig.carrier.webhooks.reach = {"https://voice.example.com": "http://127.0.0.1:9"}
    number = await in_database(_fresh, rig.number)
    move = await in_database(begin, number)
    move = await in_database(move_continue, move.pk)
    assert (move.step, "test call failed" in move.problem) == ("replaced", True)
    back = await in_database(NumberMove.objects.get, restores=move.pk)
    result = await in_database(lambda: restore_try(back.pk, within_seconds=25))
    assert result.state == "done", result.words
    assert (row["voice_url"], row["sms_url"]) == (OLD, OLD)
