"""What of a destination and a policy reaches the bridge, and what a refusal leaves behind."""

from __future__ import annotations

from typing import Any

import pytest

from calls.bridge.effects import NextStep
from calls.models import Call, CallInputChunk, CallPolicy
from calls.numbers.phrases import words
from calls.services.call_plan import ticket_for
from calls.services.journal import batch_store, next_step_store
from calls.services.operators import person_plan
from tests import factories

pytestmark = [pytest.mark.integration, pytest.mark.django_db]

CLOSED = {"always_open": False, "hours": {}}
NOTICE = CallPolicy.Consent.NOTICE


def _call(
    desk: dict[str, Any] | None = None, call: dict[str, Any] | None = None, **policy: Any
) -> Call:
    made = factories.make_policy(
        **{"recording_consent": NOTICE, "wordings": {"en": "We record."}, **policy}
    )
    number = factories.make_number(policy=made)
    if desk is not None:
        number.operator_desk = factories.make_desk(**desk)
        number.save()
    return factories.make_call(
        number=number,
        revision=number.assistant.current_revision,
        connection=number.connection,
        policy_wording=made.wordings.get(),
        **{"stream_count": 1, "status": "in-progress", **(call or {})},
    )


@pytest.mark.parametrize(
    ("desk", "reachable", "key"),
    [
        (None, False, ""),
        ({}, True, "0"),
        ({"key": "#"}, True, "#"),
        ({"key": ""}, True, ""),
        (CLOSED, False, "0"),  # the key leads to the message
        ({**CLOSED, "outside": "nothing"}, False, ""),
    ],
)
def test_the_key_is_taken_where_it_leads_somewhere(
    desk: dict[str, Any] | None, reachable: bool, key: str
) -> None:
    person = person_plan(_call(desk), 600)
    assert (person.reachable, person.operator_key) == (reachable, key)


@pytest.mark.parametrize(
    ("policy", "desk", "action"),
    [
        ({}, {}, "nothing"),
        ({"sector": "Health"}, {}, "transfer"),
        ({"sector": "healthcare"}, None, "notice"),
        ({"sector": "health"}, CLOSED, "notice"),
        ({"sector": "health", "emergency": "nothing"}, {}, "nothing"),
        ({"emergency": "transfer"}, {}, "transfer"),
        ({"emergency": "notice"}, {}, "notice"),
    ],
)
def test_emergency_words_are_on_for_health_and_where_the_policy_says(
    policy: dict[str, Any], desk: dict[str, Any] | None, action: str
) -> None:
    person = person_plan(_call(desk, **policy), 600)
    assert person.on_emergency == action
    assert bool(person.emergency_words) is (action != "nothing")
    if action == "notice":
        assert "emergency number" in person.emergency_notice


def test_the_operators_own_words_win_over_the_shipped_ones() -> None:
    own = {"emergency": "notice", "emergency_words": ["code red"], "emergency_notice": "Run."}
    person = person_plan(_call({}, **own), 600)
    assert (person.emergency_words, person.emergency_notice) == (("code red",), "Run.")


def test_what_a_call_has_done_once_it_does_not_do_again() -> None:
    from django.utils import timezone

    done = {"emergency_at": timezone.now(), "policy_refused_at": timezone.now()}
    call = _call({}, done, emergency="transfer", record_replay_audio=True)
    person = person_plan(call, 600)
    assert (person.on_emergency, person.refusal_words) == ("nothing", ())
    assert not ticket_for(call).keep_audio
    assert ticket_for(_call({}, record_replay_audio=True)).keep_audio


@pytest.mark.parametrize(
    ("on_refusal", "desk", "planned"),
    [
        ("unrecorded", {}, "unrecorded"),
        ("end", {}, "end"),
        ("human", {}, "human"),
        ("human", CLOSED, "human"),
        ("human", None, "end"),
    ],
)
def test_on_refusal_has_its_effect(
    on_refusal: str, desk: dict[str, Any] | None, planned: str
) -> None:
    person = person_plan(_call(desk, on_refusal=on_refusal, refusal_key="9"), 600)
    assert (person.on_refusal, person.refusal_key) == (planned, "9")
    assert person.refusal_words == words("refusal", "en")


def test_without_a_line_there_is_nothing_to_refuse() -> None:
    person = person_plan(_call({}, recording_consent=CallPolicy.Consent.NONE), 600)
    assert person.refusal_words == ()


# ---- what is kept ----------------------------------------------------------------------------


def _store(call: Call, stream: int, *pieces: str, **options: Any) -> None:
    batch_store(
        call_id=str(call.pk),
        stream_number=stream,
        turns=[],
        tools=[],
        policy=None,
        pieces=list(enumerate(pieces)),
        **options,
    )


def test_whoever_refuses_is_not_recorded_from_then_on_nor_before() -> None:
    call = _call({})
    _store(call, 1, "what was said before")
    assert CallInputChunk.objects.filter(call=call).count() == 1
    _store(call, 1, "said in the same half second", refused=True)
    assert not CallInputChunk.objects.filter(call=call).exists()
    call.refresh_from_db()
    first = call.policy_refused_at
    assert first is not None
    _store(call, 1, refused=True)
    _store(call, 2, "a later stream")
    assert not CallInputChunk.objects.filter(call=call).exists()
    call.refresh_from_db()
    assert (call.policy_refused_at, call.emergency_at) == (first, None)
    _store(call, 1, emergency=True)
    call.refresh_from_db()
    assert call.emergency_at is not None


@pytest.mark.parametrize("step", ["operator", "message"])
def test_the_new_steps_are_stored_as_they_are(step: NextStep) -> None:
    call = _call({})
    next_step_store(call_id=str(call.pk), step=step)
    call.refresh_from_db()
    assert call.next_step == {"kind": step}
