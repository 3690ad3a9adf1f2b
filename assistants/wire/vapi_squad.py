"""The reader of Vapi's squad object (vapi.md 8.1, checked 2026-11-22).

Owns where a squad names assistants and what it says of its members. Pure and total: whatever JSON
arrives, nothing raises; a value of the wrong type is read as if it were absent.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from tools.loose_json import as_list, as_object, as_text


@dataclass(frozen=True, slots=True)
class SquadMember:
    """A member by its name, and (name, description) of everyone it hands calls on to."""

    name: str
    hands_on: tuple[tuple[str, str], ...] = ()


def squad_members(document: Any, names: Mapping[str, str]) -> list[SquadMember]:
    """Return the members in order.

    Args:
        names: names of saved assistants by id; others are called by their id.
    """
    members: list[SquadMember] = []
    for item in as_list(as_object(document).get("members")):
        member = as_object(item)
        own = as_text(as_object(member.get("assistant")).get("name"))
        targets = map(as_object, as_list(member.get("assistantDestinations")))
        members.append(
            SquadMember(
                name=_name(member, names) or own or "an assistant without a name",
                hands_on=tuple(
                    (
                        _name(target, names) or as_text(target.get("assistantName")) or "?",
                        as_text(target.get("description")),
                    )
                    for target in targets
                ),
            )
        )
    return members


def _name(place: Mapping[str, Any], names: Mapping[str, str]) -> str:
    object_id = as_text(place.get("assistantId"))
    return names.get(object_id.lower(), object_id)


def assistant_ids(document: Any) -> set[str]:
    """Return the ids of the saved assistants that a squad has or hands calls to."""
    return {text.lower() for _, text in assistant_references(document)}


def assistant_references(document: Any) -> Iterator[tuple[str, str]]:
    """Yield path and id of every saved assistant, e.g. ``("members.0.assistantId", "…")``."""
    for index, item in enumerate(as_list(as_object(document).get("members"))):
        member = as_object(item)
        if text := as_text(member.get("assistantId")):
            yield f"members.{index}.assistantId", text
        for number, target in enumerate(as_list(member.get("assistantDestinations"))):
            if text := as_text(as_object(target).get("assistantId")):
                yield f"members.{index}.assistantDestinations.{number}.assistantId", text
