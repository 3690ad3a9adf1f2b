"""Every row that hangs on a call, whichever table holds it: counted, and deleted in small batches.

Walks the foreign keys that cascade, so a table that is added later is reached without a word here.
The companion document of a call, which has no foreign key, is deleted along. Asks nobody whether a
call may go: that is the caller's to decide.
"""

from __future__ import annotations

import uuid
from collections import Counter
from collections.abc import Iterator, Sequence
from typing import Any, Final

from django.db import models, transaction

from assistants.models import StoredResource
from assistants.selectors import CALL_KIND
from calls.models import Call, NetFiring
from calls.services.recording_files import sound_delete
from calls.services.recordings import call_recording_forget

BATCH: Final = 100  # rows a transaction: far below what one may hold SQLite's lock for


def below(model: type[models.Model]) -> Iterator[tuple[type[models.Model], str]]:
    """Yield the models whose rows go with a row of ``model``, and the name of their field."""
    # Hidden ones included: a relation that nobody follows backwards holds rows all the same.
    for relation in model._meta.get_fields(include_hidden=True):
        if not relation.auto_created or relation.concrete:
            continue
        if getattr(relation, "on_delete", None) is models.CASCADE:
            found: Any = relation
            yield found.related_model, found.field.name


def call_rows_count(calls: Sequence[uuid.UUID]) -> Counter[str]:
    """Count the rows of ``calls`` by table, the calls and their companions included."""
    counts: Counter[str] = Counter()
    for start in range(0, len(calls), BATCH):
        some = calls[start : start + BATCH]
        _count(Call, list(some), counts)
        counts["calls.call"] += len(some)
        counts["assistants.storedresource"] += _companions(some).count()
    return +counts


def _count(model: type[models.Model], pks: list[Any], counts: Counter[str]) -> None:
    for child, field in below(model):
        found = list(
            child._base_manager.filter(**{f"{field}__in": pks}).values_list("pk", flat=True)
        )
        counts[child._meta.label_lower] += len(found)
        for start in range(0, len(found), BATCH):
            _count(child, found[start : start + BATCH], counts)


def call_rows_delete(call_id: uuid.UUID) -> Counter[str]:
    """Delete a call and all that hangs on it; return how many rows of which table.

    May be stopped in between and begun again: the call's own row is the last one.
    """
    counts: Counter[str] = Counter()
    # First the file: with its row goes what knows that Twilio may have a copy of it.
    counts["files"] += sound_delete(call_id)
    call_recording_forget(call_id)
    _delete(Call, [call_id], counts)
    # That a net was needed stays, without the call that needed it.
    named = Call.objects.filter(pk=call_id).values("call_sid")
    NetFiring.objects.filter(call_sid__in=named).update(call_sid="")
    with transaction.atomic():
        companions, _ = _companions([call_id]).delete()
        counts["assistants.storedresource"] += companions
        counts["calls.call"] += Call.objects.filter(pk=call_id).delete()[0]
    return +counts


def _delete(model: type[models.Model], pks: list[Any], counts: Counter[str]) -> None:
    for child, field in below(model):
        rows = child._base_manager.filter(**{f"{field}__in": pks})
        while found := list(rows.values_list("pk", flat=True)[:BATCH]):
            _delete(child, found, counts)
            with transaction.atomic():
                child._base_manager.filter(pk__in=found).delete()
            counts[child._meta.label_lower] += len(found)


def _companions(calls: Sequence[uuid.UUID]) -> models.QuerySet[StoredResource]:
    return StoredResource.objects.filter(pk__in=calls, kind=CALL_KIND)
