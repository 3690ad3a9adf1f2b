"""Numbers, TwiML apps, regions and failures of the stand-in's REST API, asked by the official SDK
(twilio.md 5, 7.5, 8.3).
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from typing import Any

import pytest
from twilio.base.exceptions import TwilioRestException
from twilio.http.http_client import TwilioHttpClient
from twilio.rest import Client

from calls.standins.server import (
    DEFAULT_ACCOUNT_SID,
    DEFAULT_AUTH_TOKEN,
    RunningStandins,
    running_standins,
)
from calls.standins.twilio_faults import Fault
from calls.standins.twilio_numbers import VoiceConfig

pytestmark = pytest.mark.integration

OWN, APP = "+15550100002", "AP" + "2" * 32
KEY = "SK" + "7" * 32


@pytest.fixture
async def standins() -> AsyncIterator[RunningStandins]:
    async with running_standins() as running:
        yield running


def client_of(
    standins: RunningStandins, *, region: str = "", user: str = "", password: str = ""
) -> Client:
    http = TwilioHttpClient(timeout=5, pool_connections=False)
    login = (user or DEFAULT_ACCOUNT_SID, password or DEFAULT_AUTH_TOKEN)
    client = Client(*login, DEFAULT_ACCOUNT_SID, http_client=http, environment={"": ""})
    client.api.base_url = standins.base_url + (f"/{region}" if region else "")
    client.routes.base_url = standins.base_url
    return client


async def refused(call: Callable[[], Any]) -> TwilioRestException:
    with pytest.raises(TwilioRestException) as caught:
        await asyncio.to_thread(call)
    return caught.value


async def test_t35_a_number_has_a_record_per_region_and_that_of_its_own_decides(
    standins: RunningStandins,
) -> None:
    numbers = standins.carrier.numbers
    sid = numbers.add(OWN, voice_url="https://us/", sms_url="https://sms/")["sid"]
    numbers.voice_regions[sid] = "ie1"
    there = client_of(standins, region="ie1").incoming_phone_numbers(sid)
    before = await asyncio.to_thread(there.fetch)
    assert (before.voice_url, before.sms_url) == ("", "https://sms/")
    assert numbers.effective(OWN) == VoiceConfig(source="none")
    await asyncio.to_thread(lambda: there.update(voice_url="https://ie/"))
    home = await asyncio.to_thread(client_of(standins).incoming_phone_numbers(sid).fetch)
    assert home.voice_url == "https://us/"
    assert numbers.effective(OWN) == VoiceConfig("https://ie/")
    routes = client_of(standins).routes.v2.phone_numbers(OWN)
    assert (await asyncio.to_thread(routes.fetch)).voice_region == "ie1"


async def test_an_app_is_read_and_never_written(standins: RunningStandins) -> None:
    standins.carrier.numbers.applications[APP] = VoiceConfig("https://app/", "GET")
    app = client_of(standins).applications(APP)
    found = await asyncio.to_thread(app.fetch)
    assert (found.sid, found.voice_url, found.voice_method) == (APP, "https://app/", "GET")
    error = await refused(lambda: app.update(voice_url="https://other/"))
    assert error.status == 405
    assert standins.carrier.numbers.alarms
    listed = await asyncio.to_thread(lambda: client_of(standins).applications.list())
    assert [each.sid for each in listed] == [APP]


async def test_a_key_opens_the_account_and_a_region_has_a_token_of_its_own(
    standins: RunningStandins,
) -> None:
    account = standins.app.twilio.accounts[DEFAULT_ACCOUNT_SID]
    account.keys[KEY] = "the-secret"
    account.region_tokens["ie1"] = "the-irish-token"
    account.verified.append("+15550108888")
    by_key = client_of(standins, user=KEY, password="the-secret")
    callers = await asyncio.to_thread(lambda: by_key.outgoing_caller_ids.list())
    assert [each.phone_number for each in callers] == ["+15550108888"]
    standins.carrier.numbers.add(OWN)
    sid = standins.carrier.numbers.find(OWN)["sid"]  # type: ignore[index]
    home_token = client_of(standins, region="ie1").incoming_phone_numbers(sid)
    assert (await refused(home_token.fetch)).status == 401
    irish = client_of(standins, region="ie1", password="the-irish-token")
    await asyncio.to_thread(irish.incoming_phone_numbers(sid).fetch)


@pytest.mark.parametrize(("when", "url"), [("before", "https://old/"), ("after", "https://new/")])
async def test_a_write_fails_before_or_after_it_is_made_as_ordered(
    standins: RunningStandins, when: Any, url: str
) -> None:
    sid = standins.carrier.numbers.add(OWN, voice_url="https://old/")["sid"]
    number = client_of(standins).incoming_phone_numbers(sid)
    standins.app.twilio.faults.add(Fault(status=503, when=when, times=2))
    for _ in range(2):
        error = await refused(lambda: number.update(voice_url="https://new/"))
        assert (error.status, error.code) == (503, 20500)
    assert (await asyncio.to_thread(number.fetch)).voice_url == url
    made = await asyncio.to_thread(lambda: number.update(voice_url="https://new/"))
    assert made.voice_url == "https://new/"
    assert [method for method, _, _ in standins.app.twilio.log].count("POST") == 3


@pytest.mark.parametrize(
    "form", [{"voice_method": "PUT"}, {"voice_url": "ftp://x/"}, {"trunk_sid": "AP1"}]
)
async def test_a_value_that_makes_no_sense_is_refused(
    standins: RunningStandins, form: dict[str, str]
) -> None:
    sid = standins.carrier.numbers.add(OWN)["sid"]
    error = await refused(lambda: client_of(standins).incoming_phone_numbers(sid).update(**form))
    assert error.status == 400
    assert standins.carrier.numbers.updates == []
