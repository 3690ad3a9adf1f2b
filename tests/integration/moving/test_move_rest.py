"""Moving numbers by program: what each order answers, refuses and does once."""

from __future__ import annotations

from typing import Any

import pytest
from django.test import Client

from calls.models import NumberChange, NumberMove, PhoneNumber
from calls.services.number_moves import move_continue
from tests import factories
from tests.integration.moving.conftest import Twilio
from voiceplatform.base.models import Organisation

pytestmark = [pytest.mark.integration, pytest.mark.django_db]


@pytest.fixture
def organisation() -> Organisation:
    return factories.make_organisation()


class Program:
    """A program with a key."""

    def __init__(self, client: Client, organisation: Organisation, *scopes: str) -> None:
        _, clear = factories.make_api_key(organisation, scopes=scopes or ("read", "numbers"))
        self._client, self._bearer = client, {"authorization": f"Bearer {clear}"}

    def post(self, number: PhoneNumber, order: str, body: Any = None, **headers: str) -> Any:
        """Order something."""
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        return self._client.post(
            f"/phone-number/{number.pk}/{order}",
            body or {},
            content_type="application/json",
            headers={**self._bearer, **named},
        )

    def moves(self, number: PhoneNumber) -> Any:
        """Return the list of moves."""
        return self._client.get(f"/phone-number/{number.pk}/moves", headers=self._bearer).json()


@pytest.fixture
def program(client: Client, organisation: Organisation) -> Program:
    return Program(client, organisation)


def test_a_route_is_tried_dry_then_set_once_per_idempotency_key(
    program: Program, organisation: Organisation
) -> None:
    number = factories.make_number(organisation, route="vapi", previous_voice_url="https://a.b/c")
    wish = {"route": "canary", "canaryPercent": 10, "sticky": "hour", "why": "step 1"}
    dry = program.post(number, "route", {**wish, "dryRun": True}).json()
    assert dry["after"].startswith("canary 10%") and dry["changeId"] is None
    number.refresh_from_db()
    assert number.route == "vapi"
    first = program.post(number, "route", wish, Idempotency_Key="one").json()
    program.post(number, "route", {"route": "direct"})
    again = program.post(number, "route", wish, Idempotency_Key="one").json()
    assert again["changeId"] == first["changeId"] and first["changed"] is True
    number.refresh_from_db()
    assert number.route == "direct"  # the repeat did not set it again
    assert NumberChange.objects.filter(number=number).count() == 2
    stale = program.post(number, "route", {"route": "paused", "expectedVersion": first["version"]})
    assert stale.status_code == 409 and "changed meanwhile" in stale.json()["message"]


def test_a_route_that_may_not_be_set_is_400_with_a_sentence_for_each_problem(
    program: Program, organisation: Organisation
) -> None:
    policy = factories.make_policy(organisation, reviewed=False)
    number = factories.make_number(organisation, route="vapi", policy=policy)
    answer = program.post(number, "route", {"route": "direct"})
    assert answer.status_code == 400
    assert any("has not been reviewed" in each for each in answer.json()["message"])
    for body in ({}, {"route": "moon"}, {"route": "canary", "canaryPercent": 10.5}):
        assert program.post(number, "route", body).status_code == 400, body
    many = program.post(number, "route", {"route": "paused"}, Idempotency_Key="x" * 101)
    assert many.status_code == 400 and "Idempotency-Key" in many.json()["message"][0]


def test_a_number_moves_and_comes_back_by_program(
    program: Program, organisation: Organisation, twilio: Twilio
) -> None:
    number = twilio.number(organisation)
    before = dict(twilio.live(number))
    shown = program.post(number, "move").json()
    assert shown["move"] is None and shown["preview"]["canBegin"] is True
    assert "vapi-secret" not in str(shown)
    assert {each["field"] for each in shown["preview"]["differences"]} >= {"voice_url"}
    seen = shown["preview"]["fingerprint"]
    refused = program.post(number, "move", {"fingerprint": seen, "confirm": "+15550000000"})
    assert refused.status_code == 409 and twilio.writes() == []
    body = {"fingerprint": seen, "confirm": number.number_e164, "why": "by script"}
    begun = program.post(number, "move", body, Idempotency_Key="m").json()["move"]
    assert program.post(number, "move", body, Idempotency_Key="m").json()["move"] == begun
    move_continue(NumberMove.objects.get().pk, within_seconds=0)
    back = program.post(number, "restore", {"why": "enough"}, Idempotency_Key="r").json()
    assert back["state"] == "done" and back["move"]["direction"] == "back"
    repeated = program.post(number, "restore", {}, Idempotency_Key="r").json()
    assert repeated["move"]["id"] == back["move"]["id"]
    assert twilio.live(number) == before and len(twilio.writes()) == 2
    assert [each["direction"] for each in program.moves(number)] == ["back", "here"]
    assert program.post(number, "restore").json()["state"] == "nothing"


def test_a_preview_while_twilio_refuses_is_a_conflict_with_the_reason(
    program: Program, organisation: Organisation, twilio: Twilio
) -> None:
    number = twilio.number(organisation)
    number.twilio_account.auth_token = "not-the-token"
    number.twilio_account.save()
    answer = program.post(number, "move")
    assert answer.status_code == 409 and "401" in answer.json()["message"]


def test_write_does_not_move_numbers(client: Client, organisation: Organisation) -> None:
    number = factories.make_number(organisation)
    program = Program(client, organisation, "read", "write", "calls", "admin")
    for order in ("route", "move", "restore"):
        answer = program.post(number, order, {"route": "paused"})
        assert answer.status_code == 403 and "'numbers'" in answer.json()["message"]
    assert program.moves(number) == []
