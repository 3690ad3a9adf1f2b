"""The socket to the model: dialling, frames, close codes. Knows no call and no Django.

Uses ``websockets`` without compression (base64 mu-law does not compress, openai_realtime.md 1.4)
and without the proxy variables of the environment.
"""

from __future__ import annotations

import asyncio
import hashlib
from dataclasses import dataclass, field
from urllib.parse import parse_qsl, urlencode, urlsplit, urlunsplit

from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed, InvalidHandshake, InvalidStatus, InvalidURI

from calls.media.reach import reach
from calls.wire.realtime import Dialect, McpAccess, with_access
from tools.masking import Veil

DIAL_TIMEOUT_SECONDS = 7.0
MAX_EVENT_BYTES = 16 * 1024 * 1024


@dataclass(frozen=True, slots=True)
class Endpoint:
    """Where and as whom to dial. ``safety_identifier`` is a stable hash of the caller (1.2).

    ``mcp``: what of a session's MCP servers only the model may be told; nobody above a socket is.
    """

    url: str
    dialect: Dialect
    model: str
    api_key: str = field(repr=False)
    safety_identifier: str = ""
    mcp: tuple[McpAccess, ...] = field(default=(), repr=False)

    @property
    def line(self) -> str:
        """Return a name of where and as whom that shows no key: what one refusal speaks for."""
        key = hashlib.sha256(self.api_key.encode()).hexdigest()[:16]
        return f"{self.address()}#{key}"

    def address(self) -> str:
        """Return the URL with the model in the place where the dialect wants it."""
        parts = urlsplit(self.url)
        query = dict(parse_qsl(parts.query))
        # Azure's preview URL names a deployment; everything else names a model (1.3).
        query.setdefault("deployment" if "api-version" in query else "model", self.model)
        return urlunsplit((parts.scheme, parts.netloc, parts.path, urlencode(query), ""))

    def headers(self) -> dict[str, str]:
        """Return the request headers; the beta header is fatal anywhere but on old gateways."""
        headers = (
            {"api-key": self.api_key}
            if self.dialect == "azure_ga"
            else {"Authorization": f"Bearer {self.api_key}"}
        )
        if self.dialect == "beta":
            headers["OpenAI-Beta"] = "realtime=v1"
        if self.safety_identifier:
            headers["OpenAI-Safety-Identifier"] = self.safety_identifier
        return headers


class RealtimeUnreachable(Exception):
    """The model could not be dialled; ``code`` is an HTTP status or a close code like 1006."""

    def __init__(self, code: int) -> None:
        super().__init__(f"the model's socket did not open ({code})")
        self.code = code


class RealtimeSocket:
    """One open socket; one reader and one writer at a time.

    ``mcp`` is put into what configures a session, and taken out of all that the model says.
    """

    def __init__(self, connection: ClientConnection, mcp: tuple[McpAccess, ...] = ()) -> None:
        self._connection = connection
        self._mcp = mcp
        self._veil = Veil(secret for each in mcp for secret in each.secrets)

    async def receive(self) -> str | None:
        """Return the next text frame, '' for a binary one, None when the socket is closed."""
        try:
            frame = await self._connection.recv()
        except ConnectionClosed:
            return None
        if not isinstance(frame, str):
            return ""
        return self._veil.over(frame) if self._mcp else frame

    async def send(self, text: str) -> None:
        """Send a text frame; a closed socket is noticed by ``receive``, not here."""
        try:
            await self._connection.send(with_access(text, self._mcp) if self._mcp else text)
        except ConnectionClosed:
            return

    async def close(self) -> None:
        """Close politely; at most a second, then the transport is dropped (trap T23)."""
        try:
            async with asyncio.timeout(1):
                await self._connection.close()
        except TimeoutError:
            self.abort()

    def abort(self) -> None:
        """Drop the transport at once."""
        self._connection.transport.abort()

    @property
    def close_code(self) -> int:
        """Return the peer's close code, 1006 when there was none."""
        return self._connection.close_code or 1006


class _Straight(connect):
    """The library's, but that it follows no redirect.

    Caller, prompt and key go where the contract says that they may, and nowhere else (design.md
    11); of the key the library would take back one header of the two that we send.
    """

    def process_redirect(self, exc: Exception) -> Exception | str:
        """Return what went wrong: a redirect is an answer like any other refusal."""
        return exc


async def dial(endpoint: Endpoint) -> RealtimeSocket:
    """Open a socket within ``DIAL_TIMEOUT_SECONDS``; ``reach`` learns what came of it.

    A refused key, model or quota speaks for this endpoint only; all else for the address, which
    other organisations' connections may share.

    Raises:
        RealtimeUnreachable: refused, unreachable or too slow.
    """
    try:
        connection = await _Straight(
            endpoint.address(),
            additional_headers=endpoint.headers(),
            compression=None,
            max_size=MAX_EVENT_BYTES,
            open_timeout=DIAL_TIMEOUT_SECONDS,
            close_timeout=1,
            ping_interval=20,
            ping_timeout=20,
            proxy=None,
            user_agent_header="voiceplatform",
        )
    except InvalidStatus as error:
        status = error.response.status_code
        reach.failed(endpoint.line if 400 <= status < 500 else endpoint.url)
        raise RealtimeUnreachable(status) from error
    except (OSError, TimeoutError, InvalidHandshake, InvalidURI, EOFError) as error:
        reach.failed(endpoint.url)
        raise RealtimeUnreachable(1006) from error
    reach.opened(endpoint.url)
    reach.opened(endpoint.line)
    return RealtimeSocket(connection, endpoint.mcp)
