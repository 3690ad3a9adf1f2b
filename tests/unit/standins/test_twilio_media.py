"""The Twilio media stand-in follows twilio.md 3 and 6.4: frames, playback clock, strict checks."""

from __future__ import annotations

import base64
import json
import re
from typing import Any

import pytest

from calls.standins.caller import CallerStep, hang_up, say, say_over
from calls.standins.peer import Close, Send
from calls.standins.playout import MarkEcho, Playout
from calls.standins.tones import ToneDecoder, encode, silence
from calls.standins.twilio_media import MediaProfile, TwilioMediaPeer
from tests.contract import ContractError, check_twilio_inbound

from .helpers import ACCOUNT_SID, CALL_SID, STREAM_SID

pytestmark = pytest.mark.unit


class Line:
    """A media peer driven by hand; everything it sends is checked and kept."""

    def __init__(self, *script: CallerStep, opened: bool = True, **profile: Any) -> None:
        self.peer = TwilioMediaPeer(
            ACCOUNT_SID, CALL_SID, STREAM_SID, {"tok": "t"}, script, MediaProfile(**profile)
        )
        self.sent: list[dict[str, Any]] = []
        self.raw: list[str] = []
        self.closes: list[Close] = []
        self.now_ms = 1000
        if opened:
            self.peer.opened(self.now_ms)

    def run(self, for_ms: int) -> list[dict[str, Any]]:
        """Let time pass and return what was sent."""
        self.now_ms += for_ms
        self.peer.tick(self.now_ms)
        return self.collect()

    def collect(self) -> list[dict[str, Any]]:
        fresh = []
        for output in self.peer.drain():
            if isinstance(output, Close):
                self.closes.append(output)
                continue
            assert isinstance(output, Send)
            assert isinstance(output.data, str)
            message = json.loads(output.data)
            check_twilio_inbound(message)
            self.raw.append(output.data)
            fresh.append(message)
        self.sent += fresh
        return fresh

    def send(self, kind: str, body: dict[str, Any] | None = None, **extra: Any) -> None:
        message: dict[str, Any] = {"event": kind, "streamSid": STREAM_SID, **extra}
        if body is not None:
            message[kind] = body
        self.peer.receive(json.dumps(message), self.now_ms)

    def play(self, audio: bytes) -> None:
        self.send("media", {"payload": base64.b64encode(audio).decode()})

    def mark(self, name: str) -> None:
        self.send("mark", {"name": name})


def names(messages: list[dict[str, Any]]) -> list[str]:
    return [message["mark"]["name"] for message in messages if message["event"] == "mark"]


def events(messages: list[dict[str, Any]]) -> list[str]:
    return [message["event"] for message in messages]


def test_connected_start_media_with_string_counters() -> None:
    line = Line()
    sent = line.run(100)
    assert events(sent) == ["connected", "start", *["media"] * 5]
    assert [m["sequenceNumber"] for m in sent[1:]] == ["1", "2", "3", "4", "5", "6"]
    assert [m["media"]["chunk"] for m in sent[2:]] == ["1", "2", "3", "4", "5"]
    assert [m["media"]["timestamp"] for m in sent[2:]] == ["0", "20", "40", "60", "80"]
    assert base64.b64decode(sent[2]["media"]["payload"]) == b"\xff" * 160
    assert sent[1]["start"]["customParameters"] == {"tok": "t"}


def test_frames_keep_an_absolute_clock_when_ticked_late() -> None:
    line = Line()
    line.run(0)
    assert len(line.run(1010)) == 50
    assert line.peer.next_deadline_ms() == line.now_ms + 10


def test_nothing_happens_before_opened() -> None:
    line = Line(opened=False)
    assert line.run(1000) == []
    assert line.peer.next_deadline_ms() is None


def test_caller_words_are_in_the_frames() -> None:
    line = Line(say("Hello", wait="ms", wait_ms=100), hang_up(wait="ms", wait_ms=100))
    sent = line.run(3000)
    audio = b"".join(base64.b64decode(m["media"]["payload"]) for m in sent if m["event"] == "media")
    assert [heard.text for heard in ToneDecoder().feed(audio)] == ["Hello"]
    assert events(sent)[-1] == "stop"
    assert line.closes == [Close(1000)]
    assert line.peer.said == ["Hello"]
    assert line.run(1000) == []


def test_marks_come_back_when_played_and_at_once_when_nothing_is_queued() -> None:
    line = Line()
    line.mark("first")
    assert names(line.run(0)) == ["first"]
    line.play(silence(95))
    line.mark("second")
    line.play(silence(5))
    line.mark("third")
    assert line.peer.next_deadline_ms() == line.now_ms + 20
    assert names(line.run(94)) == []
    assert line.peer.next_deadline_ms() == line.now_ms + 1
    assert names(line.run(1)) == ["second"]
    assert names(line.run(5)) == ["third"]
    assert [echo.at_ms for echo in line.peer.echoes] == [1000, 1095, 1100]


