"""What an import says of each field: prompt, voice, greeting, server, tools, every other leaf."""

from __future__ import annotations

import uuid
from typing import Any

import pytest

from assistants.findings import STATES, account, leaves
from assistants.importing import Draft, drafts_of, with_missing_tools
from assistants.voices import REALTIME_VOICES, stand_in
from assistants.wire.files import FileReading, Found
from assistants.wire.vapi_config import read_assistant
from tools.switches import read_switches

pytestmark = pytest.mark.unit

ORGANISATION = uuid.UUID(int=7)
PROMPT = {"messages": [{"role": "system", "content": "Be kind."}]}
_PLAN, HEARD = "$.compliancePlan.recordingConsentPlan", "caller-audible"


def _consent(kind: str, message: str, **more: Any) -> dict[str, Any]:
    plan = {"type": kind, "message": message, **more}
    return {"compliancePlan": {"recordingConsentPlan": plan}}


def draft(value: dict[str, Any], kind: Any = "assistant") -> Draft:
    reading = FileReading("a.json", (Found("a.json", "$", kind, value),))
    (found,) = with_missing_tools(drafts_of([reading], organisation_id=ORGANISATION), ())
    return found


def states(value: dict[str, Any], kind: Any = "assistant") -> dict[str, str]:
    found: dict[str, str] = {}
    for finding in draft(value, kind).findings:
        found.setdefault(finding.path, finding.state)
    return found


def words(value: dict[str, Any], path: str, kind: Any = "assistant") -> str:
    return " ".join(f.message for f in draft(value, kind).findings if f.path == path)


@pytest.mark.parametrize(
    ("document", "instructions", "expected"),
    [
        ({"model": PROMPT}, "Be kind.", {"$.model.messages[0].content": "mapped"}),
        (
            {"model": {**PROMPT, "systemPrompt": "Be rude."}},
            "Be kind.",
            {"$.model.messages[0].content": "mapped", "$.model.systemPrompt": "kept"},
        ),
        ({"model": {"systemPrompt": "A"}}, "A", {"$.model.systemPrompt": "mapped"}),
        ({"systemPrompt": "A"}, "A", {"$.systemPrompt": "mapped"}),
        ({"systemMessage": "A", "voice": {}}, "A", {"$.systemMessage": "mapped"}),
        ({"prompt": "A", "context": "B"}, "A\n\nB", {"$.prompt": "mapped", "$.context": "mapped"}),
        ({"context": "B"}, "B", {"$.context": "mapped"}),
        ({"model": PROMPT, "context": "B"}, "Be kind.", {"$.context": "kept"}),
        ({"model": {"messages": ""}, "prompt": "A"}, "A", {"$.prompt": "mapped"}),
        ({"model": {"messages": [{"role": "system", "content": " "}]}}, "", {}),
    ],
)
def test_prompt_wherever_it_is(
    document: dict[str, Any], instructions: str, expected: dict[str, str]
) -> None:
    assert read_assistant(document).instructions == instructions
    found = states(document)
    assert expected.items() <= found.items()
    assert (found.get("$.model.messages") == "invalid") == (not instructions)


def test_a_variable_in_the_prompt_is_named() -> None:
    text = '{{"now" | date: "%A", "Europe/Berlin"}} {% if x %}a{% endif %} {{ customer.number }}'
    document = {"model": {"messages": [{"role": "system", "content": text}]}}
    assert states(document)["$.model.messages[0].content"] == "mapped-lossy"
    assert "customer.number" in words(document, "$.model.messages[0].content")
    assert read_assistant(document).instructions == text


def test_comments_never_reach_the_instructions() -> None:
    document = {
        "_comment_old": "You are a pirate.",
        "model": {**PROMPT, "_comment": "You are a pirate."},
    }
    assert "pirate" not in read_assistant(document).instructions
    assert states(document)["$._comment_old"] == "kept"


