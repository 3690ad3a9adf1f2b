"""What a client sends is what it gets: every document of the corpus, and one of each other kind.

POST then GET equals what was sent, secrets apart, plus the server's own fields; PATCH of one field
leaves all others identical; sending back what was shown loses no secret (design.md 2, item 13).
"""

from __future__ import annotations

import uuid
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
from django.utils import timezone

from assistants import resource_services, squad_services
from assistants.models import Assistant, Squad, StoredResource
from assistants.services import revision_document
from assistants.wire.files import read_file
from assistants.wire.vapi_config import read_assistant
from assistants.wire.vapi_squad import assistant_ids
from assistants.yaml12 import parse_yaml
from calls.selectors.numbers import number_by_id
from calls.services.number_documents import number_document
from tests import factories
from tests.integration.api.client import Rest
from tools.models import Tool
from tools.services import tool_document
from voiceplatform.base.redaction import redact

pytestmark = [pytest.mark.integration, pytest.mark.django_db]

FIXTURES = Path(__file__).parents[2] / "fixtures" / "vapi"
SERVER_FIELDS = {"id", "orgId", "createdAt", "updatedAt"}
ADDED = {
    "assistant": {"isServerUrlSecretSet"},
    "phone-number": {"status"},
}
# Dropped on the way in (vapi.md 2.2), so they are no part of what comes back.
COMPUTED = SERVER_FIELDS | {
    *("analyticsMetadata", "isDeleted", "isServerUrlSecretSet", "workflowIds"),
    *("latestVersion", "modelDeprecations", "status"),
}
# Objects of the corpus that no API could take as they stand, with the field that is refused: names
# where ids belong, and shapes that only an importer can mend.
REFUSED = {
    ("assistants", "001-vapi-alex.json"): "model.toolIds.0 ",
    ("squads", "011-mgr-string.json"): "members.0.assistantId ",
    ("squads", "012-mgr-members-yaml.json"): "members.0 ",
    ("own/assistants", "04-model-as-string.json"): "model ",
    ("own/assistants", "05-utf16-bom-crlf.json"): "model.messages ",
    ("own/tools", "04-name-with-space.json"): "function.name ",
}
ROUTES = {"assistants": "assistant", "tools": "tool", "squads": "squad"}


def corpus(folder: str) -> Iterator[tuple[str, dict[str, Any]]]:
    for path in sorted((FIXTURES / folder).glob("*.json")):
        reading = read_file(path.name, path.read_bytes(), parse_yaml)
        for found in reading.found:
            yield path.name, dict(found.value)


def make_what_it_names(rest: Rest, document: Mapping[str, Any]) -> None:
    """Make the saved tools and assistants that a document refers to."""
    for text in filter(is_id, read_assistant(document).tool_ids):
        if not Tool.objects.filter(pk=text).exists():
            factories.make_tool(rest.organisation, id=uuid.UUID(text))
    now = timezone.now()
    for text in filter(is_id, assistant_ids(document)):
        Assistant.objects.get_or_create(
            id=text,
            defaults={"organisation": rest.organisation, "created_at": now, "updated_at": now},
        )


def is_id(text: str) -> bool:
    try:
        return bool(uuid.UUID(text))
    except ValueError:
        return False


def stored(rest: Rest, kind: str, object_id: str) -> dict[str, Any]:
    """Return what is stored, secrets included."""
    if kind == "assistant":
        revision = Assistant.objects.get(pk=object_id).current_revision
        assert revision is not None
        return revision_document(revision)
    if kind == "tool":
        return tool_document(Tool.objects.get(pk=object_id))
    if kind == "squad":
        return squad_services.squad_document(Squad.objects.get(pk=object_id))
    if kind == "phone-number":
        found = number_by_id(rest.organisation, uuid.UUID(object_id))
        assert found is not None
        return number_document(found)
    return resource_services.resource_document(StoredResource.objects.get(pk=object_id))


def check(rest: Rest, kind: str, sent: dict[str, Any], added: frozenset[str]) -> None:
    """Hold one document to the three rules."""
    made = rest("POST", f"/{kind}", sent)
    assert made.status_code == 201, made.content
    path = f"/{kind}/{made.json()['id']}"
    shown = rest("GET", path).json()
    assert shown == made.json()
    kept = {name: value for name, value in sent.items() if name not in COMPUTED}
    own = {name: value for name, value in shown.items() if name not in SERVER_FIELDS | added}
    assert own == redact(kept)
    assert shown.keys() >= SERVER_FIELDS
    before = stored(rest, kind, shown["id"])
    assert before == kept
    # What was shown is edited and sent back, as every script does it.
    name = "Edited"
    edited = rest("PATCH", path, {**shown, "name": name})
    assert edited.status_code == 200, edited.content
    assert stored(rest, kind, shown["id"]) == {**before, "name": name}
    # One field alone.
    patched = rest("PATCH", path, {"name": "Again"}).json()
    assert {**patched, "name": name, "updatedAt": ""} == {**edited.json(), "updatedAt": ""}


