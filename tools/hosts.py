"""Which tool servers are left alone for a while: a circuit breaker for each host.

Owns the counting of requests in a row that got no answer at all. Any answer, whatever its status,
shows a living host and closes the circuit. Knows time as a number that comes in; does no I/O. One
``HostGuard`` belongs to one event loop: media processes judge for themselves, as each has its own
connections.
"""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from dataclasses import dataclass
from typing import Final
from weakref import WeakKeyDictionary

OPENS_AFTER: Final = 5
OPEN_SECONDS: Final = 15.0
_MOST_HOSTS: Final = 1000

HostKey = tuple[str, str]  # owner, scheme://host:port


@dataclass(slots=True)
class _Failing:
    failures: int = 0
    opened_at: float | None = None
    is_probed: bool = False


@dataclass(frozen=True, slots=True)
class OpenHost:
    """A host that is not asked now; ``again_in_seconds`` until one request may try it."""

    owner: str
    host: str
    failures: int
    again_in_seconds: float


class HostGuard:
    """Says whether a host may be asked, from what its last requests came to.

    After ``OPENS_AFTER`` failures in a row it is left alone for ``OPEN_SECONDS``; then one request
    goes out as a probe, and the others wait for what becomes of it.
    """

    def __init__(self) -> None:
        self._failing: OrderedDict[HostKey, _Failing] = OrderedDict()

    def admits(self, key: HostKey, now: float) -> bool:
        """Tell whether a request may be sent; who is told so must ``settle`` or ``abandon`` it."""
        state = self._failing.get(key)
        if state is None or state.opened_at is None:
            return True
        if state.is_probed or now - state.opened_at < OPEN_SECONDS:
            return False
        state.is_probed = True
        return True

    def settle(self, key: HostKey, *, answered: bool, now: float) -> bool:
        """Note what a request came to; return whether that opened the circuit just now."""
        if answered:
            self._failing.pop(key, None)
            return False
        state = self._failing.setdefault(key, _Failing())
        self._failing.move_to_end(key)
        while len(self._failing) > _MOST_HOSTS:
            self._failing.popitem(last=False)
        state.failures += 1
        opens = state.is_probed or (state.failures >= OPENS_AFTER and state.opened_at is None)
        if opens:
            state.opened_at, state.is_probed = now, False
        return opens

    def abandon(self, key: HostKey) -> None:
        """Let the next request probe: this one ended without a result."""
        state = self._failing.get(key)
        if state is not None:
            state.is_probed = False

    def open_hosts(self, now: float) -> list[OpenHost]:
        """Return the hosts that are left alone, those that failed longest ago first."""
        return [
            OpenHost(owner, host, state.failures, max(0.0, OPEN_SECONDS - (now - state.opened_at)))
            for (owner, host), state in self._failing.items()
            if state.opened_at is not None
        ]


_guards: WeakKeyDictionary[asyncio.AbstractEventLoop, HostGuard] = WeakKeyDictionary()


def host_guard() -> HostGuard:
    """Return the guard of the running event loop."""
    return _guards.setdefault(asyncio.get_running_loop(), HostGuard())


def open_hosts() -> list[OpenHost]:
    """Return the hosts that this process leaves alone at the moment, over all its loops."""
    living = [(loop, guard) for loop, guard in _guards.items() if not loop.is_closed()]
    return [each for loop, guard in living for each in guard.open_hosts(loop.time())]
