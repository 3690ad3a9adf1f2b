"""Conversations in which something breaks: the model, its socket, the carrier, the budget. The
caller hears an apology or nothing wrong at all, and the end is told once.
"""

from __future__ import annotations

import re
from typing import Any

import pytest

from calls.bridge.effects import CloseStream, HangUp
from calls.bridge.plan import Greeting, HistoryItem, Limits
from calls.bridge.reasons import EndCause
from calls.money.rates import ModelPrice
from calls.standins.caller import hang_up, say, say_over
from calls.standins.realtime_brain import CallTool, Rule, Step
from calls.standins.realtime_profile import RealtimeProfile
from calls.standins.twilio_media import MediaProfile
from tests.sound_call import assert_sound
from tests.virtual_call import Latency, PatientBrain, Result, VirtualCall, clip, evenly, plan_of

pytestmark = pytest.mark.unit

GREETING, APOLOGY = "Good morning.", "Sorry, something went wrong."
LATENCIES = [evenly(0), evenly(20), evenly(150)]
slow_and_fast = pytest.mark.parametrize("latency", LATENCIES, ids=["0", "20", "150"])
HELLO = [say("Hello there."), hang_up(wait="heard", pattern=re.compile("said"), timeout_ms=40_000)]
WAITS = [say("Hello there."), hang_up(wait="ms", wait_ms=60_000, timeout_ms=90_000)]


def hello(profile: RealtimeProfile, latency: Latency = LATENCIES[0], **plan: Any) -> VirtualCall:
    """Run a short call against a model with a defect."""
    return VirtualCall(plan_of(**plan), HELLO, latency=latency, realtime=profile).run()


def steps(call: VirtualCall) -> list[str]:
    """Return the closes and hang-ups that the bridge asked for."""
    return [
        f"close {each.next_step} {each.code}" if isinstance(each, CloseStream) else "hang up"
        for each in call.effects
        if isinstance(each, CloseStream | HangUp)
    ]


@slow_and_fast
@pytest.mark.parametrize("index", [0, 1], ids=["greeting", "answer"])
@pytest.mark.parametrize(
    "defect",
    [
        {"fail_response": "server_error"},
        {"fail_response": "rate_limit"},
        {"stall_after_created": True},
        {"done_without_created": True},
    ],
    ids=lambda defect: next(iter(defect)) + str(next(iter(defect.values()))),
)
def test_one_faulty_response_is_made_again(
    defect: dict[str, Any], index: int, latency: Latency
) -> None:
    profile = RealtimeProfile(first_faulty_response=index, faulty_responses=1, **defect)
    call = hello(profile, latency, greeting=Greeting("exact", GREETING))
    assert_sound(call)
    assert call.end.ended_reason == "customer-ended-call"
    assert call.caller.heard_texts[0] == GREETING
    assert call.caller.heard_texts[-1].startswith("You said") or index
    assert call.part.bridge.counters["retries"] == 1


@slow_and_fast
@pytest.mark.parametrize(
    ("defect", "reason"),
    [
        ({"fail_response": "server_error"}, EndCause.MODEL_SERVER),
        ({"fail_response": "rate_limit"}, EndCause.MODEL_RATE),
        ({"fail_response": "quota"}, EndCause.MODEL_QUOTA),
        ({"stall_after_created": True}, EndCause.MODEL_FAILED),
    ],
    ids=lambda value: str(value),
)
def test_a_model_that_keeps_failing_ends_in_a_heard_apology(
    defect: dict[str, Any], reason: EndCause, latency: Latency
) -> None:
    call = VirtualCall(
        plan_of(), WAITS, latency=latency, realtime=RealtimeProfile(**defect), until_ms=90_000
    ).run()
    assert_sound(call, words_in=False)
    assert call.caller.heard_texts[-1] == APOLOGY
    assert call.caller.heard[-1].complete
    assert (call.end.ended_reason, call.end.call_over) == (reason.ended_reason, True)
    assert steps(call) == ["hang up"]


def test_stall_after_commit_is_answered_by_our_own_request() -> None:
    call = hello(RealtimeProfile(stall_after_commit=True))
    assert_sound(call)
    assert call.caller.heard_texts == [GREETING, "You said: Hello there."]
    assert call.part.bridge.counters["dead_air"] == 1


