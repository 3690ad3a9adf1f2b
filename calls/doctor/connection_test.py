"""Opens the model's socket the way a call does and tells, in words, what came of it.

Blocking; for the admin, ``doctor`` and ``live_check``. No caller, no audio and no response: a
session that is opened, configured and closed costs nothing. It must not show the key, nor a
provider's own message, which may repeat the key.
"""

from __future__ import annotations

import json
import re
import socket
import ssl
import time
from dataclasses import dataclass, replace
from typing import Any, Final

from websockets.exceptions import ConnectionClosed, InvalidHandshake, InvalidStatus, InvalidURI
from websockets.sync.client import ClientConnection

from calls.doctor.model_faults import FAULTS, fault_of
from calls.doctor.straight import connect_straight
from calls.media.realtime_client import MAX_EVENT_BYTES, Endpoint
from calls.models import ProviderConnection
from calls.wire.realtime import (
    Dialect,
    RealtimeWireError,
    SessionConfig,
    decode,
    formats_are_mulaw,
    held,
    session_update,
)
from voiceplatform.base.services import audit_write

WITHIN_SECONDS: Final = 10.0
_EVENT_ID: Final = "connection_test"
_SHOWABLE = re.compile(r"[a-z][a-z0-9_.]{0,59}").fullmatch


@dataclass(frozen=True, slots=True)
class ConnectionTest:
    """What came of one test. ``code`` '' when all is well; times are ms from the beginning."""

    code: str
    cause: str
    fix: str
    opened_ms: int | None
    configured_ms: int | None

    @property
    def is_ok(self) -> bool:
        """Tell whether a call could use this connection now."""
        return not self.code

    @property
    def words(self) -> str:
        """Return the outcome in one sentence."""
        if self.is_ok:
            return f"open after {self.opened_ms} ms, configured after {self.configured_ms} ms"
        return f"{self.cause} ({self.code})"


class _Failed(Exception):
    def __init__(self, code: str) -> None:
        super().__init__(code)
        self.code = code


def connection_test(
    row: ProviderConnection, *, within_seconds: float = WITHIN_SECONDS
) -> ConnectionTest:
    """Open the socket of ``row``, configure the session and close; raises nothing."""
    return session_try(row, plain_session(row), within_seconds=within_seconds)


def plain_session(row: ProviderConnection) -> str:
    """Return the ``session.update`` of a test: what a call sends, without anything to say."""
    config = SessionConfig(
        instructions="This is a test of the connection. Say nothing.",
        transcription_model=row.transcription_model,
    )
    return session_update(held(config), row.dialect, _EVENT_ID)  # type: ignore[arg-type]  # a choice


def session_try(
    row: ProviderConnection, update: str, *, within_seconds: float = WITHIN_SECONDS
) -> ConnectionTest:
    """Open the socket of ``row``, send ``update``, wait for the answer and close."""
    endpoint = Endpoint(
        url=row.realtime_url,
        dialect=row.dialect,  # type: ignore[arg-type]  # the column's choices are the dialects
        model=row.model,
        api_key=row.api_key,
    )
    begun = time.monotonic()
    test = ConnectionTest("", "", "", None, None)
    try:
        with _opened(endpoint, within_seconds) as peer:
            test = replace(test, opened_ms=_since_ms(begun))
            _configure(peer, update, endpoint.dialect, begun + within_seconds)
            return replace(test, configured_ms=_since_ms(begun))
    except _Failed as failure:
        fault = fault_of(failure.code)
        return replace(test, code=failure.code, cause=fault.cause, fix=fault.fix)


def connection_test_audited(row: ProviderConnection, *, actor: object) -> ConnectionTest:
    """Test a connection for a person; who asked and what came of it is recorded."""
    test = connection_test(row)
    audit_write(
        actor=actor,
        action="connection.test",
        organisation=row.organisation,
        target=row,
        details={"ok": test.is_ok, "code": test.code},
    )
    return test


def _since_ms(begun: float) -> int:
    return round((time.monotonic() - begun) * 1000)


def _opened(endpoint: Endpoint, within_seconds: float) -> ClientConnection:
    try:
        return connect_straight(
            endpoint.address(),
            additional_headers=endpoint.headers(),
            compression=None,
            max_size=MAX_EVENT_BYTES,
            open_timeout=within_seconds,
            close_timeout=1,
            proxy=None,
            user_agent_header="voiceplatform",
        )
    except InvalidStatus as error:
        # A gateway may say in the body what the API says by event.
        named = _code_of_body(error.response.body)
        raise _Failed(named or f"http_{error.response.status_code}") from error
    except (ValueError, InvalidURI) as error:
        raise _Failed("address") from error
    except TimeoutError as error:
        raise _Failed("timeout") from error
    except ssl.SSLError as error:
        raise _Failed("tls") from error
    except socket.gaierror as error:
        raise _Failed("dns") from error
    except ConnectionRefusedError as error:
        raise _Failed("refused") from error
    except (OSError, InvalidHandshake, EOFError) as error:
        raise _Failed("unreachable") from error


def _configure(peer: ClientConnection, update: str, dialect: Dialect, deadline: float) -> None:
    sent = False
    while True:
        kind, event = _next(peer, dialect, deadline)
        if kind == "error":
            raise _Failed(_code_of(event.get("error")))
        if kind == "session.created" and not sent:
            sent = True
            peer.send(update)
        elif kind == "session.updated":
            if not formats_are_mulaw(event, dialect):
                raise _Failed("not_mulaw")
            return
        elif not sent:
            raise _Failed("no_session_created")


def _next(peer: ClientConnection, dialect: Dialect, deadline: float) -> tuple[str, dict[str, Any]]:
    try:
        text = peer.recv(timeout=max(deadline - time.monotonic(), 0.001))
        return decode(text if isinstance(text, str) else "", dialect)
    except TimeoutError as error:
        raise _Failed("timeout") from error
    except ConnectionClosed as error:
        # The reason is `<error.type>.<error.code>` (1.5).
        reason = error.rcvd.reason.rpartition(".")[2] if error.rcvd else ""
        code = error.rcvd.code if error.rcvd else 1006
        raise _Failed(reason if reason in FAULTS else f"close_{code}") from error
    except RealtimeWireError as error:
        raise _Failed("no_session_created") from error


def _code_of(problem: object) -> str:
    """Return the error's code, else its type; one that is no plain word is not repeated."""
    if isinstance(problem, dict):
        for key in ("code", "type"):
            value = problem.get(key)
            if isinstance(value, str) and _SHOWABLE(value):
                return value
    return "unknown_error"


def _code_of_body(body: bytes | bytearray | None) -> str:
    try:
        value = json.loads(body or b"")
    except (ValueError, RecursionError):
        return ""
    problem = value.get("error") if isinstance(value, dict) else None
    code = problem.get("code") if isinstance(problem, dict) else None
    return code if isinstance(code, str) and code in FAULTS else ""
