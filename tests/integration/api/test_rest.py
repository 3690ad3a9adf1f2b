"""The REST surface beyond what an SDK does: refusals, limits, secrets, round trips, audit."""

from __future__ import annotations

import io
import json
import uuid
from typing import Any

import pytest
from django.core.management import CommandError, call_command
from django.test import Client

from assistants.models import Assistant, AssistantRevision
from tests import factories
from tests.integration.api.client import Rest
from tools.models import Tool
from voiceplatform.base import services
from voiceplatform.base.models import ApiKey, AuditEntry

pytestmark = [pytest.mark.integration, pytest.mark.django_db]


@pytest.fixture
def rest() -> Rest:
    return Rest()


DOCUMENT = {
    "name": "Front desk",
    "firstMessage": "Hello",
    "silenceTimeoutSeconds": 30,
    "unknownField": {"deep": [1, None, {"x": "ü"}], "emptyList": [], "n": 1.5},
    "firstMessageInterruptionsEnabled": True,
    "model": {
        "provider": "anthropic",
        "model": "claude",
        "messages": [{"role": "system", "content": "Be kind."}],
        "tools": [{"type": "function", "function": {"name": "inline_one"}, "x": 1}],
    },
    "voice": {"provider": "11labs", "voiceId": "paula", "stability": 0.5},
    "serverMessages": None,
}


def test_everything_but_secrets_returns_value_for_value(rest: Rest) -> None:
    made = rest("POST", "/assistant", DOCUMENT)
    assert made.status_code == 201
    body = rest("GET", f"/assistant/{made.json()['id']}").json()
    added = {"id", "orgId", "createdAt", "updatedAt", "isServerUrlSecretSet"}
    assert {k: v for k, v in body.items() if k not in added} == DOCUMENT
    assert body["isServerUrlSecretSet"] is False
    assert body["createdAt"].endswith("Z") and len(body["createdAt"]) == 24
    # What a client got it may send back: computed fields are ignored.
    again = rest("PATCH", f"/assistant/{body['id']}", body)
    assert {k: v for k, v in again.json().items() if k not in added} == DOCUMENT


def test_every_write_publishes_an_immutable_revision(rest: Rest) -> None:
    made = rest("POST", "/assistant", DOCUMENT).json()
    rest("PATCH", f"/assistant/{made['id']}", {"firstMessage": "Good day"})
    first, second = AssistantRevision.objects.filter(assistant=made["id"]).order_by("number")
    assert (first.first_message, second.first_message) == ("Hello", "Good day")
    assert (first.instructions, second.instructions) == ("Be kind.", "Be kind.")
    assert (second.voice, second.model, second.source) == ("marin", "", "api")
    assert Assistant.objects.get(pk=made["id"]).current_revision == second
    # The inline tool did not change, so both revisions share its row; no list shows it.
    assert list(first.tools.all()) == list(second.tools.all())
    assert rest("GET", "/tool").json() == []


def test_patch_is_shallow(rest: Rest) -> None:
    """Vapi trap 8: a top-level field that is sent replaces the stored one completely."""
    made = rest("POST", "/assistant", DOCUMENT).json()
    model = {"provider": "openai", "model": "gpt-realtime-2.1"}
    body = rest("PATCH", f"/assistant/{made['id']}", {"model": model}).json()
    assert body["model"] == model
    assert body["voice"] == DOCUMENT["voice"]
    revision = Assistant.objects.get(pk=made["id"]).current_revision
    assert revision is not None
    assert (revision.instructions, revision.model) == ("", "gpt-realtime-2.1")
    assert revision.tools.count() == 0


def test_secrets_are_write_only_kept_and_cleared(rest: Rest) -> None:
    secrets = {
        "serverUrlSecret": "s-1",
        "server": {
            "url": "https://u:pw@h.example/a?x=1&token=s-2",
            "secret": "s-3",
            "headers": {"Authorization": "Bearer s-4", "X-Plain": "plain"},
        },
        "credentials": [{"provider": "openai", "apiKey": "s-5"}],
    }
    made = rest("POST", "/assistant", {"name": "a"} | secrets).json()
    path = f"/assistant/{made['id']}"
    assert made["isServerUrlSecretSet"] is True
    assert made["server"] == {
        "url": "https://***@h.example/a?x=1&token=***",
        "headers": {"X-Plain": "plain"},
    }
    assert "credentials" not in made and "serverUrlSecret" not in made
    # What was shown comes back: every secret stays.
    rest("PATCH", path, {"server": made["server"], "name": "b"})

    def revision() -> AssistantRevision:
        current = Assistant.objects.get(pk=made["id"]).current_revision
        assert current is not None and current.document is not None
        return current

    assert {k: revision().document[k] for k in secrets} == secrets
    assert revision().server_secret == "s-3"
    body = rest("PATCH", path, {"server": {**made["server"], "secret": None}}).json()
    assert body["isServerUrlSecretSet"] is True  # the legacy one is still there
    assert revision().server_secret == "s-1"
    body = rest("PATCH", path, {"serverUrlSecret": None}).json()
    assert body["isServerUrlSecretSet"] is False
    assert revision().server_secret == ""


