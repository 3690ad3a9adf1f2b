"""The rows of moves: reading them, the lease by which one process works on a move, fenced writes.

Whoever lost the lease, or whose move was taken over by a restore, writes nothing more: every write
of a worker is conditional on its token. It must not ask Twilio anything.
"""

from __future__ import annotations

import uuid
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Final

from django.db.models import Q
from django.utils import timezone

from calls.models import NumberMove, PhoneNumber
from calls.numbers.switch import kept
from calls.numbers.switch.steps import Move, Step, WebhookSeen, advance
from calls.numbers.switch.voice import Snapshot
from calls.selectors.leaving import has_left

# Longer than one request to Twilio with its timeouts (2 s and 4 s): a request that was sent while
# the lease was held has reached Twilio, or nobody, when it is over.
LEASE: Final = timedelta(seconds=15)


class MoveLost(Exception):
    """Another process has the move, or it is over; stop at once and write nothing more."""


@dataclass(frozen=True, slots=True)
class Held:
    """A move in the hands of this process."""

    move_id: uuid.UUID
    token: str

    def write(self, **columns: Any) -> None:
        """Write columns and keep the lease.

        Raises:
            MoveLost: nothing was written.
        """
        columns = {"lease_until": timezone.now() + LEASE, **columns}
        rows = NumberMove.objects.filter(
            pk=self.move_id, lease_token=self.token, finished_at__isnull=True
        )
        if not rows.update(**columns):
            raise MoveLost(str(self.move_id))

    def release(self) -> None:
        """Give it back, so that the next one need not wait; harmless when it was lost."""
        NumberMove.objects.filter(pk=self.move_id, lease_token=self.token).update(
            lease_token="", lease_until=None
        )


def take(move_id: uuid.UUID) -> Held | None:
    """Take an open move that nobody holds, None if there is nothing to take."""
    now = timezone.now()
    token = uuid.uuid4().hex
    free = Q(lease_until__isnull=True) | Q(lease_until__lte=now)
    taken = NumberMove.objects.filter(free, pk=move_id, finished_at__isnull=True).update(
        lease_token=token, lease_until=now + LEASE
    )
    return Held(move_id, token) if taken else None


def row_of(move_id: uuid.UUID) -> NumberMove:
    """Return a move with its number and organisation.

    Of the number nothing that is sealed: a row of it that no key opens must not stop a way back,
    which needs the move's own state and the account's login alone.
    """
    row: NumberMove = (
        NumberMove.objects.select_related("organisation", "number__organisation")
        .defer("number__previous_target")
        .get(pk=move_id)
    )
    return row


def move_of(row: NumberMove) -> Move:
    """Return a row's move, with the first caller who came meanwhile.

    Raises:
        UnreadableNumber: the row was tampered with.
    """
    move = kept.from_json(row.state)
    if row.first_call_sid and not move.first_call_sid and move.step is not Step.STOPPED:
        move, _ = advance(move, WebhookSeen(row.first_call_sid))
    return move


def columns_of(move: Move) -> dict[str, Any]:
    """Return what is written of a move: its state, and what lists show of it."""
    stop = move.stop
    return {
        "state": kept.as_json(move),
        "step": str(move.step),
        "stop_code": stop.code if stop else "",
        "problem": stop.words[:500] if stop else "",
    }


def due_moves(now: datetime, most: int) -> list[uuid.UUID]:
    """Return the moves whose time has come and that nobody holds, ways back first."""
    free = Q(lease_until__isnull=True) | Q(lease_until__lte=now)
    # A first caller who came while a worker wrote its last word.
    due = Q(next_at__lte=now) | (Q(step=NumberMove.Step.TESTED) & ~Q(first_call_sid=""))
    rows = NumberMove.objects.filter(free, due, finished_at__isnull=True)
    return list(rows.order_by("direction", "next_at").values_list("pk", flat=True)[:most])


def open_move(number: PhoneNumber) -> NumberMove | None:
    """Return the number's move that is under way or waits, None if there is none."""
    row: NumberMove | None = number.moves.filter(finished_at__isnull=True).first()
    return row


def way_back_row(number: PhoneNumber) -> NumberMove | None:
    """Return the move here that a restore of the number would undo."""
    row: NumberMove | None = number.moves.filter(
        direction=NumberMove.Direction.HERE, closed_at__isnull=True
    ).first()
    return row


def has_way_back(number: PhoneNumber) -> bool:
    """Tell whether the number came here by a move that nobody undid. Asks the database alone.

    None leads back to a stack that was left: nobody answers there.
    """
    return bool(
        number.moves.filter(direction=NumberMove.Direction.HERE, closed_at__isnull=True).exists()
    ) and not has_left(number)


def snapshot_of(number: PhoneNumber) -> Snapshot | None:
    """Return how the number was before the move here that nobody undid.

    Raises:
        UnreadableNumber: the row was tampered with.
        DecryptionError: no key opens it.
    """
    row = way_back_row(number)
    return Snapshot.from_json(row.snapshot) if row is not None else None


def written_of(number: PhoneNumber) -> Move | None:
    """Return the move here that nobody undid: ``wanted`` is what was written, ``before`` what was
    there.

    Raises:
        UnreadableNumber: the row was tampered with.
        DecryptionError: no key opens it.
    """
    row = way_back_row(number)
    return kept.from_json(row.state) if row is not None and row.may_be_written else None
