"""Forecasts of what calls cost here: from past calls, accepted when dearer, checked afterwards."""

from __future__ import annotations

import datetime as dt
from typing import Any

import pytest
from django.test import Client
from django.urls import reverse
from django.utils import timezone

from assistants.models import Assistant
from calls.models import CostForecast
from calls.parity.forecast import ASSUMED_CACHE, CHECKED_AFTER
from calls.services.cost_forecasts import (
    ForecastRefused,
    forecast_approve,
    forecasts_check,
    forecasts_make,
    measured_cache,
    past_costs,
)
from calls.services.cost_gate import cost_standing, dearer_words
from tests import factories
from voiceplatform.base.models import AuditEntry

pytestmark = [pytest.mark.integration, pytest.mark.django_db]


def past_calls(assistant: Assistant, count: int, cost_usd: float | None, **columns: Any) -> None:
    """Make past calls of a minute with one turn, one tool call and a known price."""
    for _ in range(count):
        facts = {} if cost_usd is None else {"cost_usd": cost_usd, "cost_breakdown": {"llm": 0.01}}
        factories.make_imported_call(
            turns=(("user", "I would like to book a table."), ("assistant", "Of course.")),
            tools=("book",),
            organisation=assistant.organisation,
            assistant=assistant,
            duration_seconds=60,
            facts=facts,
            **columns,
        )


@pytest.mark.parametrize(("cost_usd", "verdict"), [(0.9, "cheaper"), (0.001, "dearer")])
def test_past_calls_are_priced_for_each_model(cost_usd: float, verdict: str) -> None:
    assistant = factories.make_assistant()
    past_calls(assistant, 25, cost_usd)
    rows = forecasts_make(assistant=assistant, actor=None)
    assert [row.model for row in rows] == ["gpt-realtime-2.1", "gpt-realtime-2.1-mini"]
    first, mini = rows
    assert (first.calls, first.verdict) == (25, verdict)
    assert 0 < first.low_usd <= first.middle_usd <= first.high_usd
    assert mini.middle_usd < first.middle_usd
    assert first.old_middle_usd == pytest.approx(cost_usd + 0.0125)
    assert first.figures["old_usd_a_minute"] == {"llm": 0.01}
    assert first.figures["prompt_tokens"] > 0
    assert AuditEntry.objects.filter(action="cost_forecast.make").count() == 1


def test_a_price_that_no_log_says_decides_nothing_and_none_is_made_of_nothing() -> None:
    assistant = factories.make_assistant()
    with pytest.raises(ForecastRefused, match="import call logs"):
        forecasts_make(assistant=assistant, actor=None)
    past_calls(assistant, 25, None)
    rows = forecasts_make(assistant=assistant, actor=None)
    assert {(row.verdict, row.old_middle_usd) for row in rows} == {("undecided", None)}
    with pytest.raises(ForecastRefused, match="no price is known for gpt-9"):
        forecasts_make(assistant=assistant, actor=None, models=["gpt-9"])


def test_only_the_numbers_own_calls_count_for_a_number() -> None:
    number = factories.make_number()
    assert number.assistant is not None
    past_calls(number.assistant, 3, 0.1)
    past_calls(number.assistant, 2, 0.1, number=number)
    assert len(past_costs(number.assistant)) == 5
    assert len(past_costs(number.assistant, number)) == 2


def test_few_queries_price_many_calls(django_assert_max_num_queries: Any) -> None:
    assistant = factories.make_assistant()
    past_calls(assistant, 30, 0.1)
    with django_assert_max_num_queries(5):
        assert len(past_costs(assistant)) == 30


def test_a_row_that_no_key_opens_has_no_price_and_stops_nothing() -> None:
    assistant = factories.make_assistant()
    past_calls(assistant, 2, 0.1)
    from django.db import connection

    with connection.cursor() as cursor:
        cursor.execute(
            "UPDATE calls_importedcall SET facts = 'gibberish' WHERE id = "
            "(SELECT MIN(id) FROM calls_importedcall)"
        )
    assert sorted(str(call.old_usd) for call in past_costs(assistant)) == ["0.1", "None"]


