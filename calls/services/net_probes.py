"""The nightly look at Twilio: whether each moved number is still set up as its move left it.

What was lost is written again, what somebody replaced is told to people and left alone
(``calls.numbers.switch.probe``). Owns the schedule, the lease of a look and its one write. A move
or a way back always wins: nothing is written while one is under way, and whoever finds that one
came meanwhile makes the number as that one left it. It must not touch a route.
"""

from __future__ import annotations

import uuid
from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Any, Final

import structlog
from django.conf import settings
from django.db import transaction
from django.db.models import Exists, OuterRef, Q
from django.utils import timezone

from calls.models import NumberMove, NumberNet, PhoneNumber
from calls.numbers.switch.net import Net, net_for
from calls.numbers.switch.probe import Probe, probe
from calls.numbers.switch.steps import Move
from calls.numbers.switch.voice import (
    METHOD_FIELDS,
    UnreadableNumber,
    VoiceConfig,
    read,
    target_of,
)
from calls.numbers.switch.writes import as_form, changed, changes
from calls.services import move_rows
from calls.services.net_addresses import Checked, address_check, server_check
from calls.services.net_rows import nets_complete
from calls.services.notices import notice_enqueue
from calls.telephony.twilio_rest import NeverSent, TwilioRefused, TwilioRest, TwilioSilent
from voiceplatform.base.fields import DecryptionError
from voiceplatform.base.job_bell import task_tell
from voiceplatform.base.services import audit_write

TASK: Final = "calls.tasks.look_at_nets"
SOFT_LIMIT_SECONDS: Final = 120
NIGHT_HOUR: Final = 3  # UTC
LEASE: Final = timedelta(seconds=90)
_SILENT_AGAIN: Final = timedelta(minutes=10)
_MOVING_AGAIN: Final = timedelta(minutes=2)
_MOST_A_TURN: Final = 40
_WITHIN_SECONDS: Final = 15.0
_State = NumberNet.Probe

log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class _Seen:
    """What a look found; written in one go."""

    state: str
    words: str = ""
    columns: Mapping[str, Any] | None = None
    checked: Checked | None = None
    again: timedelta | None = None


class _LookLost(Exception):
    """Another worker has the look; write nothing more."""


def nets_probe(now: datetime | None = None) -> int:
    """Look at the nets whose time has come; return at how many. Idempotent, for the beat."""
    now = now or timezone.now()
    nets_complete()
    seen = 0
    for net_id in _due(now):
        seen += net_look(net_id)
    return seen


def _due(now: datetime) -> list[int]:
    here = NumberMove.objects.filter(
        number=OuterRef("number"), direction=NumberMove.Direction.HERE, closed_at__isnull=True
    )
    rows = NumberNet.objects.annotate(is_here=Exists(here))
    # A number that was moved or put back since the last look is looked at now.
    turned = Q(is_here=True, probe_state__in=(_State.UNKNOWN, _State.NOT_MOVED)) | (
        Q(is_here=False) & ~Q(probe_state=_State.NOT_MOVED)
    )
    due = Q(look_at__isnull=True) | Q(look_at__lte=now) | turned
    free = Q(lease_until__isnull=True) | Q(lease_until__lte=now)
    some = rows.filter(due, free).order_by("look_at", "pk").values_list("pk", flat=True)
    return list(some[:_MOST_A_TURN])


def next_night(now: datetime, net_id: int) -> datetime:
    """Return when a number is looked at next: at night, spread over an hour by its row."""
    night = now.replace(hour=NIGHT_HOUR, minute=0, second=0, microsecond=0)
    night += timedelta(minutes=(net_id * 37) % 60)
    return night if night > now else night + timedelta(days=1)


def look_order(*, net: NumberNet, actor: Any) -> None:
    """Have a worker look at a number as soon as one is free."""
    with transaction.atomic():
        NumberNet.objects.filter(pk=net.pk).update(look_at=None)
        audit_write(
            actor=actor, action="net.look", organisation=net.organisation, target=net.number
        )
        transaction.on_commit(lambda: task_tell(TASK))


