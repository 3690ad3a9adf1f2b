"""The voice table: which Realtime voice speaks for each provider voice that an organisation uses.

Owns the order of authority: what an operator decided, then the shipped catalogue, then the default.
One row per voice in use; rows without a decision only repeat the catalogue, so that people see
them. Nothing is republished by a decision: a call asks here when its stream begins.
"""

from __future__ import annotations

import uuid
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Final

from django.contrib.auth import get_user_model
from django.db import transaction
from django.db.models import BooleanField, ExpressionWrapper, F, Q, QuerySet
from django.utils import timezone

from assistants.models import Assistant, AssistantRevision, VoiceChoice
from assistants.voices import REALTIME_VOICES, StandIn, VoiceKey, stand_in
from assistants.wire.vapi_config import voice_of
from voiceplatform.base.models import Organisation
from voiceplatform.base.services import audit_write

_BATCH: Final = 200
_DECIDED: Final = "decided by an operator"

OrganisationKey = tuple[uuid.UUID, VoiceKey]


class UnknownVoice(ValueError):
    """No Realtime voice of this name; use one of ``REALTIME_VOICES``."""


@dataclass(frozen=True, slots=True)
class VoiceDecision:
    """What callers hear for one provider voice, and whether somebody decided so."""

    voice: str
    known_as: str
    reason: str
    is_same: bool
    decided: bool
    key: VoiceKey = VoiceKey("", "")

    @property
    def old(self) -> str:
        """Return what people call the provider's voice."""
        return name_of(self.key, self.known_as)


@dataclass(frozen=True, slots=True)
class VoiceInUse:
    """A provider voice that current assistants use, and what callers hear instead."""

    key: VoiceKey
    known_as: str
    about: str
    assistants: int
    decision: VoiceDecision


@dataclass(frozen=True, slots=True)
class FirstLine:
    """What one assistant says first; ``text`` is '' when it waits or greets in its own words."""

    assistant_id: uuid.UUID
    name: str
    text: str
    language: str


def name_of(key: VoiceKey, known_as: str) -> str:
    """Return what people call a provider's voice."""
    return " ".join(filter(None, (key.provider, known_as or key.voice_id))) or "no voice named"


def voice_for(organisation: Organisation | uuid.UUID, voice_document: Any) -> VoiceDecision:
    """Return what callers of ``organisation`` hear for the ``voice`` of an assistant's document.

    One query. Any JSON is answered: no voice, a name, a menu, a provider in any spelling.
    """
    found = voice_of(voice_document)
    chosen: str | None = (
        VoiceChoice.objects.for_organisation(organisation)
        .filter(
            provider=found.key.provider,
            voice_id=found.key.voice_id,
            decided_at__isnull=False,
            realtime_voice__in=REALTIME_VOICES,
        )
        .values_list("realtime_voice", flat=True)
        .first()
    )
    return _decision(found, chosen)


def decided_voices(organisation: Organisation | uuid.UUID) -> dict[VoiceKey, str]:
    """Return what operators decided, by the voice it was decided for."""
    owner = organisation.pk if isinstance(organisation, Organisation) else organisation
    return {key: voice for (_, key), voice in _decided([owner]).items()}


def _decided(owners: Iterable[uuid.UUID]) -> dict[OrganisationKey, str]:
    rows = VoiceChoice.objects.filter(
        organisation__in=list(owners), decided_at__isnull=False, realtime_voice__in=REALTIME_VOICES
    )
    return {
        (row.organisation_id, VoiceKey(row.provider, row.voice_id)): row.realtime_voice
        for row in rows
    }


def voices_heard(assistants: Iterable[Assistant]) -> dict[uuid.UUID, VoiceDecision]:
    """Return what callers of these assistants hear today, by assistant; two queries for any number.

    Deleted ones and those without a published revision are heard by nobody.
    """
    rows = Assistant.objects.filter(pk__in=[assistant.pk for assistant in assistants])
    spoken = [(pk, owner, voice_of(voice)) for pk, owner, voice in _spoken_by(rows)]
    chosen = _decided({owner for _, owner, _ in spoken})
    return {pk: _decision(found, chosen.get((owner, found.key))) for pk, owner, found in spoken}


