"""A Realtime server without a socket: the whole protocol of openai_realtime.md 1 to 7 as far as a
telephone bridge can meet it. Time is an argument; outputs are drained. It must not import our
bridge, open anything, or use a clock or unseeded randomness: it is an independent judge of it.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from calls.standins.peer import Output, Refuse
from calls.standins.realtime_beta import client_event_to_ga
from calls.standins.realtime_brain import Brain, ToolOutput
from calls.standins.realtime_client_items import parse_item
from calls.standins.realtime_connect import fatal_fault, refusal_status, requested_model
from calls.standins.realtime_core import error_type
from calls.standins.realtime_input import MIN_COMMIT_MS, decode_append
from calls.standins.realtime_items import Item
from calls.standins.realtime_profile import RealtimeProfile
from calls.standins.realtime_responding import RespondingCore
from calls.standins.realtime_session import (
    ClientError,
    apply_session_update,
    default_session,
)
from calls.standins.realtime_vad import SpeechStarted, SpeechStopped

_CLIENT_KEYS: dict[str, frozenset[str]] = {
    "session.update": frozenset({"session"}),
    "input_audio_buffer.append": frozenset({"audio"}),
    "input_audio_buffer.commit": frozenset(),
    "input_audio_buffer.clear": frozenset(),
    "conversation.item.create": frozenset({"item", "previous_item_id"}),
    "conversation.item.retrieve": frozenset({"item_id"}),
    "conversation.item.truncate": frozenset({"item_id", "content_index", "audio_end_ms"}),
    "conversation.item.delete": frozenset({"item_id"}),
    "response.create": frozenset({"response"}),
    "response.cancel": frozenset({"response_id"}),
}
_OPTIONAL_KEYS = frozenset({"previous_item_id", "response", "response_id"})
DEFAULT_QUERY = {"model": "gpt-realtime-2.1"}
DEFAULT_HEADERS = {"authorization": "Bearer sk-standin"}


@dataclass(frozen=True, slots=True)
class Truncation:
    """A truncate that was accepted; `had_ms` is what the item held before."""

    item_id: str
    audio_end_ms: int
    had_ms: int
    at_ms: int


class RealtimePeer(RespondingCore):
    """One Realtime session as a server runs it."""

    def __init__(
        self,
        profile: RealtimeProfile | None = None,
        brain: Brain | None = None,
        *,
        id_seed: str = "0",
        epoch_seconds: int = 1_800_000_000,
    ) -> None:
        super().__init__(profile, brain, id_seed=id_seed, epoch_seconds=epoch_seconds)
        self.truncations: list[Truncation] = []
        self.undecodable_bytes = 0
        self.appended_before_configured_bytes = 0
        self._configured = False
        self._refusable = 0  # events of profile.refuse_event so far
        self._speech_item_id: str | None = None
        self._speech_start_ms = 0

    # -- shell side ---------------------------------------------------------------------------

    def opened(
        self,
        now_ms: int,
        url_query: Mapping[str, str] | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> None:
        """Take the upgrade request (header names in lower case); the first output may be Refuse."""
        query = DEFAULT_QUERY if url_query is None else url_query
        given = DEFAULT_HEADERS if headers is None else headers
        self._now_ms = now_ms
        refusal = refusal_status(self.profile, query, given)
        if refusal is not None:
            self._out.append(Refuse(refusal))
            self.closed = True
            return
        fatal = fatal_fault(self.profile, query, given)
        if fatal is not None:
            self._error(fatal.code, fatal.message, None, None)
            self.close(fatal.close_code, f"{error_type(fatal.code)}.{fatal.code}")
            return
        if query.get("ear") == "air":  # ours: who speaks has a microphone
            self._input.listen_by_ear()
        self.session = default_session(
            self.new_id("sess"),
            requested_model(query),
            self._epoch_seconds + (now_ms + self.profile.max_session_ms) // 1000,
        )
        self._at(self.profile.max_session_ms, self._expire)
        if self.profile.lose_at == "ms":
            self._at(self.profile.lose_after, lambda: self.lose(self.profile.lose_code))
        if self.profile.error_at == "ms":
            self._at(self.profile.error_after, self.break_down)
        if not self.profile.never_created:
            self._at(self.profile.created_delay_ms, self._send_created)

    def receive(self, frame: str | bytes, now_ms: int) -> None:
        """Take one client frame; never raises on its content."""
        self.tick(now_ms)
        if self.closed:
            return
        if isinstance(frame, bytes):
            self._error("invalid_event", "Binary frames are not supported.", None, None)
            return
        event_id = None
        try:
            event = self._parse(frame)
            event_id = event.get("event_id")
            if self.profile.dialect == "beta":
                event = client_event_to_ga(event)
            self._check_keys(event)
            self._refuse(event["type"])
            self._handle(event)
        except ClientError as error:
            self._error(error.code, error.message, error.param, event_id)

    def tick(self, now_ms: int) -> None:
        """Run everything that is due up to `now_ms`, each at its own time."""
        while not self.closed and (due := self._timers.pop_due(now_ms)) is not None:
            self._now_ms = max(self._now_ms, due[0])
            due[1]()
        self._now_ms = max(self._now_ms, now_ms)

    def next_deadline_ms(self) -> int | None:
        """Return when `tick` has work next; None: never."""
        return None if self.closed else self._timers.next_ms()

    def drain(self) -> list[Output]:
        """Return and forget what is to be sent, in order."""
        out, self._out = self._out, []
        return out

    def peer_closed(self, now_ms: int) -> None:
        """Note that the client's socket is gone; nothing is sent afterwards."""
        self._now_ms = now_ms
        self.closed = True
        self._timers.clear()

    # -- events in ----------------------------------------------------------------------------

    def _parse(self, frame: str) -> dict[str, Any]:
        try:
            event = json.loads(frame)
        except ValueError:
            raise ClientError("invalid_json", "We could not parse the JSON body.") from None
        if not isinstance(event, dict):
            raise ClientError("invalid_json", "An object is expected.")
        return event

    def _check_keys(self, event: dict[str, Any]) -> None:
        kind = event.get("type")
        if not isinstance(kind, str) or kind not in _CLIENT_KEYS:
            known = ", ".join(sorted(_CLIENT_KEYS))
            raise ClientError("invalid_value", f"Invalid value: {kind!r}. One of {known}.", "type")
        for key in event:
            if key not in _CLIENT_KEYS[kind] and key not in ("type", "event_id"):
                raise ClientError("unknown_parameter", f"Unknown parameter: '{key}'.", key)
        for key in _CLIENT_KEYS[kind] - _OPTIONAL_KEYS:
            if key not in event:
                raise ClientError(
                    "missing_required_parameter", f"Missing required parameter: '{key}'.", key
                )

    def _refuse(self, kind: str) -> None:
        if kind != self.profile.refuse_event:
            return
        number, first = self._refusable, self.profile.refuse_after
        self._refusable += 1
        times = self.profile.refuse_times
        if number >= first and (times is None or number < first + times):
            code = self.profile.refuse_code
            raise ClientError(code, self._message_of(code))

    def _handle(self, event: dict[str, Any]) -> None:
        kind = event["type"]
        if kind == "input_audio_buffer.append":
            self._append(event["audio"])
        elif kind == "session.update":
            self._update(event)
        elif kind == "input_audio_buffer.commit":
            self._commit_by_hand()
        elif kind == "input_audio_buffer.clear":
            self._input.clear()
            self._speech_item_id = None
            self.emit("input_audio_buffer.cleared")
        elif kind == "conversation.item.create":
            self._create_item(event)
        elif kind == "conversation.item.retrieve":
            item = self._item(event["item_id"], "item_retrieve_invalid_item_id")
            self.emit("conversation.item.retrieved", item=item.render())
        elif kind == "conversation.item.delete":
            item = self._item(event["item_id"], "item_delete_invalid_item_id")
            self.conversation.remove(item)
            self.emit("conversation.item.deleted", item_id=item.item_id)
        elif kind == "conversation.item.truncate":
            self._truncate(event)
        elif kind == "response.create":
            self._create_response(event.get("response") or {})
        else:
            self._cancel(event.get("response_id"))

    def _update(self, event: dict[str, Any]) -> None:
        if self.profile.reject_update:
            raise ClientError(
                "unknown_parameter", "Unknown parameter: 'session.audio'.", "session.audio"
            )
        updated = apply_session_update(
            self.session, event["session"], voice_frozen=self._voice_used
        )
        if any(updated[key] != self.session[key] for key in ("instructions", "tools")):
            self.conversation.bust_cache()
        self.session = updated
        self._configured = True
        turn = updated["audio"]["input"]["turn_detection"]
        if turn is not None:
            self._input.vad.configure(turn)
        if not self.profile.never_updated:
            self._at(self.profile.updated_delay_ms, self._send_updated)
            self.tick(self._now_ms)

    def _send_updated(self) -> None:
        self.emit("session.updated", session=self.session)
        self._list_mcp_tools()
        self.send_junk()

    # -- caller audio -------------------------------------------------------------------------

    def _append(self, audio: object) -> None:
        data = decode_append(audio)
        if not self._configured:
            self.appended_before_configured_bytes += len(data)
        if self.session["audio"]["input"]["format"]["type"] != "audio/pcmu":
            # Mu-law read as PCM is noise in which no speech is found (trap 21).
            self.undecodable_bytes += len(data)
            return
        for found in self._input.feed(data):
            turn = self.session["audio"]["input"]["turn_detection"]
            if turn is None:
                continue
            if isinstance(found, SpeechStarted):
                self._speech_started(found, turn)
            else:
                self._speech_stopped(found, turn)

    def _speech_started(self, event: SpeechStarted, turn: dict[str, Any]) -> None:
        self._idle_number += 1
        self._speech_item_id = self.new_id("item")
        self._speech_start_ms = event.audio_start_ms
        self.emit(
            "input_audio_buffer.speech_started",
            item_id=self._speech_item_id,
            audio_start_ms=event.audio_start_ms,
        )
        if turn["interrupt_response"] and self._active is not None:
            self._cancel_active("turn_detected")

    def _speech_stopped(self, event: SpeechStopped, turn: dict[str, Any]) -> None:
        item_id = self._speech_item_id or self.new_id("item")
        self.emit(
            "input_audio_buffer.speech_stopped", item_id=item_id, audio_end_ms=event.audio_end_ms
        )
        self._commit(item_id, event.audio_end_ms - self._speech_start_ms)
        if turn["create_response"] and not self.profile.stall_after_commit:
            self._respond_to_speech()

    def _commit(self, item_id: str, audio_ms: int) -> None:
        text = self._input.take_words()
        self._speech_item_id = None
        item = Item(
            item_id,
            "message",
            text=text,
            content_type="input_audio",
            show_transcript=False,
            audio_ms=audio_ms,
        )
        previous = self.conversation.add(item)
        self._unanswered.append(text)
        self.emit("input_audio_buffer.committed", item_id=item_id, previous_item_id=previous)
        self._announce(item, previous)
        transcription = self.session["audio"]["input"]["transcription"]
        if transcription is not None:
            model = transcription.get("model", "gpt-transcribe")
            self._at(self.profile.transcription_delay_ms, lambda: self._transcribed(item, model))

    def _announce(self, item: Item, previous: str | None) -> None:
        for kind in ("conversation.item.added", "conversation.item.done"):
            self.emit(kind, item=item.render(), previous_item_id=previous)

    def _transcribed(self, item: Item, model: str) -> None:
        kind = "conversation.item.input_audio_transcription"
        where = {"item_id": item.item_id, "content_index": 0}
        if self.profile.transcription_fails:
            error = {"type": "server_error", "code": None, "message": "Failed.", "param": None}
            self.emit(f"{kind}.failed", **where, error=error)
            return
        item.show_transcript = True
        if item.text:
            self.emit(f"{kind}.delta", **where, delta=item.text)
        usage: dict[str, Any] = {"type": "duration", "seconds": item.audio_ms / 1000}
        if not model.startswith(("whisper", "gpt-live", "gpt-realtime")):
            audio, text = -(-item.audio_ms // 100), len(item.text) // 4 + 1
            usage = {
                "type": "tokens",
                "input_tokens": audio,
                "output_tokens": text,
                "total_tokens": audio + text,
                "input_token_details": {"audio_tokens": audio, "text_tokens": 0},
            }
        self.emit(f"{kind}.completed", **where, transcript=item.text, usage=usage)

    def _commit_by_hand(self) -> None:
        buffered_ms = self._input.buffered_ms
        if buffered_ms < MIN_COMMIT_MS:
            raise ClientError(
                "input_audio_buffer_commit_empty",
                "Error committing input audio buffer: buffer too small. Expected at least 100ms "
                f"of audio, but buffer only has {buffered_ms}.00ms of audio.",
            )
        self._input.vad.reset()
        self._commit(self._speech_item_id or self.new_id("item"), buffered_ms)

    # -- items --------------------------------------------------------------------------------

    def _item(self, item_id: object, code: str) -> Item:
        item = self.conversation.find(item_id)
        if item is None:
            raise ClientError(code, f"Item with item_id not found: {item_id}", "item_id")
        return item

    def _create_item(self, event: dict[str, Any]) -> None:
        item = parse_item(event["item"], self.new_id, self.conversation)
        after = event.get("previous_item_id")
        if after not in (None, "root"):
            self._item(after, "item_create_invalid_previous_item_id")
        previous = self.conversation.add(item, after)
        if item.kind == "function_call_output":
            call = self.conversation.tool_call(item.tool_call_id)
            name = call.name if call is not None else ""
            self._unanswered_outputs.append(ToolOutput(name, item.text))
        elif item.kind == "message" and item.role == "user":
            self._unanswered.append(item.text)
        elif item.kind == "message" and item.role == "assistant":
            # History: what stands before it has had its answer.
            self._unanswered.clear()
            self._unanswered_outputs.clear()
        self._announce(item, previous)

    def _truncate(self, event: dict[str, Any]) -> None:
        item = self._item(event["item_id"], "item_truncate_invalid_item_id")
        end_ms = event["audio_end_ms"]
        if isinstance(end_ms, bool) or not isinstance(end_ms, int) or end_ms < 0:
            raise ClientError("invalid_value", "Invalid 'audio_end_ms'.", "audio_end_ms")
        if event["content_index"] != 0:
            raise ClientError("invalid_value", "Invalid 'content_index'.", "content_index")
        if item.role != "assistant" or item.audio_ms == 0:
            raise ClientError(
                "unsupported_content_type", "Only model output audio messages can be truncated"
            )
        counted_ms = max(0, item.audio_ms - self.profile.counts_ms_less)
        if end_ms > counted_ms:
            raise ClientError(
                "invalid_value",
                f"Audio content of {counted_ms}ms is already shorter than {end_ms}ms",
                "audio_end_ms",
            )
        self.truncations.append(Truncation(item.item_id, end_ms, item.audio_ms, self._now_ms))
        item.audio_ms, item.text = end_ms, ""
        self.conversation.bust_cache()
        self.emit(
            "conversation.item.truncated",
            item_id=item.item_id,
            content_index=0,
            audio_end_ms=end_ms,
        )
