"""A recording address passes everything on as it came, and keeps the order of tool calls."""

from __future__ import annotations

import asyncio
import datetime as dt
import gzip
import json
from collections.abc import AsyncIterator
from typing import Any

import pytest
from django.db import OperationalError, connection
from django.test import AsyncClient
from django.utils import timezone

from calls.media.database import in_database
from calls.models import Call, ImportedCall, ShimRecord, ToolShim
from calls.parity.logs.shim import exchange_kept
from calls.services import tool_shims
from calls.services.sequences import sequence_of
from calls.services.tool_shims import (
    ShimRefused,
    records_drain,
    shim_address,
    shim_make,
    shim_remove,
    shim_stop,
)
from calls.shim import views
from tests import factories
from tools import exchange
from voiceplatform.base.models import AuditEntry

pytestmark = [pytest.mark.integration, pytest.mark.django_db(transaction=True)]

CALL_ID = "77777777-0000-7000-8000-00000000ca11"


def tool_request(number: int, name: str = "find", **fields: Any) -> bytes:
    calls = [
        {
            "id": f"call_{number}",
            "type": "function",
            "function": {"name": name, "arguments": {"n": number}},
        }
    ]
    message = {
        "type": "tool-calls",
        "timestamp": 1791200000000 + number * 5000,
        "toolCallList": calls,
        "call": {
            "id": CALL_ID,
            "type": "inboundPhoneCall",
            "createdAt": "2026-10-05T11:33:20.000Z",
        },
        "customer": {"number": "+14155550142"},
        **fields,
    }
    # Spaces as somebody's encoder writes them: no byte may change.
    return json.dumps({"message": message}, indent=1).encode()


class ToolServer:
    """A customer's server on a socket: keeps the bytes that came, answers what it was told to."""

    def __init__(self) -> None:
        self.seen: list[tuple[bytes, bytes]] = []
        self.answer = b""
        self.url = ""

    def says(self, body: bytes, *, status: str = "200 OK", headers: str = "") -> None:
        head = f"HTTP/1.1 {status}\r\nContent-Length: {len(body)}\r\n{headers}\r\n"
        self.answer = head.encode("latin-1") + body

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = await reader.readuntil(b"\r\n\r\n")
        length = next(
            (
                int(line.split(b":")[1])
                for line in head.split(b"\r\n")
                if line.lower().startswith(b"content-length")
            ),
            0,
        )
        self.seen.append((head, await reader.readexactly(length)))
        writer.write(self.answer)
        await writer.drain()
        writer.close()


@pytest.fixture
async def server(settings: Any) -> AsyncIterator[ToolServer]:
    settings.EGRESS_ALLOW = ["127.0.0.0/8"]
    made = ToolServer()
    made.says(b'{"results": [{"toolCallId": "call_1", "result": "open"}]}')
    running = await asyncio.start_server(made.serve, "127.0.0.1", 0)
    port = running.sockets[0].getsockname()[1]
    made.url = f"http://127.0.0.1:{port}/hook/a%2Fb?k=1"
    async with running:
        yield made
    tool_shims._known.clear()


async def make(server: ToolServer, **columns: Any) -> ToolShim:
    return await in_database(factories.make_shim, target_url=server.url, **columns)


async def post(row: ToolShim, body: bytes, **headers: str) -> Any:
    path = shim_address(row).partition("/tool-shim/")[2]
    response = await AsyncClient().post(
        f"/tool-shim/{path}", body, content_type="application/json", headers=headers
    )
    await views.written()
    return response


async def test_a_request_goes_on_byte_for_byte_and_so_does_its_answer(server: ToolServer) -> None:
    body = tool_request(1)
    answer = b'{ "results" : [ {"toolCallId":"call_1","result":"open \xe2\x9c\x93"} ] }\n'
    server.says(
        answer, status="201 Created", headers="X-Trace: abc\r\nContent-Type: text/x-odd\r\n"
    )
    response = await post(
        await make(server), body,
        **{"x-vapi-secret": "s3cret", "authorization": "Bearer t"},
        **{"x-signature": "9f", "x-forwarded-for": "10.0.0.1"},
    )  # fmt: skip
    assert (response.status_code, response.content) == (201, answer)
    assert response["X-Trace"] == "abc" and response["Content-Type"] == "text/x-odd"
    (head, sent), = server.seen  # fmt: skip
    assert sent == body
    assert head.startswith(b"POST /hook/a%2Fb?k=1 HTTP/1.1\r\n")
    lower = head.lower()
    for line in (b"x-vapi-secret: s3cret", b"authorization: bearer t", b"x-signature: 9f"):
        assert line in lower
    assert b"x-forwarded-for" not in lower and b"host: 127.0.0.1" in lower


