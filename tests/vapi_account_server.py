"""The stand-in of a Vapi account behind a real socket, for code that makes its own connections."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import httpx

from tests.vapi_account import VapiAccount


class AccountServer(ThreadingHTTPServer):
    """Serves an account; while ``gate`` is clear answers wait, so that a test can act meanwhile."""

    daemon_threads = True

    def __init__(self, account: VapiAccount) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.account = account
        self.gate = threading.Event()
        self.gate.set()

    @property
    def base_url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}"


class _Handler(BaseHTTPRequestHandler):
    server: AccountServer

    def do_GET(self) -> None:
        self.server.gate.wait(20)
        url = f"{self.server.base_url}{self.path}"
        request = httpx.Request("GET", url, headers=dict(self.headers.items()))
        answer = self.server.account._answer(request)
        self.send_response(answer.status_code)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(answer.content)))
        self.end_headers()
        with contextlib.suppress(BrokenPipeError, ConnectionResetError):
            self.wfile.write(answer.content)

    def log_message(self, *args: Any) -> None:
        """Stay silent."""


@contextlib.contextmanager
def served(account: VapiAccount) -> Iterator[AccountServer]:
    """Serve ``account``; reachable only where ``EGRESS_ALLOW`` names 127.0.0.0/8."""
    server = AccountServer(account)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    try:
        yield server
    finally:
        server.gate.set()
        server.shutdown()
        thread.join()
        server.server_close()
