"""The page on which one talks to a revision: for whom it opens, what it allows, what it tells."""

from __future__ import annotations

from typing import Any

import pytest
from django.test import Client
from django.urls import reverse
from django.utils import timezone

from assistants.models import AssistantRevision
from calls.models import ProviderConnection, Talk
from calls.services.contract import ContractForbids
from calls.services.seed import STANDIN_API_KEY
from calls.services.talk import TalkRefused, talk_open, talk_start, talk_token
from calls.services.talk_plan import talk_ticket
from tests import factories
from voiceplatform.base.models import AuditEntry

pytestmark = [pytest.mark.integration, pytest.mark.django_db]

RIGHTS = ("calls.talk_to_assistant", "assistants.view_assistantrevision")


def made(client: Client, *permissions: str, **connection: Any) -> AssistantRevision:
    """Sign in a person with rights and return a revision of their organisation."""
    organisation = factories.make_organisation()
    tool = factories.make_tool(organisation, name="book_table")
    end = factories.make_tool(organisation, name="endCall", type="endCall", server_url="")
    assistant = factories.make_assistant(organisation, name="Desk", tools=[tool, end])
    factories.make_connection(organisation, is_default=True, **connection)
    client.force_login(factories.make_staff(organisation, permissions or RIGHTS))
    assert assistant.current_revision is not None
    return assistant.current_revision


def page(revision: AssistantRevision) -> str:
    return reverse("talk", args=[revision.pk])


def begin(client: Client, revision: AssistantRevision, **form: str) -> Any:
    connection = revision.assistant.organisation.pk
    chosen = ProviderConnection.objects.filter(organisation=connection).first()
    body = {"connection": str(chosen.pk) if chosen else "", **form}
    return client.post(reverse("talk-start", args=[revision.pk]), body)


def test_the_page_says_which_model_answers_and_lets_a_microphone_in(client: Client) -> None:
    revision = made(client, model="gpt-realtime-2.1")
    response = client.get(page(revision))
    text = response.content.decode()
    assert "gpt-realtime-2.1, the real model" in text
    assert "(needs calls.add_call)" in text
    assert 'name="calls_tools" value="1" disabled' in text
    assert "microphone=(self)" in response["Permissions-Policy"]
    policy = response["Content-Security-Policy"]
    assert "connect-src 'self' ws://testserver;" in policy + ";"
    assert "script-src 'self' 'unsafe-eval';" in policy + ";"


def test_the_page_names_the_stand_in_and_a_missing_connection(client: Client) -> None:
    revision = made(client, api_key=STANDIN_API_KEY)
    assert "the stand-in, no model" in client.get(page(revision)).content.decode()
    ProviderConnection.objects.all().delete()
    text = client.get(page(revision)).content.decode()
    assert "There is no model connection" in text
    assert "data-start>" not in text


def test_links_lead_there_from_the_assistant_its_draft_and_every_revision(client: Client) -> None:
    view = ("assistants.view_assistant", "tools.view_tool")
    revision = made(client, *RIGHTS, *view)
    assistant = revision.assistant
    earlier, later = revision, factories.make_revision(assistant)
    assistant.draft_revision = earlier
    assistant.save(update_fields=["draft_revision"])
    text = client.get(reverse("admin:assistants_assistant_change", args=[assistant.pk]))
    assert page(later) in text.content.decode()
    assert page(earlier) in text.content.decode()
    for each in (earlier, later):
        url = reverse("admin:assistants_assistantrevision_change", args=[each.pk])
        assert page(each) in client.get(url).content.decode()


def test_without_the_permission_there_is_no_link_and_no_page(client: Client) -> None:
    revision = made(client, "assistants.view_assistantrevision")
    url = reverse("admin:assistants_assistantrevision_change", args=[revision.pk])
    assert page(revision) not in client.get(url).content.decode()
    assert client.get(page(revision)).status_code == 403
    assert begin(client, revision).status_code == 403
    assert not Talk.objects.exists()


