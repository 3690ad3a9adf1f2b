"""The calls that a live run places: their rows from before Twilio is asked until they are over.

Owns that one place of a run has one call. A row is committed before the request; if nobody knows
afterwards whether Twilio took it, Twilio is asked, never called again. From one number to another
one call rings at a time: so the call that comes in is known without a word about it in the call,
and the account is not asked faster than its calls are set up. It must not decide which stack
answers (``calls.numbers.route``), nor what came of a call (``live_runs``).
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping
from email.utils import parsedate_to_datetime
from itertools import islice
from typing import Any, Final, Literal

import structlog
from django.db import IntegrityError, transaction
from django.db.models import Q
from django.utils import timezone

from calls.models import Call, ParityCall, PhoneNumber, RunDial
from calls.telephony.addresses import public_url
from calls.telephony.twilio_rest import TwilioRefused, TwilioRest, TwilioSilent
from voiceplatform.base.phones import normalised

# A call rings within a few seconds; a busy account queues calls (one a second, twilio.md 8.1).
COMES_SECONDS: Final = 45.0
EXPECTED: Final = dt.timedelta(seconds=60)
RING_SECONDS: Final = 30
# Twilio's usual limit for new accounts: one call a second.
BETWEEN: Final = dt.timedelta(seconds=1)
# Clocks differ, and Twilio tells whole seconds.
_EARLIER: Final = dt.timedelta(seconds=10)
_LISTED: Final = 50
_LIVE: Final = (RunDial.State.CLAIMED, RunDial.State.PLACED, RunDial.State.ON)
_OVER: Final = frozenset({"completed", "busy", "failed", "no-answer", "canceled"})

log = structlog.get_logger(__name__)


class DialRefused(Exception):
    """Twilio does not place the call; asking again says the same."""


class DialUnclear(Exception):
    """Twilio did not say what became of a call; ask later, and place none until then."""


# ---- before it comes ----------------------------------------------------------------------------


def dial_of(call: ParityCall) -> RunDial | None:
    """Return the call that was placed for this place of a run, None while there is none."""
    rows = RunDial.objects.filter(parity_call=call).exclude(state=RunDial.State.VOID)
    found: RunDial | None = rows.select_related("call", "number__twilio_account").first()
    return found


def dial_claim(call: ParityCall, *, number: PhoneNumber, caller_e164: str) -> RunDial | None:
    """Write the row of a call that is about to be placed; None while another one rings.

    None too within a second of the account's last call.
    """
    stack = Call.Stack.DIRECT if call.stack == ParityCall.Stack.DIRECT else Call.Stack.VAPI
    now = timezone.now()
    # What a worker left that died before it asked Twilio must not keep the line for ever.
    late = RunDial.objects.filter(number=number, caller_e164=caller_e164, expected_until__lte=now)
    late.update(expected_until=None)
    account = RunDial.objects.filter(number__twilio_account=number.twilio_account_id)
    if account.filter(created_at__gt=now - BETWEEN).exists():
        return None
    try:
        with transaction.atomic():
            row: RunDial = RunDial.objects.create(
                organisation=call.organisation,
                parity_call=call,
                number=number,
                caller_e164=caller_e164,
                stack=stack,
                expected_until=now + EXPECTED,
            )
    except IntegrityError:
        return None
    return row


def dial_place(dial: RunDial, rest: TwilioRest, *, most_seconds: int) -> None:
    """Have Twilio place a claimed call, once.

    Args:
        most_seconds: both legs end then, whatever happens.

    It is expected from now on, however long ago it was claimed; one that is not, because another
    call took its turn or a stranger's was taken for it, is not placed.

    Raises:
        DialRefused: it does not; the row is void.
        DialUnclear: nobody knows; the row stays claimed, or is void where Twilio was not asked.
    """
    waiting = RunDial.objects.filter(
        pk=dial.pk, state=RunDial.State.CLAIMED, expected_until__isnull=False
    )
    if not waiting.update(expected_until=timezone.now() + EXPECTED):
        dial_void(dial, "not placed: another call took its turn")
        raise DialUnclear("another call from that number took its turn")
    form: dict[str, str | list[str]] = {
        "To": dial.number.number_e164,
        "From": dial.caller_e164,
        "Url": public_url(caller_path(dial)),
        "Method": "POST",
        "StatusCallback": public_url(caller_status_path(dial)),
        "StatusCallbackMethod": "POST",
        # The first of them tells the leg's id even if the answer to this request is lost.
        "StatusCallbackEvent": ["initiated", "answered", "completed"],
        "TimeLimit": str(most_seconds),
        "Timeout": str(RING_SECONDS),
    }
    try:
        made = rest.post("Calls.json", form)
    except TwilioRefused as error:
        dial_void(dial, f"Twilio refused it, code {error.code}")
        raise DialRefused(f"Twilio refused the call: {error.words} ({error.code})") from error
    except TwilioSilent as error:
        if not error.is_unclear:
            dial_void(dial, "Twilio was not reached")
        raise DialUnclear(str(error)) from error
    _is_placed(dial, str(made.get("sid") or "")[:34])


def _is_placed(dial: RunDial, caller_sid: str) -> None:
    now = timezone.now()
    RunDial.objects.filter(pk=dial.pk, caller_sid="").update(caller_sid=caller_sid)
    RunDial.objects.filter(pk=dial.pk, state=RunDial.State.CLAIMED).update(
        state=RunDial.State.PLACED, placed_at=now
    )
    dial.refresh_from_db()


def caller_path(dial: RunDial) -> str:
    """Return the path that says what our leg does; a call is known by the row's id in it."""
    return f"/twilio/run-caller/{dial.pk}"


