"""Replay and re-hear as a worker plays them: real rows, a real socket, no tool and no stranger."""

from __future__ import annotations

import datetime as dt
import json
import re
import struct
from typing import Any

import pytest

from calls.models import Call, ParityCall, ParityRun, ProviderConnection, Recording
from calls.parity.sequence import sequence_load
from calls.services.parity_runners import CallLost, CallRefused, runner_of
from calls.services.replay_runs import rehear_play, replay_play
from calls.services.replay_sessions import connection_of, past_call_check
from calls.standins.realtime_brain import CallTool, Rule, RuleBrain, Step
from calls.standins.realtime_profile import RealtimeProfile
from calls.standins.tones import encode, linear, silence
from tests import factories
from tests.integration.parity.stand import connections, listening, model, redirect_to
from tests.unit.house.source_tree import ROOT, SourceTree
from tools.models import Tool
from tools.services import tool_store

pytestmark = [pytest.mark.integration, pytest.mark.django_db]

SAID = "My number is 555 010 2233, book it."
LOGGED = "My number is 555 010 2288, book it."
MONDAY = dt.datetime(2026, 11, 23, 15, tzinfo=dt.UTC)


def brain() -> RuleBrain:
    """Return a model that books the number it heard."""
    book = CallTool("book", '{"phone": "5550102233"}')
    rules = [Rule(Step(None, (book,), Step(say="Booked.")), re.compile("2233|2288"))]
    return RuleBrain(rules, default_say="Which number?")


def run_of(url: str, kind: str = "replay", **columns: Any) -> ParityRun:
    """Make a run of an assistant that has one tool, over a connection to ``url``."""
    tool = factories.make_tool(
        name="book",
        parameters={"type": "object", "properties": {"phone": {"type": "string"}}},
    )
    assistant = factories.make_assistant(
        tools=[tool],
        document={
            "model": {
                "model": "gpt-realtime-2.1",
                "messages": [
                    {"role": "system", "content": "Today is {{date}}. {{customer.number}}"}
                ],
            }
        },
    )
    factories.make_connection(is_default=True, realtime_url=url, api_key="sk-standin")
    return factories.make_run(
        assistant, kind=kind, marks={"book": {"phone": "phone"}}, options={"pace": 50}, **columns
    )


def past(text: str = LOGGED, phone: str = "5550102288", **columns: Any) -> Call:
    """Make a call of the old stack: a greeting, one turn of the caller, a booking."""
    call = factories.make_imported_call(started_at=MONDAY, **columns).call
    factories.make_turn(call, ordinal=0, role="assistant", text="Hello.", started_ms=0)
    factories.make_turn(call, ordinal=1, role="user", text=text, started_ms=2_000, ended_ms=2_900)
    factories.make_tool_invocation(
        call, name="book", arguments_json=json.dumps({"phone": phone}), output="GB-1",
        started_ms=3_200,
    )  # fmt: skip
    factories.make_turn(call, ordinal=2, role="assistant", text="Booked.", started_ms=4_000)
    return call


def side(run: ParityRun, call: Call, stack: str = "direct") -> ParityCall:
    """Make one side of the pair of a past call."""
    return factories.make_parity_call(
        run, stack=stack, scenario=str(call.pk), source_call=call, document=None
    )


