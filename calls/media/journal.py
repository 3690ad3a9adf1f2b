"""What a live call leaves behind, on its way to the database in batches.

Writes never block the bridge: turns and tool calls are kept by key, the newest state wins, and a
task stores them all at most every half second, what is complete at once: the process may be killed
and the next stream begins with what is stored. Pieces of the replay record are bounded; when the
database is away too long the newest ones are dropped and counted, turns never are. So are news for
a server (``news``), which are stored with the turns that they tell of.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable, Mapping

import structlog
from django.db import DatabaseError

from calls.bridge.effects import (
    CallNews,
    Effect,
    EmergencyHeard,
    NextStep,
    PolicyLinePlayed,
    PolicyRefused,
    RecordHandoff,
    RecordTool,
    RecordTurn,
)
from calls.media import database, live
from calls.media.database import in_database
from calls.media.news import WaitingNews
from calls.privacy.keeping import EVERYTHING, Keeping
from calls.services import journal as store
from calls.services.server_messages.targets import Target

BATCH_SECONDS = 0.5
RETRY_SECONDS = 2.0
MAX_WAITING_PIECES = 60

log = structlog.get_logger(__name__)


class CallJournal:
    """The journal of one stream; ``run`` is its task, ``close`` its last word.

    ``transfers`` says of each tool that hands the caller to another number which one that is,
    ``spent`` what the stream has cost so far (micro-USD), and how long it has lasted (ms),
    ``keeping`` what of the call may be kept: all else is gone before it is stored; ``target`` is
    who is told the news of the call.
    """

    def __init__(
        self,
        call_id: str,
        stream_number: int,
        transfers: Mapping[str, str] | None = None,
        spent: Callable[[], tuple[int, int]] = lambda: (0, 0),
        target: Target | None = None,
        keeping: Keeping = EVERYTHING,
    ) -> None:
        self._call_id = call_id
        self._stream_number = stream_number
        self._transfers = transfers or {}
        self._spent = spent
        self._target = target
        self._keeping: Keeping | None = keeping
        self._dial_to = ""
        self._told = WaitingNews()
        self._turns: dict[int, RecordTurn] = {}
        self._tools: dict[str, RecordTool] = {}
        self._handoffs: list[RecordHandoff] = []
        self._policy: PolicyLinePlayed | None = None
        self._refused = False
        self._emergency = False
        self._pieces: list[tuple[int, str]] = []
        self._next_piece = 0
        self._news = asyncio.Event()
        self._urgent = asyncio.Event()
        self._storing = asyncio.Lock()
        self._batch: asyncio.Task[bool] | None = None
        self.dropped_pieces = 0

    def write(self, effect: Effect) -> None:
        """Take a record to store."""
        if isinstance(effect, RecordTurn):
            self._turns[effect.ordinal] = effect
            if effect.ended_ms is not None:
                self._urgent.set()
        elif isinstance(effect, RecordTool):
            self._tools[effect.tool_call_id] = effect
            if effect.state != "running":
                self._urgent.set()
            if effect.state == "ok" and effect.name in self._transfers:
                # Decided: whatever becomes of this stream, the caller reaches that person.
                self._dial_to = self._transfers[effect.name]
        elif isinstance(effect, RecordHandoff):
            self._handoffs.append(effect)
            self._keeping = None  # the rules of whoever has the call now
            self._transfers = effect.transfers
            self._urgent.set()
        elif isinstance(effect, CallNews):
            self._told.add(effect)
        elif isinstance(effect, PolicyLinePlayed):
            self._policy = effect
        elif isinstance(effect, PolicyRefused):
            self._refused = True
        elif isinstance(effect, EmergencyHeard):
            self._emergency = True
        self._news.set()

    def write_inputs(self, text: str) -> None:
        """Take a piece of the replay record; none once the caller has refused."""
        if self._refused or (self._keeping is not None and not self._keeping.inputs):
            return
        if len(self._pieces) >= MAX_WAITING_PIECES:
            self.dropped_pieces += 1
            return
        self._pieces.append((self._next_piece, text))
        self._next_piece += 1
        self._news.set()

    async def set_next_step(self, step: NextStep, dial_to: str = "") -> None:
        """Store what the action URL will answer.

        Whoever resumes the call begins with what is stored then, so that comes first.
        """
        if step == "resume":
            await self._store()
        try:
            await in_database(
                store.next_step_store,
                call_id=self._call_id,
                step=step,
                dial_to=dial_to,
                handed_over=step == "resume" and live.is_ending(),
            )
        except DatabaseError as error:
            # Without a stored step the action URL resumes, which keeps the caller.
            log.error("next_step_not_stored", call_id=self._call_id, error=type(error).__name__)

    async def run(self) -> None:
        """Store news until cancelled."""
        while True:
            await self._news.wait()
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(BATCH_SECONDS):
                    await self._urgent.wait()
            # Being cancelled must not lose the batch in hand: `close` waits for it by the lock.
            self._batch = asyncio.create_task(self._store())
            if not await asyncio.shield(self._batch):
                await asyncio.sleep(RETRY_SECONDS)

    async def close(self) -> bool:
        """Store what is left, waiting for the database as long as the end of a stream does.

        Returns False if it did not come back.
        """
        for pause_seconds in database.RETRY_PAUSES_SECONDS:
            if await self._store():
                return True
            await asyncio.sleep(pause_seconds)
        return await self._store()

    async def _store(self) -> bool:
        async with self._storing:
            self._news.clear()
            self._urgent.clear()
            turns, self._turns = self._turns, {}
            tools, self._tools = self._tools, {}
            handoffs, self._handoffs = self._handoffs, []
            policy, self._policy = self._policy, None
            pieces, self._pieces = self._pieces, []
            refused, emergency = self._refused, self._emergency
            dial_to, self._dial_to = self._dial_to, ""
            news = self._told.take()
            changed = turns or tools or handoffs or policy or pieces or news
            if not (changed or refused or emergency):
                return True
            spend_microusd, stream_ms = self._spent()
            try:
                await in_database(
                    store.batch_store,
                    call_id=self._call_id,
                    stream_number=self._stream_number,
                    turns=list(turns.values()),
                    tools=list(tools.values()),
                    handoffs=handoffs,
                    policy=policy,
                    pieces=pieces,
                    refused=refused,
                    emergency=emergency,
                    dial_to=dial_to,
                    spend_microusd=spend_microusd,
                    stream_ms=stream_ms,
                    news=news,
                    target=self._target,
                    keeping=self._keeping,
                )
            except DatabaseError as error:
                self._turns = turns | self._turns
                self._tools = tools | self._tools
                self._handoffs = handoffs + self._handoffs
                self._policy = self._policy or policy
                self._pieces = pieces + self._pieces
                self._dial_to = self._dial_to or dial_to
                self._told.put_back(news)
                self._news.set()
                # The name alone: PostgreSQL quotes the row, and the row is what was said.
                log.error("journal_not_stored", call_id=self._call_id, error=type(error).__name__)
                return False
            return True
