"""Revisions in the admin: drafts from the form, two compared, publish, discard, bring back."""

from __future__ import annotations

import re
from typing import Any

import pytest
from django.test import Client
from django.urls import reverse

from assistants import services
from assistants.models import Assistant, AssistantRevision
from tests import factories

pytestmark = [pytest.mark.integration, pytest.mark.django_db]

HUSH = "hush-hush"
PROMPT = "Be kind.\nBook tables.\n"
PLANTED = "<script>alert(1)</script>"


@pytest.fixture
def assistant() -> Assistant:
    return services.assistant_publish(
        organisation=factories.default_organisation(),
        document={
            "name": "Desk",
            "firstMessage": "Hello",
            "model": {
                "provider": "openai",
                "model": "gpt-realtime-2.1",
                "messages": [{"role": "system", "content": PROMPT}],
            },
            "server": {"url": f"https://h.example.com/?token={HUSH}", "secret": HUSH},
        },
        source="api",
        actor=None,
    )


@pytest.fixture
def staff(client: Client) -> Client:
    client.force_login(factories.make_staff(None, "all", username="ada"))
    return client


def change_url(assistant: Assistant) -> str:
    return reverse("admin:assistants_assistant_change", args=[assistant.pk])


def url(revision: AssistantRevision | None, page: str) -> str:
    assert revision is not None
    return reverse(f"admin:assistants_assistantrevision_{page}", args=[revision.pk])


def stored(assistant: Assistant) -> Assistant:
    return Assistant.objects.get(pk=assistant.pk)


def form_of(client: Client, assistant: Assistant) -> dict[str, Any]:
    """Return what a browser would send back of the page as it is."""
    form = client.get(change_url(assistant)).context["adminform"].form
    data = {name: form[name].value() for name in form.fields}
    # A browser sends CR LF in texts, and nothing for a box that is not ticked.
    data = {
        name: value.replace("\n", "\r\n") if isinstance(value, str) else value
        for name, value in data.items()
    }
    return {name: value for name, value in data.items() if value not in (None, False)}


def save(client: Client, assistant: Assistant, button: str, **changes: Any) -> str:
    data = form_of(client, assistant) | changes | {button: ""}
    return client.post(change_url(assistant), data, follow=True).content.decode()


def test_saving_nothing_makes_no_revision(staff: Client, assistant: Assistant) -> None:
    for button in ("_save", "_draft"):
        assert "Nothing was changed" in save(staff, assistant, button)
    assert assistant.revisions.count() == 1


def test_a_draft_is_saved_edited_and_published(staff: Client, assistant: Assistant) -> None:
    page = save(staff, assistant, "_draft", first_message="Hi", note="shorter")
    assert "Revision 2 is a draft" in page
    row = stored(assistant)
    assert row.draft_revision is not None and row.current_revision == assistant.current_revision
    assert (row.draft_revision.first_message, row.draft_revision.note) == ("Hi", "shorter")
    assert row.draft_revision.author == "user:ada"
    assert row.draft_revision.instructions == PROMPT

    page = staff.get(change_url(assistant)).content.decode()
    assert "Draft r2" in page and "Calls are answered by r1" in page and ">Hi</textarea>" in page
    save(staff, assistant, "_draft", end_call_message="Bye")
    draft = stored(assistant).draft_revision
    assert draft is not None and (draft.number, draft.first_message) == (3, "Hi")
    assert draft.server_secret == HUSH

    page = save(staff, assistant, "_save")
    assert "Revision 3 is live" in page
    row = stored(assistant)
    assert (row.current_revision, row.draft_revision) == (draft, None)


def test_publishing_a_changed_draft_ends_the_draft(staff: Client, assistant: Assistant) -> None:
    save(staff, assistant, "_draft", first_message="Hi")
    save(staff, assistant, "_save", voice="cedar")
    row = stored(assistant)
    assert row.current_revision is not None and row.draft_revision is None
    assert (row.current_revision.first_message, row.current_revision.voice) == ("Hi", "cedar")


def test_a_new_assistant_can_be_saved_as_a_draft(staff: Client) -> None:
    data = {
        "organisation": str(factories.default_organisation().pk),
        "name": "New one",
        "first_message_mode": "assistant-speaks-first",
        "voice": "marin",
        "language": "en",
        "max_duration_seconds": "600",
        "_draft": "",
    }
    staff.post(reverse("admin:assistants_assistant_add"), data)
    row = Assistant.objects.get(name="New one")
    assert row.current_revision is None and row.draft_revision is not None
    assert "Nothing answers calls yet" in staff.get(change_url(row)).content.decode()


def test_an_open_page_does_not_write_over_what_was_saved_meanwhile(
    staff: Client, assistant: Assistant
) -> None:
    data = form_of(staff, assistant) | {"first_message": "Mine", "_save": ""}
    services.assistant_edit(
        assistant=assistant, changes={"first_message": "Theirs"}, actor="user:bob"
    )
    page = staff.post(change_url(assistant), data)
    assert page.status_code == 200
    assert "user:bob saved r2 while you were editing r1" in page.content.decode()
    assert ">Mine</textarea>" in page.content.decode()
    seen = re.search(r'name="seen_revision" value="(\d+)"', page.content.decode())
    assert seen is not None and seen[1] == "2"
    assert assistant.revisions.count() == 2
    staff.post(change_url(assistant), data | {"seen_revision": seen[1]})
    row = stored(assistant)
    assert row.current_revision is not None and row.current_revision.first_message == "Mine"