def caller_status_path(dial: RunDial) -> str:
    """Return the path that is told how our leg fares."""
    return f"/twilio/run-caller-status/{dial.pk}"


def dial_look_up(dial: RunDial, rest: TwilioRest) -> Literal["none", "unclear"]:
    """Ask Twilio's list about a claimed call that has not told its id by its own addresses.

    The list holds no word of ours: a call between the same numbers may be another program's, and
    is never taken for the run's. So it can say that nothing was placed, and nothing else.

    Raises:
        DialUnclear: Twilio did not say.
    """
    # Not by start: a call that is still queued has none. Twilio tells the newest first.
    asked = {"To": dial.number.number_e164, "From": dial.caller_e164, "PageSize": str(_LISTED)}
    since = dial.created_at - _EARLIER
    try:
        rows = list(islice(rest.pages("Calls.json", asked), _LISTED))
    except (TwilioRefused, TwilioSilent) as error:
        raise DialUnclear(str(error)) from error
    sids = {
        str(row.get("sid"))
        for row in rows
        if str(row.get("direction")) == "outbound-api" and _moment(row) >= since
    }
    known = set(RunDial.objects.filter(caller_sid__in=sids).values_list("caller_sid", flat=True))
    return "unclear" if sids - known else "none"


def _moment(row: Mapping[str, Any]) -> dt.datetime:
    try:
        moment = parsedate_to_datetime(str(row.get("date_created") or ""))
    except (ValueError, TypeError):
        return dt.datetime.min.replace(tzinfo=dt.UTC)
    return moment if moment.tzinfo is not None else moment.replace(tzinfo=dt.UTC)


# ---- while it comes -----------------------------------------------------------------------------


def dials_expected(now: dt.datetime) -> Q:
    """Return which dials wait for their call to come in."""
    return Q(expected_until__gt=now)


def dial_taken(number: PhoneNumber, caller: str) -> RunDial | None:
    """Return the dial whose call has just come in, None for any other call; in a transaction.

    It is taken off: the next call from that number is a caller's again.
    """
    now = timezone.now()
    rows = RunDial.objects.filter(
        dials_expected(now), number=number, caller_e164=normalised(caller), state__in=_LIVE
    )
    found: RunDial | None = rows.select_for_update(of=("self",)).first()
    if found is None or not rows.filter(pk=found.pk).update(expected_until=None):
        return None
    return found


def dial_came(dial: RunDial, call: Call) -> None:
    """Note which call came in for a dial; in the transaction that stored the call."""
    RunDial.objects.filter(pk=dial.pk).update(call=call)


