"""Leaving Vapi over HTTP: refused for what depends on it, armed first, put away last, undone."""

from __future__ import annotations

import datetime as dt
import json
from pathlib import Path
from typing import Any

import pytest
from django.core.management import call_command
from django.utils import timezone

from calls.models import Departure, Incident, Notice, NumberNet, PhoneNumber, TwilioAccount
from calls.numbers.switch.voice import Target
from calls.selectors.leaving import has_left
from calls.services import leaving
from calls.services.leaving import (
    LeavingRefused,
    departure_accept,
    departure_begin,
    departure_export,
    departure_leave,
    departure_look,
    departure_undo,
    departures_remind,
    found_of,
    key_done,
    token_done,
)
from calls.services.number_moves import (
    has_way_back,
    move_begin,
    move_continue,
    move_preview,
    restorable,
    restore_begin,
    webhook_seen,
)
from calls.services.number_routes import RouteOrder, previous_set, route_set
from calls.services.previous_targets import previous_of
from tests import factories
from tests.integration.moves.twilio import APP, Twilio
from tests.vapi_account import VapiAccount
from voiceplatform.base.models import AuditEntry

pytestmark = [pytest.mark.integration, pytest.mark.django_db]

HERE = "https://voice.example.com/twilio/voice"
VAPI = "https://api.vapi.ai/twilio"
BIN = "https://bins.example.com/{}"


def own_number(twilio: Twilio, **fields: Any) -> PhoneNumber:
    """Return a number that is answered here, whose net is Vapi still; its own address is known."""
    number = twilio.number(
        4,
        **{
            "voice_url": HERE,
            "voice_fallback_url": f"{VAPI}/inbound_call",
            "status_callback": "https://voice.example.com/twilio/status",
            **fields,
        },
    )
    PhoneNumber.objects.filter(pk=number.pk).update(route="direct")
    number.refresh_from_db()
    previous_set(number, Target("url", url=f"{VAPI}/inbound_call?token=old"))
    NumberNet.objects.update_or_create(
        number=number,
        defaults={"organisation": number.organisation, "address": BIN.format(number.pk)},
    )
    return number


def ready(departure: Departure, folder: Path) -> None:
    """Export, look and answer for all that can be answered for."""
    departure_export(departure=departure, folder=folder, actor=None)
    for found in departure_look(departure=departure):
        if found.weight == "ask":
            departure_accept(departure=departure, key=found.key, actor=None, why="looked at it")


def leave(departure: Departure, **options: Any) -> leaving.Left:
    return departure_leave(departure=departure, typed="leave vapi", actor=None, **options)


def codes(departure: Departure) -> set[str]:
    return {each.code for each in found_of(departure) if each.weight == "blocks"}


def test_the_whole_way_out_and_back(twilio: Twilio, tmp_path: Path) -> None:
    numbers = [own_number(twilio) for _ in range(3)]
    departure = departure_begin(organisation=twilio.account.organisation)
    ready(departure, tmp_path / "export")
    assert leave(departure).is_done
    for number in numbers:
        live = twilio.resource(number)
        assert live["voice_fallback_url"] == BIN.format(number.pk)
        assert live["voice_url"] == HERE
        number.refresh_from_db()
        assert (number.previous_target, number.previous_voice_url) == (None, "")
        assert has_left(number)
        assert number.net.previous_closed_at is not None
        (form,) = twilio.posts(number)
        assert set(form) == {"VoiceFallbackUrl", "VoiceFallbackMethod"}
    twilio.assert_decent()
    assert departure.state == "left" and departure.token_due_at is not None
    assert Notice.objects.get().key == f"departure:{departure.pk}:left"
    with pytest.raises(LeavingRefused, match="another state"):
        leave(departure)

    done = departure_undo(departure=departure, actor=None, why="a partner needs it")
    assert done.is_done and departure.state == "undone"
    assert twilio.changed() == {}
    for number in numbers:
        number.refresh_from_db()
        assert previous_of(number).voice.url == f"{VAPI}/inbound_call?token=old"
        assert not has_left(number)
        assert number.net.previous_closed_at is None
    actions = set(AuditEntry.objects.filter(target_id=str(departure.pk)).values_list("action"))
    assert {("departure.export",), ("departure.leave",), ("departure.undo",)} <= actions
    # One that was undone stands in nobody's way.
    assert departure_begin(organisation=twilio.account.organisation).pk != departure.pk


