"""The pages on which a number is moved: what they show, what they refuse, what one click does."""

from __future__ import annotations

import re
from typing import Any

import pytest
from django.test import Client
from django.urls import reverse

from calls.models import NumberMove, PhoneNumber
from calls.services.number_moves import move_continue, webhook_seen
from tests import factories
from tests.factories.moves import OLD_URL
from tests.integration.moving.conftest import Twilio
from voiceplatform.base.models import AuditEntry, Organisation

pytestmark = [pytest.mark.integration, pytest.mark.django_db]

SEES, CHANGES = "calls.view_phonenumber", "calls.change_phonenumber"


@pytest.fixture
def organisation() -> Organisation:
    return factories.make_organisation()


@pytest.fixture
def staff(client: Client, organisation: Organisation) -> Client:
    client.force_login(factories.make_staff(organisation, (SEES, CHANGES, "calls.view_call")))
    return client


def url(name: str, *args: Any) -> str:
    return reverse(f"admin:calls_phonenumber_{name}", args=args)


def text_of(answer: Any) -> str:
    assert answer.status_code == 200, answer.status_code
    return re.sub(r"\s+", " ", answer.content.decode())


def hidden(text: str, name: str) -> str:
    found = re.search(rf'name="{name}" value="([^"]*)"', text)
    assert found, name
    return found[1]


def begin(staff: Client, number: PhoneNumber, **given: str) -> NumberMove:
    """Move a number as a person does, as far as the click goes."""
    page = text_of(staff.get(url("move", number.pk)))
    body = {"fingerprint": hidden(page, "fingerprint"), "typed": number.number_e164, **given}
    answer = staff.post(url("move", number.pk), body)
    assert answer.status_code == 302, text_of(answer)
    return NumberMove.objects.get(number=number, finished_at__isnull=True)


def test_the_preview_shows_every_field_masked_and_writes_nothing(
    staff: Client, organisation: Organisation, twilio: Twilio
) -> None:
    number = twilio.number(organisation)
    text = text_of(staff.get(url("move", number.pk)))
    assert "voice_url" in text and "https://voice.example.com/twilio/voice" in text
    assert "voice_caller_id_lookup" in text  # also what stays as it is
    assert "vapi-secret" not in text and "token=" in text
    assert "Text messages are not touched." in text
    assert "is asked after" in text  # the net, with its seconds
    assert twilio.writes() == [] and not NumberMove.objects.exists()


def test_a_move_needs_the_number_typed_and_what_was_shown(
    staff: Client, organisation: Organisation, twilio: Twilio
) -> None:
    number = twilio.number(organisation)
    page = text_of(staff.get(url("move", number.pk)))
    seen = hidden(page, "fingerprint")
    answer = staff.post(url("move", number.pk), {"fingerprint": seen, "typed": "+15550000000"})
    assert "Nothing was changed." in text_of(answer) and "Type the number itself" in text_of(answer)
    twilio.live(number)["voice_url"] = "https://somebody.example/else"
    answer = staff.post(url("move", number.pk), {"fingerprint": seen, "typed": number.number_e164})
    text = text_of(answer)
    assert "not as it was shown" in text
    assert "https://somebody.example/else" in text  # what is there now, to confirm anew
    assert not NumberMove.objects.exists() and twilio.writes() == []


def test_the_whole_way_here_and_back_by_clicks(
    staff: Client, organisation: Organisation, twilio: Twilio
) -> None:
    number = twilio.number(organisation)
    before = dict(twilio.live(number))
    move = begin(staff, number, why="first of forty")
    page = url("moved", number.pk, move.pk)
    assert "first of forty" in text_of(staff.get(page))
    move_continue(move.pk, within_seconds=0)
    assert twilio.live(number)["voice_url"].startswith("https://voice.example.com/twilio/voice#")
    NumberMove.objects.filter(pk=move.pk).update(test_state="skipped", test_words="no other number")
    move_continue(move.pk, within_seconds=0)
    text = text_of(staff.get(url("moved_part", number.pk, move.pk)))
    assert "Waits for the first caller" in text and "no other number" in text
    call = factories.make_call(number=number, stack="vapi", status="ringing")
    webhook_seen(number=number, call_sid=call.call_sid)
    move_continue(move.pk, within_seconds=0)
    text = text_of(staff.get(url("moved_part", number.pk, move.pk)))
    assert reverse("admin:calls_call_change", args=[call.pk]) in text
    assert "handed to the old stack" in text and 'data-follow-end="1"' in text
    text = text_of(staff.get(url("restore", number.pk)))
    assert "Put it back now" in text and "vapi-secret" not in text
    answer = staff.post(url("restore", number.pk), {"why": "tried it"}, follow=True)
    assert "back at Twilio as it was" in text_of(answer)  # without any worker
    assert twilio.live(number) == before
    assert len(twilio.writes()) == 2
    assert not any(name.startswith("Sms") for form in twilio.writes() for name in form)
    acts = set(AuditEntry.objects.values_list("action", flat=True))
    assert {"number.move", "number.restore"} <= acts
    text = text_of(staff.get(url("console", number.pk)))
    assert "Preview the move" in text and "tried it" in text and "Put it back" not in text


