"""The two sessions of a shadow: what is sent to each and from when on.

Pure. Owns their configuration, what waits until it is confirmed, and that neither can take a turn,
ask a server or be heard by anybody. What is said on them is ``calls.parity.shadow``'s.
"""

from __future__ import annotations

from collections import deque
from dataclasses import replace
from typing import Final, Literal

from calls.wire import realtime
from calls.wire.realtime import Dialect, SessionConfig
from calls.wire.twilio_media import MULAW_BYTES_PER_MS

Side = Literal["model", "ear"]
SIDES: Final[tuple[Side, ...]] = ("model", "ear")
CONFIG_ID: Final = "shadow-session"
# Sound that waits for a session to be ready; what is older is of no use.
_WAITING_BYTES: Final = 10_000 * MULAW_BYTES_PER_MS


class Line:
    """One session: ``out`` is what is to be sent, in order."""

    def __init__(self, config: SessionConfig, dialect: Dialect) -> None:
        self.out: deque[str] = deque()
        self.is_ready = False
        self._config, self._dialect = config, dialect
        self._asked = False
        self._items: list[str] = []
        self._sound: deque[tuple[str, int]] = deque()
        self._sound_bytes = 0

    def created(self) -> None:
        """Configure the session, once."""
        if not self._asked:
            self._asked = True
            self.out.append(realtime.session_update(self._config, self._dialect, CONFIG_ID))

    def updated(self) -> None:
        """Send what has waited: the words first, since they were said before the sound's end."""
        if self.is_ready:
            return
        self.is_ready = True
        self.out.extend(self._items)
        self.out.extend(realtime.append(payload) for payload, _ in self._sound)
        self._items.clear()
        self._sound.clear()

    def send(self, text: str) -> None:
        """Send an event, once the session is ready."""
        (self.out if self.is_ready else self._items).append(text)

    def hear(self, payload: str, size: int) -> None:
        """Send sound: base64 of ``size`` bytes of mu-law."""
        if self.is_ready:
            self.out.append(realtime.append(payload))
            return
        self._sound.append((payload, size))
        self._sound_bytes += size
        while self._sound_bytes > _WAITING_BYTES:
            self._sound_bytes -= self._sound.popleft()[1]


def model_line(config: SessionConfig, dialect: Dialect) -> Line:
    """Return the session that is compared: the assistant's, silent and without servers to ask.

    An MCP server is asked by the model's own server, which would be a tool called for real.
    """
    return Line(realtime.held(replace(config, mcp_servers=())), dialect)


def ear_line(config: SessionConfig, dialect: Dialect) -> Line:
    """Return the session that writes down what the old stack says; it is never asked anything."""
    plain = SessionConfig(
        voice=config.voice,
        transcription_model=config.transcription_model,
        language=config.language,
        keywords=config.keywords,
        languages=config.languages,
    )
    return Line(realtime.held(plain), dialect)
