"""What callers hear differently holds a number until a person accepts it, and never after."""

from __future__ import annotations

from typing import Any

import pytest
from django.test import Client
from django.urls import reverse

from assistants.models import Assistant
from assistants.services import assistant_publish
from calls.models import AudibleAcceptance, NumberReadiness, PhoneNumber
from calls.services.dossiers import dossier_of
from calls.services.readiness_accept import (
    AcceptError,
    AcceptOvertaken,
    audible_accept,
    audible_now,
    seen_of,
)
from calls.services.readiness_gate import CHANGED, blockers_of, standings_of
from tests import factories
from tests.integration.readiness.conftest import DOCUMENT, Office, policy
from voiceplatform.base.models import AuditEntry

pytestmark = [pytest.mark.integration, pytest.mark.django_db]

LOUD = {**DOCUMENT, "backgroundSound": "office"}


def standing(number: PhoneNumber) -> Any:
    return standings_of([number.pk])[number.pk]


def accept(number: PhoneNumber, why: str = "Ada listened to it") -> int:
    return audible_accept(
        number=number, actor="user:ada", why=why, seen=seen_of(audible_now(number))
    )


def test_a_number_is_green_once_its_differences_are_accepted_and_so_is_its_sister(
    office: Office,
) -> None:
    assistant = factories.make_assistant(document=LOUD)
    here, sister = office.number(assistant=assistant), office.number(assistant=assistant)
    other = office.number(assistant=factories.make_assistant(document=LOUD))
    assert blockers_of(here) is None
    office.check()
    assert {row.colour for row in office.found().values()} == {"amber"}
    assert blockers_of(here) == () and "nobody has accepted" in standing(here).waits[0]

    with pytest.raises(AcceptError, match="why is empty"):
        accept(here, " ")
    assert accept(here) == 1

    found = office.found()
    assert found[here.number_e164].colour == found[sister.number_e164].colour == "green"
    assert found[other.number_e164].colour == "amber", "another assistant's is not accepted"
    (note,) = (each for each in found[here.number_e164].findings if each["field"] == "assistant")
    assert note["weight"] == "note" and "user:ada" in note["cause"] and "Ada list" in note["cause"]
    assert standing(here).waits == () and "accepted" in standing(here).note
    assert AuditEntry.objects.filter(action="readiness.accept", actor="user:ada").count() == 1
    assert any("Ada listened" in each.why for each in dossier_of(here).facts.approvals)
    with pytest.raises(AcceptError, match="nothing waits"):
        accept(here)
    office.check()
    assert office.found()[here.number_e164].colour == "green", "the next check knows it too"
    PhoneNumber.objects.filter(pk=here.pk).update(assistant=other.assistant)
    assert standing(here).waits == (CHANGED,), "somebody else answers than was checked"


def test_a_new_revision_asks_again_and_holds_a_plan_before_the_next_check(office: Office) -> None:
    here = office.number(assistant=factories.make_assistant(document=LOUD))
    office.check()
    accept(here)
    assert here.assistant is not None
    publish(here.assistant, {**LOUD, "firstMessage": "Good morning."})
    assert standing(here).waits == (CHANGED,)
    office.check()
    row = office.found()[here.number_e164]
    assert row.colour == "amber" and "nobody has accepted" in standing(here).waits[0]


def test_what_was_not_shown_is_not_accepted(office: Office) -> None:
    here = office.number(assistant=factories.make_assistant(document=LOUD))
    office.check()
    seen = seen_of(audible_now(here))
    assert here.assistant is not None
    publish(here.assistant, {**LOUD, "firstMessage": "Good morning."})
    here.refresh_from_db()
    with pytest.raises(AcceptOvertaken, match="read it again"):
        audible_accept(number=here, actor="user:ada", why="Heard it", seen=seen)
    assert not AudibleAcceptance.objects.exists()


def test_what_blocks_is_never_accepted(office: Office) -> None:
    here = office.number(
        assistant=factories.make_assistant(document=LOUD), policy=policy(reviewed=False)
    )
    office.check()
    accept(here)
    row = NumberReadiness.objects.get(number=here)
    assert row.colour == "red" and blockers_of(here) == ("Its call policy is not reviewed",)


def test_the_page_wants_its_own_permission_and_accepts_only_what_it_showed(
    office: Office, client: Client
) -> None:
    here = office.number(assistant=factories.make_assistant(document=LOUD))
    office.check()
    row = NumberReadiness.objects.get(number=here)
    view = "calls.view_numberreadiness"
    url = reverse("admin:calls_numberreadiness_accept", args=[row.pk])
    client.force_login(factories.make_staff(here.organisation, [view]))
    assert client.post(url, {"why": "me"}).status_code == 403
    client.force_login(factories.make_staff(factories.make_organisation(), "all"))
    assert client.get(url).status_code in (302, 404)
    client.force_login(factories.make_staff(here.organisation, [view, "calls.accept_audible"]))
    page = client.get(url)
    assert b"No sound plays" in page.content and row.next_link == "accept"
    assert b"What blocks a number cannot be accepted" in page.content
    stale = client.post(url, {"why": "Heard it", "seen": "0" * 64})
    assert b"has changed since the page" in stale.content and not AudibleAcceptance.objects.exists()
    seen = page.context["form"].initial["seen"]
    assert client.post(url, {"why": "Heard it", "seen": seen}).status_code == 302
    row.refresh_from_db()
    assert row.colour == "green"
    assert b"Heard it" in client.get(url).content


def publish(assistant: Assistant, document: dict[str, Any]) -> None:
    assistant_publish(
        organisation=assistant.organisation,
        assistant=assistant,
        document=document,
        actor=None,
        source="admin",
    )
    assistant.refresh_from_db()
