"""Exported files in every encoding, notation and envelope, and those that are no export."""

from __future__ import annotations

import json
from typing import Any

import pytest

from assistants.kinds import kind_of
from assistants.wire.files import MAX_BYTES, FileReading, read_file
from assistants.yaml12 import parse_yaml

pytestmark = pytest.mark.unit

ASSISTANT: dict[str, Any] = {"name": "Zoë", "firstMessage": "Grüß Gott", "model": {"model": "x"}}
TOOL: dict[str, Any] = {"type": "function", "function": {"name": "look_up"}}


def read(raw: bytes | str, name: str = "a.json") -> FileReading:
    return read_file(name, raw.encode() if isinstance(raw, str) else raw, parse_yaml)


def shapes(reading: FileReading) -> list[tuple[str, str]]:
    return [(found.where, found.kind) for found in reading.found]


@pytest.mark.parametrize(
    ("encoding", "mark"),
    [
        ("utf-8", b""),
        ("utf-8", b"\xef\xbb\xbf"),
        ("utf-16-le", b"\xff\xfe"),
        ("utf-16-be", b"\xfe\xff"),
        ("utf-16-le", b""),
        ("utf-16-be", b""),
        ("utf-32-le", b"\xff\xfe\x00\x00"),
    ],
)
@pytest.mark.parametrize("newline", ["\n", "\r\n"])
def test_every_encoding_reads_the_same(encoding: str, mark: bytes, newline: str) -> None:
    text = json.dumps(ASSISTANT, indent=1, ensure_ascii=False).replace("\n", newline)
    (found,) = read(mark + text.encode(encoding)).found
    assert found.value == ASSISTANT
    assert bool(found.notes) == bool(mark)


@pytest.mark.parametrize(
    ("raw", "words"),
    [
        (b"", "empty"),
        (b" \n", "empty"),
        (b'{"name": "caf\xe9"}', "byte 13"),
        (b'{"name": }', "line 1, column 10"),
        (b'{"a": 1,}', "not JSON"),
        (b'{"a": NaN}', "NaN is no JSON value"),
        (b"// comment\n{}", "not JSON"),
        (b"[" * 100_000, "nested too deeply"),
        (b"[" * 100 + b"]" * 100, "nested over"),
        (b"x" * (MAX_BYTES + 1), "10 MiB"),
        (b'{"n": ' + b"9" * 5000 + b"}", "digits"),
        (b'"just text"', "no assistant"),
        (b"[]", "no assistant"),
        (b'{"version": 3}', "no assistant"),
    ],
)
def test_what_is_no_export_says_why(raw: bytes, words: str) -> None:
    reading = read(raw)
    assert reading.found == ()
    assert words in reading.problem


def test_what_no_database_stores_is_replaced_and_said() -> None:
    model = b'{"temperature": 1e999, "seed": 99999999999999999999}'
    raw = b'{"name": "a\\u0000b\\ud800", "model": ' + model + b"}"
    (found,) = read(raw).found
    assert found.value["name"] == "a\ufffdb\ufffd"
    assert found.value["model"] == {"temperature": None, "seed": 1e20}
    assert "replaced" in found.notes[0]


def test_arrays_and_envelopes_are_opened() -> None:
    assert shapes(read(json.dumps([ASSISTANT, TOOL]))) == [("$[0]", "assistant"), ("$[1]", "tool")]
    assert shapes(read(json.dumps({"tools": [TOOL, TOOL]}))) == [
        ("$.tools[0]", "tool"),
        ("$.tools[1]", "tool"),
    ]
    backup = {
        "taken_at": "2026-01-01",
        "assistants": [{"name": "desk", "vapi_data": ASSISTANT}],
        "tools": {"look up": {"data": TOOL}},
    }
    assert shapes(read(json.dumps(backup))) == [
        ("$.assistants[0].vapi_data", "assistant"),
        ('$.tools["look up"].data', "tool"),
    ]