async def test_an_answer_opened_in_a_browser_is_no_page_of_our_origin(server: ToolServer) -> None:
    page = b"<script>fetch('/admin/')</script>"
    server.says(page, headers=(
        "Content-Type: text/html\r\nSet-Cookie: sessionid=stolen\r\nAlt-Svc: h3=evil\r\n"
        "Content-Security-Policy: script-src *\r\nClear-Site-Data: *\r\nX-Trace: abc\r\n"
    ))  # fmt: skip
    response = await post(await make(server), tool_request(1))
    assert response.content == page and response["X-Trace"] == "abc"
    assert response["Content-Security-Policy"] == "sandbox; default-src 'none'"
    assert response["X-Content-Type-Options"] == "nosniff" and not response.cookies
    for name in ("Set-Cookie", "Alt-Svc", "Clear-Site-Data"):
        assert name not in response


async def test_of_a_caller_who_refused_an_address_keeps_no_word(server: ToolServer) -> None:
    refused = {"id": CALL_ID, "compliance": {"recordingConsent": {"type": "verbal"}}}
    await post(await make(server), tool_request(1, call=refused))

    def check() -> None:
        assert records_drain() == 1
        tool = Call.objects.get().tool_invocations.get()
        assert (tool.name, tool.arguments_json, tool.output) == ("find", "", "")

    await in_database(check)


async def test_what_came_through_becomes_the_sequence_of_its_call(server: ToolServer) -> None:
    row = await make(server)
    await post(row, tool_request(1))
    server.says(gzip.compress(b'{"results": [{"toolCallId": "call_2", "error": "taken"}]}'),
                headers="Content-Encoding: gzip\r\n")  # fmt: skip
    await post(row, tool_request(2, "book"))

    def check() -> None:
        with connection.cursor() as cursor:
            cursor.execute("SELECT content FROM calls_shimrecord")
            assert not any(b"call_" in str(each).encode() for each in cursor.fetchall())
        assert records_drain() == 2 and not ShimRecord.objects.exists()
        call = Call.objects.get()
        found = sequence_of(call)
        assert [(each.name, each.outcome, each.result) for each in found.tools] == [
            ("find", "ok", "open"),
            ("book", "failed", "taken"),
        ]
        assert found.cut and not call.turns.exists() and call.imported.log_id == CALL_ID
        row.refresh_from_db()
        assert (row.request_count, row.failure_count) == (2, 0)
        assert row.last_request_at is not None

    await in_database(check)


async def test_the_answer_gets_through_whatever_is_wrong_with_the_record(
    server: ToolServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*args: Any, **kwargs: Any) -> None:
        raise OperationalError("the database is away")

    row = await make(server)
    monkeypatch.setattr(views, "request_note", broken)
    for body in (tool_request(1), b"not json", b"", b'{"message": 5}', b"[" * 100_000):
        response = await post(row, body)
        assert response.status_code == 200 and b"open" in response.content
    monkeypatch.setattr(tool_shims, "_FRESH_SECONDS", 0.0)
    monkeypatch.setattr(ToolShim.objects, "filter", broken)
    assert (await post(row, tool_request(1))).status_code == 200
    assert len(server.seen) == 6


