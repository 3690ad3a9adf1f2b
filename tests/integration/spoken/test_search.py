"""Calls are found by what was said in them, the same on both databases, and by nothing else."""

from __future__ import annotations

import datetime as dt
import importlib
import uuid
from typing import Any

import pytest
from django.db import connection
from django.utils import timezone
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from calls.bridge.effects import RecordTurn
from calls.models import Call, Turn
from calls.selectors.spoken import FoundCalls, NothingToFind, spoken_search
from calls.services import said_words
from calls.services.call_rows import call_rows_delete
from calls.services.journal import batch_store
from calls.services.retention import retention_run, rule_of
from calls.services.said_words import words_due, words_index
from tests import factories
from voiceplatform.base.models import Organisation

pytestmark = [pytest.mark.integration, pytest.mark.django_db]

SAID = (
    ("I want a Refund for my two invoices.", "refund"),
    ("Grüße aus der Großen Straße, Café José", "grusse strasse cafe jose"),
    ("My order is 4711, room 12-b.", "4711"),
    ("Send it by e-mail_please (now)!", "e-mail"),
    ("Привет из Москвы", "москвы"),
    ("Ａ full width １２３ word", "width"),
)


def search(organisation: Organisation, words: str, **asked: Any) -> FoundCalls:
    words_index()
    return spoken_search(Call.objects.for_organisation(organisation), words, **asked)


def found(organisation: Organisation, words: str) -> list[str]:
    calls = search(organisation, words).calls
    return ["".join(p.text for p in each.parts) for call in calls for each in call.snippets]


@pytest.fixture
def organisation() -> Organisation:
    owner = factories.make_organisation()
    factories.make_call(owner, turns=[{"text": text} for text, _ in SAID])
    return owner


@pytest.mark.parametrize(
    ("words", "places"),
    [
        *((words, [at]) for at, (_, words) in enumerate(SAID)),
        ("refunds", []),
        ("REFUND invoice", [0]),
        ("refund 4711", []),  # said, but not in one go
        ('"invoice"', []),
        ('"two invoices"', [0]),
        ('"invoices two"', []),
        ('"a refund for my two invoices"', [0]),
        ("strasse", [1]),
        ("Straße", [1]),
        ("GRUSSE", [1]),
        ("grosse", [1]),
        ("josé", [1]),
        ("47", []),
        ("47*", [2]),
        ("12b", []),
        ("12-b", [2]),
        ("mail", [3]),
        ("please now", [3]),
        ("Москв", [4]),
        ("the", []),
        ("unheard", []),
    ],
)
def test_words_phrases_beginnings_accents_and_digits(
    organisation: Organisation, words: str, places: list[int]
) -> None:
    Turn.objects.update(text_unheard="unheard")
    assert found(organisation, words) == [SAID[at][0] for at in places]


@pytest.mark.parametrize("words", ["", " ", '""', "*", "-- _ ;", "🙂"])
def test_a_search_without_a_word_says_so(organisation: Organisation, words: str) -> None:
    with pytest.raises(NothingToFind, match="Fix: enter at least one letter or digit"):
        search(organisation, words)


