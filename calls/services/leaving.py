"""Leaving Vapi: look, answer for what cannot be proved, export, leave, undo, and what is due then.

Owns the order of the steps and every write about them. Before anything is ended the look is
repeated, every file of the export is read back, and every number is seen to have a net without
Vapi; only then are the previous targets put away, all in one transaction. Undone can be everything
until Twilio's token has been replaced. What depends on Vapi is ``calls.numbers.leaving``'s to say.
"""

from __future__ import annotations

import datetime as dt
import hashlib
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Final

import structlog
from django.conf import settings
from django.db import transaction
from django.utils import timezone

from assistants.vapi_api import VapiApi
from calls.models import (
    DepartedNumber,
    Departure,
    NumberNet,
    OldStackRate,
    PhoneNumber,
    TwilioAccount,
)
from calls.numbers.leaving import CONFIRMATION, Dependency, dependencies, outstanding
from calls.numbers.schedule import schedule_stored
from calls.numbers.switch.voice import Target
from calls.selectors.leaving import open_departure
from calls.services.export_folder import FolderRefused, export_verify, list_digest
from calls.services.leaving_export import ExportReport, Progress, everything_export
from calls.services.leaving_look import facts_for
from calls.services.leaving_nets import NetNotArmed, net_arm, net_before, net_put_back
from calls.services.nets import net_previous_closed
from calls.services.notices import notice_enqueue
from calls.services.number_routes import previous_set
from calls.services.previous_targets import target_json, target_stored
from voiceplatform.base.fields import DecryptionError
from voiceplatform.base.models import Organisation
from voiceplatform.base.services import actor_label, audit_write

DUE_AFTER: Final = dt.timedelta(days=7)
REMIND_EVERY: Final = dt.timedelta(days=1)
_HANDS_OVER: Final = frozenset({"vapi", "canary"})
NOT_UNDOABLE: Final = (
    "What is done at Vapi itself: assistants, numbers and records deleted, an account closed.",
    "A replaced auth token of Twilio: Vapi cannot answer calls of your account with the old one.",
    "Revoked keys of Vapi's: scripts that still use them fail.",
)

log = structlog.get_logger(__name__)


class LeavingRefused(ValueError):
    """The step cannot be done; ``outstanding`` is what has to go first, the text says the rest."""

    def __init__(self, words: str, found: tuple[Dependency, ...] = ()) -> None:
        super().__init__(words)
        self.outstanding = found


@dataclass(frozen=True, slots=True)
class Left:
    """What a leave has done: numbers that are through, and what is in the way of others."""

    numbers: int
    problems: tuple[str, ...] = ()
    is_cancelled: bool = False

    @property
    def is_done(self) -> bool:
        """Tell whether Vapi has been left."""
        return not self.problems and not self.is_cancelled


def departure_begin(*, organisation: Organisation) -> Departure:
    """Return the leave that is open, or a new one."""
    found = open_departure(organisation)
    if found is not None:
        return found
    row, _ = Departure.objects.get_or_create(
        organisation=organisation, state=Departure.State.PREPARING
    )
    return row


def departure_look(
    *,
    departure: Departure,
    vapi: VapiApi | None = None,
    progress: Progress = lambda done, total, label: None,
    cancelled: Callable[[], bool] = lambda: False,
) -> tuple[Dependency, ...]:
    """Look at everything that may depend on Vapi and store what was found; asks Twilio and Vapi."""
    now = timezone.now()
    facts = facts_for(departure, now=now, vapi=vapi, progress=progress, cancelled=cancelled)
    found = dependencies(facts)
    stored = {
        "items": [asdict(each) for each in found],
        "with_key": facts.vapi is not None,
        "numbers": len(facts.numbers),
    }
    Departure.objects.filter(pk=departure.pk).update(found=stored, looked_at=now)
    departure.found, departure.looked_at = stored, now
    return found


def found_of(departure: Departure) -> tuple[Dependency, ...]:
    """Return what the last look found."""
    return tuple(Dependency(**each) for each in departure.found.get("items", ()))


