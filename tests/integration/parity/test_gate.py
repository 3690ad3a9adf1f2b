"""The gate of a number asks for a finished run of its revision in which callers were heard."""

from __future__ import annotations

from typing import Any

import pytest
from django.utils import timezone

from assistants.models import Squad
from calls.models import ParityRun, PhoneNumber, ProviderConnection
from calls.services.critical_marks import marks_change, marks_shown
from calls.services.plan_facts import has_parity_source, parity_of
from tests import factories
from tools.services import tool_edit

pytestmark = [pytest.mark.integration, pytest.mark.django_db]

FIGURES = {
    "pairs": 80,
    "audio_pairs": 80,
    "more": None,
    "gates": {"order": {"k": 0, "n": 80, "lower": 0, "upper": 0.037, "state": "pass"}},
}


def a_number() -> PhoneNumber:
    number = factories.make_number()
    assert number.assistant is not None
    return number


def ended(of: PhoneNumber, **columns: Any) -> ParityRun:
    return factories.make_run(
        of.assistant,
        **{
            "number": of,
            "kind": "rehear",
            "state": "done",
            "verdict": "pass",
            "figures": FIGURES,
            "finished_at": timezone.now(),
        }
        | columns,
    )


def test_a_heard_run_of_the_number_opens_its_gate() -> None:
    number = a_number()
    assert has_parity_source()
    verdict, words = parity_of(number)
    assert verdict == "undecided" and "no run has been finished" in words
    ended(number)
    verdict, words = parity_of(number)
    assert verdict == "pass"
    assert words == (
        "80 pairs of past calls heard again, order of tools differs in 0 of 80 (0.0% to 3.7%)"
    )


@pytest.mark.parametrize(
    ("columns", "says"),
    [
        ({"kind": "rehearsal", "figures": FIGURES | {"audio_pairs": 0}}, "no caller was heard"),
        ({"kind": "replay", "figures": FIGURES | {"audio_pairs": 0}}, "no caller was heard"),
        ({"figures": FIGURES | {"audio_pairs": 0}}, "no caller was heard"),
        ({"state": "running", "verdict": ""}, "under way"),
        ({"state": "cancelled"}, "no run has been finished"),
        ({"model": "a-cheaper-model"}, "another model than the one that answers"),
        ({"options": {"ours_alone": True}}, "answered by this platform, not by the old stack"),
        ({"number": None}, "name no number, or not this one"),
    ],
)
def test_what_is_no_heard_finished_run_of_it_leaves_the_gate_undecided(
    columns: dict[str, Any], says: str
) -> None:
    number = a_number()
    ended(number, **columns)
    verdict, words = parity_of(number)
    assert verdict == "undecided" and says in words


def test_a_new_revision_wants_a_new_run_and_the_newest_run_counts() -> None:
    number = a_number()
    ended(number)
    ended(number, verdict="fail")
    assert parity_of(number)[0] == "fail"
    assert number.assistant is not None
    factories.make_revision(number.assistant)
    verdict, words = parity_of(PhoneNumber.objects.get(pk=number.pk))
    assert verdict == "undecided" and "changed since the newest run" in words


def test_who_cancels_a_failed_run_does_not_bring_back_the_one_that_passed() -> None:
    number = a_number()
    ended(number)
    ended(number, state="cancelled", verdict="fail")
    assert parity_of(number)[0] == "fail"


