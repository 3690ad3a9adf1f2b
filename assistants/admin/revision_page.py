"""What the pages of revisions show: the history of an assistant, and two revisions compared.

Plain values for templates, escaped there; no secret is among them (``assistants.diff``).
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from typing import Any, Final

from django.urls import reverse

from assistants.diff import Change, changes, with_gaps
from assistants.models import Assistant, AssistantRevision
from assistants.selectors import revision_tools
from assistants.services import revision_document

_SHOWN: Final = 20
_CHOICES: Final = 200
_SHORT: Final = 40  # characters of values that stand side by side
_LONGEST: Final = 20_000  # characters of one value; a page is to be read
_SOURCES: Final = {
    "import": "imported",
    "api": "through the API",
    "admin": "in the admin",
    "seed": "sample data",
    "revert": "brought back",
}
_LABELS: Final = {
    "$.name": "Name",
    "$.firstMessage": "Greeting",
    "$.firstMessageMode": "Who speaks first",
    "$.firstMessageInterruptionsEnabled": "The caller may interrupt the greeting",
    "$.endCallMessage": "Goodbye",
    "$.voice": "Voice",
    "$.voice.voiceId": "Voice",
    "$.transcriber.language": "Language",
    "$.model.model": "Model",
    "$.model.toolIds": "Saved tools",
    "$.maxDurationSeconds": "Longest call (seconds)",
    "$.server.url": "Webhook address",
    "$.serverUrl": "Webhook address",
    "$.server.secret": "Webhook secret",
    "$.serverUrlSecret": "Webhook secret",
}
_MESSAGE: Final = re.compile(r"\$\.model\.messages\[(\d+)\](\.content)?")


def revision_url(revision_id: int, page: str) -> str:
    """Return the address of a page of a revision: change, compare, publish, discard, revert."""
    return reverse(f"admin:assistants_assistantrevision_{page}", args=[revision_id])


def compare_url(old_id: int, new_id: int) -> str:
    """Return the address of the page that compares two revisions of one assistant."""
    return f"{revision_url(new_id, 'compare')}?old={old_id}"


def history_of(assistant: Assistant, *, may_change: bool) -> dict[str, Any]:
    """Return what the page of an assistant says about its revisions."""
    rows = list(
        assistant.revisions.order_by("-number").defer(
            "document", "document_redacted", "instructions"
        )[: _SHOWN + 1]
    )
    live_id, draft = assistant.current_revision_id, assistant.draft_revision
    imported = assistant.imported_revision
    earlier = {row.pk: other.pk for row, other in zip(rows, rows[1:], strict=False)}
    shown = []
    for row in rows[:_SHOWN]:
        other = live_id if live_id not in (None, row.pk) else earlier.get(row.pk)
        old, new = (row.pk, other) if other == live_id and row.pk != live_id else (other, row.pk)
        if draft is not None and row.pk == draft.pk:
            old, new = new, old
        shown.append(
            {
                **_facts(row, assistant),
                "url": revision_url(row.pk, "change"),
                "compare_url": compare_url(old, new) if old and new else "",
                "compare_words": "what it changes"
                if draft is not None and row.pk == draft.pk
                else "what changed since"
                if other == live_id
                else "what it changed",
            }
        )
    return {
        "rows": shown,
        "has_more": len(rows) > _SHOWN,
        "all_url": reverse("admin:assistants_assistantrevision_changelist")
        + f"?assistant__id__exact={assistant.pk}",
        "draft": _draft_facts(assistant, draft, may_change=may_change) if draft else None,
        "live_number": assistant.current_revision.number if assistant.current_revision else None,
        "import_differs_url": compare_url(imported.pk, live_id)
        if imported and live_id and imported.pk != live_id
        else "",
        "imported_number": imported.number if imported else None,
    }


def _draft_facts(
    assistant: Assistant, draft: AssistantRevision, *, may_change: bool
) -> dict[str, Any]:
    live = assistant.current_revision
    return {
        **_facts(draft, assistant),
        "is_behind": live is not None and live.number > draft.number,
        "compare_url": compare_url(live.pk, draft.pk) if live else "",
        "publish_url": revision_url(draft.pk, "publish") if may_change else "",
        "discard_url": revision_url(draft.pk, "discard") if may_change else "",
    }


def _facts(revision: AssistantRevision, assistant: Assistant) -> dict[str, Any]:
    badges = [
        (words, colour)
        for words, colour, pk in (
            ("live", "success", assistant.current_revision_id),
            ("draft", "warning", assistant.draft_revision_id),
            ("last import", "info", assistant.imported_revision_id),
        )
        if pk == revision.pk
    ]
    return {
        "id": revision.pk,
        "number": revision.number,
        "author": revision.author.removeprefix("user:"),
        "source": _SOURCES.get(revision.source, revision.source),
        "created_at": revision.created_at,
        "note": revision.note,
        "badges": badges,
    }


def compare_page(
    assistant: Assistant,
    old: AssistantRevision,
    new: AssistantRevision,
    *,
    may_change: bool,
) -> dict[str, Any]:
    """Return what the page shows that compares two revisions of ``assistant``."""
    rows = changes_shown(revision_document(old), revision_document(new))
    numbers = assistant.revisions.order_by("-number").values_list("pk", "number")[:_CHOICES]
    is_draft = assistant.draft_revision_id == new.pk
    older = old if old.number < new.number else new
    may_revert = older.pk not in (assistant.current_revision_id, assistant.draft_revision_id)
    live = assistant.current_revision
    return {
        "assistant": {"name": str(assistant), "id": assistant.pk},
        "old": _facts(old, assistant),
        "new": _facts(new, assistant),
        "changes": rows,
        "tools": _tool_changes(old, new),
        "choices": [{"id": pk, "number": number} for pk, number in numbers],
        "swap_url": compare_url(new.pk, old.pk),
        "draft": _draft_facts(assistant, new, may_change=may_change) if is_draft else None,
        "revert_url": revision_url(older.pk, "revert") if may_change and may_revert else "",
        "revert_number": older.number,
        "live_number": live.number if live else None,
    }


def changes_shown(old: Mapping[str, Any], new: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Return every difference of two documents for the template ``changes.html``."""
    return [_shown(change, new) for change in changes(old, new)]


