"""Critical arguments as a person changes them: by revision and tool, with who, and never lost."""

from __future__ import annotations

import re
from typing import Any

import pytest
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.urls import reverse

from assistants.models import Assistant
from calls.models import CriticalMarks
from calls.parity.differ import STRUCTURED
from calls.services.critical_marks import (
    MarksOvertaken,
    MarksRefused,
    marks_change,
    marks_for,
    marks_shown,
)
from calls.services.parity_runs import run_begin
from calls.services.replay_runs import run_marks
from tests import factories
from tools.spec import ToolSpec
from voiceplatform.base.models import AuditEntry

pytestmark = [pytest.mark.integration, pytest.mark.django_db]

TEXT = {"type": "string"}
SCHEMA = {"type": "object", "properties": {"phone": TEXT, "notes": TEXT}}
DOCUMENT = {
    "name": "Desk",
    "analysisPlan": {
        "structuredDataPlan": {
            "enabled": True,
            "schema": {"type": "object", "properties": {"phone": TEXT, "mood": TEXT}},
        }
    },
}


def desk(*more: str, **columns: Any) -> Assistant:
    tools = [factories.make_tool(name=name, parameters=SCHEMA) for name in ("book", *more)]
    return factories.make_assistant(tools=tools, **columns)


def change(assistant: Assistant, actor: Any = "user:ada", **wanted: dict[str, str]) -> list[str]:
    revision = assistant.current_revision
    assert revision is not None
    seen = marks_shown(revision).seen
    return marks_change(revision=revision, wanted=wanted, seen=seen, actor=actor)


def marks(assistant: Assistant) -> Any:
    assert assistant.current_revision is not None
    return marks_for(assistant.current_revision)


def test_what_a_person_decided_is_what_a_run_begins_with_and_keeps() -> None:
    assistant = desk("look")
    assert marks(assistant) == {"book": {"phone": "phone"}, "look": {"phone": "phone"}}
    assert change(assistant, book={"phone": "", "notes": "text"}) == ["book"]
    begun = {
        "kind": "rehearsal",
        "assistant": assistant,
        "documents": {"one": factories.parity.DOCUMENT},
        "pairs": 1,
        "actor": None,
        "tells_workers": False,
    }
    run = run_begin(**begun)  # type: ignore[arg-type]
    assert run.marks == {"book": {"notes": "text"}, "look": {"phone": "phone"}}
    change(assistant, book={"phone": "id"})
    run.refresh_from_db()
    assert run.marks["book"] == {"notes": "text"}
    assert marks(assistant)["book"] == {"phone": "id"}


def test_nothing_critical_is_a_decision_too_and_a_replay_does_not_fall_back_to_the_rule() -> None:
    assistant = desk("look")
    change(assistant, book={"phone": ""})
    assert marks(assistant) == {"book": {}, "look": {"phone": "phone"}}
    run = factories.make_run(assistant, marks=marks(assistant))
    specs = tuple(ToolSpec(name=name, parameters=SCHEMA) for name in ("book", "new"))
    assert run_marks(run, specs) == {"book": {}, "new": {"phone": "phone"}}


def test_a_decision_holds_for_later_revisions_until_one_has_its_own() -> None:
    assistant = desk()
    first = assistant.current_revision
    assert first is not None
    change(assistant, book={"phone": ""})
    wider = {"type": "object", "properties": {**SCHEMA["properties"], "email": TEXT}}  # type: ignore[dict-item]
    factories.make_revision(assistant, tools=[factories.make_tool(name="book", parameters=wider)])
    # What the schema got since is marked by rule.
    assert marks(assistant) == {"book": {"email": "email"}}
    change(assistant, book={"phone": "phone", "email": "email", "notes": ""})
    assert marks(assistant) == {"book": {"phone": "phone", "email": "email"}}
    assert marks_for(first) == {"book": {}}
    assert CriticalMarks.objects.count() == 2


def test_the_same_name_in_another_assistant_is_another_tool() -> None:
    mine, other = desk(), desk()
    change(mine, book={"phone": ""})
    assert marks(other) == {"book": {"phone": "phone"}}


def test_structured_data_is_marked_by_a_person_alone() -> None:
    assistant = desk(document=DOCUMENT)
    assert STRUCTURED not in marks(assistant)
    assert change(assistant, **{STRUCTURED: {"phone": "phone", "mood": ""}}) == [STRUCTURED]
    assert marks(assistant)[STRUCTURED] == {"phone": "phone"}
    change(assistant, **{STRUCTURED: {"phone": ""}})
    assert STRUCTURED not in marks(assistant)


def test_who_changed_what_and_when_is_kept_and_no_change_is_no_decision() -> None:
    assistant = desk()
    boss = factories.make_superuser()
    assert change(assistant, boss, book={"phone": "phone", "notes": ""}) == []
    assert not CriticalMarks.objects.exists()
    change(assistant, boss, book={"phone": "id", "notes": "text"})
    row = CriticalMarks.objects.get()
    assert row.changed_by == f"user:{boss.username}" and row.changed_at
    assert row.decisions == {"phone": "id", "notes": "text"}
    entry = AuditEntry.objects.get(action="critical_marks.change")
    assert entry.actor == row.changed_by and entry.organisation == assistant.organisation
    assert entry.details == {
        "tool": "book",
        "fields": {"phone": ["phone", "id"], "notes": ["", "text"]},
    }


