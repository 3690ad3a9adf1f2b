"""Past calls of both stacks from their rows, by the service and by its command."""

from __future__ import annotations

import datetime as dt
import io
import json
from typing import Any

import pytest
from django.core.management import CommandError, call_command
from django.utils import timezone

from assistants.models import Assistant
from calls.services.past_comparison import past_comparison
from tests import factories

pytestmark = [pytest.mark.integration, pytest.mark.django_db]

SINCE = timezone.now() - dt.timedelta(days=30)


def _here(assistant: Assistant, *names: str, **columns: Any) -> None:
    factories.make_call(
        assistant.organisation,
        number=None,
        revision=assistant.current_revision,
        tool_invocations=[
            {"name": name, "started_ms": place * 1000, "output": "done"}
            for place, name in enumerate(names)
        ],
        **{"status": "ended", **columns},
    )


def _at_vapi(assistant: Assistant, *names: str, **columns: Any) -> None:
    factories.make_imported_call(
        turns=(("user", "hello"), ("assistant", "yes")),
        tools=names,
        organisation=assistant.organisation,
        assistant=assistant,
        **columns,
    )


def test_logged_calls_stand_against_calls_answered_here(
    django_assert_num_queries: Any,
) -> None:
    assistant = factories.make_assistant()
    other = factories.make_assistant(assistant.organisation)
    foreign = factories.make_assistant(factories.make_organisation())
    for _ in range(6):
        _at_vapi(assistant, "look_up", "book")
        _here(assistant, "book", "look_up")
    _at_vapi(assistant, "book", is_whole=False)
    _at_vapi(assistant, "odd", started_at=timezone.now() - dt.timedelta(days=60))
    _here(assistant, "odd", status="in-progress")
    _here(assistant, "odd", stack="vapi")
    for each in (other, foreign):
        _here(each, "odd")
        _at_vapi(each, "odd")
    with django_assert_num_queries(6):
        found = past_comparison(assistant, since=SINCE)
    assert (found.old, found.new, found.left_out) == (6, 6, 1)
    assert [tool.name for tool in found.tools] == ["book", "look_up"]
    # Each tool is used as often, only their order is another: 2 of 924 ways are as far apart.
    assert {tool.words for tool in found.tools} == {"cannot be told apart"}
    assert found.order.p_value == pytest.approx(2 / 924)


def test_a_name_that_our_sessions_made_legal_is_still_one_name() -> None:
    assistant = factories.make_assistant()
    for _ in range(5):
        _at_vapi(assistant, "Book a table!")
        _here(assistant, "Book_a_table")
    found = past_comparison(assistant, since=SINCE)
    assert [tool.name for tool in found.tools] == ["Book_a_table"]
    assert found.order.p_value == 1.0


def _run(*arguments: str) -> str:
    out = io.StringIO()
    call_command("compare_past_calls", *arguments, stdout=out)
    return out.getvalue()


def test_the_command_says_what_was_found() -> None:
    assistant = factories.make_assistant()
    for _ in range(5):
        _at_vapi(assistant, "look_up", "book")
        _here(assistant, "look_up")
    text = _run(str(assistant.pk))
    assert "Order of tools: the two sets order their tools differently (5 calls" in text
    assert "  book: 5 of 5 at Vapi, 0 of 5 here, p = 0.008, used less here\n" in text
    body = json.loads(_run(str(assistant.pk), "--json"))
    assert (body["old"], body["new"], len(body["tools"])) == (5, 5, 2)


@pytest.mark.parametrize(
    ("arguments", "code"), [(["not-an-id"], 2), ([""], 2), (["{id}", "--days", "0"], 2)]
)
def test_bad_usage_is_two(arguments: list[str], code: int) -> None:
    known = str(factories.make_assistant().pk)
    with pytest.raises(CommandError, match="Fix:") as refused:
        _run(*(each.format(id=known) for each in arguments))
    assert refused.value.returncode == code


def test_nothing_to_compare_is_one_and_names_the_missing_side() -> None:
    assistant = factories.make_assistant()
    with pytest.raises(CommandError, match="import_call_logs") as refused:
        _run(str(assistant.pk))
    assert refused.value.returncode == 1
    _at_vapi(assistant, "book")
    with pytest.raises(CommandError, match="answered here"):
        _run(str(assistant.pk))
    foreign = factories.make_assistant(factories.make_organisation())
    with pytest.raises(CommandError, match="no assistant"):
        _run(str(foreign.pk))
