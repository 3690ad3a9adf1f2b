"""A list asks the database as often for many objects as for one."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext

from assistants.services import assistant_publish
from tests import factories
from tests.integration.api.client import Rest
from tools.services import tool_store

pytestmark = [pytest.mark.integration, pytest.mark.django_db]


def publish(rest: Rest, document: dict[str, object]) -> None:
    assistant_publish(organisation=rest.organisation, document=document, source="api", actor=None)


def written_in_columns(rest: Rest) -> None:
    tool = factories.make_tool(rest.organisation)
    factories.make_assistant(rest.organisation, tools=[tool])


def make_tool(rest: Rest) -> None:
    tool_store(organisation=rest.organisation, document={"type": "endCall"}, actor=None)


MAKERS: dict[str, tuple[str, Callable[[Rest], object]]] = {
    "empty": ("/assistant", lambda rest: publish(rest, {})),
    "full": ("/assistant", lambda rest: publish(rest, {"name": "A", "model": {"tools": [{}]}})),
    "columns": ("/assistant", written_in_columns),
    "tool": ("/tool", make_tool),
    "squad": ("/squad", lambda rest: factories.make_squad(rest.organisation)),
    "number": ("/phone-number", lambda rest: factories.make_number(rest.organisation)),
    "call": ("/call", lambda rest: factories.make_call(rest.organisation)),
}


@pytest.mark.parametrize("which", MAKERS)
def test_one_object_and_twenty_take_the_same_queries(which: str) -> None:
    rest = Rest(scopes=("read", "write", "transcripts"))
    path, make = MAKERS[which]

    def count() -> tuple[int, int]:
        with CaptureQueriesContext(connection) as queries:
            rows = rest("GET", path).json()
        return len(rows), len(queries)

    make(rest)
    count()  # what is learnt once, e.g. that the key was used
    rows, once = count()
    assert rows == 1
    for _ in range(19):
        make(rest)
    assert count() == (20, once)
