"""Copies that older rules made lose what newer rules hide, once, and go on where they stopped."""

from __future__ import annotations

from typing import Any

import pytest
from django.core.management import call_command
from django.db import connection
from django.test.utils import CaptureQueriesContext

from assistants import redacted_copies
from assistants.models import AssistantRevision, Squad, StoredResource
from assistants.redacted_copies import redacted_copies_lag, redacted_copies_refresh
from assistants.services import assistant_publish
from tests import factories
from tests.integration.api.client import Rest
from tools.models import Tool
from tools.services import tool_store
from voiceplatform.base.models import RedactedTable
from voiceplatform.base.redaction import REDACTION_VERSION

pytestmark = [pytest.mark.integration, pytest.mark.django_db]

LEAK = "leak-of-the-parrot"
TOOL: dict[str, Any] = {
    "type": "function",
    "function": {"name": "f", "parameters": {"properties": {"apiKey": {"default": LEAK}}}},
    "destinations": [{"type": "number", "apiKey": [LEAK]}],
}


def old_rows(rest: Rest) -> dict[type[Any], Any]:
    """Make one row of each table as a version of the platform left it that hid less."""
    organisation = rest.organisation
    document = {"name": "A", "server": {"url": f"h.example/?token={LEAK}"}}
    assistant = assistant_publish(
        organisation=organisation, document=document, source="api", actor=None
    )
    assert assistant.current_revision is not None
    rows: dict[type[Any], Any] = {
        AssistantRevision: assistant.current_revision,
        Tool: tool_store(organisation=organisation, document=TOOL, actor=None),
        Squad: factories.make_squad(organisation, apiKey={"a": LEAK}),
        StoredResource: factories.make_resource(organisation, "eval", apiKey={"a": LEAK}),
    }
    for model, row in rows.items():
        old = model._base_manager.filter(pk=row.pk)
        if model is Tool:
            schema = TOOL["function"]["parameters"]
            old.update(parameters=schema, destinations=TOOL["destinations"])
        row.refresh_from_db()
        old.update(document_redacted=row.document)
    return rows


def test_what_older_rules_showed_is_hidden_once() -> None:
    rest = Rest()
    rows = old_rows(rest)
    before = {model: model._base_manager.get(pk=row.pk) for model, row in rows.items()}
    assert LEAK in rest("GET", f"/tool/{rows[Tool].pk}").content.decode()
    assert set(redacted_copies_lag()) == {model._meta.label_lower for model in rows}
    call_command("prepare_instance", verbosity=0)
    for model, row in rows.items():
        now = model._base_manager.get(pk=row.pk)
        columns = {f.name: getattr(now, f.name) for f in model._meta.concrete_fields}
        sealed = {"document", "server_url"}
        assert LEAK not in repr({k: v for k, v in columns.items() if k not in sealed}), model
        assert now.document == before[model].document
        assert getattr(now, "updated_at", None) == getattr(before[model], "updated_at", None)
    assert LEAK not in rest("GET", f"/tool/{rows[Tool].pk}").content.decode()
    assert "apiKey" in rest("GET", f"/tool/{rows[Tool].pk}").content.decode()
    assert redacted_copies_lag() == []
    with CaptureQueriesContext(connection) as queries:
        assert redacted_copies_refresh() == 0
    assert len(queries) == 1


def test_it_goes_on_where_it_was_interrupted(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(redacted_copies, "_STEP", 2)
    for _ in range(5):
        squad = factories.make_squad(token=["x"])
        Squad.objects.filter(pk=squad.pk).update(document_redacted=squad.document)
    done: list[Any] = []

    def dies_at_the_fourth(row: Any) -> dict[str, Any]:
        done.append(row.pk)
        if len(done) == 4:
            raise RuntimeError
        return redacted_copies._of_document(row)

    monkeypatch.setattr(redacted_copies, "_TABLES", {Squad: dies_at_the_fourth})
    with pytest.raises(RuntimeError):
        redacted_copies_refresh()
    assert not RedactedTable.objects.get(label="assistants.squad").is_complete
    redacted_copies_refresh()
    # The step that failed was done again, and what came before was not.
    assert done[4:] == sorted(row.pk for row in Squad.objects.all())[2:]
    assert not [row for row in Squad.objects.all() if "token" in row.document_redacted]


def test_newer_rules_begin_anew_and_leave_what_was_written_since(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    squad = factories.make_squad(token=["x"])
    assert redacted_copies_refresh() >= 0
    Squad.objects.filter(pk=squad.pk).update(document_redacted={"token": ["x"]})
    assert redacted_copies_refresh() == 0
    monkeypatch.setattr(redacted_copies, "REDACTION_VERSION", REDACTION_VERSION + 1)
    stale = Squad.objects.get(pk=squad.pk)
    stale.updated_at = stale.created_at.replace(year=2001)
    assert not redacted_copies._store(Squad._base_manager.all(), stale, {"document_redacted": {}})
    assert redacted_copies_refresh() == 1
