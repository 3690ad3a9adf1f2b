"""What every integration test shares: nobody answers a doorbell in this process."""

from __future__ import annotations

import pytest


@pytest.fixture(autouse=True)
def doorbell(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Collect pokes instead of ringing a broker that may not be there."""
    from assistants import file_queue
    from calls.events import outbox
    from calls.services import move_bell

    rung: list[str] = []
    monkeypatch.setattr(outbox, "poke", lambda: rung.append("rung"))
    monkeypatch.setattr(file_queue, "poke", lambda: None)
    monkeypatch.setattr(move_bell, "poke", lambda: None)
    return rung
