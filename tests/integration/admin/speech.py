"""A speech endpoint in this process, for tests of pages that have lines spoken."""

from __future__ import annotations

import json
from dataclasses import dataclass, field

import httpx
import pytest

from calls.standins.tones import encode, pcm24k
from voiceplatform.base import http


@dataclass(slots=True)
class SpeechServer:
    """What was asked of the endpoint, and the status it answers by voice; 0 hangs up."""

    asked: list[tuple[str, str, str]] = field(default_factory=list)
    status: dict[str, int] = field(default_factory=dict)

    def answer(self, request: httpx.Request) -> httpx.Response:
        """Speak in tones, as the stand-in does."""
        body = json.loads(request.content)
        self.asked.append((body["voice"], body["input"], request.headers["Authorization"]))
        status = self.status.get(body["voice"], self.status.get("*", 200))
        if not status:
            raise httpx.ConnectError("refused", request=request)
        content = pcm24k(encode(body["input"])) if status == 200 else b"{}"
        return httpx.Response(status, content=content)

    @property
    def voices(self) -> list[str]:
        """The voices that were asked for, in order."""
        return [voice for voice, _, _ in self.asked]


@pytest.fixture
def speech(monkeypatch: pytest.MonkeyPatch) -> SpeechServer:
    """Stand in for every speech endpoint."""
    server = SpeechServer()
    transport = httpx.MockTransport(server.answer)
    monkeypatch.setattr(http, "client", lambda **_: httpx.Client(transport=transport))
    return server
