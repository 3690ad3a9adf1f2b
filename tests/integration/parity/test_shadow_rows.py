"""The switch, the begin and the end of hearing along, in rows alone; and what retention takes."""

from __future__ import annotations

import datetime as dt
import json
from decimal import Decimal
from typing import Any

import pytest
from django.core.management import CommandError, call_command
from django.test import Client
from django.urls import reverse
from django.utils import timezone

from calls.models import Call, ParityCall, ParityRun, PhoneNumber, ShadowCall, ShadowSwitch
from calls.numbers.switch.voice import Target
from calls.parity.replay import Answered, OurCall
from calls.parity.sequence import sequence_load
from calls.parity.shadow_rules import FIRST_CALLS_USD
from calls.parity.shadow_values import Shadowed, Turn
from calls.previous.answers import Answer
from calls.services.number_routes import previous_set
from calls.services.parity_runs import RunRefused, run_cancel, run_resume
from calls.services.retention import retention_run, rule_of
from calls.services.shadow_money import left_for
from calls.services.shadow_offers import shadow_offered
from calls.services.shadow_runs import shadow_begin, shadows_tend
from calls.services.shadow_store import shadow_store
from calls.services.shadow_switches import ShadowOvertaken, ShadowRefused, shadow_set
from tests import factories

pytestmark = [pytest.mark.integration, pytest.mark.django_db]


def number_of(**policy: Any) -> PhoneNumber:
    """Make a number whose calls may be heard along."""
    number = factories.make_number(
        route="vapi", policy=factories.make_policy(**{"second_processor": "OpenAI", **policy})
    )
    previous_set(number, Target(kind="url", url="https://old.example/voice"))
    return number


def switched(number: PhoneNumber, **columns: Any) -> ShadowSwitch:
    given: dict[str, Any] = {"is_on": True, "percent": 100, "most_at_once": 2, "notice": ""}
    given |= {"confirms": True, "actor": "test"}
    return shadow_set(number=number, **{**given, **columns})


def begun(number: PhoneNumber, **columns: Any) -> ParityRun:
    assert number.assistant is not None
    return shadow_begin(assistant=number.assistant, number=number, actor="test", **columns)


def heard(run: ParityRun, *tools: str, position: int = 0, **log: Any) -> Call:
    """Have a call been heard along in which our model called a tool, and its log come."""
    call: Call = factories.make_call(
        number=run.number, stack="vapi", status="ended", started_at=timezone.now()
    )
    row = factories.make_shadow_call(run, call, position=position)
    shadowed = Shadowed(
        calls=[OurCall(name, {"phone": "+12025550143"}, 0, 3_000, None) for name in tools],
        answers=[Answered(0, said=["Done."], heard="Book it.")],
        turns=[Turn("i", "", 0, 400)],
        audio_ms=4_000,
        cost_microusd=250_000,
    )
    assert shadow_store(shadow_id=str(row.pk), shadowed=shadowed, shown={})
    if log:
        factories.make_imported_call(
            call=call, turns=(("user", "Book it."), ("assistant", "Done.")), **log
        )
    return call


def test_the_switch_is_off_until_somebody_confirms_that_callers_are_told() -> None:
    number = number_of()
    with pytest.raises(ShadowRefused, match="nobody has confirmed"):
        switched(number, confirms=False)
    assert not ShadowSwitch.objects.exists()
    row = switched(number, actor="Ada")
    assert (row.is_on, row.confirmed_by, row.version) == (True, "Ada", 1)
    with pytest.raises(ShadowOvertaken):
        switched(number, percent=5)
    again = switched(number, percent=5, confirms=False, seen_version=1)
    assert (again.pk, again.percent, again.confirmed_by) == (row.pk, 5, "Ada")
    # What was confirmed was that line; another one is confirmed anew.
    with pytest.raises(ShadowRefused, match="nobody has confirmed"):
        switched(number, notice="heard by OpenAI", confirms=False, seen_version=2)
    assert not switched(number, is_on=False, confirms=False, seen_version=2).is_on


@pytest.mark.parametrize(
    ("policy", "words"),
    [
        ({"second_processor": ""}, "does not name"),
        ({"recording_consent": "ask"}, "asks each caller"),
        ({"recording_consent": "notice"}, "no words"),
        ({"reviewed": False}, "not reviewed"),
    ],
)
def test_the_switch_is_not_turned_on_where_nobody_may_listen(
    policy: dict[str, Any], words: str
) -> None:
    number = number_of(**policy)
    with pytest.raises(ShadowRefused, match=words):
        switched(number)
    switched(number, is_on=False)  # what is off needs no leave


