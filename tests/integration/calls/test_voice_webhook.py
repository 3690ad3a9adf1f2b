"""The voice webhook: who may send it, what is answered, what is stored (T6, T8, T9, T28, T31)."""

from __future__ import annotations

import asyncio
import hashlib
import io
import json
import logging
from datetime import timedelta
from typing import Any
from urllib.parse import urlencode

import pytest

from calls.media import live
from calls.media.database import in_database
from calls.models import Call, CallPolicy, OutboxEvent, PhoneNumber
from calls.services.call_start import token_expiry
from calls.services.net_flag import flag_clear, flag_set
from calls.standins.twiml import parse_twiml
from tests import factories
from tests.integration.calls.rig import (
    CALLER,
    PUBLIC,
    SECONDARY_TOKEN,
    TOKEN,
    Answer,
    Rig,
    sign,
    stream_path,
    until,
)

pytestmark = [pytest.mark.integration, pytest.mark.django_db(transaction=True)]

CODE = "old-missing"  # Twilio sent it here, and nobody knows where its calls went before
NOT_IN_SERVICE = "We are sorry. This number is not in service at the moment. Goodbye."


def _verbs(answer: Answer) -> list[tuple[str, str]]:
    assert answer.headers["Content-Type"] == "text/xml"
    document = parse_twiml(answer.body, answer.headers["Content-Type"])
    assert document.notices == ()
    return [(verb.name, verb.text) for verb in document.verbs]


async def _assert_nothing_happened(rig: Rig, caplog: pytest.LogCaptureFixture) -> None:
    assert await rig.rows() == []
    assert rig.model_sessions == []
    assert not [r for r in caplog.records if r.exc_info or r.levelno >= logging.ERROR]


async def test_a_signed_webhook_is_answered_with_a_stream_and_one_row(rig: Rig) -> None:
    answer = await rig.voice(CallerName="Ada")
    assert answer.status == 200
    (connect,) = parse_twiml(answer.body, "text/xml").verbs
    call = await rig.only_call()
    assert connect.name == "Connect"
    assert connect.attributes == {
        "action": f"{PUBLIC}/twilio/after-stream/{call.pk}",
        "method": "POST",
    }
    (stream,) = connect.children
    assert stream.attributes["statusCallback"] == f"{PUBLIC}/twilio/stream-status"
    # T9: everything is in the path, no query string.
    assert stream.attributes["url"].startswith(f"wss://voice.example.com/twilio/media/{call.pk}/")
    assert "?" not in stream.attributes["url"]
    assert (call.status, call.stream_count, call.caller) == ("ringing", 1, "+15550107777")
    assert call.route_reason == "route direct"
    assert call.revision_id == rig.number.assistant.current_revision_id
    # T31: nothing that opens the socket is kept; the token follows from the row.
    assert stream.attributes["url"].rpartition("/")[2] not in str(vars(call))


async def test_t6_host_and_scheme_headers_of_a_proxy_change_nothing(rig: Rig) -> None:
    form = rig.form()
    answer = await rig.post(
        "/twilio/voice",
        form,
        headers={
            "Host": "localhost:8000",
            "X-Forwarded-Host": "evil.example.net",
            "X-Forwarded-Proto": "http",
            "X-Forwarded-For": "203.0.113.9",
        },
    )
    assert answer.status == 200
    # T8: what Twilio is told comes from the setting alone.
    assert "evil" not in answer.body
    assert "localhost" not in answer.body
    assert f"{PUBLIC}/twilio/after-stream/" in answer.body


async def test_a_signature_over_the_internal_address_is_refused(rig: Rig) -> None:
    form = rig.form()
    wrong = sign(f"http://127.0.0.1:{rig.port}/twilio/voice", form)
    assert (await rig.post("/twilio/voice", form, signature=wrong)).status == 403
    assert await rig.rows() == []


async def test_t29_primary_and_secondary_token_sign(rig: Rig) -> None:
    for token in (TOKEN, SECONDARY_TOKEN):
        assert (await rig.post("/twilio/voice", rig.form(), token=token)).status == 200


async def test_get_is_signed_over_its_query(rig: Rig, caplog: pytest.LogCaptureFixture) -> None:
    for token in (TOKEN, SECONDARY_TOKEN):
        path = "/twilio/voice?" + urlencode(rig.form())
        signature = sign(PUBLIC + path, {}, token)
        bad = await rig.request("GET", path + "1", headers={"X-Twilio-Signature": signature})
        assert bad.status == 403
        assert CALLER[1:] not in caplog.text, "a query of Twilio's names the caller"
        good = await rig.request("GET", path, headers={"X-Twilio-Signature": signature})
        assert good.status == 200
    assert len(await rig.rows()) == 2


