"""Logs of calls give the sequences that reading them by eye gives, whatever their shape."""

from __future__ import annotations

import gzip
import json
from collections.abc import Iterator
from dataclasses import replace
from functools import reduce
from pathlib import Path
from typing import Any

import pytest

from calls.parity.logs.past_call import PastCall, digest, merged
from calls.parity.logs.reading import NotACall, Nothing, NotOver, read_log
from calls.parity.logs.results import has_failed
from calls.parity.logs.sequencing import sequence_of_log, tool_name
from calls.parity.logs.shim import with_query
from calls.parity.logs.streams import Item, items_in
from tests.unit.house.source_tree import ROOT

pytestmark = pytest.mark.unit

FOLDER = ROOT / "tests" / "fixtures" / "call_logs"
VAPI = ROOT / "tests" / "fixtures" / "vapi"
EXPECTED: dict[str, Any] = json.loads((FOLDER / "expected.json").read_text("utf-8"))


def in_pieces(raw: bytes, size: int = 999) -> Iterator[bytes]:
    return (raw[place : place + size] for place in range(0, len(raw), size))


def calls_in(path: Path) -> list[PastCall]:
    found = []
    for item in items_in(in_pieces(path.read_bytes())):
        if not item.problem:
            try:
                found.append(read_log(item.document))
            except Nothing:
                continue
    return found


@pytest.mark.parametrize("name", sorted(EXPECTED))
def test_a_log_gives_the_sequence_that_reading_it_by_eye_gives(name: str) -> None:
    wanted = EXPECTED[name]
    past = reduce(merged, calls_in(FOLDER / name))
    found = sequence_of_log(past)
    shown = [
        [each.name, dict(each.arguments), each.outcome, each.at_ms, each.message]
        for each in found.tools
    ]
    assert shown == wanted["tools"]
    assert (found.key, found.stack, found.cut) == (wanted["key"], "vapi", wanted["cut"])
    outcomes = found.outcomes
    assert outcomes.tools_ok == wanted["tools_ok"]
    assert outcomes.transferred == wanted["transferred"]
    assert outcomes.ended == wanted["ended"]
    assert outcomes.structured == wanted.get("structured")
    assert len(past.speech) == wanted["turns"]


def test_every_file_has_an_expectation_and_a_row() -> None:
    files = {path.name for path in FOLDER.glob("[0-9]*")}
    rows = (FOLDER / "README.md").read_text("utf-8")
    assert files == set(EXPECTED)
    assert all(f"| {name} |" in rows for name in files)


def test_what_a_whole_call_tells_beside_its_tools() -> None:
    (past,) = calls_in(FOLDER / "01-get-call.json")
    assert past.provider_sid == "CA" + "1" * 32 and past.duration_seconds == 63
    assert (past.caller, past.callee, past.direction) == ("+14155550101", "", "inbound")
    assert past.cost_usd == 0.1312 and past.cost_breakdown["llm"] == 0.0317
    assert [each["turnLatency"] for each in past.latency["turns"]] == [1080, 940]
    assert past.recordings["customer"].endswith("1-customer.wav")
    assert past.consent == "unknown" and past.analysis["summary"] == "A cleaning was booked."
    first = past.speech[0]
    assert (first.started_ms, first.ended_ms, first.role) == (1100, 3200, "assistant")
    report = calls_in(FOLDER / "02-report-parallel-and-no-result.json")[0]
    assert report.consent == "granted" and report.callee == "+14155550190"
    assert report.assistant_id == "22222222-0001-4000-8000-000000000001"


def test_the_samples_of_the_corpus_read_or_say_why_not() -> None:
    found: dict[str, str] = {}
    for path in sorted((VAPI / "payloads").glob("*.json")):
        document = next(items_in([path.read_bytes()])).document
        try:
            sequence = sequence_of_log(read_log(document))
        except (NotACall, NotOver, Nothing) as error:
            found[path.name] = type(error).__name__
        else:
            found[path.name] = ",".join(each.name for each in sequence.tools)
    assert found["007-callspine-str.json"] == found["008-callspine-obj.json"] == "book_appointment"
    assert found["004-captured-group-booking-tool.json"] == "Nothing"  # a chat
    assert found["011-docs-tool-calls.json"] == "NotACall"  # its call has no id


