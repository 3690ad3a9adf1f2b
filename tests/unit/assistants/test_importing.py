"""Drafts: which objects come in under which id, how they are linked, and what is refused."""

from __future__ import annotations

import json
import uuid
from typing import Any

import pytest

from assistants.importing import Draft, drafts_of, with_missing_tools
from assistants.wire.files import FileReading, read_file
from assistants.wire.vapi_config import read_assistant
from assistants.yaml12 import parse_yaml

pytestmark = pytest.mark.unit

ORGANISATION = uuid.UUID(int=7)
TOOL_ID = "b0000000-0000-4000-8000-000000000001"


def drafts(files: dict[str, Any], *, is_folder: bool = True, known: Any = ()) -> list[Draft]:
    readings: list[FileReading] = []
    for name, content in sorted(files.items()):
        raw = content if isinstance(content, bytes) else json.dumps(content).encode()
        readings.append(read_file(name, raw, parse_yaml))
    found = drafts_of(readings, organisation_id=ORGANISATION, is_folder=is_folder)
    return list(with_missing_tools(found, known))


def assistant(**fields: Any) -> dict[str, Any]:
    prompt = {"role": "system", "content": "Be kind."}
    return {"name": "Desk", "model": {"messages": [prompt], **fields.pop("model", {})}, **fields}


def findings(draft: Draft, state: str) -> list[str]:
    return [finding.path for finding in draft.findings if finding.state == state]


def test_ids_of_the_export_are_kept_in_canonical_form() -> None:
    (found,) = drafts({"a.json": assistant(id=TOOL_ID.upper(), createdAt="2026-01-01T00:00:00Z")})
    assert found.object_id == TOOL_ID
    assert found.created_at == "2026-01-01T00:00:00Z"


def test_without_an_id_a_stable_one_is_made_and_said() -> None:
    (one,) = drafts({"a.json": assistant()})
    (again,) = drafts({"elsewhere/b.json": assistant(firstMessage="changed")})
    (other,) = drafts({"a.json": assistant(name="Night desk")})
    assert one.object_id == again.object_id != other.object_id
    assert uuid.UUID(one.object_id).version == 5
    assert "$.id" in findings(one, "mapped-lossy")


def test_without_id_and_name_the_place_counts() -> None:
    nameless = {"model": {"messages": []}, "voice": {}}
    one, two = drafts({"a.json": nameless, "b.json": {**nameless, "voice": {"voiceId": "x"}}})
    assert one.object_id != two.object_id
    assert [d.object_id for d in drafts({"a.json": nameless})] == [one.object_id]


def test_two_tools_of_one_name_are_both_imported() -> None:
    tool = {"type": "function", "function": {"name": "api_request_tool"}}
    found = drafts({"a.json": [tool, {**tool, "async": True}]})
    assert len({draft.object_id for draft in found}) == 2
    assert not any(draft.verdict for draft in found)


def test_one_id_twice() -> None:
    same = assistant(id=TOOL_ID)
    found = drafts({"a.json": same, "b.json": same, "c.json": {**same, "name": "Other"}})
    assert [draft.verdict for draft in found] == ["", "unchanged", "refused"]
    assert "a.json" in found[2].reason


def test_saved_tools_are_linked_in_any_order_of_files() -> None:
    saved = {"id": TOOL_ID, "type": "endCall"}
    for names in (("a.json", "z.json"), ("z.json", "a.json")):
        files = dict(zip(names, (assistant(model={"toolIds": [TOOL_ID]}), saved), strict=True))
        found = next(draft for draft in drafts(files) if draft.kind == "assistant")
        assert findings(found, "invalid") == []
        assert "$.model.toolIds[0]" in findings(found, "mapped")


def test_a_missing_tool_is_named_with_the_way_to_fetch_it() -> None:
    (found,) = drafts({"a.json": assistant(model={"toolIds": [TOOL_ID]})})
    (finding,) = [each for each in found.findings if each.path == "$.model.toolIds[0]"]
    assert finding.state == "invalid"
    assert f"GET https://api.vapi.ai/tool/{TOOL_ID}" in finding.message
    (known,) = drafts({"a.json": assistant(model={"toolIds": [TOOL_ID]})}, known={TOOL_ID})
    assert "$.model.toolIds[0]" in findings(known, "mapped")