def test_a_move_that_somebody_crossed_stops_and_offers_three_ways(
    staff: Client, organisation: Organisation, twilio: Twilio
) -> None:
    number = twilio.number(organisation)
    move = begin(staff, number)
    move_continue(move.pk, within_seconds=0)
    live = twilio.live(number)
    live["voice_url"] = "https://somebody.example/else?token=their-secret"
    NumberMove.objects.filter(pk=move.pk).update(test_state="skipped")
    move_continue(move.pk, within_seconds=0)
    part = url("moved_part", number.pk, move.pk)
    text = text_of(staff.get(part))
    assert "It stopped and asks you" in text and "https://somebody.example/else" in text
    assert "their-secret" not in text
    assert "Go on over what was found" in text
    assert url("restore", number.pk) in text and "Leave it as it is" in text
    page = url("moved", number.pk, move.pk)
    fingerprint = hidden(text, "fingerprint")
    answer = staff.post(page, {"choice": "accept", "fingerprint": "0" * 64}, follow=True)
    assert "Nothing was changed." in text_of(answer)
    staff.post(page, {"choice": "accept", "fingerprint": fingerprint, "why": "mine"})
    move_continue(move.pk, within_seconds=0)
    assert live["voice_url"].startswith("https://voice.example.com/")
    assert "It stopped" not in text_of(staff.get(part))


def test_what_is_left_alone_stays_and_keeps_its_way_back(
    staff: Client, organisation: Organisation, twilio: Twilio
) -> None:
    number = twilio.number(organisation)
    move = begin(staff, number)
    move_continue(move.pk, within_seconds=0)
    twilio.live(number)["voice_method"] = "GET"
    NumberMove.objects.filter(pk=move.pk).update(test_state="skipped")
    move_continue(move.pk, within_seconds=0)
    writes = len(twilio.writes())
    staff.post(url("moved", number.pk, move.pk), {"choice": "leave", "why": "that was me"})
    move.refresh_from_db()
    assert move.step == "abandoned" and len(twilio.writes()) == writes
    assert "Put it back" in text_of(staff.get(url("console", number.pk)))


def test_a_restore_while_twilio_is_silent_stays_ordered_and_says_so(
    staff: Client, organisation: Organisation, twilio: Twilio, monkeypatch: Any
) -> None:
    number = twilio.number(organisation)
    factories.make_move(number)
    number.twilio_account.api_base_url = "http://127.0.0.1:9"
    number.twilio_account.save()
    monkeypatch.setattr("calls.admin.move_pages.CLICK_SECONDS", 0.0)
    answer = staff.post(url("restore", number.pk), follow=True)
    text = text_of(answer)
    assert "Ordered, not done yet" in text and "tried again by itself" in text
    back = NumberMove.objects.get(number=number, direction="back")
    assert back.finished_at is None
    again = staff.post(url("restore", number.pk), follow=True)
    assert again.status_code == 200
    assert NumberMove.objects.filter(direction="back").count() == 1  # two clicks are one order


def test_without_a_worker_the_page_offers_to_carry_on(
    staff: Client, organisation: Organisation, twilio: Twilio
) -> None:
    number = twilio.number(organisation)
    move = begin(staff, number)
    part = url("moved_part", number.pk, move.pk)
    assert "Carry on from here" not in text_of(staff.get(part))
    NumberMove.objects.filter(pk=move.pk).update(next_at="2026-01-01T00:00:00Z")
    assert "No worker has taken this up" in text_of(staff.get(part))
    NumberMove.objects.filter(pk=move.pk).update(test_state="skipped")
    staff.post(url("moved", number.pk, move.pk), {"choice": "carry_on"})
    assert twilio.live(number)["voice_url"].startswith("https://voice.example.com/")


def test_a_preview_says_what_is_wrong_when_twilio_does_not_answer(
    staff: Client, organisation: Organisation, twilio: Twilio, monkeypatch: Any
) -> None:
    monkeypatch.setattr("calls.telephony.twilio_rest.WITHIN_SECONDS", 0.1)
    number = twilio.number(organisation)
    number.twilio_account.auth_token = "not-the-token"
    number.twilio_account.save()
    text = text_of(staff.get(url("move", number.pk)))
    assert "Twilio did not say how the number is" in text and "nothing to confirm" in text
    assert 'name="typed"' not in text


def test_a_row_that_no_key_opens_is_named_and_closes_no_page(
    staff: Client, organisation: Organisation, twilio: Twilio
) -> None:
    from django.db import connection

    number = twilio.number(organisation)
    move = factories.make_move(number, step="tested")
    with connection.cursor() as cursor:
        cursor.execute("UPDATE calls_numbermove SET state = 'gAAAA', snapshot = 'gAAAA'")
    assert "cannot be read" in text_of(staff.get(url("moved", number.pk, move.pk)))
    assert "cannot be read" in text_of(staff.get(url("console", number.pk)))
    assert "cannot be read" in text_of(staff.get(url("restore", number.pk)))
    assert number.number_e164 in text_of(staff.get(url("moving")))
    answer = staff.post(url("restore", number.pk), follow=True)
    assert "Nothing was changed." in text_of(answer) and twilio.writes() == []


def test_who_may_only_look_sees_no_button_and_orders_nothing(
    client: Client, organisation: Organisation, twilio: Twilio
) -> None:
    number = twilio.number(organisation)
    move = factories.make_move(number, step="tested")
    client.force_login(factories.make_staff(organisation, (SEES,)))
    for page in (url("moving"), url("console", number.pk), url("moved", number.pk, move.pk)):
        text = text_of(client.get(page))
        assert "Put" not in re.sub(r"Put.{0,20}permission", "", text.split("vp-page")[1]), page
    for page in (url("move", number.pk), url("route", number.pk), url("restore", number.pk)):
        assert client.get(page).status_code == 403
    for page in (
        *(url("move", number.pk), url("restore", number.pk), url("route", number.pk)),
        *(url("moved", number.pk, move.pk), url("restore_all")),
    ):
        assert client.post(page, {"choice": "leave"}).status_code == 403, page
    client.force_login(factories.make_staff(organisation, ("calls.view_call",)))
    assert client.get(url("moving")).status_code == 403
    assert client.get(url("console", number.pk)).status_code == 403
    assert OLD_URL == twilio.live(number)["voice_url"]
