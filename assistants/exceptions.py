"""Errors of the assistants layer.

AssistantError
├── RevisionIsImmutable   publish a new revision instead
├── AssistantInUse        point the phone numbers elsewhere, then delete it
├── RevisionRefused       look at the assistant again; its revisions moved on
├── ResourceInUse         take it out of the simulations or suites it names, then delete it
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


class RevisionRefused(AssistantError):
    """A revision cannot be published, discarded or brought back; the text says why."""


class ResourceInUse(AssistantError):
    """Another stored resource still names this one."""
