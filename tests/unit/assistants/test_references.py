"""References of config as code: file names, names and comments become ids wherever they stand."""

from __future__ import annotations

import json
import uuid
from typing import Any

import pytest

from assistants.findings import account
from assistants.importing import (
    Draft,
    assistant_names_wanted,
    drafts_of,
    with_assistants_by_name,
    with_links,
)
from assistants.wire.files import read_file
from assistants.yaml12 import parse_yaml

pytestmark = pytest.mark.unit

ORGANISATION = uuid.UUID(int=7)
VAPI_ID = "c0000000-0000-4000-8000-00000000000c"


def drafts(files: dict[str, Any], *, known: Any = None) -> dict[str, Draft]:
    """Return the drafts of ``files`` by file; a str is YAML or Markdown, anything else JSON."""
    readings = [
        read_file(
            name,
            (content if isinstance(content, str) else json.dumps(content)).encode(),
            parse_yaml,
        )
        for name, content in sorted(files.items())
    ]
    found = with_links(drafts_of(readings, organisation_id=ORGANISATION), known or {})
    return {draft.file: draft for draft in found}


def at(draft: Draft, *keys: Any) -> Any:
    """Return what stands at a path of the document that would be stored."""
    node: Any = draft.document
    for key in keys:
        node = node[key]
    return node


LAYOUT = {
    "resources/dev/assistants/receptionist.md": (
        "---\nname: Receptionist\nmodel:\n  toolIds:\n    - lookup-patient ## who calls\n"
        "    - company-1/transfer\n  messages:\n    - role: system\n      content: Old prompt.\n"
        "  tools:\n    - type: handoff\n      destinations:\n        - assistantId: scheduler\n"
        "hooks:\n  - on: call.ending\n    do:\n      - type: tool\n        toolId: lookup-patient\n"
        "artifactPlan:\n  structuredOutputIds: [call-summary]\n---\n\nYou are the receptionist.\n"
    ),
    "resources/dev/assistants/scheduler.md": "---\nname: Scheduler\n---\nYou plan.\n",
    "resources/dev/tools/lookup-patient.yml": "type: function\nfunction: {name: lookup_patient}\n",
    "resources/dev/tools/company-1/transfer.yml": "type: transferCall\ndestinations: []\n",
    "resources/dev/tools/handoff.yml": (
        "type: handoff\ndestinations:\n  - type: assistant\n    assistantId: scheduler\n"
    ),
    "resources/dev/squads/front-desk.yml": (
        "name: Front Desk\nmembers:\n  - assistantId: receptionist\n    assistantDestinations:\n"
        "      - type: assistant\n        assistantId: scheduler\n    assistantOverrides:\n"
        "      tools:append:\n        - type: handoff\n          destinations:\n"
        "            - assistantId: scheduler\n  - assistantId: scheduler\n"
    ),
    "resources/dev/structuredOutputs/call-summary.yml": (
        "name: call-summary\ntype: ai\nassistant_ids: [receptionist]\nschema: {type: string}\n"
        "model: {provider: openai, model: gpt-4.1-mini}\n"
    ),
    "resources/dev/evals/greets.yml": "name: Greets\ntype: chat.mockConversation\nmessages: []\n",
    "resources/dev/simulations/personalities/calm.yml": (
        "name: Calm\nassistant:\n  model: {provider: openai, model: gpt-4.1-mini}\n"
    ),
    "resources/dev/simulations/scenarios/books.yml": (
        "name: Books\ninstructions: Book.\nevaluations:\n  - structuredOutputId: call-summary\n"
    ),
    "resources/dev/simulations/tests/books-calm.yml": (
        "name: Books calmly\npersonalityId: calm\nscenarioId: books\n"
    ),
    "resources/dev/simulations/suites/core.yml": "name: Core\nsimulationIds: [books-calm]\n",
    "resources/dev/phoneNumbers/main.yml": (
        "provider: twilio\nnumber: '+15550100001'\nassistantId: receptionist\nsquadId: front-desk\n"
    ),
}


