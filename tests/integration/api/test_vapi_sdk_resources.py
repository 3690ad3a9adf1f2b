"""The official Vapi SDK, sync and async, on squads, numbers, calls, files and stored resources.

Decoded attributes are compared, not only the absence of an exception: with a discriminator that is
missing the SDK answers None (vapi.md trap 1).
"""

from __future__ import annotations

import datetime as dt
import uuid
from collections.abc import Iterator
from typing import Any

import httpx
import pytest
from asgiref.sync import async_to_sync, sync_to_async
from vapi import AsyncVapi, Vapi
from vapi.core.api_error import ApiError
from vapi.errors import ConflictError

from assistants import file_work
from assistants.models import Assistant
from tests import factories
from tests.integration.api.test_vapi_sdk import BASE_URL, through_django

pytestmark = [pytest.mark.integration, pytest.mark.django_db]

SCOPES = ("read", "write", "transcripts", "calls", "admin")


@pytest.fixture
def key() -> tuple[Any, str]:
    return factories.make_api_key(factories.make_organisation(), scopes=SCOPES)


@pytest.fixture
def sdk(key: tuple[Any, str]) -> Iterator[Vapi]:
    with httpx.Client(transport=httpx.MockTransport(through_django)) as transport:
        yield Vapi(token=key[1], base_url=BASE_URL, httpx_client=transport)


def test_squads(sdk: Vapi, key: tuple[Any, str]) -> None:
    organisation = key[0].organisation
    desk, billing = (factories.make_assistant(organisation) for _ in range(2))
    made = sdk.squads.create(
        name="Desk and billing",
        members=[
            {
                "assistantId": str(desk.pk),
                "assistantDestinations": [{"type": "assistant", "assistantName": "Billing"}],
            },
            {"assistant": {"name": "Billing", "voice": {"provider": "openai", "voiceId": "ash"}}},
        ],
        members_overrides={"variableValues": {"shop": "North"}},
    )
    assert made.org_id == str(organisation.pk)
    assert made.members[0].assistant_id == str(desk.pk)
    assert made.members[0].assistant_destinations[0].assistant_name == "Billing"
    assert made.members[1].assistant.voice.voice_id == "ash"
    other = sdk.squads.create(members=[{"assistantId": str(billing.pk)}])
    assert [row.id for row in sdk.squads.list()] == [other.id, made.id]
    assert [row.id for row in sdk.squads.list(id_any=[made.id])] == [made.id]
    assert {row.id for row in sdk.squads.list(id_any=[made.id, other.id])} == {made.id, other.id}
    assert [row.id for row in sdk.squads.list(limit=1.0)] == [other.id]
    changed = sdk.squads.update(made.id, members=[{"assistantId": str(billing.pk)}])
    assert (changed.name, len(changed.members)) == ("Desk and billing", 1)
    assert sdk.squads.get(made.id).members_overrides.variable_values == {"shop": "North"}
    with pytest.raises(ConflictError) as used:
        sdk.assistants.delete(str(billing.pk), request_options={"max_retries": 0})
    assert "squad" in str(used.value.body)
    assert sdk.squads.delete(made.id).id == made.id
    assert [row.id for row in sdk.squads.list()] == [other.id]


