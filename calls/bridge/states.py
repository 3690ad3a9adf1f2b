"""The five small machines of a call: their states and transitions, as data.

A call is the product of five orthogonal machines; writing the product down would need hundreds of
states. As h11 does it, each machine has its own table and one function (``CallBridge._settle``)
couples them. A transition missing from a table is never taken: if the peer asked for it, the
message is counted as a protocol error; if we did, it is a ``LocalBridgeError``.
"""

from __future__ import annotations

from collections.abc import Mapping
from enum import Enum, auto
from typing import Generic, TypeVar


class LocalBridgeError(Exception):
    """The driver or the bridge itself broke the rules; a bug of ours, never the peer's."""


class Stream(Enum):
    """Twilio's side of the media socket."""

    EXPECT_CONNECTED = auto()
    EXPECT_START = auto()
    STREAMING = auto()
    STOPPED = auto()


class Realtime(Enum):
    """The model's socket."""

    DIALING = auto()
    EXPECT_CREATED = auto()
    CONFIGURING = auto()
    READY = auto()
    CLOSED = auto()


class Response(Enum):
    """The one response that may write to the conversation (openai_realtime.md 8)."""

    IDLE = auto()
    REQUESTED = auto()
    ACTIVE = auto()
    CANCELLING = auto()


class Playing(Enum):
    """What Twilio still has to play, as far as marks have told."""

    SILENT = auto()
    PLAYING = auto()


class Phase(Enum):
    """The call as a whole. CLOSING: the hang-up has been asked for, nothing more is said."""

    OPEN = auto()
    CLOSING = auto()
    CLOSED = auto()


State = TypeVar("State", bound=Enum)

STREAM: Mapping[Stream, frozenset[Stream]] = {
    Stream.EXPECT_CONNECTED: frozenset({Stream.EXPECT_START, Stream.STOPPED}),
    Stream.EXPECT_START: frozenset({Stream.STREAMING, Stream.STOPPED}),
    Stream.STREAMING: frozenset({Stream.STOPPED}),
    Stream.STOPPED: frozenset(),
}
REALTIME: Mapping[Realtime, frozenset[Realtime]] = {
    Realtime.DIALING: frozenset({Realtime.EXPECT_CREATED, Realtime.CLOSED}),
    # Back to DIALING: this session is lost and another one is on its way.
    Realtime.EXPECT_CREATED: frozenset({Realtime.CONFIGURING, Realtime.DIALING, Realtime.CLOSED}),
    Realtime.CONFIGURING: frozenset({Realtime.READY, Realtime.DIALING, Realtime.CLOSED}),
    Realtime.READY: frozenset({Realtime.DIALING, Realtime.CLOSED}),
    Realtime.CLOSED: frozenset(),
}
RESPONSE: Mapping[Response, frozenset[Response]] = {
    # IDLE to ACTIVE without a request: voice activity detection made the response.
    Response.IDLE: frozenset({Response.REQUESTED, Response.ACTIVE}),
    Response.REQUESTED: frozenset({Response.ACTIVE, Response.IDLE}),
    Response.ACTIVE: frozenset({Response.CANCELLING, Response.IDLE}),
    Response.CANCELLING: frozenset({Response.IDLE}),
}
PLAYING: Mapping[Playing, frozenset[Playing]] = {
    Playing.SILENT: frozenset({Playing.PLAYING}),
    Playing.PLAYING: frozenset({Playing.SILENT}),
}
PHASE: Mapping[Phase, frozenset[Phase]] = {
    Phase.OPEN: frozenset({Phase.CLOSING, Phase.CLOSED}),
    Phase.CLOSING: frozenset({Phase.CLOSED}),
    Phase.CLOSED: frozenset(),
}


class Machine(Generic[State]):
    """One state and its table."""

    __slots__ = ("_table", "now")

    def __init__(self, start: State, table: Mapping[State, frozenset[State]]) -> None:
        self.now = start
        self._table = table

    def may(self, target: State) -> bool:
        """Tell whether the table has this transition."""
        return target in self._table[self.now]

    def to(self, target: State) -> None:
        """Take a transition.

        Raises:
            LocalBridgeError: the table does not have it.
        """
        if target not in self._table[self.now]:
            raise LocalBridgeError(f"{self.now} to {target} is not in the table")
        self.now = target
