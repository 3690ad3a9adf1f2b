"""Vapi's official Python SDK, sync and async, over sockets against the running platform.

What each method answers is compared at length in tests/integration/api; here is what only the whole
server can show: its processes pass bodies on whole, uploads included, to both clients.
"""

from __future__ import annotations

import asyncio
import urllib.request

import httpx
import pytest
from vapi import AsyncVapi, Vapi
from vapi.core.api_error import ApiError

from tests.acceptance.outside import Account, make_account
from tests.platform import Platform

pytestmark = [pytest.mark.acceptance, pytest.mark.timeout(180)]

BYTES = bytes(range(256)) * 8192  # 2 MiB, more than a JSON body may have


def test_both_clients_work_over_sockets(shared_platform: Platform) -> None:
    account = make_account(shared_platform, "read", "write", "calls", "transcripts")
    origin = shared_platform.base_url
    with httpx.Client() as connections:
        sdk = Vapi(token=account.key, base_url=origin, httpx_client=connections)
        assistant_id, ids = use(sdk, account, origin)

    async def script() -> None:
        async with httpx.AsyncClient() as connections:
            later = AsyncVapi(token=account.key, base_url=origin, httpx_client=connections)
            await use_later(later, assistant_id, *ids)

    asyncio.run(script())


def use(sdk: Vapi, account: Account, origin: str) -> tuple[str, tuple[str, str, str]]:
    """Make a tool, an assistant, a squad and a file, and read what was there before."""
    assert {row.id for row in sdk.phone_numbers.list()} == set(account.numbers)
    assert all(row.provider == "twilio" for row in sdk.phone_numbers.list())
    page = sdk.phone_numbers.phone_number_controller_find_all_paginated(limit=1)
    assert (page.metadata.total_items, page.metadata.has_next_page) == (2, True)
    call = sdk.calls.list(limit=1)[0]
    assert call.artifact.messages[1].role == "bot"
    tool = sdk.tools.create(request={"type": "function", "function": {"name": "book"}})
    assistant = sdk.assistants.create(
        name="Desk", model={"provider": "openai", "model": "gpt-4o", "toolIds": [tool.id]}
    )
    squad = sdk.squads.create(members=[{"assistantId": assistant.id}])
    assert sdk.squads.get(squad.id).members[0].assistant_id == assistant.id
    file = sdk.files.create(file=("all.bin", BYTES, "application/octet-stream"))
    assert file.bytes == len(BYTES)
    request = urllib.request.Request(  # noqa: S310 - our own server
        f"{origin}/file/{file.id}/content", headers={"Authorization": f"Bearer {account.key}"}
    )
    with urllib.request.urlopen(request, timeout=30) as answer:  # noqa: S310 - as above
        assert answer.read() == BYTES
    return assistant.id, (tool.id, squad.id, file.id)


async def use_later(
    sdk: AsyncVapi, assistant_id: str, tool_id: str, squad_id: str, file_id: str
) -> None:
    """Read what the other client made, change it and delete it."""
    assert (await sdk.assistants.get(assistant_id)).model.tool_ids == [tool_id]
    assert (await sdk.tools.get(tool_id)).function.name == "book"
    renamed = await sdk.assistants.update(assistant_id, name="Front desk")
    assert renamed.name == "Front desk"
    found = await asyncio.gather(*(sdk.squads.list(id_any=[squad_id]) for _ in range(5)))
    assert [[row.id for row in rows] for rows in found] == [[squad_id]] * 5
    for delete in (
        sdk.squads.delete(squad_id),
        sdk.assistants.delete(assistant_id),
        sdk.tools.delete(tool_id),
        sdk.files.delete(file_id),
    ):
        assert (await delete).id
    with pytest.raises(ApiError) as gone:
        await sdk.files.get(file_id)
    assert gone.value.status_code == 404
