"""A number is moved here and put back: what is written to Twilio, what is stored, what stops it."""

from __future__ import annotations

from typing import Any

import pytest
from django.db import connection
from django.utils import timezone

from calls.models import NumberChange, NumberMove, PhoneNumber
from calls.numbers.switch.writes import as_form, changes
from calls.services import move_rows, move_test_calls, number_moves
from calls.services.move_rows import MoveLost
from calls.services.number_moves import (
    MoveRefused,
    move_begin,
    move_continue,
    move_preview,
    restore_begin,
    restore_try,
    webhook_seen,
)
from calls.services.number_routes import RouteOrder
from tests import factories
from tests.integration.moves.twilio import KINDS, OLD, Twilio

pytestmark = [pytest.mark.integration, pytest.mark.django_db]

HERE = "https://voice.example.com/twilio/voice"


def begin(number: PhoneNumber, **columns: Any) -> NumberMove:
    preview = move_preview(number=number, route=columns.get("route"))
    return move_begin(
        number=number,
        actor=None,
        why="moved by a test",
        fingerprint=preview.fingerprint,
        typed=number.number_e164,
        **columns,
    )


def moved(number: PhoneNumber, **columns: Any) -> NumberMove:
    """Move a number here to its end, its first caller included."""
    move = begin(number, **columns)
    assert move_continue(move.pk).step == "tested"
    webhook_seen(number=number, call_sid="CA" + "1" * 32, caller="+15550109999")
    move = move_continue(move.pk)
    assert (move.step, move.problem) == ("done", "")
    return move


def restored(number: PhoneNumber) -> NumberMove:
    move = restore_begin(number=number, actor=None, why="back")
    assert move is not None
    result = restore_try(move.pk, within_seconds=5)
    assert result.state == "done", result.words
    return move


@pytest.mark.parametrize("kind", range(len(KINDS)))
def test_t25_a_number_of_every_kind_comes_here_and_goes_back_exactly(
    twilio: Twilio, kind: int
) -> None:
    number = twilio.number(kind)
    is_trunk = bool(KINDS[kind].get("trunk_sid"))
    move = moved(number, route=RouteOrder("direct") if is_trunk else None)
    live = twilio.resource(number)
    assert live["voice_url"].startswith(HERE + "#")
    assert not live["trunk_sid"] and not live["voice_application_sid"]
    assert live["sms_url"] == twilio.made[number.number_e164]["sms_url"]
    assert number_moves.has_way_back(number)
    restored(number)
    assert twilio.changed() == {}
    assert len(twilio.posts(number)) == 2
    twilio.assert_decent()
    number.refresh_from_db()
    assert number.route == "vapi"
    assert not number_moves.has_way_back(number)
    move.refresh_from_db()
    assert move.closed_at is not None


def test_the_route_stays_and_the_old_target_is_kept_for_the_hand_over(twilio: Twilio) -> None:
    number = twilio.number(0)
    moved(number)
    number.refresh_from_db()
    assert (number.route, number.previous_voice_url) == ("vapi", OLD)
    assert number.previous_target["status_callback"].endswith("/twilio/status")
    assert number.voice_region == "us1"
    # It fits every route: a hand-over is answered before, and the net comes within 6 s.
    assert "#ct=1500&rt=5000&tt=5500&rc=1&rp=ct" in twilio.resource(number)["voice_url"]


def test_a_route_that_is_ordered_is_set_with_the_snapshot_or_not_at_all(twilio: Twilio) -> None:
    number = twilio.number(0)
    moved(number, route=RouteOrder("canary", canary_percent=10))
    number.refresh_from_db()
    assert (number.route, number.canary_percent) == ("canary", 10)
    assert NumberChange.objects.get(number=number).kind == "switch"
    restored(number)
    number.refresh_from_db()
    assert number.route == "vapi"
    unreviewed = twilio.number(0)
    unreviewed.policy.reviewed_at = None
    unreviewed.policy.save()
    with pytest.raises(MoveRefused, match="policy"):
        begin(unreviewed, route=RouteOrder("direct"))
    assert not unreviewed.moves.exists()


@pytest.mark.parametrize(
    ("kind", "fields"), [(3, {}), (2, {"voice_application_sid": "AP" + "e" * 32})]
)
def test_callers_who_could_not_be_handed_over_are_not_brought_here_for_that(
    twilio: Twilio, kind: int, fields: dict[str, str]
) -> None:
    number = twilio.number(kind, **fields)
    with pytest.raises(MoveRefused, match="nobody would answer here"):
        begin(number)
    assert not number.moves.exists()
    assert move_preview(number=number, route=RouteOrder("direct")).can_begin