def net_look(net_id: int) -> bool:
    """Look at one number and write what was found; False when another worker has it.

    At most one write at Twilio, of fields that were lost or of a fallback that was chosen anew.
    """
    token = uuid.uuid4().hex
    now = timezone.now()
    free = Q(lease_until__isnull=True) | Q(lease_until__lte=now)
    if not NumberNet.objects.filter(free, pk=net_id).update(
        lease_token=token, lease_until=now + LEASE
    ):
        return False
    look = _Look(net_id, token)
    try:
        look.write(look.see())
    except _LookLost:
        log.warning("net_look_lost", net_id=net_id)
    finally:
        NumberNet.objects.filter(pk=net_id, lease_token=token).update(
            lease_token="", lease_until=None
        )
    return True


class _Look:
    """One worker's look at one number."""

    def __init__(self, net_id: int, token: str) -> None:
        self.token = token
        self.held: move_rows.Held | None = None
        self.net: NumberNet = (
            NumberNet.objects.defer("address", "number__previous_target")
            .select_related("organisation", "number__organisation")
            .get(pk=net_id)
        )
        self.number: PhoneNumber = self.net.number

    # ---- seeing -------------------------------------------------------------------------------

    def see(self) -> _Seen:
        """Ask Twilio and judge; writes at Twilio what was lost."""
        moving = move_rows.open_move(self.number)
        if moving is not None:
            # One that only waits for its first caller has been written and compared, and may wait
            # for days: callers need the net meanwhile. Its lease keeps others from it.
            self.held = move_rows.take(moving.pk) if _waits(moving) else None
            if self.held is None:
                return self._unchanged(_MOVING_AGAIN)
        try:
            return self._see_moved()
        finally:
            if self.held is not None:
                self.held.release()

    def _see_moved(self) -> _Seen:
        row = move_rows.way_back_row(self.number)
        if row is None:
            return self._not_moved()
        if self.held is not None and not (row.pk == self.held.move_id and _waits(row)):
            return self._unchanged(_MOVING_AGAIN)
        try:
            written = move_rows.move_of(row)
            with TwilioRest(self.number.twilio_account, within_seconds=_WITHIN_SECONDS) as twilio:
                return self._seen(twilio, row, written)
        except TwilioSilent as error:
            log.info("net_look_silent", net_id=self.net.pk, status=error.status)
            return self._unchanged(_SILENT_AGAIN)
        except TwilioRefused as error:
            return _Seen(_State.ALARM, _refused(error))
        except (UnreadableNumber, DecryptionError, NeverSent, ValueError) as error:
            return _Seen(_State.ALARM, f"it cannot be compared: {error}")

    def _not_moved(self) -> _Seen:
        """Look at the address alone; a move writes it to Twilio."""
        try:
            checked = self._asked(self.net.address, self.net.method) if self.net.address else None
        except DecryptionError as error:
            checked = Checked("fails", str(error))
        return _Seen(_State.NOT_MOVED, checked=checked)

    def _unchanged(self, again: timedelta) -> _Seen:
        return _Seen(self.net.probe_state, self.net.probe_words, again=again)

    def _seen(self, twilio: TwilioRest, row: NumberMove, written: Move) -> _Seen:
        live = read(twilio.number(written.wanted.sid))
        if self.net.rearm_wanted:
            written, live = self._rearmed(twilio, row, written, live)
        found = probe(live, written=written.wanted, snapshot=written.before)
        mended = False
        if found.state == "mend":
            live, mended = self._mended(twilio, row, written, found)
            found = probe(live, written=written.wanted, snapshot=written.before)
            if found.state == "mend":
                found = replace(found, state="alarm", words=f"{found.words}, and it did not take")
        state = {"armed": _State.ARMED, "alarm": _State.ALARM}[found.state]
        columns: dict[str, Any] = {"has_fallback": bool(live.voice_fallback_url)}
        if found.state == "armed":
            columns |= {"dead_ms": found.dead_ms, "hanging_ms": found.hanging_ms}
        words = found.words
        if mended and state == _State.ARMED:
            state, words = _State.MENDED, f"lost and written again: {words}"
            columns["repaired_at"] = timezone.now()
        # A replaced address is somebody else's, and is not asked.
        checked = self._checked(live) if found.state == "armed" else None
        return _Seen(state, words, columns, checked)

    def _checked(self, live: VoiceConfig) -> Checked | None:
        url = live.voice_fallback_url
        if not url:
            return None
        if url == self.net.address:
            return self._asked(url, live.voice_fallback_method)
        return server_check(url)

    def _asked(self, url: str, method: str) -> Checked:
        account = self.number.twilio_account
        return address_check(
            url,
            "GET" if method == "GET" else "POST",
            account_sid=account.account_sid,
            auth_token=account.auth_token,
            number_e164=self.number.number_e164,
        )

    # ---- writing at Twilio --------------------------------------------------------------------

    def _mended(
        self, twilio: TwilioRest, row: NumberMove, written: Move, found: Probe
    ) -> tuple[VoiceConfig, bool]:
        wanted = written.wanted.voice()
        lost = set(found.fields)
        # An address and how it is asked belong together.
        lost |= {name for name in METHOD_FIELDS if _url_of(name) in lost}
        self._post(twilio, row, {name: wanted[name] for name in sorted(lost)})
        log.warning("net_mended", net_id=self.net.pk, fields=sorted(lost))
        return read(twilio.number(written.wanted.sid)), True

    def _rearmed(
        self, twilio: TwilioRest, row: NumberMove, written: Move, live: VoiceConfig
    ) -> tuple[Move, VoiceConfig]:
        """Write the fallback that is chosen now; the move then remembers it as what it wrote.

        Twilio first: a process that dies between the two leaves a number that answers callers, and
        the next look stores what is there.
        """
        net = self._net_wanted(written)
        wanted = replace(
            written.wanted, voice_fallback_url=net.url, voice_fallback_method=net.method
        )
        differs = set(changed(wanted, live))
        if differs - {"voice_fallback_url", "voice_fallback_method"}:
            return written, live  # somebody changed more: that is for people, not for us
        if differs:
            fields = ("voice_fallback_url", "voice_fallback_method")
            self._post(twilio, row, {name: wanted.voice()[name] for name in fields})
            live = read(twilio.number(wanted.sid))
        move = replace(written, wanted=wanted)
        stays = Q(finished_at__isnull=False)
        if self.held is not None:
            stays = Q(finished_at__isnull=True, lease_token=self.held.token)
        with transaction.atomic():
            kept = NumberMove.objects.filter(stays, pk=row.pk, closed_at__isnull=True).update(
                state=move_rows.columns_of(move)["state"]
            )
            if kept:
                self._hold(rearm_wanted=False)
        return (move, live) if kept else (written, live)

    def _net_wanted(self, written: Move) -> Net:
        address, method = self.net.address, self.net.method
        if self.net.previous_closed_at is not None:
            return Net("address", address, method) if address else Net("none")
        snapshot = move_rows.snapshot_of(self.number)
        application = snapshot.application if snapshot is not None else None
        return net_for(
            target_of(written.before, application),
            our_url=settings.PUBLIC_BASE_URL,
            address=address,
            method=method,
        )

    def _post(self, twilio: TwilioRest, row: NumberMove, fields: Mapping[str, str]) -> None:
        """Write at Twilio, unless a move came meanwhile; if one came while we wrote, follow it."""
        self._hold()
        moving = move_rows.open_move(self.number)
        is_ours = moving is None or (self.held is not None and moving.pk == self.held.move_id)
        if self._newest() != row.pk or not is_ours:
            raise TwilioSilent("a move of this number has begun")
        if self.held is not None:
            try:
                self.held.write()
            except move_rows.MoveLost:
                raise TwilioSilent("its move goes on") from None
        path = f"IncomingPhoneNumbers/{move_rows.move_of(row).wanted.sid}.json"
        try:
            twilio.post(path, as_form(fields))
        finally:
            if self._newest() != row.pk:
                self._follow(twilio)

    def _newest(self) -> uuid.UUID | None:
        newest = NumberMove.objects.filter(number=self.number).order_by("-created_at")
        pk: uuid.UUID | None = newest.values_list("pk", flat=True).first()
        return pk

    def _follow(self, twilio: TwilioRest) -> None:
        """Make the number as the move wants it that began while we wrote: ours came too late."""
        newest = NumberMove.objects.filter(number=self.number).order_by("-created_at").first()
        if newest is None:
            return
        wanted = move_rows.move_of(newest).wanted
        live = read(twilio.number(wanted.sid))
        fields = changes(wanted, over=live)
        if newest.direction == NumberMove.Direction.BACK and fields:
            twilio.post(f"IncomingPhoneNumbers/{wanted.sid}.json", as_form(fields))
        log.warning("net_write_followed", net_id=self.net.pk, move_id=str(newest.pk))

    # ---- rows ---------------------------------------------------------------------------------

    def _hold(self, **columns: Any) -> None:
        columns = {"lease_until": timezone.now() + LEASE, **columns}
        if not NumberNet.objects.filter(pk=self.net.pk, lease_token=self.token).update(**columns):
            raise _LookLost

    def write(self, seen: _Seen) -> None:
        """Store what was found; people are told once of each change of state.

        Raises:
            _LookLost: another worker has the look.
        """
        now = timezone.now()
        columns: dict[str, Any] = {"look_at": next_night(now, self.net.pk)}
        if seen.again is not None:
            self._hold(look_at=now + seen.again)
            return
        is_new = (seen.state, seen.words[:500]) != (self.net.probe_state, self.net.probe_words)
        columns |= {
            "probe_state": seen.state,
            "probe_words": seen.words[:500],
            "probed_at": now,
            **(seen.columns or {}),
        }
        if is_new:
            columns["probe_changed_at"] = now
        if seen.state == _State.NOT_MOVED:
            columns |= {"dead_ms": None, "hanging_ms": None, "has_fallback": None}
            columns |= {"address_state": "unknown", "address_words": "", "address_at": None}
            columns |= {"rearm_wanted": False}  # a move takes the address that is entered
        address_fell = False
        if seen.checked is not None:
            columns |= {
                "address_state": seen.checked.state,
                "address_words": seen.checked.words[:500],
                "address_at": now,
            }
            address_fell = seen.checked.state == "fails" != self.net.address_state
        with transaction.atomic():
            self._hold(**columns)
            if is_new:
                self._tell(seen, now)
            if address_fell:
                self._notice(
                    f"net-address:{self.net.pk}:{now.isoformat()}",
                    "A safety net does not answer",
                    "Whom Twilio asks when this site is dead did not answer the nightly look.",
                )

    def _tell(self, seen: _Seen, now: datetime) -> None:
        was = self.net.probe_state
        told = {
            _State.ALARM: ("A safety net is not as it was set up", seen.words),
            _State.MENDED: ("A safety net was mended", seen.words),
        }.get(seen.state)  # type: ignore[call-overload]  # a column's text is one of the choices
        if told is None and was == _State.ALARM and seen.state == _State.ARMED:
            told = ("A safety net is armed again", seen.words)
        if told is None:
            return
        self._notice(f"net:{self.net.pk}:{seen.state}:{now.isoformat()}", *told)
        audit_write(
            actor=None,
            action=f"net.{seen.state}",
            organisation=self.net.organisation,
            target=self.number,
            details={"was": was},
        )

    def _notice(self, key: str, subject: str, words: str) -> None:
        notice_enqueue(
            organisation=self.net.organisation,
            key=key,
            subject=subject,
            words=words,
            ids={"net": str(self.net.pk), "number": str(self.number.pk)},
        )


def _waits(row: NumberMove) -> bool:
    """Tell whether a move here has nothing left to do but to see its first caller."""
    is_here = row.direction == NumberMove.Direction.HERE
    return is_here and row.step == NumberMove.Step.TESTED and not row.first_call_sid


def _url_of(method_field: str) -> str:
    return {
        "voice_method": "voice_url",
        "voice_fallback_method": "voice_fallback_url",
        "status_callback_method": "status_callback",
    }[method_field]


def _refused(error: TwilioRefused) -> str:
    if error.is_gone:
        return "Twilio's account has no such number any more: it was released or taken elsewhere"
    if error.is_login:
        return "Twilio does not take the account's token or key. Fix: enter the valid one"
    return f"Twilio refused with {error.status}, code {error.code}"