def test_numbers_of_two_providers(sdk: Vapi, key: tuple[Any, str]) -> None:
    organisation = key[0].organisation
    account = factories.make_account(organisation)
    assistant = factories.make_assistant(organisation)
    squad = sdk.squads.create(members=[{"assistantId": str(assistant.pk)}])
    made = sdk.phone_numbers.create(
        request={
            "provider": "twilio",
            "number": "+15550107788",
            "twilioAccountSid": account.account_sid,
            "twilioAuthToken": "never-shown",
            "name": "Front line",
            "assistantId": str(assistant.pk),
            "server": {"url": "https://h.example", "timeoutSeconds": 5},
        }
    )
    assert (made.provider, made.number, made.status) == ("twilio", "+15550107788", "active")
    assert (made.twilio_account_sid, made.twilio_auth_token) == (account.account_sid, None)
    assert made.server.timeout_seconds == 5
    kept = sdk.phone_numbers.create(request={"provider": "vapi", "sipUri": "sip:a@sip.vapi.ai"})
    assert (kept.provider, kept.sip_uri, kept.status) == ("vapi", "sip:a@sip.vapi.ai", "blocked")
    assert [row.id for row in sdk.phone_numbers.list()] == [kept.id, made.id]
    assert [row.provider for row in sdk.phone_numbers.list(limit=1)] == ["vapi"]
    page = sdk.phone_numbers.phone_number_controller_find_all_paginated(limit=1, page=2)
    assert [row.id for row in page.results] == [made.id]
    meta = page.metadata
    assert (meta.total_items, meta.current_page, meta.items_per_page) == (2, 2, 1)
    assert (meta.total_pages, meta.has_next_page, meta.sort_order) == (2, False, "DESC")
    oldest = sdk.phone_numbers.phone_number_controller_find_all_paginated(sort_order="ASC")
    assert [row.id for row in oldest.results] == [made.id, kept.id]
    for search, ids in (("FRONT", [made.id]), ("0107788", [made.id]), ("sip.VAPI", [kept.id])):
        found = sdk.phone_numbers.phone_number_controller_find_all_paginated(search=search)
        assert [row.id for row in found.results] == ids
    changed = sdk.phone_numbers.update(
        made.id, request={"provider": "twilio", "assistantId": None, "squadId": squad.id}
    )
    assert (changed.assistant_id, changed.squad_id, changed.name) == (None, squad.id, "Front line")
    with pytest.raises(ApiError) as used:
        sdk.squads.delete(squad.id, request_options={"max_retries": 0})
    assert used.value.status_code == 409
    assert "+15550107788" in str(used.value.body)
    assert sdk.phone_numbers.delete(made.id).id == made.id
    assert sdk.phone_numbers.delete(kept.id).provider == "vapi"
    assert sdk.squads.delete(squad.id).id == squad.id
    assert sdk.phone_numbers.list() == []


def test_calls(sdk: Vapi, key: tuple[Any, str]) -> None:
    number = factories.make_number(key[0].organisation)
    call = factories.make_call(number=number, status="ended", turns=[{}, {}])
    other = factories.make_call(number=number, status="in-progress")
    by_number = sdk.calls.list(phone_number_id=str(number.pk), limit=1)
    assert [row.id for row in by_number] == [str(other.pk)]
    older = sdk.calls.list(created_at_lt=by_number[0].created_at)
    assert [row.id for row in older] == [str(call.pk)]
    assert sdk.calls.update(str(call.pk), name="Angry one").name == "Angry one"
    assert [row.name for row in sdk.calls.list()] == [None, "Angry one"]
    assert sdk.calls.update(str(call.pk), name=None).name is None
    with pytest.raises(ApiError) as refused:
        sdk.calls.create(assistant_id=str(uuid.uuid4()), customer={"number": "+15550100001"})
    assert refused.value.status_code == 400
    assert "outbound" in refused.value.body["message"][0]
    with pytest.raises(ApiError) as live:
        sdk.calls.delete(str(other.pk), request_options={"max_retries": 0})
    assert live.value.status_code == 409
    gone = sdk.calls.delete(str(call.pk))
    assert (gone.id, gone.artifact) == (str(call.pk), None)
    assert [row.id for row in sdk.calls.list()] == [str(other.pk)]


def test_files(sdk: Vapi) -> None:
    made = sdk.files.create(
        file=("menu.txt", b"Soup of the day", "text/plain"),
        purpose="assistant",
        metadata='{"shop": "North"}',
    )
    assert (made.name, made.original_name, made.mimetype) == ("menu.txt", "menu.txt", "text/plain")
    assert (made.bytes, made.status, made.purpose) == (15, "processing", "assistant")
    assert made.metadata == {"shop": "North"}
    assert made.url is not None and made.url.endswith(f"/file/{made.id}/content")
    file_work.files_work()
    assert sdk.files.get(made.id).status == "done"
    assert sdk.files.update(made.id, name="Menu").name == "Menu"
    assert [row.name for row in sdk.files.list()] == ["Menu"]
    assert sdk.files.list(purpose="knowledge-base-v2") == []
    assert [row.id for row in sdk.files.list(purpose="assistant")] == [made.id]
    assert sdk.files.get(made.id).original_name == "menu.txt"
    assert sdk.files.delete(made.id).id == made.id
    assert sdk.files.list() == []


