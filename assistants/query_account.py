"""What becomes of a ``query`` tool: findings on its knowledge bases and its question.

Owns the words on one tool type beside ``assistants.tool_account``; whether a file is here is said
by ``assistants.references``. Pure; what they say follows ``calls.services.tool_kinds.query`` and
must change with it (vapi.md 3.5).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from assistants.findings import INVALID, LOSSY, MAPPED, UNSUPPORTED, Notes, short
from assistants.wire.files import step
from tools.knowledge import knowledge_bases, knowledge_file_ids
from tools.normalise import normalise
from tools.wire.vapi_tool import read_tool


def account_query(tool: Mapping[str, Any], notes: Notes, path: str) -> None:
    """Add the findings on a tool that looks something up in uploaded files."""
    at = step(path, "knowledgeBases")
    if not knowledge_file_ids(tool):
        notes.add(
            at if "knowledgeBases" in tool else path,
            INVALID,
            "It names no file, so it finds nothing and says so. Fix: upload files and name them "
            "in knowledgeBases.",
        )
    else:
        notes.add(
            step(path, "type"),
            LOSSY,
            "Looks up the words of the question in these files; the assistant reads the passages "
            "that fit best and answers. At Vapi another model reads the files first. Fix: ask it a "
            "few questions, in the admin under Files.",
        )
    for index, base in enumerate(knowledge_bases(tool)):
        place = step(at, index)
        notes.mark(*(step(place, key) for key in ("name", "description", "provider")))
        if base.provider not in ("", "google"):
            notes.add(
                step(place, "provider"),
                UNSUPPORTED,
                f"No {short(base.provider)} is asked; files that it names are searched here.",
            )
        whole = tool["knowledgeBases"][index]
        if isinstance(whole, dict) and whole.get("model"):
            words = "No other model reads the files; the assistant's own does."
            notes.add(step(place, "model"), UNSUPPORTED, words)
    for note in normalise(dict(read_tool(tool).parameters)).notes:
        place = step(step(path, "function"), "parameters")
        for part in note.path:
            place = step(place, part)
        notes.add(place, LOSSY if note.is_lost else MAPPED, note.message)
    if tool.get("async") is True:
        notes.add(step(path, "async"), MAPPED, "What was found is always waited for.")
