"""The record of a stream's inputs and outputs, and its way back into a bridge.

One line per record: a letter, the time in ms, a size, then the text; a number behind the letter is
that of the model's session, from the second one on. Inputs make a replay
possible; outputs make a difference visible. Without permission to keep audio every payload is
replaced by its size, in inputs and outputs alike, and replayed as silence of that size, so a
replay still compares to the letter. Pure; the driver feeds it, the journal stores it.
"""

from __future__ import annotations

import base64
import json
import re
from collections.abc import Callable, Iterator
from dataclasses import asdict
from hashlib import blake2b
from typing import Any

from calls.bridge.effects import Effect
from calls.bridge.machine import CallBridge
from calls.bridge.plan import CallPlan
from calls.bridge.reasons import EndCause
from calls.wire.vapi_control import Control
from tools.messages import ToolMessage
from tools.spec import ToolResult

CHUNK_CHARS = 200_000
MAX_RECORD_CHARS = 48_000_000

PLAN, TWILIO, MALFORMED, TWILIO_CLOSED = "P", "T", "M", "X"
OPENED, REALTIME, REALTIME_CLOSED, TOOL, END, SHUT_DOWN, TICK = "O", "R", "C", "F", "E", "S", "K"
CONTROL = "Q"
OUT_TWILIO, OUT_REALTIME, OUT_EFFECT, TRUNCATED = "t", "r", "e", "!"
OUTPUTS = frozenset({OUT_TWILIO, OUT_REALTIME, OUT_EFFECT})

_AUDIO_FIELD = re.compile(r'"(?:payload|delta|audio)"\s*:\s*"([A-Za-z0-9+/]{8,}={0,2})"')
_SIZE_FIELD = re.compile(r'("(?:payload|delta|audio)"\s*:\s*")#(\d+)"')
# Only these messages carry audio in such a field; a transcript's `delta` is words.
_AUDIO_MARKS = ('"media"', "response.output_audio.delta", "response.audio.delta", "buffer.append")


def without_audio(text: str) -> str:
    """Return a message with its audio replaced by ``#<bytes>``; others come back unchanged."""
    if not any(mark in text for mark in _AUDIO_MARKS):
        return text
    found = _AUDIO_FIELD.search(text)
    if found is None:
        return text
    payload = found.group(1)
    size = len(payload) // 4 * 3 - payload.count("=")
    return f"{text[: found.start(1)]}#{size}{text[found.end(1) :]}"


def with_silence(text: str) -> str:
    """Undo ``without_audio`` with mu-law silence of the same size."""

    def silence(found: re.Match[str]) -> str:
        return found.group(1) + base64.b64encode(b"\xff" * int(found.group(2))).decode() + '"'

    return _SIZE_FIELD.sub(silence, text, count=1)


class Recorder:
    """Writes the record of one stream; hands full chunks to ``store``."""

    def __init__(self, plan: CallPlan, *, keep_audio: bool, store: Callable[[str], None]) -> None:
        self._keep_audio = keep_audio
        self._store = store
        self._parts: list[str] = []
        self._chars = 0
        self._total_chars = 0
        self.truncated = False
        header = {"keep_audio": keep_audio, "plan": plan.to_json()}
        self._write(PLAN, 0, json.dumps(header, ensure_ascii=False, separators=(",", ":")))

    def input(self, kind: str, now_ms: int, text: str, *, session: int = 1) -> None:
        """Record an input of the bridge, before the bridge sees it.

        ``session`` is the session of the model that an input of the model belongs to.
        """
        if not self._keep_audio and kind in (TWILIO, REALTIME):
            text = without_audio(text)
        self._write(_numbered(kind, session), now_ms, text)

    def output(self, kind: str, now_ms: int, text: str, *, session: int = 1) -> None:
        """Record a message of the bridge; audio only as a digest, or as its size."""
        bare = without_audio(text)
        if self._keep_audio and bare is not text:
            bare = f"{bare} {blake2b(text.encode(), digest_size=8).hexdigest()}"
        self._write(_numbered(kind, session), now_ms, bare)

    def effect(self, now_ms: int, effect: Effect) -> None:
        """Record an effect of the bridge."""
        self._write(OUT_EFFECT, now_ms, effect_text(effect))

    def flush(self) -> None:
        """Hand out what has been collected."""
        if self._parts:
            self._store("".join(self._parts))
            self._parts.clear()
            self._chars = 0

    def _write(self, kind: str, now_ms: int, text: str) -> None:
        if self.truncated:
            return
        if self._total_chars > MAX_RECORD_CHARS:
            self.truncated = True
            kind, text = TRUNCATED, ""
        record = f"{kind} {now_ms} {len(text)}\n{text}\n"
        self._parts.append(record)
        self._chars += len(record)
        self._total_chars += len(record)
        if self._chars >= CHUNK_CHARS:
            self.flush()


def _numbered(kind: str, session: int) -> str:
    return kind if session == 1 else f"{kind}{session}"


def effect_text(effect: Effect) -> str:
    """Return an effect as one line of JSON."""
    return json.dumps(
        {"effect": type(effect).__name__, **asdict(effect)}, ensure_ascii=False, default=str
    )