@slow_and_fast
@pytest.mark.parametrize("code", [1006, 1011])
def test_o18_a_lost_socket_is_replaced_inside_the_stream(code: int, latency: Latency) -> None:
    broken = RealtimeProfile(close_mid_response=code, first_faulty_response=1)
    call = VirtualCall(
        plan_of(), HELLO, latency=latency, realtime=broken, sessions=[RealtimeProfile()]
    ).run()
    assert_sound(call, words_in=False, words_out=False)
    assert steps(call) == []
    assert call.end.ended_reason == "customer-ended-call"
    assert len(call.models) == 2


@slow_and_fast
def test_a_resumed_call_goes_on_where_it_stopped(latency: Latency) -> None:
    history = (HistoryItem("assistant", "Good"), HistoryItem("user", "My name is Ada."))
    plan = plan_of(
        resumed=True,
        history=history,
        first_ordinal=4,
        elapsed_ms=9000,
        greeting=Greeting("exact", GREETING),
    )
    call = VirtualCall(plan, [say("Are you there?"), hang_up()], latency=latency).run()
    assert_sound(call)
    assert GREETING not in call.caller.heard_texts
    seeds = [event["item"] for event in call.sent("conversation.item.create")]
    assert [(seed["role"], seed["content"][0]["text"]) for seed in seeds] == [
        ("assistant", "Good"), ("user", "My name is Ada."),
    ]  # fmt: skip
    first = call.sent("response.create")[0]["response"]
    assert first["metadata"] == {"purpose": "resume"}
    assert first["instructions"].startswith("You answer the phone.")
    assert call.turns[0].ordinal == 4
    assert call.turns[0].started_ms >= 9000
    assert call.end.ended_reason == "customer-ended-call"


@slow_and_fast
def test_a_policy_line_that_was_cut_off_is_played_again_before_the_model_speaks(
    latency: Latency,
) -> None:
    plan = plan_of(
        resumed=True, history=(HistoryItem("user", "Hello?"),), policy_line=clip("Recorded.")
    )
    call = VirtualCall(plan, [say("Are you there?"), hang_up()], latency=latency).run()
    assert_sound(call)
    assert call.policy_line_heard
    assert call.caller.heard_texts[0] == "Recorded."
    assert len(call.caller.heard_texts) > 1
    first = call.sent("response.create")[0]["response"]
    assert first["metadata"] == {"purpose": "resume"}


@pytest.mark.parametrize(
    ("defect", "reason"),
    [
        ({"reject_update": True}, EndCause.CONFIG_REJECTED),
        ({"api_keys": ("other",)}, EndCause.MODEL_KEY),
        ({"upgrade_status": 403}, EndCause.MODEL_KEY),
        ({"upgrade_status": 404}, EndCause.MODEL_FAILED),
    ],
    ids=str,
)
def test_a_call_that_can_never_start_apologises_at_once(
    defect: dict[str, Any], reason: EndCause
) -> None:
    call = VirtualCall(plan_of(), WAITS, realtime=RealtimeProfile(**defect)).run()
    assert_sound(call, words_in=False, errors={"unknown_parameter", "invalid_api_key"})
    assert call.caller.heard_texts == [APOLOGY]
    assert call.end.ended_reason == reason.ended_reason
    assert call.ended_at_ms < 2000


@pytest.mark.parametrize(
    "defect", [{"upgrade_status": 500}, {"never_created": True}, {"never_updated": True}], ids=str
)
def test_a_model_that_cannot_be_reached_is_given_up_after_eight_seconds_with_an_apology(
    defect: dict[str, Any],
) -> None:
    call = VirtualCall(plan_of(), WAITS, realtime=RealtimeProfile(**defect)).run()
    assert_sound(call, words_in=False)
    assert steps(call) == ["hang up"]
    assert call.caller.heard_texts[-1] == APOLOGY
    assert call.ended_at_ms < 11_000
    assert call.part.bridge.counters["hold_tones"] >= 2  # never silence


@pytest.mark.parametrize("junk", ["json", "unknown_event", "binary"])
def test_junk_of_the_model_changes_nothing(junk: Any) -> None:
    call = hello(RealtimeProfile(junk=junk, late_deltas_after_cancel=3))
    assert_sound(call)
    assert call.caller.heard_texts == [GREETING, "You said: Hello there."]


@slow_and_fast
def test_t11_o10_late_deltas_of_a_cancelled_response_are_not_played(latency: Latency) -> None:
    story = Rule(Step(say="Once upon a time " * 12), re.compile("story"))
    script = [
        say("A story."),
        say_over("Stop.", 400),
        hang_up(wait="heard", pattern=re.compile("S")),
    ]
    profile = RealtimeProfile(late_deltas_after_cancel=4, burst_factor=1.5)
    call = VirtualCall(plan_of(), script, PatientBrain([story]), latency=latency, realtime=profile)
    assert_sound(call.run())
    assert call.part.bridge.counters["late_bytes"] >= 4 * 800
    assert "cancelled" in call.statuses
    assert len(call.sent("response.cancel")) == 0