def test_the_whole_config_as_code_layout_is_read_and_linked() -> None:
    found = {name.removeprefix("resources/dev/"): d for name, d in drafts(LAYOUT).items()}
    assert not [draft.reason for draft in found.values() if draft.verdict]
    assert sorted(draft.kind for draft in found.values()) == sorted(
        [
            *("assistant", "assistant", "tool", "tool", "tool", "squad", "structured-output"),
            *("eval", "eval/simulation", "eval/simulation/suite", "eval/simulation/scenario"),
            *("eval/simulation/personality", "phone-number"),
        ]
    )
    ids = {name: draft.object_id for name, draft in found.items()}
    desk, squad = found["assistants/receptionist.md"], found["squads/front-desk.yml"]
    scheduler = ids["assistants/scheduler.md"]
    lookup = ids["tools/lookup-patient.yml"]
    assert at(desk, "model", "toolIds") == [lookup, ids["tools/company-1/transfer.yml"]]
    assert at(desk, "model", "messages") == [
        {"role": "system", "content": "You are the receptionist."}
    ]
    assert at(desk, "model", "tools", 0, "destinations", 0, "assistantId") == scheduler
    assert at(desk, "hooks", 0, "do", 0, "toolId") == lookup
    output = ids["structuredOutputs/call-summary.yml"]
    assert at(desk, "artifactPlan", "structuredOutputIds") == [output]
    assert at(found["tools/handoff.yml"], "destinations", 0, "assistantId") == scheduler
    assert [m["assistantId"] for m in at(squad, "members")] == [desk.object_id, scheduler]
    member = at(squad, "members", 0)
    assert member["assistantDestinations"][0]["assistantId"] == scheduler
    appended = member["assistantOverrides"]["tools:append"][0]
    assert appended["destinations"][0]["assistantId"] == scheduler
    summary = found["structuredOutputs/call-summary.yml"]
    assert at(summary, "assistantIds") == [desk.object_id]
    assert "assistant_ids" not in (summary.document or {})
    scenario, simulation = (
        found["simulations/scenarios/books.yml"],
        found["simulations/tests/books-calm.yml"],
    )
    assert at(scenario, "evaluations", 0, "structuredOutputId") == output
    assert at(simulation, "personalityId") == ids["simulations/personalities/calm.yml"]
    assert at(simulation, "scenarioId") == scenario.object_id
    assert at(found["simulations/suites/core.yml"], "simulationIds") == [simulation.object_id]
    number = found["phoneNumbers/main.yml"]
    assert at(number, "assistantId") == desk.object_id
    assert at(number, "squadId") == squad.object_id
    for draft in found.values():
        links = [f for f in draft.findings if f.state == "invalid" and "neither an id" in f.message]
        assert not links
        assert draft.original is not None
        assert all(state for _, state in account(draft.original, draft.findings, draft.marks))


def test_a_state_file_gives_vapi_s_ids_back() -> None:
    state = {
        "assistants": {"scheduler": {"uuid": VAPI_ID}},
        "tools": {"company-1/transfer": "d0000000-0000-4000-8000-00000000000d", "gone": 7},
        "squads": [],
    }
    other = {"assistants": {"scheduler": {"uuid": "e0000000-0000-4000-8000-00000000000e"}}}
    files = {**LAYOUT, ".vapi-state.dev.json": state, ".vapi-state.prod.json": other}
    found = drafts(files)
    assert found["resources/dev/assistants/scheduler.md"].object_id == VAPI_ID
    transfer = found["resources/dev/tools/company-1/transfer.yml"]
    assert transfer.object_id == "d0000000-0000-4000-8000-00000000000d"
    assert at(found["resources/dev/squads/front-desk.yml"], "members", 1, "assistantId") == VAPI_ID
    assert found[".vapi-state.dev.json"].verdict == "ignored"


def test_a_state_file_names_what_is_in_no_file() -> None:
    files = {
        "assistants/a.yml": "name: A\nmodel: {toolIds: [elsewhere]}\n",
        ".vapi-state.dev.json": {"tools": {"elsewhere": {"uuid": VAPI_ID}}},
    }
    assert at(drafts(files)["assistants/a.yml"], "model", "toolIds") == [VAPI_ID]