PLANTED: dict[str, dict[str, Any]] = {
    "voice_url": {"voice_url": f"{VAPI}/inbound_call"},
    "status_callback": {"status_callback": f"{VAPI}/status"},
    "sms_url": {"sms_url": f"{VAPI}/sms"},
}


def test_every_dependency_is_found_by_itself_and_refuses(twilio: Twilio, tmp_path: Path) -> None:
    """Plant one after the other on numbers of one account, look once, and see each refused."""
    organisation = twilio.account.organisation
    number = own_number(twilio)
    departure = departure_begin(organisation=organisation)
    ready(departure, tmp_path / "export")
    departure_look(departure=departure)
    assert codes(departure) == set()
    planted = {code: own_number(twilio, **fields) for code, fields in PLANTED.items()}
    planted["route"] = own_number(twilio)
    PhoneNumber.objects.filter(pk=planted["route"].pk).update(route="canary", canary_percent=90)
    planted["no_second_site"] = own_number(twilio)
    NumberNet.objects.filter(number=planted["no_second_site"]).update(address="")
    planted["second_site"] = own_number(twilio)
    net = NumberNet.objects.get(number=planted["second_site"])
    net.address = f"{VAPI}/inbound_call"
    net.save()
    planted["open_work"] = own_number(twilio)
    Incident.objects.create(
        organisation=organisation,
        key="i",
        number=planted["open_work"],
        stack="direct",
        opened_at=timezone.now(),
        words="w",
        state="nothing",
    )
    twilio.rest.carrier.numbers.add("+15550009999", voice_url=f"{VAPI}/inbound_call")
    factories.make_call(number=number, stack="vapi", status="in-progress")
    found = departure_look(departure=departure)
    blocking = {(each.code, each.subject) for each in found if each.weight == "blocks"}
    expected = {(code, row.number_e164) for code, row in planted.items()}
    assert blocking == expected | {("stranger", "+15550009999"), ("live_calls", "")}
    with pytest.raises(LeavingRefused) as refused:
        leave(departure)
    assert {(e.code, e.subject) for e in refused.value.outstanding} >= blocking
    assert [twilio.posts(each) for each in (number, *planted.values())] == [[]] * 8
    assert Departure.objects.get(pk=departure.pk).state == "preparing"


def test_calls_of_the_last_week_have_to_be_answered_for(twilio: Twilio, tmp_path: Path) -> None:
    number = own_number(twilio)
    departure = departure_begin(organisation=number.organisation)
    ready(departure, tmp_path / "export")
    for code, days in (("overflow", 1), ("model-lost", 2), ("overflow", 9)):
        call = factories.make_call(number=number, stack="vapi", status="ended", route_code=code)
        type(call).objects.filter(pk=call.pk).update(
            created_at=timezone.now() - dt.timedelta(days=days)
        )
    departure_look(departure=departure)
    asked = {each.code: each.cause for each in found_of(departure) if each.weight == "ask"}
    assert "1 call of the last week" in asked["overflow"]
    assert "model-lost 1" in asked["handed_over"]
    with pytest.raises(LeavingRefused, match="2 things keep you"):
        leave(departure)
    with pytest.raises(LeavingRefused, match="why is empty"):
        departure_accept(
            departure=departure, key=f"overflow:{number.number_e164}", actor=None, why=" "
        )
    with pytest.raises(LeavingRefused, match="nothing of this kind"):
        departure_accept(departure=departure, key="route:x", actor=None, why="so")


def test_nothing_is_put_away_when_one_net_cannot_be_armed_and_begun_again_it_is(
    twilio: Twilio, tmp_path: Path
) -> None:
    first, second = sorted((own_number(twilio) for _ in range(2)), key=lambda e: e.number_e164)
    departure = departure_begin(organisation=first.organisation)
    ready(departure, tmp_path / "export")
    twilio.fault(status=503, times=9, path=second.twilio_sid)
    done = leave(departure)
    assert not done.is_done and done.numbers == 1
    assert done.problems[0].startswith(f"{second.number_e164}: Twilio did not take it")
    for number in (first, second):
        number.refresh_from_db()
        assert number.previous_voice_url and not has_left(number)
    assert departure.state == "preparing"
    twilio.standins.app.twilio.faults.orders.clear()
    # Carried out although Twilio said otherwise: seen at the next look, and not written again.
    twilio.fault(status=503, when="after", path=second.twilio_sid)
    assert not leave(departure).is_done
    written = len(twilio.posts(second))
    assert leave(departure).is_done
    assert (len(twilio.posts(first)), len(twilio.posts(second))) == (1, written)