def test_structured_outputs_evals_and_simulations(sdk: Vapi) -> None:
    outputs = sdk.structured_outputs
    made = [
        outputs.structured_output_controller_create(
            name=f"Outcome {index}", type="ai", schema={"type": "boolean"}
        )
        for index in range(3)
    ]
    page = outputs.structured_output_controller_find_all(limit=2)
    assert [row.id for row in page.results] == [made[2].id, made[1].id]
    assert (page.metadata.total_items, page.metadata.has_next_page) == (3, True)
    one = outputs.structured_output_controller_find_all(name="Outcome 0")
    assert [row.schema_.type for row in one.results] == ["boolean"]
    changed = outputs.structured_output_controller_update(
        made[0].id, schema_override="true", description="Whether it was booked"
    )
    assert (changed.name, changed.description) == ("Outcome 0", "Whether it was booked")
    assert outputs.structured_output_controller_remove(made[0].id).id == made[0].id
    scripted = sdk.eval.eval_controller_create(
        type="chat.mockConversation", messages=[{"role": "user", "content": "Hello"}]
    )
    assert sdk.eval.eval_controller_get(scripted.id).messages[0].content == "Hello"
    assert [row.id for row in sdk.eval.eval_controller_get_paginated().results] == [scripted.id]
    angry = sdk.simulation_personalities.personality_controller_create(
        name="Angry", assistant={"name": "Angry"}
    )
    scenario = sdk.simulation_scenarios.scenario_controller_create(
        name="Books", instructions="Book a table", evaluations=[]
    )
    simulation = sdk.simulations.simulation_controller_create(
        scenario_id=scenario.id, personality_id=angry.id
    )
    suite = sdk.simulation_suites.simulation_suite_controller_create(
        name="All", simulation_ids=[simulation.id]
    )
    assert suite.simulation_ids == [simulation.id]
    assert [row.id for row in sdk.simulations.simulation_controller_find_all()] == [simulation.id]
    once = {"max_retries": 0}
    with pytest.raises(ConflictError):
        sdk.simulation_personalities.personality_controller_remove(angry.id, request_options=once)
    with pytest.raises(ApiError) as used:
        sdk.simulations.simulation_controller_remove(simulation.id, request_options=once)
    assert used.value.status_code == 409
    sdk.simulation_suites.simulation_suite_controller_remove(suite.id)
    sdk.simulations.simulation_controller_remove(simulation.id)
    gone = sdk.simulation_personalities.personality_controller_remove(angry.id)
    assert gone.assistant.name == "Angry"


