"""The fixtures are what their notes say: every copied file has a source and a licence, every Vapi
document reads, and every wire frame keeps its vendor's shape.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.contract import (
    ContractError,
    check_realtime_client,
    check_realtime_server,
    check_twilio_inbound,
    check_twilio_outbound,
)
from tests.unit.house.source_tree import ROOT

pytestmark = pytest.mark.unit

VAPI = ROOT / "tests" / "fixtures" / "vapi"
WIRE = ROOT / "tests" / "fixtures" / "wire"
COPIED = ("assistants", "tools", "squads", "payloads", "calls")
ROW = re.compile(r"^\| (?P<file>\d\S+) \| (?P<repository>\S+) \| .* \| (?P<licence>[\w.-]+) \| ")


def rows(kind: str) -> Iterator[re.Match[str]]:
    for line in (VAPI / kind / "SOURCES.md").read_text("utf-8").splitlines():
        if line.startswith("| ") and line[2].isdigit():
            match = ROW.match(line)
            assert match, line
            yield match


def document(path: Path) -> Any:
    raw = path.read_bytes()
    return json.loads(raw.decode("utf-16" if raw.startswith(b"\xff\xfe") else "utf-8-sig"))


@pytest.mark.parametrize("kind", COPIED)
def test_every_copied_file_has_a_source_with_a_licence(kind: str) -> None:
    listed = {row["file"]: row for row in rows(kind)}
    assert set(listed) == {path.name for path in (VAPI / kind).glob("*.json")}
    licences = (VAPI / "LICENSES" / "README.md").read_text("utf-8")
    for row in listed.values():
        assert row["licence"] in {"MIT", "Apache-2.0"}
        assert f"| {row['repository']} | {row['licence']} |" in licences


def test_every_licence_text_is_there() -> None:
    index = (VAPI / "LICENSES" / "README.md").read_text("utf-8")
    for path in (VAPI / "LICENSES").glob("*.txt"):
        text = path.read_text("utf-8")
        assert f"({path.name})" in index
        assert "Copyright (c)" in text
        assert "permission notice shall be included" in text


@pytest.mark.parametrize(
    "path", sorted(VAPI.rglob("*.json")), ids=lambda path: str(path.relative_to(VAPI))
)
def test_vapi_document_reads(path: Path) -> None:
    assert isinstance(document(path), dict | list)


def test_the_odd_encodings_survived() -> None:
    raw = (VAPI / "own" / "assistants" / "05-utf16-bom-crlf.json").read_bytes()
    assert raw.startswith(b"\xff\xfe")
    assert "\r\n" in raw.decode("utf-16")
    bom = (VAPI / "own" / "assistants" / "09-comments-and-unknown-keys.json").read_bytes()
    assert bom.startswith(b"\xef\xbb\xbf")


def frames(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text("utf-8").splitlines()]


@pytest.mark.parametrize("path", sorted(WIRE.rglob("*.jsonl")), ids=lambda path: path.stem)
def test_wire_sequence_has_its_form(path: Path) -> None:
    sequence = frames(path)
    assert sequence
    assert all(set(frame) == {"from", "at_ms", "message"} for frame in sequence)
    times = [frame["at_ms"] for frame in sequence]
    assert times == sorted(times)
    assert f"| {path.name} |" in (path.parent / "README.md").read_text("utf-8")


@pytest.mark.parametrize("path", sorted((WIRE / "twilio").glob("*.jsonl")), ids=lambda p: p.stem)
def test_twilio_frames_keep_the_documented_keys(path: Path) -> None:
    expected_sequence = 1
    for frame in frames(path):
        if frame["from"] == "us":
            check_twilio_outbound(frame["message"])
            continue
        assert frame["from"] == "twilio"
        check_twilio_inbound(frame["message"])
        if frame["message"]["event"] != "connected":
            assert frame["message"]["sequenceNumber"] == str(expected_sequence)
            expected_sequence += 1


@pytest.mark.parametrize("path", sorted((WIRE / "realtime").glob("*.jsonl")), ids=lambda p: p.stem)
def test_realtime_events_are_the_sdk_s(path: Path) -> None:
    seen: set[str] = set()
    for frame in frames(path):
        event = frame["message"]
        assert event["event_id"] not in seen
        seen.add(event["event_id"])
        if frame["from"] == "realtime":
            check_realtime_server(event)
        elif path.stem == "configuration_refused":
            # O5: the one sequence in which our own message is wrong, and refused as a whole.
            with pytest.raises(ContractError, match="meta"):
                check_realtime_client(event)
        else:
            assert frame["from"] == "us"
            check_realtime_client(event)


def test_t10_clear_gives_back_every_pending_mark_at_once() -> None:
    sequence = frames(WIRE / "twilio" / "clear_echoes_marks.jsonl")
    cleared = next(i for i, f in enumerate(sequence) if f["message"]["event"] == "clear")
    sent = [mark(f) for f in sequence[:cleared] if f["from"] == "us" and mark(f)]
    echoed = [mark(f) for f in sequence[:cleared] if f["from"] == "twilio" and mark(f)]
    after = [f for f in sequence[cleared:] if f["from"] == "twilio" and mark(f)]
    given_back = after[: len(sent) - len(echoed)]
    assert [mark(f) for f in given_back] == sent[len(echoed) :]
    assert len({f["at_ms"] for f in given_back}) == 1


def test_o29_one_call_is_announced_twice() -> None:
    sequence = [f["message"] for f in frames(WIRE / "realtime" / "tool_call.jsonl")]
    announced = [
        (m["type"], m.get("call_id") or m["item"]["call_id"])
        for m in sequence
        if m["type"] == "response.function_call_arguments.done"
        or (m["type"] == "response.output_item.done" and m["item"]["type"] == "function_call")
    ]
    assert [tool_call_id for _, tool_call_id in announced] == ["call_A1", "call_A1"]
    assert len({kind for kind, _ in announced}) == 2


def mark(frame: dict[str, Any]) -> str:
    return str(frame["message"].get("mark", {}).get("name", ""))
