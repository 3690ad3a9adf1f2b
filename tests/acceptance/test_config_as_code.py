"""Vapi's config-as-code tool against the running platform: set-up, pull, audit, push, rollback.

The tool itself cannot be installed here; ``config_as_code`` makes its requests and says what was
read of it, and where.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.acceptance.config_as_code import ENDPOINTS, ConfigAsCode, Refused
from tests.acceptance.outside import make_account
from tests.platform import Platform

pytestmark = [pytest.mark.acceptance, pytest.mark.timeout(180)]

# What a repository holds before its first push, names in the place of ids.
FILES: dict[str, Any] = {
    "tools/look-up.yml": {
        "type": "function",
        "function": {
            "name": "look_up",
            "description": "Finds a guest",
            "parameters": {"type": "object", "properties": {"name": {"type": "string"}}},
        },
        "server": {"url": "https://tools.example.com/look-up", "credentialId": "our-server"},
    },
    "tools/hand-over.yml": {
        "type": "handoff",
        "function": {"name": "hand_over"},
        "destinations": [
            {"type": "assistant", "assistantId": "night-desk", "description": "At night"}
        ],
    },
    "structuredOutputs/outcome.yml": {
        "name": "outcome",
        "type": "ai",
        "schema": {"type": "object", "properties": {"booked": {"type": "boolean"}}},
        "assistant_ids": ["front-desk"],
    },
    "assistants/front-desk.md": (
        {
            "name": "Front desk",
            "firstMessage": "Harbour Hotel, good morning.",
            "voicemailMessage": None,
            "model": {"provider": "openai", "model": "gpt-4o", "toolIds": ["look-up", "hand-over"]},
            "voice": {"provider": "11labs", "voiceId": "paula"},
            "artifactPlan": {"structuredOutputIds": ["outcome"]},
            "server": {"url": "https://hooks.example.com", "credentialId": "our-server"},
        },
        "You answer the phone of Harbour Hotel.\n\n- Be brief.\n- Ask for the name.",
    ),
    "assistants/night-desk.yml": {"name": "Night desk", "firstMessage": "Good night."},
    "squads/desks.yml": {
        "name": "Desks",
        "members": [
            {
                "assistantId": "front-desk",
                "assistantDestinations": [{"type": "assistant", "assistantId": "night-desk"}],
            },
            {"assistantId": "night-desk"},
        ],
    },
    "simulations/personalities/hasty.yml": {
        "name": "Hasty",
        "assistant": {"model": {"provider": "openai", "model": "gpt-4o"}},
    },
    "simulations/scenarios/books.yml": {
        "name": "Books",
        "instructions": "Book a room for two.",
        "evaluations": [{"structuredOutputId": "outcome", "comparator": "=", "value": True}],
    },
    "simulations/tests/hasty-books.yml": {
        "name": "Hasty books",
        "personalityId": "hasty",
        "scenarioId": "books",
    },
    "simulations/suites/all.yml": {"name": "All", "simulationIds": ["hasty-books"]},
    "evals/greets.yml": {
        "name": "Greets",
        "type": "chat.mockConversation",
        "messages": [{"role": "user", "content": "Hello"}],
    },
}


def write(client: ConfigAsCode, name: str, document: Any) -> Path:
    """Write a resource file as a person would."""
    path = client.folder / "resources" / "org" / name
    path.parent.mkdir(parents=True, exist_ok=True)
    if isinstance(document, tuple):
        front = yaml.safe_dump(document[0], sort_keys=True)
        path.write_text(f"---\n{front}---\n\n{document[1]}\n")
    else:
        path.write_text(yaml.safe_dump(document, sort_keys=True))
    return path


def files(client: ConfigAsCode) -> dict[str, str]:
    """Return every resource file's text."""
    folder = client.folder / "resources"
    return {str(p.relative_to(folder)): p.read_text() for p in folder.rglob("*.*")}


def document(client: ConfigAsCode, kind: str, name: str) -> dict[str, Any]:
    """Return what the platform has under a name of the state file."""
    found: dict[str, Any] = client.request("GET", f"{ENDPOINTS[kind]}/{client.state()[kind][name]}")
    return found


