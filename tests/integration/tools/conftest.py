"""Rows and a tool server for running function calls: one call, its plan, a stand-in on loopback."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Mapping
from typing import Any

import pytest

from calls.bridge.effects import DispatchTool
from calls.media.database import in_database
from calls.models import Call
from calls.services import tool_run as run
from calls.services.call_plan import plan_for
from calls.services.tool_run import tool_run
from calls.standins.server import RunningStandins, running_standins
from calls.standins.tool_server import ToolRequest
from tests.factories import make_call, make_number
from tools import dispatch
from tools.dispatch import close_client
from tools.spec import ToolResult

# Django's own name for the settings fixture's class is private.
Settings = Any


class ToolRig:
    """Runs function calls of the model against the stand-in."""

    def __init__(self, standins: RunningStandins) -> None:
        self.standins = standins
        self.url = f"{standins.base_url}/tools/hook?token=hidden-query"

    @property
    def requests(self) -> list[ToolRequest]:
        """Return what the tool server has got."""
        return list(self.standins.tools.ledger)

    @property
    def message(self) -> dict[str, Any]:
        """Return the message of the only request."""
        (request,) = self.requests
        message: dict[str, Any] = request.body["message"]
        return message

    async def call_with(self, make: Callable[[], Any], **columns: Any) -> Call:
        """Make a call whose assistant is ``make()``'s."""

        def rows() -> Call:
            return make_call(number=make_number(assistant=make()), **columns)

        return await in_database(rows)

    async def run(
        self, call: Call, name: str, arguments: str = '{"when": "mon"}', tool_call_id: str = "a1"
    ) -> ToolResult:
        """Run a function call as the media consumer does."""
        plan = await in_database(plan_for, call)
        effect = DispatchTool(tool_call_id=tool_call_id, name=name, arguments_json=arguments)
        results: dict[str, ToolResult] = {}
        await tool_run(plan=plan, calls=[effect], finished=results.__setitem__)
        assert list(results) == [tool_call_id]
        return results[tool_call_id]

    def answer(self, replies: Mapping[str, Any]) -> None:
        """Set what tools answer."""
        self.standins.tools.replies |= replies


@pytest.fixture
async def rig(transactional_db: None, settings: Settings) -> AsyncIterator[ToolRig]:
    """A database, a tool server, and permission to reach it."""
    settings.EGRESS_ALLOW = ["127.0.0.0/8"]
    async with running_standins() as standins:
        yield ToolRig(standins)
        # What nobody waited for is still to be answered and stored, before the database is emptied.
        for tasks in (dispatch._background, run._storing):
            await asyncio.gather(*tasks, return_exceptions=True)
        await close_client()
