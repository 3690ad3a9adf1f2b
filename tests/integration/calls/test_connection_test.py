"""“Test connection”: the real socket, cause and fix by code, audited, and never the key."""

from __future__ import annotations

import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest
from asgiref.sync import sync_to_async
from django.test import Client
from django.urls import reverse
from websockets.asyncio.server import ServerConnection, serve

from calls.doctor.connection_test import ConnectionTest, connection_test
from calls.doctor.model_faults import FAULTS, fault_of
from calls.models import ProviderConnection
from calls.standins.book import StandinBook
from calls.standins.realtime_profile import RealtimeProfile
from calls.standins.server import StandinApp, make_server
from calls.standins.twilio_carrier import Carrier
from tests import factories
from tests.integration.calls.rig import serving, silent_server
from tests.integration.parity.stand import listening, redirect_to
from voiceplatform.base.models import AuditEntry

pytestmark = pytest.mark.integration

KEY = "sk-proj-a-key-that-nobody-may-see"


@asynccontextmanager
async def model(**profile: Any) -> AsyncIterator[str]:
    """Serve the model's stand-in; yields its Realtime address."""
    book = StandinBook(RealtimeProfile(**profile))
    app = StandinApp(book, Carrier("https://unused.example", "t", factories.sid("AC"), book=book))
    async with serving(make_server(app)) as (port,):
        yield f"ws://127.0.0.1:{port}/v1/realtime"


async def outcome_of(url: str, within_seconds: float = 5.0, **columns: Any) -> ConnectionTest:
    """Test an unsaved connection, in a thread as the admin does."""
    connection = ProviderConnection(
        **{"name": "c", "realtime_url": url, "model": "gpt-realtime-2.1", "api_key": KEY, **columns}
    )
    return await sync_to_async(connection_test, thread_sensitive=False)(
        connection, within_seconds=within_seconds
    )


@pytest.mark.parametrize(
    ("served", "dialect", "path"),
    [
        ("ga", "openai_ga", "/v1/realtime"),
        ("azure_ga", "azure_ga", "/openai/v1/realtime"),
        ("beta", "beta", "/v1/realtime"),
    ],
)
async def test_a_connection_that_works_tells_its_times(
    served: Any, dialect: str, path: str
) -> None:
    async with model(dialect=served) as url:
        test = await outcome_of(url.replace("/v1/realtime", path), dialect=dialect)
    assert test.is_ok, test
    assert test.opened_ms is not None
    assert test.configured_ms is not None
    assert test.configured_ms >= test.opened_ms


@pytest.mark.parametrize(
    ("profile", "columns", "code"),
    [
        ({"api_keys": ("sk-another",)}, {}, "invalid_api_key"),  # O19: after a successful upgrade
        ({"models": ("gpt-realtime-2",)}, {}, "invalid_model"),
        ({}, {"dialect": "beta"}, "beta_api_shape_disabled"),  # O1
        ({"upgrade_status": 403}, {}, "http_403"),
        ({"upgrade_status": 404}, {}, "http_404"),
        ({"upgrade_status": 429}, {}, "http_429"),
        ({"reject_update": True}, {}, "unknown_parameter"),
    ],
)
async def test_o19_each_refusal_comes_with_its_cause_and_fix(
    profile: dict[str, Any], columns: dict[str, Any], code: str
) -> None:
    async with model(**profile) as url:
        test = await outcome_of(url, **columns)
    assert (test.is_ok, test.code) == (False, code)
    assert (test.cause, test.fix) == (FAULTS[code].cause, FAULTS[code].fix)
    assert KEY not in repr(test)


@pytest.mark.parametrize("profile", [{"never_created": True}, {"never_updated": True}])
async def test_a_peer_that_falls_silent_costs_no_more_than_the_deadline(
    profile: dict[str, Any],
) -> None:
    async with model(**profile) as url:
        test = await outcome_of(url, within_seconds=0.3)
    assert test.code == "timeout"
    assert test.opened_ms is not None


async def test_a_key_goes_to_the_address_that_was_entered_and_follows_no_redirect() -> None:
    with listening() as (port, asked):
        with listening(redirect_to(f"ws://127.0.0.1:{port}/elsewhere")) as (first, _):
            test = await outcome_of(f"ws://127.0.0.1:{first}/v1/realtime", dialect="azure_ga")
    assert (test.is_ok, test.code, asked) == (False, "http_307", [])
    assert "redirect" in test.cause and "address" in test.fix


async def test_the_way_there_is_told_apart_from_the_provider() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        free = listener.getsockname()[1]
    assert (await outcome_of(f"ws://127.0.0.1:{free}/v1/realtime")).code == "refused"
    assert (await outcome_of("ws://model.invalid/v1/realtime")).code == "dns"
    assert (await outcome_of("https://model.example/v1/realtime")).code == "address"
    async with silent_server() as url:
        assert (await outcome_of(url, within_seconds=0.3)).code == "timeout"
    async with model() as url:
        # TLS is asked of a server that speaks none.
        assert (await outcome_of(url.replace("ws://", "wss://"))).code == "tls"


def test_every_code_has_a_cause_and_unknown_ones_say_so() -> None:
    assert all(fault.cause for fault in FAULTS.values())
    assert fault_of("http_503") == FAULTS["server_error"]
    assert "does not know" in fault_of("something_new").cause


# ---- the page ---------------------------------------------------------------------------------


async def test_the_page_tests_on_post_only_is_audited_and_shows_no_key(
    transactional_db: None,
) -> None:
    def press(url: str) -> tuple[str, str, list[AuditEntry]]:
        connection = factories.make_connection(realtime_url=url, api_key=KEY)
        client = Client()
        client.force_login(factories.make_staff(connection.organisation, "all"))
        page = reverse("admin:calls_providerconnection_test", args=[connection.pk])
        form = reverse("admin:calls_providerconnection_change", args=[connection.pk])
        assert page in client.get(form).content.decode()
        opened = client.get(page).content.decode()
        assert not AuditEntry.objects.filter(action="connection.test").exists()
        pressed = client.post(page).content.decode()
        return opened, pressed, list(AuditEntry.objects.filter(action="connection.test"))

    async with model(api_keys=("sk-another",)) as url:
        opened, pressed, audit = await sync_to_async(press)(url)
    assert "does not work" not in opened
    assert "invalid_api_key" in pressed
    assert "enter it under Connections" in pressed
    assert KEY not in opened + pressed
    (entry,) = audit
    assert entry.details == {"ok": False, "code": "invalid_api_key"}


def test_who_may_only_look_may_not_test(transactional_db: None, client: Client) -> None:
    connection = factories.make_connection(realtime_url="ws://127.0.0.1:9/v1/realtime")
    client.force_login(
        factories.make_staff(connection.organisation, ["calls.view_providerconnection"])
    )
    page = reverse("admin:calls_providerconnection_test", args=[connection.pk])
    form = reverse("admin:calls_providerconnection_change", args=[connection.pk])
    assert page not in client.get(form).content.decode()
    assert client.get(page).status_code == 403
    assert client.post(page).status_code == 403


async def test_o21_a_session_that_is_not_mulaw_does_not_count_as_working() -> None:
    async def converse(peer: ServerConnection) -> None:
        await peer.send('{"type":"session.created","session":{}}')
        await peer.recv()
        await peer.send('{"type":"session.updated","session":{"type":"realtime"}}')

    async with serve(converse, "127.0.0.1", 0) as server:
        port = next(iter(server.sockets)).getsockname()[1]
        test = await outcome_of(f"ws://127.0.0.1:{port}/v1/realtime")
    assert test.code == "not_mulaw"
