"""A number's net as others use it: its address for a move, its parts for a page, its firings.

Owns the way from rows to ``calls.numbers.net_parts``. Nothing here asks Twilio.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, Final

from django.db import transaction
from django.db.models import Max
from django.utils import timezone
from django.utils.crypto import salted_hmac

from calls.models import NetFiring, NumberNet, PhoneNumber
from calls.numbers import net_parts
from calls.numbers.net_parts import NetFacts, Part
from calls.services.move_rows import has_way_back
from calls.services.net_rows import net_fired, net_of, nets_complete
from calls.services.operators import desk_of, reached
from calls.services.previous_targets import previous_of
from voiceplatform.base.job_bell import task_tell
from voiceplatform.base.services import audit_write

# Of ``net_probes``, which imports what this module does.
LOOK_TASK: Final = "calls.tasks.look_at_nets"

__all__ = [
    "NetOvertaken",
    "NetView",
    "PartView",
    "net_address_of",
    "net_fired",
    "net_of",
    "net_previous_closed",
    "net_set",
    "seen_of",
    "net_view",
    "nets_complete",
]


class NetOvertaken(Exception):
    """The net is not the one any more that the person was shown; nothing was changed."""


@dataclass(frozen=True, slots=True)
class PartView:
    """One part of a net, with the newest time that it was really needed and the newest drill."""

    part: Part
    last_real: NetFiring | None
    last_drill: NetFiring | None


@dataclass(frozen=True, slots=True)
class NetView:
    """All that is shown of a number's net."""

    net: NumberNet
    facts: NetFacts
    parts: tuple[PartView, ...]


def net_address_of(number: PhoneNumber) -> tuple[str, str]:
    """Return the operator's own address for a number and how it is asked; '' when there is none.

    Without one a move chooses what answered before (``calls.numbers.switch.net.net_for``).
    """
    net = NumberNet.objects.filter(number=number).first()
    return (net.address, net.method) if net is not None else ("", "POST")


def seen_of(net: NumberNet) -> str:
    """Return what stands for a net's settings as a person is shown them; it tells no address."""
    text = "\n".join((net.address, net.method, str(net.is_test)))
    return salted_hmac("calls.nets.seen", text).hexdigest()[:32]


def net_set(
    *, net: NumberNet, address: str, method: str, is_test: bool, actor: Any, seen: str = ""
) -> None:
    """Set a net's address and whether its number is a test number.

    A new address is written to Twilio by the next look, which a worker makes at once.

    Args:
        address: ``net_addresses.address_problem`` has nothing against it; '' takes it off.
        seen: ``seen_of`` the net that the person was shown, '' to set it whatever it is.

    Raises:
        NetOvertaken: it was changed meanwhile.
    """
    with transaction.atomic():
        row = NumberNet.objects.select_for_update().select_related("organisation").get(pk=net.pk)
        if seen and seen != seen_of(row):
            raise NetOvertaken("Somebody else has changed this net meanwhile. Look at it again.")
        is_other = (row.address, row.method) != (address, method)
        fields = ["address"] if is_other else []
        if row.is_test != is_test:
            fields.append("is_test")
        if not fields:
            return
        row.address, row.method, row.is_test = address, method, is_test
        if is_other:
            row.rearm_wanted, row.look_at = True, None
            row.address_state, row.address_words = NumberNet.Address.UNKNOWN, ""
            row.address_at = None
        row.save()
        audit_write(
            actor=actor,
            action="net.set",
            organisation=row.organisation,
            target=row,
            details={"fields": fields},
        )
        transaction.on_commit(lambda: task_tell(LOOK_TASK))


def net_view(number: PhoneNumber) -> NetView:
    """Return the four parts of a number's net, each with when it last really fired."""
    net = net_of(number)
    facts = facts_of(number, net)
    real, drill = _last(number, NetFiring.Kind.REAL), _last(number, NetFiring.Kind.DRILL)
    parts = (
        PartView(part, real.get(part.letter), drill.get(part.letter))
        for part in net_parts.parts_of(facts)
    )
    return NetView(net, facts, tuple(parts))


def facts_of(number: PhoneNumber, net: NumberNet) -> NetFacts:
    """Return what the words of a net are made of, as the last look at Twilio left it."""
    looked = net.probe_state not in (NumberNet.Probe.UNKNOWN, NumberNet.Probe.NOT_MOVED)
    return NetFacts(
        is_moved=looked or has_way_back(number),
        fallback=_fallback(net) if looked else None,
        is_alarm=net.probe_state == NumberNet.Probe.ALARM,
        alarm_words=net.probe_words,
        address=net.address_state,  # type: ignore[arg-type]  # the column's choices are the words
        dead_ms=net.dead_ms,
        hanging_ms=net.hanging_ms,
        has_address=bool(net.address),
        has_previous=bool(previous_of(number).voice),
        previous_closed=net.previous_closed_at is not None,
        relays=number.route in (PhoneNumber.Route.VAPI, PhoneNumber.Route.CANARY),
        qualified=number.qualified_at is not None,
        person=_person(number),
    )


def _fallback(net: NumberNet) -> Any:
    if not net.has_fallback:
        return "none"
    return "address" if net.address else "previous"


def _person(number: PhoneNumber) -> str:
    decision = reached(desk_of(number))
    return decision.to if decision.reach == "dial" else ""


def _last(number: PhoneNumber, kind: str) -> dict[str, NetFiring]:
    rows = NetFiring.objects.filter(number=number, kind=kind).order_by()
    newest = rows.values("part").annotate(last=Max("fired_at"))
    found = {}
    for each in newest:
        row = rows.filter(part=each["part"], fired_at=each["last"]).order_by("pk").last()
        if row is not None:
            found[each["part"]] = row
    return found


def net_previous_closed(*, numbers: Iterable[PhoneNumber], actor: Any, why: str) -> int:
    """Note that what answered these numbers before the move is closed; return for how many.

    From then on a previous address is no net any more, and the page says so.
    """
    count = 0
    for number in numbers:
        net = net_of(number)
        with transaction.atomic():
            changed = NumberNet.objects.filter(pk=net.pk, previous_closed_at__isnull=True).update(
                previous_closed_at=timezone.now()
            )
            if changed:
                count += 1
                audit_write(
                    actor=actor,
                    action="net.previous_closed",
                    organisation=number.organisation,
                    target=number,
                    details={"why": why[:200]},
                )
    return count
