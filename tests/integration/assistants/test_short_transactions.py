"""What costs time is done before a write transaction opens: nothing is redacted or sealed inside.

A large document held SQLite's only write lock for 60 to 130 ms while it was redacted and sealed.
The order is what is tested here, not milliseconds.
"""

from __future__ import annotations

import json
import sys
import uuid
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from django.db import connection

from assistants import revisions, services
from assistants.import_services import ImportFile, import_files
from assistants.import_sides import imported_take
from assistants.models import Assistant, ImportedObject, Squad
from assistants.resource_services import resource_patch, resource_store
from assistants.selectors import revision_tools
from assistants.squad_services import squad_delete, squad_patch, squad_store
from tests import factories
from tests.vapi_account import assistant, object_id
from tools.models import Tool
from tools.services import tool_delete, tool_edit, tool_patch, tool_store
from voiceplatform.base import fields, redaction
from voiceplatform.base.prepared import ChangedMeanwhile, RowGone, write_prepared

pytestmark = [pytest.mark.integration, pytest.mark.django_db]

TOOL = {
    "type": "function",
    "function": {"name": "book"},
    "server": {"url": "https://t.example.com/?token=abc", "secret": "hush"},
}


@pytest.fixture
def inside(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[str]]:
    """Collect what is redacted or sealed in a transaction; that anything was is made sure."""
    found: list[str] = []
    seen: set[str] = set()
    depth = len(connection.savepoint_ids)  # the test itself runs in a transaction

    def watch(function: Callable[..., Any]) -> Callable[..., Any]:
        def watched(*args: Any, **options: Any) -> Any:
            seen.add(function.__name__)
            if len(connection.savepoint_ids) > depth:
                found.append(function.__name__)
            return function(*args, **options)

        return watched

    for original in (redaction.redact, redaction.keep_secrets, fields.seal):
        watched = watch(original)
        for module in list(sys.modules.values()):
            if getattr(module, original.__name__, None) is original:
                monkeypatch.setattr(module, original.__name__, watched)
    yield found
    assert seen == {"redact", "keep_secrets", "seal"}


def document(prompt: str) -> dict[str, Any]:
    messages = [{"role": "system", "content": prompt}]
    return {
        "name": "Desk",
        "server": TOOL["server"],
        "model": {"messages": messages, "tools": [TOOL]},
    }


def publish(prompt: str, **options: Any) -> Assistant:
    return services.assistant_publish(
        organisation=factories.default_organisation(),
        document=document(prompt),
        source="api",
        actor=None,
        **options,
    )


def test_assistants(inside: list[str]) -> None:
    one = publish("one")
    first = one.current_revision
    assert first is not None
    publish("two", assistant=one)
    services.assistant_patch(assistant=one, patch={"firstMessage": "hi"}, actor=None)
    services.assistant_edit(assistant=one, changes={"first_message": "ho"}, actor=None)
    draft = publish("three", assistant=one, as_draft=True).draft_revision
    publish("four", assistant=one)
    assert draft is not None
    revisions.revision_publish(assistant=one, revision=draft, actor=None)
    after = revisions.revision_revert(assistant=one, to_revision=first, actor=None)
    assert inside == []
    assert after.current_revision is not None and after.current_revision.number == 8
    stored = Assistant.objects.get()
    assert stored.current_revision is not None
    assert services.revision_document(stored.current_revision) == document("one")
    assert stored.current_revision.server_secret == "hush"
    assert [tool.server_secret for tool in revision_tools(stored.current_revision)] == ["hush"]


def test_tools_squads_and_resources(inside: list[str]) -> None:
    common: dict[str, Any] = {"organisation": factories.default_organisation(), "actor": None}
    tool = tool_store(**common, document=TOOL)
    tool_patch(tool=tool, patch={"messages": []}, actor=None)
    tool_edit(tool=tool, changes={"description": "Books"}, actor=None)
    squad = squad_store(**common, document={"name": "S", "members": [{"assistant": TOOL}]})
    squad_patch(squad=squad, patch={"name": "T"}, actor=None)
    resource = resource_store(**common, kind="eval", document={"name": "E"})
    resource_patch(resource=resource, patch={"name": "F"}, actor=None)
    assert inside == []
    stored = Tool.objects.get()
    assert (stored.server_secret, stored.description) == ("hush", "Books")
    assert Squad.objects.get().document["members"] == [{"assistant": TOOL}]


def test_imports_and_what_is_taken_from_them(inside: list[str]) -> None:
    def run(text: str) -> list[str]:
        values = [
            assistant(1, firstMessage=text),
            {**TOOL, "id": object_id(2, 1), "messages": [{"content": text}]},
            {"id": object_id(3, 1), "name": text, "members": [{"assistant": TOOL}]},
        ]
        report = import_files(
            organisation=factories.default_organisation(),
            files=[ImportFile("all.json", json.dumps(values).encode())],
            actor=None,
            source="command",
        )
        return [result.outcome for result in report.results]

    assert run("one") == ["created"] * 3
    assert run("two") == ["updated"] * 3
    tool_patch(tool=Tool.objects.get(pk=object_id(2, 1)), patch={"messages": []}, actor=None)
    assert run("three") == ["updated"] * 3
    imported_take(imported=ImportedObject.objects.get(waits=True), actor=None)
    assert inside == []
    assert Tool.objects.get(pk=object_id(2, 1)).messages == [{"content": "three"}]


