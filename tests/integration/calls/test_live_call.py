"""``live_check --call``: one call over the stand-ins; the number as it was, whatever happens."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest
from django.core.management import CommandError
from django.utils import timezone

from calls.doctor import live_call as module
from calls.doctor.live_call import LiveCallError, kept_path, live_call
from calls.media.database import in_database
from calls.models import Call
from calls.standins.scenario import parse_scenario
from calls.telephony.number_config import FIELDS
from tests.integration.calls.rig import PUBLIC, Rig
from tests.integration.calls.test_live_check import _run

pytestmark = [pytest.mark.integration, pytest.mark.django_db(transaction=True)]

OTHER = "+15550100088"
SHORT = parse_scenario({"name": "short", "caller": [{"hang_up": {"silence_ms": 300}}]})
BEFORE: list[dict[str, Any]] = [
    {
        "voice_url": "https://api.vapi.ai/twilio/inbound_call",
        "voice_fallback_url": "https://old.example.com/down",
        "status_callback": "https://old.example.com/status",
        "status_callback_method": "GET",
    },
    {"voice_url": "https://left.example.com/over", "trunk_sid": "TK" + "1" * 32},
    {"voice_application_sid": "AP" + "2" * 32},
]


def _voice(rig: Rig) -> dict[str, Any]:
    row = rig.carrier.numbers.find(rig.number.number_e164)
    assert row is not None
    return {name: row[name] for name in FIELDS}


def _own(rig: Rig, **fields: Any) -> dict[str, Any]:
    rig.carrier.numbers.add(rig.number.number_e164, **fields)
    rig.carrier.numbers.add(OTHER)
    rig.carrier.incoming_scenario = SHORT
    return _voice(rig)


async def test_a_call_is_placed_and_the_number_is_put_back_as_it_was(rig: Rig) -> None:
    before = _own(rig, **BEFORE[1])
    number = rig.number.number_e164
    code, body = await in_database(_run, "--number", number, "--call")
    failed = [item for item in body["items"] if item["state"] == "failed"]
    assert not failed, failed[0]
    assert code == 0
    items = {item["source"]: item for item in body["items"]}
    assert "first word after" in items["the call"]["answer"]
    assert items["openai_realtime.md 15.4"]["answer"].endswith("word for word")
    assert "code 21220" in (told := items["twilio.md 12.9"]["answer"]) or "code 20404" in told
    assert items["twilio.md 12.12"]["answer"].startswith("type Full, active")
    for source in ("twilio.md 12.1", "twilio.md 12.7", "twilio.md 5.5"):
        assert (items[source]["state"], items[source]["by"]) == ("answered", "the stand-in")
    assert _voice(rig) == before
    assert not kept_path(number).exists()
    call = await rig.only_call()
    assert (call.caller, call.callee, call.status) == (OTHER, number, "ended")
    orders = [form for method, path, form in _requests(rig) if (method, path) == ("POST", "/Calls")]
    assert [(form["To"], form["From"], form["TimeLimit"]) for form in orders] == [
        ([number], [OTHER], ["60"])
    ]
    assert rig.carrier.numbers.alarms == []


@pytest.mark.parametrize("fields", BEFORE, ids=["url", "trunk", "application"])
async def test_t25_every_kind_of_configuration_is_cleared_and_comes_back(
    rig: Rig, monkeypatch: pytest.MonkeyPatch, fields: dict[str, Any]
) -> None:
    before = _own(rig, **fields)
    _during_the_call(rig, monkeypatch, lambda: None)
    await in_database(_fails_or_not, rig)
    assert _voice(rig) == before
    # Cleared by '', which None would not do; of trunk and application only one is ever sent.
    there, back = (form for _, form in rig.carrier.numbers.updates)
    assert there["VoiceUrl"] == f"{PUBLIC}/twilio/voice"
    set_before = {name for name in ("TrunkSid", "VoiceApplicationSid") if name in there}
    assert set_before == {name for name in ("TrunkSid", "VoiceApplicationSid") if name in back}
    assert all(there[name] == "" and back[name] for name in set_before)
    assert "SmsUrl" not in there | back


def _requests(rig: Rig) -> list[tuple[str, str, dict[str, list[str]]]]:
    return REQUESTS[rig.carrier.account_sid]


REQUESTS: dict[str, list[tuple[str, str, dict[str, list[str]]]]] = {}


@pytest.fixture(autouse=True)
def requests(monkeypatch: pytest.MonkeyPatch) -> None:
    """Keep what every account of the stand-in was asked."""
    from calls.standins.twilio_account import AccountRest

    begin = AccountRest.__init__

    def made(self: AccountRest, carrier: Any) -> None:
        begin(self, carrier)
        REQUESTS[carrier.account_sid] = self.requests

    monkeypatch.setattr(AccountRest, "__init__", made)


def _refused(rig: Rig, **options: Any) -> str:
    with pytest.raises(LiveCallError) as told:
        list(live_call(rig.number.twilio_account, rig.number.number_e164, **options))
    return str(told.value)


async def test_what_twilio_refuses_leaves_the_number_as_it_was(rig: Rig) -> None:
    before = _own(rig, **BEFORE[0])
    assert "21210" in await in_database(_refused, rig, caller="+15550199999")
    assert _voice(rig) == before
    assert not kept_path(rig.number.number_e164).exists()
    assert await rig.rows() == []


async def test_a_number_that_is_not_ready_is_left_alone(rig: Rig) -> None:
    before = _own(rig, **BEFORE[0])
    rig.number.route = "vapi"
    await in_database(rig.number.save)
    assert "its route is vapi" in await in_database(_refused, rig)
    assert (rig.carrier.numbers.updates, _voice(rig)) == ([], before)


async def test_what_somebody_else_changed_meanwhile_is_not_overwritten(
    rig: Rig, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = _own(rig, **BEFORE[0])
    _during_the_call(rig, monkeypatch, lambda: _change(rig, voice_url="https://else.example.com"))
    code, body = await in_database(_run, "--number", rig.number.number_e164, "--call")
    assert code == 1
    (told,) = [item for item in body["items"] if item["source"] == "twilio.md 5.5"]
    assert "somebody else has changed voice_url" in told["answer"]
    assert _voice(rig)["voice_url"] == "https://else.example.com"
    path = kept_path(rig.number.number_e164)
    assert json.loads(path.read_text())["fields"]["voice_url"] == before["voice_url"]
    path.unlink()


async def test_a_check_that_was_killed_is_made_good_by_the_next(
    rig: Rig, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = _own(rig, **BEFORE[1])
    with monkeypatch.context() as patch:
        cut_off = module.CallAnswer("twilio.md 5.5", "", "failed", "killed")
        patch.setattr(module, "_put_back", lambda *args, **options: cut_off)
        _during_the_call(rig, patch, lambda: None)
        await in_database(_fails_or_not, rig)
    assert _voice(rig) != before, "it was cut off"
    _during_the_call(rig, monkeypatch, lambda: None)
    await in_database(_fails_or_not, rig)
    assert _voice(rig) == before


def _fails_or_not(rig: Rig) -> list[Any]:
    return list(live_call(rig.number.twilio_account, rig.number.number_e164))


def _change(rig: Rig, **fields: str) -> None:
    row = rig.carrier.numbers.find(rig.number.number_e164)
    assert row is not None
    row.update(fields)


def _during_the_call(
    rig: Rig, monkeypatch: pytest.MonkeyPatch, happens: Callable[[], None]
) -> None:
    """Let something happen in the place of a call that never comes."""

    def followed(*args: Any) -> Call | None:
        happens()
        return None

    monkeypatch.setattr(module, "_place", lambda *args: module._Placed("CA0", timezone.now(), 0))
    monkeypatch.setattr(module, "_followed", followed)


def test_a_call_takes_a_number_and_its_account() -> None:
    for options in (("--call",), ("--number", "+15550100001", "--call"), ("--from", "12")):
        with pytest.raises(CommandError) as refused:
            _run(*options)
        assert refused.value.returncode == 2