def test_what_replays_measured_of_the_cache_takes_the_place_of_the_assumption() -> None:
    assistant = factories.make_assistant()
    run = factories.make_run(assistant, kind="replay", wanted=20)
    for index in range(20):
        tokens = {"into": 3_000, "last": 1_000, "cached": 1_000 + 50 * index, "out": 1}
        factories.make_parity_call(
            run, index=index, state="done",
            extras={"model": "gpt-realtime-2.1", "tokens": tokens},
        )  # fmt: skip
    low, high = measured_cache(assistant, "gpt-realtime-2.1") or (0, 0)
    assert (low, high) == (0.55, 0.925)
    assert measured_cache(assistant, "gpt-realtime-2.1-mini") is None
    past_calls(assistant, 2, 0.1)
    first, mini = forecasts_make(assistant=assistant, actor=None)
    assert (first.figures["cache"], first.figures["cache_is_measured"]) == ([0.55, 0.925], True)
    assert mini.figures["cache"] == list(ASSUMED_CACHE)


def test_dearer_is_accepted_once_by_a_person_with_a_name() -> None:
    number = factories.make_number()
    row = factories.make_forecast(number.assistant, number=number, verdict="dearer")
    assert number.pk in dearer_words([number.pk])
    with pytest.raises(ForecastRefused, match="a name and a reason"):
        forecast_approve(row=row, actor=None, name=" ", note="it is worth it")
    forecast_approve(row=row, actor=None, name="Ada Lovelace", note="It is worth it.")
    assert dearer_words([number.pk]) == {}
    with pytest.raises(ForecastRefused, match="approved it meanwhile"):
        forecast_approve(row=row, actor=None, name="Someone Else", note="again")
    cheap = factories.make_forecast(verdict="cheaper")
    with pytest.raises(ForecastRefused, match="nobody has to accept"):
        forecast_approve(row=cheap, actor=None, name="A", note="b")
    audit = AuditEntry.objects.get(action="cost_forecast.approve")
    assert audit.details["approved_by"] == "Ada Lovelace"


def test_a_plan_is_told_of_the_newest_forecast_for_the_model_that_answers() -> None:
    number = factories.make_number()
    assert number.assistant is not None
    model = {"number": number, "model": "gpt-realtime-2.1"}
    dear = factories.make_forecast(number.assistant, verdict="dearer", **model)
    # Made with it a moment later: the cheaper model does not hide what the answering one costs.
    factories.make_forecast(number.assistant, number=number, model="gpt-realtime-2.1-mini")
    factories.make_forecast(verdict="dearer")
    (words,) = dearer_words([number.pk, factories.make_number().pk]).values()
    assert "gpt-realtime-2.1 is dearer here" in words
    # Neither a later one of all numbers nor one that is too close to say takes it back.
    factories.make_forecast(number.assistant, verdict="cheaper", model="gpt-realtime-2.1")
    factories.make_forecast(number.assistant, verdict="undecided", **model)
    assert number.pk in dearer_words([number.pk])
    is_open, words = cost_standing(number.pk)
    assert not is_open and words.endswith("is dearer here, and nobody has accepted it")
    factories.make_forecast(number.assistant, verdict="cheaper", **model)
    assert dearer_words([number.pk]) == {} and cost_standing(number.pk)[1].endswith(
        "is cheaper here"
    )
    last = factories.make_forecast(number.assistant, verdict="dearer", **model)
    forecast_approve(row=last, actor=None, name="Ada", note="Faster.")
    assert dearer_words([number.pk]) == {}
    is_open, words = cost_standing(number.pk)
    assert is_open and words.endswith("; accepted by Ada: Faster.")
    number.assistant = factories.make_assistant(number.organisation)
    number.save()
    assert dearer_words([number.pk]) == {}
    assert dear.approved_by == ""


