"""The single-response gate: one response may write to the conversation, everybody queues.

Voice activity detection, tool outputs, greeting and goodbye all want the same slot
(openai_realtime.md 8, trap O15). Requests wait here; a request that lost the race goes back to the
front; a response that the server made by itself makes a waiting tool follow-up needless.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass

from calls.bridge.states import RESPONSE, Machine, Response


@dataclass(frozen=True, slots=True)
class Request:
    """A wish for a response. ``follow_up``: any new response answers it as well."""

    purpose: str
    instructions: str = ""
    tools_allowed: bool = True
    follow_up: bool = False

    def is_answered_by(self, knows_all: bool) -> bool:
        """Tell whether a response that the server made by itself makes this one needless."""
        return self.follow_up and (knows_all or self.purpose != "tool")


@dataclass(slots=True)
class Current:
    """The response that holds the slot."""

    event_id: str
    purpose: str
    request: Request | None
    since_ms: int
    response_id: str = ""
    heard_from_ms: int = 0
    has_audio: bool = False
    has_output: bool = False
    # Made with every tool output in the conversation that we had sent by then.
    knows_all: bool = False


class Responses:
    """Queue and slot; renders nothing, the bridge sends what ``next_request`` hands out."""

    def __init__(self) -> None:
        self.machine: Machine[Response] = Machine(Response.IDLE, RESPONSE)
        self.current: Current | None = None
        self.requested = 0
        self.created = 0
        self.conflicts = 0
        self._queue: deque[Request] = deque()
        self._done_ids: deque[str] = deque(maxlen=32)
        # Somebody else's response holds the slot, and we have not seen its `created`.
        self._blocked = False
        self._blocked_since_ms = 0

    @property
    def idle(self) -> bool:
        """Tell whether nothing is running, requested or waiting."""
        return self.machine.now is Response.IDLE and not self._queue

    @property
    def queue_waits(self) -> bool:
        """Tell whether a request is waiting for the slot."""
        return bool(self._queue)

    @property
    def running(self) -> bool:
        """Tell whether a response holds the slot."""
        return self.machine.now is not Response.IDLE

    @property
    def waiting(self) -> tuple[Request, ...]:
        """Return the requests that wait for the slot, next first."""
        return tuple(self._queue)

    def ask(self, request: Request, *, first: bool = False) -> None:
        """Queue a request; a second follow-up is the same wish and is dropped."""
        if request.follow_up and any(waiting.follow_up for waiting in self._queue):
            return
        if first:
            self._queue.appendleft(request)
        else:
            self._queue.append(request)

    def forget(self, purpose: str = "") -> None:
        """Drop every waiting request, or those of one purpose."""
        kept = [each for each in self._queue if purpose and each.purpose != purpose]
        self._queue = deque(kept)

    def withdraw(self, request: Request) -> None:
        """Drop one waiting request, if it still waits."""
        self._queue = deque(each for each in self._queue if each is not request)

    def next_request(self, event_id: str, now_ms: int) -> Request | None:
        """Hand out the next request and take the slot, if it is free."""
        if self.machine.now is not Response.IDLE or self._blocked or not self._queue:
            return None
        request = self._queue.popleft()
        self.machine.to(Response.REQUESTED)
        self.requested += 1
        self.current = Current(event_id, request.purpose, request, now_ms, heard_from_ms=now_ms)
        return request

    def on_created(self, response_id: str, now_ms: int, *, knows_all: bool = True) -> bool:
        """Note ``response.created``; False if a response is active already (peer's fault).

        ``knows_all``: the server has confirmed every tool output, so a follow-up is answered too.

        While ours is requested the new one is taken for ours. If it was the server's, the refusal
        of ours follows and ``on_refused`` puts things right.
        """
        if self.machine.now in (Response.ACTIVE, Response.CANCELLING):
            return False
        self._blocked = False
        if self.current is None:
            self.current = Current("", "turn", None, now_ms)
            self._queue = deque(
                waiting for waiting in self._queue if not waiting.is_answered_by(knows_all)
            )
        self.machine.to(Response.ACTIVE)
        self.current.response_id, self.current.knows_all = response_id, knows_all
        self.current.since_ms = self.current.heard_from_ms = now_ms
        self.created += 1
        return True

    def cancel(self) -> str | None:
        """Move to cancelling; return the id of the response, None if none is active."""
        if self.machine.now is not Response.ACTIVE or self.current is None:
            return None
        self.machine.to(Response.CANCELLING)
        return self.current.response_id

    def on_done(self, response_id: str) -> Current | None:
        """Free the slot if this response held it; return what it was."""
        self._done_ids.append(response_id)
        self._blocked = False
        current = self.current
        if current is None or current.response_id != response_id:
            return None
        self.machine.to(Response.IDLE)
        self.current = None
        return current

    def is_stale(self, response_id: str) -> bool:
        """Tell whether audio of this response must not be played (traps T11, O10)."""
        return (
            self.current is None
            or self.current.response_id != response_id
            or self.machine.now is not Response.ACTIVE
        )

    def is_cancelling(self, response_id: str) -> bool:
        """Tell whether this response has been cancelled and its end is awaited."""
        return (
            self.machine.now is Response.CANCELLING
            and self.current is not None
            and self.current.response_id == response_id
        )

    def on_refused(self, event_id: str, *, active_elsewhere: bool, now_ms: int) -> Request | None:
        """Note that our request failed; return it, or None if it was not the current one.

        ``active_elsewhere``: another response holds the slot, so ours goes back to the front and
        waits for that one's end.
        """
        current = self.current
        if not event_id or current is None or current.event_id != event_id:
            return None
        request = current.request
        if active_elsewhere:
            self.conflicts += 1
            won = self.machine.now is not Response.REQUESTED
            # The winner answers what the caller said; a tool output only if it was there by then.
            if request is not None and not (request.is_answered_by(won and current.knows_all)):
                self.ask(request, first=True)
        if self.machine.now is Response.REQUESTED:
            self.machine.to(Response.IDLE)
            self.current = None
            if active_elsewhere:
                self._blocked, self._blocked_since_ms = True, now_ms
        else:
            current.event_id, current.purpose, current.request = "", "turn", None
        return request

    def blocked_since_ms(self) -> int | None:
        """Return since when an unseen response blocks the slot."""
        return self._blocked_since_ms if self._blocked else None

    def unblock(self) -> None:
        """Believe that the unseen response is gone."""
        self._blocked = False

    def give_up(self) -> Current | None:
        """Free the slot whatever the server thinks; return what held it."""
        current, self.current = self.current, None
        if self.machine.now is not Response.IDLE:
            self.machine.to(Response.IDLE)
        return current

    def was_done(self, response_id: str) -> bool:
        """Tell whether a response has ended already (each is billed once)."""
        return response_id in self._done_ids
