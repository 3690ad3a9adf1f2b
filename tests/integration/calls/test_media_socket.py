"""The media socket: who is let in, how often, and what closes it (T1, T2, T3, T7, T31, T37)."""

from __future__ import annotations

import asyncio
import base64
import json
import logging
from datetime import timedelta
from typing import Any

import pytest
from django.utils import timezone
from websockets.asyncio.client import ClientConnection
from websockets.exceptions import ConnectionClosed, InvalidStatus

from calls.media import live
from calls.media.database import in_database
from calls.models import Call
from calls.services.call_start import media_token, token_expiry
from tests import factories
from tests.integration.calls.rig import PUBLIC, SECONDARY_TOKEN, Rig, sign, silent_server, until

pytestmark = [pytest.mark.integration, pytest.mark.django_db(transaction=True)]

STREAM_SID = "MZ" + "a" * 32


async def _ringing(rig: Rig) -> tuple[Call, str]:
    """Return a call whose stream is awaited, without a prepared model socket, and its path."""
    call = await in_database(
        lambda: factories.make_call(
            number=rig.number,
            status=Call.Status.RINGING,
            started_at=None,
            stream_count=1,
            media_token_expires_at=token_expiry(),
            next_step={"kind": "resume"},
        )
    )
    return call, f"/twilio/media/{call.pk}/{media_token(call)}"


async def _refused(rig: Rig, path: str, **options: str | None) -> int:
    with pytest.raises(InvalidStatus) as refusal:
        await rig.media(path, **options)  # type: ignore[arg-type]
    return int(refusal.value.response.status_code)


def _assert_quiet(rig: Rig, caplog: pytest.LogCaptureFixture) -> None:
    assert rig.model_sessions == []
    assert live.active_count() == 0
    assert not [r for r in caplog.records if r.exc_info or r.levelno >= logging.ERROR]


async def _close_code(socket: ClientConnection) -> int:
    try:
        async with asyncio.timeout(10):
            while True:
                await socket.recv()
    except ConnectionClosed as closed:
        return closed.rcvd.code if closed.rcvd is not None else 1006


def _start(rig: Rig, call: Call, **changes: object) -> list[str]:
    start = {
        "streamSid": STREAM_SID,
        "accountSid": rig.account_sid,
        "callSid": call.call_sid,
        "tracks": ["inbound"],
        "customParameters": {},
        "mediaFormat": {"encoding": "audio/x-mulaw", "sampleRate": 8000, "channels": 1},
        **changes,
    }
    body = {"event": "start", "sequenceNumber": "1", "streamSid": STREAM_SID, "start": start}
    return [
        '{"event":"connected","protocol":"Call","version":"1.0.0"}',
        json.dumps(body),
    ]


async def _streaming(rig: Rig) -> tuple[Call, ClientConnection]:
    call, path = await _ringing(rig)
    socket = await rig.media(path)
    for text in _start(rig, call):
        await socket.send(text)
    return call, socket


# ---- who is let in ----------------------------------------------------------------------------


async def test_a_handshake_without_proof_is_403_and_leaves_nothing(
    rig: Rig, caplog: pytest.LogCaptureFixture
) -> None:
    call, path = await _ringing(rig)
    wss = PUBLIC.replace("https", "wss")
    nobody = "/twilio/media/00000000-0000-4000-8000-000000000000/" + "x" * 32
    other, other_path = await _ringing(rig)
    assert await _refused(rig, path, signature="") == 403
    assert await _refused(rig, path, signature="x") == 403
    assert await _refused(rig, path, signature=sign(wss + other_path, {})) == 403
    assert await _refused(rig, path, token="a-wrong-token") == 403
    # T7: the signed text is the wss URL.
    assert await _refused(rig, path, signature=sign(PUBLIC + path, {})) == 403
    assert await _refused(rig, nobody) == 403
    assert await _refused(rig, f"/twilio/media/{call.pk}/wrong-token") == 403
    assert await _refused(rig, f"/twilio/media/{call.pk}/{media_token(other)}") == 403
    assert await _refused(rig, f"/twilio/media/{call.pk}/%C3%BC%00") == 403
    _assert_quiet(rig, caplog)
    rows = await rig.rows()
    assert [(row.status, row.media_token_used_at) for row in rows] == [("ringing", None)] * 2
    socket = await rig.media(path)  # and the right one still opens
    await socket.close()


async def test_t2_unknown_socket_paths_are_refused_without_a_traceback(
    rig: Rig, caplog: pytest.LogCaptureFixture
) -> None:
    _, path = await _ringing(rig)
    for wrong in (path + "/", "/twilio/media/", "/twilio/media/x/y", "/", "/nothing", path[7:]):
        assert await _refused(rig, wrong) == 403
    _assert_quiet(rig, caplog)


async def _opened(rig: Rig, path: str, **options: Any) -> bool:
    """Tell whether a media socket was opened, and close it."""
    socket = await rig.media(path, **options)
    await socket.close()
    return socket.response is not None and socket.response.status_code == 101


async def test_t1_origin_is_neither_needed_nor_asked_for(rig: Rig) -> None:
    for origin in (None, "https://anything.example.net"):
        _, path = await _ringing(rig)
        assert await _opened(rig, path, origin=origin)


