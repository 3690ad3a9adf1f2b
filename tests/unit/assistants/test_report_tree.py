"""A document as sections: every field once, each finding beside the field it speaks of."""

from __future__ import annotations

import pytest

from assistants.findings import Finding, leaves
from assistants.report_tree import MOST_ROWS, tree, values_of

pytestmark = pytest.mark.unit

DOCUMENT = {
    "name": "Desk",
    "model": {"messages": [{"role": "system", "content": "x" * 500}], "temperature": 0.5},
    "a b": {"c": None},
    "empty": [],
}
LEAVES = [(path, "mapped") for path in leaves(DOCUMENT)]


def test_every_leaf_stands_in_its_section_with_its_value() -> None:
    shown = tree(LEAVES, values_of(DOCUMENT), [])
    assert [section.title for section in shown.sections] == ["name", "model", "a b", "empty"]
    assert sum(len(section.rows) for section in shown.sections) == len(LEAVES)
    model = shown.sections[1]
    assert [row.label for row in model.rows] == [
        "messages[0].role",
        "messages[0].content",
        "temperature",
    ]
    assert [row.value[:3] for row in model.rows] == ["sys", "xxx", "0.5"]
    assert len(model.rows[1].value) == 240
    assert [section.rows[0].value for section in shown.sections[2:]] == ["null", "[]"]


def test_findings_stand_beside_leaf_container_and_absent_field() -> None:
    findings = [
        Finding("$", "mapped", "whole"),
        Finding("$.model.temperature", "mapped-lossy", "leaf"),
        Finding("$.model.temperature", "invalid", "again"),
        Finding("$.model.messages", "unsupported", "container"),
        Finding("$.voice", "caller-audible", "absent"),
        Finding("$.model.tools[0]", "kept", "absent below"),
    ]
    shown = tree(LEAVES, {}, findings)
    assert [finding.message for finding in shown.whole] == ["whole"]
    by_title = {section.title: section for section in shown.sections}
    rows = [(row.label, [f.message for f in row.findings]) for row in by_title["model"].rows]
    assert rows == [
        ("messages", ["container"]),
        ("messages[0].role", []),
        ("messages[0].content", []),
        ("temperature", ["leaf", "again"]),
        ("tools[0]", ["absent below"]),
    ]
    assert by_title["model"].state == "invalid"
    assert by_title["voice"].state == "caller-audible"
    assert by_title["name"].state == "mapped"
    assert [s.title for s in shown.sections if s.needs_a_look] == ["model", "voice"]


def test_no_finding_is_lost_in_a_document_that_is_too_long_for_a_page() -> None:
    document = {"rows": list(range(MOST_ROWS + 50))}
    last = f"$.rows[{MOST_ROWS + 49}]"
    every = [(path, "kept") for path in leaves(document)]
    shown = tree(every, {}, [Finding(last, "invalid", "seen")])
    (section,) = shown.sections
    assert (len(section.rows), shown.left_out) == (MOST_ROWS + 1, 50)
    assert section.rows[-1].findings[0].message == "seen"


@pytest.mark.parametrize("path", ["$.", "$[", "$.a[x]", '$["', "nothing", ""])
def test_odd_paths_do_no_harm(path: str) -> None:
    shown = tree([], {}, [Finding(path, "kept", "m")])
    assert sum(len(section.rows) for section in shown.sections) == 1