def test_who_looked_before_somebody_else_changed_them_changes_nothing() -> None:
    assistant = desk("look")
    assert assistant.current_revision is not None
    seen = marks_shown(assistant.current_revision).seen
    change(assistant, look={"phone": ""})
    with pytest.raises(MarksOvertaken):
        marks_change(
            revision=assistant.current_revision,
            wanted={"book": {"phone": ""}},
            seen=seen,
            actor=None,
        )
    assert marks(assistant) == {"book": {"phone": "phone"}, "look": {}}


def test_every_problem_is_told_and_nothing_is_stored() -> None:
    with pytest.raises(MarksRefused) as refused:
        change(desk(), book={"phone": "fax", "a..b": "id"}, gone={"x": "id"})
    assert [problem.split(":")[0] for problem in refused.value.problems] == ["gone", "book", "book"]
    assert all("Fix: " in problem for problem in refused.value.problems)
    assert not CriticalMarks.objects.exists()


# ---- the page -----------------------------------------------------------------------------------

EDIT = "admin:calls_criticalmarks_edit"


def shown(client: Client, assistant: Assistant) -> str:
    answer = client.get(reverse(EDIT), {"assistant": str(assistant.pk)})
    assert answer.status_code == 200
    return answer.content.decode()


def body(page: str, **fields: str) -> dict[str, str]:
    """Return what the page's form would send, with other choices."""
    hidden = dict(re.findall(r'<input type="hidden" name="(revision|seen)" value="([^"]*)"', page))
    assert set(hidden) == {"revision", "seen"}
    return hidden | fields


def test_the_page_shows_each_field_with_its_rule_and_stores_what_is_chosen(client: Client) -> None:
    boss = factories.make_superuser()
    client.force_login(boss)
    assistant = desk(document=DOCUMENT)
    page = shown(client, assistant)
    assert "By rule; nobody has decided otherwise." in page and "structured data" in page
    assert '<option value="phone" selected>' in page and "<script>" not in page
    given = body(page, **{'["book", "phone"]': "", '["book", "notes"]': "text"})
    given |= {"extra_tool": "book", "extra_path": " guest.id ", "extra_kind": "id"}
    answer = client.post(reverse(EDIT), given, follow=True)
    told = answer.content.decode()
    assert "Changed: book." in told and f"Decided by user:{boss.username}" in told
    assert "guest.id" in told and "not in the schema" in told
    assert marks(assistant)["book"] == {"notes": "text", "guest.id": "id"}
    # A page that was opened before that.
    late = client.post(reverse(EDIT), given | {'["book", "notes"]': ""}, follow=True)
    assert "Nothing was stored. Look again" in late.content.decode()
    assert marks(assistant)["book"] == {"notes": "text", "guest.id": "id"}
    row = CriticalMarks.objects.get()
    change_page = client.get(reverse("admin:calls_criticalmarks_change", args=[row.pk]))
    assert "phone: not critical; notes: text; guest.id: id" in change_page.content.decode()


def test_what_was_chosen_is_still_there_when_something_is_wrong(client: Client) -> None:
    client.force_login(factories.make_superuser())
    assistant = desk()
    given = body(shown(client, assistant), **{'["book", "notes"]': "name"})
    given |= {"extra_tool": "book", "extra_path": "a..b<i>", "extra_kind": "date"}
    page = client.post(reverse(EDIT), given).content.decode()
    assert "is no path. Fix: " in page and "Nothing was stored." in page
    assert 'value="a..b&lt;i&gt;"' in page and '<option value="date" selected>' in page
    assert re.search(r'aria-label="book, notes">.*?<option value="name" selected>', page, re.DOTALL)
    assert not CriticalMarks.objects.exists()


def test_who_may_only_look_changes_nothing_and_others_see_nothing(client: Client) -> None:
    assistant = desk()
    client.force_login(factories.make_superuser())
    given = body(shown(client, assistant), **{'["book", "phone"]': ""})
    looks = factories.make_staff(assistant.organisation, ["calls.view_criticalmarks"])
    client.force_login(looks)
    # The assistants that are offered are those the person may see.
    page = shown(client, assistant)
    assert "<select" in page and 'aria-label="book, phone"' not in page
    assert client.post(reverse(EDIT), given).status_code == 403
    client.force_login(factories.make_staff(factories.make_organisation(), "all"))
    assert client.get(reverse(EDIT), {"assistant": str(assistant.pk)}).status_code == 404
    assert client.get(reverse(EDIT), {"revision": given["revision"]}).status_code == 404
    assert client.get(reverse(EDIT), {"revision": "x'"}).status_code == 404
    assert client.post(reverse(EDIT), given).status_code == 404
    assert client.post(reverse(EDIT), {}).status_code == 404
    client.force_login(factories.make_staff(assistant.organisation, ["calls.view_call"]))
    assert client.get(reverse(EDIT)).status_code == 403
    assert not CriticalMarks.objects.exists()


def test_the_page_takes_as_few_queries_for_many_tools_as_for_one(client: Client) -> None:
    client.force_login(factories.make_superuser())
    counts = []
    for assistant in (desk(), desk(), desk("a", "b", "c", "d")):
        with CaptureQueriesContext(connection) as queries:
            shown(client, assistant)
        counts.append(len(queries))
    assert counts[1] == counts[2] <= 14


def test_a_revision_is_chosen_and_the_list_leads_to_the_page(client: Client) -> None:
    client.force_login(factories.make_superuser())
    assistant = desk()
    older = assistant.current_revision
    assert older is not None
    factories.make_revision(assistant)
    page = client.get(reverse(EDIT), {"revision": str(older.pk)}).content.decode()
    assert "holds for revision 1 and later ones" in page
    assert "This revision offers no tool." in shown(client, assistant)
    assert (
        reverse(EDIT)
        in client.get(reverse("admin:calls_criticalmarks_changelist")).content.decode()
    )
