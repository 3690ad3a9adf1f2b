"""Reads of assistants; writes nothing."""

from __future__ import annotations

from typing import Any

from django.db.models import PROTECT, QuerySet

from assistants.models import Assistant, AssistantRevision
from voiceplatform.base.models import Organisation


def assistant_list(organisation: Organisation) -> QuerySet[Assistant]:
    """Return the assistants of an organisation that are not deleted, with current revisions."""
    rows: QuerySet[Assistant] = Assistant.objects.for_organisation(organisation)
    return rows.filter(deleted_at__isnull=True).select_related("current_revision")


def assistant_users(assistant: Assistant) -> list[str]:
    """Return what points at ``assistant`` from layers above, e.g. phone numbers; at most 5."""
    users: list[str] = []
    for relation in Assistant._meta.related_objects:
        model: Any = relation.related_model
        if relation.on_delete is PROTECT and model is not AssistantRevision:
            rows = model._default_manager.filter(**{relation.field.name: assistant})
            users += [str(row) for row in rows[:5]]
    return users[:5]


def revision_tools(revision: AssistantRevision) -> list[Any]:
    """Return the tools of ``revision`` in the order the document gave."""
    return list(revision.tools.order_by("revisiontool__position"))