def test_a_run_is_begun_once_and_only_while_calls_may_be_heard() -> None:
    number = number_of()
    with pytest.raises(RunRefused, match="off for this number"):
        begun(number)
    switched(number)
    for wrong in ({"pairs": 0}, {"cost_limit_usd": Decimal(-1)}):
        with pytest.raises(RunRefused):
            begun(number, **wrong)
    run = begun(number, pairs=2)
    assert (run.state, run.wanted, run.kind, run.job) == ("running", 2, "shadow", None)
    with pytest.raises(RunRefused, match="already"):
        begun(number)
    other = factories.make_assistant()
    with pytest.raises(RunRefused, match="another assistant"):
        shadow_begin(assistant=other, number=number, actor="test")
    assert run_cancel(run=run, actor="test") and not run_cancel(run=run, actor="test")
    run.refresh_from_db()
    assert run.state == "cancelled"
    run_resume(run=run, actor="test", cost_limit_usd=Decimal(9))
    assert (run.state, run.cost_limit_usd, run.finished_at) == ("running", Decimal(9), None)
    with pytest.raises(RunRefused):
        run_resume(run=run, actor="test")


def test_pairs_are_joined_as_logs_come_and_the_run_ends_with_its_last() -> None:
    number = number_of()
    switched(number)
    run = begun(number, pairs=2)
    heard(run, "book", tools=("book",))
    waiting = heard(run, "book", position=1)
    assert shadows_tend() == 1
    run.refresh_from_db()
    assert (run.state, run.done, run.cost_usd) == ("running", 1, Decimal("0.5"))
    assert shadows_tend() == 0
    factories.make_imported_call(call=waiting, turns=(("user", "Book it."),), tools=("cancel",))
    assert shadows_tend() == 1
    run.refresh_from_db()
    assert (run.state, run.done) == ("done", 2)
    order = run.figures["gates"]["order"]
    assert (order["k"], order["n"]) == (1, 2)


def test_a_log_that_is_not_whole_is_waited_for() -> None:
    number = number_of()
    switched(number)
    run = begun(number)
    heard(run, "book", tools=("book",), is_whole=False)
    assert shadows_tend() == 0


def test_money_that_is_spent_ends_the_run_when_its_calls_are_joined() -> None:
    number = number_of()
    switched(number)
    run = begun(number, pairs=5, cost_limit_usd=Decimal("0.2"))
    call = heard(run, "book")
    shadows_tend()
    run.refresh_from_db()
    assert run.state == "running"  # the pair is paid for, and its log may come
    factories.make_imported_call(call=call, turns=(("user", "Book it."),), tools=("book",))
    shadows_tend()
    run.refresh_from_db()
    assert run.state == "cancelled" and "0.20 USD" in run.problem


ANSWER = Answer("text/xml", b"<Response><Say>Hi.</Say></Response>", 0)


def offered(number: PhoneNumber) -> bool:
    """Have a call come that the old stack has answered; tell whether it is heard along."""
    call: Call = factories.make_call(number=number, stack="vapi")
    made = shadow_offered(str(call.pk), ANSWER, live_calls=0, is_lost=lambda _: False)
    return made is not ANSWER


def test_calls_under_way_are_counted_against_the_limit_before_another_is_taken() -> None:
    number = number_of()
    switched(number, most_at_once=20)
    run = begun(number, pairs=50, cost_limit_usd=Decimal("1.2"))
    assert [offered(number) for _ in range(3)] == [True, True, False]
    ShadowCall.objects.update(state="nothing", ended_at=timezone.now())
    # What calls of this run have cost tells more than a guess.
    for at in range(10, 13):
        heard(run, "book", position=at)  # 0.25 each
    assert [offered(number) for _ in range(2)] == [True, False]
    ShadowCall.objects.filter(state="offered").update(state="nothing", ended_at=timezone.now())
    heard(run, "book", position=14)
    # Less is left than a call costs, and none is under way: one more, up to what is left.
    assert [offered(number) for _ in range(2)] == [True, False]
    row = ShadowCall.objects.get(state="offered")
    assert left_for(row) == Decimal("0.2")


def test_what_is_no_pair_costs_all_the_same() -> None:
    number = number_of()
    switched(number)
    run = begun(number, pairs=5, cost_limit_usd=Decimal("0.3"))
    for at in range(2):
        call = factories.make_call(number=number, stack="vapi")
        row = factories.make_shadow_call(run, call, position=at)
        shadowed = Shadowed(cost_microusd=160_000)
        assert shadow_store(shadow_id=str(row.pk), shadowed=shadowed, shown={})
        row.refresh_from_db()
        assert row.state == "nothing"
    assert not offered(number)
    shadows_tend()
    run.refresh_from_db()
    assert (run.state, run.cost_usd) == ("cancelled", Decimal("0.32"))
    run_resume(run=run, actor="test", cost_limit_usd=Decimal(9))
    shadows_tend()
    run.refresh_from_db()
    assert (run.state, run.cost_usd) == ("running", Decimal("0.32"))


def test_what_a_call_had_cost_when_its_process_died_is_reckoned() -> None:
    number = number_of()
    switched(number)
    run = begun(number, pairs=5)
    row = factories.make_shadow_call(run, factories.make_call(number=number, stack="vapi"))
    long_ago = timezone.now() - dt.timedelta(minutes=10)
    ShadowCall.objects.filter(pk=row.pk).update(alive_at=long_ago)
    shadows_tend()
    run.refresh_from_db()
    assert run.cost_usd == FIRST_CALLS_USD
    assert set(run.calls.values_list("stack", "state")) == {
        ("vapi", "failed"),
        ("direct", "failed"),
    }