def test_an_export_that_was_touched_or_is_old_refuses(twilio: Twilio, tmp_path: Path) -> None:
    number = own_number(twilio)
    departure = departure_begin(organisation=number.organisation)
    ready(departure, tmp_path / "export")
    about = tmp_path / "export" / "ABOUT.json"
    text = about.read_text()
    about.write_text(text + " ")
    with pytest.raises(LeavingRefused, match="not as it was written: ABOUT.json was changed"):
        leave(departure)
    about.write_text(text)
    Departure.objects.filter(pk=departure.pk).update(
        exported_at=timezone.now() - dt.timedelta(hours=25)
    )
    with pytest.raises(LeavingRefused) as refused:
        leave(departure)
    assert [each.code for each in refused.value.outstanding] == ["export"]
    with pytest.raises(LeavingRefused, match="type “leave vapi”"):
        departure_leave(departure=departure, typed="yes", actor=None)
    assert twilio.posts(number) == []


def test_a_number_that_was_moved_here_has_its_net_in_its_move_and_no_way_back_to_vapi(
    twilio: Twilio, tmp_path: Path
) -> None:
    number = twilio.number(0)
    preview = move_preview(number=number)
    move = move_begin(
        number=number,
        actor=None,
        why="",
        fingerprint=preview.fingerprint,
        typed=number.number_e164,
    )
    move_continue(move.pk)
    webhook_seen(number=number, call_sid="CA" + "1" * 32, caller="+15550109999")
    assert move_continue(move.pk).step == "done"
    number.refresh_from_db()
    route_set(number_id=number.pk, order=RouteOrder("direct"), actor=None, why="all is well")
    NumberNet.objects.update_or_create(
        number=number,
        defaults={"organisation": number.organisation, "address": BIN.format(1)},
    )
    departure = departure_begin(organisation=number.organisation)
    ready(departure, tmp_path / "export")
    assert has_way_back(number) and restorable() == [number]
    live = twilio.resource(number)
    written, live["status_callback"] = live["status_callback"], "https://else.example/status"
    posts = len(twilio.posts(number))
    assert "somebody changed status_callback" in leave(departure).problems[0]
    assert len(twilio.posts(number)) == posts
    live["status_callback"] = written
    assert leave(departure).is_done
    assert not has_way_back(number) and restorable() == []
    assert restore_begin(number=number, actor=None, why="guard") is None
    departure_undo(departure=departure, actor=None, why="back")
    # The restore compares with what it knows was written: leaving has kept that up to date.
    restore = restore_begin(number=number, actor=None, why="back")
    assert restore is not None
    assert move_continue(restore.pk).step == "done"
    assert twilio.changed() == {}


def test_a_route_that_changes_while_nets_are_armed_stops_it(twilio: Twilio, tmp_path: Path) -> None:
    number = own_number(twilio)
    departure = departure_begin(organisation=number.organisation)
    ready(departure, tmp_path / "export")

    def meanwhile(done: int, total: int, label: str) -> None:
        if label == "Arming the nets":
            PhoneNumber.objects.filter(pk=number.pk).update(route="vapi")

    with pytest.raises(LeavingRefused, match="was changed meanwhile"):
        leave(departure, progress=meanwhile)
    number.refresh_from_db()
    assert number.previous_voice_url and not has_left(number)


def test_an_app_decides_itself_whom_twilio_asks_next(twilio: Twilio, tmp_path: Path) -> None:
    number = own_number(twilio, voice_application_sid=APP)
    departure = departure_begin(organisation=number.organisation)
    ready(departure, tmp_path / "export")
    assert "a TwiML app answers it" in leave(departure).problems[0]
    assert twilio.posts(number) == []