def recorded(call: Call, said: str = SAID, *, caller_first: bool = True) -> Recording:
    """Store a recording of two channels in which the caller says ``said`` after two seconds."""
    caller = silence(2_000) + encode(said) + silence(1_500)
    agent = silence(len(caller) // 8)
    sides = (caller, agent) if caller_first else (agent, caller)
    data = b"".join(struct.pack("<2h", linear(a), linear(b)) for a, b in zip(*sides, strict=True))
    form = struct.pack("<HHIIHH", 1, 2, 8_000, 32_000, 4, 16)
    body = b"WAVEfmt " + struct.pack("<I", 16) + form + b"data" + struct.pack("<I", len(data))
    sound = b"RIFF" + struct.pack("<I", len(body) + len(data)) + body + data
    return factories.make_recording(call, sound=sound, origin=Recording.Origin.LOG, offset_ms=0)


def test_a_past_call_is_replayed_over_a_socket_and_nothing_else_is_reached() -> None:
    with model(brain) as (book, url, port):
        run, call = run_of(url), past(SAID, "5550102233")
        with connections() as reached:
            result = replay_play(side(run, call))
    assert set(reached) == {("127.0.0.1", port)}
    assert (result.cut, result.extras["problem"]) == (False, "")
    assert [tool.name for tool in result.sequence.tools] == ["book"]
    assert result.sequence.tools[0].result == "GB-1"
    assert result.cost_usd > 0
    (session,) = book.sessions
    # The prompt is that of the day and of the caller then.
    assert "Nov 23" in session.session["instructions"] or "2026" in session.session["instructions"]
    assert call.caller in session.session["instructions"]
    assert session.session["audio"]["input"]["turn_detection"] is None
    assert [each.text for each in result.transcript] == ["Hello.", SAID, "Booked."]


def test_the_old_side_is_the_past_call_itself() -> None:
    run, call = run_of("ws://127.0.0.1:1/v1/realtime"), past()
    result = replay_play(side(run, call, "vapi"))
    assert [tool.name for tool in result.sequence.tools] == ["book"]
    assert result.sequence.stack == "vapi"
    assert [each.text for each in result.transcript] == ["Hello.", LOGGED, "Booked."]
    with pytest.raises(CallRefused, match="made again"):
        replay_play(side(run, call, "again"))


def test_a_misheard_digit_is_listed_with_the_second_at_which_it_is_heard() -> None:
    with model(brain) as (_, url, port):
        run, call = run_of(url, "rehear"), past()
        recorded(call)
        with connections() as reached:
            result = rehear_play(side(run, call))
    assert set(reached) == {("127.0.0.1", port)}
    # Our model booked what was said, the log another number: its answer is not known.
    assert result.cut
    assert (result.extras["cut"], result.extras["agree"]) == ("unknown-result", {"phone": [0, 2]})
    assert sequence_load(result.extras["old"]).tools[0].arguments == {"phone": "5550102288"}
    words, tool = result.extras["differences"]
    assert (words["where"], words["old"], words["new"]) == ("words", "555 010 2288", "555 010 2233")
    assert (tool["where"], tool["old"], tool["new"]) == ("book.phone", "5550102288", "5550102233")
    digits_at = 2.0 + (2 + SAID.index("555")) * 0.02
    assert words["start_seconds"] <= digits_at <= words["end_seconds"]
    assert result.audio_seconds > 0.7
    assert result.audio_key == str(call.pk)


def test_the_wrong_channel_is_noticed() -> None:
    with model(brain) as (_, url, _port):
        run, call = run_of(url, "rehear"), past()
        recorded(call, caller_first=False)
        with connections() as reached, pytest.raises(CallRefused, match="nobody is heard"):
            rehear_play(side(run, call))
    assert reached == []


@pytest.mark.parametrize(
    "columns", [{"consent": "refused"}, {"policy_refused_at": MONDAY}], ids=["log", "call"]
)
def test_no_call_of_a_caller_who_refused_is_played_again(columns: dict[str, Any]) -> None:
    run, call = run_of("ws://127.0.0.1:1/v1/realtime", "rehear"), past(**columns)
    recorded(call)
    for play in (replay_play, rehear_play):
        with connections() as reached, pytest.raises(CallRefused, match="refused"):
            play(side(run, call, "direct") if play is replay_play else run.calls.get())
        assert reached == []
    with pytest.raises(CallRefused, match="refused"):
        replay_play(side(run, call, "vapi"))


@pytest.mark.parametrize("stack", ["vapi", "direct"])
def test_a_caller_who_was_asked_and_has_not_answered_is_not_played_again(stack: str) -> None:
    run, call = run_of("ws://127.0.0.1:1/v1/realtime"), past()
    call.consent = {"state": "pending"}
    call.save()
    with connections() as reached, pytest.raises(CallRefused, match="has not agreed"):
        replay_play(side(run, call, stack))
    assert reached == []


@pytest.mark.parametrize("whose", ["run", "assistant", "past"])
@pytest.mark.parametrize("mark", ["health_data", "eu_data"])
def test_a_marked_number_opens_no_socket_where_its_data_may_not_go(whose: str, mark: str) -> None:
    run = run_of("ws://127.0.0.1:1/v1/realtime")
    columns: dict[str, Any] = {mark: True}
    if whose == "assistant":
        columns["assistant"] = run.assistant
    number = factories.make_number(**columns)
    if whose == "run":
        run.number = number
    call = past(number=number) if whose == "past" else past()
    with connections() as reached, pytest.raises(CallRefused, match="data"):
        replay_play(side(run, call))
    assert reached == []


def test_a_connection_whose_contract_allows_it_is_used() -> None:
    run = run_of("ws://127.0.0.1:1/v1/realtime")
    number = factories.make_number(health_data=True)
    connection = factories.make_connection(
        baa_signed_by="N", baa_signed_on=MONDAY.date(), zero_retention=True
    )
    number.connection = connection
    number.save()
    run.number = number
    assert connection_of(run) == connection
    assert past_call_check(past(number=number), connection) is not None


def test_without_a_recording_or_times_a_call_is_not_heard_again() -> None:
    run = run_of("ws://127.0.0.1:1/v1/realtime", "rehear")
    with pytest.raises(CallRefused, match="recording is not here"):
        rehear_play(side(run, past()))
    untimed = past(has_times=False)
    recorded(untimed)
    with pytest.raises(CallRefused, match="no times"):
        rehear_play(side(run, untimed))


def test_a_model_that_is_away_costs_another_try_not_a_verdict() -> None:
    with model(brain, RealtimeProfile(upgrade_status=503)) as (_, url, _port):
        run, call = run_of(url), past()
        with pytest.raises(CallLost, match="503"):
            replay_play(side(run, call))


def test_both_kinds_are_played_here() -> None:
    assert runner_of("replay") is not None
    assert runner_of("rehear") is not None


@pytest.mark.parametrize("play", [replay_play, rehear_play])
def test_no_tool_url_is_reached_not_even_where_the_model_redirects_to_it(play: Any) -> None:
    with listening() as (tool_port, asked):
        # A name, so that looking it up is seen as well.
        hook = f"http://localhost:{tool_port}/hook"
        with listening(redirect_to(hook.replace("http", "ws"))) as (port, of_model):
            run, call = run_of(f"ws://127.0.0.1:{port}/v1/realtime"), past(SAID, "5550102233")
            Tool.objects.update(server_url=hook, server_url_host="localhost")
            recorded(call)
            pair = side(run, call)
            with connections() as reached, pytest.raises(CallLost):
                play(pair)
        assert len(of_model) == 1 and asked == []
        assert set(reached) == {("127.0.0.1", port)}

        document = {"type": "mcp", "function": {"name": "crm"}, "server": {"url": hook}}
        crm = tool_store(organisation=run.organisation, document=document, actor="test")
        run.revision.tools.add(crm, through_defaults={"position": 1})
        with model(brain) as (book, url, port):
            ProviderConnection.objects.update(realtime_url=url)
            with connections() as reached:
                result = play(ParityCall.objects.get(pk=pair.pk))
        assert [each.name for each in result.sequence.tools] == ["book"] and asked == []
        assert set(reached) == {("127.0.0.1", port)}
        # Nor does the model reach it for us: of an MCP server it is told nothing.
        assert hook not in json.dumps(book.sessions[0].session)


def test_what_plays_a_call_again_reaches_no_dispatcher_of_tools() -> None:
    paths = [*(ROOT / "calls" / "parity").glob("*.py"), ROOT / "calls/media/replaying.py"]
    paths.append(ROOT / "calls/services/replay_runs.py")
    tree = SourceTree.of({p.relative_to(ROOT).as_posix(): p.read_text("utf-8") for p in paths})
    named = {found.target for source in tree.sources.values() for found in source.imports}
    assert "calls.media.realtime_client.dial" in named
    assert not [
        name
        for name in named
        if name.startswith(("tools.dispatch", "tools.exchange", "voiceplatform.base.http"))
        or re.search(r"tool_(run|posts|try|kinds|replay)", name)
    ]
