"""The reader of Vapi's squad object (vapi.md 8.1, checked 2026-11-22).

Owns where a squad names assistants. Pure and total: whatever JSON arrives, nothing raises; a value
of the wrong type is read as if it were absent.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from tools.loose_json import as_list, as_object, as_text


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