@settings(max_examples=40, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(words=st.text(max_size=60) | st.text(alphabet="\"'*()&|!:<>-^{}ab \0\\%", max_size=30))
def test_whatever_is_typed_is_words(organisation: Organisation, words: str) -> None:
    try:
        calls = search(organisation, words).calls
    except NothingToFind:
        return
    assert len(calls) <= 1


def test_newest_calls_come_first_and_older_ones_are_asked_for() -> None:
    owner, now = factories.make_organisation(), timezone.now()
    made = []
    for hours in (5, 1, 3, 3, 9):
        call = factories.make_call(owner, turns=[{"text": f"refund {n}"} for n in range(5)])
        Call.objects.filter(pk=call.pk).update(created_at=now - dt.timedelta(hours=hours))
        made.append((-hours, call.pk))
    newest = [pk for _, pk in sorted(made, reverse=True)]
    got: list[uuid.UUID] = []
    older = None
    for _ in range(3):
        page = search(owner, "refund", limit=2, older_than=older)
        got += [each.call.pk for each in page.calls]
        older = page.older_than
    assert got == newest
    assert older is None
    assert [len(each.snippets) for each in page.calls] == [3]
    assert page.calls[0].more == 2


def test_nothing_of_another_organisation_is_found(organisation: Organisation) -> None:
    assert found(organisation, "refund")
    assert not found(factories.make_organisation(), "refund")


def test_the_index_follows_whoever_writes_a_turn() -> None:
    """No code of ours keeps it in step: not the one that inserts, corrects, cuts or deletes."""
    owner = factories.make_organisation()
    call = factories.make_call(owner, turns=[])
    versions = (("Your parrot and", ""), ("Your parrot and your canary", ""))
    for text, unheard in (*versions, ("Your parrot", "and your canary")):
        said = RecordTurn(0, "assistant", text, unheard, "i", 0, 900, bool(unheard), None)
        batch_store(
            call_id=str(call.pk), stream_number=1, turns=[said], tools=(), policy=None, pieces=()
        )
        assert found(owner, "parrot") == [text]
        assert bool(found(owner, "canary")) is text.endswith("canary")
    Turn.objects.bulk_create(
        Turn(call=call, ordinal=n, role="user", text="macaw", started_ms=0) for n in range(1, 4)
    )
    assert len(found(owner, "macaw")) == 3
    call.turns.filter(ordinal=1).update(text="cockatoo")
    assert (len(found(owner, "macaw")), len(found(owner, "cockatoo"))) == (2, 1)
    call.turns.filter(ordinal=2).delete()
    assert len(found(owner, "macaw")) == 1
    call_rows_delete(call.pk)
    assert not found(owner, "macaw")
    assert not found(owner, "parrot")


def test_what_retention_takes_is_found_no_more() -> None:
    owner = factories.make_organisation()
    call = factories.make_call(owner, status="ended", turns=[{"text": "old macaw"}])
    factories.make_call(owner, status="ended", turns=[{"text": "new macaw"}])
    Call.objects.filter(pk=call.pk).update(created_at=timezone.now() - dt.timedelta(days=9))
    rule = rule_of(owner)
    rule.transcript_days = 7
    rule.save()
    retention_run()
    assert found(owner, "macaw") == ["new macaw"]


FILL = importlib.import_module("calls.migrations.0022_spoken_words_fill")


def test_what_was_said_before_there_was_an_index_is_filled_in(
    organisation: Organisation, monkeypatch: pytest.MonkeyPatch
) -> None:
    """On PostgreSQL the index is built over what is there; the other tests show that it is used."""
    if connection.vendor == "postgresql":
        assert "turn_said_words" in _indexes()
        return
    monkeypatch.setattr(FILL, "STEP", 2)
    words_index()
    with connection.cursor() as cursor:
        cursor.execute("INSERT INTO calls_saidwords(calls_saidwords) VALUES ('delete-all')")
    assert not found(organisation, "refund")
    # Written and deleted while the index does not know them.
    call = Call.objects.get(organisation=organisation)
    call.turns.filter(ordinal=1).update(text="I said macaw")
    call.turns.filter(ordinal=2).delete()
    for _ in range(2):  # an interrupted run is run again
        FILL._rows(connection)
    assert found(organisation, "refund") == [SAID[0][0]]
    assert found(organisation, "strasse") == []
    assert found(organisation, "macaw") == ["I said macaw"]
    assert found(organisation, "width") == [SAID[5][0]]
    with connection.cursor() as cursor:
        cursor.execute("SELECT count(*) FROM calls_saidwords_docsize")
        assert cursor.fetchone()[0] == len(SAID) - 1
    call.turns.all().delete()
    assert not found(organisation, "width")


def _indexes() -> set[str]:
    with connection.cursor() as cursor:
        return set(connection.introspection.get_constraints(cursor, "calls_turn"))


def test_what_was_said_just_now_is_due_until_a_worker_takes_it_up(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(said_words, "STEP", 2)
    words_index()
    call = factories.make_call(turns=[{"text": f"macaw {n}"} for n in range(5)])
    rows = Call.objects.for_organisation(call.organisation)
    if connection.vendor == "postgresql":
        assert words_due() == words_index() == 0
    else:
        assert words_due() == 5
        assert not spoken_search(rows, "macaw").calls
        call.turns.filter(ordinal=0).update(text="")
        call.turns.filter(ordinal=1).delete()
        call.turns.filter(ordinal=2).update(text="macaw")
        assert words_due() == 3
        assert words_index(budget_seconds=0.0) == 0
        assert (words_index(), words_due()) == (3, 0)
    assert spoken_search(rows, "macaw").calls
    # What goes, goes at once.
    call.turns.update(text="")
    assert not spoken_search(rows, "macaw").calls
