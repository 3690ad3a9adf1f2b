"""Finds calls by what was said in them; reads only.

Each database has its own index over the words of turns (migration ``spoken_words``), which it keeps
itself: what is not in a turn any more is not found. Asks for what was heard, never for the unheard
rest. Who may read it, and the audit of it, are the caller's to see to.
"""

from __future__ import annotations

import datetime as dt
import uuid
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from django.db import connection
from django.db.models import Q, QuerySet
from django.db.models.expressions import RawSQL

from calls.conversation.search import Part, snippet_of, terms_of
from calls.models import Call, Turn
from tools.words import Term

MOST_CALLS: Final = 25
_MOST_SNIPPETS: Final = 3


class NothingToFind(ValueError):
    """There is no word in what is looked for; enter at least one letter or digit."""


@dataclass(frozen=True, slots=True)
class Snippet:
    """One turn in which the words were said, cut to what stands around them."""

    turn_id: int
    ordinal: int
    role: str
    started_ms: int
    parts: tuple[Part, ...]


@dataclass(frozen=True, slots=True)
class FoundCall:
    """A call with the first places where the words were said; ``more`` are not shown."""

    call: Call
    snippets: tuple[Snippet, ...]
    more: int


@dataclass(frozen=True, slots=True)
class FoundCalls:
    """Calls, newest first; ``older_than`` asks for those behind them, None: there are none."""

    calls: tuple[FoundCall, ...]
    older_than: tuple[dt.datetime, uuid.UUID] | None


def calls_said(calls: QuerySet[Call], words: str) -> QuerySet[Call]:
    """Return those of ``calls`` in which ``words`` were said, all of them in one turn.

    Raises:
        NothingToFind: there is no word in ``words``.
    """
    return calls.filter(pk__in=_turns(_terms(words)).values("call"))


def spoken_search(
    calls: QuerySet[Call],
    words: str,
    *,
    older_than: tuple[dt.datetime, uuid.UUID] | None = None,
    limit: int = MOST_CALLS,
) -> FoundCalls:
    """Find ``words`` in what was said in ``calls``, which are those that may be seen.

    Raises:
        NothingToFind: there is no word in ``words``.
    """
    terms = _terms(words)
    rows = calls_said(calls, words)
    if older_than is not None:
        moment, call_id = older_than
        rows = rows.filter(Q(created_at__lt=moment) | Q(created_at=moment, pk__lt=call_id))
    found = list(rows.order_by("-created_at", "-pk")[: limit + 1])
    shown = found[:limit]
    places: dict[uuid.UUID, list[Turn]] = {}
    turns = _turns(terms).filter(call__in=[call.pk for call in shown])
    columns = ("call_id", "ordinal", "role", "started_ms", "text")
    for turn in turns.only(*columns).order_by("call", "ordinal") if shown else ():
        places.setdefault(turn.call_id, []).append(turn)
    last = shown[-1] if len(found) > limit else None
    return FoundCalls(
        calls=tuple(_found(call, places.get(call.pk, ()), terms) for call in shown),
        older_than=None if last is None else (last.created_at, last.pk),
    )


def _terms(words: str) -> tuple[Term, ...]:
    terms = terms_of(words)
    if not terms:
        raise NothingToFind(
            "there is no word in this. Fix: enter at least one letter or digit, such as refund."
        )
    return terms


def _found(call: Call, turns: Sequence[Turn], terms: Sequence[Term]) -> FoundCall:
    snippets = tuple(
        Snippet(turn.pk, turn.ordinal, turn.role, turn.started_ms, snippet_of(turn.text, terms))
        for turn in turns[:_MOST_SNIPPETS]
    )
    return FoundCall(call, snippets, len(turns) - len(snippets))


def _turns(terms: Sequence[Term]) -> QuerySet[Turn]:
    """Return the turns in which all ``terms`` are."""
    if connection.vendor == "postgresql":
        found = RawSQL(  # our own words; what is asked for is a parameter
            "SELECT id FROM calls_turn "
            "WHERE calls_said_words(text) @@ to_tsquery('pg_catalog.simple', %s)",
            (" & ".join(term.for_tsquery() for term in terms),),
        )
    else:
        found = RawSQL(  # our own words; what is asked for is a parameter
            "SELECT rowid FROM calls_saidwords WHERE calls_saidwords MATCH %s",
            (" AND ".join(term.for_fts5() for term in terms),),
        )
    return Turn.objects.filter(pk__in=found).order_by()
