"""Rows of the assistants layer, one module per subject."""

from __future__ import annotations

from assistants.models.assistant import Assistant, AssistantRevision, RevisionTool
from assistants.models.files import FilePassage, FileReading
from assistants.models.imports import Finding, ImportedObject, ImportRun
from assistants.models.resources import StoredResource
from assistants.models.squads import Squad
from assistants.models.voices import VoiceChoice

__all__ = [
    "Assistant",
    "AssistantRevision",
    "FilePassage",
    "FileReading",
    "Finding",
    "ImportRun",
    "ImportedObject",
    "RevisionTool",
    "Squad",
    "StoredResource",
    "VoiceChoice",
]
