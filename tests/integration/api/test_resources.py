"""Squads, stored resources, files, numbers, calls and unknown routes: refusals, secrets, limits."""

from __future__ import annotations

import json
import re
import typing
import uuid
from collections.abc import Iterator
from typing import Any

import pydantic
import pytest
import vapi
from django.test import Client

from assistants.api import files
from assistants.models import Squad, StoredResource
from calls.models import Call, OutboxEvent, PhoneNumber, Turn
from tests import factories
from tests.integration.api.client import Rest
from tests.integration.api.test_round_trip import twilio, unknown_account
from voiceplatform.base.models import AuditEntry, UnknownRoute
from voiceplatform.base.redaction import redact
from voiceplatform.base.unknown_routes import MAX_ROUTES, route_form

pytestmark = [pytest.mark.integration, pytest.mark.django_db]

EVERYTHING = ("read", "write", "calls", "admin")
UNKNOWN = str(uuid.UUID(int=7))


@pytest.fixture
def rest() -> Rest:
    return Rest(scopes=EVERYTHING)


@pytest.mark.parametrize(
    ("path", "body", "sentence"),
    [
        ("/squad", {}, "members "),
        ("/squad", {"members": []}, "members "),
        ("/squad", {"members": "x"}, "members "),
        ("/squad", {"members": [{}]}, "members.0 must have assistantId or assistant"),
        ("/squad", {"members": [{"assistantId": "x"}]}, "members.0.assistantId must be a UUID"),
        ("/squad", {"members": [{"assistantId": UNKNOWN}]}, "members.0.assistantId names no"),
        (
            "/squad",
            {
                "members": [
                    {"assistant": {"a": 1}, "assistantDestinations": [{"assistantId": UNKNOWN}]}
                ]
            },
            "members.0.assistantDestinations.0.assistantId names no",
        ),
        ("/credential", {"name": "x"}, "provider "),
        ("/structured-output", {"type": "ai"}, "name "),
        ("/structured-output", {"name": "x" * 41}, "name "),
        ("/structured-output", {"name": "x", "type": "b"}, "type must be one of"),
        ("/structured-output", {"name": "x", "assistantIds": ["b"]}, "assistantIds.0 must be"),
        ("/eval", {"type": "chat.mockConversation"}, "messages "),
        ("/eval/simulation", {"scenarioId": "x", "personalityId": UNKNOWN}, "scenarioId must be"),
        ("/eval/simulation/suite", {"name": "x", "simulationIds": [5]}, "simulationIds.0 must be"),
        ("/phone-number", {"number": "+15550100001"}, "provider "),
        ("/phone-number", {"provider": "skype"}, "provider must be one of"),
        ("/phone-number", {"provider": "twilio", "number": "+1555"}, "twilioAccountSid must be"),
        ("/phone-number", {"provider": "vapi", "assistantId": UNKNOWN}, "assistantId names no"),
        ("/phone-number", {"provider": "vapi", "squadId": UNKNOWN}, "squadId names no"),
        ("/phone-number", {"provider": "vapi", "server": {"timeoutSeconds": 0}}, "server.timeout"),
        ("/analytics", {}, "queries "),
        ("/analytics", {"queries": [{"table": "call", "name": "x"}]}, "queries.0.operations "),
        (
            "/analytics",
            {
                "queries": [
                    {
                        "table": "call",
                        "name": "x",
                        "operations": [{"operation": "sum", "column": "id"}],
                    }
                ]
            },
            "queries.0.operations.0 column id can only be counted",
        ),
        ("/call", {"assistantId": UNKNOWN}, "This installation places no calls yet"),
        ("/assistant/start", {"assistantId": UNKNOWN}, "This installation places no calls yet"),
    ],
)
def test_refusals_name_the_path(rest: Rest, path: str, body: Any, sentence: str) -> None:
    answer = rest("POST", path, body)
    assert answer.status_code == 400, answer.content
    assert answer.json()["message"][0].startswith(sentence), answer.json()


