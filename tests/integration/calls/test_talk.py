"""Talk to it: the page's socket carries a conversation; whoever proves nothing stays outside."""

from __future__ import annotations

import asyncio
import datetime as dt
import json
from collections.abc import Callable
from typing import Any

import pytest
from django.contrib.sessions.backends.db import SessionStore
from django.test import Client
from django.utils import timezone
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed, InvalidStatus

from calls.media import live
from calls.media.database import in_database
from calls.models import Call, OutboxEvent, Talk
from calls.services.talk import talk_start, talk_token
from calls.standins.scenario import parse_scenario
from calls.standins.tones import ToneDecoder, encode, silence
from tests import factories
from tests.integration.calls.rig import Rig, until
from tools.messages import with_fillers
from voiceplatform.base.models import AuditEntry

pytestmark = [pytest.mark.integration, pytest.mark.django_db(transaction=True)]

RIGHTS = ["calls.talk_to_assistant", "assistants.view_assistantrevision"]
FRAME = 160
WORDS = "Please book a table."
BOOKING = parse_scenario(
    {
        "name": "talk-booking",
        "caller": [{"say": WORDS}, {"say": "Goodbye."}],
        "brain": {
            "rules": [
                {
                    "when": "book a table",
                    "tool": {"name": "book_table", "arguments": {"when": "tonight"}},
                    "after_tool": "It is booked.",
                },
                {"when": "Goodbye", "say": "Bye.", "tool": {"name": "endCall", "arguments": {}}},
            ]
        },
    }
)


def cookie_of(user: Any) -> str:
    """Sign a person in and return the browser's cookie."""
    client = Client()
    client.force_login(user)
    return f"sessionid={client.cookies['sessionid'].value}"


