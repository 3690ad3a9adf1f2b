"""`python -m calls.standins`: the stand-ins as a process of their own, on a port or on a socket
that the parent bound. It reads arguments and signals only.
"""

from __future__ import annotations

import argparse
import asyncio
import ctypes
import os
import signal
import socket
import sys

from calls.standins.book import StandinBook
from calls.standins.server import DEFAULT_ACCOUNT_SID, DEFAULT_AUTH_TOKEN, StandinApp, serve
from calls.standins.twilio_carrier import Carrier

_PR_SET_PDEATHSIG = 1


def _arguments(argv: list[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m calls.standins",
        description="Stand-ins for OpenAI Realtime and Twilio on one port.",
    )
    where = parser.add_mutually_exclusive_group(required=True)
    where.add_argument("--fd", type=int, help="a bound, inherited socket")
    where.add_argument("--port", type=int, help="loopback port; 0 takes a free one")
    parser.add_argument("--platform-url", default="", help="public origin of the platform")
    parser.add_argument("--account-sid", default=DEFAULT_ACCOUNT_SID)
    parser.add_argument("--auth-token", default=DEFAULT_AUTH_TOKEN)
    parser.add_argument(
        "--number", action="append", default=[], help="a number it owns, repeatable"
    )
    parser.add_argument("--die-with-parent", action="store_true")
    return parser.parse_args(argv)


def die_with_parent() -> None:
    """Ask the kernel for SIGTERM when the parent dies (Linux); exit if it is gone already."""
    parent = os.getppid()
    ctypes.CDLL(None, use_errno=True).prctl(_PR_SET_PDEATHSIG, signal.SIGTERM)
    if os.getppid() != parent:
        sys.exit(1)


def bound_socket(fd: int | None, port: int | None) -> socket.socket:
    """Return the inherited socket, or a new listening one on loopback."""
    if fd is not None:
        return socket.socket(fileno=fd)
    sock = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    sock.bind(("127.0.0.1", port or 0))
    sock.listen(128)
    return sock


async def _run(sock: socket.socket, options: argparse.Namespace) -> None:
    book = StandinBook()
    carrier = Carrier(options.platform_url, options.auth_token, options.account_sid, book=book)
    for number in options.number:
        carrier.numbers.add(number)
    carrier.numbers.add_movable(f"http://127.0.0.1:{sock.getsockname()[1]}")
    app = StandinApp(book, carrier)
    try:
        await serve(sock, app)
    finally:
        await app.twilio.close()


def main(argv: list[str] | None = None) -> int:
    """Run until SIGTERM or SIGINT; return the exit code."""
    options = _arguments(sys.argv[1:] if argv is None else argv)
    if options.die_with_parent:
        die_with_parent()
    sock = bound_socket(options.fd, options.port)
    sys.stdout.write(f"http://127.0.0.1:{sock.getsockname()[1]}\n")
    sys.stdout.flush()
    try:
        asyncio.run(_run(sock, options))
    except KeyboardInterrupt:
        return 0  # uvicorn re-raises SIGINT after a clean stop
    return 0


if __name__ == "__main__":
    sys.exit(main())
