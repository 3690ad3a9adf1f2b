"""Model sockets prepared at webhook time, and a model that refuses (ADR 0018, O19, O20, T23)."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from calls.media.database import in_database
from calls.media.pool import ModelSocketPool, pool
from calls.media.realtime_client import Endpoint, RealtimeUnreachable, dial
from calls.models import Call
from calls.services.replay import call_replay
from calls.standins.realtime_profile import RealtimeProfile
from calls.standins.scenario import parse_scenario
from tests import factories
from tests.integration.calls.rig import Rig, running_rig, silent_server, stream_path, until

pytestmark = [pytest.mark.integration, pytest.mark.django_db(transaction=True)]

CONFIG = (
    '{"type":"session.update","event_id":"e1","session":{"type":"realtime","instructions":"x"}}'
)
WAITS = parse_scenario({"name": "waits", "caller": [{"hang_up": {"ms": 6000}}]})


def _endpoint(rig: Rig) -> Endpoint:
    url = rig.number.connection.realtime_url
    return Endpoint(url, "openai_ga", "gpt-realtime-2.1", "sk-standin")


def _types(frames: list[dict[str, Any]]) -> list[str]:
    return [frame["type"] for frame in frames]


async def _point_to(rig: Rig, url: str) -> None:
    rig.number.connection.realtime_url = url
    await in_database(rig.number.connection.save)


async def test_the_webhook_does_not_wait_for_the_models_socket(rig: Rig) -> None:
    async with silent_server() as url:
        await _point_to(rig, url)
        answer = await rig.voice()
        assert answer.status == 200
        call = await rig.only_call()
        # Still in the air when the answer has come: nobody waited for it.
        assert not pool._tasks[str(call.pk)].done()
        await _discard(call)


async def _discard(call: Call) -> None:
    pool.discard(str(call.pk))
    await asyncio.gather(*pool._closing)


async def test_only_the_inserting_request_opens_one_and_only_the_configuration_is_sent(
    rig: Rig,
) -> None:
    form = rig.form()
    for _ in range(3):
        await rig.post("/twilio/voice", form)
    await until(lambda: rig.model_frames and rig.model_frames[0], what="the configuration")
    assert len(rig.model_sessions) == 1
    assert _types(rig.model_frames[0]) == ["session.update"]


async def test_it_is_opened_after_the_row_is_committed(
    rig: Rig, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[bool] = []

    def opens(call_id: str, *_: object) -> None:
        # Another connection sees the row already.
        query = in_database(lambda: Call.objects.filter(pk=call_id).exists())
        task = asyncio.ensure_future(query)
        task.add_done_callback(lambda done: seen.append(done.result()))

    monkeypatch.setattr(pool, "open", opens)
    await rig.voice()
    await until(lambda: seen, what="the look from outside")
    assert seen == [True]


async def test_the_stream_claims_it_and_asks_nothing_before_start(rig: Rig) -> None:
    answer = await rig.voice()
    await until(lambda: rig.model_frames and rig.model_frames[0], what="the configuration")
    socket = await rig.media(stream_path(answer.body))
    await until(lambda: len(pool) == 0, what="the claim")
    assert _types(rig.model_frames[0]) == ["session.update"]
    await socket.close()
    await rig.idle()
    assert len(rig.model_sessions) == 1
    # T23, O20: nothing stays open behind a call.
    await until(lambda: rig.model_sessions[0].closed, what="a closed model socket")


async def test_t31_a_stream_in_another_process_dials_its_own(rig: Rig) -> None:
    answer = await rig.voice()
    call = await rig.only_call()
    await _discard(call)
    socket = await rig.media(stream_path(answer.body))
    await until(lambda: len(rig.model_frames) == 2 and rig.model_frames[1], what="a socket")
    assert _types(rig.model_frames[1]) == ["session.update"]
    await socket.close()


async def test_an_unclaimed_socket_is_closed_after_its_time(rig: Rig) -> None:
    short = ModelSocketPool(unclaimed_seconds=0.2)
    short.open("a", _endpoint(rig), CONFIG)
    short.open("a", _endpoint(rig), CONFIG)  # a repeat is ignored
    await until(lambda: rig.model_frames and rig.model_frames[0], what="the configuration")
    assert len(short) == 1
    await until(lambda: len(short) == 0, what="the expiry")
    await until(lambda: rig.model_sessions[0].closed, what="the close")
    assert await short.claim("a", _endpoint(rig), CONFIG) is None
    assert len(rig.model_sessions) == 1


async def test_a_discard_while_it_dials_leaves_nothing_open(rig: Rig) -> None:
    async with silent_server() as url:
        short = ModelSocketPool()
        short.open("a", Endpoint(url, "openai_ga", "m", "k"), CONFIG)
        await asyncio.sleep(0)
        short.discard("a")
        await asyncio.gather(*short._closing)
        assert len(short) == 0


async def test_a_claim_that_is_given_up_cancels_the_dial(rig: Rig) -> None:
    async with silent_server() as url:
        short = ModelSocketPool()
        endpoint = Endpoint(url, "openai_ga", "m", "k")
        short.open("a", endpoint, CONFIG)
        dialling = short._tasks["a"]
        claim = asyncio.create_task(short.claim("a", endpoint, CONFIG))
        await asyncio.sleep(0)
        claim.cancel()
        with pytest.raises(asyncio.CancelledError):
            await claim
        await until(dialling.done, what="the end of the dial")


async def test_a_dial_that_fails_is_a_miss(rig: Rig) -> None:
    short = ModelSocketPool()
    endpoint = Endpoint("ws://127.0.0.1:1/x", "openai_ga", "m", "k")
    short.open("a", endpoint, CONFIG)
    assert await short.claim("a", endpoint, CONFIG) is None


class _MuteSocket:
    """A model that opens and then says nothing."""

    def __init__(self) -> None:
        self.listening, self.dropped = asyncio.Event(), asyncio.Event()

    async def receive(self) -> str:
        self.listening.set()
        await asyncio.Event().wait()
        raise AssertionError("it says nothing")

    def abort(self) -> None:
        self.dropped.set()


@pytest.mark.parametrize("claimed", [False, True])
async def test_o20_giving_up_before_the_configuration_is_confirmed_drops_the_socket(
    monkeypatch: pytest.MonkeyPatch, claimed: bool
) -> None:
    socket = _MuteSocket()

    async def dialled(_: Endpoint) -> _MuteSocket:
        return socket

    monkeypatch.setattr("calls.media.pool.dial", dialled)
    short, endpoint = ModelSocketPool(), Endpoint("ws://x/", "openai_ga", "m", "k")
    short.open("a", endpoint, CONFIG)
    await socket.listening.wait()
    if claimed:
        claim = asyncio.create_task(short.claim("a", endpoint, CONFIG))
        await asyncio.sleep(0)
        claim.cancel()
    else:
        short.discard("a")
    async with asyncio.timeout(2):
        await socket.dropped.wait()
    await asyncio.gather(*short._closing)
    assert not short._tasks


async def test_t23_a_claim_given_up_as_the_socket_is_ready_closes_it(rig: Rig) -> None:
    short = ModelSocketPool()
    short.open("a", _endpoint(rig), CONFIG)
    task = short._tasks["a"]
    claim = asyncio.create_task(short.claim("a", _endpoint(rig), CONFIG))
    task.add_done_callback(lambda _: claim.cancel())
    await asyncio.wait({claim})
    await asyncio.gather(*short._closing)
    await until(lambda: rig.model_sessions[0].closed, what="a closed model socket", seconds=2)
    assert claim.cancelled()


async def test_a_socket_prepared_for_another_configuration_is_not_handed_out(rig: Rig) -> None:
    short = ModelSocketPool()
    short.open("a", _endpoint(rig), CONFIG)
    await until(lambda: rig.model_frames and rig.model_frames[0], what="the configuration")
    assert await short.claim("a", _endpoint(rig), CONFIG.replace('"x"', '"y"')) is None
    await until(lambda: rig.model_sessions[0].closed, what="a closed model socket")
    assert len(short) == 0


async def test_the_second_stream_configures_a_socket_of_its_own(rig: Rig) -> None:
    """The first stream never came: what was prepared for it held the caller's turns back."""
    await rig.voice()
    call = await rig.only_call()
    await until(lambda: rig.model_frames and rig.model_frames[0], what="the configuration")
    await in_database(lambda: factories.make_turn(call, ordinal=0, text="Good day."))
    form = rig.form(CallSid=call.call_sid, CallStatus="in-progress")
    again = await rig.post(f"/twilio/after-stream/{call.pk}", form)
    socket = await rig.media(stream_path(again.body))
    await until(lambda: len(rig.model_frames) == 2 and rig.model_frames[1], what="a socket")
    held, free = (
        frames[0]["session"]["audio"]["input"]["turn_detection"]["create_response"]
        for frames in rig.model_frames
    )
    assert (held, free) == (False, True)
    await socket.close()


