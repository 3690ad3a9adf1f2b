"""The verdict on a number: what is not known, what is only told, and what comes first."""

from __future__ import annotations

from dataclasses import replace

import pytest

from calls.numbers.readiness.capacity import most_at_once, needed, with_margin
from calls.numbers.readiness.facts import AtTwilio, Imported, ModelUse, NumberFacts, Peak, Sms
from calls.numbers.readiness.verdict import READY, verdict_of
from calls.numbers.switch.net import Net
from tests.unit.numbers.ready_number import (
    ACCOUNT,
    BLOCKERS,
    NOW,
    NUMBER,
    OUR_URL,
    at_twilio,
    configured,
    ready,
)

pytestmark = pytest.mark.unit


def codes(facts: NumberFacts, *weights: str) -> set[str]:
    return {each.code for each in verdict_of(facts, str).findings if each.weight in weights}


def test_a_number_against_which_nothing_speaks_is_green() -> None:
    verdict = verdict_of(ready(), str)
    assert (verdict.colour, verdict.reason, verdict.step) == ("green", READY, "Move it")
    assert verdict.facts and all(fact.at for fact in verdict.facts)


def test_what_nobody_knows_is_grey_and_says_how_to_get_to_know_it() -> None:
    facts = ready(health=None)
    facts = replace(
        facts,
        account=replace(facts.account, profile=""),
        model=ModelUse(peak=None),
        secrets=None,
    )
    facts = at_twilio(facts, voice_region="")
    verdict = verdict_of(facts, str)
    assert verdict.colour == "grey" and codes(facts, "blocks", "look") == set()
    assert codes(facts, "unknown") == {
        *("region_unknown", "profile_unknown", "secrets_unknown", "not_examined"),
        *("model_limit_unknown", "model_peak_unknown"),
    }
    assert all(each.step for each in verdict.findings if each.weight == "unknown")


def test_use_that_was_not_measured_is_asked_for_only_where_there_are_calls() -> None:
    facts = ready()
    unmeasured = replace(facts.model, tokens_per_call=None, measured_calls=3)
    assert codes(replace(facts, model=unmeasured), "unknown") == {"model_use_unknown"}
    idle = replace(unmeasured, peak=Peak(0, None, NOW))
    assert codes(replace(facts, model=idle), "unknown") == set()


def test_a_number_of_vapis_is_told_to_be_ported_and_nothing_else_is_asked() -> None:
    facts = ready(
        imported=Imported(NOW, "vapi"), twilio=AtTwilio(at=NOW), policy=None, answering=None
    )
    verdict = verdict_of(facts, str)
    assert [each.code for each in verdict.findings] == ["vapi_owned"]
    assert "forward" in verdict.step


@pytest.mark.parametrize(
    ("twilio", "code", "colour"),
    [
        (AtTwilio(at=NOW, accounts=1), "not_in_account", "red"),
        (AtTwilio(at=NOW, unread=("Second: no answer",)), "account_unread", "grey"),
        (AtTwilio(at=None), "not_asked", "grey"),
        (AtTwilio(at=None, accounts=0), "no_account", "red"),
    ],
)
def test_a_number_that_no_account_lists(twilio: AtTwilio, code: str, colour: str) -> None:
    verdict = verdict_of(ready(twilio=twilio, imported=None), str)
    assert (verdict.findings[0].code, verdict.colour) == (code, colour)


def test_a_number_at_twilio_alone_is_to_be_added_and_judged_no_further() -> None:
    facts = ready(is_here=False, account_sid="", policy=None, answering=None, imported=None)
    assert codes(facts, "blocks") == {"not_here"}
    assert verdict_of(facts, str).link == "number_add"


def test_a_trunk_is_looked_at_and_hides_address_and_app() -> None:
    facts = configured(ready(), trunk_sid="TK1", voice_url="https://left.example/over")
    verdict = verdict_of(facts, str)
    assert (verdict.colour, verdict.findings[0].code) == ("amber", "trunk_at_once")
    assert ("Answered by", "SIP trunk TK1") in {(fact.name, fact.value) for fact in verdict.facts}


def test_an_app_that_could_not_be_read_is_not_taken_for_the_address() -> None:
    facts = configured(ready(), voice_application_sid="AP1")
    assert codes(facts, "unknown") == {"app_unknown"}


def test_a_number_that_answers_here_is_not_blocked_by_it() -> None:
    facts = replace(configured(ready(), voice_url=OUR_URL), net=Net("none"))
    assert codes(facts, "blocks", "look") == set()
    assert "already_here" in codes(facts, "note")


def test_text_messages_are_told_of_and_no_secret_is() -> None:
    sms = Sms(url="https://sms.example/in?token=hidden")
    facts = at_twilio(configured(ready(), voice_url="https://old.example/v?token=hidden"), sms=sms)
    verdict = verdict_of(facts, lambda url: url.replace("hidden", "***"))
    assert codes(facts, "note") == {"texts", "calls_per_second"}
    assert "hidden" not in str(verdict)


def test_a_row_that_cannot_be_read_is_grey_and_judged_no_further() -> None:
    facts = ready(is_readable=False, policy=None, answering=None)
    assert codes(facts, "unknown") == {"not_readable"} and codes(facts, "blocks") == set()


def test_whose_a_number_is_comes_before_who_answers_and_under_what() -> None:
    facts = ready()
    for code in ("policy_unreviewed", "other_account", "secrets_missing", "no_assistant"):
        facts = BLOCKERS[code](facts)
    order = [each.code for each in verdict_of(facts, str).findings if each.weight == "blocks"]
    assert order == ["other_account", "no_assistant", "policy_unreviewed", "secrets_missing"]


def test_a_trial_account_takes_five_calls_whatever_was_entered() -> None:
    facts = ready()
    facts = replace(facts, account=replace(facts.account, kind="Trial"))
    assert codes(facts, "blocks") == {"account_too_small"}  # 4 and half as many again: 6


def test_margins_round_up() -> None:
    assert [with_margin(calls) for calls in (0, 1, 2, 3)] == [0, 2, 3, 5]
    assert needed(3, 1000.1) == 5001


def test_a_call_that_ends_when_another_begins_makes_room_for_it() -> None:
    assert most_at_once([(0, 10), (10, 20)]) == (1, 0)
    assert most_at_once([(0, 11), (10, 20)]) == (2, 10)
    assert most_at_once([]) == (0, None)


def test_reasons_fit_a_row_whatever_names_are_in_them() -> None:
    facts = ready()
    assert facts.answering is not None
    long = replace(facts.answering, name="N" * 300, at=None)
    verdict = verdict_of(replace(facts, answering=long), str)
    assert len(verdict.reason) <= 90 and verdict.reason.endswith("…")
    assert NUMBER not in verdict.reason and ACCOUNT not in verdict.reason