def test_own_samples_of_calls_read() -> None:
    for path in sorted((VAPI / "own" / "calls").glob("*.json")):
        for item in items_in([path.read_bytes()]):
            assert read_log(item.document).key


@pytest.mark.parametrize(
    ("document", "words"),
    [
        ([], "no JSON object"),
        ("hello", "no JSON object"),
        ({}, "neither a call nor a webhook body"),
        ({"type": "function", "name": "book"}, "no log of a call"),
        ({"type": "tool-calls", "call": {}}, "names no call"),
        ({"name": "Desk", "model": {"provider": "openai"}}, "neither a call"),
    ],
)
def test_what_is_no_call_is_told_with_a_fix(document: Any, words: str) -> None:
    with pytest.raises(NotACall, match=words) as told:
        read_log(document)
    assert "Fix:" in str(told.value)


def test_a_call_that_goes_on_is_not_taken() -> None:
    call = {"id": "a", "type": "inboundPhoneCall", "status": "in-progress"}
    with pytest.raises(NotOver):
        read_log(call)


def test_hostile_values_are_read_as_absent() -> None:
    past = read_log(
        {
            "id": "x\x00\ud800" + "y" * 500,
            "type": "inboundPhoneCall",
            "status": "ended",
            "startedAt": 10**400,
            "endedAt": "9999-12-31T23:59:59+00:00",
            "cost": float("nan"),
            "endedReason": {"a": 1},
            "messages": [
                {"role": "user", "message": "a\x00b", "secondsFromStart": float("inf")},
                {"role": "user", "message": {"no": "text"}, "secondsFromStart": -4},
                {"role": "tool_calls", "toolCalls": {"not": "a list"}},
                {"role": "tool_calls", "toolCalls": [None, 3, {"function": "x"}]},
                {"role": ["list"], "message": "?"},
            ],
            "artifact": [],
            "costs": {"type": "vapi"},
            "customer": "+1415",
            "analysis": 5,
        }
    )
    assert "\x00" not in past.log_id and len(past.log_id) == 64
    assert past.started_at is None and past.cost_usd is None and past.ended_reason == ""
    assert [each.text for each in past.speech] == ["ab"] and past.tools == ()
    json.dumps(digest(past))


def test_lines_are_cut_at_line_feeds_alone() -> None:
    raw = '{"a": "x\u2028y\u0085z\u000bw"}\r\n{"b": 2}'.encode()
    for size in (1, 7, 1000):
        found = list(items_in(in_pieces(raw, size)))
        assert [item.line for item in found] == [1, 2]
        assert found[0].document == {"a": "x\u2028y\u0085z\u000bw"}


def test_wrong_lines_are_told_with_their_number_and_stop_nothing() -> None:
    raw = b'{"a": 1}\nnope\n\n[{"b": 2}, {"c": 3}],\n7\n{"d": 4'
    found = list(items_in(in_pieces(raw, 5)))
    assert [item.document for item in found if not item.problem] == [{"a": 1}, {"b": 2}, {"c": 3}]
    assert [item.line for item in found if item.problem] == [2, 5, 6]
    assert "no JSON" in found[1].problem


@pytest.mark.parametrize("size", [1, 64, 10_000])
def test_gzip_is_unpacked_in_members_and_a_cut_one_is_told(size: int) -> None:
    packed = gzip.compress(b'{"a": 1}\n') + gzip.compress(b'{"b": 2}\n')
    assert [item.document for item in items_in(in_pieces(packed, size))] == [{"a": 1}, {"b": 2}]
    cut = gzip.compress(b'{"a": 1}\n{"b": 2}\n' * 50)[:-12]
    last = list(items_in(in_pieces(cut, size)))[-1]
    assert "breaks off" in last.problem