def test_a_name_that_a_stored_assistant_has_is_resolved() -> None:
    squad = {"name": "S", "members": [{"assistantId": "Night desk"}, {"assistantId": "nobody"}]}
    found = list(drafts({"squads/s.json": squad}).values())
    assert assistant_names_wanted(found) == {"Night desk", "nobody"}
    (draft,) = with_assistants_by_name(found, {"Night desk": VAPI_ID})
    assert at(draft, "members", 0, "assistantId") == VAPI_ID
    assert at(draft, "members", 1, "assistantId") == "nobody"


def test_what_is_not_here_says_what_to_do() -> None:
    files = {
        "squads/s.json": {"members": [{"assistantId": VAPI_ID}, {"assistantId": "nobody"}]},
        "phone-numbers/n.json": {"provider": "twilio", "number": "+1", "squadId": VAPI_ID},
    }
    found = drafts(files)
    by_path = {f.path: f for f in found["squads/s.json"].findings}
    assert by_path["$.members[0].assistantId"].state == "invalid"
    assert (
        f"GET https://api.vapi.ai/assistant/{VAPI_ID}"
        in by_path["$.members[0].assistantId"].message
    )
    assert "name or file of one assistant" in by_path["$.members[1].assistantId"].message
    here = drafts(files, known={"assistant": {VAPI_ID}, "squad": {VAPI_ID}})
    states = {f.path: f.state for f in here["squads/s.json"].findings}
    assert states["$.members[0].assistantId"] == "mapped"


@pytest.mark.parametrize(
    "odd", [None, 7, True, {}, [], [[]], {"a": 1}, "", " ## ", "\ud800", ["x", None, 3, {}]]
)
def test_wrong_types_in_every_place_change_nothing(odd: Any) -> None:
    squad = {
        "members": [
            {"assistantId": odd, "assistantDestinations": odd, "assistantOverrides": odd},
            {"assistant": odd},
            odd,
        ],
        "membersOverrides": odd,
    }
    files = {
        "squads/s.json": squad,
        "tools/t.json": {"type": "handoff", "destinations": odd},
        "assistants/a.json": {"name": "A", "model": {"toolIds": odd, "tools": odd}, "hooks": odd},
        "simulations/suites/x.json": {"name": "X", "simulationIds": odd},
    }
    for draft in drafts(files).values():
        assert draft.document is not None
        assert draft.original == draft.document


def test_a_squad_account_speaks_of_members_names_and_secrets() -> None:
    inline = {"name": "Twin", "model": {}, "isServerUrlSecretSet": True}
    squad = {
        "name": "S",
        "members": [
            {"assistant": inline, "role": "boss"},
            {
                "assistant": inline,
                "assistantDestinations": [{"assistantName": "Twin"}, {"assistantName": "Nobody"}],
                "assistantOverrides": {"voice": {"voiceId": "x"}},
            },
            {"assistant_name": "third"},
        ],
        "membersOverrides": {"transcriber": {"provider": "deepgram"}},
        "routing_rules": {"a": 1},
    }
    (draft,) = drafts({"s.json": squad}).values()
    states: dict[str, set[str]] = {}
    for finding in draft.findings:
        states.setdefault(finding.path, set()).add(finding.state)
    assert states["$.members"] == {"mapped"}
    assert states["$.members[0].assistant.name"] == {"invalid"}
    assert states["$.members[0].assistant.isServerUrlSecretSet"] == {"secret-missing"}
    assert states["$.members[1].assistantDestinations[0].assistantName"] == {"mapped"}
    assert states["$.members[1].assistantDestinations[1].assistantName"] == {"invalid"}
    assert states["$.members[1].assistantOverrides"] == {"mapped"}
    assert states["$.members[2]"] == {"invalid", "kept"}
    assert states["$.membersOverrides"] == {"mapped"}
    assert states["$.routing_rules"] == {"kept"}