@pytest.mark.parametrize(
    ("span", "sentence"),
    [
        ({"start": "soon"}, "timeRange.start must be"),
        ({"timezone": "../../etc"}, "timeRange.timezone must be"),
        ({"timezone": "Nowhere/Else"}, "timeRange.timezone must be"),
        ({"start": "2026-02-01", "end": "2026-01-01T00:00:00Z"}, "timeRange.start must"),
        ({"step": "decade"}, "queries.0.timeRange.step must be"),
    ],
)
def test_odd_time_ranges_are_refused(rest: Rest, span: Any, sentence: str) -> None:
    query = {
        "table": "call",
        "name": "x",
        "operations": [{"operation": "count", "column": "id"}],
        "timeRange": span,
    }
    answer = rest("POST", "/analytics", {"queries": [query]})
    assert answer.status_code == 400
    assert answer.json()["message"][0].startswith(sentence)


# Every field of every credential that Vapi knows and that REST shows; whoever adds one looks at it.
PUBLIC = set(
    """
    accessKeyId accountEmail accountId accountSid algorithm apiUrl authProviderX509CertUrl authUri
    authUsername authenticationPlan authenticationSession authorizationId awsAccessKeyId
    bearerPrefixEnabled bucketPlan clientEmail clientId clientX509CertUrl containerName domain email
    encryptionPlan expiresAt externalId fallbackIndex format gateways groupId headerName
    inboundEnabled includeTimestamp ip messageIdHeader models name netmask openAIEndpoint
    optionsPingEnabled outboundAuthenticationPlan outboundEnabled outboundLeadingPlusEnabled
    outboundProtocol path payloadFormat pem port privateKeyId projectId provider publicKey realm
    region roleArn s3BucketName s3PathPrefix scope secretIsBase64 service signatureEncoding
    signatureHeader signaturePrefix sipDiversionHeader sipRegisterPlan teamId techPrefix
    timestampHeader tokenUri type universeDomain url userId username
    """.split()
)


def names_in(model: Any, seen: set[Any]) -> Iterator[str]:
    """Yield the wire names of a model's fields and of the models inside it."""
    if model in seen:
        return
    seen.add(model)
    for name, hint in typing.get_type_hints(model, include_extras=True).items():
        if name not in model.model_fields:
            continue
        aliases = [getattr(note, "alias", None) for note in getattr(hint, "__metadata__", ())]
        yield next(filter(None, aliases), name)
        for inner in models_in(hint):
            yield from names_in(inner, seen)


def models_in(hint: Any) -> Iterator[Any]:
    if isinstance(hint, type) and issubclass(hint, pydantic.BaseModel):
        yield hint
    for part in typing.get_args(hint):
        yield from models_in(part)


def test_every_secret_of_every_credential_of_the_sdk_is_hidden() -> None:
    names = [each for each in dir(vapi) if re.fullmatch(r"(?i)create\w+credentialdto", each)]
    assert len(names) > 50
    seen: set[Any] = set()
    fields = {field for name in names for field in names_in(getattr(vapi, name), seen)}
    assert fields > {"apiKey", "privateKey", "authPassword", "connectionString", "openAIKey"}
    assert redact(dict.fromkeys(fields, "a value")).keys() <= PUBLIC


def test_credentials_are_redacted_and_need_their_scope(rest: Rest) -> None:
    sent = {"provider": "openai", "apiKey": "sk-secret", "name": "Ours"}
    made = rest("POST", "/credential", sent)
    assert made.status_code == 201
    shown = [rest("GET", "/credential").content, made.content]
    path = f"/credential/{made.json()['id']}"
    shown += [rest("PATCH", path, {"name": "New"}).content, rest("GET", path).content]
    assert all(b"sk-secret" not in text for text in shown)
    row = StoredResource.objects.get(kind="credential")
    assert row.document["apiKey"] == "sk-secret"
    assert "sk-secret" not in json.dumps(row.document_redacted)
    rest("PATCH", path, {"apiKey": None})
    row.refresh_from_db()
    assert row.document["apiKey"] is None
    writer = Rest(scopes=("read", "write"))
    refused = writer("POST", "/credential", sent)
    assert refused.status_code == 403 and "admin" in refused.json()["message"]


def test_secrets_inside_a_squad_are_write_only(rest: Rest) -> None:
    member = {"assistant": {"name": "A", "server": {"url": "https://h.example", "secret": "s-1"}}}
    made = rest("POST", "/squad", {"name": "S", "members": [member]}).json()
    assert "secret" not in made["members"][0]["assistant"]["server"]
    changed = [{"assistant": {**made["members"][0]["assistant"], "firstMessage": "Hi"}}]
    rest("PATCH", f"/squad/{made['id']}", {"members": changed})
    row = Squad.objects.get(pk=made["id"])
    assert row.document["members"][0]["assistant"]["server"]["secret"] == "s-1"
    assert row.document["members"][0]["assistant"]["firstMessage"] == "Hi"
    assert rest("PATCH", f"/squad/{made['id']}", {"members": None}).status_code == 400