def test_t10_clear_echoes_all_pending_marks_at_once_as_cleared() -> None:
    line = Line()
    line.play(encode("hello"))
    line.mark("a")
    line.play(silence(500))
    line.mark("b")
    line.run(100)
    line.send("clear")
    assert names(line.run(0)) == ["a", "b"]
    assert [echo.cleared for echo in line.peer.echoes] == [True, True]
    assert line.peer.played_bytes == 800
    assert line.peer.cleared_bytes == len(encode("hello")) + 4000 - 800
    line.run(100)
    assert [(h.text, h.complete) for h in line.peer.heard] == [("hel", False)]


def test_played_audio_is_heard_with_its_time() -> None:
    line = Line()
    line.run(500)
    line.play(encode("hi"))
    line.play(encode("you"))
    line.run(1000)
    assert line.peer.heard_texts == ["hi", "you"]
    assert [m.at_ms for m in line.peer.timeline if m.kind == "heard"] == [1660, 1840]


@pytest.mark.parametrize(
    ("message", "code"),
    [
        (b"\x00", 31950),
        ("{", 31951),
        ("[]", 31951),
        ('{"event":"stop"}', 31951),
        ({"event": "media", "media": {"payload": "/w=="}}, 31951),
        ({"event": "media", "streamSid": "MZx", "media": {"payload": "/w=="}}, 31951),
        ({"event": "media", "streamSid": STREAM_SID, "media": {"payload": "!"}}, 31951),
        ({"event": "media", "streamSid": STREAM_SID, "media": {"payload": ""}}, 31951),
        ({"event": "media", "streamSid": STREAM_SID, "media": {}}, 31951),
        ({"event": "mark", "streamSid": STREAM_SID}, 31951),
        ({"event": "mark", "streamSid": STREAM_SID, "mark": {}}, 31951),
        ({"event": "mark", "streamSid": STREAM_SID, "mark": {"name": 1}}, 31951),
        ({"event": "clear", "streamSid": STREAM_SID, "sequenceNumber": "1"}, 31951),
    ],
)
def test_bad_messages_are_warned_about_once(message: Any, code: int) -> None:
    line = Line()
    frame = json.dumps(message) if isinstance(message, dict) else message
    for _ in range(2):
        line.peer.receive(frame, line.now_ms)
    assert [warned.code for warned in line.peer.warnings] == [code]
    assert len(line.peer.violations) == 2
    assert events(line.run(20)) == ["connected", "start", "media"]


def test_sending_on_a_unidirectional_stream_is_31924() -> None:
    line = Line(unidirectional=True)
    line.play(silence(20))
    assert [warned.code for warned in line.peer.warnings] == [31924]


def test_dtmf_is_one_message_per_key() -> None:
    line = Line(CallerStep("dtmf", "5#", wait="ms"))
    sent = line.run(40)
    assert [m["dtmf"]["digit"] for m in sent if m["event"] == "dtmf"] == ["5", "#"]


def test_t22_close_without_stop() -> None:
    line = Line(close_without_stop=True)
    line.peer.caller_hang_up(line.now_ms + 50)
    assert "stop" not in events(line.collect())
    assert line.closes == [Close(1006)]


def test_gap_frames_jump_the_timestamp_only() -> None:
    sent = Line(gap_frames=(2, 3)).run(140)[2:]
    assert [m["media"]["timestamp"] for m in sent] == ["0", "20", "100", "120"]
    assert [m["media"]["chunk"] for m in sent] == ["1", "2", "3", "4"]


def test_not_reading_keeps_messages_back() -> None:
    line = Line(pause_reading=(0, 2000))
    line.mark("waits")
    assert names(line.run(1990)) == []
    assert not line.peer.reads(line.now_ms)
    assert names(line.run(40)) == ["waits"]


def test_stop_variants_and_duplicate_start() -> None:
    at_once = Line(stop_at_once=True)
    assert events(at_once.collect()) == ["connected", "start", "stop"]
    assert at_once.closes == [Close(1000)]
    twice = Line(stop_twice=True, duplicate_start=True)
    twice.peer.caller_hang_up(twice.now_ms)
    assert events(twice.collect()) == ["connected", "start", "start", "stop", "stop"]


def test_reordered_keys_are_the_same_message() -> None:
    plain, odd = Line(), Line(reordered_keys=True)
    assert plain.run(60) == odd.run(60)
    assert plain.raw != odd.raw


def test_late_marks_come_later() -> None:
    line = Line(late_mark_ms=250)
    line.mark("x")
    assert names(line.run(249)) == []
    assert names(line.run(1)) == ["x"]


