"""What becomes of an ``sms`` tool: findings on whom it writes to, and as whom.

Owns the words on one tool type beside ``assistants.tool_account``. Pure; what they say follows
``calls.services.tool_kinds.sms`` and must change with it (vapi.md 3.5).
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, Final

from assistants.findings import INVALID, LOSSY, MAPPED, Notes, variables
from assistants.wire.files import step
from tools.normalise import normalise
from tools.wire.vapi_tool import read_text_message, read_tool

_E164: Final = re.compile(r"\+[1-9][0-9]{6,14}")


def account_text(tool: Mapping[str, Any], notes: Notes, path: str) -> None:
    """Add the findings on a tool that sends a text message."""
    notes.add(
        step(path, "type"),
        MAPPED,
        "Sends a text message to the caller through the Twilio account of the call. The number it "
        "comes from must be able to send them (and be registered where the law asks for it).",
    )
    named = read_text_message(tool)
    at = step(path, "metadata")
    for key, value in (("from", named.sender), ("to", named.receiver)):
        if not value:
            continue
        place = step(at, key)
        if variables(value):
            notes.add(place, MAPPED, "Filled in for each call; what is no number sends nothing.")
        elif not _E164.fullmatch(value):
            words = "No number in the form +15550100001, so nothing is sent. Fix: correct it."
            notes.add(place, INVALID, words)
        else:
            words = {"from": "Messages come from it.", "to": "Messages go to it."}[key]
            notes.add(place, MAPPED, words)
    for note in normalise(dict(read_tool(tool).parameters)).notes:
        place = step(step(path, "function"), "parameters")
        for part in note.path:
            place = step(place, part)
        notes.add(place, LOSSY if note.is_lost else MAPPED, note.message)
    if tool.get("async") is True:
        notes.add(step(path, "async"), MAPPED, "Whether it was accepted is always waited for.")