async def test_the_secondary_token_and_an_explicit_port_sign_too(rig: Rig) -> None:
    _, path = await _ringing(rig)
    assert await _opened(rig, path, token=SECONDARY_TOKEN)
    _, path = await _ringing(rig)
    assert await _opened(rig, path, signature=sign(f"wss://voice.example.com:443{path}", {}))


async def test_t37_a_handshake_that_is_repeated_is_403(rig: Rig) -> None:
    call, path = await _ringing(rig)
    first = await rig.media(path)
    assert await _refused(rig, path) == 403
    await first.close()
    await rig.idle()
    assert await _refused(rig, path) == 403


async def test_of_ten_handshakes_at_once_one_is_let_in(rig: Rig) -> None:
    _, path = await _ringing(rig)
    answers = await asyncio.gather(*(rig.media(path) for _ in range(10)), return_exceptions=True)
    opened = [each for each in answers if isinstance(each, ClientConnection)]
    refused = [each for each in answers if isinstance(each, InvalidStatus)]
    assert (len(opened), len(refused)) == (1, 9)
    await opened[0].close()


async def test_an_expired_token_and_an_ended_call_are_403(
    rig: Rig, caplog: pytest.LogCaptureFixture
) -> None:
    call, path = await _ringing(rig)
    past = timezone.now() - timedelta(seconds=1)
    await in_database(lambda: Call.objects.filter(pk=call.pk).update(media_token_expires_at=past))
    assert await _refused(rig, path) == 403
    ended, path = await _ringing(rig)
    await in_database(
        lambda: Call.objects.filter(pk=ended.pk).update(
            status="ended", ended_at=past, ended_reason="customer-ended-call"
        )
    )
    assert await _refused(rig, path) == 403
    _assert_quiet(rig, caplog)


async def test_t30_a_draining_process_takes_no_first_stream_but_the_next_one_of_a_live_call(
    rig: Rig, monkeypatch: pytest.MonkeyPatch
) -> None:
    _, first_path = await _ringing(rig)
    call, _ = await _ringing(rig)
    call.stream_count = 2
    await in_database(call.save)
    with monkeypatch.context() as draining:
        draining.setattr(live._process, "_draining", True)
        assert await _refused(rig, first_path) == 403
        # This call is on already; refusing its next stream would end it.
        await (await rig.media(f"/twilio/media/{call.pk}/{media_token(call)}")).close()
    await (await rig.media(first_path)).close()


# ---- what closes it ---------------------------------------------------------------------------


async def test_a_frame_over_64_kib_closes_1009_and_the_call_may_resume(rig: Rig) -> None:
    call, socket = await _streaming(rig)
    payload = base64.b64encode(b"\xff" * 60_000).decode()
    await socket.send(
        json.dumps({"event": "media", "streamSid": STREAM_SID, "media": {"payload": payload}})
    )
    assert await _close_code(socket) == 1009
    await rig.idle()
    stored = await rig.only_call()
    assert (stored.status, stored.next_step) == ("in-progress", {"kind": "resume"})


@pytest.mark.parametrize(
    "frame", [b"\x00\x01", "{", "[]", "null", '{"event": 5}', '{"event":"media","media":5}']
)
async def test_the_twentieth_bad_frame_closes_1008(
    rig: Rig, frame: str | bytes, caplog: pytest.LogCaptureFixture
) -> None:
    call, socket = await _streaming(rig)
    for _ in range(19):
        await socket.send(frame)
    await until(lambda: rig.model_sessions, what="the model's socket")
    assert live.active_count() == 1
    await socket.send(frame)
    assert await _close_code(socket) == 1008
    await rig.idle()
    stored = await rig.only_call()
    assert stored.metrics["streams"][0]["counters"]["twilio_malformed"] == 20
    assert stored.next_step == {"kind": "resume"}
    assert not [r for r in caplog.records if r.exc_info]


async def test_a_start_of_another_call_closes_1008_and_hangs_up(rig: Rig) -> None:
    for changes in (
        {"callSid": "CA" + "0" * 32},
        {"accountSid": "AC" + "0" * 32},
        {"mediaFormat": {"encoding": "audio/x-wav", "sampleRate": 8000, "channels": 1}},
    ):
        call, path = await _ringing(rig)
        socket = await rig.media(path)
        for text in _start(rig, call, **changes):
            await socket.send(text)
        assert await _close_code(socket) == 1008
        await rig.idle()
        await in_database(call.refresh_from_db)
        assert call.next_step == {"kind": "hangup"}
    await until(lambda: all(p.closed for p in rig.model_sessions), what="T23: closed model sockets")


async def test_nothing_is_sent_before_start(rig: Rig) -> None:
    call, path = await _ringing(rig)
    socket = await rig.media(path)
    await until(lambda: rig.model_frames and rig.model_frames[0], what="the configuration")
    assert [frame["type"] for frame in rig.model_frames[0]] == ["session.update"]
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.1):
            await socket.recv()
    await socket.close()


async def test_t3_the_socket_is_accepted_before_the_model_is_dialled(rig: Rig) -> None:
    async with silent_server() as url:
        connection = rig.number.connection
        connection.realtime_url = url
        await in_database(connection.save)
        call, path = await _ringing(rig)
        socket = await rig.media(path)
        for text in _start(rig, call):
            await socket.send(text)
        await socket.close()
        await rig.idle()  # and a dial in the air does not keep the call
    assert (await rig.only_call()).metrics["streams"][0]["ended"]
