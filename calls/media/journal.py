"""What a live call leaves behind, on its way to the database in batches.

Writes never block the bridge: turns and tool calls are kept by key, the newest state wins, and a
task stores them all at most every half second, what is complete at once: the process may be killed
and the next stream begins with what is stored. What the database does not take is put on disk by a
thread of its own (``services.spool``) and waits there and here. Pieces of the replay record are
bounded; when the database is away too long the newest ones are dropped and counted, turns never
are. So are news for a server (``news``), which are stored with the turns that they tell of.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

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
    StreamEnded,
)
from calls.media import database, live
from calls.media.database import in_database
from calls.media.news import WaitingNews
from calls.media.spooling import on_disk
from calls.privacy.keeping import EVERYTHING, Keeping
from calls.services import journal as store
from calls.services.call_finish import stream_finish
from calls.services.server_messages.targets import Target
from calls.services.spool import Spool, Waiting, spool_replay

BATCH_SECONDS = 0.5
RETRY_SECONDS = 2.0
# A database that takes longer may be gone; the process may be killed before it says so.
PATIENCE_SECONDS = 2.0
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
        self._earlier: list[tuple[RecordHandoff, Keeping]] = []
        self._dial_to = ""
        self._told = WaitingNews()
        self._handoffs: list[RecordHandoff] = []
        self._turns: dict[int, RecordTurn] = {}
        self._tools: dict[str, RecordTool] = {}
        self._policy: PolicyLinePlayed | None = None
        self._refused = False
        self._emergency = False
        self._pieces: list[tuple[int, str]] = []
        self._spool = Spool(call_id, stream_number)
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
            if self._keeping is not None and self._keeping is not EVERYTHING:
                # What was said before, and is stored or comes only now, stays under its own rules.
                self._earlier.append((effect, self._keeping))
                effect = self._keeping.handoff(effect)
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

    async def close(
        self, ended: StreamEnded | None = None, finish: Callable[..., None] = stream_finish
    ) -> bool:
        """Store what is left, and with ``ended`` that the stream is over, by ``finish``.

        Waits for the database as long as the end of a stream does. Returns False if it did not come
        back: what is on disk is stored when it does, by whoever carries it then.
        """
        values = None if ended is None else _values(ended)
        left: Path | None = None
        for pause_seconds in (*database.RETRY_PAUSES_SECONDS, None):
            if left is not None:
                if await self._replayed(left):
                    return True
            elif await self._store() and await self._finished(values, finish):
                return True
            else:
                # The next stream of the call begins with what is on disk, and may come any moment.
                left = await self._left_on_disk(values)
            if pause_seconds is not None:
                await asyncio.sleep(pause_seconds)
        return False

    async def _finished(
        self, values: Mapping[str, Any] | None, finish: Callable[..., None]
    ) -> bool:
        if values is None:
            return True
        try:
            await in_database(
                finish, call_id=self._call_id, stream_number=self._stream_number, **values
            )
        except DatabaseError as error:
            log.error("end_not_stored", call_id=self._call_id, error=type(error).__name__)
            return False
        return True

    async def _left_on_disk(self, values: Mapping[str, Any] | None) -> Path | None:
        """Put all that is left on disk and let go of it; None: the disk does not take it."""
        async with self._storing:
            waiting = self._take()
            is_kept = not waiting or await self._keep(waiting)
            if is_kept and values is not None:
                is_kept = await on_disk(self._spool.keep_end, values)
            if is_kept:
                await on_disk(self._spool.release)
                return self._spool.path
            self._put_back(waiting)
            return None

    async def _replayed(self, path: Path) -> bool:
        try:
            return await in_database(spool_replay, path)
        except DatabaseError:
            return False

    async def _keep(self, waiting: Waiting) -> bool:
        spend_microusd, stream_ms = self._spent()
        return await on_disk(
            self._spool.keep,
            waiting,
            self._keeping,
            spend_microusd=spend_microusd,
            stream_ms=stream_ms,
        )

    def _take(self) -> Waiting:
        self._news.clear()
        self._urgent.clear()
        waiting = Waiting(
            turns=self._as_said(self._turns),
            tools=self._as_called(self._tools),
            handoffs=self._handoffs,
            policy=self._policy,
            pieces=self._pieces,
            news=self._as_told(self._told.take()),
            refused=self._refused,
            emergency=self._emergency,
            dial_to=self._dial_to,
        )
        self._turns, self._tools, self._handoffs, self._pieces = {}, {}, [], []
        self._policy, self._dial_to = None, ""
        return waiting

    def _as_said(self, turns: dict[int, RecordTurn]) -> dict[int, RecordTurn]:
        """Return turns, those from before a handoff under the rules of whoever had the call."""
        for handoff, keeping in self._earlier:
            turns = {
                number: keeping.turn(turn) if number < handoff.first_ordinal else turn
                for number, turn in turns.items()
            }
        return turns

    def _as_called(self, tools: dict[str, RecordTool]) -> dict[str, RecordTool]:
        """Return tool calls as ``_as_said`` does turns."""
        for handoff, keeping in self._earlier:
            tools = {
                name: keeping.tool(tool) if tool.started_ms <= handoff.at_ms else tool
                for name, tool in tools.items()
            }
        return tools

    def _as_told(self, news: list[CallNews]) -> list[CallNews]:
        """Return news as ``_as_said`` does turns, without those that may not be told."""
        for handoff, keeping in self._earlier:
            kept = (
                keeping.news(each) if each.turn < handoff.first_ordinal else each for each in news
            )
            news = [each for each in kept if each is not None]
        return news

    def _with_what_came(self, waiting: Waiting) -> Waiting:
        """Return what is being stored together with what has come since it was taken."""
        return Waiting(
            turns=self._as_said(waiting.turns | self._turns),
            tools=self._as_called(waiting.tools | self._tools),
            handoffs=waiting.handoffs + self._handoffs,
            policy=self._policy or waiting.policy,
            pieces=waiting.pieces + self._pieces,
            news=self._as_told([*waiting.news, *self._told]),
            refused=self._refused,
            emergency=self._emergency,
            dial_to=self._dial_to or waiting.dial_to,
        )

    def _put_back(self, waiting: Waiting) -> None:
        both = self._with_what_came(waiting)
        self._turns, self._tools = both.turns, both.tools
        self._handoffs, self._pieces = both.handoffs, both.pieces
        self._policy, self._dial_to = both.policy, both.dial_to
        self._told.put_back(waiting.news)
        self._news.set()

    async def _store(self) -> bool:
        async with self._storing:
            waiting = self._take()
            if not waiting:
                return True
            if self._spool.is_open:
                # What is on disk is never older than what the database may have.
                await self._keep(waiting)
            work = asyncio.create_task(self._stored(waiting))
            while not (await asyncio.wait({work}, timeout=PATIENCE_SECONDS))[0]:
                await self._keep(self._with_what_came(waiting))
            if not await work:
                await self._keep(waiting)
                self._put_back(waiting)
                return False
            if self._spool.is_open:
                await on_disk(self._spool.discard)
            return True

    async def _stored(self, waiting: Waiting) -> bool:
        spend_microusd, stream_ms = self._spent()
        keeping = self._keeping
        try:
            kept = await in_database(
                store.batch_store,
                call_id=self._call_id,
                stream_number=self._stream_number,
                turns=list(waiting.turns.values()),
                tools=list(waiting.tools.values()),
                handoffs=waiting.handoffs,
                policy=waiting.policy,
                pieces=waiting.pieces,
                refused=waiting.refused,
                emergency=waiting.emergency,
                dial_to=waiting.dial_to,
                spend_microusd=spend_microusd,
                stream_ms=stream_ms,
                news=waiting.news,
                target=self._target,
                keeping=keeping,
            )
        except DatabaseError as error:
            # The name alone: PostgreSQL quotes the row, and the row is what was said.
            log.error("journal_not_stored", call_id=self._call_id, error=type(error).__name__)
            return False
        if keeping is None and not self._handoffs:
            self._keeping = kept
        return True


def _values(ended: StreamEnded) -> dict[str, Any]:
    return {
        "ended_reason": ended.ended_reason,
        "call_over": ended.call_over,
        "metrics": ended.metrics,
    }
