"""A whole call that is greeted by a clip, over real sockets: heard, told to the model, replayed."""

from __future__ import annotations

import pytest

from calls.media.database import in_database
from calls.services.replay import call_replay
from calls.standins.scenario import parse_scenario
from calls.tasks import render_clips
from tests.integration.calls.rig import Rig

pytestmark = [pytest.mark.integration, pytest.mark.django_db(transaction=True)]

GREETING = "Hello, this is the front desk."


async def test_a_rendered_greeting_is_heard_and_known_to_the_model(rig: Rig) -> None:
    assert await in_database(render_clips) == 4
    scenario = parse_scenario(
        {
            "name": "greeted",
            "caller": [{"say": "Open today?", "after": "greeting"}, {"hang_up": {"heard": "Yes"}}],
            "brain": {"rules": [{"when": "Open today", "say": "Yes."}]},
        }
    )
    report = await rig.call(scenario)
    assert (report.heard, report.failures) == ([GREETING, "Yes."], [])
    call = await rig.only_call()
    assert await rig.spoken(call) == [
        ("assistant", GREETING),
        ("user", "Open today?"),
        ("assistant", "Yes."),
    ]
    (frames,) = rig.model_frames
    asked = [each for each in frames if each["type"] == "response.create"]
    told = [each["item"] for each in frames if each["type"] == "conversation.item.create"]
    assert asked == []
    assert [(item["role"], item["content"][0]["text"]) for item in told] == [
        ("assistant", GREETING)
    ]
    # Known before the caller's first words could arrive.
    kinds = [each["type"] for each in frames]
    assert kinds.index("conversation.item.create") < kinds.index("input_audio_buffer.append")
    (stream,) = await in_database(call_replay, call)
    assert stream.same, stream.difference
