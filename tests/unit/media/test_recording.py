"""The record of a stream: its way back into a bridge, with audio and without."""

from __future__ import annotations

import asyncio
import base64

import pytest
from hypothesis import given
from hypothesis import strategies as st

from calls.bridge.effects import DispatchTool
from calls.media import recording
from calls.media.recording import Recorder, plan_of, records, replay, with_silence, without_audio
from calls.services.call_fixture import redacted_record
from calls.wire.vapi_control import Control
from tests.unit.media.fakes import Stage, plan
from tools.spec import ToolResult

pytestmark = pytest.mark.unit

VOICE = base64.b64encode(bytes(range(160))).decode()


async def _recorded(*, keep_audio: bool) -> str:
    stage = Stage(keep_audio=keep_audio)
    await stage.ready()
    for number in range(5):
        stage.media(bytes([number]) * 160)
    stage.speaks(b"\x21" * 1600)
    stage.delta(b"\x22" * 1600)
    stage.says("response.output_audio_transcript.delta", response_id="r1", item_id="i1",
               output_index=0, content_index=0, delta="Hello there friend")  # fmt: skip
    stage.calls_tool()
    await stage.settle(200)
    stage.stop()
    await asyncio.wait_for(stage.run, 5)
    return "".join(stage.journal.pieces)


@pytest.mark.parametrize("keep_audio", [True, False])
async def test_a_record_replays_to_the_letter(keep_audio: bool) -> None:
    record = await _recorded(keep_audio=keep_audio)
    assert replay(record) == record
    assert plan_of(record) == (plan(), keep_audio)


async def test_a_record_replays_what_a_person_commanded() -> None:
    stage = Stage()
    await stage.ready()
    assert stage.driver.control(Control("say", "We close at five.")) == ""
    assert stage.driver.control(Control("mute-customer")) == ""
    stage.media(bytes(160))
    await stage.settle()
    assert stage.driver.control(Control("end-call")) == ""
    assert stage.driver.control(Control("say", "Too late.")) == "The call is ending."
    await stage.settle(200)
    assert "hang up" in stage.log
    stage.stop()
    await asyncio.wait_for(stage.run, 5)
    record = "".join(stage.journal.pieces)
    assert [kind for kind, _, _ in records(record)].count(recording.CONTROL) == 4
    assert any("We close at five." in body for kind, _, body in records(record) if kind == "r")
    assert replay(record) == record
    hidden = redacted_record(record)
    assert "close" not in hidden and '"kind": "say"' in hidden


async def test_a_record_replays_what_a_tool_server_wants_said() -> None:
    stage = Stage()
    message = {"type": "request-complete", "content": "You are booked."}

    async def booked(effect: DispatchTool) -> ToolResult:
        return ToolResult("Booked.", messages=(message,), sent=effect.name != "nothing")

    stage.tool = booked
    await stage.ready()
    stage.calls_tool()
    await stage.settle(200)
    stage.stop()
    await asyncio.wait_for(stage.run, 5)
    record = "".join(stage.journal.pieces)
    assert any("You are booked." in body for kind, _, body in records(record) if kind == "r")
    assert replay(record) == record
    assert replay(record.replace("You are booked.", "You are hooked.", 1)) != record


async def test_a_record_without_audio_holds_no_payload_but_the_words() -> None:
    record = await _recorded(keep_audio=False)
    for audio in (b"\x21" * 1600, b"\x22" * 1600, b"\x03" * 160):
        text = base64.b64encode(audio).decode()
        assert text not in record
        assert text[:12] not in record
    assert '"payload":"#160"' in record.replace(" ", "")
    assert "Hello there friend" in record


async def test_a_record_with_audio_holds_the_inputs_and_digests_of_outputs() -> None:
    record = await _recorded(keep_audio=True)
    inputs = [body for kind, _, body in records(record) if kind in "TR"]
    outputs = [body for kind, _, body in records(record) if kind in "tr"]
    voice = base64.b64encode(b"\x03" * 160).decode()
    assert any(voice in body for body in inputs)
    assert not any(voice in body for body in outputs)


@pytest.mark.parametrize("keep_audio", [True, False])
async def test_the_mutant_with_one_changed_byte_shows_a_difference(keep_audio: bool) -> None:
    record = await _recorded(keep_audio=keep_audio)
    if keep_audio:
        voice = base64.b64encode(b"\x03" * 160).decode()
        changed = record.replace(voice, base64.b64encode(b"\x03" * 159 + b"\x04").decode(), 1)
    else:
        changed = record.replace('"call_1"', '"call_2"', 1)
    assert len(changed) == len(record)
    assert changed != record
    assert replay(changed) != changed


async def test_a_damaged_record_is_named() -> None:
    record = await _recorded(keep_audio=False)
    for damaged in (record[:-5], record[3:], "T 1 2\n{}\n", "nonsense", "P 0 2\n{}\n"):
        with pytest.raises((ValueError, KeyError)):
            replay(damaged)
    unknown = record + "Z 5 0\n\n"
    with pytest.raises(ValueError, match="unknown input"):
        replay(unknown)


def test_a_record_is_bounded_and_says_that_it_was_cut(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(recording, "MAX_RECORD_CHARS", 5_000)
    pieces: list[str] = []
    recorder = Recorder(plan(), keep_audio=False, store=pieces.append)
    for number in range(100):
        recorder.input(recording.TWILIO, number, "x" * 500)
    recorder.flush()
    text = "".join(pieces)
    assert recorder.truncated
    assert len(text) < 10_000
    assert [kind for kind, _, _ in records(text)][-1] == recording.TRUNCATED


def test_pieces_are_handed_out_when_full(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(recording, "CHUNK_CHARS", 1_000)
    pieces: list[str] = []
    recorder = Recorder(plan(), keep_audio=False, store=pieces.append)
    for number in range(10):
        recorder.input(recording.TWILIO, number, "x" * 300)
    assert len(pieces) >= 3
    recorder.flush()
    recorder.flush()
    assert sum(1 for _ in records("".join(pieces))) == 11


@given(st.binary(min_size=6, max_size=400))
def test_size_survives_the_way_out_and_back(audio: bytes) -> None:
    payload = base64.b64encode(audio).decode()
    for text in (
        f'{{"event":"media","media":{{"payload":"{payload}"}}}}',
        f'{{"type":"response.output_audio.delta","delta":"{payload}"}}',
        f'{{"type": "input_audio_buffer.append", "audio": "{payload}"}}',
    ):
        bare = without_audio(text)
        assert payload not in bare
        assert without_audio(with_silence(bare)) == bare
        assert with_silence(bare).count("/") >= len(audio)


@given(st.text())
def test_other_texts_come_back_unchanged(text: str) -> None:
    if not any(mark in text for mark in recording._AUDIO_MARKS):
        assert without_audio(text) == text


def test_words_in_a_delta_are_not_taken_for_audio() -> None:
    text = f'{{"type":"response.output_audio_transcript.delta","delta":"{VOICE}"}}'
    assert without_audio(text) == text


@given(st.lists(st.tuples(st.sampled_from("TRtreK"), st.integers(0, 10**9), st.text())))
def test_records_are_read_as_they_were_written(entries: list[tuple[str, int, str]]) -> None:
    text = "".join(f"{kind} {at} {len(body)}\n{body}\n" for kind, at, body in entries)
    assert list(records(text)) == entries
