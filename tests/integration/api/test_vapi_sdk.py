"""The official Vapi SDK as the client of our REST surface (vapi.md 1, 2, 3, 6.3, 7.1, 10)."""

from __future__ import annotations

import datetime as dt
import uuid
from collections.abc import Iterator
from typing import Any

import httpx
import pytest
import vapi
from django.test import Client
from vapi import Vapi
from vapi.core.api_error import ApiError
from vapi.core.unchecked_base_model import construct_type
from vapi.errors import ConflictError

from tests import factories

pytestmark = [pytest.mark.integration, pytest.mark.django_db]

BASE_URL = "http://testserver"
# The SDK's own models ask pydantic for things it no longer recommends.
SDK_WARNINGS = pytest.mark.filterwarnings("ignore::DeprecationWarning:vapi")


def through_django(request: httpx.Request) -> httpx.Response:
    """Hand an httpx request to Django's test client."""
    headers = {
        name: value
        for name, value in request.headers.items()
        if name not in {"content-length", "content-type", "host"}
    }
    response = Client(raise_request_exception=True).generic(
        request.method,
        request.url.raw_path.decode(),
        request.read(),
        content_type=request.headers.get("content-type", "application/json"),
        headers=headers,
    )
    return httpx.Response(
        response.status_code, headers=dict(response.items()), content=response.content
    )


@pytest.fixture
def key() -> tuple[Any, str]:
    return factories.make_api_key(
        factories.make_organisation(), scopes=("read", "write", "transcripts")
    )


@pytest.fixture
def sdk(key: tuple[Any, str]) -> Iterator[Vapi]:
    with httpx.Client(transport=httpx.MockTransport(through_django)) as transport:
        yield Vapi(token=key[1], base_url=BASE_URL, httpx_client=transport)


def test_assistants_create_get_list_update_delete(sdk: Vapi, key: tuple[Any, str]) -> None:
    tool = sdk.tools.create(request={"type": "function", "function": {"name": "book"}})
    made = sdk.assistants.create(
        name="Front desk",
        first_message="Hello",
        model={
            "provider": "openai",
            "model": "gpt-realtime-2.1",
            "messages": [{"role": "system", "content": "Be kind."}],
            "toolIds": [tool.id],
        },
        voice={"provider": "openai", "voiceId": "cedar"},
        server={"url": "https://hooks.example.com", "timeoutSeconds": 10},
        metadata={"team": "ops"},
    )
    assert made.org_id == str(key[0].organisation_id)
    assert made.model.tool_ids == [tool.id]
    assert made.voice.voice_id == "cedar"
    assert sdk.assistants.get(made.id).first_message == "Hello"
    assert [row.id for row in sdk.assistants.list(limit=10)] == [made.id]
    changed = sdk.assistants.update(made.id, first_message="Good morning")
    assert (changed.first_message, changed.name) == ("Good morning", "Front desk")
    assert sdk.assistants.update(made.id, first_message=None).first_message is None
    with pytest.raises(ConflictError):
        sdk.tools.delete(tool.id, request_options={"max_retries": 0})
    assert sdk.assistants.delete(made.id).id == made.id
    assert sdk.tools.delete(tool.id).id == tool.id
    with pytest.raises(ApiError) as gone:
        sdk.assistants.get(made.id)
    assert gone.value.status_code == 404
    assert gone.value.body["error"] == "Not Found"
    assert gone.value.body["statusCode"] == 404


def test_tools_create_get_list_update_delete(sdk: Vapi) -> None:
    made = sdk.tools.create(
        request={
            "type": "function",
            "function": {
                "name": "book_table",
                "description": "Books",
                "parameters": {"type": "object", "properties": {"when": {"type": "string"}}},
            },
            "server": {"url": "https://tools.example.com"},
        }
    )
    assert made.type == "function"
    assert made.function.name == "book_table"
    assert sdk.tools.get(made.id).server.url == "https://tools.example.com"
    assert [row.id for row in sdk.tools.list()] == [made.id]
    # Vapi's own sync tool strips the type (vapi.md 3.1).
    changed = sdk.tools.update(made.id, request={"function": {"name": "book_seat"}})
    assert (changed.type, changed.function.name) == ("function", "book_seat")
    assert sdk.tools.delete(made.id).id == made.id
    assert sdk.tools.list() == []


