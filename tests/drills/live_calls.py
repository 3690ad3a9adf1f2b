"""Calls placed from this process to a running instance: callers, carrier and model are ours, so it
is known to the millisecond what was heard, and a model that knows only what its session was told.

Every caller gives a name of its own and asks for it at the end; who answers it right has the
conversation's history. Shared by the drills that kill media and those that replace it.
"""

from __future__ import annotations

import asyncio
import json
import re
import socket
import threading
import time
import uuid
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from contextlib import contextmanager
from dataclasses import dataclass, field, replace

from calls.bridge.toolbox import LOST_RESULT
from calls.services.call_history import LOST_WORDS
from calls.standins.book import StandinBook
from calls.standins.caller import CallerStep
from calls.standins.peer import Output
from calls.standins.realtime_brain import CallTool, Part, Speak, Turn, sentence_to_say
from calls.standins.realtime_peer import RealtimePeer
from calls.standins.realtime_profile import RealtimeProfile
from calls.standins.scenario import Scenario
from calls.standins.server import StandinApp, make_server
from calls.standins.tones import BYTES_PER_MS, utterance_ms
from calls.standins.tool_server import ToolReply
from calls.standins.twilio_call import CallReport, LiveCall
from calls.standins.twilio_carrier import Carrier
from calls.standins.twilio_media import TwilioMediaPeer
from tests.acceptance.calls_rig import CallsRig
from tests.acceptance.outside import in_instance
from tests.platform import Platform, wait_until

GREETING = "Good morning, this is Harbour Dental, how can I help you today?"
PERSON = "+15550100099"
# What was complete so long before a kill is stored.
STORED_MS = 250
WHO = re.compile(r"my name is (\w+)", re.IGNORECASE)
END = re.compile(r"You are (\w+)\.")
AGAIN = "The line was bad, please say that again."
WHO_ARE_YOU = "Who are you, please?"
NICE = "Nice to meet you {}, I am glad that you call. Tell me what I can do for you, please."
LOOK_UP, BOOK, CONNECT = "look up my order.", "book me in.", "connect me to a person."
CHECK_FIRST = "I do not know whether that worked, I have to check first."
TOOLS = {LOOK_UP: "look_up", BOOK: "book_in", CONNECT: "transferCall"}

_ROWS = """
from assistants.services import assistant_publish
from tests import factories

anything = {{"type": "object", "properties": {{}}}}

def function(name, **more):
    return {{"type": "function", "function": {{"name": name, "parameters": anything}}, **more}}

organisation = factories.make_organisation("Drills {sid}")
document = {{
    "name": "Harbour Dental",
    "firstMessage": {greeting!r},
    "firstMessageMode": "assistant-speaks-first",
    "model": {{"provider": "openai", "model": "gpt-4o", "messages": [], "tools": [
        function("look_up", idempotent=True),
        function("book_in"),
        {{
            "type": "transferCall",
            "function": {{"name": "transferCall", "parameters": anything}},
            "destinations": [{{"type": "number", "number": {person!r}}}],
        }},
    ]}},
    "voice": {{"provider": "openai", "voiceId": "marin"}},
    "transcriber": {{"provider": "deepgram", "model": "nova-3", "language": "en"}},
    "server": {{"url": "{url}/tools/hook"}},
    "serverMessages": ["end-of-call-report"],
}}
number = factories.make_number(
    organisation,
    assistant=assistant_publish(
        organisation=organisation, document=document, source="seed", actor=None
    ),
    twilio_account=factories.make_account(
        organisation, account_sid="{sid}", auth_token="{token}", api_base_url="{url}"
    ),
    connection=factories.make_connection(
        organisation, realtime_url="{socket}/v1/realtime", rest_base_url="{url}/v1"
    ),
)
print(number.number_e164)
"""


def now_ms() -> int:
    """Return the clock of the stand-ins: monotonic ms."""
    return time.monotonic_ns() // 1_000_000


class KnowingBrain:
    """Answers from the conversation as this session knows it, and from nothing else."""

    def __init__(self, asked: Callable[[str, str], None]) -> None:
        self._asked = asked

    def reply(self, turn: Turn) -> list[Part]:
        """Return the parts of the next response."""
        exact = sentence_to_say(turn.instructions)
        if exact is not None:
            return [Speak(exact)]
        users = [text for role, text in turn.history if role == "user"]
        heard = turn.heard or (users[-1] if users else "")
        names = [found[1] for text in [*users, heard] if (found := WHO.search(text))]
        name = names[-1] if names else "nobody"
        known = [text for role, text in turn.history if role == "function_call_output"]
        outputs = [each.output for each in turn.outputs] or known
        # Asked once more, because the caller got no answer, it is not done once more.
        called = [role for role, _ in turn.history].count("function_call")
        if (turn.heard is None and self._calls_since(turn)) or (called and self._wish(heard)):
            if called > len(known):
                return [Speak("I am still looking.")]
            lost = outputs[-1] == LOST_RESULT
            return [Speak(CHECK_FIRST if lost else f"The result is {outputs[-1]}.")]
        for request, tool in TOOLS.items():
            if request in heard:
                self._asked(name, tool)
                return [Speak("One moment."), CallTool(tool, "{}")]
        if "What is my name" in heard and not names and LOST_WORDS in users:
            return [Speak(WHO_ARE_YOU)]
        if "What is my name" in heard:
            return [Speak(f"You are {name}.")]
        if heard == LOST_WORDS:
            return [Speak(AGAIN)]
        return [Speak(NICE.format(name) if names else "How can I help?")]

    @staticmethod
    def _wish(heard: str) -> bool:
        return any(request in heard for request in TOOLS)

    @staticmethod
    def _calls_since(turn: Turn) -> bool:
        """Tell whether a function was called since the caller spoke, as this session knows it."""
        roles = [role for role, _ in turn.history]
        since = len(roles) - roles[::-1].index("user") if "user" in roles else 0
        return "function_call" in roles[since:]