def between(monkeypatch: pytest.MonkeyPatch, *others: Callable[[], object]) -> list[int]:
    """Let others write after a write was prepared and before it is done, each once."""
    waiting = list(others)
    prepared_times: list[int] = []

    def slow(prepare: Callable[[], Any], write: Callable[[Any], Any], *, lock: Any) -> Any:
        def prepared() -> Any:
            found = prepare()
            prepared_times.append(len(waiting))
            if waiting:
                waiting.pop(0)()
            return found

        return write_prepared(prepared, write, lock=lock)

    for module in ("tools.services", "assistants.services", "assistants.stored_documents"):
        monkeypatch.setattr(f"{module}.write_prepared", slow)
    return prepared_times


def test_an_edit_that_comes_between_is_not_lost(monkeypatch: pytest.MonkeyPatch) -> None:
    one = publish("one")
    tool = tool_store(organisation=one.organisation, document=TOOL, actor=None)
    squad = factories.make_squad()
    between(
        monkeypatch,
        lambda: services.assistant_patch(assistant=one, patch={"firstMessage": "x"}, actor=None),
    )
    services.assistant_patch(assistant=one, patch={"endCallMessage": "y"}, actor=None)
    revision = Assistant.objects.get().current_revision
    assert revision is not None
    assert (revision.number, revision.first_message, revision.end_call_message) == (3, "x", "y")

    between(monkeypatch, lambda: tool_patch(tool=tool, patch={"messages": [{}]}, actor=None))
    tool_patch(tool=tool, patch={"async": True}, actor=None)
    stored = Tool.objects.get(pk=tool.pk)
    assert (stored.messages, stored.is_async) == ([{}], True)

    between(monkeypatch, lambda: squad_patch(squad=squad, patch={"name": "x"}, actor=None))
    squad_patch(squad=squad, patch={"note": "y"}, actor=None)
    whole = Squad.objects.get().document
    assert (whole["name"], whole["note"]) == ("x", "y")


def test_whoever_is_always_too_late_writes_under_the_lock(monkeypatch: pytest.MonkeyPatch) -> None:
    tool = tool_store(organisation=factories.default_organisation(), document=TOOL, actor=None)

    def other() -> None:
        Tool.objects.get(pk=tool.pk).save()  # a new time of change

    times = between(monkeypatch, *[other] * 4)
    tool_patch(tool=tool, patch={"async": True}, actor=None)
    assert len(times) == 5
    assert Tool.objects.get(pk=tool.pk).is_async


def test_a_change_of_something_deleted_meanwhile_is_refused(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    one = publish("one")
    tool = tool_store(organisation=one.organisation, document=TOOL, actor=None)
    squad = factories.make_squad()
    for delete, change in (
        (
            lambda: services.assistant_delete(assistant=one, actor=None),
            lambda: services.assistant_patch(assistant=one, patch={}, actor=None),
        ),
        (
            lambda: tool_delete(tool=tool, actor=None),
            lambda: tool_edit(tool=tool, changes={}, actor=None),
        ),
        (
            lambda: squad_delete(squad=squad, actor=None),
            lambda: squad_patch(squad=squad, patch={}, actor=None),
        ),
    ):
        between(monkeypatch, delete)
        with pytest.raises(RowGone, match="was not found"):
            change()
    assert Assistant.objects.get().deleted_at and Squad.objects.get().deleted_at


def test_an_import_writes_only_over_what_it_compared_with() -> None:
    one = publish("one")
    tool = tool_store(organisation=one.organisation, document=TOOL, actor=None)
    squad = Squad.objects.get(pk=factories.make_squad().pk)
    services.assistant_patch(assistant=one, patch={"firstMessage": "x"}, actor=None)
    tool_patch(tool=tool, patch={"async": True}, actor=None)
    squad_patch(squad=squad, patch={"name": "x"}, actor=None)
    common: dict[str, Any] = {"organisation": one.organisation, "actor": None, "as_read": True}
    with pytest.raises(ChangedMeanwhile):
        publish("two", assistant=one, as_read=True)
    with pytest.raises(ChangedMeanwhile):
        tool_store(**common, tool=tool, document=TOOL)
    with pytest.raises(ChangedMeanwhile):
        squad_store(**common, squad=squad, document={})


def test_a_tool_made_after_the_revision_was_prepared_is_linked(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    one = publish("one")
    between(
        monkeypatch,
        lambda: tool_store(
            organisation=one.organisation,
            document={"type": "endCall"},
            actor=None,
            tool_id=uuid.UUID(object_id(2, 1)),
        ),
    )
    patch = {"model": {"toolIds": [object_id(2, 1)]}}
    after = services.assistant_patch(assistant=one, patch=patch, actor=None)
    assert after.current_revision is not None
    assert [str(tool.pk) for tool in revision_tools(after.current_revision)] == [object_id(2, 1)]


def test_a_value_changed_after_it_was_sealed_is_sealed_anew() -> None:
    tool = factories.make_tool(server_secret="old")
    fields.seal_ahead(tool)
    tool.server_secret = "new"
    tool.save()
    assert Tool.objects.get(pk=tool.pk).server_secret == "new"