@pytest.mark.parametrize(
    ("voice", "name", "state"),
    [
        ({"provider": "openai", "voiceId": "shimmer"}, "shimmer", "mapped"),
        ("alloy", "alloy", "mapped"),
        ({"provider": "11labs", "voiceId": "21m00Tcm4TlvDq8ikWAM"}, "marin", "caller-audible"),
        ({"provider": "elevenlabs", "voiceId": "sarah"}, "coral", "caller-audible"),
        ({"provider": "eleven-labs", "voiceId": "Matilda"}, "marin", "caller-audible"),
        ({"provider": "vapi", "voiceId": "Elliot"}, "cedar", "caller-audible"),
        ({"provider": "deepgram", "voiceId": "aura-2-thalia-en"}, "coral", "caller-audible"),
        ({"provider": "openai", "voiceId": "onyx"}, "cedar", "caller-audible"),
        ({"provider": "11labs", "voiceId": "aClone0000000000000x"}, "marin", "caller-audible"),
        ({"provider": "11labs"}, "marin", "caller-audible"),
        (None, "marin", "caller-audible"),
        ({"options": ["a", "b"]}, "marin", "caller-audible"),
    ],
)
def test_voice(voice: Any, name: str, state: str) -> None:
    document = {"model": PROMPT, "voice": voice}
    assert read_assistant(document).voice == name
    assert states(document)["$.voice"] == state
    if state == "caller-audible":
        assert name in words(document, "$.voice")


def test_the_old_voice_is_named_as_people_know_it() -> None:
    document = {"voice": {"provider": "eleven-labs", "voiceId": "21m00Tcm4TlvDq8ikWAM"}}
    assert "11labs Rachel" in words(document, "$.voice")


def test_the_voice_table_leads_to_realtime_voices_only() -> None:
    for provider in ("vapi", "11labs", "openai", "azure", "deepgram", "minimax", "other"):
        for voice in ("Elliot", "nova", "thalia", "andrew", "sarah", "", "x"):
            assert stand_in(provider, voice).voice in REALTIME_VOICES


