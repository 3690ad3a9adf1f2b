"""Tool calls of many live calls at once: none lost, none doubled, each answered by its own."""

from __future__ import annotations

import asyncio
import re
from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from calls.bridge.plan import CallPlan, Watchdog
from calls.media.database import in_database
from calls.models import Call, ToolExchange, ToolInvocation
from calls.services import call_plan, tool_run
from calls.standins.scenario import Scenario, parse_scenario
from calls.standins.twilio_call import CallReport
from tests import factories
from tests.drills.conftest import Tell
from tests.integration.calls.rig import CALLER, Rig
from tools.dispatch import close_client

pytestmark = [
    pytest.mark.integration,
    pytest.mark.django_db(transaction=True),
    pytest.mark.timeout(3600),
]
Count = Callable[[int, int], int]
# Fifty callers, their lines and their models share one process with the platform: on a busy machine
# a model is late by seconds, twice in a row, for no fault of its own, and would be given up.
PATIENT = Watchdog(response_ms=60_000, first_audio_ms=60_000, stall_ms=60_000)
# What the model asks for in one response; the desk answers three of the four.
NAMES = ("book", "look_up", "book", "note")
ADDRESSES = {"book": "desk", "note": "desk", "look_up": "files"}
AGAIN = "Say that again, please."


def _tools(rig: Rig) -> None:
    """Give the number's assistant tools that two addresses answer."""
    schema = {"type": "object", "properties": {"who": {"type": "string"}}, "required": ["who"]}
    tools = [
        factories.make_tool(
            name=name, server_url=f"{rig.standin_origin}/tools/{address}", parameters=schema
        )
        for name, address in ADDRESSES.items()
    ]
    assert rig.number.assistant is not None
    factories.make_revision(rig.number.assistant, tools=tools)


def _scenario(number: int) -> Scenario:
    tools = [
        {"name": name, "arguments": {"who": f"{number}.{index}"}}
        for index, name in enumerate(NAMES)
    ]
    wish, done = f"Please do {number}.", f"All of {number} is done."
    scenario = parse_scenario(
        {
            "name": f"tools-{number}",
            # A fifth of the frames: tools are judged here, and not what audio costs.
            "profile": {"media": {"frame_bytes": 800}},
            "caller": [
                {"say": wish, "after": "greeting"},
                {"hang_up": {"heard": done}, "timeout_ms": 120_000},
            ],
            "brain": {
                "rules": [
                    {"when": f"Please do {number}", "tool": tools, "after_tool": done},
                    {"when": AGAIN, "say": done},
                ]
            },
        }
    )
    # One process plays fifty callers, their lines and their models. Where it is late a sentence is
    # cut, and who did not understand asks once more, as people do.
    retorts = (
        (re.compile(f"^A(?!{done[1:]}$)|^You said: S"), AGAIN),
        (re.compile("^You said"), wish),
    )
    *before, last = scenario.caller
    return replace(scenario, caller=(*before, replace(last, retorts=retorts)))


async def _placed(rig: Rig, number: int) -> CallReport:
    _, task = rig.carrier.start_call(
        rig.number.number_e164, CALLER, scenario=_scenario(number), listener=None
    )
    return await task


async def _ledger(rig: Rig) -> list[dict[str, Any]]:
    async with rig.session.get(f"{rig.standin_origin}/tools/ledger") as answer:
        found: list[dict[str, Any]] = await answer.json()
        return found


@pytest.fixture
def patient(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let calls wait for their models as long as it takes."""
    plain = call_plan.plan_for

    def plan_for(call: Call) -> CallPlan:
        return replace(plain(call), watchdog=PATIENT)

    monkeypatch.setattr(call_plan, "plan_for", plan_for)


async def test_many_tool_calls_at_once(
    rig: Rig, count: Count, tell: Tell, settings: Any, patient: None
) -> None:
    settings.EGRESS_ALLOW = ["127.0.0.0/8"]
    live = count(50, 3)
    await in_database(_tools, rig)
    answer = {"*": {"result": "Done for {who}", "delay_seconds": 0.3}}
    async with rig.session.put(f"{rig.standin_origin}/tools/answers", json=answer) as answered:
        assert answered.status == 200
    try:
        reports = await asyncio.gather(*(_placed(rig, number) for number in range(live)))
        await rig.idle()
        # What was sent is recorded behind the calls, one after another.
        await asyncio.gather(*tool_run._storing)
    finally:
        await close_client()
    for number, report in enumerate(reports):
        assert f"All of {number} is done." in [*report.heard, *report.cut], report
    rows = await in_database(
        lambda: list(ToolInvocation.objects.values_list("call_id", "tool_call_id", "output"))
    )
    total = live * len(NAMES)
    wanted = [f"Done for {n}.{index}" for n in range(live) for index in range(len(NAMES))]
    assert sorted(output for _, _, output in rows) == sorted(wanted)
    ledger = await _ledger(rig)
    posted = Counter(
        (request["body"]["message"]["call"]["id"], each)
        for request in ledger
        for each in request["tool_call_ids"]
    )
    assert posted == Counter((str(call), tool_call_id) for call, tool_call_id, _ in rows)
    assert set(posted.values()) == {1}
    assert len(ledger) == live * 2
    assert await in_database(ToolExchange.objects.count) == live * 2
    tell(
        "tool calls at once",
        f"{total} calls of tools over {live} live calls, in {live * 2} requests to two addresses: "
        f"{total} answers, each to its own call, none posted twice, each request recorded once",
    )
