"""Reads of phone numbers with their companion documents; writes nothing.

A number is a row, a companion, or both (``calls.services.number_documents``), so every list is a
merge of two queries. An organisation has hundreds of numbers, not millions.
"""

from __future__ import annotations

import datetime as dt
import uuid
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from django.db.models import Q, QuerySet

from assistants.models import StoredResource
from assistants.selectors import NUMBER_KIND, resource_list
from calls.models import PhoneNumber
from calls.selectors.records import number_list
from voiceplatform.base.models import Organisation


@dataclass(frozen=True, slots=True)
class StoredNumber:
    """A number: its row, its companion, or both."""

    row: PhoneNumber | None
    companion: StoredResource | None

    @property
    def created_at(self) -> dt.datetime:
        """Return when it was made."""
        moment: dt.datetime = self._first().created_at
        return moment

    @property
    def updated_at(self) -> dt.datetime:
        """Return when it was last changed."""
        moment: dt.datetime = self._first().updated_at
        return moment

    @property
    def pk(self) -> uuid.UUID:
        """Return its id."""
        number_id: uuid.UUID = self._first().pk
        return number_id

    @property
    def organisation(self) -> Organisation:
        """Return whose it is."""
        organisation: Organisation = self._first().organisation
        return organisation

    def _first(self) -> Any:
        first = self.row or self.companion
        assert first is not None
        return first


def number_sources(
    organisation: Organisation, search: str = ""
) -> tuple[QuerySet[PhoneNumber], QuerySet[StoredResource]]:
    """Return the rows, and the companions that have none; ``search`` as at Vapi.

    It finds a part of the name, the number or the SIP address, whatever the case.
    """
    rows = number_list(organisation)
    with_row = PhoneNumber.objects.for_organisation(organisation).values("pk")
    kept = resource_list(organisation, NUMBER_KIND).exclude(pk__in=with_row).defer("document")
    if search:
        rows = rows.filter(Q(name__icontains=search) | Q(number_e164__icontains=search))
        kept = kept.filter(
            Q(name__icontains=search)
            | Q(document_redacted__number__icontains=search)
            | Q(document_redacted__sipUri__icontains=search)
        )
    return rows, kept


def with_companions(
    organisation: Organisation,
    rows: Iterable[PhoneNumber],
    kept: Iterable[StoredResource],
    *,
    by: str = "created_at",
    descending: bool = True,
) -> list[StoredNumber]:
    """Return numbers from both sources, each row with its companion, sorted by a time."""
    found = list(rows)
    companions = resource_list(organisation, NUMBER_KIND).defer("document")
    by_id = {each.pk: each for each in companions.filter(pk__in=[row.pk for row in found])}
    numbers = [StoredNumber(row, by_id.get(row.pk)) for row in found]
    numbers += [StoredNumber(None, each) for each in kept]
    return sorted(numbers, key=lambda each: (getattr(each, by), each.pk), reverse=descending)


def number_by_id(organisation: Organisation, number_id: uuid.UUID) -> StoredNumber | None:
    """Return one number, None when it is not here."""
    row = number_list(organisation).filter(pk=number_id).first()
    companion = resource_list(organisation, NUMBER_KIND).filter(pk=number_id).first()
    return StoredNumber(row, companion) if row or companion else None


def number_kept(
    organisation: Organisation, number_id: uuid.UUID, number: str
) -> StoredResource | None:
    """Return the companion without a row of this id, else the one that keeps this number."""
    with_row = PhoneNumber.objects.for_organisation(organisation).values("pk")
    kept = resource_list(organisation, NUMBER_KIND).exclude(pk__in=with_row).defer("document")
    found: StoredResource | None = kept.filter(pk=number_id).first()
    if found is None and number:
        found = kept.filter(document_redacted__number=number).first()
    return found