@pytest.mark.parametrize(
    ("document", "path", "state"),
    [
        ({"firstMessage": ""}, "$.firstMessage", "mapped"),
        ({}, "$.firstMessage", "caller-audible"),
        ({"firstMessage": "Hi"}, "$.firstMessage", "mapped"),
        ({"firstMessage": "Hi {{name}}"}, "$.firstMessage", "caller-audible"),
        ({"firstMessage": "https://x.example/a.mp3"}, "$.firstMessage", "caller-audible"),
        ({"firstMessage": ["Hi"]}, "$.firstMessage", "invalid"),
        ({"firstMessageMode": "wait-for-user"}, "$.firstMessageMode", "invalid"),
        ({"maxDurationSeconds": 600}, "$.maxDurationSeconds", "mapped"),
        ({"maxDurationSeconds": 5}, "$.maxDurationSeconds", "mapped-lossy"),
        ({"maxDurationSeconds": "600"}, "$.maxDurationSeconds", "mapped-lossy"),
        ({"transcriber": {"language": "de"}}, "$.transcriber.language", "mapped"),
        ({"transcriber": {"language": "en-US"}}, "$.transcriber.language", "mapped-lossy"),
        ({"transcriber": {"language": "multi"}}, "$.transcriber.language", "mapped"),
        ({"transcriber": {"language": "klingon"}}, "$.transcriber.language", "invalid"),
        ({"backgroundSound": "off"}, "$.backgroundSound", "mapped"),
        ({}, "$.backgroundSound", "caller-audible"),
        ({"backgroundSound": "office"}, "$.backgroundSound", "caller-audible"),
        ({"model": "gpt-4o"}, "$.model", "mapped-lossy"),
        ({"model": {"model": "gpt-realtime-mini"}}, "$.model.model", "mapped"),
        ({"serverUrl": "https://x.example"}, "$.serverUrl", "mapped"),
        ({"serverUrl": "${HOST}/x"}, "$.serverUrl", "invalid"),
        ({"server": {"url": "ftp://x"}}, "$.server.url", "invalid"),
        ({"server": {"url": "https://["}}, "$.server.url", "invalid"),
        ({"server": {"url": "http://x.example"}}, "$.server.url", "mapped-lossy"),
        ({"server": {"url": "https://x.example"}}, "$.server", "secret-missing"),
        ({"serverUrlSecret": "{{SECRET}}"}, "$.serverUrlSecret", "secret-missing"),
        ({"isServerUrlSecretSet": True}, "$.isServerUrlSecretSet", "secret-missing"),
        ({"hipaaEnabled": True}, "$.hipaaEnabled", "mapped"),
        ({"compliancePlan": {"pciEnabled": True}}, "$.compliancePlan.pciEnabled", "mapped"),
        (
            {"compliancePlan": {"securityFilterPlan": {"enabled": True}}},
            "$.compliancePlan.securityFilterPlan",
            "unsupported",
        ),
        (_consent("verbal", "May we record?"), f"{_PLAN}.message", "mapped-lossy"),
        (_consent("verbal", "May we record?"), f"{_PLAN}.type", "mapped"),
        (_consent("hang-up-to-decline", "We record."), f"{_PLAN}.message", "mapped-lossy"),
        (_consent("stay-on-line", "We record.", waitSeconds=2), f"{_PLAN}.waitSeconds", HEARD),
        (_consent("verbal", "?", declineToolId="t"), f"{_PLAN}.declineToolId", "mapped-lossy"),
        (_consent("verbal", " "), _PLAN, "unsupported"),
        (_consent("telepathy", "May we?"), _PLAN, "unsupported"),
        ({"hipaaEnabled": False}, "$.hipaaEnabled", "kept"),
        ({"hooks": [{"on": "call.ending"}]}, "$.hooks", "unsupported"),
        ({"metadata": {"a": "@{role=bot; time=1}"}}, "$.metadata.a", "invalid"),
        ({"id": "not-a-uuid"}, "$.id", "invalid"),
    ],
)
def test_field(document: dict[str, Any], path: str, state: str) -> None:
    assert states({"voice": {}, **document})[path] == state


@pytest.mark.parametrize(("language", "code"), [("multi", ""), (None, "en"), ("en-US", "en")])
def test_language_that_the_model_is_to_recognise_is_empty(language: Any, code: str) -> None:
    assert read_assistant({"transcriber": {"language": language}}).language == code


def tool_types(document: dict[str, Any]) -> list[str]:
    return [str(tool["type"]) for tool in read_assistant(document).inline_tools]


def test_tools_in_every_old_place_become_tools() -> None:
    function = {"name": "a", "description": "b", "parameters": {"type": "object"}}
    document = {
        "model": {
            "tools": [{"type": "function", **function}, "junk", {"type": "transferCall"}],
            "functions": [{**function, "name": "c", "serverUrl": "https://x.example"}],
        },
        "functions": [{**function, "name": "c"}],
        "tools": [{"type": "dtmf"}],
        "endCallFunctionEnabled": True,
        "dialKeypadFunctionEnabled": True,
        "forwardingPhoneNumber": "+15550100001",
    }
    tools = read_assistant(document).inline_tools
    assert tool_types(document) == ["function", "transferCall", "function", "dtmf", "endCall"]
    assert tools[0] == {"type": "function", "function": function}
    assert tools[1]["destinations"] == [{"type": "number", "number": "+15550100001"}]
    # vapi.md 4.4: the server of an old function waits for the old message.
    assert [tool["function"]["name"] for tool in tools if read_switches(tool).legacy_message] == [
        "c"
    ]
    assert tools[2]["server"] == {"url": "https://x.example"}
    found = states(document)
    assert found["$.model.tools[1]"] == "invalid"
    assert found["$.model.functions[0]"] == "mapped"
    assert found["$.dialKeypadFunctionEnabled"] == "mapped-lossy"