def test_a_file_is_kept_and_handed_out_as_an_attachment(rest: Rest, settings: Any) -> None:
    made = rest.upload("page.html", b"<script>alert(1)</script>")
    assert made.status_code == 201, made.content
    path = f"/file/{made.json()['id']}"
    assert made.json()["url"] == f"{settings.PUBLIC_BASE_URL}{path}/content"
    got = rest("GET", f"{path}/content")
    assert got.content == b"<script>alert(1)</script>"
    assert got["Content-Type"] == "application/octet-stream"
    assert got["Content-Disposition"] == "attachment"
    assert Client().get(f"{path}/content").status_code == 401
    rest("PATCH", path, {"name": "Page", "bytes": 1, "mimetype": "x", "metadata": {"a": 1}})
    shown = rest("GET", path).json()
    assert (shown["name"], shown["bytes"], shown["metadata"]) == ("Page", 25, {"a": 1})
    rest("DELETE", path)
    assert rest("GET", f"{path}/content").status_code == 404
    assert StoredResource.objects.get(kind="file").content is None


def test_odd_uploads_are_refused(rest: Rest, monkeypatch: pytest.MonkeyPatch) -> None:
    assert rest("POST", "/file", {"name": "x"}).status_code == 415
    assert rest.upload("a.txt", b"x", purpose="fun").status_code == 400
    assert rest.upload("a.txt", b"x", metadata="[1]").status_code == 400
    assert rest.upload("a.txt", b"x", metadata="{").status_code == 400
    many = {f"field{index}": "x" for index in range(1100)}
    assert rest.upload("a.txt", b"x", **many).status_code == 400
    empty = Client().post("/file", {"a": "b"}, headers={"authorization": f"Bearer {rest.clear}"})
    assert empty.status_code == 400 and empty.json()["message"][0].startswith("file ")
    monkeypatch.setattr(files, "MAX_FILE_BYTES", 10)
    assert rest.upload("a.txt", b"x" * 11).status_code == 413
    assert not StoredResource.objects.exists()


def test_a_number_that_answers_here_keeps_what_answers(rest: Rest) -> None:
    number = factories.make_number(rest.organisation)
    path = f"/phone-number/{number.pk}"
    for patch in ({"assistantId": None}, {"number": "+15550100009"}):
        assert rest("PATCH", path, patch).status_code == 409
    assert rest("PATCH", path, {"provider": "vonage"}).status_code == 400
    assert rest("PATCH", path, {"twilioAccountSid": "AC0"}).status_code == 400
    assert rest("DELETE", path).status_code == 409
    renamed = rest("PATCH", path, {"name": "Desk", "smsEnabled": True}).json()
    assert (renamed["name"], renamed["smsEnabled"]) == ("Desk", True)
    number.refresh_from_db()
    assert (number.name, number.route) == ("Desk", "direct")
    # What the admin changes is what REST shows.
    PhoneNumber.objects.filter(pk=number.pk).update(name="Changed in the admin")
    assert rest("GET", path).json()["name"] == "Changed in the admin"


def test_a_number_starts_on_vapi_and_is_deleted_from_there(rest: Rest) -> None:
    document = twilio(rest)
    made = rest("POST", "/phone-number", document).json()
    row = PhoneNumber.objects.get(pk=made["id"])
    assert (row.route, row.number_e164) == ("vapi", document["number"])
    again = rest("POST", "/phone-number", document)
    assert again.status_code == 400 and "in use" in again.json()["message"][0]
    theirs = Rest()("POST", "/phone-number", {**unknown_account(rest), "number": row.number_e164})
    assert theirs.status_code == 201, "kept, because it is served for somebody else"
    call = factories.make_call(number=row)
    kept = rest("DELETE", f"/phone-number/{row.pk}")
    assert kept.status_code == 409 and "calls" in kept.json()["message"]
    call.delete()
    assert rest("DELETE", f"/phone-number/{row.pk}").json() == made
    assert rest("GET", f"/phone-number/{row.pk}").status_code == 404