def test_an_assistant_that_is_changed_ends_the_run() -> None:
    number = number_of()
    switched(number)
    run = begun(number)
    assert number.assistant is not None
    factories.make_revision(number.assistant, number=9)
    shadows_tend()
    run.refresh_from_db()
    assert (run.state, run.problem[:35]) == ("cancelled", "It was changed since: the assistant")


def test_a_call_in_which_nobody_spoke_is_no_pair_and_one_taken_for_dead_is_not_stored() -> None:
    number = number_of()
    switched(number)
    run = begun(number)
    silent = factories.make_shadow_call(run, factories.make_call(number=number, stack="vapi"))
    assert shadow_store(shadow_id=str(silent.pk), shadowed=Shadowed(), shown={})
    silent.refresh_from_db()
    assert (silent.state, run.calls.count()) == ("nothing", 0)
    late = factories.make_shadow_call(
        run, factories.make_call(number=number, stack="vapi"), position=1, state="failed"
    )
    turned = Shadowed(turns=[Turn("i", "", 0, 1)], answers=[Answered(0)])
    assert not shadow_store(shadow_id=str(late.pk), shadowed=turned, shown={})
    assert run.calls.count() == 0


def test_what_may_not_be_kept_is_masked_before_it_is_stored() -> None:
    number = number_of()
    assert number.organisation is not None
    factories.make_redaction_rule(number.organisation, phone_numbers=True)
    switched(number)
    run = begun(number)
    heard(run, "book")
    ours = run.calls.get(stack="direct")
    assert "2025550143" not in json.dumps(ours.sequence)
    assert [tool.name for tool in sequence_load(ours.sequence).tools] == ["book"]


def test_the_copies_of_a_pair_go_when_the_calls_own_words_go() -> None:
    number = number_of()
    switched(number)
    run = begun(number, pairs=1)
    call = heard(run, "book", tools=("book",))
    shadows_tend()
    run.refresh_from_db()
    verdict = (run.verdict, run.figures)
    Call.objects.filter(pk=call.pk).update(created_at=timezone.now() - dt.timedelta(days=4000))
    rule = rule_of(run.organisation)
    type(rule).objects.filter(pk=rule.pk).update(
        transcript_days=30, tool_body_days=30, call_days=None, progress={}
    )
    retention_run()
    for row in ParityCall.objects.all():
        assert row.transcript is None
        (tool,) = sequence_load(row.sequence).tools
        assert (tool.name, dict(tool.arguments), tool.result) == ("book", {}, None)
    run.refresh_from_db()
    assert (run.verdict, run.figures) == verdict
    call.delete()
    assert not ShadowCall.objects.exists() and not ParityCall.objects.exists()


def test_the_command_begins_one_and_says_why_it_cannot(capsys: pytest.CaptureFixture[str]) -> None:
    number = number_of()
    with pytest.raises(CommandError, match="off for this number") as refused:
        call_command("parity", "shadow", number.number_e164)
    assert refused.value.returncode == 2
    with pytest.raises(CommandError, match="is none"):
        call_command("parity", "shadow", "+15550000000")
    switched(number)
    call_command("parity", "shadow", number.number_e164, "--pairs", "3", "--rename", "a=b")
    run = ParityRun.objects.get()
    assert (run.wanted, run.created_by) == (3, "command:parity")
    assert run.options["renames"] == {"a": "b"}
    told = capsys.readouterr()
    assert str(run.pk) in told.out and "never pass" in told.err
    with pytest.raises(CommandError, match="parity shadow NUMBER"):
        call_command("parity", "run", "--kind", "shadow")


def test_the_switch_and_a_run_in_the_admin(client: Client) -> None:
    number = number_of()
    assert number.assistant is not None
    client.force_login(factories.make_superuser())
    add = reverse("admin:calls_shadowswitch_add")
    given = {"number": str(number.pk), "is_on": "on", "percent": "50", "most_at_once": "1"}
    page = client.post(add, given, follow=True).content.decode()
    assert "Nobody has confirmed" in page and not ShadowSwitch.objects.exists()
    client.post(add, {**given, "confirms": "on"})
    row = ShadowSwitch.objects.get()
    assert row.is_on and row.confirmed_by
    change = reverse("admin:calls_shadowswitch_change", args=[row.pk])
    assert "Yes, while it is on" in client.get(change).content.decode()
    stale = {**given, "percent": "90", "confirms": "on", "seen_version": "7"}
    client.post(change, stale)
    row.refresh_from_db()
    assert row.percent == 50
    form = {"assistant": str(number.assistant.pk), "number": str(number.pk), "kind": "shadow"}
    form |= {"pairs": "5", "parallel": "1", "cost_limit_usd": "3", "model": ""}
    client.post(reverse("admin:calls_parityrun_add"), form)
    run = ParityRun.objects.get()
    heard(run, "book")
    page = client.get(reverse("admin:calls_parityrun_change", args=[run.pk])).content.decode()
    assert "1 wait for the old stack" in page
    client.post(reverse("admin:calls_parityrun_cancel", args=[run.pk]))
    run.refresh_from_db()
    assert run.state == "cancelled"
