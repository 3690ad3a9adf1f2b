"""The nightly look at a moved number: what it mends, what it tells, and when it keeps its hands
off."""

from __future__ import annotations

import datetime as dt
from typing import Any

import pytest
from django.utils import timezone

from calls.models import Notice, NumberMove, NumberNet
from calls.numbers.switch import kept
from calls.services import net_probes, number_moves
from calls.services.move_rows import take, way_back_row
from calls.services.net_drills import drill_problem
from calls.services.net_rows import net_of, nets_complete
from calls.services.nets import NetOvertaken, net_set, net_view, seen_of
from calls.telephony.twilio_rest import TwilioRest
from tests import factories
from tests.integration.moves.twilio import Twilio
from tests.integration.nets.conftest import DIALS, Moved, Site, looked

pytestmark = [pytest.mark.integration, pytest.mark.django_db]


def notices() -> list[str]:
    return list(Notice.objects.order_by("created_at").values_list("subject", flat=True))


def test_an_armed_number_is_left_alone_and_nobody_is_told(twilio: Twilio, moved: Moved) -> None:
    number = moved()
    net = looked(number)
    assert (net.probe_state, net.has_fallback, net.dead_ms, net.hanging_ms) == (
        *("armed", True),
        *(3_000, 5_500),
    )
    assert (twilio.posts(number), notices()) == ([], [])
    assert net.look_at is not None and net.look_at > timezone.now()
    assert net_view(number).parts[0].part.state == "armed"


def test_what_answered_before_is_never_asked_about_a_call(moved: Moved, site: Site) -> None:
    """A request to Vapi's address may start an assistant: its server's root is asked alone."""
    number = moved()
    net = looked(number)
    assert site.asked == [("GET", "/", "/")]
    assert net.address_state == "answers"
    site.answers["/"] = (503, "down")
    assert looked(number).address_state == "fails"
    assert notices() == ["A safety net does not answer"]
    looked(number)
    assert len(notices()) == 1


def test_a_lost_fallback_is_written_again_and_nothing_else(twilio: Twilio, moved: Moved) -> None:
    number = moved()
    looked(number)
    resource = twilio.resource(number)
    was, resource["voice_fallback_url"] = resource["voice_fallback_url"], ""
    net = looked(number)
    assert (net.probe_state, resource["voice_fallback_url"]) == ("mended", was)
    assert net.repaired_at is not None
    assert [sorted(form) for form in twilio.posts(number)] == [
        ["VoiceFallbackMethod", "VoiceFallbackUrl"]
    ]
    assert notices() == ["A safety net was mended"]
    assert looked(number).probe_state == "armed"
    assert len(twilio.posts(number)) == 1
    twilio.assert_decent()


def test_what_somebody_replaced_is_told_once_and_left(twilio: Twilio, moved: Moved) -> None:
    number = moved()
    looked(number)
    twilio.resource(number)["voice_fallback_url"] = "https://else.example/down"
    for _ in range(2):
        net = looked(number)
        assert net.probe_state == "alarm"
        assert "somebody else has changed voice_fallback_url" in net.probe_words
    assert notices() == ["A safety net is not as it was set up"]
    assert twilio.posts(number) == []
    written = way_back_row(number)
    assert written is not None
    wanted = kept.from_json(written.state).wanted
    twilio.resource(number)["voice_fallback_url"] = wanted.voice_fallback_url
    assert looked(number).probe_state == "armed"
    assert notices()[1:] == ["A safety net is armed again"]


def test_a_number_that_was_released_is_an_alarm_and_not_a_crash(
    twilio: Twilio, moved: Moved
) -> None:
    number, other = moved(), moved()
    del twilio.rest.carrier.numbers.resources[number.twilio_sid]
    NumberNet.objects.update(look_at=None)
    assert net_probes.nets_probe() == 2
    gone, kept_one = net_of(number), net_of(other)
    assert "no such number any more" in gone.probe_words
    assert (gone.probe_state, kept_one.probe_state) == ("alarm", "armed")
    assert net_view(number).parts[0].part.state == "broken"


