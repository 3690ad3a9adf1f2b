"""Whole calls in one process: words through the audio both ways, rows as spoken, replay equal."""

from __future__ import annotations

import pytest

from calls.media.database import in_database
from calls.services.replay import call_replay
from tests.integration.calls.rig import Rig

pytestmark = [pytest.mark.integration, pytest.mark.django_db(transaction=True)]


async def test_hello_is_heard_on_both_sides_and_stored_as_spoken(rig: Rig) -> None:
    report = await rig.call("hello")
    assert report.ok, report
    call = await rig.only_call()
    assert (call.status, call.ended_reason) == ("ended", "customer-ended-call")
    assert await rig.spoken(call) == [
        ("assistant", "Hello, this is the front desk."),
        ("user", "Hello, are you open today?"),
        ("assistant", "Yes, we are open until six."),
        ("user", "Thank you, that is all."),
        ("assistant", "You are welcome. Have a good day."),
    ]
    assert [heard.text for heard in rig.model_sessions[0].heard] == report.said
    replays = await in_database(call_replay, call)
    assert [(each.same, each.difference) for each in replays] == [(True, ())]