@slow_and_fast
@pytest.mark.parametrize("over_ms", range(20, 740, 120))
def test_barge_in_at_any_moment_of_an_answer_in_two_items(over_ms: int, latency: Latency) -> None:
    """Memory and transcript never hold more than was heard, wherever the cut falls."""
    step = Step(
        say="First I say this.", tools=(CallTool("look", "{}"),), then=Step(say="Found it.")
    )
    brain = PatientBrain([Rule(step, re.compile("look")), Rule(Step(say="Yes?"))])
    script = [say("Go look."), say_over("Wait.", over_ms), hang_up(wait="silence_ms", wait_ms=4000)]
    call = VirtualCall(plan_of("look"), script, brain, {"look": Result("x", 100)}, latency).run()
    assert_sound(call)
    assert call.end.ended_reason == "customer-ended-call"


@slow_and_fast
def test_goodbye_interrupted_by_the_caller_keeps_the_call(latency: Latency) -> None:
    bye = Step(say="Goodbye and have a very nice day.", tools=(CallTool("endCall", "{}"),))
    brain = PatientBrain([Rule(bye, re.compile("Thanks"))])
    script = [
        say("Thanks."),
        say_over("One more thing.", 300),
        hang_up(wait="heard", pattern=re.compile("said: One")),
    ]
    call = VirtualCall(plan_of("endCall"), script, brain, latency=latency).run()
    assert_sound(call)
    assert call.end.ended_reason == "customer-ended-call"
    assert steps(call) == []


@slow_and_fast
def test_end_call_without_words_says_the_message_verbatim(latency: Latency) -> None:
    brain = PatientBrain([Rule(Step(tools=(CallTool("endCall", "{}"),)), re.compile("Bye"))])
    plan = plan_of("endCall", end_call_message='So long, "friend".')
    call = VirtualCall(plan, [say("Bye.")], brain, latency=latency).run()
    assert_sound(call)
    assert call.caller.heard_texts[-1] == 'So long, "friend".'
    assert call.end.ended_reason == "assistant-ended-call-after-message-spoken"


@pytest.mark.parametrize("over_ms", range(0, 1500, 150))
@slow_and_fast
def test_caller_speaks_around_the_end_of_the_call(over_ms: int, latency: Latency) -> None:
    """Either the goodbye is heard and the call ends, or the caller has taken it back."""
    brain = PatientBrain([Rule(Step(tools=(CallTool("endCall", "{}"),)), re.compile("Bye"))])
    plan = plan_of("endCall", end_call_message="So long.")
    script = [
        say("Bye."),
        say("Hold on.", wait="ms", wait_ms=over_ms),
        hang_up(wait="silence_ms", wait_ms=4000),
    ]
    call = VirtualCall(plan, script, brain, latency=latency).run()
    assert_sound(call, words_in=False)
    if call.end.ended_reason == "customer-ended-call":
        assert call.caller.heard_texts[-1] == "You said: Hold on."
    else:
        assert call.caller.heard_texts[-1] == "So long."


def test_ceiling_on_tool_calls_refuses_then_ends() -> None:
    again = Step(tools=(CallTool("look", "{}"),))
    brain = PatientBrain([Rule(Step(tools=again.tools, then=again), re.compile("look"))])
    looping = Step(tools=again.tools)
    for _ in range(12):
        looping = Step(tools=again.tools, then=looping)
    brain = PatientBrain([Rule(looping, re.compile("look"))])
    plan = plan_of("look", limits=Limits(max_tool_calls=3))
    call = VirtualCall(
        plan, [say("look"), hang_up(wait="ms", wait_ms=30_000)], brain, {"look": Result("x")}
    )
    assert_sound(call.run())
    assert call.tool_records == [("look", "ok")] * 3 + [("look", "refused")] * 3
    assert call.end.ended_reason == EndCause.CEILING.ended_reason
    assert call.end.metrics["notes"]["ceiling"] == "tool_calls"


def test_ceiling_on_spend_ends_after_what_is_being_said() -> None:
    price = ModelPrice("2026-01-01", 4, 4, 24, 32, 32, 64)
    plan = plan_of(limits=Limits(max_spend_microusd=600), price=price)
    call = VirtualCall(plan, [say("Talk to me."), hang_up(wait="ms", wait_ms=30_000)]).run()
    assert_sound(call)
    assert call.end.metrics["notes"]["ceiling"] == "spend"
    assert all(heard.complete for heard in call.caller.heard)


