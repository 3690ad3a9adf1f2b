"""A tool that takes five seconds, in a whole call over real sockets: nobody waits for it but the
model (style.md 2.2). Frames are counted while the tool runs, at both ends; words travel in them.
"""

from __future__ import annotations

import json
import time
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from typing import Any

import pytest

from calls.media.database import in_database
from calls.models import ToolInvocation
from calls.standins.realtime_peer import RealtimePeer
from calls.standins.scenario import parse_scenario
from calls.standins.tool_server import ToolServerApp
from calls.standins.twilio_media import TwilioMediaPeer
from tests.factories import make_revision, make_tool
from tests.integration.calls.conftest import _call_database_template, _database_in_a_file
from tests.integration.calls.rig import Rig, running_rig
from tools.dispatch import close_client

__all__ = ["_call_database_template", "_database_in_a_file"]  # fixtures that pytest finds here
pytestmark = [
    pytest.mark.acceptance,
    pytest.mark.django_db(transaction=True),
    pytest.mark.timeout(120),
]

TOOL_SECONDS = 5.0
SCENARIO: dict[str, Any] = {
    "name": "slow-tool",
    "caller": [
        {"say": "Please look up my record.", "after": "greeting"},
        {"say": "Are you still there?", "after": {"ms": 1500}},
        {"hang_up": {"heard": "record was found"}},
    ],
    "brain": {
        "rules": [
            {
                "when": "look up my record",
                "tool": {"name": "look_up", "arguments": {"who": "Ada Park"}},
                "after_tool": "Your record was found.",
            },
            {"when": "still there", "say": "Yes, I am still looking."},
        ]
    },
    "expect": {"agent_says": ["still looking", "record was found"], "ended_by": "caller"},
}


@dataclass
class Traffic:
    """When each audio frame left one end and came to the other, in monotonic seconds."""

    caller_sent: list[float] = field(default_factory=list)
    model_got: list[float] = field(default_factory=list)
    model_sent: list[float] = field(default_factory=list)
    caller_got: list[float] = field(default_factory=list)
    tool: list[float] = field(default_factory=list)

    def during_tool(self, times: list[float]) -> list[float]:
        """Return those times that lie within the tool's run."""
        begun, ended = self.tool
        return [at for at in times if begun <= at <= ended]


@pytest.fixture
def traffic(monkeypatch: pytest.MonkeyPatch) -> Traffic:
    """Note every frame at the stand-ins of Twilio and of the model, and the tool's run."""
    seen = Traffic()

    def watch(cls: type, name: str, note: Any, after: bool = False) -> None:
        plain = getattr(cls, name)

        def noted(self: Any, *arguments: Any) -> Any:
            result = plain(self, *arguments)
            note(result if after else arguments[0])
            return result

        monkeypatch.setattr(cls, name, noted)

    def kinds(frame: Any, key: str) -> str:
        return str(json.loads(frame)[key]) if isinstance(frame, str) else ""

    def into(times: list[float], key: str, kind: str) -> Any:
        def note(frame: Any) -> None:
            if kinds(frame, key) == kind:
                times.append(time.monotonic())

        return note

    def out_of(times: list[float], key: str, kind: str) -> Any:
        note = into(times, key, kind)

        def each(outputs: Any) -> None:
            for output in outputs:
                note(
                    getattr(
                        output, "payload", getattr(output, "data", getattr(output, "frame", None))
                    )
                )

        return each

    watch(RealtimePeer, "receive", into(seen.model_got, "type", "input_audio_buffer.append"))
    watch(
        RealtimePeer, "drain", out_of(seen.model_sent, "type", "response.output_audio.delta"), True
    )
    watch(TwilioMediaPeer, "receive", into(seen.caller_got, "event", "media"))
    watch(TwilioMediaPeer, "drain", out_of(seen.caller_sent, "event", "media"), True)

    answer = ToolServerApp._answer

    async def timed(self: ToolServerApp, scope: Any, raw: bytes, send: Any) -> None:
        seen.tool.append(time.monotonic())
        await answer(self, scope, raw, send)
        seen.tool.append(time.monotonic())

    monkeypatch.setattr(ToolServerApp, "_answer", timed)
    return seen


@pytest.fixture
async def rig(transactional_db: None, settings: Any) -> AsyncIterator[Rig]:
    """The application and its stand-ins, with a slow tool."""
    settings.EGRESS_ALLOW = ["127.0.0.0/8"]
    async with running_rig() as running:
        answers = {"look_up": {"result": "found", "delay_seconds": TOOL_SECONDS}}
        tools = f"{running.standin_origin}/tools"
        async with running.session.put(f"{tools}/answers", json=answers) as answered:
            assert answered.status == 200
        await in_database(_give_tool, running, f"{tools}/hook")
        yield running
        await close_client()


def _give_tool(rig: Rig, url: str) -> None:
    anything = {"type": "object", "properties": {}}
    make_revision(
        rig.number.assistant, tools=[make_tool(name="look_up", server_url=url, parameters=anything)]
    )


async def test_a_tool_of_five_seconds_delays_no_audio_in_either_direction(
    rig: Rig, traffic: Traffic
) -> None:
    report = await rig.call(parse_scenario(SCENARIO))
    assert report.failures == [], report
    assert len(traffic.tool) == 2
    begun, ended = traffic.tool
    assert ended - begun >= TOOL_SECONDS

    # Caller to model: what had been spoken a fifth of the run before was there when it began and
    # when it ended. A busy machine may stop for a moment, waiting for the tool takes all of it.
    assert len(traffic.during_tool(traffic.caller_sent)) > 100  # of 250 that five seconds hold
    for moment in traffic.tool:
        spoken_by_then = [at for at in traffic.caller_sent if at < moment - TOOL_SECONDS / 5]
        arrived = [at for at in traffic.model_got if at < moment]
        assert len(arrived) >= len(spoken_by_then)
    # Model to caller: the answer given meanwhile was sent, carried and heard meanwhile.
    spoken, heard = traffic.during_tool(traffic.model_sent), traffic.during_tool(traffic.caller_got)
    assert len(spoken) > 0
    assert len(heard) >= len(spoken)

    # The conversation went on, the result came, and the model answered it: in this order.
    call = await rig.only_call()
    said = await rig.spoken(call)
    order = [
        ("user", "Please look up my record."),
        ("user", "Are you still there?"),
        ("assistant", "Yes, I am still looking."),
        ("assistant", "Your record was found."),
    ]
    places = [said.index(turn) for turn in order]
    assert places == sorted(places), said
    row = await in_database(ToolInvocation.objects.get, call=call)
    assert (row.state, row.output) == ("ok", "found")
    assert row.duration_ms is not None and row.duration_ms >= TOOL_SECONDS * 1000
    (frames,) = rig.model_frames
    outputs = [
        index
        for index, frame in enumerate(frames)
        if frame["type"] == "conversation.item.create"
        and frame["item"]["type"] == "function_call_output"
    ]
    assert len(outputs) == 1
    audio = [i for i, frame in enumerate(frames) if frame["type"] == "input_audio_buffer.append"]
    assert audio[0] < outputs[0] < audio[-1]
    (stream,) = call.metrics["streams"]
    assert stream["caller_bytes"] == stream["caller_bytes_forwarded"]
