"""Reads of the lowest layer: what a signed-in person may see.

Owns the one way from a user to rows of any model, and from texts to ids; writes nothing.
"""

from __future__ import annotations

import uuid
from collections.abc import Iterable
from typing import Any

from django.contrib.auth import get_user_model
from django.db.models import Q, QuerySet

from voiceplatform.base.models import Organisation, OrganisationQuerySet


def organisations_visible_to(user: Any) -> QuerySet[Organisation]:
    """Return the organisations of ``user``; superusers see all."""
    if user.is_superuser:
        return Organisation.objects.all()
    return Organisation.objects.filter(memberships__user=user)


def users_visible_to(user: Any) -> QuerySet[Any]:
    """Return the people who share an organisation with ``user``, and ``user``.

    Superusers are hidden from everybody else: who may edit them may become one.
    """
    people = get_user_model()._default_manager.order_by("username")
    if user.is_superuser:
        return people
    shared = Q(pk=user.pk) | Q(
        memberships__organisation__in=organisations_visible_to(user), is_superuser=False
    )
    return people.filter(shared).distinct()


def rows_visible_to(queryset: QuerySet[Any], user: Any, path: str) -> QuerySet[Any]:
    """Narrow ``queryset`` to what ``user`` may see.

    ``path`` leads from the model to its organisation, e.g. ``organisation`` or
    ``call__organisation``; empty means that only superusers see the rows.
    """
    if path == "organisation" and isinstance(queryset, OrganisationQuerySet):
        return queryset.visible_to(user)
    if user.is_superuser:
        return queryset
    if not path:
        return queryset.none()
    return queryset.filter(**{f"{path}__memberships__user": user})


def uuids_in(texts: Iterable[str]) -> list[uuid.UUID]:
    """Return those of ``texts`` that are UUIDs, in order."""
    found: list[uuid.UUID] = []
    for text in texts:
        try:
            found.append(uuid.UUID(text))
        except ValueError:
            continue
    return found
