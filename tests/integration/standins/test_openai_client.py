"""The official OpenAI client holds conversations with the Realtime stand-in over a socket."""

from __future__ import annotations

import asyncio
import base64
import re
from typing import Any

import httpx
import pytest
import websockets
from openai import AsyncAzureOpenAI, AsyncOpenAI
from websockets.exceptions import ConnectionClosedError, InvalidStatus

from calls.standins.caller import say
from calls.standins.realtime_brain import CallTool, Rule, Step
from calls.standins.realtime_profile import RealtimeProfile
from calls.standins.scenario import Scenario
from calls.standins.server import RunningStandins, running_standins
from calls.standins.tones import ToneDecoder, encode, silence
from tests.contract import check_realtime_client, check_realtime_server
from tests.unit.standins.helpers import config, say_exactly

pytestmark = pytest.mark.integration

FAST = RealtimeProfile(think_ms=10, burst_factor=200, transcription_delay_ms=50)
WEATHER_TALK = Scenario(
    "weather",
    caller=(say("What is the weather?"),),
    rules=(
        Rule(
            Step(tools=(CallTool("weather", '{"city":"Oslo"}'),), then=Step(say="It is {output}.")),
            re.compile("weather"),
        ),
    ),
)


class Talker:
    """The official client on a connection; everything received is checked and kept."""

    def __init__(self, connection: Any, dialect: Any = "ga") -> None:
        self.connection, self.dialect = connection, dialect
        self.audio = b""
        self.seen: list[dict[str, Any]] = []

    async def until(self, *kinds: str) -> dict[str, Any]:
        """Receive until an event of one of `kinds`, within a deadline."""
        async with asyncio.timeout(10):
            while True:
                raw = (await self.connection.recv()).to_dict()
                check_realtime_server(raw, self.dialect)
                self.seen.append(raw)
                if raw["type"] in ("response.output_audio.delta", "response.audio.delta"):
                    self.audio += base64.b64decode(raw["delta"])
                if raw["type"] in kinds:
                    return raw

    async def send(self, event: dict[str, Any]) -> None:
        check_realtime_client(event, self.dialect)
        await self.connection.send(event)

    async def speak(self, text: str) -> None:
        audio = silence(100) + encode(text) + silence(400)
        for at in range(0, len(audio), 1600):
            payload = base64.b64encode(audio[at : at + 1600]).decode()
            await self.send(
                {"type": "input_audio_buffer.append", "event_id": "a", "audio": payload}
            )

    def heard(self) -> list[str]:
        heard = [each.text for each in ToneDecoder().feed(self.audio + silence(100))]
        self.audio = b""
        return heard


def client_for(standins: RunningStandins, key: str = "sk-test") -> AsyncOpenAI:
    return AsyncOpenAI(
        api_key=key,
        base_url=standins.openai_base_url,
        websocket_base_url=standins.openai_base_url.replace("http", "ws"),
        max_retries=0,
    )


async def test_conversation_with_tool_call_and_truncate() -> None:
    async with running_standins(profile=FAST) as standins, client_for(standins) as client:
        with standins.book.playing(WEATHER_TALK):
            async with client.realtime.connect(model="gpt-realtime-2.1") as connection:
                await weather_talk(Talker(connection))


async def weather_talk(talker: Talker) -> None:
    await talker.until("session.created")
    await talker.send({"type": "session.update", "event_id": "c", "session": config()})
    updated = await talker.until("session.updated")
    assert updated["session"]["audio"]["input"]["format"] == {"type": "audio/pcmu"}
    await talker.send(
        {"type": "response.create", "event_id": "g", "response": say_exactly("Welcome.")}
    )
    await talker.until("response.done")
    assert talker.heard() == ["Welcome."]
    await talker.speak("What is the weather?")
    item = (await talker.until("response.output_item.done"))["item"]
    assert (item["name"], item["arguments"]) == ("weather", '{"city":"Oslo"}')
    await talker.until("response.done")
    output = {"type": "function_call_output", "call_id": item["call_id"], "output": "snow"}
    await talker.send({"type": "conversation.item.create", "event_id": "o", "item": output})
    await talker.send({"type": "response.create", "event_id": "r"})
    spoken = (await talker.until("response.output_item.done"))["item"]
    assert talker.heard() == ["It is snow."]
    await talker.send(
        {
            "type": "conversation.item.truncate",
            "event_id": "t",
            "item_id": spoken["id"],
            "content_index": 0,
            "audio_end_ms": 100,
        }
    )
    truncated = await talker.until("conversation.item.truncated", "error")
    assert truncated["type"] == "conversation.item.truncated"


async def test_fatal_faults_reach_the_client_as_error_and_close() -> None:
    async with running_standins() as standins:
        for key, model, code, close in (
            ("sk-invalid", "gpt-realtime-2.1", "invalid_api_key", 3000),
            ("sk-test", "gpt-4o-realtime-preview", "invalid_model", 4000),
        ):
            async with (
                client_for(standins, key) as client,
                client.realtime.connect(model=model) as connection,
            ):
                talker = Talker(connection)
                error = await talker.until("error")
                assert error["error"]["code"] == code
                with pytest.raises(ConnectionClosedError) as caught:
                    await talker.until("session.created")
                assert caught.value.rcvd is not None
                assert caught.value.rcvd.code == close


