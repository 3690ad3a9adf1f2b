"""Missing secrets: each once with all its places, filled through services, tried at the server."""

from __future__ import annotations

import base64
import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest
from django.conf import LazySettings

from assistants.import_services import ImportFile, import_files
from assistants.missing_secrets import (
    MissingSecret,
    NoSuchSecret,
    SecretRefused,
    missing_secrets,
    secret_fill,
    secrets_of,
)
from assistants.models import Assistant, AssistantRevision
from assistants.secret_probe import secret_test
from assistants.services import assistant_publish, revision_document
from tests import factories
from tools.models import ServerCredential, Tool
from tools.services import tool_document, tool_store
from voiceplatform.base.models import AuditEntry, Organisation

pytestmark = [pytest.mark.integration, pytest.mark.django_db]

VALUE = "the-secret-of-the-parrot"
URL = "https://tools.example/vapi"


def function(**server: Any) -> dict[str, Any]:
    return {"type": "function", "function": {"name": "f"}, "server": {"url": URL, **server}}


def make_assistant(document: dict[str, Any], organisation: Organisation | None = None) -> Assistant:
    return assistant_publish(
        organisation=organisation or factories.default_organisation(),
        document={"name": "Desk", "model": {"messages": []}, **document},
        source="import",
        actor=None,
    )


def make_tool(document: dict[str, Any], organisation: Organisation | None = None) -> Tool:
    return tool_store(
        organisation=organisation or factories.default_organisation(),
        document=document,
        actor=None,
    )


def missing() -> list[MissingSecret]:
    return missing_secrets(factories.default_organisation())


def fill(secret: MissingSecret, value: str = VALUE, **options: Any) -> int:
    organisation = factories.default_organisation()
    return secret_fill(organisation, secret.key, value, factories.make_user(), **options)


def current(assistant: Assistant) -> dict[str, Any]:
    revision = Assistant.objects.get(pk=assistant.pk).current_revision
    assert revision is not None
    return revision_document(revision)


def test_one_secret_is_listed_once_and_fills_every_place() -> None:
    tool = make_tool(function(secret="***"))
    two = {"messages": [], "tools": [function(secret="***"), function(secret="${TOOLS}")]}
    assistant = make_assistant({"model": two})
    make_tool(function(secret="***"), factories.make_organisation())
    (secret,) = missing()
    assert (secret.host, secret.header, secret.state) == (
        "tools.example",
        "X-Vapi-Secret",
        "missing",
    )
    assert [(place.kind, place.path) for place in secret.places] == [
        ("assistant", "$.model.tools[0].server.secret"),
        ("assistant", "$.model.tools[1].server.secret"),
        ("tool", "$.server.secret"),
    ]
    assert fill(secret) == 3
    assert missing() == []
    assert [each.state for each in secrets_of(factories.default_organisation())] == ["set"]
    assert tool_document(Tool.objects.get(pk=tool.pk))["server"]["secret"] == VALUE
    assert [each["server"]["secret"] for each in current(assistant)["model"]["tools"]] == [
        VALUE,
        VALUE,
    ]
    assert assistant.revisions.count() == 2
    # What a call reads: the column of the inline tool that the new revision links.
    revision = Assistant.objects.get(pk=assistant.pk).current_revision
    assert revision is not None
    assert {each.server_secret for each in revision.tools.all()} == {VALUE}


def test_the_value_is_in_no_audit_entry_redacted_copy_or_repr() -> None:
    make_assistant({"server": {"url": URL, "secret": "***"}})
    make_tool(function(headers={"Authorization": "Bearer ***"}))
    for secret in missing():
        fill(secret)
    assert VALUE not in str(list(AuditEntry.objects.values()))
    entry = AuditEntry.objects.filter(action="secret.fill").first()
    assert entry is not None
    assert entry.details["host"] == "tools.example"
    assert VALUE not in str(list(Tool.objects.values("document_redacted", "parameters")))
    assert VALUE not in str(list(AssistantRevision.objects.values("document_redacted")))
    assert VALUE not in repr(secrets_of(factories.default_organisation()))