SERVER = {"url": "https://h.example", "secret": "s-1"}
TOOL = {"type": "function", "function": {"name": "f"}, "server": SERVER}
ELSEWHERE = "https://other.example"


@pytest.mark.parametrize(
    ("path", "document", "patch", "named"),
    [
        ("/tool", TOOL, {"server": {"url": ELSEWHERE}}, "server.secret"),
        (
            "/assistant",
            {"name": "a", "serverUrl": "https://h.example", "serverUrlSecret": "s-1"},
            {"serverUrl": ELSEWHERE},
            "serverUrlSecret",
        ),
        (
            "/squad",
            {"members": [{"assistant": {"name": "A", "server": SERVER}}]},
            {"members": [{"assistant": {"name": "A", "server": {"url": ELSEWHERE}}}]},
            "members.0.assistant.server.secret",
        ),
        (
            "/phone-number",
            {"provider": "vapi", "name": "line", "server": SERVER},
            {"server": {"url": ELSEWHERE}},
            "server.secret",
        ),
        (
            "/credential",
            {"provider": "webhook", "authenticationPlan": {**SERVER, "type": "oauth2"}},
            {"authenticationPlan": {"type": "oauth2", "url": ELSEWHERE}},
            "authenticationPlan.secret",
        ),
    ],
)
def test_who_may_write_cannot_learn_a_secret_by_naming_another_server(
    path: str, document: dict[str, Any], patch: dict[str, Any], named: str
) -> None:
    rest = Rest(scopes=("read", "write", "admin"))
    made = rest("POST", path, document)
    assert made.status_code == 201, made.content
    path = f"{path}/{made.json()['id']}"
    refused = rest("PATCH", path, patch)
    assert refused.status_code == 400
    assert refused.json()["message"][0].startswith(f"{named} was stored for another address. Fix:")
    assert ELSEWHERE not in rest("GET", path).content.decode()


def test_tool_secrets_are_write_only_kept_and_cleared(rest: Rest) -> None:
    document = {
        "type": "function",
        "function": {"name": "f", "parameters": {"type": "object", "properties": {}}},
        "server": {"url": "https://h.example", "secret": "s-1", "headers": {"X-Api-Key": "s-2"}},
        "messages": [{"type": "request-start", "content": "One moment"}],
    }
    made = rest("POST", "/tool", document).json()
    assert made["server"] == {"url": "https://h.example", "headers": {}}
    path = f"/tool/{made['id']}"
    rest("PATCH", path, {"server": {"url": "https://h.example/b", "timeoutSeconds": 7}})
    tool = Tool.objects.get(pk=made["id"])
    assert (tool.server_secret, tool.timeout_seconds) == ("s-1", 7)
    assert tool.server_url == "https://h.example/b"
    rest("PATCH", path, {"server": {"url": "https://h.example", "secret": None}})
    tool.refresh_from_db()
    assert tool.server_secret == ""
    assert rest("PATCH", path, {"type": "endCall"}).status_code == 400


@pytest.mark.parametrize(
    ("path", "body", "sentence"),
    [
        ("/assistant", {"name": 5}, "name must be a string"),
        ("/assistant", {"name": "x" * 41}, "name "),
        ("/assistant", {"model": "gpt"}, "model must be an object"),
        ("/assistant", {"model": {"messages": [{"role": "bot"}]}}, "model.messages.0.role"),
        ("/assistant", {"model": {"messages": "x"}}, "model.messages "),
        ("/assistant", {"model": {"toolIds": ["x"]}}, "model.toolIds.0 must be a UUID"),
        ("/assistant", {"model": {"toolIds": [str(uuid.uuid4())]}}, "model.toolIds.0 names no"),
        ("/assistant", {"firstMessageMode": "sings"}, "firstMessageMode must be one of"),
        ("/assistant", {"maxDurationSeconds": 5}, "maxDurationSeconds must be from 10"),
        ("/assistant", {"firstMessageInterruptionsEnabled": "yes"}, "firstMessageInterruptions"),
        ("/assistant", {"name": "a\x00b"}, "name holds a NUL"),
        ("/assistant", {"x": {"y": ["\ud800"]}}, "x.y.0 holds"),
        ("/assistant", [1], "body must be an object"),
        ("/tool", {"function": {"name": "f"}}, "type "),
        ("/tool", {"type": "function", "function": {"name": "a b"}}, "function.name must match"),
        ("/tool", {"type": "function", "function": {}}, "function.name "),
        ("/tool", {"type": "x", "server": {"timeoutSeconds": 301}}, "server.timeoutSeconds"),
    ],
)
def test_schema_errors_name_the_path(rest: Rest, path: str, body: Any, sentence: str) -> None:
    response = rest("POST", path, body)
    assert response.status_code == 400, response.content
    answer = response.json()
    assert answer["message"][0].startswith(sentence)
    assert (answer["error"], answer["statusCode"]) == ("Bad Request", 400)


