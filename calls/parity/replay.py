"""A past call played again to another model, one turn of the caller at a time, against the truth.

Pure and without time of its own: text of the model and the moment go in, text for the model comes
out. Owns what is sent when, what was answered and where the comparison ends. After each turn the
old stack's real words and tool results take the place of ours (teacher forcing), so every turn is
asked in the conversation that really was. The model is asked beside the conversation (ADR 0044):
what it answers never becomes an item. No tool is called here: a call is answered with the result
that the log holds, and where the log holds none the comparison ends.
"""

from __future__ import annotations

import base64
import json
from collections import deque
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Final, Literal

from calls.money.rates import ModelPrice, response_microusd, response_tokens, transcription_microusd
from calls.parity.known_results import OPENING, Alike, Known, KnownResults
from calls.parity.model_answers import Tokens, object_of, texts_of, why_failed
from calls.parity.past import Exchange, PastTool, Reaction, Script, Words
from calls.parity.sequence import Outcome
from calls.wire import realtime
from calls.wire.realtime import Dialect, SessionConfig, TurnDetection

# Why a call was compared only so far; '' means to its end.
Cut = Literal[
    "",
    "unknown-result",
    "left-early",
    "handed-over",
    "spend",
    "answers",
    "failed",
    "person",
    "time",
]
CUT_WORDS: Final[Mapping[Cut, str]] = {
    "": "compared to its end",
    "unknown-result": "a tool was called whose result nobody knows",
    "left-early": "the model ended or passed on the call where the old stack did not",
    "handed-over": "another assistant took over",
    "spend": "the limit on what a replay may cost was reached",
    "answers": "the model went on calling tools",
    "failed": "the model's socket or an answer failed",
    "person": "a person was put through, whom nothing of ours hears",
    "time": "the time for hearing along was over",
}

CONFIG_ID: Final = "replay-session"
_PURPOSE: Final = "replay-"
# Responses in one exchange: an assistant that calls more tools than this in a row goes in circles.
MOST_ANSWERS: Final = 12
_RETRIES: Final = 2
_RETRY_PAUSE_MS: Final = 2_000
READY_MS: Final = 15_000
ANSWER_MS: Final = 45_000
# What is sent at once of a caller's audio: 100 ms, five frames of a phone call.
CHUNK_MS: Final = 100
BYTES_PER_MS: Final = 8


@dataclass(frozen=True, slots=True)
class Plan:
    """What is replayed, and how.

    ``ends``: names of tools that end or pass on the call. ``audio``: mu-law of the caller's turn by
    exchange; where there is none the turn is sent as text. ``pace`` 1.0 sends audio as fast as the
    caller spoke.
    """

    script: Script
    config: SessionConfig
    dialect: Dialect
    price: ModelPrice
    alike: Alike
    ends: frozenset[str] = frozenset()
    audio: Mapping[int, bytes] = field(default_factory=dict, repr=False)
    pace: float = 1.0
    most_microusd: int = 1_000_000

    @property
    def modality(self) -> Literal["audio", "text"]:
        """Return what the model answers in: text is cheaper, and sound is what a caller gets."""
        return "audio" if self.audio else "text"


@dataclass(frozen=True, slots=True)
class OurCall:
    """A tool call of the model. ``known``: the log's call whose result answered it."""

    name: str
    arguments: Mapping[str, Any]
    exchange: int
    at_ms: int
    message: int | None
    known: PastTool | None = None

    @property
    def outcome(self) -> Outcome:
        """Return the outcome of the answer it was given."""
        return self.known.outcome if self.known is not None else "unknown"


@dataclass(slots=True)
class Answered:
    """What came of one exchange.

    ``heard``: the caller's words as our transcriber wrote them, None for a turn sent as text.
    ``latency_ms``: from the end of the caller's turn to the first piece of an answer.
    """

    exchange: int
    said: list[str] = field(default_factory=list)
    heard: str | None = None
    latency_ms: int | None = None


