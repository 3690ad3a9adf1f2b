"""What really happened: learns from Twilio's errors and from our calls that a net was needed.

Owns what counts as which part. It asks Twilio for lists alone, writes firings once for each call,
and does nothing about them.
"""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime, timedelta
from itertools import islice
from typing import Final

import structlog
from django.conf import settings
from django.db.models import QuerySet
from django.utils import timezone

from calls.models import (
    Call,
    CallHandover,
    MissedCall,
    NetFiring,
    NumberMove,
    NumberNet,
    PhoneNumber,
    TwilioAccount,
)
from calls.numbers import net_errors
from calls.numbers.net_errors import Unanswered
from calls.selectors.erasures import erased_sids
from calls.services.net_rows import Outcome, Part, net_fired, net_of
from calls.telephony.twilio_rest import TwilioRefused, TwilioRest, TwilioSilent
from voiceplatform.base.fields import DecryptionError

LOOKS_BACK: Final = timedelta(days=1)
# Looked at again by each turn: a call's row may be committed after its time.
_OF_CALLS: Final = timedelta(minutes=30)
_MOST_ERRORS: Final = 5_000
_MOST_CALLS: Final = 200
_WITHIN_SECONDS: Final = 15.0
# What no key opens of one number must not hide what happened to the others.
_SEALED: Final = ("number__previous_target",)
_OF_CALL: Final = (*_SEALED, "variable_values")

log = structlog.get_logger(__name__)


def nets_learn(now: datetime | None = None) -> int:
    """Write down which nets were needed lately; return how many times. Idempotent."""
    now = now or timezone.now()
    learnt = _previous_dead(now) + _never_came(now)
    moved = NumberMove.objects.filter(direction=NumberMove.Direction.HERE, closed_at__isnull=True)
    accounts = TwilioAccount.objects.filter(pk__in=moved.values("number__twilio_account_id"))
    for pk in accounts.order_by("pk").values_list("pk", flat=True):
        try:
            learnt += _account_learn(TwilioAccount.objects.get(pk=pk), now)
        except (TwilioRefused, TwilioSilent, DecryptionError, ValueError) as error:
            log.info("net_errors_not_read", error=type(error).__name__)
    return learnt


def _account_learn(account: TwilioAccount, now: datetime) -> int:
    since = now - LOOKS_BACK
    with TwilioRest(account, within_seconds=_WITHIN_SECONDS) as twilio:
        rows = twilio.pages("Notifications.json", {"Log": "0", "MessageDate>": f"{since:%Y-%m-%d}"})
        notes = [note for note in map(net_errors.read, islice(rows, _MOST_ERRORS)) if note]
        calls = net_errors.unanswered(notes, our_url=settings.PUBLIC_BASE_URL)
        fresh = _fresh(call for call in calls if call.at >= since)
        numbers = _numbers(account, fresh, twilio)
    return sum(_note(numbers[call.call_sid], call) for call in fresh if call.call_sid in numbers)


def _fresh(calls: Iterable[Unanswered]) -> list[Unanswered]:
    found = list(calls)
    sids = [call.call_sid for call in found]
    known = set(NetFiring.objects.filter(call_sid__in=sids).values_list("call_sid", flat=True))
    # A drill's call is none of a caller's, and what was erased stays unknown.
    known |= set(
        NumberNet.objects.filter(drill_call_sid__in=sids).values_list("drill_call_sid", flat=True)
    )
    known |= erased_sids(sids)
    return [call for call in found if call.call_sid not in known]


def _numbers(
    account: TwilioAccount, calls: list[Unanswered], twilio: TwilioRest
) -> dict[str, PhoneNumber]:
    """Return the number that each call was to, as far as that is known or Twilio says."""
    sids = [call.call_sid for call in calls]
    found: dict[str, PhoneNumber] = {}
    for model, sealed in ((Call, _OF_CALL), (MissedCall, _SEALED)):
        rows = model.objects.filter(call_sid__in=sids, number__isnull=False)
        for row in rows.select_related("number__organisation").defer(*sealed):
            if row.number is not None:
                found[row.call_sid] = row.number
    for call in calls[:_MOST_CALLS]:
        if call.call_sid in found:
            continue
        try:
            to = str(twilio.get(f"Calls/{call.call_sid}.json").get("to") or "")
        except TwilioRefused:
            continue  # Twilio keeps errors longer than calls
        numbers = PhoneNumber.objects.filter(number_e164=to, twilio_account=account)
        number = numbers.defer("previous_target").first()
        if number is not None:
            found[call.call_sid] = number
    return found


