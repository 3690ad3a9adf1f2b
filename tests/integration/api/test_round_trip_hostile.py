"""Legal documents that nobody expects come back value for value, and keep their secrets.

Keys that look like ours, falsy values and empty containers at every level, numbers at the edges,
long texts; on every kind of object that REST takes.
"""

from __future__ import annotations

import json
import uuid
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from assistants.diff import changes
from assistants.export_services import export_of
from assistants.models import Assistant
from calls.services.call_plan import offered_tools
from calls.services.sessions import tool_specs
from tests.integration.api.client import Rest
from tests.integration.api.test_round_trip import SERVER_FIELDS, stored
from voiceplatform.base.redaction import redact

pytestmark = [pytest.mark.integration, pytest.mark.django_db]

NOTHING: list[Any] = [None, False, 0, -0.0, 0.0, "", [], {}, [[]], [{}], {"": None}, [None, [], {}]]
NUMBERS: list[Any] = [10**300, -(10**40), 2**63, 1e300, 5e-324, 1.0, -1e-7, 0.1, 1e22, 123456789.5]
TEXTS: list[Any] = ["ü" * 3, "\u202e\u0007\t\r\n", "𝒳é", "a" * 70_000, "\ufeff", "null", "***", " "]
TEXTS += ["https://h.example/a?b=c&token=t", "h.example/a;token=t", "${SECRET:A}", "{{ token }}"]
KEYS = [
    *("id", "orgId", "createdAt", "type", "provider", "name", "key", "value", "document", "server"),
    *("headers", "url", "secret", "token", "credentials", "properties", "enum", "default", "$ref"),
    *("", " ", "a.b", "a__b", "ключ", "__proto__", "pk", "exportedFrom", "isServerUrlSecretSet"),
]
VALUES = st.recursive(
    st.sampled_from([*NOTHING, *NUMBERS, *TEXTS, True]) | st.text(max_size=3),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(KEYS), inner, max_size=4)
    ),
    max_leaves=12,
).filter(lambda value: is_storable(value))

KINDS: dict[str, dict[str, Any]] = {
    "assistant": {"name": "A", "model": {"provider": "openai", "messages": []}},
    "tool": {"type": "function", "function": {"name": "f", "parameters": {"type": "object"}}},
    "squad": {"name": "S", "members": [{"assistant": {"name": "M"}}]},
    "phone-number": {"provider": "byo-phone-number", "credentialId": str(uuid.UUID(int=1))},
    "structured-output": {"name": "O", "type": "ai", "schema": {"type": "object"}},
    "credential": {"provider": "webhook", "name": "C"},
}


def is_storable(value: Any) -> bool:
    """Tell whether the body's reader takes it: no NUL, no half of a surrogate pair."""
    try:
        return "\\u0000" not in json.dumps(value) and bool(str(value).encode())
    except UnicodeEncodeError:
        return False


def same(one: Any, other: Any) -> bool:
    """Tell whether two values are the same in JSON, where 1, 1.0 and true are three.

    PostgreSQL writes large floats out as integers of the same double, and knows no minus zero.
    """
    if isinstance(one, dict) and isinstance(other, dict):
        return one.keys() == other.keys() and all(same(one[key], other[key]) for key in one)
    if isinstance(one, list) and isinstance(other, list):
        return len(one) == len(other) and all(map(same, one, other))
    if isinstance(one, float) and isinstance(other, int) and not isinstance(other, bool):
        return one == float(other)
    return type(one) is type(other) and one == other


def check(rest: Rest, kind: str, sent: dict[str, Any]) -> None:
    made = rest("POST", f"/{kind}", sent)
    assert made.status_code == 201, made.content
    path = f"/{kind}/{made.json()['id']}"
    shown = rest("GET", path).json()
    wanted = redact(sent)
    assert same(wanted, {name: shown.get(name) for name in wanted})
    assert shown.keys() - sent.keys() <= SERVER_FIELDS | {"isServerUrlSecretSet", "status"}
    before = stored(rest, kind, shown["id"])
    assert same(before, sent)
    again = rest("PATCH", path, {**shown, "name": "E"} if kind != "tool" else shown)
    assert again.status_code == 200, again.content
    after = stored(rest, kind, shown["id"])
    assert same(before | ({"name": "E"} if kind != "tool" else {}), after)
    listed = [each for each in rows_of(rest, kind) if each["id"] == shown["id"]]
    assert same(listed, [rest("GET", path).json()])
    assert rest("DELETE", path).status_code == 200


def rows_of(rest: Rest, kind: str) -> Any:
    answer = rest("GET", f"/{kind}").json()
    return answer["results"] if isinstance(answer, dict) else answer


@pytest.mark.parametrize("kind", KINDS)
def test_every_odd_value_comes_back(kind: str) -> None:
    rest = Rest(scopes=("read", "write", "admin"))
    odd = [*NOTHING, *NUMBERS, *TEXTS]
    keys = {key: {"a": [index, odd[index % len(odd)]]} for index, key in enumerate(KEYS)}
    check(rest, kind, {**KINDS[kind], "odd": odd, "keys": keys, "": {"": odd}, "ключ": None})


@settings(max_examples=5, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    kind=st.sampled_from(sorted(KINDS)),
    extra=st.dictionaries(st.sampled_from(["metadata", "x", "plan"]), VALUES, max_size=3),
)
def test_whatever_is_legal_comes_back(kind: str, extra: dict[str, Any]) -> None:
    check(Rest(scopes=("read", "write", "admin")), kind, {**KINDS[kind], **extra})


LEAK = "leak-of-the-parrot"
NAMED = ("credentials", "password", "token", "secret", "apiKey", "headers")


def test_arguments_named_like_secrets_are_told_everywhere_and_their_values_nowhere() -> None:
    rest = Rest()
    properties = {name: {"type": "string", "description": "Ask for it."} for name in NAMED}
    fixed = {"type": "string", "default": LEAK}
    schema = {"type": "object", "properties": {**properties, "authToken": fixed}}
    schema["required"] = [*NAMED, "authToken"]
    tool = {"type": "function", "function": {"name": "f", "parameters": schema}}
    made = rest("POST", "/tool", tool).json()
    document = {"name": "A", "model": {"tools": [tool], "toolIds": [made["id"]]}}
    assistant = rest("POST", "/assistant", document).json()
    # What REST shows, saved and inline; sent back it loses nothing.
    (inline,) = assistant["model"]["tools"]
    for shown in (made, inline, *rest("GET", "/tool").json()):
        told = shown["function"]["parameters"]["properties"]
        assert told == {**properties, "authToken": {"type": "string"}}
    before = stored(rest, "assistant", assistant["id"])
    assert rest("PATCH", f"/assistant/{assistant['id']}", assistant).status_code == 200
    assert stored(rest, "assistant", assistant["id"]) == before
    # What a session offers: the fixed one need not be given.
    revision = Assistant.objects.get(pk=assistant["id"]).current_revision
    assert revision is not None
    for spec in tool_specs(offered_tools(revision), str):
        assert {*spec.parameters["properties"]} == {*NAMED, "authToken"}
        assert "authToken" not in spec.parameters["required"]
        assert LEAK not in repr(spec)
    # Exports and comparisons.
    exported = "".join(export_of(rest.organisation).files.values())
    compared = changes(tool, {**tool, "function": {"name": "f"}})
    for name in NAMED:
        assert f'"{name}": {{' in exported
        assert name in repr(compared)
    assert LEAK not in exported + repr(compared) + json.dumps([made, assistant])
