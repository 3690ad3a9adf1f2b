"""The files of an export: where they lie, what they say, and that the same rows give same bytes."""

from __future__ import annotations

import json
from typing import Any

import pytest

from assistants.export import EXAMPLE_FILE, EXPORTED_FROM, Item, closure, export
from assistants.importing import drafts_of
from assistants.secret_references import with_references, with_values
from assistants.wire.files import read_file
from assistants.yaml12 import parse_yaml
from tests.unit.house.source_tree import ROOT
from voiceplatform.base.models import DEFAULT_ORGANISATION_ID

pytestmark = pytest.mark.unit

MADE = "2026-01-02T03:04:05.678Z"
DESK = "a0000000-0000-4000-8000-00000000000a"
BOOK = "b0000000-0000-4000-8000-00000000000b"
TEAM = "c0000000-0000-4000-8000-00000000000c"
FIXTURES = ROOT / "tests" / "fixtures" / "vapi"


def desk(**fields: Any) -> Item:
    document = {
        "name": "Réception & Co",
        "model": {"provider": "openai", "model": "gpt-realtime-2.1", "toolIds": [BOOK]},
        "server": {"url": "https://hooks.example.com", "secret": "hush-hush"},
        **fields,
    }
    return Item("assistant", DESK, str(document["name"]), MADE, document)


def book() -> Item:
    document = {"type": "function", "function": {"name": "book"}}
    return Item("tool", BOOK, "book", MADE, document)


def team() -> Item:
    document = {"name": "Team", "members": [{"assistantId": DESK}]}
    return Item("squad", TEAM, "Team", MADE, document)


def test_each_object_is_a_file_in_the_folder_of_its_kind() -> None:
    exported = export([team(), book(), desk()])
    assert sorted(exported.files) == [
        "assistants/reception-co-a0000000.json",
        EXAMPLE_FILE,
        "squads/team-c0000000.json",
        "tools/book-b0000000.json",
    ]
    text = exported.files["assistants/reception-co-a0000000.json"]
    assert text.endswith("\n}\n") and "Réception" in text
    written = json.loads(text)
    assert list(written) == ["id", "name", "model", "server", "createdAt", EXPORTED_FROM]
    assert (written["id"], written["createdAt"]) == (DESK, MADE)


def test_no_secret_is_written_and_each_is_listed() -> None:
    exported = export([desk()])
    assert "hush-hush" not in "".join(exported.files.values())
    name = "ASSISTANT_RECEPTION_CO_A0000000_SERVER_SECRET"
    assert exported.secret_names == (name,)
    assert f"\n# assistants/reception-co-a0000000.json\n{name}=\n" in exported.files[EXAMPLE_FILE]


def test_the_same_objects_give_the_same_bytes_whatever_their_order() -> None:
    assert export([desk(), book(), team()]) == export([team(), desk(), book()])


def test_a_secret_is_no_part_of_what_an_export_was_made_from() -> None:
    one, other = desk(), desk(server={"url": "https://hooks.example.com", "secret": "newer"})
    assert export([one]).files == export([other]).files


def test_two_objects_whose_ids_begin_alike_have_two_files() -> None:
    twin = Item("tool", BOOK[:-1] + "c", "book", MADE, book().document)
    assert sorted(export([book(), twin]).files) == [
        f"tools/{twin.object_id}.json",
        "tools/book-b0000000.json",
    ]


def test_portable_files_have_no_ids_and_point_at_each_other_by_file() -> None:
    exported = export([desk(), book(), team()], portable=True)
    assert "-4000-8000-" not in "".join(exported.files.values())
    squad = json.loads(exported.files["squads/team-c0000000.json"])
    assert squad["members"] == [{"assistantId": "reception-co-a0000000"}]
    readings = [
        read_file(path, text.encode(), parse_yaml)
        for path, text in sorted(exported.files.items())
        if path.endswith(".json")
    ]
    drafts = drafts_of(readings, organisation_id=DEFAULT_ORGANISATION_ID)
    ids = {draft.kind: draft.object_id for draft in drafts}
    documents = {draft.kind: draft.document or {} for draft in drafts}
    assert documents["assistant"]["model"]["toolIds"] == [ids["tool"]]
    assert documents["squad"]["members"] == [{"assistantId": ids["assistant"]}]


def test_a_choice_brings_what_it_points_at() -> None:
    every = [desk(), book(), team()]
    assert closure([book()], every) == [book()]
    assert closure([team()], every) == [team(), desk(), book()]


@pytest.mark.parametrize("path", sorted(FIXTURES.rglob("*.json")), ids=lambda path: path.stem)
def test_the_secrets_of_every_fixture_go_and_come_back(path: Any) -> None:
    for found in read_file(path.name, path.read_bytes(), parse_yaml).found:
        template, values = with_references(found.value, "X")
        assert with_values(template, values) == (found.value, [])