def _json_path(body: bytes) -> str:
    return f"/twilio/voice?bodySHA256={hashlib.sha256(body).hexdigest()}"


async def _post_json(rig: Rig, path: str, body: bytes, signature: str) -> Answer:
    headers = {"Content-Type": "application/json", "X-Twilio-Signature": signature}
    return await rig.request("POST", path, headers=headers, data=body)


async def test_json_is_signed_over_its_hash(rig: Rig) -> None:
    body = json.dumps(rig.form()).encode()
    path = _json_path(body)
    assert (await _post_json(rig, path, body, sign(PUBLIC + path, {}))).status == 200
    changed = body.replace(b"ringing", b"queued ")
    assert (await _post_json(rig, path, changed, sign(PUBLIC + path, {}))).status == 403


async def test_t28_what_makes_the_sdk_raise_is_refused(
    rig: Rig, caplog: pytest.LogCaptureFixture
) -> None:
    body = json.dumps(rig.form()).encode()
    bare = "/twilio/voice"
    # No bodySHA256: the SDK raises TypeError. No UTF-8: it raises UnicodeDecodeError.
    assert (await _post_json(rig, bare, body, sign(PUBLIC + bare, {}))).status == 403
    binary = b'{"AccountSid": "' + rig.account_sid.encode() + b'", "x": "\xff"}'
    path = _json_path(binary)
    assert (await _post_json(rig, path, binary, sign(PUBLIC + path, {}))).status in {400, 403}
    for not_an_object in (b"", b"[]", b"null", b'"x"', b"[" * 60_000, b"{"):
        path = _json_path(not_an_object)
        answer = await _post_json(rig, path, not_an_object, sign(PUBLIC + path, {}))
        assert answer.status in {400, 403}, not_an_object[:10]
    assert (await rig.post(bare, rig.form(), signature="")).status == 403
    await _assert_nothing_happened(rig, caplog)


async def test_a_missing_or_wrong_signature_is_403_on_every_webhook(
    rig: Rig, caplog: pytest.LogCaptureFixture
) -> None:
    unknown = "/twilio/after-stream/00000000-0000-4000-8000-000000000000"
    for path in (
        "/twilio/voice",
        "/twilio/status",
        "/twilio/stream-status",
        "/twilio/recording",
        unknown,
    ):
        for signature in ("", "x", "=" * 28, "ü", "A" * 4000):
            answer = await rig.post(path, rig.form(), signature=signature)
            assert (answer.status, answer.body) == (403, "the request is not signed by Twilio")
    await _assert_nothing_happened(rig, caplog)


async def test_another_accounts_token_does_not_sign_for_this_one(
    rig: Rig, caplog: pytest.LogCaptureFixture
) -> None:
    other = await in_database(factories.make_account)
    assert (await rig.post("/twilio/voice", rig.form(), token=other.auth_token)).status == 403
    unknown = rig.form(AccountSid=factories.sid("AC"))
    assert (await rig.post("/twilio/voice", unknown)).status == 403
    await _assert_nothing_happened(rig, caplog)


async def test_a_number_of_another_account_is_unknown(rig: Rig) -> None:
    other = await in_database(factories.make_account)
    answer = await rig.post(
        "/twilio/voice", rig.form(AccountSid=other.account_sid), token=other.auth_token
    )
    assert _verbs(answer) == [("Say", NOT_IN_SERVICE), ("Hangup", "")]
    assert await rig.rows() == []


async def test_an_unknown_number_is_declined_politely_without_a_row(
    rig: Rig, caplog: pytest.LogCaptureFixture
) -> None:
    for to in ("+15550999999", "client:bob", "sip:x@example.com", "", "anonymous"):
        answer = await rig.voice(To=to)
        assert answer.status == 200
        assert _verbs(answer) == [("Say", NOT_IN_SERVICE), ("Hangup", "")]
    await _assert_nothing_happened(rig, caplog)