def test_a_number_that_is_not_at_twilio_any_more_stops_it(twilio: Twilio, tmp_path: Path) -> None:
    number = own_number(twilio)
    departure = departure_begin(organisation=number.organisation)
    ready(departure, tmp_path / "export")
    PhoneNumber.objects.filter(pk=number.pk).update(twilio_sid="PN" + "0" * 32)
    done = leave(departure)
    assert "Twilio cannot be asked" in done.problems[0]
    assert twilio.posts(number) == []


def test_the_token_ends_the_way_back_and_is_seen_to_be_another(
    twilio: Twilio, tmp_path: Path
) -> None:
    number = own_number(twilio)
    departure = departure_begin(organisation=number.organisation)
    ready(departure, tmp_path / "export")
    leave(departure)
    with pytest.raises(LeavingRefused, match="still the one that Vapi knows"):
        token_done(departure=departure, actor=None)
    account = TwilioAccount.objects.get(pk=twilio.account.pk)
    account.auth_token = "another-token"
    account.save()
    token_done(departure=departure, actor=None)
    with pytest.raises(LeavingRefused, match="token has been replaced"):
        departure_undo(departure=departure, actor=None, why="too late")
    key_done(departure=departure, actor=None)
    assert departure.state == "finished"


def test_people_are_reminded_once_a_day_when_it_is_overdue(twilio: Twilio, tmp_path: Path) -> None:
    number = own_number(twilio)
    departure = departure_begin(organisation=number.organisation)
    ready(departure, tmp_path / "export")
    leave(departure)
    now = timezone.now()
    days = [now + dt.timedelta(days=each) for each in (1, 8, 8.5, 9.1)]
    assert [departures_remind(each) for each in days] == [0, 1, 0, 1]
    words = Notice.objects.filter(key__contains="overdue").values_list("words", flat=True)
    assert all("replace Twilio's auth token" in each for each in words)


def test_vapis_account_is_compared_and_its_calls_have_to_be_exported(
    twilio: Twilio, tmp_path: Path
) -> None:
    number = own_number(twilio)
    departure = departure_begin(organisation=number.organisation)
    moment = timezone.now().isoformat().replace("+00:00", "Z")
    later = (timezone.now() + dt.timedelta(hours=1)).isoformat().replace("+00:00", "Z")
    call = {"id": "c-1", "type": "webCall", "createdAt": moment}
    vapi = VapiAccount({"call": [call], "assistant": []})
    departure_export(departure=departure, folder=tmp_path / "e", actor=None)
    departure_look(departure=departure, vapi=vapi.client())
    assert "calls_not_exported" in codes(departure)
    departure_export(departure=departure, folder=tmp_path / "e", actor=None, vapi=vapi.client())
    departure_look(departure=departure, vapi=vapi.client())
    assert codes(departure) == set()
    asked = {each.code for each in found_of(departure) if each.weight == "ask"}
    assert asked == {"calls_at_vapi", "scripts"}
    vapi.objects["call"].append({**call, "id": "c-2", "createdAt": later})
    departure_look(departure=departure, vapi=vapi.client())
    assert codes(departure) == {"calls_since_export"}


def test_the_command_says_what_is_in_the_way_and_leaves(
    twilio: Twilio, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    def run(*words: str) -> tuple[int, dict[str, Any]]:
        try:
            call_command("decommission", *words, "--json", "--organisation", name)
        except SystemExit as end:
            return int(end.code or 0), json.loads(capsys.readouterr().out)
        return 0, json.loads(capsys.readouterr().out)

    number = own_number(twilio)
    name = number.organisation.name
    code, body = run("--dry-run")
    assert code == 1 and {each["key"] for each in body["found"]} >= {"export", "scripts"}
    assert body["cannot_be_seen"]
    assert run("--export", str(tmp_path / "e"))[0] == 0
    code, body = run("--confirm", "leave vapi")
    assert code == 1 and "keep you from leaving" in body["problem"]
    for each in body["found"]:
        assert run("--accept", each["key"], "--why", "looked")[0] == 0
    assert run("--confirm", "Leave Vapi")[1]["numbers"] == 1
    assert run("--undo", "--why", "after all")[0] == 0
    assert twilio.changed() == {}