def test_a_silent_twilio_changes_nothing_and_is_asked_again_soon(
    twilio: Twilio, moved: Moved, monkeypatch: pytest.MonkeyPatch
) -> None:
    number = moved()
    looked(number)
    monkeypatch.setattr(net_probes, "_WITHIN_SECONDS", 0.0)
    twilio.fault(method="GET", path="/IncomingPhoneNumbers/", status=503)
    net = looked(number)
    assert net.probe_state == "armed"
    assert net.look_at is not None
    assert net.look_at < timezone.now() + dt.timedelta(minutes=11)


def test_a_token_that_is_not_taken_is_told(twilio: Twilio, moved: Moved) -> None:
    number = moved()
    twilio.account.auth_token = "rotated-away"
    twilio.account.save()
    assert "token or key" in looked(number).probe_words


def test_nothing_is_written_while_a_move_is_under_way(twilio: Twilio, moved: Moved) -> None:
    number = moved()
    twilio.resource(number)["voice_fallback_url"] = ""
    NumberMove.objects.filter(number=number).update(finished_at=None)
    assert looked(number).probe_state == "unknown"
    assert twilio.posts(number) == []


def test_a_move_that_waits_for_its_first_caller_is_looked_at_and_mended(
    twilio: Twilio, moved: Moved, site: Site
) -> None:
    """It may wait for days, and callers who come meanwhile need the net."""
    number = moved()
    NumberMove.objects.filter(number=number).update(finished_at=None, step="tested")
    assert looked(number).probe_state == "armed"
    assert net_view(number).parts[0].part.state == "armed"
    was = twilio.resource(number)["voice_fallback_url"]
    twilio.resource(number)["voice_fallback_url"] = ""
    assert looked(number).probe_state == "mended"
    assert twilio.resource(number)["voice_fallback_url"] == was
    net_set(net=net_of(number), address=f"{site.url}/down", method="POST", is_test=True, actor=None)
    assert (looked(number).rearm_wanted, len(twilio.posts(number))) == (False, 2)
    move = NumberMove.objects.get(number=number)
    assert kept.from_json(move.state).wanted.voice_fallback_url == f"{site.url}/down"
    assert (move.finished_at, move.lease_token) == (None, "")
    assert "waits for the first caller" in drill_problem(number, net_of(number))


def test_a_move_that_a_worker_goes_on_with_is_left_to_it(twilio: Twilio, moved: Moved) -> None:
    number = moved()
    twilio.resource(number)["voice_fallback_url"] = ""
    rows = NumberMove.objects.filter(number=number)
    rows.update(finished_at=None, step="tested")
    held = take(rows.get().pk)
    assert looked(number).probe_state == "unknown"
    assert held is not None
    held.release()
    rows.update(first_call_sid="CA1")
    assert looked(number).probe_state == "unknown"
    assert twilio.posts(number) == []


def test_a_way_back_that_comes_while_it_mends_wins(twilio: Twilio, moved: Moved) -> None:
    """The look's write reaches Twilio after the restore has ended: it is taken back."""
    number = moved()
    looked(number)
    twilio.resource(number)["voice_url"] = twilio.resource(number)["voice_url"].partition("#")[0]

    def restored() -> None:
        # What the stand-in has when our write arrives is what the restore has left there.
        back = NumberMove.objects.get(number=number)
        state = kept.from_json(back.state)
        NumberMove.objects.filter(pk=back.pk).update(closed_at=timezone.now())
        way_back = kept.as_json(
            type(state)("back", state.wanted, state.before, step=type(state.step).DONE)
        )
        NumberMove.objects.create(
            organisation=number.organisation,
            number=number,
            direction="back",
            step="done",
            restores=back,
            state=way_back,
            who="guard",
            finished_at=timezone.now(),
        )
        before = state.before
        twilio.resource(number).update(
            voice_url=before.voice_url,
            voice_fallback_url=before.voice_fallback_url,
            status_callback=before.status_callback,
        )

    real = TwilioRest.post

    def post(self: Any, path: str, form: Any) -> Any:
        TwilioRest.post = real  # type: ignore[method-assign]
        restored()
        return real(self, path, form)

    TwilioRest.post = post  # type: ignore[method-assign]
    try:
        looked(number)
    finally:
        TwilioRest.post = real  # type: ignore[method-assign]
    assert twilio.changed() == {}


def test_a_look_that_was_overtaken_writes_nothing(twilio: Twilio, moved: Moved) -> None:
    number = moved()
    net = net_of(number)
    look = net_probes._Look(net.pk, "mine")
    NumberNet.objects.filter(pk=net.pk).update(lease_token="theirs")
    with pytest.raises(net_probes._LookLost):
        look.write(look.see())
    assert net_of(number).probe_state == "unknown"


