"""Orders a way back: from the rows alone, so that it can be given while Twilio does not answer.

A restore takes over the move that is under way: that one's worker writes nothing more, and because
a request of it may be on its way still, the number is looked at once more when its lease has ended.
The number's route goes back at once, so that callers who still come here are handed over.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import structlog
from django.db import transaction
from django.utils import timezone

from calls.models import NumberMove, PhoneNumber
from calls.numbers.switch import kept
from calls.numbers.switch.steps import Confirmed, advance, way_back
from calls.selectors.leaving import has_left
from calls.services import move_bell
from calls.services.move_rows import columns_of
from calls.services.number_routes import RouteOrder, RouteRefused, route_set
from voiceplatform.base.fields import DecryptionError
from voiceplatform.base.services import actor_label, audit_write

if TYPE_CHECKING:
    from datetime import datetime

log = structlog.get_logger(__name__)


def restore_begin(
    *, number: PhoneNumber, actor: Any, why: str, key: str = "", tells_workers: bool = True
) -> NumberMove | None:
    """Begin to put a number back as it was at Twilio; the write itself is a worker's.

    A restore that is under way already is returned as it is.

    Args:
        key: the same key again returns the same restore, finished or not.
        tells_workers: False where Redis may be away and the caller does the work itself.

    Returns:
        None when there is nothing to put back, or the stack that it came from was left.

    Raises:
        UnreadableNumber, DecryptionError: the move here cannot be read; nothing may be written.
    """
    with transaction.atomic():
        # All orders about a number in one line: two restores at once are one.
        rows = PhoneNumber.objects.select_for_update(of=("self",)).defer("previous_target")
        locked = rows.filter(pk=number.pk).first()
        if locked is None:
            return None
        number = locked
        known = _known(number, key)
        if known is not None:
            return known
        here = number.moves.filter(direction="here", closed_at__isnull=True).first()
        under_way: NumberMove | None = number.moves.filter(finished_at__isnull=True).first()
        if under_way is not None and under_way.direction == NumberMove.Direction.BACK:
            return under_way
        if here is None or has_left(number):
            return None
        settle_until = None
        if under_way is not None:
            settle_until = _take_over(under_way, why)
        move, _ = advance(way_back(kept.from_json(here.state)), Confirmed())
        made: NumberMove = NumberMove.objects.create(
            organisation_id=number.organisation_id,
            number=number,
            direction=NumberMove.Direction.BACK,
            restores=here,
            route_before=route_columns(number),
            who=actor_label(actor)[:200],
            why=why[:500],
            key=key[:200],
            settle_until=settle_until,
            next_at=timezone.now(),
            **{**columns_of(move), "problem": ""},
        )
        _route_back(number, here, made, actor=actor, why=why)
        audit_write(
            actor=actor,
            action="number.restore",
            organisation=number.organisation,
            target=number,
            details={"move": str(made.pk), "why": why[:500], "takes_over": under_way is not None},
        )
        if tells_workers:
            transaction.on_commit(move_bell.poke)
    log.info("restore_begun", move_id=str(made.pk), number_id=str(number.pk))
    return made


def _known(number: PhoneNumber, key: str) -> NumberMove | None:
    if not key:
        return None
    row: NumberMove | None = number.moves.filter(key=key, direction="back").first()
    return row


def _take_over(under_way: NumberMove, why: str) -> datetime | None:
    """Close a move here, whoever works on it; return until when that one may still be writing."""
    now = timezone.now()
    until: datetime | None = under_way.lease_until
    NumberMove.objects.filter(pk=under_way.pk).update(
        step=NumberMove.Step.REPLACED,
        problem=f"put back before it was done: {why}"[:500],
        lease_token="",
        lease_until=None,
        next_at=None,
        finished_at=now,
    )
    return until if until is not None and until > now else None


def route_columns(number: PhoneNumber) -> dict[str, Any]:
    """Return a number's route as a move keeps it, to be set again by its way back."""
    return {
        "route": str(number.route),
        "canary_percent": number.canary_percent,
        "canary_sticky": str(number.canary_sticky),
        "schedule": number.schedule,
    }


def _route_back(
    number: PhoneNumber, here: NumberMove, made: NumberMove, *, actor: Any, why: str
) -> None:
    """Set a route that hands over callers who still come; none is answered here any more.

    That is ``vapi`` where it is known whom to hand them to, else the route that the number had.
    """
    before = {"schedule": None, **here.route_before}
    home = {"route": PhoneNumber.Route.VAPI, "schedule": None}
    goes_home = before.get("route") == home["route"] and before["schedule"] is None
    # Until Twilio has been written to, a route that answers here would go on hurting callers.
    choices = [home, before] if _can_hand_over(number) and not goes_home else [before, home]
    for choice in choices:
        if not choice.get("route"):
            continue
        order = RouteOrder(
            route=str(choice["route"]),
            canary_percent=int(choice.get("canary_percent") or 0),
            sticky=str(choice.get("canary_sticky") or ""),
            schedule=choice["schedule"],
        )
        if all(value == choice.get(name, value) for name, value in route_columns(number).items()):
            return  # it is so; a change to the same route would only fill its history
        try:
            with transaction.atomic():
                route_set(
                    number_id=number.pk,
                    order=order,
                    actor=actor,
                    why=why,
                    kind="switch",
                    evidence={"move": str(made.pk)},
                    key=f"restore:{made.pk}",
                )
        except RouteRefused as error:
            # The way back at Twilio matters more than the route of callers who still come.
            log.warning(
                "route_not_put_back",
                number_id=str(number.pk),
                fields=[each.field for each in error.problems],
            )
        except DecryptionError:
            log.error("route_not_put_back", number_id=str(number.pk), fields=["previous_target"])
            return
        else:
            return


def _can_hand_over(number: PhoneNumber) -> bool:
    """Tell whether it is known who answered the number's calls before."""
    rows = PhoneNumber.objects.filter(pk=number.pk)
    return bool(number.previous_voice_url) or rows.filter(previous_target__isnull=False).exists()
