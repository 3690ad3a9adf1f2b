"""The wrapper around Twilio's REST API: as whom, where, what never leaves, what is asked again."""

from __future__ import annotations

import base64
from typing import Any
from urllib.parse import parse_qs

import pytest

from calls.models import TwilioAccount
from calls.telephony.twilio_rest import NeverSent, TwilioRefused, TwilioRest, TwilioSilent
from voiceplatform.base import http

pytestmark = pytest.mark.unit

SID, KEY = "AC" + "a" * 32, "SK" + "b" * 32
PN = "PN" + "c" * 32
Answer = http.Response | Exception


class Wire(http.BaseTransport):
    """Answers in turn and keeps what was asked; the last answer is given for ever."""

    def __init__(self, *answers: Answer) -> None:
        self.answers, self.asked = list(answers), list[http.Request]()

    def handle_request(self, request: http.Request) -> http.Response:
        self.asked.append(request)
        answer = self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]
        if isinstance(answer, Exception):
            raise answer
        return answer


def rest(
    *answers: Answer, within: float = 60, **columns: Any
) -> tuple[TwilioRest, Wire, list[float]]:
    wire, waits = Wire(*answers), list[float]()
    now = [0.0]

    def sleep(seconds: float) -> None:
        waits.append(seconds)
        now[0] += seconds

    account = TwilioAccount(**{"account_sid": SID, "auth_token": "token", **columns})
    twilio = TwilioRest(
        account,
        within_seconds=within,
        clock=lambda: now[0],
        sleep=sleep,
        jitter=lambda: 0.0,
        transport=wire,
    )
    return twilio, wire, waits


def ok(**body: Any) -> http.Response:
    return http.Response(200, json=body)


def error(status: int, code: int = 20500, **headers: str) -> http.Response:
    return http.Response(status, json={"code": code, "message": "no"}, headers=headers)


def login(request: http.Request) -> str:
    return base64.b64decode(request.headers["authorization"].removeprefix("Basic ")).decode()


@pytest.mark.parametrize(
    ("columns", "host", "user"),
    [
        ({}, "api.twilio.com", f"{SID}:token"),
        ({"region": "ie1"}, "api.ie1.twilio.com", f"{SID}:token"),
        ({"region": "ie1", "edge": "dublin"}, "api.dublin.ie1.twilio.com", f"{SID}:token"),
        ({"api_key_sid": KEY, "api_key_secret": "s"}, "api.twilio.com", f"{KEY}:s"),
        ({"api_base_url": "http://127.0.0.1:9/ie1"}, "127.0.0.1", f"{SID}:token"),
    ],
)
def test_an_account_is_asked_in_its_region_with_its_key_or_token(
    columns: dict[str, str], host: str, user: str
) -> None:
    twilio, wire, _ = rest(ok(sid=PN), **columns)
    assert twilio.number(PN) == {"sid": PN}
    (asked,) = wire.asked
    assert (asked.url.host, login(asked)) == (host, user)
    assert asked.url.path.endswith(f"/2010-04-01/Accounts/{SID}/IncomingPhoneNumbers/{PN}.json")


def test_an_account_without_a_login_asks_nobody() -> None:
    with pytest.raises(ValueError, match="neither an auth token nor an API key"):
        rest(ok(), auth_token="")


@pytest.mark.parametrize(
    ("path", "form"),
    [
        (f"IncomingPhoneNumbers/{PN}.json", {"SmsUrl": "https://x.example"}),
        ("IncomingPhoneNumbers.json", {"PhoneNumber": "+15550100001"}),
        (f"Applications/AP{'d' * 32}.json", {"VoiceUrl": "https://x.example"}),
    ],
)
def test_what_may_never_be_written_does_not_leave(path: str, form: dict[str, str]) -> None:
    twilio, wire, _ = rest(ok())
    with pytest.raises(NeverSent):
        twilio.post(path, form)
    assert wire.asked == []


def test_t25_an_empty_text_is_sent() -> None:
    twilio, wire, _ = rest(ok(sid=PN))
    twilio.post(f"IncomingPhoneNumbers/{PN}.json", {"TrunkSid": "", "VoiceUrl": "https://x/"})
    sent = parse_qs(wire.asked[0].content.decode(), keep_blank_values=True)
    assert sent == {"TrunkSid": [""], "VoiceUrl": ["https://x/"]}


def test_a_read_is_asked_again_and_waits_as_long_as_twilio_says() -> None:
    busy = error(429, 20429, **{"retry-after": "7"})
    twilio, wire, waits = rest(busy, error(503), http.ReadTimeout("late"), ok(sid=PN))
    assert twilio.number(PN)["sid"] == PN
    assert waits == [7.0, 1.0, 2.0]
    assert len(wire.asked) == 4


@pytest.mark.parametrize(
    ("answer", "is_unclear"),
    [
        (error(503), True),
        (http.ReadTimeout("lost"), True),
        (http.Response(200, text="<html>"), True),
        (error(429), False),
        (http.ConnectTimeout("never left"), False),
    ],
)
def test_a_write_is_repeated_only_where_twilio_has_not_read_it(
    answer: Answer, is_unclear: bool
) -> None:
    twilio, wire, _ = rest(answer, ok(sid=PN))
    if is_unclear:
        with pytest.raises(TwilioSilent) as silent:
            twilio.post(f"IncomingPhoneNumbers/{PN}.json", {"VoiceUrl": "https://x/"})
        assert silent.value.is_unclear
        assert len(wire.asked) == 1
    else:
        twilio.post(f"IncomingPhoneNumbers/{PN}.json", {"VoiceUrl": "https://x/"})
        assert len(wire.asked) == 2


def test_nobody_waits_longer_than_there_is_time() -> None:
    twilio, wire, waits = rest(error(429), within=0)
    with pytest.raises(TwilioSilent) as silent:
        twilio.number(PN)
    assert (silent.value.is_unclear, waits, len(wire.asked)) == (False, [], 1)


def test_a_refusal_says_what_twilio_says_and_is_final() -> None:
    twilio, wire, _ = rest(error(404, 20404))
    with pytest.raises(TwilioRefused) as refused:
        twilio.number(PN)
    assert (refused.value.status, refused.value.code, refused.value.is_gone) == (404, 20404, True)
    assert len(wire.asked) == 1


def test_a_list_is_followed_page_by_page_and_within_its_account() -> None:
    after = f"/2010-04-01/Accounts/{SID}/IncomingPhoneNumbers.json?Page=1"
    one = ok(incoming_phone_numbers=[{"sid": "1"}], next_page_uri=after)
    two = ok(incoming_phone_numbers=[{"sid": "2"}], next_page_uri=None)
    twilio, wire, _ = rest(one, two)
    assert [row["sid"] for row in twilio.numbers()] == ["1", "2"]
    assert wire.asked[1].url.query == b"Page=1"
    elsewhere = ok(incoming_phone_numbers=[], next_page_uri="/2010-04-01/Accounts/ACother/x.json")
    with pytest.raises(TwilioSilent, match="another account"):
        list(rest(elsewhere)[0].numbers())


def test_the_region_of_a_number_is_not_known_where_it_may_not_be_asked() -> None:
    assert rest(ok(voice_region="IE1"))[0].voice_region("+15550100001") == "ie1"
    assert rest(error(403, 20003))[0].voice_region("+15550100001") == ""
