"""Requests that prove nothing: what is found out and kept of them, and how much (T6, T7)."""

from __future__ import annotations

import asyncio
import base64
import hashlib
import hmac
from collections.abc import Mapping

import pytest

from calls.services.refusals import Refused
from calls.telephony.refusals import KEPT, Knock, Refusals, judged, shown_url

pytestmark = pytest.mark.unit

TOKEN, SID = "the-token", "AC" + "1" * 32
URL = "https://voice.example.com/twilio/voice"
FORM = {"CallSid": "CA" + "2" * 32, "From": "+15550107777"}


def sign(url: str, form: Mapping[str, str], token: str) -> str:
    text = url + "".join(name + form[name] for name in sorted(form))
    return base64.b64encode(hmac.new(token.encode(), text.encode(), hashlib.sha1).digest()).decode()


def _knock(
    signature: str, url: str = URL, form: Mapping[str, object] = FORM, **more: object
) -> Knock:
    fields = {"account_sid": SID, "is_known": True, "tokens": (TOKEN, ""), **more}
    return Knock(url=url, signature=signature, form=form, **fields)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        (URL, URL),
        (URL + "?token=abc&x=", URL + "?token=…&x=…"),
        (URL + "?abcdef", URL + "?…"),
        ("wss://v.example/twilio/media/7f3c/secret", "wss://v.example/twilio/media/7f3c/…"),
    ],
)
def test_nothing_that_is_said_in_an_address_is_shown(url: str, shown: str) -> None:
    assert shown_url(url) == shown


@pytest.mark.parametrize(
    ("signed", "hosts"),
    [
        (URL.replace("https", "http"), ()),
        (URL + "/", ()),
        ("https://old.example.net/twilio/voice", ("old.example.net",)),
        ("http://127.0.0.1:8000/twilio/voice", ("x", "127.0.0.1:8000")),
    ],
)
def test_t6_the_address_that_twilio_signed_is_found(signed: str, hosts: tuple[str, ...]) -> None:
    refused = judged(_knock(sign(signed, FORM, TOKEN), hosts=hosts, call_id="c"))
    assert refused == Refused(SID, "other-url", URL, signed, "c")


def test_t7_a_stream_signed_as_https_is_found() -> None:
    url = "wss://voice.example.com/twilio/media/7f3c/abc"
    refused = judged(_knock(sign(url.replace("wss", "https"), {}, TOKEN), url, {}))
    assert (refused.cause, refused.signed_url) == (
        "other-url",
        "https://voice.example.com/twilio/media/7f3c/…",
    )


def test_what_fits_no_address_is_told_apart_from_what_is_not_signed() -> None:
    assert judged(_knock(sign(URL, FORM, "another"))).cause == "wrong"
    assert judged(_knock("not base64 \udcff", hosts=("a b", "x/../y", "ä"))).cause == "wrong"
    assert judged(_knock("")).cause == "unsigned"
    assert judged(_knock("", is_known=False)).cause == "unknown-account"


def test_a_flood_is_counted_in_bounded_memory_and_stored_in_one_go() -> None:
    stored: list[list[tuple[Refused, int]]] = []

    async def store(counts: list[tuple[Refused, int]]) -> None:
        stored.append(counts)

    async def flood() -> None:
        refusals = Refusals(store)
        for number in range(5_000):
            refusals.count(_knock("x", f"{URL}?p{number % 50}=1"))
        tasks = [task for task in asyncio.all_tasks() if task.get_name() == "refusals"]
        assert len(tasks) == 1, "one writer, however many knock"
        await refusals.store_now()
        await refusals.store_now()
        tasks[0].cancel()

    asyncio.run(flood())
    assert [len(counts) for counts in stored] == [KEPT]
    assert {count for _, count in stored[0]} == {100}


def test_writes_keep_their_distance_and_what_waits_is_stored_in_the_end() -> None:
    stored: list[float] = []

    async def run() -> None:
        loop = asyncio.get_running_loop()

        async def store(counts: list[tuple[Refused, int]]) -> None:
            stored.append(loop.time())

        refusals = Refusals(store, clock=lambda: 100.0, first_seconds=0.01, every_seconds=0.05)
        for _ in range(2):
            refusals.count(_knock("x"))
            while (task := refusals.writer) is not None and not task.done():
                await task

    asyncio.run(run())
    assert len(stored) == 2
    assert stored[1] - stored[0] >= 0.05