class Browser:
    """What the page's scripts do: real time in, everything that comes kept."""

    def __init__(self, socket: ClientConnection) -> None:
        self.socket = socket
        self.told: list[dict[str, Any]] = []
        self.heard: list[str] = []
        self._ear = ToneDecoder()
        self._mouth = bytearray()
        self._tasks = [asyncio.create_task(self._listen()), asyncio.create_task(self._speak())]

    def say(self, words: str) -> None:
        """Say words into the microphone."""
        self._mouth += encode(words)

    def of(self, kind: str) -> list[dict[str, Any]]:
        """Return what was told of one kind."""
        return [message for message in self.told if message["type"] == kind]

    async def leave(self) -> None:
        """Close the page."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await self.socket.close()

    async def _speak(self) -> None:
        while True:
            frame = bytes(self._mouth[:FRAME]) or silence(20)
            del self._mouth[:FRAME]
            try:
                await self.socket.send(frame.ljust(FRAME, b"\xff"))
            except ConnectionClosed:
                return
            await asyncio.sleep(0.02)

    async def _listen(self) -> None:
        async for message in self.socket:
            if isinstance(message, bytes):
                self.heard += [each.text for each in self._ear.feed(message)]
                continue
            self.told.append(json.loads(message))
            if self.told[-1]["type"] == "mark":
                played = {"type": "played", "name": self.told[-1]["name"]}
                await self.socket.send(json.dumps(played))


class Desk:
    """A person, a revision with a tool, and a connection that leads to the stand-in."""

    def __init__(self, rig: Rig) -> None:
        self.rig = rig
        self.revision: Any = None
        self.user: Any = None
        self.cookie = ""

    def make(self, *permissions: str, tool_url: str = "https://tools.example.com/vapi") -> None:
        organisation = factories.default_organisation()
        tool = factories.make_tool(
            organisation, name="book_table", server_url=tool_url, server_secret="s3cret-of-tool"
        )
        end = factories.make_tool(
            organisation, name="endCall", type="endCall", server_url="", parameters={}
        )
        assistant = factories.make_assistant(
            organisation, tools=[tool, end], first_message="Hello, this is the front desk."
        )
        self.revision = assistant.current_revision
        self.user = factories.make_staff(organisation, [*RIGHTS, *permissions])
        self.cookie = cookie_of(self.user)

    def start(self, **options: Any) -> Talk:
        return talk_start(
            **{
                "user": self.user,
                "revision": self.revision,
                "connection": self.rig.number.connection,
                "calls_tools": False,
                **options,
            }
        )

    async def open(self, path: str, **options: Any) -> ClientConnection:
        origin = f"http://127.0.0.1:{self.rig.port}"
        given = {"origin": origin, "cookie": self.cookie, **options}
        headers = {"cookie": given["cookie"]} if given["cookie"] else {}
        return await connect(
            f"ws://127.0.0.1:{self.rig.port}{path}",
            additional_headers=headers,
            origin=given["origin"],
            compression=None,
            proxy=None,
        )

    async def refused(self, path: str, **options: Any) -> int:
        with pytest.raises(InvalidStatus) as refusal:
            await self.open(path, **options)
        return refusal.value.response.status_code


@pytest.fixture
async def desk(rig: Rig) -> Desk:
    made = Desk(rig)
    await in_database(made.make)
    return made


def path_of(talk: Talk) -> str:
    return f"/web/media/{talk.pk}/{talk_token(talk)}"


async def test_words_in_a_dry_tool_call_words_out_and_the_assistant_hangs_up(desk: Desk) -> None:
    talk = await in_database(desk.start)
    with desk.rig.carrier.book.playing(BOOKING):
        page = Browser(await desk.open(path_of(talk)))
        await until(lambda: page.heard, what="the greeting")
        page.say(WORDS)
        await until(lambda: "It is booked." in page.heard, what="the answer")
        page.say("Goodbye.")
        await until(lambda: page.of("ended"), what="the end")
    await page.leave()
    # Its tools have no words for their start: one of ours stands for them (vapi.md trap 6).
    greeting, filler, *said = page.heard
    assert (greeting, said) == ("Hello, this is the front desk.", ["It is booked.", "Bye."])
    assert filler in {each.text for each in with_fillers((), "en")}
    turns = {turn["ordinal"]: turn for turn in page.of("turn")}
    said = [(turn["role"], turn["text"]) for turn in turns.values() if turn["text"]]
    assert ("user", WORDS) in said
    assert ("assistant", "It is booked.") in said
    assert any(turn["latency_ms"] for turn in turns.values())
    (request,) = page.of("request")
    assert request["sent"] is False
    assert request["url"] == "https://tools.example.com/vapi"
    assert request["headers"] == ["X-Vapi-Secret"]
    message = request["body"]["message"]
    assert message["toolCallList"][0]["arguments"] == {"when": "tonight"}
    assert message["call"]["type"] == "webCall"
    assert message["call"]["id"] == str(talk.pk)
    # The caller's words are not always transcribed yet; what was heard of us is known.
    assert "AI: Hello, this is the front desk." in message["artifact"]["transcript"]
    assert "s3cret" not in json.dumps(page.told)
    book = [tool for tool in page.of("tool") if tool["name"] == "book_table"]
    assert (book[-1]["state"], "rehearsal" in book[-1]["output"]) == ("ok", True)
    assert page.of("ended")[0]["ended_reason"] == "assistant-ended-call"
    await until(lambda: not live.active_count(), what="the end of the talk")
    stored = await in_database(lambda: Talk.objects.get())
    assert (stored.turn_count > 2, stored.tool_count, stored.ended_at is not None) == (
        True,
        2,
        True,
    )


async def test_a_talk_counts_nowhere_and_leaves_no_word(desk: Desk) -> None:
    talk = await in_database(desk.start)
    page = Browser(await desk.open(path_of(talk)))
    await until(lambda: page.heard, what="the greeting")
    await page.socket.send(json.dumps({"type": "stop"}))
    await until(lambda: page.of("ended"), what="the end")
    assert page.of("ended")[0]["ended_reason"] == "customer-ended-call"
    await page.leave()
    await until(lambda: not live.active_count(), what="the end of the talk")

    def rows() -> tuple[int, int, str]:
        stored = Talk.objects.get()
        return (
            Call.objects.count(),
            OutboxEvent.objects.count(),
            json.dumps(
                {field.name: str(getattr(stored, field.attname)) for field in stored._meta.fields}
            ),
        )

    calls, events, columns = await in_database(rows)
    assert (calls, events) == (0, 0)
    assert "front desk" not in columns


async def test_speech_interrupts_what_is_being_played(desk: Desk) -> None:
    """`clear` reaches the page, and its acknowledged marks say what was heard."""
    long = "This answer is so long that nobody would want to hear it to its very end, believe me."
    scenario = parse_scenario(
        {
            "name": "talk-long",
            "caller": [{"say": WORDS}, {"say": "Stop."}],
            "brain": {"rules": [{"when": "book", "say": long}, {"when": "Stop", "say": "Yes?"}]},
        }
    )
    talk = await in_database(desk.start)
    with desk.rig.carrier.book.playing(scenario):
        page = Browser(await desk.open(path_of(talk)))
        await until(lambda: page.heard, what="the greeting")
        # From here the page plays in no time, so it says nothing of marks: it is still playing.
        send = page.socket.send

        async def quiet(message: Any) -> None:
            if isinstance(message, bytes) or "played" not in message:
                await send(message)

        page.socket.send = quiet  # type: ignore[method-assign,assignment]
        page.say(WORDS)
        await until(lambda: long in page.heard, what="the long answer")
        page.say("Stop.")
        await until(lambda: page.of("clear"), what="clear")
        await until(lambda: "Yes?" in page.heard, what="the next answer")
    cut = [turn for turn in page.of("turn") if turn["text_unheard"]]
    assert cut[-1]["interrupted"]
    await page.leave()


async def test_a_transfer_is_told_and_dials_nobody(desk: Desk) -> None:
    def with_transfer() -> None:
        desk.make()
        transfer = factories.make_tool(
            desk.revision.assistant.organisation,
            name="transferCall",
            type="transferCall",
            server_url="",
            parameters={},
            destinations=[{"type": "number", "number": "+15550100099"}],
        )
        desk.revision = factories.make_revision(desk.revision.assistant, tools=[transfer])

    await in_database(with_transfer)
    talk = await in_database(desk.start)
    scenario = parse_scenario(
        {
            "name": "talk-transfer",
            "caller": [{"say": WORDS}],
            "brain": {"rules": [{"when": "book", "tool": {"name": "transferCall"}}]},
        }
    )
    with desk.rig.carrier.book.playing(scenario):
        page = Browser(await desk.open(path_of(talk)))
        await until(lambda: page.heard, what="the greeting")
        page.say(WORDS)
        await until(lambda: page.of("ended"), what="the end")
    await page.leave()
    assert page.of("next") == [{"type": "next", "step": "dial", "dial_to": "+15550100099"}]
    assert page.of("ended")[0]["ended_reason"] == "assistant-forwarded-call"


async def test_a_page_that_closes_ends_the_talk(desk: Desk) -> None:
    talk = await in_database(desk.start)
    page = Browser(await desk.open(path_of(talk)))
    await until(lambda: page.of("ready"), what="the beginning")
    await page.leave()
    await until(lambda: not live.active_count(), what="the end of the talk")
    stored = await in_database(lambda: Talk.objects.get())
    assert stored.ended_reason == "customer-ended-call"


async def test_nonsense_closes_the_socket_at_last(desk: Desk) -> None:
    talk = await in_database(desk.start)
    page = Browser(await desk.open(path_of(talk)))
    for _ in range(20):
        await page.socket.send('{"event":"media"}')
    await until(lambda: page.of("ended"), what="the end")
    await page.leave()
    assert len(page.of("ended")) == 1


Change = Callable[[Desk, Talk], dict[str, Any] | None]


def _wrong_token(desk: Desk, talk: Talk) -> dict[str, Any]:
    return {"path": f"/web/media/{talk.pk}/{'x' * 32}"}


def _another_talks_token(desk: Desk, talk: Talk) -> dict[str, Any]:
    return {"path": f"/web/media/{talk.pk}/{talk_token(desk.start())}"}


def _unknown_talk(desk: Desk, talk: Talk) -> dict[str, Any]:
    return {"path": f"/web/media/00000000-0000-4000-8000-0000000000ff/{talk_token(talk)}"}


def _other_user(desk: Desk, talk: Talk) -> dict[str, Any]:
    return {"cookie": cookie_of(factories.make_staff(talk.organisation, RIGHTS))}


def _nobody(desk: Desk, talk: Talk) -> dict[str, Any]:
    return {"cookie": ""}


def _wrong_origin(desk: Desk, talk: Talk) -> dict[str, Any]:
    return {"origin": "https://evil.example"}


def _other_port(desk: Desk, talk: Talk) -> dict[str, Any]:
    return {"origin": "http://127.0.0.1:1"}


def _no_origin(desk: Desk, talk: Talk) -> dict[str, Any]:
    return {"origin": None}


def _expired(desk: Desk, talk: Talk) -> None:
    Talk.objects.update(token_expires_at=timezone.now() - dt.timedelta(seconds=1))


def _permission_gone(desk: Desk, talk: Talk) -> None:
    desk.user.user_permissions.clear()


def _membership_gone(desk: Desk, talk: Talk) -> None:
    desk.user.memberships.all().delete()


def _tools_permission_missing(desk: Desk, talk: Talk) -> None:
    Talk.objects.update(calls_tools=True)


def _signed_out(desk: Desk, talk: Talk) -> None:
    SessionStore(desk.cookie.removeprefix("sessionid=")).delete()


def _assistant_deleted(desk: Desk, talk: Talk) -> None:
    type(desk.revision.assistant).objects.update(deleted_at=timezone.now())


CHANGES: tuple[Change, ...] = (
    *(_wrong_token, _another_talks_token, _unknown_talk, _other_user, _nobody),
    *(_wrong_origin, _other_port, _no_origin, _expired, _permission_gone),
    *(_membership_gone, _tools_permission_missing, _signed_out, _assistant_deleted),
)


async def test_a_handshake_without_proof_is_refused(desk: Desk) -> None:
    """Each lack alone: everything else about the handshake is right."""
    for change in CHANGES:
        await in_database(desk.make)
        talk = await in_database(desk.start)
        options = await in_database(change, desk, talk) or {}
        path = options.pop("path", path_of(talk))
        assert await desk.refused(path, **options) == 403, change.__name__
    assert not await in_database(lambda: Talk.objects.filter(token_used_at__isnull=False).exists())
    assert not desk.rig.model_sessions


async def test_a_token_opens_one_socket(desk: Desk) -> None:
    talk = await in_database(desk.start)
    socket = await desk.open(path_of(talk))
    assert await desk.refused(path_of(talk)) == 403
    await socket.close()
    await until(lambda: not live.active_count(), what="the end of the talk")
    assert await desk.refused(path_of(talk)) == 403


async def test_a_start_is_audited(desk: Desk) -> None:
    talk = await in_database(desk.start)
    entry = await in_database(lambda: AuditEntry.objects.get(action="talk.start"))
    assert entry.actor == f"user:{desk.user.username}"
    assert entry.details["talk"] == str(talk.pk)
    assert entry.details["calls_tools"] is False
