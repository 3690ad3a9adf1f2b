"""A drill of a test number's net, and what is learnt of callers who really needed one."""

from __future__ import annotations

import datetime as dt
from typing import Any

import httpx
import pytest
from django.test import override_settings
from django.utils import timezone

from calls.models import NetFiring, NumberNet, PhoneNumber
from calls.services import net_drills, net_facts
from calls.services.net_drills import DrillRefused, drill_run, net_drill_begin
from calls.services.net_flag import FLAG, drill_takes, flag_clear, flag_set
from calls.services.net_rows import net_of
from calls.services.nets import net_previous_closed, net_view
from tests import factories
from tests.integration.moves.twilio import Twilio
from tests.integration.nets.conftest import DIALS, Moved, Site, looked
from voiceplatform.base.job_bell import JobBell
from voiceplatform.base.models import Job

pytestmark = [pytest.mark.integration, pytest.mark.django_db]

CALLER = "+15550107777"


@pytest.fixture
def here(site: Site) -> Any:
    """Our own site, as Twilio is told it: up, but for the calls of these tests."""
    url = site.url.replace("127.0.0.1", "localhost")
    site.answers["/twilio/voice"] = (503, "not answered")
    site.answers["/inbound_call"] = (200, DIALS)
    with override_settings(PUBLIC_BASE_URL=url, EGRESS_ALLOW=("127.0.0.0/8", "localhost")):
        yield url


@pytest.fixture
def drilled(twilio: Twilio, moved: Moved, here: str, monkeypatch: pytest.MonkeyPatch) -> Any:
    """Order and do a drill; our voice webhook is played by the test, in this thread."""
    monkeypatch.setattr(net_drills, "BELL", _Deaf())
    monkeypatch.setattr(net_drills, "LOOK_SECONDS", 0.02)

    def run(number: PhoneNumber) -> Job:
        twilio.number(4, can_call=True)
        job = net_drill_begin(number=number, actor=None)
        real = net_drills._Drill._came

        def came(self: Any) -> Any:
            for call in list(twilio.rest.carrier.calls.values()):
                if call.direction == "inbound":
                    net = net_of(number)
                    drill_takes(net, call_sid=call.call_sid, caller=call.from_)
            return real(self)

        monkeypatch.setattr(net_drills._Drill, "_came", came)
        drill_run(job.pk)
        return Job.objects.get(pk=job.pk)

    return run


class _Deaf(JobBell):
    """Does the job when it is told to, and tells no worker."""

    def __init__(self) -> None:
        super().__init__(net_drills.TASK, (net_drills.KIND,))

    def poke(self, job_id: Any) -> None:
        return


def test_a_drill_shows_who_answered_and_when_and_leaves_the_number_as_it_was(
    twilio: Twilio, moved: Moved, here: str, drilled: Any
) -> None:
    number = moved(base_url=here, net={"is_test": True})
    looked(number)
    before = dict(twilio.resource(number))
    job = drilled(number)
    assert (job.state, "what answered before the move" in job.message) == ("done", True)
    firing = NetFiring.objects.get()
    assert (firing.part, firing.kind, firing.outcome) == ("a", "drill", "held")
    assert firing.seconds is not None and firing.seconds >= 0
    part = net_view(number).parts[0]
    assert (part.last_real, part.last_drill) == (None, firing)
    net = net_of(number)
    assert (net.drill_until, net.drill_token) == (None, "")
    assert twilio.resource(number) == before
    assert twilio.posts(number) == []
    twilio.assert_decent()
    # Twilio lists the drill's errors too: nobody was hurt by it.
    net_facts.nets_learn()
    assert NetFiring.objects.count() == 1


def test_a_drill_whose_net_is_dead_says_so(
    moved: Moved, here: str, drilled: Any, site: Site
) -> None:
    number = moved(base_url=here, net={"is_test": True})
    looked(number)
    site.answers["/inbound_call"] = (500, "dead too")
    job = drilled(number)
    assert (job.state, "it failed too" in job.message) == ("failed", True)
    assert NetFiring.objects.get().outcome == "failed"


def test_a_number_of_customers_is_never_drilled(moved: Moved) -> None:
    number = moved()
    looked(number)
    with pytest.raises(DrillRefused, match="test numbers alone"):
        net_drill_begin(number=number, actor=None)
    NumberNet.objects.filter(number=number).update(is_test=True, probe_state="alarm")
    with pytest.raises(DrillRefused, match="not armed"):
        net_drill_begin(number=number, actor=None)
    assert not Job.objects.exists()
    assert not flag_set(factories.make_net(), token="t", caller=CALLER)


