"""The talk page's framing: what is read, what is refused, and the browser in Twilio's place."""

from __future__ import annotations

import asyncio
import base64
import json
from collections import deque
from typing import Any

import pytest

from calls.web.frames import WebFrames
from calls.wire import twilio_media
from calls.wire.web_media import (
    FRAME_BYTES,
    MAX_AUDIO_BYTES,
    Audio,
    Key,
    Played,
    Stop,
    WebWireError,
    page_text,
    read,
)

pytestmark = pytest.mark.unit

SID = "MZ" + "a" * 32


def test_the_pages_messages_are_read() -> None:
    assert read(b"\x55" * FRAME_BYTES) == Audio(b"\x55" * FRAME_BYTES)
    assert read('{"type":"played","name":"m1"}') == Played("m1")
    assert read('{"type":"key","digit":"#"}') == Key("#")
    assert read('{"type":"stop"}') == Stop()


@pytest.mark.parametrize(
    "frame",
    [
        *(b"", b"\x55" * (MAX_AUDIO_BYTES + 1), "", "{", "null", "[]", "7", '"stop"', "{}"),
        *('{"type":"start"}', '{"event":"stop"}', '{"type":"played"}', '{"type":["stop"]}'),
        *('{"type":"key"}', '{"type":"key","digit":"12"}', '{"type":"key","digit":""}'),
        *('{"type":"key","digit":"A"}', '{"type":"key","digit":5}'),
        *('{"type":"played","name":7}', '{"type":"played","name":""}'),
        json.dumps({"type": "played", "name": "x" * 101}),
        "[" * 150,
        '{"type":"stop"' + " " * 200 + "}",
    ],
)
def test_anything_else_is_refused(frame: str | bytes) -> None:
    with pytest.raises(WebWireError):
        read(frame)


def test_what_is_shown_can_hold_any_text() -> None:
    text = page_text("turn", {"text": '\ud800 </script>\u2028 "'})
    assert text.isascii()
    assert json.loads(text) == {"type": "turn", "text": '\ud800 </script>\u2028 "'}


class Page:
    """A browser's end of the socket."""

    def __init__(self, *frames: str | bytes) -> None:
        self.frames = deque(frames)
        self.sent: list[Any] = []
        self.gone = False

    async def receive(self) -> Any:
        if not self.frames:
            await asyncio.Event().wait()
        frame = self.frames.popleft()
        if frame == "gone":
            return {"type": "websocket.disconnect", "code": 1001}
        key = "bytes" if isinstance(frame, bytes) else "text"
        return {"type": "websocket.receive", key: frame}

    async def send(self, message: Any) -> None:
        if self.gone:
            raise OSError("the browser is gone")
        self.sent.append(message)

    def socket(self) -> WebFrames:
        return WebFrames(self.receive, self.send, stream_sid=SID, call_sid="w", account_sid="web")


async def told(frames: WebFrames, count: int) -> list[Any]:
    """Return the next messages, parsed."""
    found = [await frames.receive() for _ in range(count)]
    return [json.loads(each) if each else each for each in found]


async def test_the_bridge_meets_the_carriers_messages() -> None:
    sound = bytes(range(160))
    page = Page(sound, sound, '{"type":"played","name":"m1"}', '{"type":"stop"}')
    messages = await told(page.socket(), 7)
    kinds = [message and message["event"] for message in messages]
    assert kinds == ["connected", "start", "media", "media", "mark", "stop", None]
    assert [message["sequenceNumber"] for message in messages[1:6]] == list("12345")
    start = twilio_media.start_of(messages[1])
    assert (start.stream_sid, start.call_sid, start.account_sid) == (SID, "w", "web")
    assert (start.encoding, start.sample_rate_hz) == ("audio/x-mulaw", 8000)
    assert twilio_media.media_payload(messages[2]) == (base64.b64encode(sound).decode(), 160)
    assert messages[3]["media"]["timestamp"] == "20"
    assert twilio_media.mark_name(messages[4]) == "m1"


async def test_a_key_is_the_carriers_key() -> None:
    *_, key = await told(Page('{"type":"key","digit":"0"}').socket(), 3)
    assert (key["event"], twilio_media.dtmf_digit(key)) == ("dtmf", "0")


async def test_a_page_that_is_gone_has_hung_up() -> None:
    *_, stop, nothing = await told(Page("gone").socket(), 4)
    assert (stop["event"], nothing) == ("stop", None)


async def test_a_hang_up_ends_a_line_on_which_nobody_speaks() -> None:
    frames = Page().socket()
    await told(frames, 2)
    waiting = asyncio.create_task(frames.receive())
    await asyncio.sleep(0)
    await frames.hang_up()
    stop = await waiting
    assert isinstance(stop, str) and json.loads(stop)["event"] == "stop"
    assert await frames.receive() is None


async def test_a_closed_line_is_silent_and_can_still_say_how_it_ended() -> None:
    page = Page(b"\x55" * 160)
    frames = page.socket()
    await told(frames, 2)
    await frames.close(1000)
    assert await frames.receive() is None
    frames.tell("turn", {"text": "last"})
    await frames.leave({"ended_reason": "x"})
    shown = [json.loads(each["text"])["type"] for each in page.sent[:-1]]
    assert shown == ["turn", "ended"]
    assert page.sent[-1] == {"type": "websocket.close", "code": 1000, "reason": ""}


async def test_nonsense_reaches_the_bridge_as_nothing_that_it_could_take_for_a_message() -> None:
    frames = Page('{"event":"stop"}', '{"event":"media","media":{"payload":"AAAA"}}').socket()
    assert (await told(frames, 4))[2:] == [b"", b""]


async def test_the_bridges_messages_become_the_pages() -> None:
    page = Page()
    frames = page.socket()
    writer = twilio_media.StreamWriter(SID)
    for text in (writer.media("/////w=="), writer.mark("m1"), writer.clear()):
        await frames.send(text)
    assert page.sent[0]["bytes"] == b"\xff" * 4
    assert [json.loads(each["text"]) for each in page.sent[1:]] == [
        {"type": "mark", "name": "m1"},
        {"type": "clear"},
    ]


async def test_a_browser_that_vanishes_is_no_error() -> None:
    page = Page()
    page.gone = True
    frames = page.socket()
    await frames.send(twilio_media.StreamWriter(SID).clear())
    frames.tell("turn", {})
    await frames.leave({})
    assert page.sent == []