@pytest.mark.parametrize("route", ["paused", "vapi"])
async def test_other_routes_decline(rig: Rig, route: str) -> None:
    rig.number.route = PhoneNumber.Route(route)
    await in_database(rig.number.save)
    form = rig.form()
    for _ in range(2):  # and again to a repeat
        answer = await rig.post("/twilio/voice", form)
        assert _verbs(answer) == [("Say", NOT_IN_SERVICE), ("Hangup", "")]
    call = await rig.only_call()
    assert (call.status, call.route_code) == ("ended", "paused" if route == "paused" else CODE)
    assert call.route_reason and call.ended_reason
    assert not await in_database(OutboxEvent.objects.exists)


async def test_an_unreviewed_policy_declines_whether_it_asks_or_not(rig: Rig) -> None:
    policy = rig.number.policy
    await in_database(lambda: CallPolicy.objects.update(reviewed_at=None))
    assert _verbs(await rig.voice())[0] == ("Say", NOT_IN_SERVICE)
    policy.recording_consent, policy.reviewed_at = CallPolicy.Consent.ASK, None
    await in_database(policy.save)
    assert _verbs(await rig.voice())[0] == ("Say", NOT_IN_SERVICE)
    assert rig.model_sessions == []


async def test_over_the_ceiling_twilio_is_told_busy(rig: Rig, settings: Any) -> None:
    settings.MAX_CONCURRENT_CALLS = 0
    form = rig.form()
    for _ in range(2):
        answer = await rig.post("/twilio/voice", form)
        assert answer.status == 200
        assert '<Reject reason="busy" />' in answer.body
    call = await rig.only_call()
    assert (call.status, call.route_code) == ("ended", "full")
    assert rig.model_sessions == []


async def test_t30_while_draining_a_new_call_is_503_and_callbacks_go_on(
    rig: Rig, monkeypatch: pytest.MonkeyPatch
) -> None:
    await rig.voice()
    call = await rig.only_call()
    monkeypatch.setattr(live._process, "_draining", True)
    refused = await rig.voice()
    assert (refused.status, refused.headers["Retry-After"]) == (503, "1")
    form = rig.form(CallSid=call.call_sid, CallStatus="completed")
    assert (await rig.post("/twilio/status", form)).status == 204


async def test_the_policy_line_without_audio_is_spoken_by_twilio_once(rig: Rig) -> None:
    text = "This is an automated assistant & you are recorded."
    await in_database(factories.make_wording, rig.number.policy, text=text, language="en")
    form = rig.form()
    first = await rig.post("/twilio/voice", form)
    assert _verbs(first) == [("Say", text), ("Connect", "")]
    call = await rig.only_call()
    assert call.policy_wording_id is not None
    assert call.policy_played_at is not None


# ---- idempotence (twilio.md 1.3) --------------------------------------------------------------


async def test_the_same_webhook_twice_is_one_call_and_one_model_socket(rig: Rig) -> None:
    form = rig.form()
    first = await rig.post("/twilio/voice", form)
    second = await rig.post("/twilio/voice", form)
    assert first.status == second.status == 200
    assert first.body == second.body
    assert len(await rig.rows()) == 1
    await until(lambda: rig.model_sessions, what="the model's socket")
    third = await rig.post("/twilio/voice", form)
    assert third.body == first.body
    assert len(rig.model_sessions) == 1


async def test_the_same_webhook_ten_times_at_once_is_one_call(rig: Rig) -> None:
    form = rig.form()
    answers = await asyncio.gather(*(rig.post("/twilio/voice", form) for _ in range(10)))
    assert {answer.status for answer in answers} == {200}
    assert len({answer.body for answer in answers}) == 1
    assert len(await rig.rows()) == 1
    await until(lambda: rig.model_sessions, what="the model's socket")
    socket = await rig.media(stream_path(answers[0].body))
    await socket.close()
    assert len(rig.model_sessions) == 1


async def test_many_calls_at_once_are_all_answered(rig: Rig) -> None:
    answers = await asyncio.gather(*(rig.voice() for _ in range(20)))
    assert {answer.status for answer in answers} == {200}
    assert len({stream_path(answer.body) for answer in answers}) == 20
    assert len(await rig.rows()) == 20


async def test_a_repeat_after_the_end_does_not_open_the_call_again(rig: Rig) -> None:
    form = rig.form()
    await rig.post("/twilio/voice", form)
    await rig.post("/twilio/status", form | {"CallStatus": "completed"})
    again = await rig.post("/twilio/voice", form)
    assert "<Connect" not in again.body
    call = await rig.only_call()
    assert call.status == "ended"


# ---- limits -----------------------------------------------------------------------------------