def test_after_a_hundred_calls_the_error_is_known_and_stays() -> None:
    number = factories.make_number()
    row = factories.make_forecast(
        number.assistant, number=number, middle_usd=0.11,
        figures={"usd_a_minute": {"transcription": 0.01}},
    )  # fmt: skip
    row.created_at = timezone.now() - dt.timedelta(hours=1)
    row.save()

    flagship = factories.make_connection()
    mini = factories.make_connection(model="gpt-realtime-2.1-mini")

    def calls(count: int, usd: float, connection: Any = flagship) -> None:
        for _ in range(count):
            factories.make_call(
                number=number,
                connection=connection,
                twilio_account=number.twilio_account,
                status="ended",
                duration_seconds=30,
                metrics={"cost_usd": {"model": usd / 2, "carrier": 0}},
            )

    calls(CHECKED_AFTER - 1, 0.08)
    assert forecasts_check() == 0
    row.refresh_from_db()
    assert (row.actual_calls, row.error_percent) == (CHECKED_AFTER - 1, None)
    factories.make_call(
        number=number, connection=flagship, twilio_account=number.twilio_account, status="ended",
        duration_seconds=30, metrics={},
    )  # fmt: skip  # not priced yet, which is not free
    calls(10, 9.0, mini)  # another model's calls say nothing of it
    assert forecasts_check() == 0
    calls(1, 0.08)
    assert forecasts_check() == 1
    row.refresh_from_db()
    assert row.actual_usd == pytest.approx(0.08)
    assert row.error_percent == pytest.approx(25.0)  # 0.11 less 0.01, against 0.08
    calls(5, 9.0)
    assert forecasts_check() == 0


def test_forecasts_that_nobody_answers_for_hide_no_newer_one(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("calls.services.cost_forecasts._MOST_OPEN", 1)
    monkeypatch.setattr("calls.services.cost_forecasts.CHECKED_AFTER", 1)
    number = factories.make_number()
    stuck, newer = (factories.make_forecast(number.assistant, number=number) for _ in range(2))
    CostForecast.objects.filter(pk=stuck.pk).update(model="gpt-realtime-mini")
    factories.make_call(
        number=number, connection=factories.make_connection(), status="ended", duration_seconds=30,
        twilio_account=number.twilio_account, metrics={"cost_usd": {"model": 0.1, "carrier": 0.0}},
    )  # fmt: skip
    assert forecasts_check() == 1
    newer.refresh_from_db()
    assert newer.actual_calls == 1


@pytest.fixture
def staff(client: Client) -> Client:
    client.force_login(factories.make_staff(factories.default_organisation(), "all"))
    return client


def test_the_pages_make_a_forecast_and_ask_for_a_name(staff: Client) -> None:
    number = factories.make_number()
    assert number.assistant is not None
    past_calls(number.assistant, 25, 0.0001, number=number)
    listed = staff.get(reverse("admin:calls_costforecast_changelist")).content.decode()
    assert "5250 USD at Vapi" in listed and "CallSphere" in listed
    made = staff.post(
        reverse("admin:calls_costforecast_make"),
        {"assistant": number.assistant.pk, "number": number.pk, "models": ["gpt-realtime-2.1"]},
    )
    assert made.status_code == 302
    row = CostForecast.objects.get()
    page = staff.get(reverse("admin:calls_costforecast_change", args=[row.pk])).content.decode()
    assert "Dearer here" in page and "needs a name" in page
    ask = reverse("admin:calls_costforecast_approve", args=[row.pk])
    assert staff.get(ask).status_code == 200
    row.refresh_from_db()
    assert row.approved_by == ""
    staff.post(ask, {"name": "Ada", "note": "Worth it."})
    row.refresh_from_db()
    assert (row.approved_by, row.approval_note) == ("Ada", "Worth it.")


def test_who_may_only_look_makes_and_accepts_nothing(client: Client) -> None:
    row = factories.make_forecast(verdict="dearer")
    only_look = ["calls.view_costforecast"]
    client.force_login(factories.make_staff(factories.default_organisation(), only_look))
    assert client.get(reverse("admin:calls_costforecast_make")).status_code == 403
    ask = reverse("admin:calls_costforecast_approve", args=[row.pk])
    assert client.post(ask, {"name": "A", "note": "b"}).status_code == 403
