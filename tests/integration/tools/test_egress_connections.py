"""Outgoing connections over real sockets: what was checked is what is connected to."""

from __future__ import annotations

import asyncio
import contextlib
import datetime as dt
import socket
import ssl
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from tools.dispatch import ToolServer, close_client, dispatch
from tools.spec import ToolSpec
from voiceplatform.base import http
from voiceplatform.base.egress import EgressPolicy, EgressRefused, egress_client

pytestmark = pytest.mark.integration

LOOPBACK = EgressPolicy.of(["127.0.0.0/8"])
NAME = "tools.voiceplatform.test"


@dataclass
class Seen:
    """What a small HTTP server has seen."""

    port: int = 0
    connections: int = 0
    names: list[str | None] = field(default_factory=list)
    requests: list[str] = field(default_factory=list)


@contextlib.asynccontextmanager
async def server(context: ssl.SSLContext | None = None, answer: str = "{}") -> AsyncIterator[Seen]:
    """Run a keep-alive HTTP server on a free loopback port."""
    seen = Seen()
    tasks: set[asyncio.Task[None] | None] = set()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        tasks.add(asyncio.current_task())
        seen.connections += 1
        with (
            contextlib.closing(writer),
            contextlib.suppress(asyncio.IncompleteReadError, ConnectionError),
        ):
            while True:
                head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1")
                seen.requests.append(head)
                length = next(
                    (
                        int(line.split(":")[1])
                        for line in head.split("\r\n")
                        if line.lower().startswith("content-length:")
                    ),
                    0,
                )
                await reader.readexactly(length)
                writer.write(
                    f"HTTP/1.1 200 OK\r\nset-cookie: s=1; path=/\r\n"
                    f"content-length: {len(answer)}\r\n\r\n{answer}".encode()
                )
                await writer.drain()

    if context is not None:
        context.sni_callback = lambda _sock, name, _context: seen.names.append(name)
    listening = await asyncio.start_server(serve, "127.0.0.1", 0, ssl=context)
    seen.port = listening.sockets[0].getsockname()[1]
    try:
        yield seen
    finally:
        listening.close()
        for task in tasks:
            if task is not None:
                task.cancel()
        await asyncio.gather(*(task for task in tasks if task), return_exceptions=True)
        await asyncio.sleep(0)  # a closed transport lets go of its socket one turn later


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A self-signed certificate for ``NAME`` with its key in one file."""
    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, NAME)])
    now = dt.datetime.now(dt.UTC)
    made = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(subject)
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(now - dt.timedelta(days=1))
        .not_valid_after(now + dt.timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName(NAME)]), critical=False)
        .sign(key, hashes.SHA256())
    )
    path = tmp_path_factory.mktemp("tls") / "both.pem"
    path.write_bytes(
        key.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.NoEncryption(),
        )
        + made.public_bytes(serialization.Encoding.PEM)
    )
    yield path


def tls(path: Path, *, for_server: bool) -> ssl.SSLContext:
    """Return a context that shows the certificate, or trusts it."""
    if for_server:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(path)
        return context
    return ssl.create_default_context(cafile=str(path))


async def test_private_addresses_are_refused_at_the_socket() -> None:
    async with server() as seen, egress_client(rules=EgressPolicy()) as client:
        for host in ("127.0.0.1", "localhost", "2130706433", "[::ffff:127.0.0.1]"):
            with pytest.raises(EgressRefused):
                await client.post(f"http://{host}:{seen.port}/")
    assert seen.connections == 0


async def test_a_second_answer_of_the_name_server_changes_nothing() -> None:
    answers = [["127.0.0.1"], ["169.254.169.254"]]
    asked: list[str] = []

    def resolve(host: str, port: int) -> list[str]:
        asked.append(host)
        return answers[len(asked) - 1]

    async with server() as seen, egress_client(rules=LOOPBACK, resolve=resolve) as client:
        for _ in range(3):
            await client.post(f"http://{NAME}:{seen.port}/")
        assert (asked, seen.connections) == ([NAME], 1)
    assert all(f"Host: {NAME}:{seen.port}" in head for head in seen.requests)


async def test_a_name_that_moves_inside_is_refused_on_its_next_connection() -> None:
    answers = iter([["127.0.0.1"], ["10.0.0.1"]])
    async with server() as seen:
        for expected in (None, EgressRefused):
            client = egress_client(rules=LOOPBACK, resolve=lambda *_: next(answers))
            async with client:
                with pytest.raises(expected) if expected else contextlib.nullcontext():
                    await client.post(f"http://{NAME}:{seen.port}/")
    assert seen.connections == 1


async def test_names_at_one_address_never_share_a_connection() -> None:
    async with (
        server() as seen,
        egress_client(rules=LOOPBACK, resolve=lambda *_: ["127.0.0.1"]) as client,
    ):
        for name in ("a.example.com", "b.example.com", "a.example.com"):
            await client.post(f"http://{name}:{seen.port}/")
    assert seen.connections == 2


async def test_no_cookie_is_kept() -> None:
    async with server() as seen, egress_client(rules=LOOPBACK) as client:
        for _ in range(2):
            await client.post(f"http://127.0.0.1:{seen.port}/")
    assert len(seen.requests) == 2
    assert not any("cookie:" in head.lower() for head in seen.requests)


async def test_tls_is_checked_for_the_name_not_the_address(certificate: Path) -> None:
    async with (
        server(tls(certificate, for_server=True)) as seen,
        egress_client(
            rules=LOOPBACK,
            resolve=lambda *_: ["127.0.0.1"],
            ssl_context=tls(certificate, for_server=False),
        ) as client,
    ):
        answer = await client.post(f"https://{NAME}:{seen.port}/")
        assert answer.status_code == 200
        assert seen.names == [NAME]
        with pytest.raises(http.ConnectError, match="(?i)hostname mismatch"):
            await client.post(f"https://other.voiceplatform.test:{seen.port}/")


async def test_a_dead_address_leaves_time_for_the_next_one() -> None:
    with socket.socket() as nobody:
        nobody.bind(("127.0.0.1", 0))  # bound, never listening: refuses
        async with (
            server() as seen,
            egress_client(rules=LOOPBACK, resolve=lambda *_: ["127.0.0.2", "127.0.0.1"]) as client,
        ):
            answer = await client.post(f"http://{NAME}:{seen.port}/")
    assert answer.status_code == 200


async def test_a_name_that_does_not_resolve_is_a_connection_error() -> None:
    def resolve(host: str, port: int) -> list[str]:
        raise socket.gaierror(-2, "Name or service not known")

    async with egress_client(rules=LOOPBACK, resolve=resolve) as client:
        with pytest.raises(http.ConnectError):
            await client.post(f"http://{NAME}/")


async def test_a_name_server_that_hangs_is_left_behind() -> None:
    import threading

    released = threading.Event()

    def resolve(host: str, port: int) -> list[str]:
        released.wait(30)
        return []

    try:
        async with egress_client(rules=LOOPBACK, resolve=resolve, connect_seconds=0.05) as client:
            with pytest.raises(http.ConnectTimeout):
                await client.post(f"http://{NAME}/")
    finally:
        released.set()


async def test_one_connection_serves_a_loop_and_ends_with_it(settings: object) -> None:
    settings.EGRESS_ALLOW = ["127.0.0.0/8"]  # type: ignore[attr-defined]
    answer = '{"results": [{"toolCallId": "a", "result": "Booked"}]}'
    async with server(answer=answer) as seen:
        target = ToolServer(f"http://127.0.0.1:{seen.port}/hook")
        for _ in range(3):
            found = await dispatch({"a": ToolSpec(name="book")}, target, b"{}")
            assert found["a"].output == "Booked"
        assert seen.connections == 1
        await close_client()
        await dispatch({"a": ToolSpec(name="book")}, target, b"{}")
        assert seen.connections == 2
        await close_client()


def test_the_client_of_a_loop_is_closed_when_the_loop_is(settings: object) -> None:
    from tools.exchange import shared_client

    settings.EGRESS_ALLOW = ["127.0.0.0/8"]  # type: ignore[attr-defined]
    clients = []

    async def once() -> None:
        async with server() as seen:
            target = ToolServer(f"http://127.0.0.1:{seen.port}/hook")
            await dispatch({"a": ToolSpec(name="book")}, target, b"{}")
            clients.append(await shared_client())

    asyncio.run(once())
    asyncio.run(once())
    assert clients[0] is not clients[1]
    assert all(client.is_closed for client in clients)