async def test_o1_beta_client_is_refused_by_ga_and_served_by_beta() -> None:
    async with running_standins(profile=FAST) as standins, client_for(standins) as client:
        async with client.beta.realtime.connect(model="gpt-realtime-2.1") as connection:
            error = await Talker(connection, "beta").until("error")
            assert error["error"]["code"] == "beta_api_shape_disabled"
        standins.book.next_profiles.append(RealtimeProfile(dialect="beta", burst_factor=100))
        model = "gpt-4o-realtime-preview"
        async with client.beta.realtime.connect(model=model) as connection:
            talker = Talker(connection, "beta")
            await talker.until("session.created")
            session = {"input_audio_format": "g711_ulaw", "output_audio_format": "g711_ulaw"}
            await talker.send({"type": "session.update", "event_id": "c", "session": session})
            await talker.until("session.updated")
            await talker.speak("Hello")
            await talker.until("response.done")
            assert talker.heard() == ["You said: Hello"]


async def test_azure_paths() -> None:
    async with running_standins(profile=FAST) as standins:
        base = standins.base_url
        azure_ga = AsyncOpenAI(api_key="k", base_url=base + "/openai/v1", max_retries=0)
        async with azure_ga as client, client.realtime.connect(model="my-deployment") as connection:
            await Talker(connection).until("session.created")
        preview = AsyncAzureOpenAI(
            api_key="k",
            api_version="2025-04-01-preview",
            azure_endpoint=base,
            websocket_base_url=base.replace("http", "ws") + "/openai",
        )
        async with (
            preview as client,
            client.beta.realtime.connect(model="gpt-4o-realtime-preview") as connection,
        ):
            await Talker(connection, "beta").until("session.created")
        url = base.replace("http", "ws") + "/openai/v1/realtime?model=x&api-version=1"
        with pytest.raises(InvalidStatus) as caught:
            await websockets.connect(url, additional_headers={"api-key": "k"}, proxy=None)
        assert caught.value.response.status_code == 401


@pytest.mark.parametrize("status", [403, 500])
async def test_upgrade_refused_by_profile(status: int) -> None:
    async with running_standins(profile=RealtimeProfile(upgrade_status=status)) as standins:
        with pytest.raises(InvalidStatus) as caught:
            await websockets.connect(
                standins.realtime_url + "?model=gpt-realtime-2.1",
                additional_headers={"Authorization": "Bearer k"},
                proxy=None,
            )
        assert caught.value.response.status_code == status


@pytest.mark.parametrize("code", [1006, 1011])
async def test_socket_closed_in_the_middle_of_a_response(code: int) -> None:
    profile = RealtimeProfile(close_mid_response=code, think_ms=0)
    async with (
        running_standins(profile=profile) as standins,
        client_for(standins) as client,
        client.realtime.connect(model="gpt-realtime-2.1") as connection,
    ):
        talker = Talker(connection)
        await talker.until("session.created")
        long_text = "A sentence long enough for several deltas of audio. " * 3
        await talker.send(
            {"type": "response.create", "event_id": "g", "response": say_exactly(long_text)}
        )
        with pytest.raises(ConnectionClosedError) as caught:
            await talker.until("response.done")
        received = caught.value.rcvd
        assert (received.code if received is not None else 1006) == code


async def test_junk_and_binary_frames_reach_the_socket() -> None:
    async with running_standins(profile=RealtimeProfile(junk="binary")) as standins:
        async with websockets.connect(
            standins.realtime_url + "?model=gpt-realtime-2.1",
            additional_headers={"Authorization": "Bearer k"},
            proxy=None,
        ) as socket:
            await socket.recv()
            await socket.send(b"\x00")
            assert "invalid_event" in str(await socket.recv())
            await socket.send('{"type":"session.update","session":{"type":"realtime"}}')
            await socket.recv()
            assert await socket.recv() == b"\x00\x01"


async def test_speech_and_models_over_http() -> None:
    async with running_standins() as standins, client_for(standins) as client:
        speech = await client.audio.speech.create(
            model="gpt-4o-mini-tts", voice="marin", input="Hello there", response_format="pcm"
        )
        pcm = speech.content
        assert len(pcm) == len(encode("Hello there")) * 6
        models = {model.id: model.to_dict() for model in (await client.models.list()).data}
        assert models["gpt-realtime"]["shutdown_date"] == "2027-01-20"
        assert models["gpt-realtime-2.1"]["shutdown_date"] is None
        async with httpx.AsyncClient(base_url=standins.base_url) as http:
            assert (await http.get("/v1/models")).status_code == 401
            assert (await http.get("/healthz")).json() == {"status": "ok"}
            key = {"Authorization": "Bearer k"}
            for body in ({"model": "m", "input": "x", "voice": "marin"}, {"input": "x"}, []):
                answer = await http.post("/v1/audio/speech", json=body, headers=key)
                assert answer.status_code == 400
