"""Which numbers are ready to be moved: the job that finds out, and what it found.

Owns the job and its rows: it asks Twilio and the doctor, joins what they say with numbers that are
here and numbers that an import only kept, and stores one verdict per number. What facts mean is
``calls.numbers.readiness``'s; it must not change a number, a route or anything at Twilio. Run
again, also after a worker died, it asks everything again: nothing it does can be done twice.
"""

from __future__ import annotations

import datetime as dt
import uuid
from collections.abc import Callable, Iterable, Sequence
from functools import partial
from typing import Any, Final

from django.db import transaction
from django.db.models import Q
from django.utils import timezone

from calls.doctor.checks import Result, run_for
from calls.models import (
    AccountFacts,
    NumberReadiness,
    PhoneNumber,
    ProviderConnection,
    TwilioAccount,
)
from calls.numbers.readiness.verdict import Verdict, facts_json
from calls.services.readiness_join import Joined, Joiner
from calls.services.readiness_twilio import AccountLook, Rest, accounts_look, readable
from calls.telephony.twilio_rest import TwilioRest
from voiceplatform.base.job_bell import JobBell
from voiceplatform.base.jobs import RunningJob, job_create
from voiceplatform.base.models import Job, Organisation
from voiceplatform.base.services import audit_write

KIND: Final = "readiness"
TASK: Final = "calls.tasks.run_readiness"
SOFT_LIMIT_SECONDS: Final = 25 * 60
EVERY: Final = dt.timedelta(hours=23)
_SLICE: Final = 100
_TOO_LONG: Final = "It took longer than 25 minutes and was stopped. What was found before is kept."

BELL: Final = JobBell(TASK, (KIND,), is_alone=False, too_long=_TOO_LONG)

Examine = Callable[[Sequence[TwilioAccount], Sequence[ProviderConnection]], list[Result]]


class _Cancelled(Exception):
    """Somebody asked the job to stop."""


def readiness_begin(*, organisation: Organisation, actor: Any) -> Job:
    """Queue a check of all numbers, or return the one that is on already."""
    with transaction.atomic():
        open_jobs = Job.objects.for_organisation(organisation).filter(
            kind=KIND, state__in=(Job.State.QUEUED, Job.State.RUNNING)
        )
        found: Job | None = open_jobs.select_for_update().order_by("created_at").first()
        if found is not None:
            return found
        job = job_create(organisation=organisation, kind=KIND, actor=actor, parameters={})
        audit_write(actor=actor, action="readiness.check", organisation=organisation, target=job)
        transaction.on_commit(lambda: BELL.poke(job.pk))
    return job


def readiness_of(number: PhoneNumber) -> NumberReadiness | None:
    """Return what was found of ``number`` when it was last checked, None if it never was."""
    return NumberReadiness.objects.filter(number=number).first()


def readiness_daily(now: dt.datetime | None = None) -> int:
    """Queue a check for every organisation whose last one is a day old; return how many.

    Nobody has to begin the first one: it is due when its first number has been here for a day.
    """
    now = now or timezone.now()
    jobs = Job.objects.filter(kind=KIND)
    fresh = jobs.filter(created_at__gt=now - EVERY).values("organisation")
    settled = PhoneNumber.objects.filter(created_at__lte=now - EVERY).values("organisation")
    wanted = Q(pk__in=jobs.values("organisation")) | Q(pk__in=settled)
    due = Organisation.objects.filter(wanted).exclude(pk__in=fresh)
    for organisation in due:
        readiness_begin(organisation=organisation, actor=None)
    return len(due)


def readiness_run(
    job_id: uuid.UUID | str, *, examine: Examine = run_for, rest: Rest = TwilioRest
) -> None:
    """Do one check to its end; harmless when another worker has it or it has ended.

    Args:
        examine: the doctor's checks of these accounts and connections.
        rest: how an account is asked.
    """
    BELL.run(job_id, partial(_check, examine=examine, rest=rest))


def _check(running: RunningJob, *, examine: Examine, rest: Rest) -> None:
    organisation = running.job.organisation

    def tell(done: int, total: int, words: str) -> None:
        running.progress(done, total, words)
        if running.cancelled():
            raise _Cancelled

    try:
        looks, unread = _look(organisation, tell, rest)
        tell(0, 0, "Asking the doctor")
        joiner = Joiner(organisation, looks, unread)
        joiner.health = examine([look.account for look in looks], joiner.connections())
        total, colours = _store_all(running, joiner, tell)
    except _Cancelled:
        words = "Cancelled. Numbers that it had not come to are as they were."
        running.end(Job.State.CANCELLED, words, result=_list())
        return
    _store_accounts(running, joiner)
    errors = [*unread, *(f"{look.account.name}: {look.error}" for look in looks if look.error)]
    words = f"{_words(colours)}." + (f" Not listed: {'; '.join(errors)}." if errors else "")
    running.end(Job.State.DONE, words, result=_list(), counts=(total, total))