def test_two_revisions_are_compared_without_secrets_or_markup(
    staff: Client, assistant: Assistant
) -> None:
    first = assistant.current_revision
    after = services.assistant_patch(
        assistant=assistant,
        patch={
            "model": {
                "provider": "openai",
                "model": "gpt-realtime-2.1",
                "messages": [{"role": "system", "content": f"Be kind.\nBook quiet {PLANTED}.\n"}],
            },
            "server": {"url": f"https://h.example.com/?token={HUSH}-2", "secret": f"{HUSH}-3"},
            "firstMessage": PLANTED,
        },
        actor=None,
    )
    page = staff.get(url(after.current_revision, "compare")).content.decode()
    assert f'<option value="{first.pk if first else 0}" selected>r1</option>' in page
    assert '<del class="vp-del">tables</del>' in page
    assert "<h2>Prompt</h2>" in page and "<h2>Greeting</h2>" in page
    assert "It was changed; secrets are not shown." in page
    assert HUSH not in page and PLANTED not in page
    assert "&lt;script&gt;" in page
    assert "Bring r1 back" in page
    same = staff.get(url(first, "compare"), {"old": first.pk if first else 0}).content.decode()
    assert "The two documents are the same." in same


def test_what_a_query_names_must_belong_to_the_assistant(
    staff: Client, assistant: Assistant
) -> None:
    theirs = factories.make_assistant(factories.make_organisation(), name="Not yours")
    other = theirs.current_revision
    assert other is not None
    for value in (str(other.pk), "x", "9" * 30, "-1"):
        page = staff.get(url(assistant.current_revision, "compare"), {"old": value, "new": value})
        assert page.status_code == 200
        assert "Not yours" not in page.content.decode()


def test_a_draft_is_published_or_discarded_from_its_comparison(
    staff: Client, assistant: Assistant
) -> None:
    for button, result in (("discard", 1), ("publish", 3)):
        save(staff, assistant, "_draft", first_message=button)
        draft = stored(assistant).draft_revision
        page = staff.get(url(draft, "compare")).content.decode()
        assert url(draft, "publish") in page and url(draft, "discard") in page
        staff.post(url(draft, button))
        row = stored(assistant)
        assert row.draft_revision is None and row.current_revision is not None
        assert row.current_revision.number == result
    again = staff.post(url(draft, "publish"), follow=True).content.decode()
    assert "Nothing was done: r3 is no longer the draft" in again


def test_an_old_revision_is_brought_back(staff: Client, assistant: Assistant) -> None:
    first = assistant.current_revision
    services.assistant_edit(assistant=assistant, changes={"first_message": "Ho"}, actor=None)
    assert staff.get(url(first, "revert")).status_code == 302
    page = staff.post(url(first, "revert"), {"note": "too gruff"}, follow=True).content.decode()
    assert "Revision 3 is live" in page and "too gruff" in page
    live = stored(assistant).current_revision
    assert live is not None and (live.first_message, live.note) == ("Hello", "too gruff")


def test_who_may_only_look_changes_nothing(client: Client, assistant: Assistant) -> None:
    services.assistant_edit(assistant=assistant, changes={"first_message": "Ho"}, actor=None)
    services.assistant_edit(
        assistant=assistant, changes={"first_message": "Hu"}, actor=None, as_draft=True
    )
    views = ("assistants.view_assistant", "assistants.view_assistantrevision")
    client.force_login(factories.make_staff(None, views))
    row = stored(assistant)
    page = client.get(url(row.draft_revision, "compare")).content.decode()
    assert "Publish r" not in page
    for revision, name in ((row.draft_revision, "publish"), (row.draft_revision, "discard")):
        assert client.post(url(revision, name)).status_code == 403
    assert client.post(url(assistant.current_revision, "revert")).status_code == 403
    assert client.get(change_url(assistant)).status_code == 200
    assert stored(assistant).draft_revision is not None
    client.force_login(factories.make_staff(None, ("assistants.change_assistant",)))
    assert client.get(url(row.draft_revision, "compare")).status_code in (403, 404)


def test_the_history_names_authors_notes_and_what_the_last_import_brought(
    staff: Client, assistant: Assistant
) -> None:
    services.assistant_publish(
        organisation=assistant.organisation,
        document=services.revision_document(assistant.current_revision),  # type: ignore[arg-type]
        source="import",
        actor=None,
        assistant=assistant,
        note="From Vapi",
    )
    save(staff, assistant, "_save", first_message="Hi", note="friendlier")
    page = staff.get(change_url(assistant)).content.decode()
    for text in ("friendlier", "From Vapi", "last import", "Compare the last import (r2)"):
        assert text in page