def test_what_was_not_shown_is_not_confirmed(twilio: Twilio) -> None:
    number = twilio.number(0)
    shown = move_preview(number=number).fingerprint
    twilio.resource(number)["voice_url"] = "https://else.example/voice"
    with pytest.raises(MoveRefused, match="not as it was shown"):
        move_begin(number=number, actor=None, why="", fingerprint=shown, typed=number.number_e164)
    with pytest.raises(MoveRefused, match="Type the number itself"):
        move_begin(
            number=number,
            actor=None,
            why="",
            fingerprint=move_preview(number=number).fingerprint,
            typed="+15550100000",
        )
    assert not number.moves.exists()
    assert twilio.posts(number) == []


def test_one_move_at_a_time_and_the_same_key_is_the_same_move(twilio: Twilio) -> None:
    number = twilio.number(0)
    move = begin(number, key="monday")
    assert begin(number, key="monday").pk == move.pk
    with pytest.raises(MoveRefused, match="under way"):
        begin(number)
    first = restore_begin(number=number, actor=None, why="", key="guard:1")
    assert first is not None
    assert restore_begin(number=number, actor=None, why="twice") == first
    restore_try(first.pk, within_seconds=20)
    assert restore_begin(number=number, actor=None, why="", key="guard:1") == first
    assert restore_begin(number=number, actor=None, why="") is None


def test_somebody_else_has_changed_the_number_stop_show_ask(twilio: Twilio) -> None:
    number = twilio.number(0)
    moved(number)
    twilio.resource(number)["voice_url"] = "https://else.example/voice"
    move = restore_begin(number=number, actor=None, why="back")
    assert move is not None
    result = restore_try(move.pk, within_seconds=5)
    assert (result.state, "voice_url" in result.words) == ("person", True)
    assert len(twilio.posts(number)) == 1, "nothing is written over what somebody else wrote"
    move.refresh_from_db()
    stop = number_moves.stop_of(move)
    assert stop is not None and stop.found is not None
    with pytest.raises(MoveRefused, match="not as it was shown"):
        number_moves.move_accept(move=move, fingerprint="0" * 64, actor=None, why="")
    number_moves.move_accept(move=move, fingerprint=stop.fingerprint, actor=None, why="ours")
    assert restore_try(move.pk, within_seconds=5).state == "done"
    assert twilio.changed() == {}


@pytest.mark.parametrize(
    ("status", "when"), [(429, "before"), (500, "before"), (500, "after"), (503, "after")]
)
def test_twilio_fails_around_the_write_and_it_is_made_once(
    twilio: Twilio, when: str, status: int
) -> None:
    number = twilio.number(1)
    moved(number)
    twilio.fault(status=status, when=when)
    twilio.fault(status=503, method="GET", path=twilio.resource(number)["sid"])
    waits: list[float] = []
    move = restore_begin(number=number, actor=None, why="back")
    assert move is not None
    outcome = number_moves.move_run(move.pk, within_seconds=60, sleep=waits.append)
    assert outcome.state == "done", outcome.words
    assert twilio.changed() == {}
    applied = [sid for sid, _ in twilio.rest.carrier.numbers.updates]
    assert applied.count(twilio.resource(number)["sid"]) == 2
    assert 1.0 <= sum(waits) < 10
    twilio.assert_decent()


def test_t26_a_write_that_changes_nothing_stops_also_when_the_beat_carries_it_on(
    twilio: Twilio,
) -> None:
    number = twilio.number(0)
    move = begin(number)
    twilio.fault(status=200, when="before")
    number_moves.moves_continue()
    move.refresh_from_db()
    assert (move.step, move.stop_code) == ("stopped", "not_taken")
    assert twilio.changed() == {}
    number_moves.move_abandon(move=move, actor=None, why="leave it")
    assert number_moves.open_move(number) is None


def test_a_token_that_is_refused_is_named_and_tried_again(twilio: Twilio) -> None:
    number = twilio.number(0)
    moved(number)
    good = twilio.account.auth_token
    type(twilio.account).objects.filter(pk=twilio.account.pk).update(auth_token="wrong")
    move = restore_begin(number=number, actor=None, why="back")
    assert move is not None
    result = restore_try(move.pk, within_seconds=0)
    assert (result.state, "token or key" in result.words) == ("again", True)
    type(twilio.account).objects.filter(pk=twilio.account.pk).update(auth_token=good)
    NumberMove.objects.filter(pk=move.pk).update(next_at=timezone.now())
    assert number_moves.moves_continue() == 1
    assert restore_try(move.pk, within_seconds=5).state == "done"


def test_t35_a_number_of_another_region_is_not_moved_where_it_would_take_no_effect(
    twilio: Twilio,
) -> None:
    number = twilio.number(0)
    twilio.rest.carrier.numbers.voice_regions[number.twilio_sid] = "ie1"
    preview = move_preview(number=number)
    assert [each.code for each in preview.blocks] == ["region_other"]
    with pytest.raises(MoveRefused, match="ie1"):
        begin(number)