async def test_a_dial_that_is_not_answered_ends_in_its_time(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("calls.media.realtime_client.DIAL_TIMEOUT_SECONDS", 0.1)
    async with silent_server() as url:
        with pytest.raises(RealtimeUnreachable) as failure:
            await dial(Endpoint(url, "openai_ga", "m", "k"))
    assert failure.value.code == 1006


# ---- a model that refuses ---------------------------------------------------------------------


async def _refused_call(rig: Rig) -> Call:
    report = await rig.call(WAITS)
    # Our side ended it, by REST or by the answer of the action URL; the caller did not have to.
    assert report.ended_by in {"rest", "twiml"}, report
    return await rig.only_call()


@pytest.mark.parametrize(
    ("profile", "reason", "redials"),
    [
        ({"upgrade_status": 401}, "pipeline-error-openai-401-incorrect-api-key", 0),
        ({"upgrade_status": 403}, "pipeline-error-openai-401-incorrect-api-key", 0),
        ({"upgrade_status": 404}, "pipeline-error-openai-llm-failed", 0),
        ({"upgrade_status": 500}, "pipeline-error-openai-500-server-error", 3),
        ({"models": ("another-model",)}, "assistant-not-valid", 0),
        ({"reject_update": True}, "assistant-not-valid", 0),
    ],
    ids=["401", "403", "404", "500", "o19-close-4000", "update-rejected"],
)
async def test_a_model_that_refuses_ends_the_call_with_its_reason(
    transactional_db: None,
    monkeypatch: pytest.MonkeyPatch,
    profile: dict[str, Any],
    reason: str,
    redials: int,
) -> None:
    monkeypatch.setattr("calls.bridge.sessions.BACKOFF_MS", (0, 20, 40))
    async with running_rig(RealtimeProfile(**profile)) as rig:
        call = await _refused_call(rig)
        # All attempts are made inside the first stream: the caller has waited for them.
        assert (call.status, call.ended_reason, call.stream_count) == ("ended", reason, 1)
        counters = call.metrics["streams"][0]["counters"]
        assert counters.get("model_dials", 0) == redials
        assert all(session.closed for session in rig.model_sessions)


async def test_o19_a_wrong_key_is_named_although_the_upgrade_succeeds(rig: Rig) -> None:
    rig.number.connection.api_key = "sk-invalid"
    await in_database(rig.number.connection.save)
    call = await _refused_call(rig)
    assert call.ended_reason == "pipeline-error-openai-401-incorrect-api-key"
    assert call.metrics["streams"][0]["notes"]["realtime_close"] == "3000"


async def test_an_unreachable_model_is_dialled_again_and_then_given_up(
    rig: Rig, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("calls.bridge.sessions.BACKOFF_MS", (0, 20, 40))
    await _point_to(rig, "ws://127.0.0.1:1/v1/realtime")
    call = await _refused_call(rig)
    assert (call.status, call.stream_count) == ("ended", 1)
    assert call.metrics["streams"][0]["notes"]["realtime_close"] == "1006"


BROKEN = parse_scenario(
    {
        "name": "broken",
        "caller": [
            {"say": "Tell me about the opening hours."},
            {"hang_up": {"heard": "hours"}},
        ],
        "profile": {
            "realtime": {"lose_at": "committed"},
            "sessions": [{"upgrade_status": 503}, {"updated_delay_ms": 50}],
        },
    }
)


async def test_o18_a_socket_that_dies_in_a_call_is_replaced_and_the_call_replays(rig: Rig) -> None:
    """The words that the first session took with it are heard by the third."""
    report = await rig.call(BROKEN)
    assert report.failures == [], report
    call = await rig.only_call()
    assert (call.stream_count, len(rig.model_sessions)) == (1, 3)
    assert all(session.closed for session in rig.model_sessions)
    turns = await in_database(lambda: list(call.turns.values_list("role", "text")))
    assert turns[-2:] == [
        ("user", "Tell me about the opening hours."),
        ("assistant", "You said: Tell me about the opening hours."),
    ]
    assert [each.same for each in await in_database(call_replay, call)] == [True]