def departure_accept(*, departure: Departure, key: str, actor: Any, why: str) -> None:
    """Note that a person answers for something that cannot be proved.

    Raises:
        LeavingRefused: it is nothing that somebody can answer for, or no reason is given.
    """
    why = " ".join(why.split())[:300]
    if not why:
        raise LeavingRefused("why is empty. Fix: say in a few words how you know.")
    with transaction.atomic():
        row = Departure.objects.select_for_update().get(pk=departure.pk)
        _want(row, Departure.State.PREPARING)
        asked = {each.key for each in found_of(row) if each.weight == "ask"}
        if key not in asked:
            raise LeavingRefused(
                "the last look found nothing of this kind to answer for. Fix: look again."
            )
        said = {"who": actor_label(actor), "why": why, "at": timezone.now().isoformat()}
        row.accepted = {**row.accepted, key: said}
        row.save(update_fields=["accepted", "updated_at"])
        audit_write(
            actor=actor,
            action="departure.accept",
            organisation=row.organisation,
            target=row,
            details={"code": key.partition(":")[0], "why": why},
        )
    departure.accepted = row.accepted


def departure_export(
    *,
    departure: Departure,
    folder: Path,
    actor: Any,
    vapi: VapiApi | None = None,
    progress: Progress = lambda done, total, label: None,
    cancelled: Callable[[], bool] = lambda: False,
) -> ExportReport:
    """Export everything into ``folder``, or go on with an export there.

    Raises:
        FolderRefused: the folder is somebody else's, or the disk does not take it.
    """
    begun_at = timezone.now()  # what comes meanwhile may be missing, so the export is as old
    report = everything_export(
        organisation=departure.organisation,
        folder=folder,
        vapi=vapi,
        progress=progress,
        cancelled=cancelled,
    )
    if report.is_cancelled:
        return report
    said = {
        "counts": dict(report.counts),
        "missing": report.missing_count,
        "vapi_calls": report.vapi_calls,
        "digest": report.digest,
        "files": report.files,
        "bytes": report.size_bytes,
    }
    with transaction.atomic():
        row = Departure.objects.select_for_update().get(pk=departure.pk)
        row.export_folder, row.export, row.exported_at = str(folder)[:500], said, begun_at
        row.save(update_fields=["export_folder", "export", "exported_at", "updated_at"])
        _rate_measured(row.organisation, report)
        audit_write(
            actor=actor,
            action="departure.export",
            organisation=row.organisation,
            target=row,
            details=said,
        )
    departure.export_folder, departure.export = row.export_folder, said
    departure.exported_at = begun_at
    return report


def departure_leave(
    *,
    departure: Departure,
    typed: str,
    actor: Any,
    vapi: VapiApi | None = None,
    progress: Progress = lambda done, total, label: None,
    cancelled: Callable[[], bool] = lambda: False,
) -> Left:
    """Leave Vapi: arm every net without it, then put the previous targets away.

    May be begun again after an interruption: a net that is armed is seen to be and not written.

    Raises:
        LeavingRefused: something depends on Vapi, the export does not read back, or ``typed`` is
            not ``CONFIRMATION``.
    """
    if typed.strip().lower() != CONFIRMATION:
        raise LeavingRefused(f"the confirmation is not right. Fix: type “{CONFIRMATION}”.")
    departure.refresh_from_db()
    _want(departure, Departure.State.PREPARING)
    found = departure_look(departure=departure, vapi=vapi, progress=progress, cancelled=cancelled)
    left = outstanding(found, departure.accepted)
    if left:
        raise LeavingRefused(f"{len(left)} things keep you from leaving Vapi.", left)
    _export_check(departure, lambda: progress(0, 1, "Reading the export back"))
    numbers = list(
        PhoneNumber.objects.for_organisation(departure.organisation).select_related(
            "twilio_account", "organisation"
        )
    )
    problems: list[str] = []
    for place, number in enumerate(numbers):
        if cancelled():
            return Left(place, tuple(problems), is_cancelled=True)
        progress(place, len(numbers), "Arming the nets")
        problem = _arm(departure, number)
        if problem:
            problems.append(f"{number.number_e164}: {problem}")
    if problems:
        return Left(len(numbers) - len(problems), tuple(problems))
    _put_away(departure, numbers, actor)
    return Left(len(numbers))


def _export_check(departure: Departure, beat: Callable[[], object]) -> None:
    """Read the export back: what is about to end must be on a disk.

    Raises:
        LeavingRefused: it is not there, or not as it was written.
    """
    folder = Path(departure.export_folder)
    try:
        verified = export_verify(folder, beat)
    except FolderRefused as error:
        raise LeavingRefused(f"the export cannot be read back: {error}") from error
    if verified.problems or list_digest(folder) != departure.export.get("digest"):
        what = verified.problems[0] if verified.problems else "the list is another one"
        raise LeavingRefused(f"the export is not as it was written: {what}. Fix: export again.")