def test_a_kept_number_is_served_once_its_account_is_known(rest: Rest) -> None:
    document = unknown_account(rest)
    made = rest("POST", "/phone-number", document).json()
    assert (made["status"], PhoneNumber.objects.count()) == ("blocked", 0)
    assert rest("POST", "/phone-number", document).status_code == 400
    factories.make_account(rest.organisation, account_sid=document["twilioAccountSid"])
    shown = rest("PATCH", f"/phone-number/{made['id']}", {"name": "Desk"}).json()
    assert shown["status"] == "active"
    assert str(PhoneNumber.objects.get().pk) == made["id"]


def test_a_call_is_erased_with_all_that_was_said(rest: Rest) -> None:
    call = factories.make_call(
        rest.organisation, status="ended", turns=[{"text": "the-blue-parrot"}]
    )
    event = factories.make_event(call=call, state="pending")
    path = f"/call/{call.pk}"
    assert rest("DELETE", path).status_code == 409
    OutboxEvent.objects.filter(pk=event.pk).update(state="delivered")
    rest("PATCH", path, {"name": "Angry one"})
    answer = rest("DELETE", path)
    assert answer.status_code == 200 and answer.json()["name"] == "Angry one"
    assert b"the-blue-parrot" not in answer.content
    assert not Call.objects.exists() and not Turn.objects.exists()
    assert not OutboxEvent.objects.exists()
    assert AuditEntry.objects.filter(action="call.delete", target_id=str(call.pk)).exists()


def test_reading_calls_gives_no_right_to_change_them() -> None:
    rest = Rest(scopes=("read", "write"))
    call = factories.make_call(rest.organisation, status="ended")
    for method in ("PATCH", "DELETE"):
        refused = rest(method, f"/call/{call.pk}", {})
        assert refused.status_code == 403 and "calls" in refused.json()["message"]
    count = {"operation": "count", "column": "id"}
    body = {"queries": [{"table": "call", "name": "x", "operations": [count]}]}
    assert Rest(scopes=("read",))("POST", "/analytics", body).status_code == 200


@pytest.mark.parametrize(
    ("path", "route"),
    [
        ("/campaign", "/campaign"),
        (f"/campaign/{UNKNOWN}/contacts", "/campaign/{id}/contacts"),
        ("/v2/knowledge-base/abc123", "/v2/knowledge-base/{id}"),
        ("/customer/+15550100001", "/customer/{id}"),
        ("/session//", "/session"),
        ("/" + "a/" * 20, "/a/a/a/a/a/a/a/a/…"),
        ("/" + "a" * 41, "/{id}"),
    ],
)
def test_forms_of_routes_hold_no_ids(path: str, route: str) -> None:
    assert route_form(path) == route


def test_routes_we_lack_are_counted_for_holders_of_a_key(rest: Rest) -> None:
    for _ in range(3):
        assert rest("GET", f"/campaign/{uuid.uuid4()}").status_code == 404
    assert rest("POST", "/eval/run", {}).json()["message"] == "Cannot POST /eval/run"
    Client().get("/campaign")
    Client().get("/session", headers={"authorization": "Bearer vp_wrong"})
    rows = {(row.method, row.route): row.count for row in UnknownRoute.objects.all()}
    assert rows == {("GET", "/campaign/{id}"): 3, ("POST", "/eval/run"): 1}
    assert {row.organisation for row in UnknownRoute.objects.all()} == {rest.organisation}


def test_the_list_of_routes_we_lack_is_bounded(rest: Rest, monkeypatch: Any) -> None:
    monkeypatch.setattr("voiceplatform.base.unknown_routes.MAX_ROUTES", 2)
    assert MAX_ROUTES == 200
    for word in ("one", "two", "three", "one"):
        assert rest("GET", f"/{word}").status_code == 404
    rows = {row.route: row.count for row in UnknownRoute.objects.all()}
    assert rows == {"/one": 2, "/two": 1}


def test_unknown_routes_obey_the_rate_of_the_key(rest: Rest, monkeypatch: Any) -> None:
    monkeypatch.setattr("voiceplatform.base.rate_limit.take", lambda name: 2.5)
    refused = rest("GET", "/campaign")
    assert (refused.status_code, refused["Retry-After"]) == (429, "3")
    assert refused.json()["statusCode"] == 429
    assert not UnknownRoute.objects.exists()