class Book(StandinBook):
    """Gives every session a brain without a memory, and notes when what words were told to us."""

    def __init__(self, asked: Callable[[str, str], None]) -> None:
        super().__init__()
        self._asked = asked
        self.transcribed: list[tuple[int, str]] = []

    def new_session(self, profile: RealtimeProfile | None, epoch_seconds: int) -> RealtimePeer:
        """Return a peer for a new connection."""
        peer = super().new_session(profile, epoch_seconds)
        peer.brain = KnowingBrain(self._asked)
        peer.drain = self._noting(peer.drain)  # type: ignore[method-assign]  # one object's own
        return peer

    def _noting(self, drain: Callable[[], list[Output]]) -> Callable[[], list[Output]]:
        def noted() -> list[Output]:
            outputs = drain()
            for each in outputs:
                text = getattr(each, "data", "")
                if isinstance(text, str) and "input_audio_transcription.completed" in text:
                    self.transcribed.append((now_ms(), json.loads(text)["transcript"]))
            return outputs

        return noted


@dataclass
class Placed:
    """One call in progress, as its caller and its carrier know it."""

    name: str
    live: LiveCall
    task: Future[CallReport]
    begun_ms: int = field(default_factory=now_ms)
    asked_ms: dict[str, int] = field(default_factory=dict)  # tool: when the model called it first

    @property
    def peers(self) -> list[TwilioMediaPeer]:
        """The streams so far, in order."""
        return [run.peer for run in list(self.live.streams)]

    def sounds(self) -> list[tuple[int, int]]:
        """Return what was heard on the line, of either side, as [from, to) in ms.

        Words only: the tone that covers a wait is left out, so a silence is never told too short.
        """
        return sorted([*self.agent_sounds(), *self.caller_sounds()])

    def agent_sounds(self) -> list[tuple[int, int]]:
        """Return when the agent was heard."""
        return [
            (peer._start_ms + each.start_byte // BYTES_PER_MS,
             peer._start_ms + each.end_byte // BYTES_PER_MS)
            for peer in self.peers
            for each in list(peer.heard)
        ]  # fmt: skip

    def caller_sounds(self) -> list[tuple[int, int]]:
        """Return when the caller spoke, up to the end of the stream at most."""
        return [
            (moment.at_ms, min(moment.at_ms + utterance_ms(moment.text), _end_of(peer)))
            for peer in self.peers
            for moment in list(peer.timeline)
            if moment.kind == "said"
        ]

    def is_playing(self) -> bool:
        """Tell whether audio of the agent waits to be played or is playing."""
        peers = self.peers
        line = peers[-1]._playout if peers else None
        return line is not None and line.queued_ms > 0

    def dialled_ms(self) -> int | None:
        """Return when a person was dialled, None if nobody was."""
        begun_ms = self.live._began_ms
        dials = [e["at_ms"] + begun_ms for e in list(self.live.events) if e["kind"] == "dial"]
        return dials[0] if dials else None

    def silence_after(self, kill_ms: int, *, waits_for_tool: bool) -> int | None:
        """Return the silence around a kill in ms, None if nothing was heard after it.

        It begins with the last sound before the kill, or with the kill where the caller was
        waiting for a tool anyway.
        """
        later = [begin for begin, _ in self.sounds() if begin > kill_ms]
        dialled_ms = self.dialled_ms()
        if dialled_ms is not None and dialled_ms > kill_ms:
            later.append(dialled_ms)  # it rings
        if not later:
            return None
        earlier = [min(end, kill_ms) for begin, end in self.sounds() if begin <= kill_ms]
        since_ms = kill_ms if waits_for_tool else max(earlier, default=self.begun_ms)
        return min(later) - since_ms


def _end_of(peer: TwilioMediaPeer) -> int:
    ends = [moment.at_ms for moment in list(peer.timeline) if moment.kind in ("stop", "close")]
    return ends[0] if ends else 1 << 60


@dataclass
class LiveCalls:
    """The stand-ins of this process and a number of the instance that uses them."""

    platform: Platform
    carrier: Carrier
    app: StandinApp
    number: str
    loop: asyncio.AbstractEventLoop
    placed: dict[str, Placed] = field(default_factory=dict)

    @property
    def rig(self) -> CallsRig:
        """The instance's database."""
        return CallsRig(self.platform.base_url, self.platform.var_dir / "db.sqlite3")

    def place(self, *caller: CallerStep) -> Placed:
        """Place a call whose caller takes these steps; ``{}`` in a text is the caller's name."""
        name = f"Caller{len(self.placed)}"
        steps = tuple(_spoken_by(name, step) for step in caller)

        async def begin() -> tuple[LiveCall, asyncio.Task[CallReport]]:
            return self.carrier.start_call(
                self.number, "+15550107777", scenario=Scenario(name, caller=steps)
            )

        live, task = asyncio.run_coroutine_threadsafe(begin(), self.loop).result(10)

        async def end() -> CallReport:
            return await task

        placed = Placed(name, live, asyncio.run_coroutine_threadsafe(end(), self.loop))
        self.placed[name] = placed
        return placed

    def knew(self, placed: Placed, kill_ms: int) -> bool | None:
        """Tell whether the caller's name was told to us well before a kill, None: just before."""
        book = self.app.book
        assert isinstance(book, Book)
        said = [at for at, text in book.transcribed if f"name is {placed.name}" in text]
        if not said or said[0] > kill_ms:
            return False
        return None if said[0] > kill_ms - STORED_MS else True

    def status(self, placed: Placed) -> str:
        """Return the stored status of a call."""
        return str(self.rig.call(placed.live.call_sid)["status"])

    def spoken(self, placed: Placed) -> list[tuple[str, str]]:
        """Return (role, text) of the stored transcript of a call."""
        sql = (
            "SELECT role, text FROM calls_turn t JOIN calls_call c ON c.id = t.call_id "
            "WHERE c.call_sid = ? ORDER BY ordinal"
        )
        return [(role, text) for role, text in self.rig.query(sql, placed.live.call_sid)]

    def outbox(self, placed: Placed) -> list[tuple[object, ...]]:
        """Return what is to be told of a call and how far that has come."""
        sql = (
            "SELECT c.status, c.report_due_at, c.stream_count, c.metrics, e.kind, e.state, "
            "e.attempt_count, e.next_attempt_at, e.lease_until FROM calls_call c "
            "LEFT JOIN calls_outboxevent e ON e.call_id = c.id WHERE c.call_sid = ?"
        )
        return list(self.rig.query(sql, placed.live.call_sid))

    def answer_after(self, seconds: float) -> None:
        """Let the tools take so long from now on."""
        self.app.tools.replies = {"*": ToolReply(result="number 77", delay_seconds=seconds)}

    def posted(self, placed: Placed, tool: str) -> list[str]:
        """Return the tool_call_ids of the requests that came for a call's tool."""
        return [
            request.tool_call_ids[0]
            for request in list(self.app.tools.ledger)
            if request.names == [tool]
            and request.body["message"]["call"]["phoneCallProviderId"] == placed.live.call_sid
        ]

    def reports(self, placed: Placed) -> list[str]:
        """Return the event ids under which the end of a call was reported."""
        return [
            request.headers["x-voiceplatform-event-id"]
            for request in list(self.app.tools.ledger)
            if request.body["message"].get("type") == "end-of-call-report"
            and request.body["message"]["call"]["phoneCallProviderId"] == placed.live.call_sid
        ]

    def note(self, name: str, tool: str) -> None:
        """Note that the model called a tool for a caller."""
        if name in self.placed:
            self.placed[name].asked_ms.setdefault(tool, now_ms())


def _spoken_by(name: str, step: CallerStep) -> CallerStep:
    retorts = tuple((pattern, text.format(name)) for pattern, text in step.retorts)
    return replace(step, text=step.text.format(name), retorts=retorts)


@contextmanager
def live_calls(platform: Platform) -> Iterator[LiveCalls]:
    """Run stand-ins in a thread of this process and give the instance a number that uses them."""
    sock = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
    sock.bind(("127.0.0.1", 0))
    sock.listen(128)
    url = f"http://127.0.0.1:{sock.getsockname()[1]}"
    sid, token = "AC" + uuid.uuid4().hex, uuid.uuid4().hex
    rows = _ROWS.format(
        sid=sid,
        token=token,
        url=url,
        socket=url.replace("http", "ws"),
        greeting=GREETING,
        person=PERSON,
    )
    number = in_instance(platform, rows)[-1]
    running: list[LiveCalls] = []
    book = Book(lambda name, tool: running[0].note(name, tool))
    carrier = Carrier(platform.base_url, token, sid, book=book)
    app = StandinApp(book, carrier)
    server = make_server(app)
    loop = asyncio.new_event_loop()

    async def serve() -> None:
        await server._serve([sock])
        await app.twilio.close()

    thread = threading.Thread(target=lambda: loop.run_until_complete(serve()), daemon=True)
    thread.start()
    wait_until(lambda: server.started, what="the stand-ins")
    running.append(LiveCalls(platform, carrier, app, number, loop))
    try:
        yield running[0]
    finally:
        server.should_exit = True
        thread.join(20)
        loop.close()
        sock.close()