def test_hang_up_while_a_mark_is_pending() -> None:
    line = Line(hang_up(wait="mark_pending"))
    line.run(500)
    line.play(silence(1000))
    line.mark("never")
    assert events(line.run(40))[-1] == "stop"
    assert line.peer.pending_marks == ["never"]
    assert line.peer.ended_by == "caller"


def test_rest_end_stops_and_later_messages_are_ignored() -> None:
    line = Line()
    line.play(encode("hello")[:800])
    line.peer.call_ended_by_rest(line.now_ms + 200)
    assert line.peer.ended_by == "rest"
    assert events(line.collect())[-1] == "stop"
    assert line.peer.heard_texts == ["hel"]
    line.peer.receive("{", line.now_ms + 300)
    assert line.peer.warnings == []


def test_server_close_ends_the_stream_without_stop() -> None:
    line = Line()
    line.peer.peer_closed(line.now_ms + 30)
    assert line.peer.ended_by == "server"
    assert events(line.collect()) == ["connected", "start", "media"]


def test_what_got_no_answer_is_said_again_on_the_next_stream() -> None:
    steps = [say("One?", wait="ms", wait_ms=0), say("Two?"), hang_up()]
    line = Line(*steps)
    line.run(60)
    assert [step.text for step in line.peer.remaining_steps] == ["One?", "Two?", ""]
    line.run(2_000)
    line.play(encode("First."))
    line.run(3_000)
    assert line.peer.heard_texts == ["First."]
    # The answer has come and the caller went on; the second question is now the one in the air.
    assert line.peer.said == ["One?", "Two?"]
    line.peer.peer_closed(line.now_ms)
    assert [step.text for step in line.peer.remaining_steps] == ["Two?", ""]


def test_what_was_answered_is_not_said_again() -> None:
    line = Line(say("One?", wait="ms", wait_ms=0), say("Two?", wait="ms", wait_ms=60_000))
    line.run(2_000)
    line.play(encode("First."))
    line.run(3_000)
    line.peer.peer_closed(line.now_ms)
    assert [step.text for step in line.peer.remaining_steps] == ["Two?"]


def test_an_answer_that_was_interrupted_answers_nothing_when_the_line_is_lost() -> None:
    line = Line(say("One?", wait="ms", wait_ms=0), say_over("Wait!", 200))
    line.run(1_000)
    line.play(encode("A very long answer to this."))
    line.run(400)
    assert line.peer.said == ["One?", "Wait!"]
    line.peer.peer_closed(line.now_ms)
    assert not line.peer.heard[-1].complete
    assert [step.text for step in line.peer.remaining_steps] == ["Wait!"]


def test_who_is_asked_to_repeat_says_it_before_the_next_step_as_often_as_that() -> None:
    again = (re.compile("say again"), "I said one.")
    other = (re.compile("never asked"), "Two.")
    line = Line(say("One.", wait="ms", wait_ms=0), hang_up(retorts=(other, again)))
    line.run(1_000)
    for _ in range(2):
        line.play(encode("Please say again."))
        line.run(2_000)
    assert line.peer.said == ["One.", "I said one.", "I said one."]
    assert line.peer.ended_by is None
    line.play(encode("Thank you."))
    line.run(1_000)
    assert line.peer.ended_by == "caller"


def test_maximum_length_ends_the_call() -> None:
    line = Line(max_call_ms=1000)
    assert events(line.run(5000))[-1] == "stop"
    assert line.peer.ended_by == "script"


def test_caller_waits_for_silence_of_the_agent() -> None:
    line = Line(say("Hello?", wait="silence_ms", wait_ms=400))
    line.play(silence(300))
    line.run(640)
    assert line.peer.said == []
    line.run(100)
    assert line.peer.said == ["Hello?"]


@pytest.mark.parametrize("mutant", ["undeclared_key", "number_counters"])
def test_shape_mutants_break_the_contract(mutant: str) -> None:
    with pytest.raises(ContractError):
        Line(mutant=mutant).run(40)


def test_mark_early_mutant_echoes_before_playback() -> None:
    line = Line(mutant="mark_early")
    line.play(silence(500))
    line.mark("x")
    assert names(line.run(0)) == ["x"]


def test_playout_plays_in_order_and_reports_silence() -> None:
    heard = bytearray()
    line = Playout(0, heard.extend)
    line.add_audio(b"\x01" * 16)
    assert line.add_mark("a") == []
    line.add_audio(b"\x02" * 16)
    assert line.queued_ms == 4
    assert line.next_mark_ms() == 2
    assert line.advance(3) == [MarkEcho("a", 2, False)]
    assert line.silent_ms(3) == 0
    assert line.advance(10) == []
    assert bytes(heard) == b"\x01" * 16 + b"\x02" * 16 + b"\xff" * 48
    assert line.silent_ms(10) == 6
    assert line.clear() == []
    assert line.next_mark_ms() is None