def test_many_rehearsals_of_a_build_hide_no_heard_run(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("calls.services.parity_gate.MOST_LOOKED_AT", 2)
    number = a_number()
    ended(number)
    for _ in range(3):
        ended(number, number=None, kind="rehearsal", figures=FIGURES | {"audio_pairs": 0})
    assert parity_of(number)[0] == "pass"


def test_pairs_that_could_not_be_compared_are_told() -> None:
    number = a_number()
    ended(number, figures=FIGURES | {"lacks": {"missing": 4, "cut": 2}})
    assert parity_of(number)[1].endswith(
        "; 4 could not be compared, 2 were compared in their beginning only"
    )


def test_a_pass_that_was_withheld_says_why() -> None:
    number = a_number()
    ended(number, verdict="undecided", figures=FIGURES | {"withheld": "5 of 81 pairs are lost"})
    verdict, words = parity_of(number)
    assert verdict == "undecided" and words.endswith("no pass is given: 5 of 81 pairs are lost")


def test_a_pass_says_how_often_it_was_tried() -> None:
    number = a_number()
    for verdict in ("fail", "fail", "undecided", "pass"):
        ended(number, verdict=verdict, begun_at=timezone.now())
    ended(number, kind="replay", verdict="fail", begun_at=timezone.now())  # another question
    verdict, words = parity_of(number)
    assert verdict == "pass"
    assert words.endswith("; 3 more runs of this revision: 2 fail, 1 undecided")


def test_undecided_says_how_many_more_pairs_are_wanted() -> None:
    number = a_number()
    ended(number, verdict="undecided", figures=FIGURES | {"more": 26})
    assert parity_of(number) == (
        "undecided",
        "80 pairs of past calls heard again, order of tools differs in 0 of 80 (0.0% to 3.7%), "
        "about 26 more",
    )


def an_answered_number(**tool: Any) -> tuple[PhoneNumber, Any]:
    """Return a number whose assistant has one tool, and the tool."""
    row = factories.make_tool(**{"name": "book", "parameters": {"type": "object"}} | tool)
    return factories.make_number(assistant=factories.make_assistant(tools=[row])), row


def test_a_pass_does_not_outlive_the_tools_it_was_measured_with() -> None:
    number, tool = an_answered_number()
    ended(number)
    assert parity_of(number)[0] == "pass"
    schema = {"type": "object", "properties": {"phone": {"type": "string"}}}
    tool_edit(tool=tool, changes={"parameters": schema}, actor=None)
    verdict, words = parity_of(number)
    assert verdict == "undecided" and words.startswith("the tool book changed since the run of ")


def test_where_a_tool_goes_and_with_which_secret_is_not_what_was_measured() -> None:
    number, tool = an_answered_number()
    ended(number)
    tool_edit(tool=tool, changes={"server_url": "https://other.example/tools"}, actor=None)
    assert parity_of(number)[0] == "pass"


def test_a_pass_does_not_outlive_the_model_that_was_measured() -> None:
    number = a_number()
    assert number.connection is not None
    answers = ProviderConnection.objects.filter(pk=number.connection.pk)
    answers.update(model="gpt-one")
    ended(number)
    assert parity_of(number)[0] == "pass"
    answers.update(model="gpt-two")
    verdict, words = parity_of(number)
    assert verdict == "undecided"
    assert "the model that answers (gpt-one → gpt-two) changed since" in words


def test_what_a_squad_answers_was_measured_in_part_and_never_passes() -> None:
    number = a_number()
    now = timezone.now()
    number.squad = Squad.objects.create(
        organisation=number.organisation, document={}, created_at=now, updated_at=now
    )
    number.save()
    ended(number)
    verdict, words = parity_of(number)
    assert verdict == "undecided" and "a squad answers the number" in words and "Fix: " in words
    ended(number, verdict="fail")
    assert parity_of(number)[0] == "fail"
    Squad.objects.update(document_redacted={"members": [{"assistantId": "another"}]})
    verdict, words = parity_of(number)
    assert verdict == "undecided" and words.startswith("the squad changed since")


def test_of_a_number_whose_server_names_the_assistant_nothing_passes() -> None:
    number = a_number()
    ended(number)
    PhoneNumber.objects.filter(pk=number.pk).update(assistant=None)
    verdict, words = parity_of(PhoneNumber.objects.get(pk=number.pk))
    assert verdict == "undecided" and "server names" in words and "undecided is enough" in words


def test_a_pass_does_not_outlive_a_decision_on_which_arguments_are_critical() -> None:
    schema = {"type": "object", "properties": {"note": {"type": "string"}}}
    number, _ = an_answered_number(parameters=schema)
    run = ended(number)
    assert parity_of(number)[0] == "pass"
    shown = marks_shown(run.revision)
    marks_change(
        revision=run.revision, wanted={"book": {"note": "text"}}, seen=shown.seen, actor=None
    )
    verdict, words = parity_of(number)
    assert verdict == "undecided" and words.startswith("which arguments are critical changed")


def test_a_decision_that_goes_back_to_the_rule_ends_a_pass_as_well() -> None:
    schema = {"type": "object", "properties": {"note": {"type": "string"}}}
    number, _ = an_answered_number(parameters=schema)
    assert number.assistant is not None
    tools = list(number.assistant.current_revision.tools.all())  # type: ignore[union-attr]
    for note in ("text", ""):
        if not note:
            # What was decided with the first revision holds for the next one too.
            factories.make_revision(number.assistant, tools=tools)
        run = ended(number)
        assert parity_of(number)[0] == "pass"
        shown = marks_shown(run.revision)
        wanted = {"book": {"note": note}}
        marks_change(revision=run.revision, wanted=wanted, seen=shown.seen, actor=None)
        verdict, words = parity_of(number)
        assert verdict == "undecided" and words.startswith("which arguments are critical changed")


def test_a_run_that_kept_nothing_of_what_it_measured_opens_no_gate() -> None:
    number = a_number()
    ended(number, options={"measured": {}})
    verdict, words = parity_of(number)
    assert verdict == "undecided" and "what was measured then was not kept" in words


def test_another_voice_counts_where_our_side_was_heard() -> None:
    number = a_number()
    for kind, verdict in (("rehear", "pass"), ("live", "undecided")):
        run = ended(number, kind=kind)
        ParityRun.objects.filter(pk=run.pk).update(
            options={"measured": run.options["measured"] | {"voice": "another"}}
        )
        assert parity_of(number)[0] == verdict
