"""Passages in the database: stored in small steps, found by what a question asks for.

One interface over two indexes that the migrations make beside the table of passages: FTS5 in
SQLite, a GIN index over lexemes in PostgreSQL. Both hold the words that ``words`` makes, so both
find the same; a passage counts by how rare the words are that it shares with the question.
"""

from __future__ import annotations

import uuid
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Final

from django.db import connection, transaction

from assistants.knowledge.passages import Passage
from assistants.knowledge.words import question_terms, words_of
from assistants.models import FilePassage, FileReading, StoredResource
from tools.words import Term
from voiceplatform.base.models import Organisation

# A transaction of this many takes a few milliseconds, also where it holds up all other writers.
STEP: Final = 100
MOST_FILES: Final = 500
_SURPLUS: Final = 4  # so many times more are looked at than are returned


@dataclass(frozen=True, slots=True)
class Found:
    """A passage that answers; ``page`` 0: its file has no pages."""

    file_id: uuid.UUID
    file_name: str
    page: int
    heading: str
    text: str


def passages_store(file_id: uuid.UUID, passages: Sequence[Passage]) -> None:
    """Store the passages of a file that has none, in transactions of ``STEP`` rows."""
    for begin in range(0, len(passages), STEP):
        FilePassage.objects.bulk_create(
            FilePassage(
                file_id=file_id,
                ordinal=ordinal,
                page=passage.page,
                heading=passage.heading,
                text=passage.text,
                words=" ".join(words_of(f"{passage.heading} {passage.text}")),
            )
            for ordinal, passage in enumerate(passages[begin : begin + STEP], begin)
        )


def passages_drop(file_id: uuid.UUID) -> None:
    """Delete the passages of a file, in transactions of ``STEP`` rows."""
    rows = FilePassage.objects.filter(file=file_id).order_by()
    while some := list(rows.values_list("pk", flat=True)[:STEP]):
        with transaction.atomic():
            FilePassage.objects.filter(pk__in=some).delete()


def searchable(organisation: Organisation, file_ids: Iterable[uuid.UUID]) -> dict[uuid.UUID, str]:
    """Return the names of those of these files that can be searched, by id.

    Not one of another organisation, nor one that was deleted, is not read yet or cannot be read.
    """
    wanted = list(dict.fromkeys(file_ids))[:MOST_FILES]
    rows = StoredResource.objects.for_organisation(organisation).filter(
        pk__in=wanted,
        kind=StoredResource.Kind.FILE,
        deleted_at__isnull=True,
        reading__state=FileReading.State.DONE,
    )
    return dict(rows.order_by().values_list("pk", "name"))


def search(
    organisation: Organisation, file_ids: Iterable[uuid.UUID], question: str, limit: int
) -> list[Found]:
    """Return the passages of these files that fit ``question`` best, the best first.

    Only ``searchable`` files are looked at.
    """
    names = searchable(organisation, file_ids)
    terms = question_terms(question)
    if not names or not terms or limit < 1:
        return []
    if connection.vendor == "postgresql":
        ranked = _in_postgresql(list(names), terms, limit * _SURPLUS)
    else:
        ranked = _in_sqlite(list(names), terms, limit * _SURPLUS)
    found = FilePassage.objects.defer("words").in_bulk(ranked)
    best = [found[pk] for pk in ranked if pk in found]
    return [
        Found(row.file_id, names[row.file_id], row.page, row.heading, row.text)
        for row in _each_once(best)[:limit]
    ]


def _each_once(rows: Iterable[FilePassage]) -> list[FilePassage]:
    """Leave out what says the very same as a better one, as when a file was uploaded twice."""
    best: dict[str, FilePassage] = {}
    for row in rows:
        best.setdefault(row.text, row)
    return list(best.values())


def _term(text: str) -> Term:
    return Term((text.removesuffix("*"),), begins=text.endswith("*"))


def _in_sqlite(file_ids: Sequence[uuid.UUID], terms: Sequence[str], most: int) -> list[int]:
    words = " OR ".join(_term(term).for_fts5() for term in terms)
    files = " OR ".join(f'"{each.hex}"' for each in file_ids)
    query = f"(file_id : ({files})) AND (words : ({words}))"
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT rowid FROM assistants_passageindex WHERE assistants_passageindex MATCH %s "
            "ORDER BY bm25(assistants_passageindex, 0.0, 1.0), rowid LIMIT %s",
            [query, most],
        )
        return [row[0] for row in cursor.fetchall()]


def _in_postgresql(file_ids: Sequence[uuid.UUID], terms: Sequence[str], most: int) -> list[int]:
    """Ask as bm25 does where a word is in a passage or not: the sum of how rare the words are."""
    queries = [_term(term).for_tsquery() for term in terms]
    hits = ", ".join(f"(search @@ %s::tsquery)::int AS h{n}" for n in range(len(terms)))
    counts = ", ".join(f"greatest(sum(h{n}), 1)::float AS f{n}" for n in range(len(terms)))
    score = " + ".join(f"h{n} * ln(1 + total / f{n})" for n in range(len(terms)))
    sql = (  # every part is made of numbers of ours; what was asked goes in as parameters
        f"WITH hit AS MATERIALIZED (SELECT id, length(search) AS size, {hits} "  # noqa: S608
        "FROM assistants_filepassage WHERE file_id = ANY(%s) AND search @@ %s::tsquery), "
        f"freq AS (SELECT count(*)::float AS total, {counts} FROM hit) "
        f"SELECT id FROM hit, freq ORDER BY {score} DESC, size, id LIMIT %s"
    )
    parameters: list[Any] = [*queries, list(file_ids), " | ".join(queries), most]
    with connection.cursor() as cursor:
        cursor.execute(sql, parameters)
        return [row[0] for row in cursor.fetchall()]