@pytest.fixture
def client(shared_platform: Platform, tmp_path: Path) -> Iterator[ConfigAsCode]:
    account = make_account(shared_platform, "read", "write", "admin")
    made = ConfigAsCode(shared_platform.base_url, account.key, tmp_path)
    body = {"provider": "webhook", "name": "Our server", "apiKey": "never-shown"}
    made.request("POST", "/credential", body)
    made.log.clear()
    yield made
    made.http.close()


def test_set_up_pull_audit_push_rollback(client: ConfigAsCode) -> None:
    # Set-up brings what the account has; a second pull changes no file, and nothing differs.
    client.setup()
    assert client.log[:3] == [
        ("GET", "/assistant?limit=1"),
        ("GET", "/credential?limit=100"),
        ("GET", "/v2/phone-number?limit=1000&page=1"),
    ]
    assert "our-server" in client.state()["credentials"]
    first = files(client)
    assert len(first) >= 2  # the assistants of the account's numbers
    client.pull()
    assert files(client) == first
    assert client.audit() == []

    # A first push of new files makes everything, in dependency order, and a pull changes nothing.
    for name, content in FILES.items():
        write(client, name, content)
    assert sorted(client.audit()) == sorted(
        f"orphan {kind}/{name}"
        for kind, names in {
            "tools": ("look-up", "hand-over"),
            "structuredOutputs": ("outcome",),
            "assistants": ("front-desk", "night-desk"),
            "squads": ("desks",),
            "personalities": ("hasty",),
            "scenarios": ("books",),
            "simulations": ("hasty-books",),
            "simulationSuites": ("all",),
            "evals": ("greets",),
        }.items()
        for name in names
    )
    assert client.push() == []
    before = files(client)
    client.pull()
    assert files(client) == before
    assert client.audit() == []
    ids = client.state()
    made = document(client, "assistants", "front-desk")
    assert made["model"]["toolIds"] == [ids["tools"]["look-up"], ids["tools"]["hand-over"]]
    assert made["server"]["credentialId"] == ids["credentials"]["our-server"]
    assert made["voicemailMessage"] is None
    handoff = document(client, "tools", "hand-over")["destinations"]
    assert [each["assistantId"] for each in handoff] == [ids["assistants"]["night-desk"]]
    output = document(client, "structuredOutputs", "outcome")
    assert output["assistantIds"] == [ids["assistants"]["front-desk"]]

    # An edited file is seen, pushed, and can be taken back.
    path = client.folder / "resources" / "org" / "assistants" / "front-desk.md"
    path.write_text(path.read_text().replace("Be brief.", "Be very brief."))
    assert client.audit() == ["local-ahead assistants/front-desk"]
    assert client.push() == []
    assert client.audit() == []
    edited = document(client, "assistants", "front-desk")
    assert "Be very brief." in edited["model"]["messages"][0]["content"]
    client.rollback(client.snapshots()[-1])
    restored = document(client, "assistants", "front-desk")
    assert {**restored, "updatedAt": ""} == {**made, "updatedAt": ""}
    assert client.audit() == ["dashboard-ahead assistants/front-desk"]
    client.pull()
    assert files(client) == before

    # A change made elsewhere is not overwritten.
    uuid = ids["assistants"]["night-desk"]
    client.request("PATCH", f"/assistant/{uuid}", {"firstMessage": "Good evening."})
    write(client, "assistants/night-desk.yml", {"name": "Night desk", "firstMessage": "Hello."})
    assert client.audit() == ["both-diverged assistants/night-desk"]
    assert client.push() == ["assistants/night-desk"]
    assert document(client, "assistants", "night-desk")["firstMessage"] == "Good evening."
    client.pull()

    # What the repository no longer holds goes, dependents first.
    for name in FILES:
        (client.folder / "resources" / "org" / name).unlink()
    assert client.push(force=True) == []
    client.pull()
    assert files(client) == first
    assert client.audit() == []


def test_a_used_tool_stays_and_the_tool_is_told_so(client: ConfigAsCode) -> None:
    client.setup()
    for name in ("tools/look-up.yml", "assistants/front-desk.md"):
        content = FILES[name]
        if isinstance(content, tuple):
            model = {"provider": "openai", "model": "gpt-4o", "toolIds": ["look-up"]}
            content = ({"name": "Front desk", "model": model}, content[1])
        write(client, name, content)
    client.push()
    (client.folder / "resources" / "org" / "tools" / "look-up.yml").unlink()
    with pytest.raises(Refused, match="409"):
        client.push(force=True)
