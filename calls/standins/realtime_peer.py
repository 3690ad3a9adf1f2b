"""A Realtime server without a socket: the whole protocol of openai_realtime.md 1 to 7 as far as a
telephone bridge can meet it. Time is an argument; outputs are drained. It must not import our
bridge, open anything, or use a clock or unseeded randomness: it is an independent judge of it.
"""

from __future__ import annotations

import base64
import binascii
import heapq
import json
import random
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Literal, cast

from calls.standins.peer import Close, Output, Refuse, Send
from calls.standins.realtime_beta import client_event_to_ga, server_event_to_beta
from calls.standins.realtime_brain import Brain, CallTool, RuleBrain, Speak, ToolOutput, Turn
from calls.standins.realtime_client_items import parse_item
from calls.standins.realtime_items import NO_USAGE, Conversation, Item, Weight
from calls.standins.realtime_profile import RealtimeProfile
from calls.standins.realtime_response import Response
from calls.standins.realtime_session import (
    ClientError,
    apply_session_update,
    check_response,
    default_session,
)
from calls.standins.realtime_vad import SpeechStarted, SpeechStopped, VoiceActivity
from calls.standins.tones import BLOCK_BYTES, BYTES_PER_MS, Heard, ToneDecoder

_MAX_APPEND_BYTES = 15 * 1024 * 1024
_MIN_COMMIT_MS = 100
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


