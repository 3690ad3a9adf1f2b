"""``query`` tools of a call: what the model reads of the files, and what it is told without any."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest

from assistants import file_work
from assistants.file_services import file_upload
from assistants.models import StoredResource
from assistants.resource_services import resource_delete
from calls.bridge.effects import DispatchTool
from calls.media.database import in_database
from calls.models import Call, ToolExchange, ToolInvocation
from calls.services.call_plan import plan_for
from calls.services.talk_plan import talk_ticket, talk_tool_run
from calls.services.tool_kinds import query
from calls.services.tool_run import tool_run
from tests import factories
from tools.services import tool_store
from tools.spec import ToolResult

pytestmark = [pytest.mark.integration, pytest.mark.django_db(transaction=True)]

MENU = b"# Soups\n\nOur pumpkin soup\ncosts five euro.\n"


def file_of(owner: Any, content: bytes = MENU, name: str = "menu.md") -> StoredResource:
    file = file_upload(
        organisation=owner, name=name, mimetype="text/plain", content=content, actor=None
    )
    file_work.files_work()
    return file


def assistant(files: Callable[[Any], list[StoredResource]], **more: Any) -> Any:
    made = factories.make_assistant()
    base = {
        "provider": "google",
        "name": "menu",
        "description": "soups and prices",
        "fileIds": [str(file.pk) for file in files(made.organisation)],
    }
    document = {
        "type": "query",
        "function": {"name": "look_up"},
        "knowledgeBases": [base],
        **more,
    }
    tool = tool_store(organisation=made.organisation, document=document, actor="test")
    made.current_revision.tools.add(tool)
    return made


def call_with(files: Callable[[Any], list[StoredResource]]) -> Call:
    return factories.make_call(number=factories.make_number(assistant=assistant(files)))


async def asked(call: Call, arguments: str) -> ToolResult:
    plan = await in_database(plan_for, call)
    results: dict[str, ToolResult] = {}
    effect = DispatchTool("a1", "look_up", arguments)
    await tool_run(plan=plan, calls=[effect], finished=results.__setitem__)
    return results["a1"]


async def test_the_model_reads_the_passages_that_fit(transactional_db: None) -> None:
    call = await in_database(call_with, lambda owner: [file_of(owner)])
    plan = await in_database(plan_for, call)
    (spec,) = plan.tools
    assert spec.parameters["required"] == ["query"] and spec.idempotent
    assert spec.description == "Look something up in the documents (menu: soups and prices)."
    result = await asked(call, '{"query": "How much is the pumpkin soup?"}')
    assert result.outcome == "ok"
    assert result.output.splitlines() == [
        query.HEAD,
        "[1] menu.md, Soups: Our pumpkin soup costs five euro.",
    ]
    row = await in_database(ToolInvocation.objects.select_related("tool").get)
    assert (row.name, row.tool is not None, row.tool_call_id) == ("look_up", True, "a1")
    assert not await in_database(ToolExchange.objects.exists)


def gone(owner: Any) -> list[StoredResource]:
    file = file_of(owner)
    resource_delete(resource=file, actor=None)
    return [file]


@pytest.mark.parametrize(
    ("files", "arguments", "output", "outcome"),
    [
        (lambda owner: [file_of(owner)], '{"query": "lasagne"}', query.NOTHING, "ok"),
        (lambda owner: [file_of(owner)], '{"query": " "}', query.NO_QUESTION, "error"),
        (lambda owner: [file_of(owner)], "{}", "query", "error"),
        (lambda owner: [], '{"query": "soup"}', query.NO_FILES, "error"),
        (gone, '{"query": "soup"}', query.NO_FILES, "error"),
        (
            lambda owner: [file_of(factories.make_organisation())],
            '{"query": "soup"}',
            query.NO_FILES,
            "error",
        ),
        (
            lambda owner: [file_of(owner), *gone(owner)],
            '{"query": "soup"}',
            "[1] menu.md, Soups",
            "ok",
        ),
    ],
    ids=["nothing", "blank", "no-question", "no-files", "deleted", "foreign", "one-left"],
)
async def test_what_is_not_there_is_said(
    transactional_db: None, files: Any, arguments: str, output: str, outcome: str
) -> None:
    call = await in_database(call_with, files)
    result = await asked(call, arguments)
    assert output in result.output and result.outcome == outcome


async def test_a_result_is_bounded(transactional_db: None) -> None:
    many = "\n\n".join(f"# H{n}\n\n" + f"soup no {n:02} " * 72 for n in range(12)).encode()
    call = await in_database(call_with, lambda owner: [file_of(owner, many)])
    result = await asked(call, '{"query": "soup"}')
    assert 3_000 < len(result.output) <= 4_000 and result.output.count("\n") <= 5


async def test_a_talk_looks_things_up_as_a_call_does(transactional_db: None) -> None:
    def make() -> Any:
        made = assistant(lambda owner: [file_of(owner)])
        return factories.make_talk(made.current_revision, calls_tools=False)

    talk = await in_database(make)
    ticket = await in_database(lambda: talk_ticket(talk=talk))
    effect = DispatchTool("a1", "look_up", json.dumps({"query": "soup"}))
    result, request = await talk_tool_run(talk=talk, plan=ticket.plan, effect=effect, turns=[])
    assert "five euro" in result.output and request is None
