"""A person accepts that callers will hear something differently than at Vapi.

Owns the acceptance: of exactly the findings that were shown, of exactly the documents that they are
of, so that another revision, or a finding that is new, asks again. The stored rows of readiness are
judged anew at once, without asking Twilio. What blocks a number can never be accepted: it is not
among what is offered.
"""

from __future__ import annotations

import hashlib
import json
from collections import defaultdict
from collections.abc import Sequence
from typing import Any, Final

import structlog
from django.db import transaction
from django.utils import timezone

from assistants.models import AssistantRevision
from calls.models import AudibleAcceptance, NumberReadiness, PhoneNumber
from calls.numbers.readiness.facts import AtTwilio, Audible, NumberFacts
from calls.numbers.readiness.verdict import verdict_again
from calls.numbers.switch.net import Net
from calls.services.readiness_here import REVISION, HereReader
from voiceplatform.base.fields import DecryptionError
from voiceplatform.base.models import Organisation
from voiceplatform.base.services import actor_label, audit_write

MOST_WHY: Final = 500
_AUDIBLE: Final = "assistant_audible"
_COLUMNS: Final = (
    *("colour", "reason", "next_step", "next_link", "next_target", "findings", "sources"),
)

log = structlog.get_logger(__name__)


class AcceptError(ValueError):
    """Nothing was accepted; the text says why and what to do."""


class AcceptOvertaken(AcceptError):
    """What callers hear has changed since the page was opened."""


def audible_now(number: PhoneNumber) -> tuple[Audible, ...]:
    """Return what callers of ``number`` hear differently, by its documents as they are now.

    Raises:
        AcceptError: one of the documents was sealed with a key that is gone.
    """
    try:
        answering = HereReader(number.organisation).facts_of(number).answering
    except DecryptionError:
        raise AcceptError(
            "a document of the assistant cannot be read. Fix: see the doctor about the keys."
        ) from None
    return answering.audible if answering is not None else ()


def seen_of(audible: Sequence[Audible]) -> str:
    """Return what a page showed in a form that it can hold and send back."""
    shown = sorted((each.source, each.words) for each in _open(audible))
    return hashlib.sha256(json.dumps(shown).encode()).hexdigest()


def audible_accept(*, number: PhoneNumber, actor: Any, why: str, seen: str) -> int:
    """Accept what callers of ``number`` hear differently; return how many findings that were.

    It holds for every number that answers with the same revision.

    Args:
        seen: what the page showed (``seen_of``).

    Raises:
        AcceptError: there is nothing to accept, or why is empty.
        AcceptOvertaken: it is not what the page showed any more.
    """
    if not why.strip():
        raise AcceptError("why is empty. Fix: say in a few words why; it is kept with your name.")
    audible = audible_now(number)
    if seen_of(audible) != seen:
        raise AcceptOvertaken(
            "what callers hear has changed since the page was opened. Fix: read it again, then "
            "decide again."
        )
    fresh = _open(audible)
    if not fresh:
        raise AcceptError("nothing waits to be accepted. Fix: there is nothing to do.")
    by_source: dict[str, set[str]] = defaultdict(set)
    for each in fresh:
        by_source[each.source].add(each.words)
    now, who = timezone.now(), actor_label(actor)[:200]
    with transaction.atomic():
        for source, words in sorted(by_source.items()):
            row = AudibleAcceptance.objects.create(
                organisation=number.organisation,
                source=source,
                revision=_revision(source),
                words=sorted(words),
                who=who,
                why=why.strip()[:MOST_WHY],
                at=now,
            )
            audit_write(
                actor=actor,
                action="readiness.accept",
                organisation=number.organisation,
                target=row,
                details={"number": str(number.pk), "source": source, "findings": len(words)},
            )
    _judge_again(number.organisation)
    return len(fresh)


def _open(audible: Sequence[Audible]) -> list[Audible]:
    return [each for each in audible if each.accepted is None]


def _revision(source: str) -> AssistantRevision | None:
    text = source.removeprefix(REVISION)
    if not source.startswith(REVISION):
        return None
    return AssistantRevision.objects.filter(pk=int(text)).defer("document").first()


def _judge_again(organisation: Organisation) -> None:
    """Judge every stored row that waits for an acceptance; one transaction a row."""
    reader = HereReader(organisation)
    rows = NumberReadiness.objects.for_organisation(organisation).filter(number__isnull=False)
    waiting = [
        (pk, number_id)
        for pk, number_id, findings in rows.values_list("pk", "number", "findings")
        if any(each.get("code") == _AUDIBLE for each in findings)
    ]
    for pk, number_id in waiting:
        try:
            number = PhoneNumber.objects.select_related("assistant__current_revision", "squad").get(
                pk=number_id
            )
            here = reader.facts_of(number)
        except (DecryptionError, PhoneNumber.DoesNotExist):
            log.warning("readiness_not_judged_again", number_id=str(number_id))
            continue
        facts = NumberFacts(
            number_e164=number.number_e164,
            twilio=AtTwilio(),
            net=Net("none"),
            our_url="",
            number_id=str(number.pk),
            answering=here.answering,
            asks_server=here.asks_server,
        )
        with transaction.atomic():
            row = NumberReadiness.objects.select_for_update().filter(pk=pk).first()
            if row is None:
                continue
            verdict = verdict_again(facts, row.findings)
            row.colour, row.reason = verdict.colour, verdict.reason
            row.next_step, row.next_link = verdict.step[:160], verdict.link
            row.next_target = verdict.target
            row.findings = [each.as_json() for each in verdict.findings]
            row.sources = list(verdict.sources)
            row.save(update_fields=_COLUMNS)