def test_the_flag_is_for_one_call_of_one_caller_and_ends_by_the_clock() -> None:
    row = factories.make_net(is_test=True)
    assert flag_set(row, token="mine", caller=CALLER)
    assert not flag_set(row, token="theirs", caller=CALLER)

    def takes(call_sid: str, caller: str = CALLER) -> bool:
        return drill_takes(NumberNet.objects.get(pk=row.pk), call_sid=call_sid, caller=caller)

    assert not takes("CA1", "+15550101111")
    assert takes("CA1") and takes("CA1")
    assert not takes("CA2")
    flag_clear(row.pk, "theirs")
    assert takes("CA1")
    # Whoever set it has died: nothing but the clock ends it.
    NumberNet.objects.filter(pk=row.pk).update(drill_until=timezone.now() - FLAG)
    assert not takes("CA1")
    assert flag_set(row, token="theirs", caller=CALLER)
    flag_clear(row.pk, "theirs")
    assert not takes("CA3")


def call_in(twilio: Twilio, number: PhoneNumber) -> dict[str, Any]:
    """Have somebody call the number and return Twilio's report."""
    answer = httpx.post(
        f"{twilio.standins.base_url}/standin/calls",
        json={"to": number.number_e164, "from": CALLER},
        timeout=20,
    )
    lines = answer.text.strip().splitlines()
    found: dict[str, Any] = httpx.Response(200, text=lines[-1]).json()
    return found


@pytest.mark.parametrize(
    ("closed", "dead", "expected"),
    [(False, False, ("a", "held")), (False, True, ("a", "failed")), (True, False, ("d", "held"))],
)
def test_a_caller_whom_we_did_not_answer_is_learnt_of_with_the_date(
    twilio: Twilio,
    moved: Moved,
    here: str,
    site: Site,
    closed: bool,
    dead: bool,
    expected: tuple[str, str],
) -> None:
    number = moved(base_url=here)
    looked(number)
    if closed:
        net_previous_closed(numbers=[number], actor=None, why="the end")
        NumberNet.objects.update(previous_closed_at=timezone.now() - dt.timedelta(minutes=1))
    if dead:
        site.answers["/inbound_call"] = (500, "dead too")
    report = call_in(twilio, number)
    assert bool(report["dialled"]) != dead
    assert [net_facts.nets_learn() for _ in range(2)] == [1, 0]
    firing = NetFiring.objects.get()
    assert (firing.part, firing.outcome, firing.kind) == (*expected, "real")
    assert firing.call_sid == report["call_sid"]
    assert abs(firing.fired_at - timezone.now()) < dt.timedelta(minutes=1)


def test_the_old_stack_dead_is_recorded_with_its_date(moved: Moved) -> None:
    number = moved()
    now = timezone.now()
    for index in range(3):
        factories.make_call(
            number=number,
            route_code="old-down",
            stream_count=1,
            call_sid=f"CA{index:032d}",
            status="ended",
        )
    factories.make_call(number=number, route_code="route-direct", stream_count=1)
    assert net_facts.nets_learn() == 1
    firing = NetFiring.objects.get()
    assert (firing.part, firing.outcome, firing.call_sid) == ("c", "held", f"CA{2:032d}")
    assert firing.fired_at >= now
    assert net_facts.nets_learn() == 0
    part = net_view(number).parts[2]
    assert part.last_real == firing


def test_a_call_that_never_came_counts_when_no_error_tells_of_it(moved: Moved) -> None:
    number = moved()
    missed = factories.make_missed_call(number)
    assert net_facts.nets_learn() == 0
    assert net_facts.nets_learn(timezone.now() + dt.timedelta(minutes=11)) == 1
    firing = NetFiring.objects.get()
    assert (firing.call_sid, firing.outcome) == (missed.call_sid, "unknown")


def test_a_number_that_no_key_opens_hides_nothing_of_the_others(moved: Moved) -> None:
    from django.db import connection

    sealed, open_one = moved(net={"address": "https://a.example/1"}), moved()
    for number in (sealed, open_one):
        factories.make_missed_call(number)
        factories.make_call(number=number, route_code="old-down", stream_count=1)
    pk = sealed.pk.hex if connection.vendor == "sqlite" else sealed.pk
    with connection.cursor() as cursor:
        cursor.execute("UPDATE calls_numbernet SET address = 'gAAAAAB' WHERE number_id = %s", [pk])
        cursor.execute("UPDATE calls_phonenumber SET previous_target = 'gAA' WHERE id = %s", [pk])
    net_facts.nets_learn(timezone.now() + dt.timedelta(minutes=11))
    assert sorted(NetFiring.objects.values_list("part", flat=True)) == ["a", "a", "c", "c"]
