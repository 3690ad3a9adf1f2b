"""Generated: every real export is read and accounted for leaf by leaf, or refused with a reason.

The files under ``tests/fixtures/vapi`` are always there; those beside the repository, which may not
be redistributed, are used where they exist.
"""

from __future__ import annotations

import json
import uuid
from pathlib import Path

import pytest

from assistants.findings import account, leaves, pack_leaves, unpack_leaves
from assistants.importing import Draft, drafts_of, with_missing_tools
from assistants.wire.files import read_file
from assistants.wire.vapi_config import read_assistant
from assistants.yaml12 import parse_yaml
from tests.unit.house.source_tree import ROOT

pytestmark = pytest.mark.unit

OURS = ROOT / "tests" / "fixtures" / "vapi"
FOLDERS = [folder for folder in (OURS, ROOT.parent / "shared" / "data" / "vapi") if folder.is_dir()]
FILES = [(folder, path) for folder in FOLDERS for path in sorted(folder.rglob("*.json"))]
EXPECTED = {
    "assistants": {"assistant"},
    "tools": {"tool", "unknown"},
    "squads": {"squad"},
    "calls": {"call"},
    "payloads": {"payload"},
    "schemas": {"tool", "unknown"},
}


def name_of(entry: tuple[Path, Path]) -> str:
    return f"{entry[0].parent.name}-{entry[1].relative_to(entry[0]).as_posix()}"


def unspoken(draft: Draft) -> list[str]:
    """Return the leaves that no finding and no mark speaks of, not even of what holds them."""
    known = {f.path for f in draft.findings if f.path != "$"} | draft.marks.keys()
    found = []
    for leaf in leaves(draft.original):
        cut = len(leaf)
        while cut > 1 and leaf[:cut] not in known:
            cut = max(leaf.rfind(".", 0, cut), leaf.rfind("[", 0, cut))
        if cut <= 1:
            found.append(leaf)
    return found


def test_there_is_a_corpus() -> None:
    assert len(FILES) > 90


@pytest.mark.parametrize("entry", FILES, ids=name_of)
def test_every_export_is_imported_or_refused_with_a_reason(entry: tuple[Path, Path]) -> None:
    folder, path = entry
    name = path.relative_to(folder).as_posix()
    reading = read_file(name, path.read_bytes(), parse_yaml)
    drafts = with_missing_tools(drafts_of([reading], organisation_id=uuid.UUID(int=1)), ())
    assert drafts
    assert {draft.kind for draft in drafts} <= EXPECTED[path.parent.name]
    for draft in drafts:
        if draft.verdict:
            assert len(draft.reason) > 20
            continue
        assert draft.original is not None
        listed = account(draft.original, draft.findings, draft.marks)
        assert [leaf for leaf, _ in listed] == list(leaves(draft.original))
        assert unpack_leaves(pack_leaves(listed)) == listed
        assert not unspoken(draft)
        assert uuid.UUID(draft.object_id)
        json.dumps(draft.document, allow_nan=False)
        assert all(finding.message for finding in draft.findings)
        if draft.kind == "assistant":
            reading_back = read_assistant(draft.document)
            says_none = any(f.path == "$.model.messages" for f in draft.findings)
            assert bool(reading_back.instructions) != says_none


def test_what_should_not_come_in_does_not() -> None:
    """Only records of calls, requests and templates of other programs may be left out."""
    for folder, path in FILES:
        if path.parent.name not in ("assistants", "tools"):
            continue
        reading = read_file(path.relative_to(folder).as_posix(), path.read_bytes(), parse_yaml)
        kinds = {found.kind for found in reading.found}
        assert kinds in ({"assistant"}, {"tool"}) or path.name.startswith("029-"), path.name
