"""Renders what every call of a revision says alike: once, when it goes live, never in a call.

Owns when a line is wanted, who renders it, and what happens when that fails. Rows are the queue: a
worker claims one by its due time, so two workers pay once and a lost worker costs minutes. Words
that the same voice has spoken before in the organisation are copied.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterator
from typing import Any, Final

import structlog
from django.db.models import Exists, F, OuterRef, Q, QuerySet
from django.utils import timezone

from assistants.models import AssistantRevision
from assistants.services import revision_document
from assistants.translate import SessionPlan, session_plan
from assistants.voice_table import realtime_voice
from calls.models import Call, PhoneNumber, ProviderConnection, RenderedClip
from calls.services.call_variables import own_variables
from calls.services.caller_clips import clips_drop
from calls.services.clips import (
    Line,
    apology_line,
    filler_line,
    greeting_line,
    greeting_problem,
)
from calls.services.voice_sample import fix_of
from calls.services.wording import RenderError, speech_render
from voiceplatform.base.services import audit_write

# How long a worker has a line to itself; the endpoint is given half a minute.
_LEASE: Final = dt.timedelta(minutes=2)
_BACKOFF: Final = tuple(dt.timedelta(minutes=each) for each in (1, 5, 30, 120, 360))
# Calls that began so lately are looked at: what they lacked is there for the next one.
_LATELY: Final = dt.timedelta(seconds=30)
_KEPT: Final = dt.timedelta(days=7)
_BATCH: Final = 20
_HOPELESS: Final = 400  # the text or the voice is refused; the same again changes nothing
NO_CONNECTION: Final = "no model connection speaks for it. Fix: open one under Connections."

log = structlog.get_logger(__name__)


def clips_work(limit: int = _BATCH) -> int:
    """Do what is due: note what is wanted, render some of it, drop what is old; return how many."""
    for revision in _revisions_lacking():
        clips_want(revision)
    rendered = clips_render_due(limit)
    clips_prune()
    clips_drop()
    return rendered


def _revisions_lacking() -> list[AssistantRevision]:
    """Return live revisions of numbers without any clip, and those of the newest calls."""
    clips = RenderedClip.objects.filter(revision=OuterRef("assistant__current_revision"))
    numbers = _answering(PhoneNumber.objects.all()).filter(
        assistant__deleted_at__isnull=True, assistant__current_revision__isnull=False
    )
    published = numbers.filter(~Exists(clips)).values_list("assistant__current_revision", flat=True)
    # A decided voice, a number or a connection may have come after the revision.
    called = Call.objects.filter(
        created_at__gte=timezone.now() - _LATELY, revision__isnull=False
    ).values_list("revision", flat=True)
    wanted = {*published.order_by()[:_BATCH], *called.order_by().distinct()[:_BATCH]}
    rows = AssistantRevision.objects.filter(pk__in=wanted)
    return list(rows.select_related("assistant__organisation"))


def _answering(numbers: QuerySet[PhoneNumber]) -> QuerySet[PhoneNumber]:
    return numbers.filter(route__in=(PhoneNumber.Route.DIRECT, PhoneNumber.Route.CANARY))


def revision_plan(revision: AssistantRevision, now: dt.datetime) -> SessionPlan:
    """Return the plan of a revision for a call of which nothing is known."""
    document = revision_document(revision)
    owner = revision.assistant.organisation_id
    assert owner is not None, "every assistant has an organisation"
    return session_plan(
        document,
        voice=realtime_voice(owner, document.get("voice")),
        variables=own_variables(document),
        now=now,
    )


def clips_want(revision: AssistantRevision) -> int:
    """Note what a revision lacks, due now; return how many lines are new.

    One line for each speech model and each apology of the numbers that it answers; without a number
    those of the organisation's default connection.
    """
    now = timezone.now()
    plan = revision_plan(revision, now)
    always = [filler_line(plan)]
    if not greeting_problem(revision_document(revision), plan, now):
        always.append(greeting_line(plan))
    wanted: dict[tuple[str, str, str, str], RenderedClip] = {}
    for connection, number in _speakers(revision):
        apologies = (
            apology_line(plan, number, revision.language, reachable=each) for each in (True, False)
        )
        for line in (*always, *apologies):
            if line is not None:
                key = (line.kind, line.voice, connection.speech_model, line.text_hash)
                wanted.setdefault(key, _row(revision, line, connection, now))
    known = set(
        RenderedClip.objects.filter(revision=revision).values_list(
            "kind", "voice", "speech_model", "text_hash"
        )
    )
    new = [row for key, row in wanted.items() if key not in known]
    RenderedClip.objects.bulk_create(new, ignore_conflicts=True)
    return len(new)


def _speakers(
    revision: AssistantRevision,
) -> Iterator[tuple[ProviderConnection, PhoneNumber | None]]:
    organisation = revision.assistant.organisation_id
    default = ProviderConnection.objects.filter(organisation=organisation, is_default=True).first()
    numbers = _answering(PhoneNumber.objects.filter(assistant=revision.assistant_id))
    found = [
        (connection, number)
        for number in numbers.select_related("connection")
        if (connection := number.connection or default) is not None
    ]
    if found:
        yield from found
    elif default is not None:
        yield default, None


def _row(
    revision: AssistantRevision, line: Line, connection: ProviderConnection, now: dt.datetime
) -> RenderedClip:
    return RenderedClip(
        revision=revision,
        kind=line.kind,
        language=line.language,
        voice=line.voice,
        speech_model=connection.speech_model,
        speed=line.speed,
        text=line.text,
        text_hash=line.text_hash,
        connection=connection,
        due_at=now,
    )


def clips_render_due(limit: int = _BATCH) -> int:
    """Render what is due, oldest first; return how many lines have audio now."""
    rendered = 0
    for _ in range(limit):
        clip = (
            RenderedClip.objects.filter(due_at__lte=timezone.now())
            .select_related("connection", "revision__assistant")
            .defer("revision__document", "revision__document_redacted")
            .order_by("due_at")
            .first()
        )
        if clip is None:
            break
        if clip_claim(clip):
            rendered += _render(clip)
    return rendered


def clip_claim(clip: RenderedClip) -> bool:
    """Take a due line for some minutes; False when somebody else has taken it since it was read."""
    claimed = RenderedClip.objects.filter(pk=clip.pk, due_at=clip.due_at).update(
        due_at=timezone.now() + _LEASE, attempts=F("attempts") + 1
    )
    return bool(claimed)


def _render(clip: RenderedClip) -> bool:
    """Render a claimed line and store its audio, or the reason why there is none."""
    now = timezone.now()
    # Asked for once more although it is there: somebody did not like how it sounded.
    audio = None if clip.audio_mulaw else _spoken_before(clip)
    try:
        if audio is None:
            audio = _speak(clip)
    except RenderError as problem:
        log.warning("clip_not_rendered", clip=clip.pk, error=str(problem))
        wait = _BACKOFF[min(clip.attempts, len(_BACKOFF) - 1)]
        RenderedClip.objects.filter(pk=clip.pk).update(
            render_error=f"{problem}. {fix_of(problem.status)}"[:300],
            due_at=None if problem.status == _HOPELESS else now + wait,
        )
        return False
    RenderedClip.objects.filter(pk=clip.pk).update(
        audio_mulaw=audio, rendered_at=now, render_error="", attempts=0, due_at=None
    )
    return True


def _speak(clip: RenderedClip) -> bytes:
    if clip.connection is None:
        raise RenderError(NO_CONNECTION, _HOPELESS)
    return speech_render(clip.connection, clip.text, clip.voice, speed=clip.speed)


def _spoken_before(clip: RenderedClip) -> bytes | None:
    same = RenderedClip.objects.filter(
        Q(revision__assistant__organisation=clip.revision.assistant.organisation_id),
        text_hash=clip.text_hash,
        voice=clip.voice,
        speech_model=clip.speech_model,
        audio_mulaw__isnull=False,
    )
    audio = same.values_list("audio_mulaw", flat=True).first()
    return bytes(audio) if audio is not None else None


def clips_again(*, revision: AssistantRevision, actor: Any) -> int:
    """Have every line of a revision rendered anew; return how many.

    What there is stays in use until the new one is there.
    """
    clips_want(revision)
    due = RenderedClip.objects.filter(revision=revision).update(
        due_at=timezone.now(), attempts=0, render_error=""
    )
    audit_write(
        actor=actor,
        action="assistant.render_clips",
        organisation=revision.assistant.organisation,
        target=revision.assistant,
        details={"revision": revision.number, "lines": due},
    )
    return due


def clips_prune() -> int:
    """Drop some lines of revisions that answer no call any more; return how many."""
    old = (
        RenderedClip.objects.filter(created_at__lt=timezone.now() - _KEPT)
        .exclude(revision__assistant__current_revision=F("revision"))
        .values_list("pk", flat=True)[:200]
    )
    return RenderedClip.objects.filter(pk__in=list(old)).delete()[0]
