"""Assistants, tools, squads, files and voices for tests."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from django.utils import timezone

from assistants.knowledge.words import words_of
from assistants.models import (
    Assistant,
    AssistantRevision,
    FileReading,
    RevisionTool,
    Squad,
    StoredResource,
    VoiceChoice,
)
from tests.factories.base import default_organisation, next_number
from tools.models import Tool
from voiceplatform.base.models import Organisation


def make_tool(organisation: Organisation | None = None, **columns: Any) -> Tool:
    """Make a function tool with a server."""
    defaults: dict[str, Any] = {
        "name": f"tool_{next_number()}",
        "description": "Does a thing",
        "parameters": {
            "type": "object",
            "properties": {"when": {"type": "string"}},
            "required": ["when"],
        },
        "server_url": "https://tools.example.com/vapi",
        "server_url_host": "tools.example.com",
    }
    return Tool.objects.create(
        organisation=organisation or default_organisation(), **{**defaults, **columns}
    )


def make_revision(
    assistant: Assistant, *, tools: Sequence[Tool] = (), **columns: Any
) -> AssistantRevision:
    """Make the next revision of ``assistant``, current from now on."""
    newest = assistant.revisions.order_by("-number").first()
    defaults: dict[str, Any] = {
        "number": newest.number + 1 if newest else 1,
        "source": "seed",
        "instructions": "You are a helpful receptionist.",
        "first_message": "Hello, how can I help?",
        "document_redacted": columns.get("document") or {},
    }
    revision = AssistantRevision.objects.create(assistant=assistant, **{**defaults, **columns})
    for position, tool in enumerate(tools):
        RevisionTool.objects.create(revision=revision, tool=tool, position=position)
    assistant.current_revision = revision
    assistant.save(update_fields=["current_revision"])
    return revision


def make_assistant(
    organisation: Organisation | None = None,
    *,
    name: str = "",
    tools: Sequence[Tool] = (),
    **revision_columns: Any,
) -> Assistant:
    """Make an assistant with one revision; further keywords are columns of the revision."""
    now = timezone.now()
    assistant = Assistant.objects.create(
        organisation=organisation or default_organisation(),
        name=name or f"Assistant {next_number()}",
        created_at=now,
        updated_at=now,
    )
    make_revision(assistant, tools=tools, **revision_columns)
    return assistant


def make_squad(organisation: Organisation | None = None, **document: Any) -> Squad:
    """Make a squad of one written-out assistant; keywords are fields of its document."""
    whole = {
        "name": f"Squad {next_number()}",
        "members": [{"assistant": {"name": "Desk"}}],
        **document,
    }
    now = timezone.now()
    return Squad.objects.create(
        organisation=organisation or default_organisation(),
        name=whole["name"],
        document=whole,
        document_redacted=whole,
        created_at=now,
        updated_at=now,
    )


def make_resource(
    organisation: Organisation | None = None,
    kind: str = "structured-output",
    *,
    content: bytes | None = None,
    **document: Any,
) -> StoredResource:
    """Make a stored resource; keywords are fields of its document."""
    whole = {"name": f"Resource {next_number()}", **document}
    now = timezone.now()
    return StoredResource.objects.create(
        organisation=organisation or default_organisation(),
        kind=kind,
        name=whole["name"],
        document=whole,
        document_redacted=whole,
        content=content,
        created_at=now,
        updated_at=now,
    )


def make_file(organisation: Organisation | None = None, **columns: Any) -> FileReading:
    """Make an uploaded file that was read, with one passage; keywords are columns of its reading.

    The passage says "The pumpkin soup costs five euro."
    """
    name = f"file-{next_number()}.txt"
    file = make_resource(organisation, "file", content=b"bytes", name=name, bytes=5)
    reading = FileReading.objects.create(
        file=file,
        organisation=file.organisation,
        **{"state": FileReading.State.DONE, "passage_count": 1, **columns},
    )
    text = "The pumpkin soup costs five euro."
    reading.passages.create(ordinal=0, text=text, words=" ".join(words_of(text)))
    return reading


def make_voice_choice(organisation: Organisation | None = None, **columns: Any) -> VoiceChoice:
    """Make a row of the voice table that somebody decided."""
    defaults: dict[str, Any] = {
        "provider": "11labs",
        "voice_id": f"clone-{next_number()}",
        "realtime_voice": "marin",
        "decided_at": timezone.now(),
    }
    return VoiceChoice.objects.create(
        organisation=organisation or default_organisation(), **{**defaults, **columns}
    )
