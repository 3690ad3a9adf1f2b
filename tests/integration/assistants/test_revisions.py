"""Revisions after they were made: drafts, publishing, reverting, and two people at once."""

from __future__ import annotations

import time
from collections.abc import Callable
from functools import partial
from threading import Barrier, Thread
from typing import Any

import pytest
from django.db import OperationalError, connection

from assistants import revisions, services
from assistants.exceptions import RevisionRefused
from assistants.models import Assistant, AssistantRevision
from assistants.selectors import revision_tools
from calls.services.call_plan import plan_for
from tests import factories
from tools.services import tool_delete, tool_store
from voiceplatform.base.models import AuditEntry

pytestmark = [pytest.mark.integration, pytest.mark.django_db]

URL = "https://hooks.example.com/vapi"


def document(prompt: str, **fields: Any) -> dict[str, Any]:
    return {
        "name": "Front desk",
        "model": {
            "provider": "openai",
            "model": "gpt-realtime-2.1",
            "messages": [{"role": "system", "content": prompt}],
        },
        **fields,
    }


def publish(
    prompt: str,
    assistant: Assistant | None = None,
    *,
    as_draft: bool = False,
    **fields: Any,
) -> Assistant:
    return services.assistant_publish(
        organisation=factories.default_organisation(),
        document=document(prompt, **fields),
        source="api",
        actor=None,
        assistant=assistant,
        as_draft=as_draft,
    )


def live(assistant: Assistant) -> AssistantRevision:
    revision = Assistant.objects.get(pk=assistant.pk).current_revision
    assert revision is not None
    return revision


def test_a_draft_answers_nobody_until_it_is_published() -> None:
    user = factories.make_superuser("ada")
    first = publish("One")
    services.assistant_publish(
        organisation=first.organisation,
        document=document("Two") | {"name": "Renamed"},
        source="admin",
        actor=user,
        assistant=first,
        as_draft=True,
        note=" a better greeting ",
    )
    stored = Assistant.objects.get(pk=first.pk)
    draft = stored.draft_revision
    assert draft is not None
    assert (draft.number, draft.author, draft.note) == (
        2,
        "user:ada",
        "a better greeting",
    )
    assert draft.created_by == user
    assert (live(first).number, stored.name) == (1, "Front desk")

    after = revisions.revision_publish(assistant=stored, revision=draft, actor=user)
    assert (after.current_revision, after.draft_revision) == (draft, None)
    assert Assistant.objects.get(pk=first.pk).name == "Renamed"
    entry = AuditEntry.objects.filter(action="assistant.publish", actor="user:ada").get()
    assert entry.details["revision"] == 2


def test_a_new_assistant_may_begin_as_a_draft() -> None:
    assistant = publish("One", as_draft=True)
    stored = Assistant.objects.get(pk=assistant.pk)
    assert (stored.name, stored.current_revision) == ("Front desk", None)
    assert stored.draft_revision is not None
    revisions.revision_publish(assistant=stored, revision=stored.draft_revision, actor=None)
    assert live(stored).instructions == "One"


def test_a_later_draft_takes_the_place_of_an_earlier_one() -> None:
    assistant = publish("One")
    earlier = publish("Two", assistant, as_draft=True).draft_revision
    later = publish("Three", assistant, as_draft=True).draft_revision
    assert earlier is not None and later is not None
    with pytest.raises(RevisionRefused, match="r2 is no longer the draft; r3 waits now"):
        revisions.revision_publish(assistant=assistant, revision=earlier, actor=None)
    revisions.draft_discard(assistant=assistant, revision=later, actor=None)
    with pytest.raises(RevisionRefused, match="r3 is no longer the draft"):
        revisions.draft_discard(assistant=assistant, revision=later, actor=None)
    stored = Assistant.objects.get(pk=assistant.pk)
    assert (stored.draft_revision, live(stored).number) == (None, 1)
    assert stored.revisions.count() == 3