# ---- how it ends --------------------------------------------------------------------------------


def dial_report(
    dial: RunDial, *, caller_sid: str, status: str, seconds: int, ended_by: str = ""
) -> None:
    """Note what Twilio says of our leg."""
    RunDial.objects.filter(pk=dial.pk, caller_sid="").update(caller_sid=caller_sid)
    rows = RunDial.objects.filter(pk=dial.pk, caller_sid=caller_sid, state__in=_LIVE)
    if status in _OVER:
        changes: dict[str, Any] = {
            "state": RunDial.State.ENDED,
            "ended_at": timezone.now(),
            "caller_seconds": seconds,
            "expected_until": None,
        }
        if status != "completed":
            changes["problem"] = f"our leg ended as {status}"
        rows.update(**changes)
    elif dial.state == RunDial.State.CLAIMED:
        rows.filter(state=RunDial.State.CLAIMED).update(
            state=RunDial.State.PLACED, placed_at=timezone.now()
        )


def dial_ask(dial: RunDial, rest: TwilioRest) -> None:
    """Ask Twilio how our leg fares, where nothing was heard of it for a while."""
    if not dial.caller_sid:
        return
    try:
        row = rest.get(f"Calls/{dial.caller_sid}.json")
    except (TwilioRefused, TwilioSilent):
        return
    seconds = str(row.get("duration") or "0")
    dial_report(
        dial,
        caller_sid=dial.caller_sid,
        status=str(row.get("status") or ""),
        seconds=int(seconds) if seconds.isdigit() else 0,
    )


def dial_hang_up(dial: RunDial, rest: TwilioRest, *, why: str) -> bool:
    """End our leg, and with it the call; True once Twilio says that it is over."""
    # Also where its id is not known yet: our leg then hangs up by itself as soon as it asks.
    RunDial.objects.filter(pk=dial.pk, ended_by="").update(ended_by=why)
    if not dial.caller_sid:
        return False
    try:
        rest.post(f"Calls/{dial.caller_sid}.json", {"Status": "completed"})
    except (TwilioRefused, TwilioSilent):
        log.info("run_call_not_ended", call_sid=dial.caller_sid)  # over already (T16), or not yet
    dial_ask(dial, rest)
    dial.refresh_from_db()
    return dial.state not in _LIVE


def strangers_between(dial: RunDial) -> bool:
    """Tell whether a call from our leg's number came in meanwhile that no run has placed.

    A caller id can be forged. Then that call may have been taken for the run's, and the run's own
    for a caller's.
    """
    rows = Call.objects.filter(
        number=dial.number_id,
        caller=dial.caller_e164,
        created_at__gte=dial.created_at,
        run_dials__isnull=True,
    )
    if dial.ended_at is not None:
        rows = rows.filter(created_at__lte=dial.ended_at)
    return rows.exists()


def dial_void(dial: RunDial, why: str, *, only_unknown: bool = False) -> bool:
    """Let a call count for nothing, so that another one may be placed for its place.

    Only of a call that is over, or that never was: whatever still rings would find nobody who
    expects it, and be taken for a caller's.

    Args:
        only_unknown: leave it as it is where its id came meanwhile; False is returned then.
    """
    rows = RunDial.objects.filter(pk=dial.pk)
    rows = rows.filter(caller_sid="", state__in=_LIVE) if only_unknown else rows
    is_void = rows.update(
        state=RunDial.State.VOID,
        expected_until=None,
        ended_at=dial.ended_at or timezone.now(),
        problem=why[:300],
    )
    dial.refresh_from_db()
    return bool(is_void)


def is_live(dial: RunDial) -> bool:
    """Tell whether a call is still to come, or on."""
    return dial.state in _LIVE


def has_waited(dial: RunDial, seconds: float = COMES_SECONDS) -> bool:
    """Tell whether a call was to come in for so long."""
    # Twilio may have been asked long after the row was written, and not have answered.
    asked_at = dial.expected_until - EXPECTED if dial.expected_until else dial.created_at
    since = dial.placed_at or asked_at
    return (timezone.now() - since).total_seconds() > seconds