async def test_an_address_has_connections_of_its_own_and_outlives_its_client(
    server: ToolServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    row = await make(server)
    assert (await post(row, tool_request(1))).status_code == 200
    ours = await exchange.shared_client(apart="shims")
    assert ours is not await exchange.shared_client()
    await ours.aclose()  # as at the end of a process, while a request is on its way
    response = await post(row, tool_request(1))
    assert response.status_code == 502 and b"could not be reached" in response.content
    await exchange.close_client()
    assert (await post(row, tool_request(1))).status_code == 200

    async def no_threads(*args: Any) -> None:
        raise RuntimeError("cannot schedule new futures after shutdown")

    monkeypatch.setattr(views, "in_database", no_threads)
    assert (await post(row, tool_request(1))).status_code == 503


async def test_after_its_time_an_address_forwards_and_keeps_nothing(server: ToolServer) -> None:
    over = await make(server, records_until=timezone.now() - dt.timedelta(seconds=1))
    ended = await make(server)
    assert await in_database(shim_stop, shim=ended, actor="system")
    for row in (over, ended):
        assert (await post(row, tool_request(1))).status_code == 200
    assert not await in_database(ShimRecord.objects.exists)
    assert await in_database(AuditEntry.objects.filter(action="shim.stop").count) == 1


async def test_a_tool_server_that_is_away_is_told_in_vapis_form(server: ToolServer) -> None:
    gone = await in_database(factories.make_shim, target_url="http://127.0.0.1:1/x")
    response = await post(gone, tool_request(1))
    assert response.status_code == 502 and "could not be reached" in response.json()["error"]
    await in_database(gone.refresh_from_db)
    assert gone.failure_count == 1
    private = await in_database(factories.make_shim, target_url="http://10.0.0.1/x")
    assert (await post(private, tool_request(1))).status_code == 502
    response = await AsyncClient().post("/tool-shim/unknown", b"{}", content_type="text/plain")
    assert response.status_code == 404


async def test_a_body_over_the_limit_of_forms_goes_on(server: ToolServer) -> None:
    body = tool_request(1, artifact={"messages": [{"role": "system", "message": "x" * 2_000_000}]})
    assert (await post(await make(server), body)).status_code == 200
    assert server.seen[0][1] == body


def test_an_address_is_made_for_a_time_and_its_target_is_sealed(settings: Any) -> None:
    ask: dict[str, Any] = {
        "organisation": factories.default_organisation(), "name": "Bookings", "days": 7,
        "actor": factories.make_superuser(),
    }  # fmt: skip
    row = shim_make(target_url="https://tools.example.com/book?token=parrot", **ask)
    assert shim_address(row).startswith(settings.PUBLIC_BASE_URL)
    with connection.cursor() as cursor:
        cursor.execute("SELECT target_url, token FROM calls_toolshim")
        stored = str(cursor.fetchone())
    assert "parrot" not in stored and row.token not in stored
    for wrong in (
        {"target_url": "ftp://x"}, {"target_url": "http://plain.example.com/"},
        {"target_url": "https://x.example", "days": 90},
        {"target_url": "https://x.example", "name": " "},
        {"target_url": shim_address(row)},
    ):  # fmt: skip
        with pytest.raises(ShimRefused, match="Fix"):
            shim_make(**ask | wrong)


def test_an_address_that_is_still_used_is_not_taken_away() -> None:
    row = factories.make_shim(last_request_at=timezone.now() - dt.timedelta(hours=2))
    factories.make_shim_record(row)
    with pytest.raises(ShimRefused, match="put the tool server's own URL back"):
        shim_remove(shim=row, actor="system")
    shim_remove(shim=row, actor="system", is_sure=True)
    assert not ToolShim.objects.exists() and not ShimRecord.objects.exists()


def test_records_that_cannot_be_read_stop_nothing_and_are_gone_in_a_day() -> None:
    now = timezone.now()
    broken = factories.make_shim_record(received_at=now - dt.timedelta(hours=25))
    with connection.cursor() as cursor:
        cursor.execute("UPDATE calls_shimrecord SET content = 'gAAAAAbroken'")
    kept = exchange_kept(tool_request(1), 200, "{}", received_at=now, duration_ms=5)
    assert kept is not None and "messages" not in json.dumps(kept)
    factories.make_shim_record(broken.shim, content=kept)
    assert records_drain(now) == 1
    assert not ShimRecord.objects.exists() and ImportedCall.objects.count() == 1


def test_a_record_that_fits_nowhere_does_not_hold_up_the_others() -> None:
    now = timezone.now()
    first = factories.make_shim_record(content={"log_id": "a", "tools": [{"name": "find"}]})
    kept = exchange_kept(tool_request(1), 200, "{}", received_at=now, duration_ms=5)
    factories.make_shim_record(first.shim, content=kept)
    assert records_drain(now) == 1 and ShimRecord.objects.get().pk == first.pk


def test_a_worker_takes_all_that_waits_whatever_stays_at_the_front(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(tool_shims, "_BATCH", 2)
    shim, now = factories.make_shim(), timezone.now()
    for _ in range(2):
        factories.make_shim_record(shim, content={"log_id": "a", "tools": [{}]})
    for number in range(3):
        kept = exchange_kept(tool_request(number), 200, "{}", received_at=now, duration_ms=5)
        factories.make_shim_record(shim, content=kept)
    assert records_drain(now) == 3 and ShimRecord.objects.count() == 2


def test_an_answer_is_kept_without_what_no_database_takes() -> None:
    answer = json.dumps({"results": [{"toolCallId": "call_1", "result": "o\x00pen"}]})
    kept = exchange_kept(tool_request(1), 200, answer, received_at=timezone.now(), duration_ms=5)
    assert kept is not None and kept["tools"][0]["output"] == "open"