def test_calls_and_numbers_read_as_the_sdk_decodes_them(sdk: Vapi, key: tuple[Any, str]) -> None:
    organisation = key[0].organisation
    number = factories.make_number(organisation)
    call = factories.make_call(
        number=number,
        status="ended",
        turns=[{"text": "Hello"}, {"text": "Hi there", "text_unheard": "never heard"}],
        tool_invocations=[{}],
    )
    seen = sdk.calls.get(str(call.pk))
    assert (seen.status, seen.type) == ("ended", "inboundPhoneCall")
    assert seen.ended_reason == "customer-ended-call"
    assert seen.phone_call_provider_id == call.call_sid
    assert seen.customer.number == call.caller
    assert seen.assistant_id == str(number.assistant_id)
    assert seen.phone_number_id == str(number.pk)
    assert seen.cost == pytest.approx(0.042)
    assert [message.role for message in seen.artifact.messages] == [
        *("system", "bot", "tool_calls", "tool_call_result", "user"),
    ]
    assert seen.artifact.transcript == "AI: Hello\nUser: Hi there"
    assert [row.id for row in sdk.calls.list(assistant_id=str(number.assistant_id))] == [seen.id]
    assert sdk.calls.list(id=str(uuid.uuid4())) == []
    shown = sdk.phone_numbers.get(str(number.pk))
    assert (shown.provider, shown.number) == ("twilio", number.number_e164)
    assert shown.assistant_id == str(number.assistant_id)
    assert [row.id for row in sdk.phone_numbers.list()] == [shown.id]


def test_bodies_pass_the_sdks_strict_models(key: tuple[Any, str]) -> None:
    organisation = key[0].organisation
    tool = factories.make_tool(organisation)
    assistant = factories.make_assistant(organisation, tools=[tool])
    call = factories.make_call(
        number=factories.make_number(organisation, assistant=assistant),
        status="ended",
        turns=[{}, {}, {"role": "system"}],
        tool_invocations=[{}],
    )
    client, headers = Client(), {"authorization": f"Bearer {key[1]}"}

    def body(path: str) -> Any:
        return client.get(path, headers=headers).json()

    vapi.Assistant.model_validate(body(f"/assistant/{assistant.pk}"))
    vapi.Call.model_validate(body(f"/call/{call.pk}"))
    vapi.TwilioPhoneNumber.model_validate(body(f"/phone-number/{call.number.pk}"))
    # A second of work, so not at import in every process.
    from vapi.tools.types.get_tools_response import GetToolsResponse

    decoded = construct_type(type_=GetToolsResponse, object_=body(f"/tool/{tool.pk}"))
    assert decoded is not None  # None: the discriminator is missing (vapi.md trap 1)


def test_list_parameters(sdk: Vapi, key: tuple[Any, str]) -> None:
    organisation = key[0].organisation
    start = dt.datetime(2026, 1, 1, tzinfo=dt.UTC)
    rows = [factories.make_assistant(organisation) for _ in range(4)]
    for index, row in enumerate(rows):
        row.created_at = start + dt.timedelta(days=index)
        row.updated_at = row.created_at
        row.save()
    ids = [str(row.pk) for row in rows]

    def listed(**parameters: Any) -> list[str]:
        return [row.id for row in sdk.assistants.list(**parameters)]

    assert listed() == ids[::-1]  # newest first
    assert listed(limit=2.0) == ids[:1:-1]  # the SDK types limit as a float (vapi.md trap 27)
    assert listed(limit=0) == []
    assert listed(created_at_gt=rows[1].created_at) == [ids[3], ids[2]]
    assert listed(created_at_ge=rows[1].created_at) == [ids[3], ids[2], ids[1]]
    assert listed(created_at_lt=rows[1].created_at) == [ids[0]]
    assert listed(updated_at_le=rows[1].created_at) == [ids[1], ids[0]]
    zone = dt.timezone(dt.timedelta(hours=2))
    assert listed(created_at_gt=rows[2].created_at.astimezone(zone)) == [ids[3]]
