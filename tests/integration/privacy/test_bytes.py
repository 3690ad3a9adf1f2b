"""What is erased is gone from the bytes of SQLite's files, not only from its tables and indexes."""

from __future__ import annotations

import datetime as dt
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from django.db import connection, connections, transaction
from django.db.backends.sqlite3.base import DatabaseWrapper
from twilio.http.http_client import TwilioHttpClient
from twilio.http.response import Response

from calls.models import Call
from calls.selectors.spoken import spoken_search
from calls.services.erasure import caller_erase
from calls.services.retention import retention_run, rule_of
from calls.services.said_words import words_index, words_left, words_purge
from tests import factories
from tests.migrated import migrated_sqlite
from voiceplatform.settings import _sqlite

pytestmark = [pytest.mark.integration, pytest.mark.django_db]

NUMBER = "+14155550133"
WORDS = "parrot-words-of-jane-roe"
WORD = "budgerigar"  # an index keeps one word whole, and only what follows another one in part


@pytest.fixture
def database_file(tmp_path: Path) -> Iterator[Path]:
    """Move the default database to a file of its own, as an instance on SQLite has one."""
    path = tmp_path / "db.sqlite3"
    shutil.copyfile(migrated_sqlite(), path)
    old: Any = connections["default"]
    given = {**connections.settings["default"], **_sqlite(path)}
    connections["default"] = DatabaseWrapper(given, "default")
    try:
        yield path
    finally:
        connections["default"].close()
        connections["default"] = old


def _files_hold(path: Path, planted: str) -> bool:
    files = (path, path.with_name(f"{path.name}-wal"))
    return any(planted.encode() in each.read_bytes() for each in files if each.exists())


def test_every_connection_asks_for_deleted_rows_to_be_overwritten(tmp_path: Path) -> None:
    """Some builds of SQLite do it unasked, so the files alone would not show that we ask."""
    options: Any = _sqlite(tmp_path / "x.sqlite3")["OPTIONS"]
    assert "PRAGMA secure_delete=ON;" in options["init_command"]


def test_no_byte_of_an_erased_caller_is_left_in_the_files_of_the_database(
    database_file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def request(self: TwilioHttpClient, *args: Any, **kwargs: Any) -> Response:
        return Response(200, '{"recordings": [], "page_size": 50, "next_page_uri": null}')

    monkeypatch.setattr(TwilioHttpClient, "request", request)
    assert connection.vendor == "sqlite" and not connection.in_atomic_block
    number = factories.make_number()
    for at in range(12):
        # Long and short words, so that rows fill pages, and pages are split and given back.
        said = f"{WORDS} " * (1 + 60 * (at % 3))
        turns = [{"text": said}, {"text": said, "text_unheard": WORDS}]
        call = factories.make_call(number=number, caller=NUMBER, status="ended", turns=turns)
        call.turns.update(text=f"{said} again")
        factories.make_call(number=number, status="ended", turns=[{"text": "stays"}])
    assert _files_hold(database_file, NUMBER) and _files_hold(database_file, WORDS)
    tombstone = caller_erase(organisation=call.organisation, number=NUMBER, actor="system")
    assert tombstone.problems == [] and tombstone.counts["calls.call"] == 12
    for planted in (NUMBER, WORDS):
        assert not _files_hold(database_file, planted)
    assert _files_hold(database_file, "stays")


def _file_holds_word(path: Path) -> bool:
    """Tell whether the file holds the word, once the log has gone into it."""
    with connection.cursor() as cursor:
        cursor.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    return _files_hold(path, WORD)


def _said(number: Any, **columns: Any) -> Call:
    return factories.make_call(
        number=number, caller=NUMBER, status="ended", turns=[{"text": f"a {WORD}"}], **columns
    )


@pytest.mark.parametrize("how", ["caller", "retention", "rows"])
def test_an_erased_word_leaves_the_index_of_what_was_said(
    database_file: Path, how: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """FTS5 keeps words of deleted rows in its pages until it merges them."""
    answer = Response(200, '{"recordings": [], "page_size": 50, "next_page_uri": null}')
    monkeypatch.setattr(TwilioHttpClient, "request", lambda self, *args, **kwargs: answer)
    number = factories.make_number()
    for at in range(30):  # so many that there is something to merge
        said = f"stays{at} " * 3
        factories.make_call(number=number, status="ended", turns=[{"text": said}])
    call = _said(number)
    words_index()
    assert _file_holds_word(database_file)
    assert not words_left()
    if how == "caller":
        caller_erase(organisation=call.organisation, number=NUMBER, actor="system")
    else:
        Call.objects.filter(pk=call.pk).update(created_at=call.created_at - dt.timedelta(days=9))
        rule = rule_of(call.organisation)
        rule.transcript_days = 7 if how == "retention" else None
        rule.save()
        if how == "rows":
            call.turns.all().delete()
            assert words_left()
            assert _file_holds_word(database_file)
        retention_run()
    assert not words_left()
    assert not _file_holds_word(database_file)
    assert spoken_search(Call.objects.all(), "stays7").calls  # what others said is still found


def test_a_purge_that_ran_out_of_time_is_followed_by_another(database_file: Path) -> None:
    number = factories.make_number()
    for at in range(12):
        said = [{"text": " ".join(f"{WORD}{at}x{n}" for n in range(2_000))}]
        call = factories.make_call(number=number, status="ended", turns=said)
        words_index()
        call.turns.all().delete()
    with transaction.atomic():
        assert not words_purge(budget_seconds=None)  # it would be one long transaction
    assert not words_purge(budget_seconds=0.0)
    assert words_left()
    assert words_purge(budget_seconds=None)
    assert not words_left()
    assert not _file_holds_word(database_file)
