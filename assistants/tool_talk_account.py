"""What becomes of what a tool has said around its calls, and of its conditions against them.

Owns the findings on ``messages`` and ``rejectionPlan`` of a tool (vapi.md 3.3, 3.4). Pure; what
they say follows ``tools.messages``, ``tools.rejection`` and the bridge, and must change with them.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from assistants.findings import AUDIBLE, INVALID, LOSSY, MAPPED, UNSUPPORTED, Notes, several, short
from assistants.wire.files import step
from tools.messages import ToolMessage, read_messages
from tools.rejection import unreadable
from tools.spec import POSTED_KINDS, RUNNABLE_KINDS, SERVED_KINDS

_WHEN: Mapping[str, str] = {
    "start": "when it begins",
    "delayed": "while it is late",
    "complete": "when it has succeeded",
    "failed": "when it has failed",
}


def account_talk(tool: Mapping[str, Any], notes: Notes, path: str, kind: str) -> None:
    """Add the findings on what is said around the calls of a tool, and on what forbids them."""
    _account_messages(tool, notes, step(path, "messages"), kind)
    plan = tool.get("rejectionPlan")
    if not plan:
        return
    at = step(path, "rejectionPlan")
    if kind not in RUNNABLE_KINDS:
        notes.add(at, UNSUPPORTED, "Stored; the tool does not run at all.")
        return
    notes.add(
        at,
        MAPPED,
        "Judged before anything is sent: a call that it rejects is refused, and the model told so.",
    )
    for problem in unreadable(plan):
        words = f"A condition that never holds: {short(problem)}. Fix: mend it."
        notes.add(step(at, "conditions"), INVALID, words)


def _account_messages(tool: Mapping[str, Any], notes: Notes, at: str, kind: str) -> None:
    listed = tool.get("messages")
    messages = read_messages(listed) if isinstance(listed, list) else ()
    spoken = [each for each in messages if each.text]
    if not spoken:
        return
    if kind not in RUNNABLE_KINDS:
        words = "These sentences are not spoken: the tool does not run."
        notes.add(at, AUDIBLE, words)
        return
    if kind == "dtmf":
        notes.add(at, AUDIBLE, "Not said: keys are pressed without a word.")
        return
    if kind in SERVED_KINDS:
        unwaited = kind in POSTED_KINDS and tool.get("async") is True
        unsaid = [each for each in spoken if unwaited and not _is_said(each)]
        # When a handoff has succeeded the other assistant speaks.
        unsaid += [each for each in spoken if kind == "handoff" and each.kind == "complete"]
    else:
        unsaid = [each for each in spoken if each.kind != "start"]
    said = dict.fromkeys(_WHEN[each.kind] for each in spoken if each not in unsaid)
    words = f"Said word for word {several(list(said))}." if said else "None of it is said."
    if unsaid:
        words += " What comes with an answer or a delay is not: nobody waits for this tool."
    notes.add(at, LOSSY if unsaid else MAPPED, words)


def _is_said(message: ToolMessage) -> bool:
    """Tell whether a tool that is not waited for says this: only that it was called (3.3)."""
    return message.kind == "complete"