def revision_voice(revision: AssistantRevision) -> VoiceDecision:
    """Return what callers would hear today of a revision."""
    whole = AssistantRevision.objects.filter(pk=revision.pk, document__isnull=False)
    has_document = bool(revision.document_redacted) or whole.exists()
    voice = (
        revision.document_redacted.get("voice")
        if has_document
        else {"provider": "openai", "voiceId": revision.voice}
    )
    owner = revision.assistant.organisation_id
    assert owner is not None, "every assistant has an organisation"
    return voice_for(owner, voice)


def realtime_voice(organisation: Organisation | uuid.UUID, voice_document: Any) -> str:
    """Return the name of the Realtime voice that speaks for ``voice_document``."""
    return voice_for(organisation, voice_document).voice


def voices_in_use(organisation: Organisation) -> list[VoiceInUse]:
    """Return the provider voices of the organisation's current assistants, most used first."""
    used = used_voices([organisation]).values()
    chosen = decided_voices(organisation)
    found = [
        VoiceInUse(
            known.key, known.known_as, known.about, number, _decision(known, chosen.get(known.key))
        )
        for known, number in used
    ]
    return sorted(found, key=lambda each: (-each.assistants, each.key))


def used_voices(
    organisations: Iterable[Organisation | uuid.UUID],
) -> dict[OrganisationKey, tuple[StandIn, int]]:
    """Return the voices of live assistants and how many have each; one query for any number."""
    assistants = Assistant.objects.filter(organisation__in=list(organisations))
    found: dict[OrganisationKey, tuple[StandIn, int]] = {}
    for _, owner, voice in _spoken_by(assistants):
        known = voice_of(voice)
        first, number = found.get((owner, known.key), (known, 0))
        found[owner, known.key] = (first, number + 1)
    return found


def first_lines(choice: VoiceChoice, limit: int = 5) -> list[FirstLine]:
    """Return how assistants with this voice begin, by name; those that say a greeting first."""
    key = VoiceKey(choice.provider, choice.voice_id)
    owned = Assistant.objects.filter(organisation=choice.organisation)
    ids = [pk for pk, _, voice in _spoken_by(owned) if voice_of(voice).key == key]
    speaks = AssistantRevision.FirstMessageMode.SPEAKS_FIRST
    lines: list[FirstLine] = []
    for start in range(0, len(ids), _BATCH):
        rows = owned.filter(pk__in=ids[start : start + _BATCH]).values_list(
            *("pk", "name", "current_revision__first_message"),
            *("current_revision__first_message_mode", "current_revision__language"),
        )
        lines += [
            FirstLine(pk, name, text.strip() if mode == speaks else "", language)
            for pk, name, text, mode, language in rows
        ]
    return sorted(lines, key=lambda line: (not line.text, line.name, str(line.assistant_id)))[
        :limit
    ]


def voices_seed(organisations: Iterable[Organisation]) -> int:
    """Give every voice in use its row and return how many are new; a second run changes nothing.

    Rows that nobody decided follow the catalogue, and go when no assistant has the voice any more;
    a decision is never touched. No transaction writes more than 200 rows.
    """
    given = list(organisations)
    used = used_voices(given)
    rows: Mapping[OrganisationKey, VoiceChoice] = {
        (row.organisation_id, VoiceKey(row.provider, row.voice_id)): row
        for row in VoiceChoice.objects.filter(organisation__in=given)
    }
    missing = [
        VoiceChoice(
            organisation_id=owner,
            provider=key.provider,
            voice_id=key.voice_id,
            known_as=known.known_as,
            realtime_voice=known.voice,
            reason=known.reason,
        )
        for (owner, key), (known, _) in used.items()
        if (owner, key) not in rows
    ]
    proposed = {key: row for key, row in rows.items() if row.decided_at is None}
    unused = [row.pk for key, row in proposed.items() if key not in used]
    stale = [row for key, row in proposed.items() if key in used and _follow_catalogue(row)]
    # Each write asks again for what may have changed since: a decision of this very moment stays,
    # and a page opened at the same time may have made the row.
    undecided = VoiceChoice.objects.filter(decided_at__isnull=True)
    for start in range(0, len(unused), _BATCH):
        undecided.filter(pk__in=unused[start : start + _BATCH]).delete()
    for start in range(0, len(missing), _BATCH):
        VoiceChoice.objects.bulk_create(missing[start : start + _BATCH], ignore_conflicts=True)
    for row in stale:  # seldom: the catalogue of another version
        undecided.filter(pk=row.pk).update(
            known_as=row.known_as, realtime_voice=row.realtime_voice, reason=row.reason
        )
    return len(missing)


