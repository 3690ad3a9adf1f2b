"""One live call at the Twilio stand-in: asks for TwiML, runs its verbs in real time, obeys REST
updates and reports by callbacks (twilio.md 1 to 4). It must not decide what a caller says (the
script does) or store numbers.
"""

from __future__ import annotations

import asyncio
import re
import time
import uuid
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from email.utils import format_datetime
from typing import Any, Literal
from urllib.parse import urljoin

from calls.standins.caller import CallerStep
from calls.standins.scenario import Scenario
from calls.standins.twilio_fork import ForkRun, Track
from calls.standins.twilio_numbers import VoiceConfig
from calls.standins.twilio_stream import StreamRun
from calls.standins.twilio_webhook import Answer, Webhooks
from calls.standins.twiml import Document, TwimlError, Verb, parse_twiml

Direction = Literal["inbound", "outbound-api"]
MAX_TWIML_BYTES = 64_000
MAX_DOCUMENTS = 50  # a redirect loop ends here


_E164 = re.compile(r"\+[1-9][0-9]{6,14}")


def _gathered(answer: str, attributes: dict[str, str]) -> dict[str, str]:
    """Return what a <Gather> tells of an answer: a key, or words where it listens for speech."""
    if len(answer) == 1 and answer in "0123456789*#":
        return {"Digits": answer}
    listens = "speech" in attributes.get("input", "dtmf").split()
    return {"SpeechResult": answer, "Confidence": "0.9"} if answer and listens else {}


def _leaves_it_ringing(verb: Verb) -> bool:
    """Tell whether a verb does not answer the call by itself."""
    return verb.name == "Dial" and verb.attributes.get("answerOnBridge") == "true"


@dataclass(frozen=True, slots=True)
class Callee:
    """Who answers a number that is dialled: the outcome, after how long, and for how long."""

    outcome: Literal["completed", "busy", "no-answer", "failed", "canceled"] = "completed"
    ring_seconds: float = 0.05
    talk_seconds: float = 0.05


@dataclass(frozen=True, slots=True)
class CallReport:
    """What came of a call, from Twilio's side. `ok` is false for any failure, error or warning."""

    call_sid: str
    scenario: str
    status: str
    ended_by: str | None
    said: list[str]
    heard: list[str]
    cut: list[str]
    errors: list[dict[str, Any]]
    warnings: list[dict[str, Any]]
    failures: list[str]
    duration_ms: int
    played_ms: int
    streams: int
    dialled: list[str]
    events: list[dict[str, Any]] = field(repr=False)

    @property
    def ok(self) -> bool:
        """Tell whether the call went as scripted, without an error or a warning."""
        return not (self.failures or self.errors or self.warnings)


