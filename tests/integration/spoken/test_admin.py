"""Searching in what was said: who may, what is shown, and that every search is audited."""

from __future__ import annotations

import datetime as dt
from typing import Any

import pytest
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.urls import reverse
from django.utils import timezone

from calls.models import Call
from calls.services.erasure import caller_erase, erasure_preview
from calls.services.said_words import words_index
from tests import factories
from voiceplatform.base.models import AuditEntry, Organisation

pytestmark = [pytest.mark.integration, pytest.mark.django_db]

PAGE = "admin:calls_call_said"
LIST = "admin:calls_call_changelist"
SEES, READS = "calls.view_call", "calls.view_transcript"


def said(organisation: Organisation, *texts: str, hours: float = 0, **columns: Any) -> Call:
    turns = [{"text": text} for text in texts]
    call = factories.make_call(organisation, status="ended", turns=turns, **columns)
    moment = timezone.now() - dt.timedelta(hours=hours)
    Call.objects.filter(pk=call.pk).update(created_at=moment)
    words_index()
    return call


def sign_in(client: Client, organisation: Organisation, *permissions: str) -> None:
    client.force_login(factories.make_staff(organisation, permissions))


def look(client: Client, **asked: Any) -> Any:
    answer = client.get(reverse(PAGE), asked)
    assert answer.status_code == 200
    return answer


def shown(answer: Any) -> list[Any]:
    return [row["call"].pk for row in answer.context["rows"]]


def searches() -> list[dict[str, Any]]:
    entries = AuditEntry.objects.filter(action="transcript.search").order_by("pk")
    return [entry.details for entry in entries]


@pytest.fixture
def organisation() -> Organisation:
    return factories.make_organisation()


def test_the_words_are_shown_escaped_with_their_place(
    client: Client, organisation: Organisation
) -> None:
    call = said(organisation, "Hello", "I want a <b>refund</b> & my money", caller="+14155550111")
    sign_in(client, organisation, SEES, READS)
    text = look(client, words="refund").content.decode()
    assert "I want a &lt;b&gt;<mark>refund</mark>&lt;/b&gt; &amp; my money" in text
    assert f"{reverse('admin:calls_call_change', args=[call.pk])}#turn-1" in text
    assert "+14155550111" in text
    assert "Caller, " in text


def test_only_who_may_read_transcripts_searches_them(
    client: Client, organisation: Organisation
) -> None:
    said(organisation, "refund")
    for permissions in ((SEES,), (READS,), ("calls.watch_calls",)):
        sign_in(client, organisation, *permissions)
        assert client.get(reverse(PAGE), {"words": "refund"}).status_code == 403
    sign_in(client, organisation, SEES)
    answer = client.get(reverse(LIST), {"q": "refund"})
    assert answer.context["cl"].result_count == 0
    assert reverse(PAGE) not in answer.content.decode()
    assert searches() == []


def test_nothing_of_another_organisation_is_shown(
    client: Client, organisation: Organisation
) -> None:
    other = factories.make_organisation()
    theirs, ours = said(other, "refund"), said(organisation, "refund")
    sign_in(client, organisation, SEES, READS)
    assert shown(look(client, words="refund")) == [ours.pk]
    assert list(client.get(reverse(LIST), {"q": "refund"}).context["cl"].result_list) == [ours]
    assert theirs.number is not None
    wrong = look(client, words="refund", number=theirs.number.pk)
    assert "number" in wrong.context["form"].errors
    assert AuditEntry.objects.filter(action="transcript.search", organisation=other).count() == 0


def test_days_number_and_assistant_narrow_the_search(
    client: Client, organisation: Organisation
) -> None:
    first, second = said(organisation, "refund", hours=80), said(organisation, "refund")
    assert first.number is not None
    assert first.revision is not None
    sign_in(client, organisation, SEES, READS)
    page = look(client, words="refund")
    assert page.content.decode().count('type="date"') == 2
    assert shown(page) == [second.pk, first.pk]
    assert shown(look(client, words="refund", number=first.number.pk)) == [first.pk]
    assistant = first.revision.assistant_id
    assert shown(look(client, words="refund", assistant=assistant)) == [first.pk]
    day = (timezone.now() - dt.timedelta(hours=80)).date()
    assert shown(look(client, words="refund", until=day)) == [first.pk]
    assert shown(look(client, words="refund", since=day, until=day)) == [first.pk]
    later = day + dt.timedelta(days=1)
    assert shown(look(client, words="refund", since=later)) == [second.pk]


