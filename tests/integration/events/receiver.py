"""A receiver of webhooks on loopback: it keeps what arrives and answers as it is told.

It runs in a thread, so it serves tests of one process and tests whose senders are processes.
"""

from __future__ import annotations

import json
import threading
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any


@dataclass(frozen=True, slots=True)
class Got:
    """One request; header names in lower case, ``at`` in monotonic seconds."""

    at: float
    path: str
    headers: dict[str, str]
    body: bytes

    @property
    def event_id(self) -> str:
        """The id that receivers dedupe by."""
        return self.headers["x-voiceplatform-event-id"]

    @property
    def json(self) -> dict[str, Any]:
        """The body."""
        parsed: dict[str, Any] = json.loads(self.body)
        return parsed

    @property
    def cause(self) -> tuple[str, str]:
        """Return what the body itself says it is about: kind (with status) and call id."""
        body = self.json
        if "message" not in body:
            return body["type"], body["call"]["call_id"]
        message = body["message"]
        status = message.get("status", "") if message["type"] == "status-update" else ""
        return f"{message['type']} {status}".strip(), message["call"]["id"]


class Receiver(ThreadingHTTPServer):
    """``got`` is the ledger. Requests are kept when they have arrived, before they are answered."""

    daemon_threads = True
    request_queue_size = 128

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.got: list[Got] = []
        self.status = 200
        self.headers: dict[str, str] = {}
        self.answer = b"thanks"
        self.delay_seconds = 0.0
        self.dead = False
        self.open = threading.Event()
        self.open.set()
        self.busy = 0
        self.busiest = 0
        self.lock = threading.Lock()

    @property
    def url(self) -> str:
        """Where it listens."""
        return f"http://127.0.0.1:{self.server_address[1]}"

    def die(self, seconds: float) -> None:
        """Answer nobody for so long, as a process that is killed and started again."""
        self.dead = True
        threading.Timer(seconds, self.revive).start()

    def revive(self) -> None:
        """Be there again."""
        self.dead = False

    def hold(self) -> None:
        """Answer nobody until ``release``."""
        self.open.clear()

    def release(self) -> None:
        """Answer those that wait and those that come."""
        self.open.set()

    def wait_for(self, count: int, seconds: float = 20.0) -> None:
        """Wait until that many requests have arrived."""
        deadline = time.monotonic() + seconds
        while len(self.got) < count:
            assert time.monotonic() < deadline, f"{len(self.got)} of {count} requests came"
            time.sleep(0.01)

    def ids_by_cause(self) -> dict[tuple[str, str], set[str]]:
        """Return the ids that each cause came under: more than one is the fault to look for."""
        found: dict[tuple[str, str], set[str]] = {}
        for got in list(self.got):
            found.setdefault(got.cause, set()).add(got.event_id)
        return found

    def repeats(self) -> int:
        """Return how many requests repeated an event that had come before."""
        return len(self.got) - len(Counter(got.event_id for got in self.got))

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Say nothing of senders that were killed."""


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: Receiver

    def do_POST(self) -> None:
        """Keep the request, wait if told so, answer; a dead receiver does none of it."""
        if self.server.dead:
            self.close_connection = True
            return
        length = int(self.headers.get("content-length", 0))
        body = self.rfile.read(length)
        if len(body) < length:  # its sender was killed: this is no request
            self.close_connection = True
            return
        headers = {name.lower(): value for name, value in self.headers.items()}
        receiver = self.server
        with receiver.lock:
            receiver.got.append(Got(time.monotonic(), self.path, headers, body))
            receiver.busy += 1
            receiver.busiest = max(receiver.busiest, receiver.busy)
        receiver.open.wait(60)
        time.sleep(receiver.delay_seconds)
        with receiver.lock:
            receiver.busy -= 1
        if receiver.dead:  # it died with the request in hand: kept, and not answered
            self.close_connection = True
            return
        self.send_response(receiver.status)
        for name, value in receiver.headers.items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(receiver.answer)))
        self.end_headers()
        self.wfile.write(receiver.answer)

    def log_message(self, *_: Any) -> None:
        """Say nothing."""


@contextmanager
def running_receiver() -> Iterator[Receiver]:
    """Run a receiver for the length of the block."""
    with Receiver() as receiver:
        thread = threading.Thread(target=receiver.serve_forever, args=(0.05,), daemon=True)
        thread.start()
        try:
            yield receiver
        finally:
            receiver.release()
            receiver.shutdown()
            thread.join(5)