def test_analytics(sdk: Vapi, key: tuple[Any, str]) -> None:
    organisation = key[0].organisation
    number = factories.make_number(organisation)
    for cost, reason in ((2, "customer-ended-call"), (4, "customer-ended-call"), (9, "voicemail")):
        factories.make_call(
            number=number,
            status="ended",
            ended_reason=reason,
            cost_usd=cost,
            duration_seconds=cost * 60,
            metrics={"cost_usd": {"model": cost - 1, "carrier": 1}},
        )
    factories.make_call()  # another organisation's
    operations = [
        {"operation": "count", "column": "id", "alias": "calls"},
        {"operation": "sum", "column": "cost"},
        {"operation": "avg", "column": "duration"},
        {"operation": "max", "column": "costBreakdown.llm", "alias": "dearest"},
        {"operation": "sum", "column": "costBreakdown.stt", "alias": "stt"},
    ]
    whole, grouped, daily, empty = sdk.analytics.get(
        queries=[
            {"table": "call", "name": "whole", "operations": operations},
            {
                "table": "call",
                "name": "grouped",
                "operations": operations[:2],
                "groupBy": ["endedReason", "type", "assistantId"],
            },
            {
                "table": "call",
                "name": "daily",
                "operations": operations[:1],
                "timeRange": {"step": "day", "timezone": "Europe/Berlin"},
            },
            {
                "table": "subscription",
                "name": "minutes",
                "operations": [{"operation": "history", "column": "concurrency"}],
            },
        ]
    )
    assert whole.result == [
        {"calls": 3, "sumCost": 15.0, "avgDuration": 5.0, "dearest": 8.0, "stt": 0}
    ]
    assert whole.time_range.end - whole.time_range.start == dt.timedelta(days=7)
    common = {"type": "inboundPhoneCall", "assistantId": str(number.assistant_id)}
    assert grouped.result == [
        {"endedReason": "customer-ended-call", **common, "calls": 2, "sumCost": 6.0},
        {"endedReason": "voicemail", **common, "calls": 1, "sumCost": 9.0},
    ]
    assert [row["calls"] for row in daily.result] == [3]
    assert dt.date.fromisoformat(daily.result[0]["date"])
    assert (empty.name, empty.result) == ("minutes", [])


def test_paging_backwards_meets_every_row_once(sdk: Vapi, key: tuple[Any, str]) -> None:
    """There is no cursor on the bare lists (vapi.md 1.5)."""
    start = dt.datetime(2026, 1, 1, tzinfo=dt.UTC)
    made = []
    for index in range(7):
        row = factories.make_assistant(key[0].organisation)
        Assistant.objects.filter(pk=row.pk).update(created_at=start + dt.timedelta(hours=index))
        made.append(str(row.pk))
    seen: list[str] = []
    before = None
    while page := sdk.assistants.list(limit=3, created_at_lt=before):
        seen += [row.id for row in page]
        before = page[-1].created_at
    assert seen == made[::-1]


def test_the_async_client_sees_the_same(key: tuple[Any, str]) -> None:
    async def handler(request: httpx.Request) -> httpx.Response:
        await request.aread()
        # Back in the thread of this test, and so in its transaction.
        return await sync_to_async(through_django)(request)

    async def script() -> None:
        async with httpx.AsyncClient(transport=httpx.MockTransport(handler)) as transport:
            sdk = AsyncVapi(token=key[1], base_url=BASE_URL, httpx_client=transport)
            tool = await sdk.tools.create(request={"type": "endCall"})
            assert tool is not None and tool.type == "endCall"
            assistant = await sdk.assistants.create(
                name="Desk", model={"provider": "openai", "model": "x", "toolIds": [tool.id]}
            )
            assert assistant.model.tool_ids == [tool.id]
            squad = await sdk.squads.create(members=[{"assistantId": assistant.id}])
            number = await sdk.phone_numbers.create(
                request={"provider": "vapi", "squadId": squad.id, "name": "Line"}
            )
            assert (number.provider, number.squad_id) == ("vapi", squad.id)
            page = await sdk.phone_numbers.phone_number_controller_find_all_paginated()
            assert [row.id for row in page.results] == [number.id]
            file = await sdk.files.create(file=("a.txt", b"abc", "text/plain"))
            assert file.bytes == 3
            assert [row.id for row in await sdk.assistants.list(limit=5)] == [assistant.id]
            renamed = await sdk.assistants.update(assistant.id, name="Front desk")
            assert (renamed.name, renamed.model.tool_ids) == ("Front desk", [tool.id])
            assert [row.id for row in await sdk.squads.list(id_any=[squad.id])] == [squad.id]
            assert await sdk.calls.list() == []
            for delete in (
                sdk.phone_numbers.delete(number.id),
                sdk.squads.delete(squad.id),
                sdk.assistants.delete(assistant.id),
                sdk.tools.delete(tool.id),
                sdk.files.delete(file.id),
            ):
                assert (await delete).id
            with pytest.raises(ApiError) as gone:
                await sdk.tools.get(tool.id)
            assert gone.value.status_code == 404

    async_to_sync(script)()
