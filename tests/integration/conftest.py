"""What integration tests share: doorbells nobody answers, and a Twilio nobody answers."""

from __future__ import annotations

from collections.abc import Callable

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


@pytest.fixture
def silent_twilio(monkeypatch: pytest.MonkeyPatch) -> Callable[[], None]:
    """Return what moves all accounts to a Twilio that nobody answers, given up at once.

    Call it when the accounts have been made. Otherwise each order to move a number or to put it
    back would look for Twilio for seconds, and on a machine with a way out would find it.
    """
    from calls.api import moves
    from calls.models import TwilioAccount
    from calls.telephony.twilio_rest import TwilioRest

    defaults = TwilioRest.__init__.__kwdefaults__
    assert defaults is not None
    monkeypatch.setitem(defaults, "within_seconds", 0.0)
    monkeypatch.setattr(moves, "_REQUEST_SECONDS", 0.0)

    def leave() -> None:
        TwilioAccount.objects.update(api_base_url="http://127.0.0.1:9")

    return leave