@pytest.mark.parametrize(
    ("value", "hint", "kind"),
    [
        (ASSISTANT, None, "assistant"),
        ({"model": "gpt-4o"}, None, "assistant"),
        ({"voice": {"provider": "openai"}}, None, "assistant"),
        ({"name": "x", "prompt": "You"}, "assistant", "assistant"),
        (TOOL, None, "tool"),
        ({"type": "google.calendar.event.create", "name": "x"}, None, "tool"),
        ({"name": "x", "parameters": {"type": "object"}}, None, "tool"),
        ({"type": "api", "name": "x"}, "tool", "tool"),
        ({"type": "module", "name": "x"}, None, None),
        ({"members": [{"assistantId": "x"}], "name": "y"}, None, "squad"),
        ({"provider": "twilio", "number": "+15550100001"}, None, "phone-number"),
        ({"number": "+15550100001", "twilioAccountSid": "AC1"}, None, "phone-number"),
        ({"provider": "deepgram", "model": "nova"}, None, "assistant"),
        ({"type": "inboundPhoneCall", "assistantId": "x"}, None, "call"),
        ({"endedReason": "hang", "id": "x"}, None, "call"),
        ({"message": {"type": "tool-calls"}}, None, "payload"),
        ({"tools": [TOOL]}, None, None),
        ({}, "assistant", None),
    ],
)
def test_kind(value: dict[str, Any], hint: Any, kind: str | None) -> None:
    assert kind_of(value, hint) == kind


def test_the_folder_tells_what_an_object_without_signs_is() -> None:
    reading = read('{"type": "api", "name": "x"}', "export/tools/x.json")
    assert shapes(reading) == [("$", "tool")]
    assert read('{"type": "api", "name": "x"}', "export/x.json").found == ()


def test_yaml_is_read_by_the_rules_of_1_2() -> None:
    """Surprise: in YAML 1.1 the key `on` of a hook becomes true, and `no` a language."""
    text = (
        "model:\n  provider: openai\ntranscriber: {language: no}\nhooks:\n- on: call.ending\n"
        "  enabled: yes\n  really: true\n  at: 2026-01-01\n  count: 0o17\n  part: 1.5\n  none: ~\n"
    )
    (found,) = read(text, "a.yml").found
    assert found.value["transcriber"] == {"language": "no"}
    hook = {"on": "call.ending", "enabled": "yes", "really": True, "at": "2026-01-01"}
    assert found.value["hooks"] == [hook | {"count": 15, "part": 1.5, "none": None}]


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("a: [", "line 1"),
        ("? [a]: b\n", "a key is a list"),
        ("a: *missing", "missing"),
        ("\x07", "does not allow"),
        ("&a [*a]", "nested over"),
        (
            "a: &a [x,x,x,x,x,x,x,x,x,x]\n"
            + "".join(
                f"{chr(98 + n)}: &{chr(98 + n)} [{','.join(['*' + chr(97 + n)] * 10)}]\n"
                for n in range(8)
            ),
            "values in one file",
        ),
        ("- " * 2000 + "x", "nested"),
    ],
    ids=["open", "key", "alias", "control", "circle", "bomb", "deep"],
)
def test_yaml_that_is_none_says_why(text: str, words: str) -> None:
    reading = read(text, "a.yaml")
    assert reading.found == ()
    assert words in reading.problem


def test_tags_in_yaml_run_nothing() -> None:
    text = "model: !!python/object/apply:os.system [x]\nname: !!timestamp soon\n"
    (found,) = read(text, "a.yaml").found
    assert found.value == {"model": ["x"], "name": "soon"}


def test_front_matter_with_its_body_as_the_prompt() -> None:
    text = "---\r\nname: Desk\r\nmodel:\r\n  provider: openai\r\n---\r\n# You\r\n\r\nare kind.\r\n"
    (found,) = read(text, "assistants/desk.md").found
    assert found.value["model"] == {
        "provider": "openai",
        "messages": [{"role": "system", "content": "# You\n\nare kind."}],
    }


def test_a_readme_is_not_ours() -> None:
    reading = read("# How to\n", "README.md")
    assert not reading.is_ours
    assert not reading.found


def test_several_yaml_documents_and_json_lines() -> None:
    assert len(read("type: endCall\n---\ntype: dtmf\n", "a.yaml").found) == 2
    assert len(read('{"type": "endCall"}\n\n{"type": "dtmf"}\n', "a.jsonl").found) == 2
