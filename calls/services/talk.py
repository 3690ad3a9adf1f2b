"""Talks through the browser: begun by a person on the page, opened once by a socket, finished.

Owns who may, what proves it and what is kept. The token is derived, bound to person and revision,
used once by a conditional UPDATE. Nothing that is said is stored, and nothing is reported.
"""

from __future__ import annotations

import datetime as dt
import hashlib
import hmac
from base64 import urlsafe_b64encode
from collections.abc import Mapping
from decimal import Decimal
from typing import Any

from django.conf import settings
from django.contrib.auth import get_user
from django.contrib.sessions.backends.base import SessionBase
from django.http import HttpRequest
from django.utils import timezone

from assistants.models import AssistantRevision
from calls.models import ProviderConnection, Talk
from calls.services.contract import marks_of, talk_problem
from voiceplatform.base.selectors import rows_visible_to
from voiceplatform.base.services import audit_write

PERMISSION = "calls.talk_to_assistant"
TOOLS_PERMISSION = "calls.add_call"  # what a real call may do, a talk with tools may do
TOKEN_SECONDS = 30  # the page opens the socket at once


class TalkRefused(Exception):
    """The talk may not begin, or its socket proves nothing. The message is for our log only."""


def may_talk(user: Any, revision: AssistantRevision) -> bool:
    """Tell whether a signed-in person may talk to a revision that they can see."""
    return bool(
        user.is_active
        and user.is_staff
        and user.has_perm(PERMISSION)
        and revision.assistant.deleted_at is None
    )


def talk_start(
    *,
    user: Any,
    revision: AssistantRevision,
    connection: ProviderConnection,
    calls_tools: bool,
) -> Talk:
    """Note that ``user`` begins a talk and return its row; the socket must open within 30 s.

    Raises:
        TalkRefused: the person may not talk, or may not have tools called; or the connection is
            another organisation's, or one that the assistant's numbers may not use.
    """
    organisation = revision.assistant.organisation
    if not may_talk(user, revision):
        raise TalkRefused("the permission is missing")
    if calls_tools and not user.has_perm(TOOLS_PERMISSION):
        raise TalkRefused("tools may not be called")
    if connection.organisation_id != organisation.pk:
        raise TalkRefused("the connection belongs to another organisation")
    forbidden = talk_problem(marks_of(revision.assistant), connection)
    if forbidden:
        raise TalkRefused(forbidden)
    talk = Talk.objects.create(
        organisation=organisation,
        user=user,
        revision=revision,
        connection=connection,
        calls_tools=calls_tools,
        token_expires_at=timezone.now() + dt.timedelta(seconds=TOKEN_SECONDS),
    )
    audit_write(
        actor=user,
        action="talk.start",
        organisation=organisation,
        target=revision,
        details={"talk": str(talk.pk), "calls_tools": calls_tools, "connection": str(connection)},
    )
    return talk


def talk_token(talk: Talk) -> str:
    """Return the token of a talk's socket: derived, so that the database opens nothing."""
    text = f"talk:{talk.pk}:{talk.user_id}:{talk.revision_id}".encode()
    digest = hmac.new(settings.SECRET_KEY.encode(), text, hashlib.sha256).digest()
    return urlsafe_b64encode(digest[:24]).decode()


def talk_open(*, talk_id: str, token: str, session: SessionBase) -> Talk:
    """Return the talk that a socket may carry and mark its token used.

    The person is the one of the browser's session, asked again here: a token that has been copied,
    or a permission that has been taken back meanwhile, opens nothing.

    Raises:
        TalkRefused: unknown talk, other person, wrong, used or expired token, permission gone, or
            a contract that has ended meanwhile.
    """
    talk: Talk | None = (
        Talk.objects.select_related(
            "user", "connection", "organisation", "revision__assistant__organisation"
        )
        .filter(pk=talk_id)
        .first()
    )
    if talk is None:
        raise TalkRefused("unknown talk")
    if not hmac.compare_digest(talk_token(talk).encode(), token.encode()):
        raise TalkRefused("wrong token")
    user = _person(session)
    if user.pk is None or user.pk != talk.user_id:
        raise TalkRefused("another person, or nobody, is signed in")
    revisions = AssistantRevision.objects.filter(pk=talk.revision_id)
    visible = rows_visible_to(revisions, user, "assistant__organisation")
    if not visible.exists() or not may_talk(user, talk.revision):
        raise TalkRefused("the permission is missing")
    if talk.calls_tools and not user.has_perm(TOOLS_PERMISSION):
        raise TalkRefused("tools may not be called")
    if talk.connection is None:
        raise TalkRefused("the connection has been deleted")
    forbidden = talk_problem(marks_of(talk.revision.assistant), talk.connection)
    if forbidden:
        raise TalkRefused(forbidden)
    now = timezone.now()
    taken = Talk.objects.filter(
        pk=talk.pk, token_used_at__isnull=True, token_expires_at__gt=now
    ).update(token_used_at=now)
    if not taken:
        raise TalkRefused("the token has been used or has expired")
    talk.token_used_at = now
    return talk


def _person(session: SessionBase) -> Any:
    request = HttpRequest()
    request.session = session
    return get_user(request)


def talk_answered(*, talk_id: str, model: str) -> None:
    """Note which model answers a talk."""
    Talk.objects.filter(pk=talk_id).update(model=model[:80])


def talk_finish(*, talk_id: str, ended_reason: str, metrics: Mapping[str, Any]) -> None:
    """Note how a talk ended and what it measured; a repeat changes nothing."""
    Talk.objects.filter(pk=talk_id, ended_at__isnull=True).update(
        ended_at=timezone.now(),
        ended_reason=ended_reason[:120],
        duration_seconds=metrics.get("stream_ms", 0) // 1000,
        turn_count=metrics.get("turns", 0),
        tool_count=metrics.get("tool_calls", 0),
        first_word_ms=metrics.get("first_word_ms"),
        turn_latency_p50_ms=metrics.get("turn_latency_p50_ms"),
        turn_latency_p95_ms=metrics.get("turn_latency_p95_ms"),
        cost_usd=Decimal(metrics.get("spend_microusd", 0)) / 1_000_000,
    )