class RealtimePeer:
    """One Realtime session. `id_seed` keeps ids of several sessions apart."""

    def __init__(
        self,
        profile: RealtimeProfile | None = None,
        brain: Brain | None = None,
        *,
        id_seed: str = "0",
        epoch_seconds: int = 1_800_000_000,
    ) -> None:
        self.profile = profile or RealtimeProfile()
        self.brain: Brain = brain or RuleBrain()
        self.rng = random.Random(self.profile.seed)  # noqa: S311 - reproducible, not secret
        self.session: dict[str, Any] = {}
        self.conversation = Conversation()
        self.heard: list[Heard] = []
        self.said: list[str] = []  # full texts of finished default responses
        self.truncations: list[Truncation] = []
        self.errors: list[dict[str, Any]] = []
        self.undecodable_bytes = 0
        self.appended_before_configured_bytes = 0
        self.closed = False
        self._id_seed, self._epoch_seconds = id_seed, epoch_seconds
        self._counter = 0
        self._now_ms = 0
        self._timers: list[tuple[int, int, Callable[[], None]]] = []
        self._timer_number = 0
        self._out: list[Output] = []
        self._configured = False
        self._voice_used = False
        self._responses = 0
        self._active: Response | None = None
        self._out_of_band: list[Response] = []
        self._vad = VoiceActivity(self.profile.vad_onset_ms)
        self._decoder = ToneDecoder()
        self._window = bytearray()
        self._buffer_ms = 0
        self._pending_words: list[str] = []  # said by the caller since the last commit
        self._unanswered: list[str] = []  # committed or typed since the last response
        self._unanswered_outputs: list[ToolOutput] = []
        self._speech_item_id: str | None = None
        self._speech_start_ms = 0
        self._idle_number = 0

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
        refusal = self._refusal(query, given)
        if refusal is not None:
            self._out.append(Refuse(refusal))
            self.closed = True
            return
        fatal = self._fatal(query, given)
        if fatal is not None:
            code, close_code, message = fatal
            self._error(code, message, None, None)
            self.close(close_code, f"invalid_request_error.{code}")
            return
        self.session = default_session(
            self.new_id("sess"),
            self._model(query),
            self._epoch_seconds + (now_ms + self.profile.max_session_ms) // 1000,
        )
        self._at(self.profile.max_session_ms, self._expire)
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
            self._handle(event)
        except ClientError as error:
            self._error(error.code, error.message, error.param, event_id)

    def tick(self, now_ms: int) -> None:
        """Run everything that is due up to `now_ms`, each at its own time."""
        while self._timers and self._timers[0][0] <= now_ms and not self.closed:
            at_ms, _, action = heapq.heappop(self._timers)
            self._now_ms = max(self._now_ms, at_ms)
            action()
        self._now_ms = max(self._now_ms, now_ms)

    def next_deadline_ms(self) -> int | None:
        """Return when `tick` has work next; None: never."""
        return self._timers[0][0] if self._timers and not self.closed else None

    def drain(self) -> list[Output]:
        """Return and forget what is to be sent, in order."""
        out, self._out = self._out, []
        return out

    def peer_closed(self, now_ms: int) -> None:
        """Note that the client's socket is gone; nothing is sent afterwards."""
        self._now_ms = now_ms
        self.closed = True
        self._timers.clear()

    def close(self, code: int, reason: str = "") -> None:
        """End the session from the server's side."""
        self._out.append(Close(code, reason))
        self.closed = True
        self._timers.clear()

    # -- connecting (openai_realtime.md 1.5) --------------------------------------------------

    def _refusal(self, query: Mapping[str, str], headers: Mapping[str, str]) -> int | None:
        if self.profile.upgrade_status is not None:
            return self.profile.upgrade_status
        if self.profile.dialect == "azure_ga" and "api-version" in query:
            return 401  # a documented cause of 401 (1.3)
        return None if self._key(query, headers) else 401

    def _key(self, query: Mapping[str, str], headers: Mapping[str, str]) -> str:
        scheme, _, bearer = headers.get("authorization", "").partition(" ")
        if scheme.lower() == "bearer" and bearer:
            return bearer
        if self.profile.dialect == "ga":
            return ""
        return headers.get("api-key") or query.get("api-key", "")

    def _model(self, query: Mapping[str, str]) -> str:
        return query.get("model") or query.get("deployment", "")

    def _fatal(
        self, query: Mapping[str, str], headers: Mapping[str, str]
    ) -> tuple[str, int, str] | None:
        key, keys = self._key(query, headers), self.profile.api_keys
        if (key not in keys) if keys else key == "sk-invalid":
            return "invalid_api_key", 3000, "Incorrect API key provided."
        if self.profile.dialect == "ga" and "openai-beta" in headers:
            message = "The Realtime Beta API is no longer supported. Please use /v1/realtime."
            return "beta_api_shape_disabled", 4000, message
        model = self._model(query)
        if not model:
            return "missing_model", 4000, "You must provide a model parameter."
        if self.profile.dialect == "ga" and model not in self.profile.models:
            return "invalid_model", 4000, f'Model "{model}" is not supported in realtime mode.'
        return None

    def _send_created(self) -> None:
        self.emit("session.created", session=self.session)

    def _expire(self) -> None:
        minutes = self.profile.max_session_ms // 60_000
        text = f"Your session hit the maximum duration of {minutes} minutes."
        self._error("session_expired", text, None, None)
        self.close(1001, text)

    # -- events out (Stage) -------------------------------------------------------------------

    def emit(self, kind: str, **fields: Any) -> None:
        """Send one server event in the connection's dialect."""
        if self.closed:
            return
        event: dict[str, Any] | None = {"type": kind, "event_id": self.new_id("event"), **fields}
        if self.profile.mutant == "undeclared_key" and kind == "response.output_audio.delta":
            fields["undeclared"] = True
            event = {"type": kind, "event_id": self.new_id("event"), **fields}
        if self.profile.dialect == "beta":
            event = server_event_to_beta(cast("dict[str, Any]", event))
        if event is not None:
            self._out.append(Send(json.dumps(event, separators=(",", ":"))))

    def new_id(self, prefix: str) -> str:
        """Return the next id; the same inputs give the same ids."""
        self._counter += 1
        return f"{prefix}_{self._id_seed}{self._counter:06d}"

    def cut(self, code: int) -> None:
        """Close in the middle of a response (profile.close_mid_response)."""
        self.close(code, "internal error" if code == 1011 else "")

    def send_junk(self) -> None:
        """Send what no client expects, once (profile.junk)."""
        junk = self.profile.junk
        if junk == "json":
            self._out.append(Send('{"type":"response.output_audio.delta","delta":'))
        elif junk == "unknown_event":
            self._out.append(Send('{"type":"response.thought.delta","event_id":"event_x"}'))
        elif junk == "binary":
            self._out.append(Send(b"\x00\x01"))

    def _error(self, code: str, message: str, param: str | None, event_id: object) -> None:
        kind = "server_error" if code == "server_error" else "invalid_request_error"
        error = {
            "type": kind,
            "code": code,
            "message": message,
            "param": param,
            "event_id": event_id if isinstance(event_id, str) else None,
        }
        self.errors.append(error)
        self.emit("error", error=error)

    def _at(self, delay_ms: int, action: Callable[[], None]) -> None:
        self._timer_number += 1
        heapq.heappush(self._timers, (self._now_ms + delay_ms, self._timer_number, action))

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

    def _handle(self, event: dict[str, Any]) -> None:
        kind = event["type"]
        if kind == "input_audio_buffer.append":
            self._append(event["audio"])
        elif kind == "session.update":
            self._update(event)
        elif kind == "input_audio_buffer.commit":
            self._commit_by_hand()
        elif kind == "input_audio_buffer.clear":
            self._clear_buffer()
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
            self._vad.configure(turn)
        if not self.profile.never_updated:
            self._at(self.profile.updated_delay_ms, self._send_updated)
            self.tick(self._now_ms)

    def _send_updated(self) -> None:
        self.emit("session.updated", session=self.session)
        self.send_junk()

    # -- caller audio -------------------------------------------------------------------------

    def _append(self, audio: object) -> None:
        try:
            data = base64.b64decode(audio, validate=True) if isinstance(audio, str) else None
        except binascii.Error:
            data = None
        if data is None or len(data) > _MAX_APPEND_BYTES:
            raise ClientError("invalid_value", "Invalid 'audio': expected base64 bytes.", "audio")
        if not self._configured:
            self.appended_before_configured_bytes += len(data)
        if self.session["audio"]["input"]["format"]["type"] != "audio/pcmu":
            # Mu-law read as PCM is noise in which no speech is found (trap 21).
            self.undecodable_bytes += len(data)
            return
        self._window += data
        while len(self._window) >= BLOCK_BYTES:
            window = bytes(self._window[:BLOCK_BYTES])
            del self._window[:BLOCK_BYTES]
            self._listen(window)

    def _listen(self, window: bytes) -> None:
        self._buffer_ms += BLOCK_BYTES // BYTES_PER_MS
        for heard in self._decoder.feed(window):
            self._note_words(heard)
        turn = self.session["audio"]["input"]["turn_detection"]
        event = self._vad.window(window)
        if turn is None or event is None:
            return
        if isinstance(event, SpeechStarted):
            self._speech_started(event, turn)
        else:
            self._speech_stopped(event, turn)

    def _note_words(self, heard: Heard) -> None:
        self.heard.append(heard)
        self._pending_words.append(heard.text)

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

    def _respond_to_speech(self) -> None:
        if self._active is not None:
            self._error(
                "conversation_already_has_active_response",
                "Conversation already has an active response in progress: "
                f"{self._active.response_id}. Wait until the response is finished.",
                None,
                None,
            )
            return
        self._start({}, None)

    def _commit(self, item_id: str, audio_ms: int) -> None:
        for heard in self._decoder.flush():
            self._note_words(heard)
        text = " ".join(self._pending_words)
        self._pending_words.clear()
        self._speech_item_id = None
        self._buffer_ms = 0
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
        if self._buffer_ms < _MIN_COMMIT_MS:
            raise ClientError(
                "input_audio_buffer_commit_empty",
                "Error committing input audio buffer: buffer too small. Expected at least 100ms "
                f"of audio, but buffer only has {self._buffer_ms}.00ms of audio.",
            )
        self._vad.reset()
        self._commit(self._speech_item_id or self.new_id("item"), self._buffer_ms)

    def _clear_buffer(self) -> None:
        self._vad.reset()
        self._decoder.flush()
        self._window.clear()
        self._pending_words.clear()
        self._buffer_ms = 0
        self._speech_item_id = None

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
        if end_ms > item.audio_ms:
            raise ClientError(
                "invalid_value",
                f"Audio content of {item.audio_ms}ms is already shorter than {end_ms}ms",
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

    # -- responses ----------------------------------------------------------------------------

    def _create_response(self, request: dict[str, Any]) -> None:
        check_response(self.session["model"], request)
        out_of_band = request.get("conversation") == "none"
        if self._active is not None and not out_of_band:
            raise ClientError(
                "conversation_already_has_active_response",
                "Conversation already has an active response in progress: "
                f"{self._active.response_id}. Wait until the response is finished.",
            )
        self._start(request, request.get("instructions"))

    def _start(self, request: dict[str, Any], instructions: str | None) -> None:
        in_conversation = request.get("conversation") != "none"
        settings = {**self.session, **{k: v for k, v in request.items() if k != "audio"}}
        output = {**self.session["audio"]["output"], **request.get("audio", {}).get("output", {})}
        settings["audio"] = {"output": output}
        turn = self._turn(settings, instructions, in_conversation)
        prompt = settings["instructions"] + json.dumps(settings["tools"])
        context = list(self.conversation.items) if request.get("input") is None else []
        failed = self.profile.fail_response is not None and self.profile.is_faulty(self._responses)

        def charge(spent: Weight) -> dict[str, Any]:
            if failed:
                return NO_USAGE
            return self.conversation.charge(prompt, context, spent, keep=in_conversation)

        response = Response(
            stage=self,
            response_id=self.new_id("resp"),
            index=self._responses,
            parts=self._allowed(turn, settings),
            settings=settings,
            in_conversation=in_conversation,
            conversation_id=f"conv_{self._id_seed}" if in_conversation else None,
            metadata=request.get("metadata"),
            charge=charge,
        )
        self._responses += 1
        if in_conversation:
            self._active = response
            self._idle_number += 1
        else:
            self._out_of_band.append(response)
        self._resume(response, response.run())

    def _turn(
        self, settings: dict[str, Any], instructions: str | None, in_conversation: bool
    ) -> Turn:
        names = frozenset(tool["name"] for tool in settings["tools"] if "name" in tool)
        if not in_conversation:
            return Turn(None, instructions, (), names, out_of_band=True)
        heard = " ".join(text for text in self._unanswered if text) if self._unanswered else None
        outputs = tuple(self._unanswered_outputs)
        self._unanswered, self._unanswered_outputs = [], []
        return Turn(heard, instructions, outputs, names)

    def _allowed(self, turn: Turn, settings: dict[str, Any]) -> list[Speak | CallTool]:
        parts = self.brain.reply(turn)
        may_call = settings["tool_choice"] != "none"
        everything = self.profile.call_undeclared_tools
        return [
            part
            for part in parts
            if isinstance(part, Speak) or (may_call and (everything or part.name in turn.tools))
        ]

    def _resume(self, response: Response, steps: Iterator[int]) -> None:
        while response.active and not self.closed:
            pause_ms = next(steps, None)
            if pause_ms is None:
                return
            if pause_ms > 0:
                self._at(pause_ms, lambda: self._resume(response, steps))
                return

    def item_opened(self, response: Response, item: Item) -> None:
        """Put a new output item into the conversation (out-of-band ones stay outside)."""
        if item.content_type == "output_audio":
            self._voice_used = True
        if response.in_conversation:
            previous = self.conversation.add(item)
            self.emit("conversation.item.added", item=item.render(), previous_item_id=previous)

    def finished(self, response: Response) -> None:
        """Free the response slot and send the rate limits a little later."""
        if response is self._active:
            self._active = None
            texts = [item.text for item in response.items if item.kind == "message"]
            self.said += texts
            played_ms = sum(item.audio_ms for item in response.items)
            self._watch_idle(played_ms)
        elif response in self._out_of_band:
            self._out_of_band.remove(response)
        if response.status != "failed":
            self._at(self.profile.rate_limits_delay_ms, self._send_rate_limits)

    def _send_rate_limits(self) -> None:
        tokens = {"name": "tokens", "limit": 40000, "remaining": 39000, "reset_seconds": 1.5}
        self.emit("rate_limits.updated", rate_limits=[tokens])

    def _watch_idle(self, played_ms: int) -> None:
        turn = self.session["audio"]["input"]["turn_detection"]
        if turn is None or not turn.get("idle_timeout_ms"):
            return
        self._idle_number += 1
        number = self._idle_number
        self._at(turn["idle_timeout_ms"] + played_ms, lambda: self._idle(number))

    def _idle(self, number: int) -> None:
        if number != self._idle_number or self._active is not None or self._vad.speaking:
            return
        item_id, end_ms = self.new_id("item"), self._vad.position_ms
        start_ms = max(0, end_ms - self._buffer_ms)
        self.emit(
            "input_audio_buffer.timeout_triggered",
            item_id=item_id,
            audio_start_ms=start_ms,
            audio_end_ms=end_ms,
        )
        self._commit(item_id, 0)
        self._start({}, None)

    def _cancel(self, response_id: object) -> None:
        target = self._active
        if response_id is not None:
            every = [*self._out_of_band, *([self._active] if self._active else [])]
            target = next((r for r in every if r.response_id == response_id), None)
        if target is None:
            raise ClientError(
                "response_cancel_not_active", "Cancellation failed: no active response found"
            )
        self._cancel_response(target, "client_cancelled")

    def _cancel_active(self, reason: Literal["turn_detected", "client_cancelled"]) -> None:
        if self._active is not None:
            self._cancel_response(self._active, reason)

    def _cancel_response(
        self, target: Response, reason: Literal["turn_detected", "client_cancelled"]
    ) -> None:
        spoken = [item for item in target.items if item.content_type == "output_audio"]
        target.cancel(reason)
        for _ in range(self.profile.late_deltas_after_cancel if spoken else 0):
            self.emit(
                "response.output_audio.delta",
                response_id=target.response_id,
                item_id=spoken[-1].item_id,
                output_index=len(target.items) - 1,
                content_index=0,
                delta=base64.b64encode(b"\x00" * 800).decode(),
            )