def tool_text(tool_call_id: str, result: ToolResult) -> str:
    """Return the answer of a tool as one line of JSON: what of it the bridge looks at."""
    value: dict[str, Any] = {
        "tool_call_id": tool_call_id,
        "output": result.output,
        "outcome": result.outcome,
        "duration_ms": result.duration_ms,
    }
    if result.messages:
        value["messages"] = list(result.messages)
    if not result.sent:
        value["sent"] = False
    if result.successor is not None:
        value["successor"] = result.successor
    if result.transfer_to:
        value["transfer_to"] = result.transfer_to
        value["transfer_message"] = result.transfer_message
    if result.retold:
        value["retold"] = {name: list(map(asdict, said)) for name, said in result.retold.items()}
    return json.dumps(value)


def control_text(control: Control) -> str:
    """Return a person's command as one line of JSON."""
    return json.dumps(control.to_json(), ensure_ascii=False)


def records(text: str) -> Iterator[tuple[str, int, str]]:
    """Yield (kind, now_ms, text) of a record; the kind with the session's number, if it has one.

    Raises:
        ValueError: the text is no record, or was cut in the middle of one.
    """
    position = 0
    while position < len(text):
        end = text.index("\n", position)
        kind, now_text, size_text = text[position:end].split(" ")
        body = text[end + 1 : end + 1 + int(size_text)]
        position = end + 2 + int(size_text)
        if len(body) != int(size_text):
            raise ValueError("the record is cut")
        yield kind, int(now_text), body


def plan_of(text: str) -> tuple[CallPlan, bool]:
    """Return the plan a record begins with, and whether audio was kept."""
    kind, _, body = next(records(text))
    if kind != PLAN:
        raise ValueError("a record begins with its plan")
    header = json.loads(body)
    return CallPlan.from_json(header["plan"]), bool(header["keep_audio"])


def apply(bridge: CallBridge, kind: str, now_ms: int, text: str) -> None:
    """Give one recorded input to a bridge."""
    kind, session = kind[:1], int(kind[1:] or 1)
    if kind == TWILIO:
        bridge.receive_twilio(with_silence(text), now_ms)
    elif kind == REALTIME:
        bridge.receive_realtime(with_silence(text), now_ms, session=session)
    elif kind == TICK:
        bridge.tick(now_ms)
    elif kind == MALFORMED:
        bridge.twilio_malformed(now_ms)
    elif kind == TWILIO_CLOSED:
        bridge.twilio_closed(now_ms)
    elif kind == OPENED:
        bridge.realtime_opened(now_ms, config_sent=text == "1", session=session)
    elif kind == REALTIME_CLOSED:
        bridge.realtime_closed(int(text), now_ms, session=session)
    elif kind == TOOL:
        value: dict[str, Any] = json.loads(text)
        tool_call_id = value.pop("tool_call_id")
        value["messages"] = tuple(value.get("messages", ()))
        value["retold"] = {
            name: tuple(map(ToolMessage.from_json, said))
            for name, said in value.get("retold", {}).items()
        }
        bridge.tool_finished(tool_call_id, ToolResult(**value), now_ms)
    elif kind == END:
        bridge.end(EndCause[text], now_ms)
    elif kind == CONTROL:
        bridge.receive_control(Control.from_json(json.loads(text)), now_ms)
    elif kind == SHUT_DOWN:
        bridge.shut_down(now_ms)
    else:
        raise ValueError(f"unknown input {kind!r}")


def drain(
    bridge: CallBridge, recorder: Recorder, now_ms: int
) -> tuple[list[str], list[str], list[Effect]]:
    """Take everything out of a bridge, recorded, in one fixed order."""
    twilio, realtime, effects = bridge.to_twilio[:], bridge.to_realtime[:], bridge.effects[:]
    bridge.to_twilio.clear()
    bridge.to_realtime.clear()
    bridge.effects.clear()
    for text in twilio:
        recorder.output(OUT_TWILIO, now_ms, text)
    for text in realtime:
        recorder.output(OUT_REALTIME, now_ms, text, session=bridge.session)
    for effect in effects:
        recorder.effect(now_ms, effect)
    return twilio, realtime, effects


def replay(text: str) -> str:
    """Run a record's inputs through a new bridge and return the record that this makes.

    Raises:
        ValueError: the text is no record.
    """
    plan, keep_audio = plan_of(text)
    made: list[str] = []
    recorder = Recorder(plan, keep_audio=keep_audio, store=made.append)
    bridge: CallBridge | None = None
    for kind, now_ms, body in records(text):
        if kind == PLAN:
            bridge = CallBridge(plan, now_ms)
        elif kind[:1] not in OUTPUTS and kind != TRUNCATED and bridge is not None:
            loud = with_silence(body) if kind[:1] in (TWILIO, REALTIME) else body
            recorder.input(kind[:1], now_ms, loud, session=int(kind[1:] or 1))
            apply(bridge, kind, now_ms, body)
            drain(bridge, recorder, now_ms)
    recorder.flush()
    return "".join(made)