async def test_a_body_over_its_limit_is_413(rig: Rig, caplog: pytest.LogCaptureFixture) -> None:
    for size in (65_537, 1_100_000):
        form = rig.form(Junk="x" * size)
        headers = {
            "Content-Type": "application/x-www-form-urlencoded",
            "X-Twilio-Signature": sign(f"{PUBLIC}/twilio/voice", form),
        }
        body = io.BytesIO(urlencode(form).encode())
        answer = await rig.request("POST", "/twilio/voice", headers=headers, data=body)
        assert answer.status == 413
    await _assert_nothing_happened(rig, caplog)


async def test_ids_of_another_form_are_refused(rig: Rig, caplog: pytest.LogCaptureFixture) -> None:
    for value in ("", "CA", "CA" + "g" * 32, "AC' OR 1=1 --", "\x00"):
        assert (await rig.voice(CallSid=value)).status == 400
        assert (await rig.voice(AccountSid=value)).status == 403
    await _assert_nothing_happened(rig, caplog)


async def test_too_many_fields_are_refused_without_an_error(
    rig: Rig, caplog: pytest.LogCaptureFixture
) -> None:
    form = rig.form(**{f"F{number}": "" for number in range(3000)})
    assert (await rig.post("/twilio/voice", form)).status == 413
    query = "&".join(f"F{number}=" for number in range(3000))
    assert (await rig.request("GET", f"/twilio/voice?{query}")).status == 413
    await _assert_nothing_happened(rig, caplog)


async def test_other_methods_are_405(rig: Rig) -> None:
    for method in ("PUT", "DELETE", "PATCH", "HEAD", "OPTIONS"):
        assert (await rig.request(method, "/twilio/voice")).status == 405


async def test_files_in_a_form_are_no_error(rig: Rig, caplog: pytest.LogCaptureFixture) -> None:
    body = (
        b'--b\r\nContent-Disposition: form-data; name="CallSid"; filename="x"\r\n\r\nx\r\n--b--\r\n'
    )
    headers = {"Content-Type": "multipart/form-data; boundary=b", "X-Twilio-Signature": "x"}
    answer = await rig.request("POST", "/twilio/voice", headers=headers, data=body)
    assert answer.status in {400, 403}
    broken = headers | {"Content-Type": "multipart/form-data"}
    answer = await rig.request("POST", "/twilio/voice", headers=broken, data=body)
    assert answer.status in {400, 403}
    await _assert_nothing_happened(rig, caplog)


async def test_t2_unknown_paths_are_404_without_a_redirect(rig: Rig) -> None:
    for path in ("/twilio/voice/", "/twilio/", "/twilio/after-stream/x", "/twilio/nothing"):
        answer = await rig.post(path, rig.form())
        assert answer.status == 404
        assert "Traceback" not in answer.body


async def test_odd_callers_are_kept_as_text(rig: Rig) -> None:
    for caller in ("anonymous", "client:böb", "sip:user@host;x=1", "", "x" * 300):
        assert (await rig.voice(From=caller)).status == 200
    callers = await in_database(lambda: set(Call.objects.values_list("caller", flat=True)))
    assert callers == {"anonymous", "client:böb", "sip:user@host;x=1", "", "x" * 80}


async def test_calls_whose_stream_is_on_its_way_count_against_the_ceiling(
    rig: Rig, settings: Any
) -> None:
    settings.MAX_CONCURRENT_CALLS = 2
    bodies = [(await rig.voice()).body for _ in range(3)]
    assert ["<Stream" in body for body in bodies] == [True, True, False]
    assert "<Reject" in bodies[2]


def test_a_token_outlives_the_line_that_twilio_speaks_first() -> None:
    assert token_expiry("x" * 800) - token_expiry() > timedelta(seconds=90)


async def test_a_drill_refuses_its_one_call_and_leaves_every_other_answered(rig: Rig) -> None:
    row = await in_database(lambda: factories.make_net(rig.number, is_test=True, address="x"))
    assert await in_database(lambda: flag_set(row, token="t", caller=CALLER))
    assert (await rig.voice(From="+15550101111")).status == 200
    form = rig.form()
    for _ in range(2):  # Twilio may repeat it
        assert (await rig.post("/twilio/voice", form)).status == 503
    assert (await rig.voice()).status == 200
    await in_database(lambda: flag_clear(row.pk, "t"))
    assert [call.caller for call in await rig.rows()] == ["+15550101111", CALLER]