@transaction.atomic
def voice_decide(
    *,
    organisation: Organisation,
    provider: str,
    voice_id: str,
    realtime_voice: str,
    actor: Any,
) -> VoiceChoice:
    """Decide once for all assistants with a provider voice; in force from the next call.

    Args:
        provider: in any spelling; '' for documents that name none.
        voice_id: in any spelling; '' for documents that name no voice.
        actor: a user, an API key, or None for the system.

    Raises:
        UnknownVoice: ``realtime_voice`` is none.
    """
    if realtime_voice not in REALTIME_VOICES:
        raise UnknownVoice(
            f"{realtime_voice!r} is no Realtime voice. "
            f"Fix: use one of {', '.join(REALTIME_VOICES)}."
        )
    known = stand_in(provider, voice_id)
    row: VoiceChoice | None = (
        VoiceChoice.objects.select_for_update()
        .filter(organisation=organisation, provider=known.key.provider, voice_id=known.key.voice_id)
        .first()
    )
    before = row.realtime_voice if row is not None else known.voice
    decided: VoiceChoice = VoiceChoice.objects.update_or_create(
        organisation=organisation,
        provider=known.key.provider,
        voice_id=known.key.voice_id,
        defaults={
            "known_as": _name(row, known),
            "realtime_voice": realtime_voice,
            "reason": _DECIDED,
            "decided_at": timezone.now(),
            "decided_by": actor if isinstance(actor, get_user_model()) else None,
        },
    )[0]
    audit_write(
        actor=actor,
        action="voice.decide",
        organisation=organisation,
        target=decided,
        details={"before": before, "after": realtime_voice},
    )
    return decided


def _decision(known: StandIn, chosen: str | None) -> VoiceDecision:
    if chosen is None:
        return VoiceDecision(
            known.voice, known.known_as, known.reason, known.is_same, False, known.key
        )
    is_same = known.is_same and chosen == known.voice
    return VoiceDecision(chosen, known.known_as, _DECIDED, is_same, True, known.key)


def _name(row: VoiceChoice | None, known: StandIn) -> str:
    """Return the catalogue's name; of an unknown voice the id as a document wrote it."""
    is_same_id = row is not None and row.known_as.lower() == known.known_as.lower()
    return row.known_as if row is not None and is_same_id else known.known_as


def _follow_catalogue(row: VoiceChoice) -> bool:
    """Write the catalogue's words into a row; True when they were others."""
    known = stand_in(row.provider, row.voice_id)
    before = (row.known_as, row.realtime_voice, row.reason)
    row.known_as, row.realtime_voice, row.reason = _name(row, known), known.voice, known.reason
    return (row.known_as, row.realtime_voice, row.reason) != before


def _spoken_by(assistants: QuerySet[Assistant]) -> Iterable[tuple[uuid.UUID, uuid.UUID, Any]]:
    """Yield (assistant, organisation, voice of its current document); documents stay sealed."""
    rows = (
        assistants.filter(deleted_at__isnull=True, current_revision__isnull=False)
        .annotate(
            voice_document=F("current_revision__document_redacted__voice"),
            has_none=ExpressionWrapper(
                Q(current_revision__document__isnull=True), output_field=BooleanField()
            ),
        )
        .order_by("pk")
        .values_list(
            *("pk", "organisation_id", "voice_document"),
            *("has_none", "current_revision__voice"),
        )
    )
    for pk, owner, document, has_none, column in rows.iterator(chunk_size=1000):
        # A revision without a document was written as columns, whose voice is a Realtime voice.
        yield pk, owner, {"provider": "openai", "voiceId": column} if has_none else document