def test_whole_files_are_read_in_their_forms() -> None:
    rows = [{"id": "1"}, {"id": "2"}]
    for raw in (
        json.dumps(rows).encode(),
        json.dumps(rows, indent=1).encode(),
        json.dumps(rows).encode("utf-16"),
        b"\xef\xbb\xbf" + json.dumps(rows, indent=2).encode(),
        json.dumps({"results": rows, "metadata": {"page": 1}}).encode(),
    ):
        assert [item.document for item in items_in(in_pieces(raw, 3))] == rows
    (problem,) = items_in([b'{\n "a": 1\n'])
    assert "no JSON" in problem.problem and problem.line == 0
    assert [item.problem for item in items_in([b""])] == ["the file is empty"]


def test_a_line_that_is_endless_is_left_out_and_the_next_one_read(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("calls.parity.logs.streams.MOST_LINE", 100)
    raw = b'{"a": 1}\n{"b": "' + b"x" * 500 + b'"}\n{"c": 3}\n'
    found = list(items_in(in_pieces(raw, 50)))
    assert [item.document for item in found] == [{"a": 1}, None, {"c": 3}]
    assert found[1].line == 2 and found[2] == Item(3, {"c": 3})


def test_tellings_of_a_call_are_joined_in_any_order() -> None:
    one, two, report = calls_in(FOLDER / "17-one-call-told-four-times.ndjson")
    all_ways = [
        reduce(merged, order)
        for order in ((one, two, report), (report, two, one), (two, report, one))
    ]
    names = [[(each.name, each.at_ms) for each in sequence_of_log(w).tools] for w in all_ways]
    assert names[0] == names[1] == names[2]
    assert merged(report, report) == report


@pytest.mark.parametrize(
    ("result", "failed"),
    [
        ("No result returned.", True),
        ("Error: locked", True),
        ('{"error": "taken"}', True),
        ('{"error": null, "id": 4}', False),
        ('{"success": false}', True),
        ('{"status": "failed"}', True),
        ("Errors are rare", False),
        ("", False),
        ("{broken", False),
    ],
)
def test_an_answer_that_says_so_has_failed(result: str, failed: bool) -> None:
    assert has_failed(result) is failed


def test_the_platforms_own_tools_have_one_name() -> None:
    assert {tool_name(each) for each in ("endCall", "end_call", "end-call-tool")} == {"endCall"}
    assert tool_name("transfer_call_tool") == "transferCall" and tool_name("book") == "book"


@pytest.mark.parametrize(
    ("one", "other", "together"),
    [
        ("granted", "refused", "refused"),
        ("unknown", "refused", "refused"),
        ("unknown", "granted", "granted"),
        ("unknown", "unknown", "unknown"),
    ],
)
def test_a_refusal_in_either_telling_is_one(one: Any, other: Any, together: str) -> None:
    (whole,) = calls_in(FOLDER / "01-get-call.json")
    for first, second in ((one, other), (other, one)):
        thin = PastCall(log_id=whole.log_id, consent=second)
        assert merged(replace(whole, consent=first), thin).consent == together


@pytest.mark.parametrize(
    ("url", "query", "asked"),
    [
        ("https://t.example/a", b"", "https://t.example/a"),
        ("https://t.example/a?k=1", b"b=2", "https://t.example/a?k=1&b=2"),
        ("https://t.example/a?", b"b=2", "https://t.example/a?b=2"),
        ("https://t.example/a#part", b"b=2", "https://t.example/a?b=2"),
        ("https://t.example/a?k=1#part", b"b=2", "https://t.example/a?k=1&b=2"),
    ],
)
def test_what_the_asker_put_behind_an_address_stands_before_no_fragment(
    url: str, query: bytes, asked: str
) -> None:
    assert with_query(url, query) == asked


def test_of_two_tellings_the_fuller_one_says_what_was_said_in_either_order() -> None:
    (whole,) = calls_in(FOLDER / "01-get-call.json")
    part = read_log(
        {
            "type": "conversation-update",
            "messages": [{"role": "user", "message": "A cleaning", "secondsFromStart": 5}],
            "call": {"id": whole.log_id, "createdAt": "2026-10-05T09:00:00.000Z"},
        }
    )
    for one, other in ((whole, part), (part, whole)):
        found = merged(one, other)
        assert found.speech == whole.speech and found.ended_reason == "customer-ended-call"
        assert found.is_whole and found.started_at == whole.started_at