def test_who_may_not_see_the_revision_is_told_of_none(client: Client) -> None:
    revision = made(client, "calls.talk_to_assistant")
    assert client.get(page(revision)).status_code == 404
    theirs = factories.make_assistant(factories.make_organisation()).revisions.get()
    client.force_login(factories.make_staff(revision.assistant.organisation, "all"))
    for address in ("talk", "talk-start"):
        assert client.get(reverse(address, args=[theirs.pk])).status_code == 404
        assert client.post(reverse(address, args=[theirs.pk])).status_code == 404
    client.logout()
    assert client.get(page(revision)).status_code == 302


def test_a_deleted_assistant_is_not_talked_to(client: Client) -> None:
    revision = made(client)
    type(revision.assistant).objects.update(deleted_at=timezone.now())
    assert client.get(page(revision)).status_code == 403


def test_a_talk_begins_by_post_with_an_address_of_its_own(client: Client) -> None:
    revision = made(client)
    assert client.get(reverse("talk-start", args=[revision.pk])).status_code == 405
    answers = [begin(client, revision).json() for _ in range(2)]
    talks = list(Talk.objects.order_by("created_at"))
    assert [each["socket"] for each in answers] == [
        f"/web/media/{talk.pk}/{talk_token(talk)}" for talk in talks
    ]
    assert len({talk_token(talk) for talk in talks}) == 2
    assert not any(talk.calls_tools for talk in talks)
    assert AuditEntry.objects.filter(action="talk.start", target_id=revision.pk).count() == 2


def test_a_start_needs_the_forms_token(client: Client) -> None:
    revision = made(client)
    strict = Client(enforce_csrf_checks=True)
    strict.cookies = client.cookies
    assert begin(strict, revision).status_code == 403
    assert not Talk.objects.exists()


def test_tools_are_called_only_by_who_may_place_calls(client: Client) -> None:
    revision = made(client)
    assert begin(client, revision, calls_tools="1").status_code == 403
    assert not Talk.objects.exists()
    client.force_login(
        factories.make_staff(revision.assistant.organisation, [*RIGHTS, "calls.add_call"])
    )
    text = client.get(page(revision)).content.decode()
    assert 'value="1" disabled' not in text
    assert "(book_table)" in text
    assert begin(client, revision, calls_tools="1").status_code == 200
    talk = Talk.objects.get()
    assert talk.calls_tools
    assert AuditEntry.objects.get(action="talk.start").details["calls_tools"] is True


def test_a_connection_of_another_organisation_is_not_used(client: Client) -> None:
    revision = made(client)
    foreign = factories.make_connection(factories.make_organisation())
    client.force_login(factories.make_superuser())
    assert begin(client, revision, connection=str(foreign.pk)).status_code == 400
    assert foreign.name not in client.get(page(revision)).content.decode()
    with pytest.raises(TalkRefused):
        talk_start(
            user=factories.make_superuser(),
            revision=revision,
            connection=foreign,
            calls_tools=False,
        )
    assert not Talk.objects.exists()


def test_a_talk_obeys_the_marks_of_the_numbers_that_the_assistant_answers(client: Client) -> None:
    """Design.md 11: what is said to it is what its callers say."""
    revision = made(client)
    organisation = revision.assistant.organisation
    number = factories.make_number(
        organisation, assistant=revision.assistant, route="vapi", eu_data=True
    )
    text = client.get(page(revision)).content.decode()
    assert "no model connection does" in text
    assert "region is not eu" in text
    refused = begin(client, revision)
    assert refused.status_code == 403
    assert "region is not eu" in refused.json()["problem"]
    assert not Talk.objects.exists()

    european = factories.make_connection(
        organisation, name="Europe", region="eu", dpa_signed_on=timezone.now().date()
    )
    text = client.get(page(revision)).content.decode()
    assert text.index("Europe: ") < text.index("region is not eu")
    begun = begin(client, revision, connection=str(european.pk))
    assert begun.status_code == 200
    # A contract that ends between the page and its socket opens none.
    ProviderConnection.objects.filter(pk=european.pk).update(dpa_signed_on=None)
    talk = Talk.objects.get()
    with pytest.raises(TalkRefused, match="no signed DPA"):
        talk_open(talk_id=str(talk.pk), token=talk_token(talk), session=client.session)
    with pytest.raises(ContractForbids, match="no signed DPA"):
        talk_ticket(talk=Talk.objects.get())
    number.delete()
    assert begin(client, revision).status_code == 200