def _arm(departure: Departure, number: PhoneNumber) -> str:
    """See to it that a number has its net without Vapi; return what went wrong, '' if nothing."""
    row = DepartedNumber.objects.filter(departure=departure, number=number).first()
    try:
        if row is None:
            target = target_stored(number)
            before = {
                "target": target_json(target) if target is not None else None,
                "voice_url": number.previous_voice_url,
                "net": net_before(number),
            }
            row, _ = DepartedNumber.objects.get_or_create(
                departure=departure, number=number, defaults={"before": before}
            )
        net_arm(number)
    except NetNotArmed as error:
        if row is not None:
            DepartedNumber.objects.filter(pk=row.pk).update(problem=str(error)[:300])
        return str(error)
    except DecryptionError:
        return "no key opens what is stored of it. Fix: see FIELD_ENCRYPTION_KEYS."
    DepartedNumber.objects.filter(pk=row.pk).update(armed_at=timezone.now(), problem="")
    return ""


def _put_away(departure: Departure, numbers: list[PhoneNumber], actor: Any) -> None:
    now = timezone.now()
    with transaction.atomic():
        row = Departure.objects.select_for_update().get(pk=departure.pk)
        _want(row, Departure.State.PREPARING)
        armed = DepartedNumber.objects.filter(departure=row, armed_at__isnull=False)
        now_here = PhoneNumber.objects.for_organisation(row.organisation)
        if now_here.exclude(pk__in=armed.values("number")).exists():
            raise LeavingRefused("a number was added meanwhile. Fix: begin again.")
        for number in now_here.select_for_update():
            plan = schedule_stored(number.schedule)
            outside = plan.outside if plan is not None and number.route != "paused" else ""
            if _HANDS_OVER & {number.route, outside}:
                raise LeavingRefused(
                    f"the route of {number.number_e164} was changed meanwhile. Fix: look again."
                )
            previous_set(number, None)
        armed.update(cleared_at=now, undone_at=None)
        net_previous_closed(numbers=numbers, actor=actor, why="Vapi has been left")
        row.state, row.left_at, row.left_by = Departure.State.LEFT, now, actor_label(actor)[:200]
        row.token_due_at = row.key_due_at = now + DUE_AFTER
        row.reminded_at = now
        row.sealed = {"tokens": _token_digests(row.organisation)}
        row.save()
        audit_write(
            actor=actor,
            action="departure.leave",
            organisation=row.organisation,
            target=row,
            details={"numbers": len(numbers), "export": row.export.get("digest", "")},
        )
        _tell(row, "left", "Vapi has been left", _due_words(row))
    departure.refresh_from_db()
    log.info("vapi_left", departure_id=str(departure.pk), numbers=len(numbers))


def departure_undo(*, departure: Departure, actor: Any, why: str) -> Left:
    """Put back what leaving has put away: previous targets first, then the nets at Twilio.

    Routes stay as they are: set a number's route to ``vapi`` to hand its calls over again.

    Raises:
        LeavingRefused: Vapi was not left, or Twilio's token has been replaced.
    """
    if not why.strip():
        raise LeavingRefused("why is empty. Fix: say in a few words why; it is kept.")
    with transaction.atomic():
        row = Departure.objects.select_for_update().get(pk=departure.pk)
        _want(row, Departure.State.LEFT)
        if row.token_done_at is not None:
            raise LeavingRefused(
                "Twilio's token has been replaced, and Vapi cannot answer with the old one. Fix: "
                "give Vapi the new token there, then move numbers by hand."
            )
        gone = list(row.numbers.select_related("number__organisation", "number__twilio_account"))
        for each in gone:
            previous_set(each.number, _target(each.before))
        _previous_open_again(row)
        row.numbers.update(undone_at=timezone.now())
        row.state, row.undone_at = Departure.State.UNDONE, timezone.now()
        row.save(update_fields=["state", "undone_at", "updated_at"])
        audit_write(
            actor=actor,
            action="departure.undo",
            organisation=row.organisation,
            target=row,
            details={"numbers": len(gone), "why": why[:300]},
        )
        _tell(row, "undone", "Leaving Vapi was undone", f"{len(gone)} numbers have their way back.")
    problems = []
    for each in gone:
        try:
            net_put_back(each.number, each.before.get("net"))
        except NetNotArmed as error:
            problems.append(f"{each.number.number_e164}: {error}")
    departure.refresh_from_db()
    return Left(len(gone), tuple(problems))


def _target(before: Mapping[str, Any]) -> Target | None:
    target = before.get("target")
    return Target(**target) if isinstance(target, Mapping) else None


