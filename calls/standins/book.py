"""What the stand-ins of one process share: scenarios, profiles for the next Realtime sessions, and
the sessions seen. It must not carry a caller's words to the model: those travel in the audio.
"""

from __future__ import annotations

import itertools
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager

from calls.standins.realtime_brain import BookBrain, Brain
from calls.standins.realtime_peer import RealtimePeer
from calls.standins.realtime_profile import RealtimeProfile
from calls.standins.scenario import Scenario, shipped_scenarios

KEPT_SESSIONS = 200


class StandinBook:
    """Shared state. `next_profiles` are used up by new Realtime sessions, in order."""

    def __init__(self, profile: RealtimeProfile | None = None) -> None:
        self.profile = profile or RealtimeProfile()
        self.next_profiles: deque[RealtimeProfile] = deque()
        self.sessions: deque[RealtimePeer] = deque(maxlen=KEPT_SESSIONS)
        self._shipped = shipped_scenarios()
        self._running: list[Scenario] = []
        self._numbers = itertools.count(1)

    @contextmanager
    def playing(self, scenario: Scenario) -> Iterator[None]:
        """Let the model know a scenario while a call plays it; shipped ones are always known."""
        self._running.append(scenario)
        if scenario.realtime != RealtimeProfile() or scenario.sessions:
            self.next_profiles += [scenario.realtime, *scenario.sessions]
        try:
            yield
        finally:
            self._running.remove(scenario)

    def brain_for(self, heard: str) -> Brain | None:
        """Return a fresh brain of the latest scenario whose caller says these words."""
        every = [*reversed(self._running), *self._shipped]
        scenario = next((scenario for scenario in every if scenario.knows(heard)), None)
        return scenario.brain() if scenario is not None else None

    def new_session(self, profile: RealtimeProfile | None, epoch_seconds: int) -> RealtimePeer:
        """Return a peer for a new connection; ids differ between sessions of this process."""
        chosen = profile or (self.next_profiles.popleft() if self.next_profiles else self.profile)
        peer = RealtimePeer(
            chosen,
            BookBrain(self),
            id_seed=f"{next(self._numbers):06d}",
            epoch_seconds=epoch_seconds,
        )
        self.sessions.append(peer)
        return peer
