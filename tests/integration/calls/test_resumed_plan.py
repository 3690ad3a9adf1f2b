"""What the next stream of a call is told: what was heard, what is left, what was never played."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest
from django.utils import timezone

from calls.bridge.toolbox import LOST_RESULT
from calls.models import Call
from calls.services.call_finish import stream_finish
from calls.services.call_history import LOST_WORDS
from calls.services.call_next import call_next
from calls.services.call_plan import plan_for
from calls.services.call_start import media_token, token_expiry
from calls.services.journal import batch_store, next_step_store
from calls.services.media_open import media_open
from tests import factories

pytestmark = [pytest.mark.integration, pytest.mark.django_db]


def _second_stream(**columns: Any) -> Call:
    wording = factories.make_wording(audio_mulaw=b"\xff" * 800)
    return factories.make_call(stream_count=2, policy_wording=wording, **columns)


def test_a_policy_line_that_was_not_heard_to_its_end_is_played_on_the_next_stream(
    db: None,
) -> None:
    call = _second_stream()
    factories.make_turn(call, ordinal=0, text="You are speak", item_id="clip-policy")
    factories.make_turn(call, ordinal=1, text="Hello?")
    plan = plan_for(call)
    assert plan.policy_line is not None
    assert (plan.resumed, plan.holds_the_floor) == (True, True)
    assert [item.text for item in plan.history] == ["Hello?"]
    assert plan.first_ordinal == 2
    call.policy_played_at = timezone.now()
    assert plan_for(call).policy_line is None


def test_a_caller_who_has_heard_nothing_is_greeted_and_not_told_of_an_interruption(
    db: None,
) -> None:
    plan = plan_for(_second_stream())
    assert (plan.resumed, plan.greeting.mode, plan.history) == (False, "exact", ())
    failed = plan_for(_second_stream(next_step={"kind": "resume", "why": "transfer-failed"}))
    assert (failed.resumed, failed.resume_reason) == (True, "transfer-failed")


def test_silence_and_the_gap_between_streams_count_against_the_ceiling(db: None) -> None:
    call = _second_stream(started_at=timezone.now() - timedelta(minutes=9))
    factories.make_turn(call, ordinal=0, text="Hello", started_ms=1_000, ended_ms=2_000)
    assert 9 * 60_000 <= plan_for(call).elapsed_ms < 10 * 60_000


def test_only_the_next_stream_is_told_that_the_transfer_failed(
    db: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("calls.services.media_open.stream_signature_valid", lambda *_: True)
    call = _second_stream(
        next_step={"kind": "resume", "why": "transfer-failed"},
        media_token_expires_at=token_expiry(),
    )
    ticket = media_open(call_id=str(call.pk), token=media_token(call), url="", signature="")
    assert ticket.plan.resume_reason == "transfer-failed"
    call.refresh_from_db()
    assert call.next_step == {"kind": "resume"}


def _tool_row(call: Call, **columns: Any) -> None:
    values = {"name": "look_up", "arguments_json": '{"a":1}', "started_ms": 3_000, **columns}
    call.tool_invocations.create(**values)


def test_tools_are_told_between_the_turns_with_what_they_answered(db: None) -> None:
    call = _second_stream()
    factories.make_turn(call, ordinal=0, text="Find it.", started_ms=1_000)
    factories.make_turn(call, ordinal=1, text="Found.", started_ms=5_000)
    _tool_row(call, tool_call_id="c1", state="ok", output="Here.")
    _tool_row(call, tool_call_id="c2", state="ok", output="x", name="gone", started_ms=6_000)
    history = plan_for(call).history
    assert [(item.role, item.text) for item in history] == [
        ("assistant", "Find it."), ("tool", "Here."), ("user", "Found."), ("tool", "x"),
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("state", "output"), [("running", ""), ("error", LOST_RESULT)], ids=["killed", "drained"]
)
@pytest.mark.parametrize("idempotent", [False, True])
def test_a_tool_in_flight_is_repeated_only_where_that_is_harmless(
    db: None, state: str, output: str, idempotent: bool
) -> None:
    call = _second_stream()
    factories.make_turn(call, ordinal=0, text="Find it.", started_ms=1_000)
    document = {"type": "function", "idempotent": idempotent, "function": {"name": "look_up"}}
    tool = factories.make_tool(organisation=call.organisation, name="look_up", document=document)
    assert call.revision is not None
    call.revision.tools.add(tool, through_defaults={"position": 0})
    _tool_row(call, tool_call_id="c1", state=state, output=output)
    told = plan_for(call).history[-1]
    assert (told.tool_call_id, told.arguments_json) == ("c1", '{"a":1}')
    assert (told.pending, told.text) == ((True, "") if idempotent else (False, LOST_RESULT))


def _lost(call: Call) -> None:
    """Let Twilio ask what comes after a stream whose process was killed."""
    call_next(call_id=str(call.pk), call_sid=call.call_sid, call_status="in-progress")
    call.refresh_from_db()


def test_a_killed_stream_leaves_no_turn_open_and_nobody_heard_more_than_there_was_time_for(
    db: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("calls.services.call_history._gone_ms", lambda call: 10_000)
    call = factories.make_call(stream_count=1, next_step={"kind": "resume"})
    factories.make_turn(call, ordinal=0, role="user", text="Where are you?", started_ms=7_000)
    said = "We are at the harbour, behind the old market hall, second door on the left side."
    factories.make_turn(
        call, ordinal=1, role="assistant", text=said, started_ms=9_000, ended_ms=None
    )
    _tool_row(call, tool_call_id="c1", state="running")
    _lost(call)
    turn = call.turns.get(ordinal=1)
    assert said.startswith(turn.text)
    assert 10 <= len(turn.text) < len(said) // 2  # of one second, in which nobody says more
    assert f"{turn.text} {turn.text_unheard}" == said
    assert (turn.interrupted, turn.ended_ms) == (True, 10_000)
    row = call.tool_invocations.get()
    assert (row.state, row.output) == ("error", LOST_RESULT)
    plan = plan_for(call)
    assert plan.resumed
    assert [item.text for item in plan.history if item.role == "assistant"] == [turn.text]


def test_of_words_whose_text_never_came_the_model_knows_that_it_has_to_ask_again(
    db: None,
) -> None:
    call = _second_stream()
    factories.make_turn(call, ordinal=0, role="user", text="", started_ms=1_000)
    factories.make_turn(call, ordinal=1, role="assistant", text="I see.")
    assert [item.text for item in plan_for(call).history] == [LOST_WORDS, "I see."]
    # What was not understood earlier is over: the conversation went on without it.
    factories.make_turn(call, ordinal=2, role="user", text="Goodbye")
    assert [item.text for item in plan_for(call).history] == ["I see.", "Goodbye"]


def test_streams_that_were_handed_over_by_a_deploy_use_up_no_attempt(db: None) -> None:
    call = factories.make_call(stream_count=1)
    for number in range(1, 6):
        next_step_store(call_id=str(call.pk), step="resume", handed_over=True)
        _lost(call)
        assert (call.stream_count, call.next_step) == (number + 1, {"kind": "resume"})
    # Two that were lost: the third in a row is given up as ever.
    for _ in range(2):
        _lost(call)
    assert call.stream_count == 8
    _lost(call)
    assert (call.stream_count, call.status) == (8, "ended")


def test_the_spend_of_a_killed_stream_counts_against_the_ceiling_of_the_next(db: None) -> None:
    call = factories.make_call(stream_count=1)
    assert call.number is not None

    def batch(spend_microusd: int, stream_number: int = 1) -> None:
        batch_store(
            call_id=str(call.pk), stream_number=stream_number, turns=[], tools=[], policy=None,
            pieces=[], spend_microusd=spend_microusd, stream_ms=60_000,
        )  # fmt: skip

    def left() -> int:
        call.refresh_from_db()
        return plan_for(call).limits.max_spend_microusd

    whole = left()
    batch(200_000)
    batch(1_500_000)
    _lost(call)
    assert whole - 1_600_000 < left() <= whole - 1_500_000  # and a minute of the carrier's
    # A stream that does report is told by its report alone.
    batch(400_000, stream_number=2)
    stream_finish(
        call_id=str(call.pk), ended_reason="worker-shutdown", call_over=False,
        metrics={"spend_microusd": 500_000, "stream_ms": 60_000}, stream_number=2,
    )  # fmt: skip
    assert whole - 2_100_000 < left() <= whole - 2_000_000
    assert [each["number"] for each in call.metrics["unreported"]] == [1]