def test_file_names_in_tool_ids_are_resolved_within_the_folder() -> None:
    """Config as code names tools by file; of two environments the nearer file counts."""
    files = {
        "resources/dev/assistants/desk.yml": b"name: Desk\nmodel:\n  toolIds: [look-up, gone]\n",
        "resources/dev/tools/look-up.yml": b"type: function\nfunction: {name: look_up}\n",
        "resources/prod/tools/look-up.yml": b"type: function\nfunction: {name: look_up_prod}\n",
    }
    found = {draft.file: draft for draft in drafts(files)}
    desk = found["resources/dev/assistants/desk.yml"]
    near = found["resources/dev/tools/look-up.yml"]
    assert read_assistant(desk.document).tool_ids == (near.object_id, "gone")
    assert findings(desk, "invalid")[-1] == "$.model.toolIds[1]"


def test_a_flattened_tool_is_stored_in_today_s_form() -> None:
    function = {"name": "a", "description": "b", "strict": True, "parameters": {"type": "object"}}
    (found,) = drafts({"a.json": {"type": "function", **function}})
    assert found.document == {"type": "function", "function": function}
    assert found.name == "a"


def test_static_parameters_are_not_the_model_s() -> None:
    tool = {"type": "function", "name": "a", "parameters": [{"key": "k", "value": "v"}]}
    (found,) = drafts({"tools/a.json": tool})
    assert found.document is not None
    assert found.document["parameters"] == [{"key": "k", "value": "v"}]
    assert "$.parameters" in findings(found, "mapped")


@pytest.mark.parametrize(
    ("content", "verdict", "words"),
    [
        ({"message": {"type": "tool-calls"}}, "ignored", "webhook"),
        (
            {"message": "Invalid Key.", "error": "Unauthorized", "statusCode": 401},
            "refused",
            "Vapi key",
        ),
        (b"<!DOCTYPE html><html><body>Sign in</body></html>", "refused", "web page"),
        ({"id": "x", "type": "webCall", "status": "ended"}, "ignored", "record of a call"),
        (b"{", "refused", "line 1"),
        (b"# Title", "refused", "no"),
    ],
)
def test_what_cannot_come_in_has_a_reason(content: Any, verdict: str, words: str) -> None:
    (found,) = drafts({"a.json": content}, is_folder=False)
    assert found.verdict == verdict
    assert words in found.reason
    if verdict == "ignored":
        assert found.reason.startswith("not an assistant, tool, squad or number: ")
    else:
        assert [(f.path, f.state) for f in found.findings] == [("$", "invalid")]


def test_a_folder_s_readme_is_ignored_and_a_named_one_refused() -> None:
    assert drafts({"README.md": b"# Hi"})[0].verdict == "ignored"
    assert drafts({"README.md": b"# Hi"}, is_folder=False)[0].verdict == "refused"


def test_a_prompt_in_a_file_beside_the_document_is_named() -> None:
    files = {"desk/desk.json": {"name": "Desk", "voice": {}}, "desk/prompt.md": b"You are kind."}
    found = next(draft for draft in drafts(files) if draft.kind == "assistant")
    (finding,) = [each for each in found.findings if each.path == "$"]
    assert "prompt.md" in finding.message


def test_masked_values_are_left_out_so_that_stored_secrets_stay() -> None:
    (found,) = drafts({"a.json": assistant(server={"url": "https://x.example", "secret": "***"})})
    assert found.document is not None
    assert found.document["server"] == {"url": "https://x.example"}


def test_no_finding_holds_a_secret() -> None:
    secret = "planted-secret-0xC0FFEE"
    files = {
        "a.json": assistant(
            server={"url": f"https://x.example/?token={secret}", "secret": secret},
            credentials=[{"provider": "openai", "apiKey": secret}],
            model={"tools": [{"type": "function", "serverUrlSecret": secret, "headers": secret}]},
        ),
        "b.json": {
            "type": "function",
            "server": {"url": "x", "headers": {"Authorization": secret}, "secret": secret},
        },
        "c.json": {"provider": "twilio", "number": "+1", "twilioAuthToken": secret},
    }
    for draft in drafts(files):
        assert secret not in repr([draft.reason, draft.findings, draft.name])
