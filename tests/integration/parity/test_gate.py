"""The gate of a number asks for a finished run of its revision in which callers were heard."""

from __future__ import annotations

from typing import Any

import pytest
from django.utils import timezone

from calls.models import ParityRun, PhoneNumber
from calls.services.plan_facts import has_parity_source, parity_of
from tests import factories

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
    ended(number, done=84)
    assert parity_of(number)[1].endswith("; 4 pairs could not be compared")


def test_undecided_says_how_many_more_pairs_are_wanted() -> None:
    number = a_number()
    ended(number, verdict="undecided", figures=FIGURES | {"more": 26})
    assert parity_of(number) == (
        "undecided",
        "80 pairs of past calls heard again, order of tools differs in 0 of 80 (0.0% to 3.7%), "
        "about 26 more",
    )