def _tool_changes(old: AssistantRevision, new: AssistantRevision) -> list[dict[str, str]]:
    """Return the saved tools that only one of the two links."""
    before, after = (
        {tool.pk: str(tool) for tool in revision_tools(each) if not tool.is_inline}
        for each in (old, new)
    )
    added = [{"kind": "added", "name": name} for pk, name in after.items() if pk not in before]
    removed = [{"kind": "removed", "name": name} for pk, name in before.items() if pk not in after]
    return added + removed


def _shown(change: Change, document: Mapping[str, Any]) -> dict[str, Any]:
    label = _LABELS.get(change.path, "")
    match = _MESSAGE.fullmatch(change.path)
    if match:
        messages = document.get("model", {}).get("messages")
        index = int(match[1])
        first = messages[index] if isinstance(messages, list) and index < len(messages) else None
        is_system = isinstance(first, Mapping) and first.get("role") == "system"
        label = "Prompt" if is_system else f"Message {index + 1}"
    return {
        "label": label,
        "path": change.path.removeprefix("$."),
        "kind": change.kind,
        "words": with_gaps(change.words),
        "old": _text(change.old),
        "new": _text(change.new),
        "is_short": max(len(_text(change.old)), len(_text(change.new))) <= _SHORT,
        "has_old": change.kind in ("changed", "removed"),
        "has_new": change.kind in ("changed", "added"),
    }


def _text(value: Any) -> str:
    text = value if isinstance(value, str) else json.dumps(value, indent=2, ensure_ascii=False)
    if text == "":
        return "(empty)"
    return text if len(text) <= _LONGEST else f"{text[:_LONGEST]}\n… ({len(text)} characters)"
