"""A tool server in a thread, for code that is not in an event loop: a function answers each POST.

Owns the sockets only: a test hands in what a customer's handler would do.
"""

from __future__ import annotations

import json
import ssl
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

# A status and what is sent as JSON, or as it is where it is bytes.
Answer = tuple[int, Any]
Handler = Callable[[Any, dict[str, str]], Answer]


@dataclass(slots=True)
class PlainServer:
    """What arrived: (method, headers in lower case, parsed body), and beside each its path."""

    url: str
    handler: Handler
    requests: list[tuple[str, dict[str, str], Any]] = field(default_factory=list)
    paths: list[str] = field(default_factory=list)

    @property
    def bodies(self) -> list[Any]:
        """Return the bodies of the POSTs."""
        return [body for method, _, body in self.requests if method == "POST"]


def answer_all(result: Any = "Booked.") -> Handler:
    """Return a handler that answers every call of the list alike."""

    def handle(body: dict[str, Any], _: dict[str, str]) -> Answer:
        calls = body["message"]["toolCallList"] if body else ()
        return 200, {"results": [{"toolCallId": call["id"], "result": result} for call in calls]}

    return handle


@contextmanager
def plain_server(handler: Handler, context: ssl.SSLContext | None = None) -> Iterator[PlainServer]:
    """Serve ``handler`` on a free port of loopback, under TLS with ``context``."""

    class Requests(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_POST(self) -> None:
            raw = self.rfile.read(int(self.headers["content-length"]))
            try:
                self._answer(json.loads(raw))
            except ValueError:  # a form, as servers of tokens are sent
                self._answer(raw.decode())

        do_PUT = do_PATCH = do_POST

        def do_HEAD(self) -> None:
            self._answer(None)

        do_GET = do_DELETE = do_HEAD

        def _answer(self, body: Any) -> None:
            headers = {name.lower(): value for name, value in self.headers.items()}
            made.paths.append(self.path)
            made.requests.append((self.command, headers, body))
            status, value = made.handler({} if body is None else body, headers)
            raw = value if isinstance(value, bytes) else json.dumps(value).encode()
            self.send_response(status)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(raw)))
            self.end_headers()
            if self.command != "HEAD":
                self.wfile.write(raw)

        def log_message(self, *_: Any) -> None:
            """Say nothing."""

    class Server(ThreadingHTTPServer):
        daemon_threads = True

        def handle_error(self, *_: Any) -> None:
            """Say nothing: a peer that refuses our certificate hangs up."""

    server = Server(("127.0.0.1", 0), Requests)
    if context is not None:
        server.socket = context.wrap_socket(
            server.socket, server_side=True, do_handshake_on_connect=False
        )
    scheme = "http" if context is None else "https"
    made = PlainServer(f"{scheme}://127.0.0.1:{server.server_port}/hook", handler)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    try:
        yield made
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