def _previous_open_again(row: Departure) -> None:
    pks = row.numbers.values("number")
    NumberNet.objects.filter(number__in=pks).update(previous_closed_at=None)


def token_done(*, departure: Departure, actor: Any) -> None:
    """Note that Twilio's auth tokens have been replaced; from then on there is no way back.

    Raises:
        LeavingRefused: Vapi was not left, or a token that Vapi knows is still the stored one.
    """
    _done(departure, "token_done_at", actor, "departure.token_done")


def key_done(*, departure: Departure, actor: Any) -> None:
    """Note that Vapi's keys have been revoked.

    Raises:
        LeavingRefused: Vapi was not left.
    """
    _done(departure, "key_done_at", actor, "departure.key_done")


def _done(departure: Departure, column: str, actor: Any, action: str) -> None:
    with transaction.atomic():
        row = Departure.objects.select_for_update().get(pk=departure.pk)
        _want(row, Departure.State.LEFT)
        if column == "token_done_at":
            _want_new_tokens(row)
        if getattr(row, column) is None:
            setattr(row, column, timezone.now())
            if row.token_done_at and row.key_done_at:
                row.state = Departure.State.FINISHED
            row.save(update_fields=[column, "state", "updated_at"])
            audit_write(actor=actor, action=action, organisation=row.organisation, target=row)
    departure.refresh_from_db()


def _want_new_tokens(row: Departure) -> None:
    known = set((row.sealed or {}).get("tokens", ()))
    for account in TwilioAccount.objects.for_organisation(row.organisation):
        if account.auth_token and _digest(account.auth_token) in known:
            raise LeavingRefused(
                f"the token of {account} is still the one that Vapi knows. Fix: make a secondary "
                "token in Twilio's console, enter it under Twilio accounts, promote it there."
            )


def departures_remind(now: dt.datetime) -> int:
    """Tell the people on duty once a day of what is overdue; return of how many leaves."""
    count = 0
    rows = Departure.objects.filter(state=Departure.State.LEFT, token_due_at__lt=now)
    for pk in list(rows.filter(reminded_at__lt=now - REMIND_EVERY).values_list("pk", flat=True)):
        with transaction.atomic():
            row = Departure.objects.select_for_update().defer("sealed").get(pk=pk)
            if row.state != Departure.State.LEFT or row.reminded_at > now - REMIND_EVERY:
                continue
            row.reminded_at = now
            row.save(update_fields=["reminded_at", "updated_at"])
            _tell(row, f"overdue:{now:%Y-%m-%d}", "Overdue after leaving Vapi", _due_words(row))
            count += 1
    return count


def _due_words(row: Departure) -> str:
    due = []
    if row.token_done_at is None:
        due.append("replace Twilio's auth token, which Vapi knows")
    if row.key_done_at is None:
        due.append("revoke Vapi's keys")
    until = f"{row.token_due_at:%Y-%m-%d} UTC" if row.token_due_at else "now"
    return f"Still to be done until {until}: {'; '.join(due)}."


def _tell(row: Departure, what: str, subject: str, words: str) -> None:
    notice_enqueue(
        organisation=row.organisation,
        key=f"departure:{row.pk}:{what}",
        subject=subject,
        words=words,
        ids={"departure": str(row.pk)},
    )


def _rate_measured(organisation: Organisation, report: ExportReport) -> None:
    """Note what a minute at Vapi cost by its own records, unless somebody has entered it."""
    calls = report.counts["vapi_measured"]
    if not calls or report.vapi_seconds < 60:
        return
    rows = OldStackRate.objects.for_organisation(organisation)
    if rows.filter(source=OldStackRate.Source.ENTERED).exists():
        return
    rate = report.vapi_usd * 60 / round(report.vapi_seconds)
    OldStackRate.objects.update_or_create(
        organisation=organisation,
        defaults={
            "usd_per_minute": round(rate, 4),
            "source": OldStackRate.Source.MEASURED,
            "calls": calls,
        },
    )


def _want(row: Departure, state: Departure.State) -> None:
    if row.state != state:
        raise LeavingRefused(
            f"this leave is in another state: {row.get_state_display().lower()}. Fix: look at it "
            "again."
        )


def _token_digests(organisation: Organisation) -> list[str]:
    tokens = TwilioAccount.objects.for_organisation(organisation)
    return [_digest(each.auth_token) for each in tokens if each.auth_token]


def _digest(token: str) -> str:
    return hashlib.sha256(f"{settings.SECRET_KEY}:{token}".encode()).hexdigest()