def test_publishing_leaves_a_draft_and_the_draft_follows_as_a_newer_number() -> None:
    assistant = publish("One")
    draft = publish("Draft", assistant, as_draft=True).draft_revision
    assert draft is not None
    after = publish("Three", assistant)
    assert after.draft_revision == draft
    after = revisions.revision_publish(assistant=after, revision=draft, actor=None)
    revision = live(after)
    assert (revision.number, revision.instructions, revision.note) == (
        4,
        "Draft",
        "The draft r2",
    )
    assert services.revision_document(revision) == services.revision_document(draft)


def test_a_draft_without_its_deleted_tool_is_published_as_a_new_revision() -> None:
    tool = factories.make_tool()
    assistant = publish("One")
    with_tool = document("Two")
    with_tool["model"]["toolIds"] = [str(tool.pk)]
    draft = services.assistant_publish(
        organisation=assistant.organisation,
        document=with_tool,
        source="api",
        actor=None,
        assistant=assistant,
        as_draft=True,
    ).draft_revision
    assert draft is not None and revision_tools(draft) == [tool]
    tool_delete(tool=tool, actor=None)
    revisions.revision_publish(assistant=assistant, revision=draft, actor=None)
    assert (live(assistant).number, revision_tools(live(assistant))) == (3, [])


def test_what_an_import_brought_is_remembered() -> None:
    organisation = factories.default_organisation()
    assistant = services.assistant_publish(
        organisation=organisation, document=document("One"), source="import", actor=None
    )
    assert assistant.imported_revision == assistant.current_revision
    publish("Two", assistant)
    stored = Assistant.objects.get(pk=assistant.pk)
    assert stored.imported_revision is not None and stored.imported_revision.number == 1
    again = services.assistant_publish(
        organisation=organisation,
        document=document("Three"),
        source="import",
        actor=None,
        assistant=stored,
        as_draft=True,
    )
    assert again.imported_revision == again.draft_revision
    assert live(again).instructions == "Two"


def test_a_revert_is_a_new_revision_with_the_old_document_and_tools() -> None:
    saved, deleted = factories.make_tool(), factories.make_tool()
    inline = {
        "type": "function",
        "function": {"name": "look_up"},
        "server": {"url": URL},
    }
    first = document("One", firstMessage="Hello")
    first["model"] |= {"toolIds": [str(saved.pk), str(deleted.pk)], "tools": [inline]}
    organisation = factories.default_organisation()
    assistant = services.assistant_publish(
        organisation=organisation, document=first, source="api", actor=None
    )
    publish("Two", assistant)
    tool_delete(tool=deleted, actor=None)
    old = assistant.current_revision
    assert old is not None
    revisions.revision_revert(assistant=assistant, to_revision=old, actor="user:ada")
    new = live(assistant)
    assert (new.number, new.source, new.note) == (3, "revert", "Back to r1")
    assert new.author == "user:ada"
    assert services.revision_document(new) == services.revision_document(old)
    assert (new.instructions, new.first_message) == ("One", "Hello")
    assert revision_tools(new) == [t for t in revision_tools(old) if t != deleted]
    assert AuditEntry.objects.get(action="assistant.revert").details == {
        "revision": 3,
        "to": 1,
        "note": "",
    }


def test_a_revert_does_not_link_tools_that_came_later() -> None:
    late = "11111111-2222-4333-8444-555555555555"
    first = document("One")
    first["model"]["toolIds"] = [late]
    organisation = factories.default_organisation()
    assistant = services.assistant_publish(
        organisation=organisation, document=first, source="api", actor=None
    )
    tool_store(
        organisation=organisation,
        document={"type": "endCall"},
        actor=None,
        tool_id=late,
    )
    old = live(assistant)
    publish("Two", assistant)
    revisions.revision_revert(assistant=assistant, to_revision=old, actor=None)
    assert revision_tools(live(assistant)) == []