def _look(
    organisation: Organisation, tell: Callable[[int, int, str], None], rest: Rest
) -> tuple[list[AccountLook], list[str]]:
    """Ask the accounts; return what they said, and which could not be asked at all."""
    rows = TwilioAccount.objects.for_organisation(organisation).order_by("name")
    accounts: list[TwilioAccount] = []
    unread: list[str] = []
    for pk, name in rows.values_list("pk", "name"):
        found = readable(pk)
        if isinstance(found, str):
            unread.append(f"{name}: {found}")
        else:
            accounts.append(found)
    return accounts_look(accounts, tell=tell, rest=rest), unread


def _store_all(
    running: RunningJob, joiner: Joiner, tell: Callable[[int, int, str], None]
) -> tuple[int, dict[str, int]]:
    """Store a verdict per number, and drop what is nowhere any more."""
    wanted = joiner.numbers()
    colours: dict[str, int] = {}
    some: list[tuple[Joined, Verdict]] = []
    for count, joined in enumerate(wanted):
        tell(count, len(wanted), "Judging numbers")
        verdict = joiner.judge(joined)
        colours[verdict.colour] = colours.get(verdict.colour, 0) + 1
        some.append((joined, verdict))
        if len(some) >= _SLICE:
            _store(running, some)
            some = []
    _store(running, some)
    with transaction.atomic():
        running.hold()
        gone = NumberReadiness.objects.for_organisation(running.job.organisation)
        gone = gone.exclude(number_e164__in=[each.number_e164 for each in wanted])
        # An account that gave no list may still have them.
        gone.exclude(account__in=joiner.silent_accounts()).delete()
    return len(wanted), colours


def _store(running: RunningJob, some: Iterable[tuple[Joined, Verdict]]) -> None:
    job, now = running.job, timezone.now()
    rows = [_row(job, joined, verdict, now) for joined, verdict in some]
    if not rows:
        return
    columns = (
        *("number", "companion_id", "account", "twilio_sid", "colour", "reason", "next_step"),
        *("next_link", "next_target", "findings", "facts", "sources", "checked_at", "job"),
    )
    with transaction.atomic():
        running.hold()
        # A row that was corrected to another number is the same row.
        kept = NumberReadiness.objects.filter(number__in=[row.number_id for row in rows])
        by_number = {row.number_id: row.number_e164 for row in rows if row.number_id}
        moved = [row.pk for row in kept if by_number[row.number_id] != row.number_e164]
        NumberReadiness.objects.filter(pk__in=moved).delete()
        NumberReadiness.objects.bulk_create(
            rows,
            update_conflicts=True,
            unique_fields=("organisation", "number_e164"),
            update_fields=columns,
        )


def _row(job: Job, joined: Joined, verdict: Verdict, now: dt.datetime) -> NumberReadiness:
    return NumberReadiness(
        organisation_id=job.organisation_id,
        number_e164=joined.number_e164,
        number_id=joined.number_id,
        companion_id=joined.companion_id,
        account=joined.account,
        twilio_sid=joined.twilio_sid,
        colour=verdict.colour,
        reason=verdict.reason,
        next_step=verdict.step[:160],
        next_link=verdict.link,
        next_target=verdict.target,
        findings=[each.as_json() for each in verdict.findings],
        facts=facts_json(verdict.facts),
        sources=list(verdict.sources),
        checked_at=now,
        job=job,
    )


def _store_accounts(running: RunningJob, joiner: Joiner) -> None:
    for look in joiner.looks:
        columns: dict[str, Any] = {
            "tried_at": look.at,
            "error": look.error[:300],
            "job": running.job,
        }
        if not look.error:
            columns |= {
                "checked_at": look.at,
                "numbers_listed": len(look.numbers),
                "status": look.status[:20],
                "kind": look.kind[:20],
            }
        peak = joiner.peak_of_account(look)
        if peak is not None:
            columns |= {
                "peak_calls": peak.calls,
                "peak_at": peak.at,
                "peak_is_least": peak.is_least,
                "peak_checked_at": peak.checked_at,
            }
        with transaction.atomic():
            running.hold()
            AccountFacts.objects.update_or_create(
                account=look.account,
                defaults=columns,
                create_defaults={**columns, "organisation_id": look.account.organisation_id},
            )


def _list() -> dict[str, Any]:
    return {"model": "calls.numberreadiness", "is_list": True}


def _words(colours: dict[str, int]) -> str:
    said = (
        ("green", "ready"),
        ("amber", "to be looked at"),
        ("red", "blocked"),
        ("grey", "unknown"),
    )
    parts = [f"{colours[colour]} {words}" for colour, words in said if colours.get(colour)]
    return ", ".join(parts) or "There is no number"