def test_what_is_wrong_is_said_beside_its_field(client: Client, organisation: Organisation) -> None:
    sign_in(client, organisation, SEES, READS)
    assert not look(client).context["form"].errors
    for asked, field, words in (
        ({"words": ""}, "words", "Nothing to look for was entered"),
        ({"words": "--"}, "words", "There is no word in this. Fix: enter"),
        ({"words": "a", "since": "2026-03-02", "until": "2026-03-01"}, "until", "before From"),
    ):
        answer = look(client, **asked)
        assert words in " ".join(answer.context["form"].errors[field])
        assert "Nothing was found" not in answer.content.decode()
    assert searches() == []
    assert "Nothing was found. Try fewer words" in look(client, words="x").content.decode()


def test_older_calls_are_behind_a_link(client: Client, organisation: Organisation) -> None:
    number = factories.make_number(organisation)
    made = [said(organisation, "refund", hours=n, number=number) for n in range(27)]
    sign_in(client, organisation, SEES, READS)
    answer = look(client, words="refund")
    assert shown(answer) == [call.pk for call in made[:25]]
    with CaptureQueriesContext(
        connection,
    ) as queries:
        rest = client.get(reverse(PAGE) + answer.context["older"])
    assert len(queries) <= 20
    assert shown(rest) == [call.pk for call in made[25:]]
    assert not rest.context["older"]
    assert len(shown(look(client, words="refund", before="x", before_id="1"))) == 25


def test_every_search_is_audited_with_its_words_masked(
    client: Client, organisation: Organisation
) -> None:
    call = said(organisation, "refund for me", caller="+14155550133")
    sign_in(client, organisation, SEES, READS)
    look(client, words="refund")
    look(client, words="ring 415-555-0133")
    client.get(reverse(LIST), {"q": "refund"})
    client.get(reverse(LIST), {"q": "+1415"})  # a number, no words
    found = [str(call.pk)]
    assert searches() == [
        {"words": "refund", "through": "admin", "count": 1, "calls": found},
        {"words": "ring [phone]", "through": "admin", "count": 0, "calls": []},
        {"words": "refund", "through": "list of calls", "count": 1, "calls": found},
    ]


def test_an_erasure_takes_the_words_out_of_searches_that_found_the_caller(
    client: Client, organisation: Organisation, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("calls.services.erasure.recordings_delete", lambda access, sid: 0)
    call = said(organisation, "jane roe speaking", caller="+14155550133")
    said(organisation, "refund")
    sign_in(client, organisation, SEES, READS)
    look(client, words="jane roe")
    look(client, words="refund")
    counted = erasure_preview(organisation=organisation, number=call.caller).counts
    done = caller_erase(organisation=organisation, number=call.caller, actor="system")
    assert done.counts["base.auditentry"] == counted["base.auditentry"] == 1
    assert [details.get("words") for details in searches()] == [None, "refund"]
    assert shown(look(client, words="jane roe")) == []


def test_the_list_finds_words_beside_numbers_and_leads_to_them(
    client: Client, organisation: Organisation
) -> None:
    call = said(organisation, "my refund", caller="+14155550111")
    said(organisation, "other")
    sign_in(client, organisation, SEES, READS)
    for q in ("refund", "+14155550111", call.call_sid, str(call.pk)):
        answer = client.get(reverse(LIST), {"q": q})
        assert list(answer.context["cl"].result_list) == [call], q
    text = client.get(reverse(LIST), {"q": "my refund"}).content.decode()
    assert f"{reverse(PAGE)}?words=my+refund" in text
    assert len(searches()) == 2


def test_the_page_says_what_cannot_be_found_yet(client: Client, organisation: Organisation) -> None:
    said(organisation, "refund")
    sign_in(client, organisation, SEES, READS)
    assert "Not found yet" not in look(client).content.decode()
    factories.make_call(organisation, turns=[{"text": "refund"}, {"text": ""}])
    expected = "Not found yet: 1 thing said" if connection.vendor == "sqlite" else "Search"
    assert expected in look(client).content.decode()
