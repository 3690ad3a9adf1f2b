"""Errors of the assistants layer.

AssistantError
├── RevisionIsImmutable   publish a new revision instead
├── AssistantInUse        point the phone numbers elsewhere, then delete it
└── SquadInUse            point the phone numbers elsewhere, then delete it
"""

from __future__ import annotations


class AssistantError(Exception):
    """Base of this layer's errors."""


class RevisionIsImmutable(AssistantError):
    """Somebody tried to change a revision; create a new one."""


class AssistantInUse(AssistantError):
    """Something, e.g. a phone number, still answers with the assistant."""


class SquadInUse(AssistantError):
    """A phone number still answers with the squad."""
