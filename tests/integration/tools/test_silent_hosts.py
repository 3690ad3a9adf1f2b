"""A tool server that gives no answer: people see it, and see when it answers again."""

from __future__ import annotations

import asyncio
import datetime as dt
from typing import Any

import pytest
from django.test import Client
from django.urls import reverse
from django.utils import timezone

from calls.media.database import in_database, in_database_at_last
from calls.models import SilentHost
from calls.services.silent_hosts import SHOWN_FOR, silent_hosts_store, silent_servers
from tests import factories
from tests.integration.tools.conftest import ToolRig
from tools.hosts import OPENS_AFTER, host_guard

pytestmark = [pytest.mark.integration, pytest.mark.django_db(transaction=True)]

DEAD = "http://127.0.0.1:9"  # the discard port: nobody listens there


async def until_told(count: int) -> list[SilentHost]:
    """Wait until so many rows are there; they are stored after the result was told."""
    async with asyncio.timeout(5):
        while True:
            # At last: a table in memory that is being written to refuses its readers.
            rows = await in_database_at_last(lambda: list(SilentHost.objects.all()))
            if rows is not None and len(rows) == count:
                return rows
            await asyncio.sleep(0.01)


async def test_a_host_that_is_left_alone_is_a_row_until_it_answers(rig: ToolRig) -> None:
    tools: list[Any] = []

    def assistant() -> Any:
        tools.append(factories.make_tool(name="book", server_url=f"{DEAD}/hook?token=secret-1"))
        tools.append(factories.make_tool(name="other", server_url=rig.url))
        return factories.make_assistant(tools=tools)

    call = await rig.call_with(assistant)
    for number in range(OPENS_AFTER):
        assert not await in_database(SilentHost.objects.exists)
        await rig.run(call, "book", tool_call_id=f"a{number}")
    (row,) = await until_told(1)
    assert (row.host, row.failures, row.organisation_id) == (DEAD, 5, call.organisation_id)
    await rig.run(call, "book", tool_call_id="left-alone")
    (same,) = await until_told(1)
    assert same.last_at == row.last_at
    # It is back: whichever request comes next tells so.
    host_guard().settle((str(call.organisation_id), DEAD), answered=True, now=0)
    await rig.run(call, "other", tool_call_id="b1")
    await until_told(0)


def test_a_process_tells_of_its_own_hosts_only() -> None:
    owner = factories.default_organisation()
    theirs = factories.make_silent_host(owner, host=DEAD, process="elsewhere:1")
    silent_hosts_store([(str(owner.pk), DEAD, 5), (str(owner.pk), "https://a.example.com", 6)])
    first = SilentHost.objects.get(host="https://a.example.com").since
    silent_hosts_store([(str(owner.pk), "https://a.example.com", 7)])
    mine = SilentHost.objects.exclude(pk=theirs.pk).get()
    assert (mine.failures, mine.since) == (7, first)
    SilentHost.objects.update(last_at=timezone.now() - dt.timedelta(days=2))
    silent_hosts_store([])
    assert not SilentHost.objects.exists()


def test_the_overview_and_the_page_of_the_tool_say_so(client: Client) -> None:
    tool = factories.make_tool()
    row = factories.make_silent_host(tool.organisation, host="https://tools.example.com")
    factories.make_silent_host(tool.organisation, host="https://tools.example.com", process="b:2")
    factories.make_silent_host(factories.make_organisation(), host="https://secret.example.com")
    staff = factories.make_staff(permissions="all")
    client.force_login(staff)
    assert [each.host for each in silent_servers(staff)] == ["https://tools.example.com"]
    overview = client.get(reverse("admin:index")).content.decode()
    assert "gave no answer 5 times in a row" in overview and "secret.example" not in overview
    page = reverse("admin:tools_tool_change", args=[tool.pk])
    assert "gave no answer 5 times in a row" in client.get(page).content.decode()
    other = factories.make_tool(server_url_host="other.example.com")
    page = reverse("admin:tools_tool_change", args=[other.pk])
    assert "gave no answer" not in client.get(page).content.decode()
    SilentHost.objects.filter(organisation=row.organisation).update(
        last_at=timezone.now() - SHOWN_FOR - dt.timedelta(seconds=1)
    )
    assert silent_servers(staff) == []