def _note(number: PhoneNumber, call: Unanswered) -> bool:
    net = _net(number)
    part: Part = "a"
    if call.in_call:
        part = "b"
    elif net.previous_closed_at is not None and call.at >= net.previous_closed_at:
        part = "d"
    outcome, words = _became(net, call)
    net_fired(
        number=number,
        part=part,
        kind="real",
        words=f"{words} (Twilio's code {call.code})",
        call_sid=call.call_sid,
        outcome=outcome,
        fired_at=call.at,
    )
    return True


def _net(number: PhoneNumber) -> NumberNet:
    found = NumberNet.objects.filter(number=number).defer("address").first()
    return found if found is not None else net_of(number)


def _has_address(net: NumberNet) -> bool:
    # The empty text is stored as it is, so this asks without a key.
    return NumberNet.objects.filter(pk=net.pk).exclude(address="").exists()


def _became(net: NumberNet, call: Unanswered) -> tuple[Outcome, str]:
    if call.fallback_failed:
        return "failed", "Twilio asked the net, which failed too"
    if net.has_fallback is None:
        return "unknown", "Nobody had looked whether there was a net"
    if not net.has_fallback:
        return "failed", "There was no net: the caller heard an error"
    if call.in_call and not _has_address(net):
        # twilio.md 5.5: a stack of Vapi's answers such a request, and takes no such call.
        return "unknown", "Twilio asked the previous stack, which takes no call that was answered"
    return "held", "Twilio asked the net, and it answered"


def _never_came(now: datetime) -> int:
    """Count what the comparison with Twilio's list of calls found and no error tells of."""
    missed = list(
        MissedCall.objects.filter(called_at__gte=now - LOOKS_BACK)
        .exclude(call_sid__in=NetFiring.objects.exclude(call_sid="").values("call_sid"))
        .select_related("number__organisation")
        .defer(*_SEALED)
        .order_by("called_at")[:_MOST_CALLS]
    )
    # An error of the same call says more; it is given the time to be listed.
    some = [row for row in missed if row.noticed_at < now - timedelta(minutes=10)]
    for row in some:
        closed_at = _net(row.number).previous_closed_at
        net_fired(
            number=row.number,
            part="d" if closed_at is not None and row.called_at >= closed_at else "a",
            kind="real",
            words="Twilio had this call and it never came here; who took it is not known",
            call_sid=row.call_sid,
            fired_at=row.called_at,
        )
    return len(some)


def _previous_dead(now: datetime) -> int:
    """Note the newest caller of each number whom we answered because the previous stack did not."""
    since = now - _OF_CALLS
    spared = Call.objects.filter(created_at__gte=since, route_code="old-down")
    tried = CallHandover.objects.filter(
        begun_at__gte=since, is_taken=False, ended_at__isnull=False
    ).values("call_id")
    lost = Call.objects.filter(created_at__gte=since, pk__in=tried)
    newest: dict[object, Call] = {}
    for call in (*_some(spared), *_some(lost)):
        before = newest.get(call.number_id)
        if call.number_id and (before is None or before.created_at < call.created_at):
            newest[call.number_id] = call
    learnt = 0
    for call in newest.values():
        known = NetFiring.objects.filter(call_sid=call.call_sid, part="c").exists()
        if known or call.number is None:
            continue
        learnt += 1
        outcome, words = _answered(call)
        net_fired(
            number=call.number,
            part="c",
            kind="real",
            words=words,
            call_sid=call.call_sid,
            outcome=outcome,
            fired_at=call.created_at,
        )
    return learnt


def _some(calls: QuerySet[Call]) -> list[Call]:
    rows = calls.select_related("number__organisation").defer(*_OF_CALL)
    return list(rows.order_by("-created_at")[:_MOST_CALLS])


def _answered(call: Call) -> tuple[Outcome, str]:
    if call.stream_count:
        return "held", "The previous stack did not answer, and the assistant did"
    if call.next_step.get("kind") == "dial" or call.status == Call.Status.FORWARDING:
        return "held", "The previous stack did not answer, and a person was called"
    if call.stack == Call.Stack.VAPI:
        return "unknown", "The previous stack was down, and nobody else was there to be asked"
    return "failed", "The previous stack did not answer, and nobody else did"