@pytest.mark.parametrize(
    ("tool", "path", "state"),
    [
        ({"type": "endCall"}, "$.type", "mapped"),
        ({"type": "apiRequest", "url": "https://x.example"}, "$.url", "mapped"),
        ({"type": "google.sheets.row.append"}, "$.type", "unsupported"),
        (
            {"type": "function", "function": {"name": "two words"}},
            "$.function.name",
            "mapped-lossy",
        ),
        ({"type": "function", "function": {}}, "$.function", "invalid"),
        (
            {"type": "function", "function": {"name": "a", "parameters": "none"}},
            "$.function.parameters",
            "invalid",
        ),
        ({"type": "transferCall"}, "$.destinations", "mapped"),
        (
            {"type": "transferCall", "destinations": [{"type": "number", "number": "911"}]},
            "$.destinations[0].number",
            "invalid",
        ),
        (
            {"type": "transferCall", "destinations": [{"type": "sip", "sipUri": "sip:a@b"}]},
            "$.destinations[0]",
            "unsupported",
        ),
        (
            {"type": "transferCall", "destinations": [{"number": "+15550100001"}]},
            "$.destinations[0].number",
            "mapped",
        ),
        (
            {"type": "transferCall", "destinations": [{"number": "+15550100001"}] * 2},
            "$.destinations[1].number",
            "unsupported",
        ),
        (
            {"type": "transferCall", "destinations": [{"message": "A {{b}}", "number": "1"}]},
            "$.destinations[0].message",
            "mapped",
        ),
        (
            {"type": "transferCall", "destinations": [{"number": "{{desk}}"}]},
            "$.destinations[0].number",
            "mapped-lossy",
        ),
        (
            {"type": "transferCall", "destinations": [{"number": "${DESK}"}]},
            "$.destinations[0].number",
            "unsupported",
        ),
        (
            {"type": "function", "parameters": [{"key": "a", "value": "{{b}}"}]},
            "$.parameters",
            "mapped",
        ),
        ({"type": "bash", "name": "bash"}, "$.function", "mapped"),
        (
            {
                "type": "function",
                "function": {"name": "a"},
                "server": {"credentialId": "x", "url": "https://x.example"},
            },
            "$.server.credentialId",
            "secret-missing",
        ),
        (
            {
                "type": "function",
                "function": {"name": "a"},
                "server": {"url": "https://x.example", "backoffPlan": {"maxRetries": 2}},
            },
            "$.server.backoffPlan",
            "mapped",
        ),
    ],
)
def test_tool(tool: dict[str, Any], path: str, state: str) -> None:
    assert states(tool, "tool")[path] == state


@pytest.mark.parametrize(
    "fields", [{"server": {"url": "https://x.example"}}, {"serverUrl": "https://x.example"}]
)
def test_the_server_of_a_number_answers_tools(fields: dict[str, Any]) -> None:
    number = {"provider": "twilio", "number": "+15550100001", **fields}
    (name,) = fields
    assert states(number, "phone-number")[f"$.{name}"] == "mapped-lossy"


def test_every_leaf_has_exactly_one_state() -> None:
    document = {
        "id": str(uuid.UUID(int=1)),
        "model": {**PROMPT, "numFastTurns": 1, "tools": [{"type": "endCall"}], "toolIds": []},
        "tools:append": [{"type": "dtmf"}],
        "analysisPlan": {"summaryPlan": {"enabled": False}},
        "x y": {"a.b": [1, {"c": None}]},
    }
    found = draft(document)
    listed = account(document, found.findings, found.marks)
    assert [path for path, _ in listed] == list(leaves(document))
    assert len(set(listed)) == len(listed)
    assert {state for _, state in listed} <= set(STATES)
    assert dict(listed)['$["x y"]["a.b"][1].c'] == "kept"
    assert dict(listed)["$.model.messages[0].content"] == "mapped"
    assert dict(listed)["$.analysisPlan.summaryPlan.enabled"] == "mapped"
    assert dict(listed)["$.model.numFastTurns"] == "kept"