def test_an_import_that_names_a_webhook_secret_makes_it_certain() -> None:
    document = {
        "name": "Desk",
        "model": {"messages": [{"role": "system", "content": "x"}]},
        "serverUrl": URL,
        "isServerUrlSecretSet": True,
    }
    file = ImportFile("desk.json", json.dumps(document).encode())
    report = import_files(
        organisation=factories.default_organisation(),
        files=[file],
        actor=None,
        source="command",
    )
    (secret,) = missing()
    assert (secret.state, secret.places[0].object_id) == ("missing", report.results[0].object_id)
    fill(secret)
    assert missing() == []
    again = import_files(
        organisation=factories.default_organisation(),
        files=[file],
        actor=None,
        source="command",
    )
    assert again.results[0].outcome == "unchanged"


def test_what_an_export_masks_is_certain_and_stars_never_replace_a_secret() -> None:
    tool = function(secret="*****", headers={"X-Api-Key": "***"})
    tool["id"] = "11111111-1111-4111-8111-111111111111"
    file = ImportFile("tool.json", json.dumps(tool).encode())

    def run() -> str:
        report = import_files(
            organisation=factories.default_organisation(),
            files=[file],
            actor=None,
            source="command",
        )
        (result,) = report.results
        lacks = [each.path for each in result.findings if each.state == "secret-missing"]
        return f"{result.outcome} {lacks}"

    assert run() == "created ['$.server.secret', '$.server.headers.X-Api-Key']"
    assert [(each.header, each.state) for each in missing()] == [
        ("X-Api-Key", "missing"),
        ("X-Vapi-Secret", "missing"),
    ]
    for secret in missing():
        fill(secret)
    assert missing() == []
    stored = tool_document(Tool.objects.get())
    assert run() == "unchanged []"
    assert tool_document(Tool.objects.get()) == stored


def test_a_server_without_any_secret_comes_last_as_perhaps() -> None:
    make_tool(function())
    make_tool(function(headers={"X-Key": "***"}))
    assert [(each.header, each.state) for each in missing()] == [
        ("X-Key", "missing"),
        ("X-Vapi-Secret", "perhaps"),
    ]


def test_a_credential_is_sent_as_vapi_sends_it_and_outlives_a_re_import() -> None:
    document = function(credentialId="00000000-0000-4000-8000-00000000c0de")
    tool = make_tool(document)
    (secret,) = missing()
    assert (secret.header, secret.proposed_header) == ("", "Authorization")
    fill(secret)
    stored = tool_document(Tool.objects.get(pk=tool.pk))
    assert stored["server"]["headers"] == {"Authorization": f"Bearer {VALUE}"}
    tool_store(
        organisation=factories.default_organisation(), document=document, actor=None, tool=tool
    )
    assert tool_document(Tool.objects.get(pk=tool.pk)) == stored


def test_a_credential_that_was_entered_or_stored_whole_is_not_missing() -> None:
    plan = {"type": "bearer", "token": VALUE}
    whole = factories.make_resource(kind="credential", authenticationPlan=plan)
    redacted = factories.make_resource(kind="credential", authenticationPlan={"type": "bearer"})
    entered = ServerCredential.objects.create(name="Desk", kind="bearer", plan=plan)
    foreign = ServerCredential.objects.create(
        organisation=factories.make_organisation(), name="Theirs", kind="bearer", plan=plan
    )
    for name, key in (
        *(("a", whole.pk), ("b", redacted.pk)),
        *(("c", entered.credential_id), ("d", foreign.credential_id)),
    ):
        make_tool(function(credentialId=str(key)) | {"function": {"name": name}})
    assert {secret.credential_id for secret in missing()} == {
        *(str(redacted.pk), str(foreign.credential_id)),
    }


@pytest.mark.parametrize("value", ["", "  ", "a\nb", "käse", "x" * 5000])
def test_what_no_header_carries_is_refused(value: str) -> None:
    tool = make_tool(function(secret="***"))
    (secret,) = missing()
    with pytest.raises(SecretRefused) as refusal:
        fill(secret, value)
    assert not value.strip() or value not in str(refusal.value)
    assert tool_document(Tool.objects.get(pk=tool.pk))["server"]["secret"] == "***"


