"""Reads of tools; writes nothing."""

from __future__ import annotations

from collections.abc import Iterable

from django.db.models import F, QuerySet

from tools.models import Tool
from voiceplatform.base.models import Organisation
from voiceplatform.base.selectors import uuids_in


def tool_list(organisation: Organisation) -> QuerySet[Tool]:
    """Return the saved tools of an organisation: not deleted, not inline."""
    rows: QuerySet[Tool] = Tool.objects.for_organisation(organisation)
    return rows.filter(deleted_at__isnull=True, is_inline=False)


def tools_by_id(organisation: Organisation, ids: Iterable[str]) -> dict[str, Tool]:
    """Return the saved tools among ``ids``, by id; what is not a UUID is not found."""
    return {str(tool.pk): tool for tool in tool_list(organisation).filter(pk__in=uuids_in(ids))}


def tool_users(tool: Tool) -> list[str]:
    """Return the names of the live assistants whose current revision uses ``tool``, at most 5."""
    revisions = tool.revisions.filter(
        assistant__current_revision=F("pk"), assistant__deleted_at__isnull=True
    )
    return list(revisions.values_list("assistant__name", flat=True)[:5])