@dataclass(slots=True)
class LiveCall:
    """A call in progress; `run` carries it from ringing to its report."""

    call_sid: str
    account_sid: str
    to: str
    from_: str
    direction: Direction
    voice: VoiceConfig
    scenario: Scenario
    webhooks: Webhooks
    callees: dict[str, Callee] = field(default_factory=dict)
    status_events: tuple[str, ...] = ("completed",)
    first_twiml: str | None = None
    pause_cap_seconds: float = 0.2  # <Pause> and <Say> need not last in a rehearsal
    extra_fields: dict[str, str] = field(default_factory=dict)
    # One for each <Gather>: a key, words that are said, or '': nothing.
    gather_keys: list[str] = field(default_factory=list)

    status: str = "queued"
    ended_by: str | None = None
    events: list[dict[str, Any]] = field(default_factory=list)
    errors: list[dict[str, Any]] = field(default_factory=list)
    notifications: list[dict[str, Any]] = field(default_factory=list)  # of requests that failed
    streams: list[StreamRun] = field(default_factory=list)
    forks: list[ForkRun] = field(default_factory=list)
    dialled: list[str] = field(default_factory=list)
    dialled_at: list[datetime] = field(default_factory=list)
    listeners: list[Callable[[dict[str, Any]], None]] = field(default_factory=list)
    started_at: datetime = field(default_factory=lambda: datetime.now(UTC))
    ended_at: datetime | None = None
    finished: asyncio.Event = field(default_factory=asyncio.Event)
    answered: asyncio.Event = field(default_factory=asyncio.Event)
    # The other leg, where a number of the account called another one.
    far: LiveCall | None = field(default=None, repr=False)

    _began_ms: int = field(default_factory=lambda: time.monotonic_ns() // 1_000_000)
    _answered: bool = False
    _sequence: int = 0
    _interrupted: asyncio.Event = field(default_factory=asyncio.Event)
    _replacement: tuple[Literal["twiml", "url"], str, str] | None = None
    _callbacks: set[asyncio.Task[None]] = field(default_factory=set)

    # -- outside ------------------------------------------------------------------------------

    @property
    def ended(self) -> bool:
        """Tell whether the call is over."""
        return self.ended_at is not None

    def complete_by_rest(self) -> None:
        """End the call: the stream gets `stop`, then it is closed (2.3)."""
        self.ended_by = "rest"
        self._interrupt()

    def replace_by_rest(self, kind: Literal["twiml", "url"], value: str, method: str) -> None:
        """Give the call other TwiML; the old document is gone (2.3)."""
        self._replacement = (kind, value, method)
        self._interrupt()

    def fork_error(self, code: int, text: str) -> None:
        """Log what a fork did wrong; the call goes on."""
        self._error(code, text)

    def hang_up(self) -> None:
        """The caller hangs up, now."""
        self.ended_by = self.ended_by or "caller"
        if self._stream is not None:
            self._stream.caller_hang_up()
        self._interrupted.set()

    async def run(self) -> CallReport:
        """Carry the call to its end and return the report."""
        try:
            if self.direction == "outbound-api" and "initiated" in self.status_events:
                self.status = "initiated"
                self._status_callback()
            self._set_status("ringing")
            document = await self._first_document()
            documents = 0
            while document is not None and documents < MAX_DOCUMENTS:
                documents += 1
                document = await self._execute(document)
                if self._replacement is not None and self.ended_by is None:
                    document = await self._replaced()
            if documents >= MAX_DOCUMENTS:
                self._error(11215, "too many documents")
        finally:
            self._finish()
        while self._callbacks:  # of a fork that has just ended
            await asyncio.wait(set(self._callbacks))
        self.finished.set()
        return self.report()

    def report(self) -> CallReport:
        """Return the state of the call as a report."""
        peers = [run.peer for run in self.streams]
        heard = [h for peer in peers for h in peer.heard]
        texts = [h.text for h in heard if h.complete]
        failures = self.scenario.expect.failures([h.text for h in heard], self.ended_by)
        stuck = next((peer.stuck_step for peer in peers if peer.stuck_step), None)
        if stuck is not None:
            failures.append(f"the caller waited in vain to {stuck.action} {stuck.text!r}")
        if any(run.second_status == 101 for run in self.streams):
            failures.append("the stream's URL was accepted a second time")
        warnings = [
            {"code": warned.code, "text": warned.text} for peer in peers for warned in peer.warnings
        ]
        expected = self.scenario.expect.codes
        end = self.ended_at or datetime.now(UTC)
        return CallReport(
            call_sid=self.call_sid,
            scenario=self.scenario.name,
            status=self.status,
            ended_by=self.ended_by,
            said=[text for peer in peers for text in peer.said],
            heard=texts,
            cut=[h.text for h in heard if not h.complete],
            errors=[each for each in self.errors if each["code"] not in expected],
            warnings=[each for each in warnings if each["code"] not in expected],
            failures=failures,
            duration_ms=int((end - self.started_at).total_seconds() * 1000),
            played_ms=sum(peer.played_bytes for peer in peers) // 8,
            streams=len(peers),
            dialled=list(self.dialled),
            events=list(self.events),
        )

    # -- notes --------------------------------------------------------------------------------

    @property
    def _stream(self) -> StreamRun | None:
        return self.streams[-1] if self.streams and self.streams[-1].running else None

    def note(self, kind: str, **fields: Any) -> None:
        """Record an event and tell the listeners."""
        at_ms = time.monotonic_ns() // 1_000_000 - self._began_ms
        event = {"at_ms": at_ms, "kind": kind, **fields}
        self.events.append(event)
        for listener in self.listeners:
            listener(event)

    def _error(self, code: int, text: str) -> None:
        self.errors.append({"code": code, "text": text})
        self.note("error", code=code, text=text)

    def _notify(self, code: int, url: str, method: str) -> None:
        """Keep an entry of the account's list of errors, which outlives the request."""
        self.notifications.append(
            {
                "sid": "NO" + uuid.uuid4().hex,
                "call_sid": self.call_sid,
                "error_code": str(code),
                "request_url": url.partition("#")[0],
                "request_method": method,
                "message_date": format_datetime(datetime.now(UTC)),
            }
        )

    def _set_status(self, status: str) -> None:
        self.status = status
        self.note("status", status=status)
        progress = {"ringing": "ringing", "in-progress": "answered"}.get(status, "completed")
        # An inbound call's callback fires only at the end (4.6).
        if progress == "completed" or (
            self.direction == "outbound-api" and progress in self.status_events
        ):
            self._status_callback()

    def _status_callback(self) -> None:
        if not self.voice.status_callback:
            return
        form = self.form() | {
            "Timestamp": format_datetime(datetime.now(UTC)),
            "SequenceNumber": str(self._sequence),
            "CallbackSource": "call-progress-events",
        }
        self._sequence += 1
        if self.ended_at is not None:
            seconds = int((self.ended_at - self.started_at).total_seconds())
            form |= {"CallDuration": str(seconds), "Duration": str(seconds // 60 + 1)}
        self.call_back(self.voice.status_callback, self.voice.status_callback_method, form)

    def call_back(self, url: str, method: str, form: dict[str, str]) -> None:
        """Send a callback whose answer does not matter, beside the call."""

        async def send() -> None:
            answer = await self.webhooks.fetch(url, method, form, idempotency=uuid.uuid4().hex)
            if answer.error_code is not None:
                self._error(answer.error_code, answer.error_text)

        task = asyncio.get_running_loop().create_task(send())
        self._callbacks.add(task)
        task.add_done_callback(self._callbacks.discard)

    def form(self) -> dict[str, str]:
        """Return the standard parameters of a voice request (1.1)."""
        return {
            "CallSid": self.call_sid,
            "AccountSid": self.account_sid,
            "From": self.from_,
            "To": self.to,
            "Caller": self.from_,
            "Called": self.to,
            "CallStatus": self.status,
            "Direction": self.direction,
            "ApiVersion": "2010-04-01",
            "CallerName": "",
            **self.extra_fields,
        }

    def _interrupt(self) -> None:
        if self._stream is not None:
            self._stream.end_by_rest()
        self._interrupted.set()

    def _finish(self) -> None:
        if self.ended_at is not None:
            return
        self.ended_at = datetime.now(UTC)
        for fork in self.forks:
            fork.stop()
        if self.status not in ("busy", "failed", "no-answer"):
            self.status = "completed"
        self._set_status(self.status)
        self.note("ended", status=self.status, ended_by=self.ended_by)
        if self.far is not None and not self.far.ended:
            self.far.hang_up()

    # -- documents ----------------------------------------------------------------------------

    async def _first_document(self) -> Document | None:
        if self.direction == "outbound-api" and self.far is not None:
            if not await self._rung(self.far):
                return None
            self._answer()
        elif self.direction == "outbound-api":
            callee = self.callees.get(self.to, Callee())
            await self._pause(callee.ring_seconds)
            if callee.outcome != "completed":
                self.status = callee.outcome
                return None
            self._answer()
        if self.first_twiml is not None:
            return self._parse(Answer(200, self.first_twiml, "text/xml"), "")
        if self.voice.source == "trunk":
            self.note("trunk")
            return None
        if not self.voice.voice_url:
            self._application_error(11100, "the number has no voice URL")
            return None
        return await self._fetch(self.voice.voice_url, self.voice.voice_method, {})

    async def _rung(self, far: LiveCall) -> bool:
        """Ring until the other leg is answered; False if it was not."""
        waits = [
            asyncio.ensure_future(event.wait())
            for event in (far.answered, far.finished, self._interrupted)
        ]
        await asyncio.wait(waits, return_when=asyncio.FIRST_COMPLETED)
        for wait in waits:
            wait.cancel()
        if far.answered.is_set() and not self._interrupted.is_set():
            return True
        self.status = far.status if far.status in ("busy", "failed") else "no-answer"
        return False

    def _to_far(self, audio: bytes | None) -> None:
        stream = self.far._stream if self.far is not None else None
        if stream is not None:
            stream.peer.overhear(audio)

    async def _fetch(self, url: str, method: str, extra: dict[str, str]) -> Document | None:
        """Ask for TwiML; on failure the fallback URL gets ErrorCode and ErrorUrl (1.3)."""
        form = self.form() | extra
        answer = await self.webhooks.fetch(url, method, form, idempotency=uuid.uuid4().hex)
        document = self._parse(answer, url)
        if document is not None:
            return document
        failed = self.errors[-1]["code"]
        self._notify(failed, url, method)
        if not self.voice.voice_fallback_url:
            self._application_error(failed, url)
            return None
        self.note("fallback", url=self.voice.voice_fallback_url, code=failed)
        form = self.form() | extra | {"ErrorCode": str(failed), "ErrorUrl": url}
        answer = await self.webhooks.fetch(
            self.voice.voice_fallback_url, self.voice.voice_fallback_method, form
        )
        document = self._parse(answer, self.voice.voice_fallback_url)
        if document is None:
            fallback = self.voice.voice_fallback_url, self.voice.voice_fallback_method
            self._notify(self.errors[-1]["code"], *fallback)
            self._application_error(failed, self.voice.voice_fallback_url)
        return document

    def _parse(self, answer: Answer, url: str) -> Document | None:
        if answer.error_code is not None:
            self._error(answer.error_code, answer.error_text)
            return None
        if len(answer.body.encode()) > MAX_TWIML_BYTES:
            self._error(11750, "the document is too large")
            return None
        try:
            document = parse_twiml(answer.body, answer.content_type)
        except TwimlError as error:
            self._error(error.code, f"{url}: {error.text}")
            return None
        self.note("twiml", url=url, body=answer.body)
        for code, text in document.notices:
            self._error(code, text)
        return document

    def _application_error(self, code: int, url: str) -> None:
        self.note("application_error", code=code, url=url)
        self.ended_by = "application_error"
        self.status = "failed" if not self._answered else "completed"

    async def _replaced(self) -> Document | None:
        assert self._replacement is not None
        kind, value, method = self._replacement
        self._replacement = None
        self._interrupted.clear()
        self.note("replaced", by=kind)
        if kind == "twiml":
            return self._parse(Answer(200, value, "text/xml"), "REST")
        return await self._fetch(value, method, {})

    # -- verbs --------------------------------------------------------------------------------

    async def _execute(self, document: Document) -> Document | None:
        """Run the verbs; return the next document, or None if the call ends here."""
        verbs = list(document.verbs)
        if verbs and verbs[0].name == "Reject":
            self.status = "busy" if verbs[0].attributes.get("reason") == "busy" else "no-answer"
            self.ended_by = "reject"
            self.note("reject", reason=verbs[0].attributes.get("reason", "rejected"))
            return None
        for verb in verbs:
            if self._interrupted.is_set():
                return None
            if not _leaves_it_ringing(verb):
                self._answer()
            if verb.name == "Hangup":
                break
            if verb.name == "Redirect":
                return await self._action(verb.text, verb.attributes.get("method", "POST"), {})
            ended, following = await self._verb(verb)
            if ended or self._interrupted.is_set():
                return following
        self.ended_by = self.ended_by or "twiml"
        return None

    async def _verb(self, verb: Verb) -> tuple[bool, Document | None]:
        """Run one verb; return whether it ended the document, and with what next one."""
        action = verb.attributes.get("action")
        method = verb.attributes.get("method", "POST")
        if verb.name == "Connect":
            ended_by = await self._connect(verb)
            if ended_by == "caller":
                self.ended_by = "caller"
                return True, None
            if self._interrupted.is_set():
                return True, None
            if action:
                return True, await self._action(action, method, {})
        elif verb.name == "Dial":
            extra = await self._dial(verb)
            if self._interrupted.is_set():
                return True, None
            if action:
                return True, await self._action(action, method, extra)
        elif verb.name == "Gather":
            for child in verb.children:
                await self._verb(child)
            answer = self.gather_keys.pop(0) if self.gather_keys else ""
            given = _gathered(answer, verb.attributes)
            self.note("gather", digits=given.get("Digits", ""), **verb.attributes)
            tells_nothing = verb.attributes.get("actionOnEmptyResult") == "true"
            if (given or tells_nothing) and not self._interrupted.is_set():
                return True, await self._action(action or "", method, given)
        else:
            children = [child.name for child in verb.children]
            self.note(verb.name.lower(), text=verb.text, children=children, **verb.attributes)
            far = self.far._stream if self.far is not None else None
            if far is not None and verb.attributes.get("digits"):
                far.peer.press(verb.attributes["digits"])
            if verb.name in ("Start", "Stop"):
                self._forked(verb)
            if verb.name in ("Say", "Play", "Pause"):
                await self._pause(float(verb.attributes.get("length", "1")))
        return False, None

    def _answer(self) -> None:
        if not self._answered:
            self._answered = True
            self.answered.set()
            self._set_status("in-progress")

    async def _action(self, url: str, method: str, extra: dict[str, str]) -> Document | None:
        self.note("action", url=url)
        return await self._fetch(urljoin(self.voice.voice_url, url), method, extra)

    async def _pause(self, seconds: float) -> None:
        try:
            async with asyncio.timeout(min(seconds, self.pause_cap_seconds)):
                await self._interrupted.wait()
        except TimeoutError:
            return

    async def _connect(self, verb: Verb) -> str | None:
        noun = verb.child("Stream")
        if noun is None:
            return None
        # The script goes on where an earlier stream of this call left it.
        steps: Sequence[CallerStep] = self.scenario.caller
        if self.streams:
            steps = self.streams[-1].peer.remaining_steps
        run = StreamRun.prepared(self, noun, steps)
        if self.far is not None:
            run.peer.far = self._to_far
        run.peer.tap = self._copied
        self.streams.append(run)
        ended_by = await run.carry()
        for error in run.errors:
            self._error(*error)
        if ended_by == "rest" and not self._interrupted.is_set():  # by the script
            if run.peer.other_twiml is not None:
                self.replace_by_rest("twiml", run.peer.other_twiml, "POST")
            else:
                self.complete_by_rest()
        return ended_by

    def _forked(self, verb: Verb) -> None:
        """Begin or end a fork; nothing waits for it (2.1)."""
        noun = verb.child("Stream")
        if noun is None:
            return
        if verb.name == "Stop":
            for fork in self.forks:
                if fork.name == noun.attributes.get("name"):
                    fork.stop()
            return
        fork = ForkRun(self, noun)
        self.forks.append(fork)
        task = asyncio.get_running_loop().create_task(fork.carry())
        self._callbacks.add(task)
        task.add_done_callback(self._callbacks.discard)

    def _copied(self, track: Track, audio: bytes) -> None:
        for fork in self.forks:
            fork.hear(track, audio)

    def _child_callback(self, dial: Verb, child_sid: str, to: str, outcome: str) -> None:
        """Report the end of a dialled leg to its noun's statusCallback (4.6)."""
        noun = next(iter(dial.children), None)
        url = noun.attributes.get("statusCallback") if noun is not None else None
        if noun is None or not url:
            return
        form = self.form() | {
            "CallSid": child_sid,
            "ParentCallSid": self.call_sid,
            "To": to,
            "Called": to,
            "Direction": "outbound-dial",
            "CallStatus": outcome,
            "CallbackSource": "call-progress-events",
            "SequenceNumber": "0",
            "Timestamp": format_datetime(datetime.now(UTC)),
        }
        self.call_back(url, noun.attributes.get("statusCallbackMethod", "POST"), form)

    async def _dial(self, verb: Verb) -> dict[str, str]:
        """Ring the target for at most ``timeout`` seconds; with whom it was bridged, and how."""
        noun = next(iter(verb.children), None)
        target = verb.text or (noun.text if noun is not None else "")
        callee, caller_id = self.callees.get(target, Callee()), verb.attributes.get("callerId", "")
        timeout = float(verb.attributes.get("timeout", "30"))
        if callee.ring_seconds > timeout:
            callee = Callee("no-answer", ring_seconds=timeout)
        on_sip = noun is not None and noun.name == "Sip"
        if caller_id and not on_sip and not _E164.fullmatch(caller_id):
            self._error(13214, f"Dial: invalid callerId {caller_id}")
            callee = Callee("failed", ring_seconds=0)
        self.dialled.append(target)
        self.dialled_at.append(datetime.now(UTC))
        self.note("dial", to=target, caller_id=caller_id, seconds=timeout)
        await self._pause(callee.ring_seconds)
        if callee.outcome == "completed":
            self._answer()
            self.note("bridged", to=target)
            await self._pause(callee.talk_seconds)
        child_sid = "CA" + uuid.uuid4().hex
        extra = {"DialCallStatus": callee.outcome, "DialCallSid": child_sid}
        self._child_callback(verb, child_sid, target, callee.outcome)
        if callee.outcome == "completed":
            extra |= {"DialCallDuration": "1", "DialBridged": "true"}
        self.note("dial_ended", to=target, status=callee.outcome)
        return extra