@pytest.mark.parametrize(
    "folder",
    [*ROUTES, *(f"own/{folder}" for folder in ROUTES)],
)
def test_the_corpus_returns_value_for_value(folder: str) -> None:
    rest, kind = Rest(), ROUTES[folder.removeprefix("own/")]
    seen = 0
    for name, document in corpus(folder):
        make_what_it_names(rest, document)
        refused = REFUSED.get((folder, name))
        if refused is not None:
            answer = rest("POST", f"/{kind}", document)
            assert answer.status_code == 400
            assert answer.json()["message"][0].startswith(refused), answer.json()
        else:
            check(rest, kind, document, frozenset(ADDED.get(kind, ())))
        seen += 1
    assert seen >= 1


def twilio(rest: Rest) -> dict[str, Any]:
    account = factories.make_account(rest.organisation)
    return {
        "provider": "twilio",
        "number": factories.phone_e164(),
        "twilioAccountSid": account.account_sid,
        "twilioAuthToken": "token-secret",
        "twilioApiSecret": "api-secret",
        "smsEnabled": False,
        "name": "Front line",
        "server": {"url": "https://h.example/x?token=t-1", "secret": "s-1", "timeoutSeconds": 20},
        "fallbackDestination": {"type": "number", "number": "+15550100009"},
        "hooks": [{"on": "call.ringing", "do": [{"type": "say", "exact": "Hi"}]}],
        "assistantId": None,
        "unknownField": {"deep": [1, None, 2.5]},
    }


def unknown_account(rest: Rest) -> dict[str, Any]:
    return {**twilio(rest), "twilioAccountSid": "AC" + "0" * 32}


NUMBERS: dict[str, Callable[[Rest], dict[str, Any]]] = {
    "twilio": twilio,
    "twilio-unknown-account": unknown_account,
    "vapi": lambda rest: {
        "provider": "vapi",
        "sipUri": "sip:desk@sip.vapi.ai",
        "authentication": {"username": "desk", "password": "pw-secret"},
        "name": "SIP",
    },
    "vonage": lambda rest: {
        "provider": "vonage",
        "number": "14155550100",
        "credentialId": str(uuid.uuid4()),
        "name": "V",
    },
    "telnyx": lambda rest: {
        "provider": "telnyx",
        "number": "+14155550101",
        "credentialId": str(uuid.uuid4()),
        "name": "T",
    },
    "byo": lambda rest: {
        "provider": "byo-phone-number",
        "credentialId": str(uuid.uuid4()),
        "numberE164CheckEnabled": False,
        "number": "1234",
        "name": "B",
    },
}


@pytest.mark.parametrize("which", NUMBERS)
def test_numbers_of_every_provider_return_value_for_value(which: str) -> None:
    rest = Rest()
    check(rest, "phone-number", NUMBERS[which](rest), frozenset({"status"}))


SCHEMA = {"type": "object", "properties": {"a": {"type": ["string", "null"], "oneOf": [{}]}}}
RESOURCES: dict[str, dict[str, Any]] = {
    "credential": {
        "provider": "webhook",
        "name": "Hook",
        "authenticationPlan": {"type": "oauth2", "clientId": "c", "clientSecret": "s-1"},
    },
    "structured-output": {
        "name": "Outcome",
        "type": "ai",
        "schema": SCHEMA,
        "assistantIds": [],
        "model": {"provider": "openai", "model": "gpt-4.1"},
    },
    "eval": {
        "name": "Books",
        "type": "chat.mockConversation",
        "messages": [{"role": "user", "content": "Hi"}, {"role": "assistant", "judgePlan": {}}],
    },
    "eval/simulation/personality": {
        "name": "Angry",
        "assistant": {"model": {"provider": "openai"}, "server": {"secret": "s-2"}},
    },
    "eval/simulation/scenario": {
        "name": "Books a table",
        "instructions": "Ask for a table.",
        "evaluations": [{"structuredOutputId": str(uuid.uuid4()), "value": True}],
        "hooks": [],
    },
    "eval/simulation": {
        "name": "Angry booking",
        "scenarioId": str(uuid.uuid4()),
        "personalityId": str(uuid.uuid4()),
    },
    "eval/simulation/suite": {"name": "All", "simulationIds": [str(uuid.uuid4())]},
}


@pytest.mark.parametrize("kind", RESOURCES)
def test_stored_resources_return_value_for_value(kind: str) -> None:
    rest = Rest(scopes=("read", "write", "admin"))
    sent = {**RESOURCES[kind], "unknownField": {"n": 1.5, "empty": [], "null": None}}
    check(rest, kind, sent, frozenset())