def test_a_new_address_is_written_to_twilio_and_the_way_back_still_fits(
    twilio: Twilio, moved: Moved, site: Site
) -> None:
    number = moved()
    net = looked(number)
    site.asked.clear()
    net_set(net=net, address=f"{site.url}/down", method="POST", is_test=False, actor=None)
    net = looked(number)
    resource = twilio.resource(number)
    assert (net.probe_state, resource["voice_fallback_url"]) == ("armed", f"{site.url}/down")
    assert (net.rearm_wanted, net.address_state) == (False, "answers")
    assert "dials somebody" in net.address_words
    (method, path, form) = site.asked[0]
    assert (method, path) == ("POST", "/down")
    assert "CallSid=CA0000" in form and "CallStatus=ringing" in form
    assert len(twilio.posts(number)) == 1
    assert [part.part.state for part in net_view(number).parts] == [
        *("armed", "armed", "bare", "armed")
    ]
    restore = number_moves.restore_begin(number=number, actor=None, why="back")
    assert restore is not None
    assert number_moves.restore_try(restore.pk, within_seconds=5).state == "done"
    assert twilio.changed() == {}


def test_an_address_that_dials_nobody_is_said_so(moved: Moved, site: Site) -> None:
    number = moved(net={"address": f"{site.url}/down"})
    site.answers["/down"] = (200, DIALS.replace("Dial", "Say"))
    net = looked(number)
    assert (net.address_state, "nobody is dialled" in net.address_words) == ("answers", True)
    site.answers["/down"] = (200, "<html/>")
    assert looked(number).address_state == "fails"


def test_a_form_that_was_open_meanwhile_changes_nothing(moved: Moved) -> None:
    net = net_of(moved())
    shown = seen_of(net)
    net_set(net=net, address="https://a.example/1", method="POST", is_test=False, actor=None)
    with pytest.raises(NetOvertaken):
        net_set(net=net, address="", method="GET", is_test=True, actor=None, seen=shown)
    assert net_of(net.number).address == "https://a.example/1"


def test_every_number_gets_a_row_and_one_that_was_not_moved_is_not_asked_about(
    twilio: Twilio,
) -> None:
    number = twilio.number(0)
    assert nets_complete() >= 1
    net_probes.nets_probe()
    assert net_of(number).probe_state == "not_moved"
    assert not [path for _, path, _ in twilio.standins.app.twilio.log]


def test_a_net_whose_address_no_key_opens_stops_no_other(moved: Moved) -> None:
    number, other = moved(net={"address": "https://a.example/1"}), moved()
    NumberNet.objects.update(look_at=None)
    from django.db import connection

    pk = number.pk.hex if connection.vendor == "sqlite" else number.pk
    with connection.cursor() as cursor:
        cursor.execute(
            "UPDATE calls_numbernet SET address = 'gAAAAAB' WHERE number_id = %s",
            [pk],
        )
        cursor.execute("UPDATE calls_phonenumber SET previous_target = 'gAA' WHERE id = %s", [pk])
    assert net_probes.nets_probe() == 2
    row = NumberNet.objects.defer("address").get(number=number)
    assert (row.probe_state, net_of(other).probe_state) == ("alarm", "armed")


def test_looks_come_at_night_and_not_all_at_once() -> None:
    noon = dt.datetime(2026, 11, 23, 12, 0, tzinfo=dt.UTC)
    times = {net_probes.next_night(noon, net_id) for net_id in range(60)}
    assert len(times) == 60
    assert {(each.day, each.hour) for each in times} == {(24, 3)}


def test_firings_are_counted_once_a_call_and_learn_what_became_of_it() -> None:
    from calls.services.net_rows import net_fired

    number = factories.make_number()
    first = net_fired(number=number, part="a", kind="real", words="x", call_sid="CA1")
    again = net_fired(
        number=number, part="a", kind="real", words="held", call_sid="CA1", outcome="held"
    )
    assert (first.pk, again.outcome) == (again.pk, "held")
    later = net_fired(
        number=number, part="a", kind="real", words="no", call_sid="CA1", outcome="failed"
    )
    assert later.outcome == "held"
