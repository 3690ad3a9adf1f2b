"""Nets over the Twilio stand-in's real HTTP, and addresses that answer as an operator's would."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest
from django.test import override_settings
from django.utils import timezone

from calls.models import NumberMove, NumberNet, PhoneNumber
from calls.numbers.switch import kept
from calls.numbers.switch.net import net_for, overrides_for
from calls.numbers.switch.steps import Move, Step
from calls.numbers.switch.voice import Snapshot, read, target_of
from calls.numbers.switch.writes import as_form, changes, here
from calls.services import move_bell, net_probes, nets
from calls.services.net_rows import net_of
from calls.standins.server import RunningStandins
from tests.integration.moves.twilio import Twilio, account_on, running_twilio

DIALS = "<Response><Dial>+15550108888</Dial></Response>"
Moved = Callable[..., PhoneNumber]


@dataclass
class Site:
    """Somebody's web server: ``answers`` by path, and who asked for what."""

    url: str = ""
    answers: dict[str, tuple[int, str]] = field(default_factory=dict)
    asked: list[tuple[str, str, str]] = field(default_factory=list)


@pytest.fixture(scope="session")
def _running_site() -> Iterator[Site]:
    site = Site()

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self._answer("")

        def do_POST(self) -> None:
            length = int(self.headers.get("content-length", "0"))
            self._answer(self.rfile.read(length).decode())

        def _answer(self, body: str) -> None:
            path = self.path.partition("?")[0]
            site.asked.append((self.command, path, body or self.path))
            status, text = site.answers.get(path, (404, "no"))
            self.send_response(status)
            self.send_header("content-type", "text/xml")
            self.send_header("content-length", str(len(text)))
            self.end_headers()
            self.wfile.write(text.encode())

        def log_message(self, *_: Any) -> None:
            return

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    site.url = f"http://127.0.0.1:{server.server_port}"
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    yield site
    server.shutdown()
    server.server_close()
    thread.join(10)


@pytest.fixture
def site(_running_site: Site) -> Iterator[Site]:
    _running_site.answers = {"/down": (200, DIALS)}
    _running_site.asked.clear()
    with override_settings(EGRESS_ALLOW=("127.0.0.0/8",)):
        yield _running_site


@pytest.fixture(scope="session")
def standins() -> Iterator[RunningStandins]:
    with running_twilio() as running:
        yield running


@pytest.fixture
def twilio(
    db: None, standins: RunningStandins, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Twilio]:
    monkeypatch.setattr(move_bell, "poke", lambda: None)
    monkeypatch.setattr(net_probes, "task_tell", lambda task: None)
    monkeypatch.setattr(nets, "task_tell", lambda task: None)
    app = standins.app.twilio
    yield Twilio(standins, account_on(standins))
    standins.carrier.numbers.resources.clear()
    standins.carrier.numbers.alarms.clear()
    standins.carrier.calls.clear()
    app.log.clear()
    app.faults.orders.clear()


@pytest.fixture
def moved(twilio: Twilio, site: Site) -> Moved:
    """Have a number that was moved here, at Twilio and in our rows."""

    def make(
        *, base_url: str = "https://voice.example.com", net: dict[str, Any] | None = None
    ) -> PhoneNumber:
        site.answers.setdefault("/", (404, "somebody is there"))
        number = twilio.number(
            0, voice_url=f"{site.url}/inbound_call?token=t", status_callback=f"{site.url}/status"
        )
        row = net_of(number)
        for name, value in (net or {}).items():
            setattr(row, name, value)
        row.save()
        before = read(twilio.resource(number))
        found = net_for(target_of(before), our_url=base_url, address=row.address, method=row.method)
        wanted = here(before, base_url=base_url, net=found, overrides=overrides_for())
        form = as_form(changes(wanted, over=before))
        twilio.rest.carrier.numbers.update(before.sid, form)
        move = Move("here", before, wanted, step=Step.DONE)
        snapshot = Snapshot(before, None, "us1", "2026-11-23T12:00:00+00:00", "user:anna")
        NumberMove.objects.create(
            organisation=number.organisation,
            number=number,
            direction="here",
            step="done",
            state=kept.as_json(move),
            snapshot=snapshot.as_json(),
            may_be_written=True,
            who="user:anna",
            finished_at=timezone.now(),
        )
        number.previous_voice_url = before.voice_url
        number.save()
        return number

    return make


def looked(number: PhoneNumber) -> NumberNet:
    """Look at a number once and return what is stored of it then."""
    net = net_of(number)
    assert net_probes.net_look(net.pk)
    row: NumberNet = NumberNet.objects.select_related("number", "organisation").get(pk=net.pk)
    return row