def test_t22_lost_carrier_socket_without_stop_leaves_the_call_open() -> None:
    call = VirtualCall(plan_of(), HELLO, media=MediaProfile(close_without_stop=True)).run()
    assert_sound(call, words_out=False)
    assert not call.end.call_over
    assert call.end.ended_reason == "phone-call-provider-closed-websocket"


@pytest.mark.parametrize(
    "media",
    [
        MediaProfile(stop_at_once=True),
        MediaProfile(stop_twice=True),
        MediaProfile(duplicate_start=True),
        MediaProfile(reordered_keys=True),
        MediaProfile(late_mark_ms=300),
        MediaProfile(frame_bytes=80),
        MediaProfile(frame_bytes=320),
        MediaProfile(pause_reading=(1000, 900)),
    ],
    ids=lambda media: str(
        [k for k in media.__slots__ if getattr(media, k) != getattr(MediaProfile(), k)]
    ),
)
def test_odd_but_legal_streams_end_once(media: MediaProfile) -> None:
    call = VirtualCall(plan_of(), HELLO, media=media).run()
    assert_sound(call, words_out=not media.stop_at_once)
    assert (call.end.ended_reason, call.end.call_over) == ("customer-ended-call", True)


def test_hang_up_that_the_carrier_ignores_closes_the_stream() -> None:
    call = VirtualCall(plan_of(), WAITS, commands=[(3000, "end", (EndCause.OPERATOR_ENDED,))])
    call.rest_works = False
    assert_sound(call.run(), words_in=False, words_out=False)
    assert steps(call) == ["hang up", "close hangup 1000"]
    assert (call.end.ended_reason, call.end.call_over) == ("manually-canceled", True)
    assert call.ended_at_ms == 8000


def test_shut_down_hands_the_call_to_the_next_process() -> None:
    call = VirtualCall(plan_of(), WAITS, commands=[(3000, "shut_down", ())]).run()
    assert_sound(call, words_in=False, words_out=False)
    assert steps(call) == ["close resume 1000"]
    assert (call.end.ended_reason, call.end.call_over) == ("worker-shutdown", False)


@pytest.mark.parametrize("dial_ms", [0, 500, 2500, 7900, 8100])
def test_t18a_words_said_before_the_model_is_there_are_not_lost(dial_ms: int) -> None:
    plan = plan_of(greeting=Greeting("wait"))
    script = [say("Anybody?", wait="ms", wait_ms=100), hang_up(timeout_ms=20_000)]
    call = VirtualCall(plan, script, dial_ms=dial_ms).run()
    if dial_ms < 8000:
        assert_sound(call)
        assert call.caller.heard_texts == ["You said: Anybody?"]
    else:
        assert call.caller.heard_texts == [APOLOGY]


@slow_and_fast
def test_a_tool_that_never_answers_is_told_as_a_timeout(latency: Latency) -> None:
    brain = PatientBrain(
        [Rule(Step(tools=(CallTool("look", "{}"),), then=Step(say="{output}")), re.compile("look"))]
    )
    watch = plan_of().watchdog
    plan = plan_of("look", watchdog=type(watch)(tool_ms=2000))
    call = VirtualCall(plan, [say("look"), hang_up()], brain, latency=latency).run()
    assert_sound(call)
    assert call.caller.heard_texts[-1] == "The tool did not answer in time."
    assert call.tool_records == [("look", "timeout")]


@pytest.mark.parametrize("dialect", ["azure_ga", "beta"])
def test_other_dialects_hold_the_same_conversation(dialect: Any) -> None:
    brain = PatientBrain(
        [Rule(Step(tools=(CallTool("look", "{}"),), then=Step(say="{output}")), re.compile("look"))]
    )
    plan = plan_of(
        "look", dialect=dialect, policy_line=clip("Recorded."), greeting=Greeting("exact", GREETING)
    )
    script = [say("look"), say_over("Stop.", 200), hang_up()]
    call = VirtualCall(
        plan, script, brain, {"look": Result("It lies under the table.")},
        realtime=RealtimeProfile(dialect=dialect),
    )  # fmt: skip
    assert_sound(call.run())
    assert call.caller.heard_texts[:2] == ["Recorded.", GREETING]
    assert call.caller.heard_texts[-1] == "You said: Stop."