@dataclass(slots=True)
class Replayed:
    """What came of a replay.

    ``compared``: the old stack's tool calls that are set against ours, in their order; all but
    those before the caller's first word unless the call was ``cut``. ``problem`` says what failed,
    for ops.
    """

    calls: list[OurCall] = field(default_factory=list)
    answers: list[Answered] = field(default_factory=list)
    compared: tuple[PastTool, ...] = ()
    cut: Cut = ""
    cut_exchange: int | None = None
    problem: str = ""
    cost_microusd: int = 0
    tokens: Tokens = field(default_factory=Tokens)
    audio_ms: int = 0


class Replay:
    """The machine of one replay. Whoever carries it sends ``to_model`` in order.

    After every input and whenever ``next_deadline_ms`` has come ``tick`` is due. It is over when
    ``done`` is true; then the socket may be closed and ``result`` is whole.
    """

    def __init__(self, plan: Plan, now_ms: int) -> None:
        self.plan = plan
        self.to_model: deque[str] = deque()
        self.result = Replayed()
        self.done = False
        self._known = KnownResults(plan.script, plan.alike)
        self._state: Literal["opening", "configuring", "speaking", "heard", "asked", "pause"]
        self._state = "opening"
        self._deadline_ms = now_ms + READY_MS
        self._exchange = OPENING
        self._forced: set[int] = set()  # places in the exchange's reactions
        self._ids: set[str] = set()
        self._number = 0  # of events of ours
        self._asked = ""  # the purpose of the answer that is waited for
        self._waits_for = ""  # the event of ours that must not be refused without a second try
        self._asked_at_ms = 0
        self._answers_here = 0
        self._retries = 0
        self._messages = 0
        self._audio = memoryview(b"")
        self._audio_item = ""
        self._items: dict[str, Answered] = {}  # whose transcript an item is
        self._untranscribed = 0

    # ---- inputs -------------------------------------------------------------------------------

    def receive(self, text: str, now_ms: int) -> None:
        """Take one text frame of the model; what is no event is skipped."""
        if self.done:
            return
        try:
            kind, event = realtime.decode(text, self.plan.dialect)
        except realtime.RealtimeWireError:
            return
        if kind == "session.created" and self._state == "opening":
            self._state = "configuring"
            self._send(realtime.session_update(self._config(), self.plan.dialect, CONFIG_ID))
        elif kind == "session.updated" and self._state == "configuring":
            self._begin(now_ms)
        elif kind == "input_audio_buffer.committed":
            self._committed(event, now_ms)
        elif kind == "conversation.item.input_audio_transcription.completed":
            self._transcribed(event, now_ms)
        elif kind == "conversation.item.input_audio_transcription.failed":
            self._transcribed({**event, "transcript": ""}, now_ms)
        elif kind in _FIRST_PIECES:
            self._first_piece(event, now_ms)
        elif kind == "response.done":
            self._answered(event, now_ms)
        elif kind == "error":
            self._refused(event, now_ms)

    def closed(self, code: int, now_ms: int) -> None:
        """Note that the model's socket is gone, with its close code or the status of a refusal."""
        if not self.done:
            self._stop("failed", f"the model's socket closed with {code}")

    def tick(self, now_ms: int) -> None:
        """Do what is due."""
        while not self.done and now_ms >= self._deadline_ms:
            if self._state == "speaking":
                self._speak(self._deadline_ms)
            elif self._state == "pause":
                self._ask(now_ms)
            elif self._state == "heard":
                # The transcript only helps the comparison of what was understood.
                self._finish()
            else:
                self._stop("failed", f"the model did not answer in time ({self._state})")

    def next_deadline_ms(self) -> int | None:
        """Return when ``tick`` has something to do, None when it is over."""
        return None if self.done else self._deadline_ms

    # ---- the conversation ---------------------------------------------------------------------

    def _config(self) -> SessionConfig:
        """Return the session's configuration without turn taking and without servers to ask.

        An MCP server is asked by the model's own server, which would be a tool called for real.
        """
        return replace(self.plan.config, turn_detection=TurnDetection(kind="none"), mcp_servers=())

    def _begin(self, now_ms: int) -> None:
        for index, reaction in enumerate(self.plan.script.opening):
            self._force(reaction, index)
        for row in self._known.rows:
            if row.exchange == OPENING:
                # Nobody asked us before the caller spoke: neither stack is judged by it.
                row.asked_in = OPENING
        self._next_exchange(now_ms)

    def _next_exchange(self, now_ms: int) -> None:
        self._exchange += 1
        self._forced.clear()
        self._answers_here = self._retries = 0
        if self._exchange >= len(self.plan.script.exchanges):
            over = self.plan.script.handed_over_ms is not None
            self._compare(self._known.rows)
            self._wait_for_transcripts("handed-over" if over else "", now_ms)
            return
        exchange = self._now()
        self.result.answers.append(Answered(self._exchange))
        audio = self.plan.audio.get(self._exchange, b"")
        if audio:
            self._audio = memoryview(audio)
            length_ms = len(audio) // BYTES_PER_MS
            self.result.audio_ms += length_ms
            # Written down besides, by another model, and billed by its length.
            self.result.cost_microusd += transcription_microusd(length_ms)
            self._state, self._deadline_ms = "speaking", now_ms
            return
        self._send(realtime.message_item(self._id(), "user", exchange.caller, self.plan.dialect))
        self._ask(now_ms)

    def _speak(self, now_ms: int) -> None:
        size = CHUNK_MS * BYTES_PER_MS
        piece, self._audio = self._audio[:size], self._audio[size:]
        self._send(realtime.append(base64.b64encode(piece).decode()))
        if self._audio:
            self._deadline_ms = now_ms + max(1, round(CHUNK_MS / self.plan.pace))
            return
        self._waits_for = self._id()
        self._send(realtime.input_commit(self._waits_for))
        self._state, self._deadline_ms = "asked", now_ms + ANSWER_MS
        self._asked, self._asked_at_ms = "", now_ms

    def _committed(self, event: Mapping[str, Any], now_ms: int) -> None:
        if self._state != "asked" or self._asked:
            return
        item_id = event.get("item_id")
        if isinstance(item_id, str):
            self._items[item_id] = self.result.answers[-1]
            self._untranscribed += 1
        self._ask(now_ms)

    def _transcribed(self, event: Mapping[str, Any], now_ms: int) -> None:
        answer = self._items.pop(str(event.get("item_id")), None)
        if answer is None:
            return
        text = event.get("transcript")
        answer.heard = text if isinstance(text, str) else ""
        self._untranscribed -= 1
        if self._state == "heard" and not self._untranscribed:
            self._finish()

    def _ask(self, now_ms: int) -> None:
        if self.result.cost_microusd >= self.plan.most_microusd:
            self._end_compared("spend", now_ms)
            return
        self._answers_here += 1
        if self._answers_here > MOST_ANSWERS:
            self._end_compared("answers", now_ms)
            return
        self._asked = f"{_PURPOSE}{self._exchange}-{self._answers_here}"
        self._state, self._deadline_ms = "asked", now_ms + ANSWER_MS
        if self._answers_here > 1 or not self._audio_sent():
            self._asked_at_ms = now_ms  # of a turn of sound: when its end was sent
        event_id = self._waits_for = self._id()
        self._send(
            realtime.response_beside(
                event_id, self.plan.dialect, purpose=self._asked, modality=self.plan.modality
            )
        )

    def _audio_sent(self) -> bool:
        return self._exchange in self.plan.audio

    # ---- answers ------------------------------------------------------------------------------

    def _first_piece(self, event: Mapping[str, Any], now_ms: int) -> None:
        answer = self.result.answers[-1] if self.result.answers else None
        if answer is not None and answer.latency_ms is None and self._state == "asked":
            answer.latency_ms = max(0, now_ms - self._asked_at_ms)

    def _answered(self, event: Mapping[str, Any], now_ms: int) -> None:
        response = event.get("response")
        response = response if isinstance(response, Mapping) else {}
        metadata = response.get("metadata")
        purpose = metadata.get("purpose") if isinstance(metadata, Mapping) else None
        self._charge(response.get("usage"))
        if self._state != "asked" or purpose != self._asked:
            return
        status = response.get("status")
        if status in {"failed", "cancelled"}:
            self._try_again(why_failed(response), now_ms)
            return
        calls = self._read(response)
        self._take(calls, now_ms)

    def _charge(self, usage: object) -> None:
        if not isinstance(usage, Mapping):
            return
        into, out = response_tokens(usage)
        details = usage.get("input_token_details")
        cached = details.get("cached_tokens") if isinstance(details, Mapping) else 0
        tokens = self.result.tokens
        tokens.into += into
        tokens.last = into
        tokens.out += out
        tokens.cached += cached if isinstance(cached, int) else 0
        tokens.responses += 1
        self.result.cost_microusd += response_microusd(usage, self.plan.price)

    def _try_again(self, why: str, now_ms: int) -> None:
        self._retries += 1
        if self._retries > _RETRIES:
            self._end_compared("failed", now_ms, problem=f"an answer failed: {why}")
            return
        self._answers_here -= 1
        self._state = "pause"
        self._deadline_ms = now_ms + _RETRY_PAUSE_MS * self._retries

    def _read(self, response: Mapping[str, Any]) -> list[tuple[str, dict[str, Any]]]:
        """Note what was said and return the function calls of a finished answer, in its order."""
        calls: list[tuple[str, dict[str, Any]]] = []
        output = response.get("output")
        for item in output if isinstance(output, list) else []:
            if not isinstance(item, Mapping):
                continue
            if item.get("type") == "function_call" and item.get("status") != "incomplete":
                calls.append((str(item.get("name")), object_of(item.get("arguments"))))
            elif item.get("type") == "message":
                self.result.answers[-1].said += texts_of(item)
        return calls

    def _take(self, calls: list[tuple[str, dict[str, Any]]], now_ms: int) -> None:
        if not calls:
            self._turn_over(now_ms)
            return
        message = self._messages if len(calls) > 1 else None
        self._messages += 1
        for name, arguments in calls:
            if name in self.plan.ends:
                self._note(name, arguments, message, self._known.named(name, self._exchange))
                self._left(name, now_ms)
                return
            found = self._known.answer(name, arguments, self._exchange)
            if found is None:
                expected = self._known.named(name, self._exchange)
                self._note(name, arguments, message, None)
                self._cut_at(expected, "unknown-result", now_ms)
                return
            how, row = found
            if how != "echo":
                self._note(name, arguments, message, row)
            self._show(row)
        self._ask(now_ms)

    def _note(
        self, name: str, arguments: Mapping[str, Any], message: int | None, row: Known | None
    ) -> None:
        exchange = self._now()
        at_ms = exchange.ended_ms if exchange.ended_ms is not None else exchange.started_ms
        self.result.calls.append(
            OurCall(name, arguments, self._exchange, at_ms, message, row.tool if row else None)
        )

    def _show(self, row: Known) -> None:
        """Put the old stack's call and its result where the model's own call would stand.

        In the past's order as far as it was followed: what was said before the call comes first.
        """
        reactions = self._now().reactions
        place = next((i for i, each in enumerate(reactions) if each is row.tool), None)
        if place is None:
            self._force_tool(row.tool)  # of another exchange: the model asked for it here
            return
        before = [
            index
            for index in range(place)
            if index not in self._forced and not isinstance(reactions[index], PastTool)
        ]
        waiting = any(
            index not in self._forced and isinstance(reactions[index], PastTool)
            for index in range(place)
        )
        for index in [*([] if waiting else before), place]:
            self._force(reactions[index], index)

    def _turn_over(self, now_ms: int) -> None:
        """Let the past go on as it did: what we left out of it is put into the conversation."""
        for index, reaction in enumerate(self._now().reactions):
            self._force(reaction, index)
        self._next_exchange(now_ms)

    def _force(self, reaction: Reaction, index: int) -> None:
        if index in self._forced:
            return
        self._forced.add(index)
        if isinstance(reaction, PastTool):
            self._force_tool(reaction)
        else:
            role: Literal["assistant", "system"]
            role = "assistant" if isinstance(reaction, Words) else "system"
            self._send(realtime.message_item(self._id(), role, reaction.text, self.plan.dialect))

    def _force_tool(self, tool: PastTool) -> None:
        if tool.result is None or tool.name in self.plan.ends:
            return  # a call without a result would leave the model waiting for one
        call_id = realtime.legal_id(tool.tool_call_id or f"call_{self._number}")
        if call_id in self._ids:
            call_id = realtime.legal_id(f"{call_id}-{self._number}")
        self._ids.add(call_id)
        arguments = json.dumps(dict(tool.arguments), ensure_ascii=False)
        name = realtime.legal_name(tool.name)
        self._send(realtime.function_call(self._id(), call_id, name, arguments))
        self._send(realtime.function_output(self._id(), call_id, tool.result))

    # ---- the end ------------------------------------------------------------------------------

    def _left(self, name: str, now_ms: int) -> None:
        """The model ended or passed on the call; the past says whether it was time to."""
        row = self._known.named(name, self._exchange)
        later = any(
            each.exchange > self._exchange and each.asked_in is None for each in self._known.rows
        )
        if row is not None and not later:
            self._compare(self._known.rows)
            self._wait_for_transcripts("", now_ms)
            return
        self._cut_at(row, "left-early", now_ms)

    def _cut_at(self, expected: Known | None, cut: Cut, now_ms: int) -> None:
        """Compare up to here: with the call that stood in its place, or else with the exchange's
        next one, which was not made.
        """
        rows = self._known.rows
        here = [each for each in rows if each.exchange == self._exchange]
        stop = expected or next((each for each in here if each.asked_in is None), None)
        last = stop.place if stop is not None else -1
        self._compare(
            row
            for row in rows
            if row.exchange < self._exchange
            or row.asked_in is not None
            or (row.exchange == self._exchange and row.place <= last)
        )
        self._wait_for_transcripts(cut, now_ms)

    def _compare(self, rows: Iterable[Known]) -> None:
        self.result.compared = tuple(row.tool for row in rows if row.exchange != OPENING)

    def _compare_before(self, exchange: int) -> None:
        """Compare the exchanges before one, with what was asked for in them."""
        self.result.calls = [each for each in self.result.calls if each.exchange < exchange]
        self._compare(
            row
            for row in self._known.rows
            if row.exchange < exchange or (row.asked_in is not None and row.asked_in < exchange)
        )

    def _end_compared(self, cut: Cut, now_ms: int, *, problem: str = "") -> None:
        """Stop where this exchange began: of it nothing is known."""
        self._compare_before(self._exchange)
        self.result.problem = problem
        self._wait_for_transcripts(cut, now_ms)

    def _wait_for_transcripts(self, cut: Cut, now_ms: int) -> None:
        self.result.cut = cut
        self.result.cut_exchange = self._exchange if cut else None
        if not self._untranscribed:
            self._finish()
            return
        self._state, self._deadline_ms = "heard", now_ms + READY_MS

    def _finish(self) -> None:
        self.done = True

    def _stop(self, cut: Cut, problem: str) -> None:
        """Give up: what was compared in whole exchanges stays."""
        if self._state == "heard":
            self._finish()
            return
        exchange = max(self._exchange, 0)
        self._compare_before(exchange)
        self.result.cut, self.result.cut_exchange = cut, exchange
        self.result.problem = problem
        self._finish()

    def _refused(self, event: Mapping[str, Any], now_ms: int) -> None:
        error = event.get("error")
        error = error if isinstance(error, Mapping) else {}
        code = str(error.get("code") or error.get("type") or "unknown")
        if error.get("event_id") == CONFIG_ID or self._state in {"opening", "configuring"}:
            self._stop("failed", f"the session was refused ({code})")
        elif code == "session_expired":
            self._stop("failed", "the session expired")
        elif error.get("event_id") != self._waits_for or self._state != "asked":
            # An item is missing now: what follows would be asked in another conversation.
            self._stop("failed", f"a part of the conversation was refused ({code})")
        elif not self._asked:
            # The turn was too short or too quiet to be committed: its words are sent instead.
            words = self._now().caller
            self._send(realtime.message_item(self._id(), "user", words, self.plan.dialect))
            self._ask(now_ms)
        else:
            self._try_again(code, now_ms)

    def _now(self) -> Exchange:
        return self.plan.script.exchanges[self._exchange]

    def _id(self) -> str:
        self._number += 1
        return f"replay-{self._number}"

    def _send(self, text: str) -> None:
        self.to_model.append(text)


_FIRST_PIECES: Final = frozenset(
    {"response.output_audio.delta", "response.output_text.delta", "response.output_item.added"}
)