def test_a_secret_that_was_cleared_or_replaced_does_not_come_back() -> None:
    assistant = publish(
        "One",
        server={"url": URL, "secret": "first", "headers": {"X-Api-Key": "key-1"}},
        serverUrlSecret="legacy",
    )
    old = live(assistant)
    services.assistant_patch(
        assistant=assistant,
        patch={
            "server": {"url": URL, "secret": None, "headers": {"X-Api-Key": "key-2"}},
            "serverUrlSecret": None,
        },
        actor=None,
    )
    revisions.revision_revert(assistant=assistant, to_revision=old, actor=None)
    server = services.revision_document(live(assistant))["server"]
    assert server == {"url": URL, "secret": None, "headers": {"X-Api-Key": "key-2"}}
    assert live(assistant).server_secret == ""


def test_a_secret_comes_back_with_the_address_it_belongs_to() -> None:
    assistant = publish("One", server={"url": URL, "secret": "first"})
    old = live(assistant)
    publish(
        "Two",
        assistant,
        server={"url": "https://other.example.com", "secret": "second"},
    )
    revisions.revision_revert(assistant=assistant, to_revision=old, actor=None)
    assert (live(assistant).server_url, live(assistant).server_secret) == (URL, "first")


def test_what_cannot_be_brought_back_says_why() -> None:
    assistant, other = publish("One"), publish("Other")
    with pytest.raises(RevisionRefused, match="r1 answers calls already"):
        revisions.revision_revert(assistant=assistant, to_revision=live(assistant), actor=None)
    with pytest.raises(RevisionRefused, match="another assistant"):
        revisions.revision_revert(assistant=assistant, to_revision=live(other), actor=None)
    old = live(assistant)
    publish("Two", assistant)
    services.assistant_delete(assistant=assistant, actor=None)
    with pytest.raises(RevisionRefused, match="deleted"):
        revisions.revision_revert(assistant=assistant, to_revision=old, actor=None)
    assert assistant.revisions.count() == 2


def test_a_call_keeps_the_revision_that_answered_it() -> None:
    number = factories.make_number(assistant=publish("One"))
    call = factories.make_call(number=number, stream_count=1)
    answered = call.revision
    before = plan_for(call)
    publish("Two", number.assistant, voice={"provider": "openai", "voiceId": "cedar"})
    revisions.revision_revert(assistant=number.assistant, to_revision=answered, actor=None)
    publish("Three", number.assistant)
    call.refresh_from_db()
    assert call.revision == answered
    assert plan_for(call).session == before.session


def patiently(write: Callable[[], object]) -> None:
    """Try again while SQLite's shared in-memory database, which tests use, refuses to wait."""
    deadline = time.monotonic() + 30
    while True:
        try:
            write()
            return
        except OperationalError as error:
            if "locked" not in str(error) or time.monotonic() > deadline:
                raise


@pytest.mark.django_db(transaction=True)
def test_two_who_publish_at_once_get_two_numbers_and_lose_nothing() -> None:
    assistant = publish("Zero")
    at_once = Barrier(4)
    problems: list[BaseException] = []

    def write(index: int) -> None:
        at_once.wait(timeout=10)
        try:
            for turn in range(3):
                text, as_draft = f"{index}.{turn}", index % 2 == 0
                patiently(partial(publish, text, assistant, as_draft=as_draft))
        except BaseException as error:
            problems.append(error)
        finally:
            connection.close()

    threads = [Thread(target=write, args=(index,)) for index in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(timeout=60)
    assert problems == []
    rows = AssistantRevision.objects.filter(assistant=assistant).order_by("number")
    assert [row.number for row in rows] == list(range(1, 14))
    written = {f"{index}.{turn}" for index in range(4) for turn in range(3)}
    assert {row.instructions for row in rows} == {"Zero"} | written
    stored = Assistant.objects.get(pk=assistant.pk)
    assert stored.current_revision is not None and stored.draft_revision is not None
    # Each pointer is at the newest of its kind.
    published = [row for row in rows if row.instructions[0] in "Z13"]
    drafts = [row for row in rows if row.instructions[0] in "02"]
    assert (stored.current_revision, stored.draft_revision) == (
        published[-1],
        drafts[-1],
    )