@pytest.mark.parametrize(
    "raw",
    [
        *(b"{", b"\xff\xfe", b'{"a": NaN}', b'{"a": 1e999}', b"[" * 100_000, b'{"a":' * 500),
        *(b'{"a": ' + b"9" * 5000 + b"}", b'"text"', b"null"),
    ],
)
def test_odd_bodies_are_400_and_never_500(rest: Rest, raw: bytes) -> None:
    for method, path in (("POST", "/assistant"), ("POST", "/tool")):
        response = rest(method, path, raw=raw)
        assert response.status_code == 400, response.content
        assert response.json()["statusCode"] == 400


def test_oversize_is_413(rest: Rest, settings: Any) -> None:
    settings.DATA_UPLOAD_MAX_MEMORY_SIZE = 1000
    response = rest("POST", "/assistant", {"name": "x", "note": "y" * 1000})
    assert response.status_code == 413
    assert response.json()["error"] == "Payload Too Large"


@pytest.mark.parametrize("query", ["limit=-1", "limit=1001", "limit=x", "createdAtGt=soon"])
def test_bad_list_parameters_are_400(rest: Rest, query: str) -> None:
    response = rest("GET", f"/assistant?{query}")
    assert response.status_code == 400
    assert query.split("=")[0] in response.json()["message"][0]


def test_keys_are_refused_and_scopes_are_held(rest: Rest) -> None:
    """Vapi trap 34: scripts look for the words Invalid Key."""
    for headers in ({}, {"authorization": "Bearer vp_wrong"}, {"authorization": "Basic eDp5"}):
        response = Client().get("/assistant", headers=headers)
        assert response.status_code == 401
        assert "Invalid Key" in response.json()["message"]
        assert response["WWW-Authenticate"] == "Bearer"
    reader = Rest(scopes=("read",))
    assert reader("GET", "/assistant").status_code == 200
    for method, path in (("POST", "/tool"), ("PATCH", f"/tool/{uuid.uuid4()}")):
        response = reader(method, path, {})
        assert response.status_code == 403
        assert "write" in response.json()["message"]
    services.api_key_revoke(key=rest.key)
    assert rest("GET", "/assistant").status_code == 401
    assert Rest(scopes=())("GET", "/call").status_code == 403


def test_unknown_routes_name_themselves(rest: Rest) -> None:
    for path in ("/campaign", "/workflow/abc", "/assistant/", "/nope"):
        response = rest("GET", path)
        assert response.status_code == 404
        assert response["Content-Type"] == "application/json"
        assert response.json()["message"] == f"Cannot GET {path}"
    assert rest("PUT", "/assistant", {}).status_code == 405
    assert rest("GET", "/assistant/not-an-id").status_code == 404


def test_transcripts_need_their_scope_and_every_reading_is_recorded() -> None:
    for scopes, sees in ((("read",), False), (("read", "transcripts"), True)):
        rest = Rest(scopes=scopes)
        call = factories.make_call(
            rest.organisation, turns=[{"text": "the-blue-parrot"}], tool_invocations=[{}]
        )
        for path in ("/call", f"/call/{call.pk}"):
            before = AuditEntry.objects.filter(action="transcript.view").count()
            text = rest("GET", path).content.decode()
            after = AuditEntry.objects.filter(action="transcript.view").count()
            assert ("the-blue-parrot" in text, "artifact" in text) == (sees, sees)
            assert after - before == int(sees)


def test_an_assistant_that_answers_a_number_cannot_be_deleted(rest: Rest) -> None:
    number = factories.make_number(rest.organisation)
    response = rest("DELETE", f"/assistant/{number.assistant_id}")
    assert response.status_code == 409
    assert number.number_e164 in response.json()["message"]


def test_last_use_is_noted_at_most_once_a_minute(rest: Rest) -> None:
    rest("GET", "/tool")
    first = ApiKey.objects.get(pk=rest.key.pk).last_used_at
    rest("GET", "/tool")
    assert first is not None
    assert ApiKey.objects.get(pk=rest.key.pk).last_used_at == first


def test_create_api_key_prints_the_key_alone() -> None:
    organisation = factories.make_organisation("Acme")
    out = io.StringIO()
    call_command("create_api_key", "--name", "ci", "--organisation", "Acme", stdout=out)
    clear = out.getvalue().removesuffix("\n")
    assert clear.startswith("vp_") and len(clear) == 43 and clear.strip() == clear
    key = services.api_key_check(clear)
    assert key is not None and key.organisation == organisation
    assert key.scopes == ["read", "write"]
    out = io.StringIO()
    call_command("create_api_key", "--name", "x", "--scopes", "read", "--json", stdout=out)
    answer = json.loads(out.getvalue())
    assert answer["scopes"] == ["read"] and services.api_key_check(answer["key"])
    for arguments, code in (
        (["--name", "x", "--organisation", "Nobody"], 1),
        (["--name", "x", "--scopes", "fly"], 2),
        (["--name", " "], 2),
    ):
        with pytest.raises(CommandError) as refused:
            call_command("create_api_key", *arguments)
        assert refused.value.returncode == code
