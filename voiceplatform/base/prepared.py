"""Writes whose costly part happens before their transaction: a write lock is held for a moment.

Owns the order (prepare, open the transaction, see that nothing changed, write) and what happens
when somebody else was faster. What is prepared and how a change shows is the caller's.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final, TypeVar

from django.db import transaction

_ATTEMPTS: Final = 4

Prepared = TypeVar("Prepared")
Written = TypeVar("Written")


class ChangedMeanwhile(Exception):
    """Somebody wrote to the row since it was read; read it again, then decide again."""


class RowGone(Exception):
    """Somebody deleted the row since it was read; it is not there any more."""


def write_prepared(
    prepare: Callable[[], Prepared],
    write: Callable[[Prepared], Written],
    *,
    lock: Callable[[], object],
) -> Written:
    """Run ``prepare`` outside a transaction of its own and ``write`` inside one.

    Both run again when ``write`` raises ``ChangedMeanwhile``; where others are faster every time,
    at last under ``lock``, so that a write always gets through.

    Args:
        prepare: reads what is there and makes what will be stored.
        write: locks the row, raises ``ChangedMeanwhile`` if it is not what ``prepare`` read, and
            stores.
        lock: locks the row until the transaction ends.
    """
    for _ in range(_ATTEMPTS):
        prepared = prepare()
        try:
            with transaction.atomic():
                return write(prepared)
        except ChangedMeanwhile:
            continue
    with transaction.atomic():
        lock()
        return write(prepare())


def lock_live(row: Any) -> None:
    """Lock a row that is kept after its deletion, until the transaction ends.

    Whoever deletes it, or points something at it, does this before looking who uses it.

    Raises:
        RowGone: it was deleted meanwhile.
    """
    rows = type(row)._default_manager.select_for_update()
    live = rows.filter(pk=row.pk, deleted_at__isnull=True).order_by()
    if live.values_list("pk", flat=True).first() is None:
        noun = str(type(row)._meta.verbose_name).capitalize()
        raise RowGone(f"{noun} {row.pk} was not found.")
