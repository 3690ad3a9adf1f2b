"""Routes are set in one place: judged, recorded, once, and never over somebody else's change."""

from __future__ import annotations

from typing import Any

import pytest

from calls.models import NumberChange, PhoneNumber
from calls.numbers.switch.voice import Target
from calls.services.number_routes import (
    KEEP,
    RouteOrder,
    RouteOvertaken,
    RouteRefused,
    previous_set,
    qualify,
    route_preview,
    route_set,
)
from calls.services.previous_targets import previous_of
from tests import factories
from voiceplatform.base.models import AuditEntry

pytestmark = [pytest.mark.integration, pytest.mark.django_db]

OLD = Target("url", url="https://old.example.com/voice?token=t#rt=4000", status_callback="")
WINDOWS = {"zone": "Europe/Berlin", "windows": {"mon": "09:00-17:00"}, "outside": "vapi"}


@pytest.fixture
def number() -> PhoneNumber:
    number = factories.make_number(route="vapi")
    previous_set(number, OLD)
    return number


def ordered(number: PhoneNumber, route: str, percent: int = 0, **options: Any) -> NumberChange:
    order = RouteOrder(route, percent, **options.pop("order", {}))
    options = {"actor": None, "why": "a test", **options}
    return route_set(number_id=number.pk, order=order, **options)


def fields_of(refused: RouteRefused) -> set[str]:
    return {problem.field for problem in refused.problems}


def test_a_change_is_a_row_an_audit_entry_and_a_new_version(number: PhoneNumber) -> None:
    change = ordered(number, "canary", 10, actor="plan:7", kind="plan", evidence={"calls": 12})
    number.refresh_from_db()
    assert (number.route, number.canary_percent, number.version) == ("canary", 10, 1)
    assert str(change) == "vapi -> canary 10%, always the same ones"
    assert (change.who, change.why, change.kind) == ("plan:7", "a test", "plan")
    assert change.evidence == {"calls": 12}
    entry = AuditEntry.objects.get(action="phonenumber.route")
    assert entry.details["change"] == str(change.pk)


def test_the_same_key_twice_is_one_change(number: PhoneNumber) -> None:
    first = ordered(number, "direct", key="incident-1")
    ordered(number, "vapi")
    assert ordered(number, "direct", key="incident-1") == first
    number.refresh_from_db()
    assert (number.route, number.version) == ("vapi", 2)


def test_an_order_for_another_version_is_refused_with_what_changed_and_by_whom(
    number: PhoneNumber,
) -> None:
    ordered(number, "direct", actor="user:ann", why="tried", expected_version=0)
    ordered(number, "vapi", actor="guard", why="calls failed", kind="guard")
    with pytest.raises(RouteOvertaken) as refused:
        ordered(number, "canary", 10, expected_version=0)
    words = str(refused.value)
    assert "guard at" in words and "direct -> vapi (calls failed)" in words
    assert "user:ann" in words
    number.refresh_from_db()
    assert (number.route, NumberChange.objects.count()) == ("vapi", 2)


@pytest.mark.parametrize(
    ("columns", "order", "field"),
    [
        ({"policy": "unreviewed"}, RouteOrder("direct"), "policy"),
        ({"assistant": None}, RouteOrder("direct"), "assistant"),
        ({"connection": None}, RouteOrder("canary", 10), "connection"),
        ({"health_data": True}, RouteOrder("direct"), "connection"),
        ({}, RouteOrder("odd"), "route"),
        ({}, RouteOrder("canary", 101), "canary_percent"),
        ({}, RouteOrder("canary", 10, sticky="day"), "sticky"),
        ({}, RouteOrder("vapi", schedule={**WINDOWS, "windows": {"mon": "9-17"}}), "schedule"),
        ({}, RouteOrder("direct", schedule={**WINDOWS, "zone": "Mars/X"}), "zone"),
        ({"patience_ms": 20_000}, RouteOrder("vapi"), "patience_ms"),
    ],
)
def test_what_would_not_work_is_refused_and_changes_nothing(
    number: PhoneNumber, columns: dict[str, Any], order: RouteOrder, field: str
) -> None:
    if columns.get("policy") == "unreviewed":
        columns = {"policy": factories.make_policy(number.organisation, reviewed=False)}
    for name, value in columns.items():
        setattr(number, name, value)
    number.save()
    with pytest.raises(RouteRefused) as refused:
        route_set(number_id=number.pk, order=order, actor=None, why="")
    assert field in fields_of(refused.value)
    assert all(problem.cause and problem.fix for problem in refused.value.problems)
    number.refresh_from_db()
    assert (number.route, number.version) == ("vapi", 0)
    assert not NumberChange.objects.exists()


def test_a_number_of_a_trunk_knows_only_vapi_and_direct(number: PhoneNumber) -> None:
    previous_set(number, Target("trunk", sid=factories.sid("TK")))
    with pytest.raises(RouteRefused, match="SIP trunk"):
        ordered(number, "canary", 10)
    assert ordered(number, "direct").after["route"] == "direct"
    assert ordered(number, "vapi").after["route"] == "vapi"


def test_a_number_that_vapi_owns_never_leaves_vapi(number: PhoneNumber) -> None:
    factories.make_resource(
        number.organisation, "phone-number", provider="vapi", number=number.number_e164
    )
    with pytest.raises(RouteRefused, match="Vapi owns it"):
        ordered(number, "direct")


def test_a_schedule_is_kept_unless_another_is_ordered(number: PhoneNumber) -> None:
    ordered(number, "direct", order={"schedule": WINDOWS})
    number.refresh_from_db()
    stored = number.schedule or {}
    assert stored["windows"] == {"mon": "09:00-17:00"}
    assert ordered(number, "paused", order={"schedule": KEEP}).after["schedule"]
    assert ordered(number, "direct", order={"schedule": None}).after["schedule"] is None


def test_a_preview_says_what_would_change_and_changes_nothing(number: PhoneNumber) -> None:
    preview = route_preview(number, RouteOrder("canary", 100, sticky="hour"))
    assert (preview.before, preview.is_change) == ("vapi", True)
    assert preview.after == "canary 100%, the same ones for an hour"
    assert [problem.weight for problem in preview.problems] == ["warning"]
    number.refresh_from_db()
    assert (number.route, number.version) == ("vapi", 0)


def test_the_old_address_is_sealed_whole_and_its_column_is_in_step(number: PhoneNumber) -> None:
    number.refresh_from_db()
    assert number.previous_voice_url == OLD.url
    assert previous_of(number).voice.url == OLD.url
    long = Target("url", url="https://old.example.com/" + "x" * 600)
    previous_set(number, long)
    number.refresh_from_db()
    assert (number.previous_voice_url, previous_of(number).voice.url) == ("", long.url)
    previous_set(number, None)
    number.refresh_from_db()
    assert previous_of(number).problem


def test_qualified_is_said_by_somebody_and_can_be_taken_back(number: PhoneNumber) -> None:
    qualify(number=number, is_qualified=True, actor="user:ann", why="tried it")
    number.refresh_from_db()
    assert number.qualified_at is not None
    assert number.qualified_by == "user:ann"
    qualify(number=number, is_qualified=False, actor="guard", why="")
    again = PhoneNumber.objects.get(pk=number.pk)
    assert again.qualified_at is None
    assert again.qualified_by == ""
    actions = AuditEntry.objects.order_by("id").values_list("action", flat=True)
    assert list(actions) == ["phonenumber.qualify", "phonenumber.disqualify"]