def test_what_is_filled_already_is_not_filled_again() -> None:
    make_tool(function(secret="***"))
    (secret,) = missing()
    fill(secret)
    with pytest.raises(NoSuchSecret):
        fill(secret, "another")
    with pytest.raises(NoSuchSecret):
        secret_test(factories.default_organisation(), "no-such-key", None)


class Asked(BaseHTTPRequestHandler):
    """Lets in who knows the secret, and repeats what it was told."""

    def do_POST(self) -> None:
        self.server.bodies.append(  # type: ignore[attr-defined]  # set by the fixture
            self.rfile.read(int(self.headers["Content-Length"]))
        )
        said = [f"you said {self.headers.get('X-Vapi-Secret')}"]
        if "?" in self.path:  # a server that shows what it was asked, in every form
            query = parse_qs(urlsplit(self.path).query)
            said += [self.path, *(each for values in query.values() for each in values)]
            said += [self.headers.get("Authorization", ""), json.dumps(query), "x" * 4096]
        self.answer(" ".join(said).encode())

    def do_HEAD(self) -> None:
        self.answer(b"")

    def answer(self, body: bytes) -> None:
        known = self.headers.get("X-Vapi-Secret") == VALUE
        self.send_response(200 if known else 401)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *args: Any) -> None:
        """Stay silent."""


@pytest.fixture
def server(settings: LazySettings) -> Iterator[HTTPServer]:
    settings.EGRESS_ALLOW = ["127.0.0.0/8"]
    made = HTTPServer(("127.0.0.1", 0), Asked)
    made.bodies = []  # type: ignore[attr-defined]  # for the handler
    thread = threading.Thread(target=made.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    yield made
    made.shutdown()
    thread.join()
    made.server_close()


def at(server: HTTPServer, **more: Any) -> dict[str, Any]:
    url = f"http://127.0.0.1:{server.server_port}/vapi"
    return {"type": "function", "function": {"name": "f"}, "server": {"url": url} | more}


def probe(**options: Any) -> Any:
    organisation = factories.default_organisation()
    (secret,) = secrets_of(organisation)
    (result,) = secret_test(organisation, secret.key, None, **options)
    return result


def test_a_probe_sends_no_body_unless_the_owner_allows_it(server: HTTPServer) -> None:
    make_tool(at(server))
    assert (probe().verdict, probe().status) == ("refused", 401)
    assert probe(value="wrong").words.endswith("the secret is wrong.")
    assert probe(value=VALUE).verdict == "unsure"
    assert server.bodies == []  # type: ignore[attr-defined]  # set by the fixture
    result = probe(value=VALUE, may_post=True)
    assert (result.verdict, result.method, result.excerpt) == ("ok", "POST", "you said ***")
    (body,) = server.bodies  # type: ignore[attr-defined]  # set by the fixture
    assert json.loads(body)["message"]["type"] == "voiceplatform-secret-test"
    assert AuditEntry.objects.filter(action="secret.test").count() == 5


def test_a_stored_secret_is_tried_without_being_shown(server: HTTPServer) -> None:
    make_tool(at(server, secret=VALUE))
    result = probe(may_post=True)
    assert result.verdict == "ok"
    assert VALUE not in repr(result)


def test_no_secret_of_the_address_is_shown_when_a_server_repeats_it(server: HTTPServer) -> None:
    url = f"http://us%20er:p%2Fw@127.0.0.1:{server.server_port}/v;key=k-1?token=t%20%22-%2F1&a=b"
    make_tool(at(server, url=url, secret=VALUE))
    result = probe(may_post=True)
    assert result.excerpt.startswith("you said *** /v;key=***?token=***&a=b ")
    told = base64.b64encode(b"us er:p/w").decode()
    for each in ("k-1", "t%20", 't "-/1', "t+%22", "us er", "p/w", told, VALUE):
        assert each not in repr(result)


def test_addresses_that_may_not_be_reached_are_not(settings: LazySettings) -> None:
    settings.EGRESS_ALLOW = []
    make_tool({"type": "function", "server": {"url": "http://127.0.0.1:9/x", "secret": VALUE}})
    result = probe()
    assert (result.verdict, result.status) == ("failed", None)
    assert "loopback" in result.words