def test_a_restore_takes_over_a_move_and_outlasts_its_late_write(twilio: Twilio) -> None:
    number = twilio.number(0)
    move = begin(number)
    held = move_rows.take(move.pk)
    assert held is not None, "a worker holds it, and is about to write"
    wanted = number_moves.move_of(move)
    back = restore_begin(number=number, actor=None, why="now")
    assert back is not None and back.settle_until is not None
    assert back.settle_until > timezone.now()
    with pytest.raises(MoveLost):
        held.write(problem="this worker has lost it")
    move.refresh_from_db()
    assert (move.step, move.finished_at is not None) == ("replaced", True)
    assert move.get_step_display() == "Taken over by its way back"
    assert restore_try(back.pk, within_seconds=0).state == "again", "looked at again later"
    late = as_form(changes(wanted.wanted, over=wanted.before))
    twilio.rest.carrier.numbers.update(number.twilio_sid, late)
    assert twilio.changed() != {}
    NumberMove.objects.filter(pk=back.pk).update(settle_until=timezone.now())
    assert restore_try(back.pk, within_seconds=5).state == "done"
    assert twilio.changed() == {}


def test_our_own_rows_may_have_been_changed_and_the_number_goes_back_all_the_same(
    twilio: Twilio,
) -> None:
    number = twilio.number(2)
    moved(number)
    other = type(twilio.account).objects.create(
        name="other", account_sid="AC" + "b" * 32, auth_token="x"
    )
    PhoneNumber.objects.filter(pk=number.pk).update(
        twilio_account=other, twilio_sid="", previous_voice_url="", route="paused"
    )
    number.refresh_from_db()
    restored(number)
    assert twilio.changed() == {}


def test_a_snapshot_that_was_altered_is_never_written(twilio: Twilio) -> None:
    number = twilio.number(0)
    move = moved(number)
    NumberMove.objects.filter(pk=move.pk).update(state={"version": 1})
    with pytest.raises(ValueError, match="no move"):
        restore_begin(number=number, actor=None, why="")
    assert len(twilio.posts(number)) == 1


def test_test_calls_of_ours_are_marked_also_late_ones_and_a_callers_is_not(twilio: Twilio) -> None:
    number, other = twilio.number(0), "+15550100088"
    move = begin(number)
    rows = NumberMove.objects.filter(pk=move.pk)
    rows.update(test_state="placed", test_caller=other, test_placed_at=timezone.now())

    def comes(caller: str) -> bool | None:
        call = factories.make_call(number=number, caller=caller)
        webhook_seen(number=number, call_sid=call.call_sid, caller=caller)
        call.refresh_from_db()
        return call.is_test

    assert comes(other) is True
    assert comes("+15550109999") is None
    seen = rows.get()
    assert seen.test_seen_sid and seen.first_call_sid
    rows.update(test_state="failed", test_seen_sid="", step="stopped", finished_at=timezone.now())
    assert comes(other) is True, "it came when its move had ended"
    assert rows.get().test_seen_sid == ""
    rows.update(test_placed_at=timezone.now() - move_test_calls.COMING)
    assert comes(other) is None


def test_a_test_call_that_nobody_can_tell_was_placed_is_placed_twice_at_most(
    twilio: Twilio, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(move_test_calls, "COMES_SECONDS", 0.0)
    number = twilio.number(0)
    twilio.number(0, can_call=True)
    lost = twilio.fault(status=503, times=9, path="/Calls.json")
    move = begin(number)
    outcome = number_moves.move_run(move.pk, within_seconds=20, sleep=lambda seconds: None)
    assert (outcome.state, lost.times) == ("waits", 7)
    move.refresh_from_db()
    assert (move.test_state, "did not say" in move.test_words) == ("skipped", True)


def test_a_way_back_answers_nobody_here_whatever_the_route_was_before(twilio: Twilio) -> None:
    number = twilio.number(0, voice_url=OLD)
    PhoneNumber.objects.filter(pk=number.pk).update(route="direct")
    number.refresh_from_db()
    moved(number)
    assert restore_begin(number=number, actor=None, why="calls are bad") is not None
    number.refresh_from_db()
    assert number.route == "vapi", "Twilio may not be written to for long"


def test_a_way_back_of_a_number_that_was_handed_over_changes_no_route(twilio: Twilio) -> None:
    number = twilio.number(0)
    moved(number)
    restored(number)
    assert not NumberChange.objects.filter(number=number).exists()


def test_a_number_whose_own_row_no_key_opens_goes_back_and_holds_up_nobody(twilio: Twilio) -> None:
    broken, number = twilio.number(0), twilio.number(0)
    for each in (broken, number):
        moved(each, route=RouteOrder("canary", canary_percent=10))
    with connection.cursor() as cursor:
        cursor.execute(
            "UPDATE calls_phonenumber SET previous_target = 'no token' WHERE number_e164 = %s",
            [broken.number_e164],
        )
    rows = number_moves.restorable()
    assert {each.pk for each in rows} == {broken.pk, number.pk}
    for each in rows:
        restored(each)
    assert twilio.changed() == {}
