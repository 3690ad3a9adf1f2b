"""Failures as a scenario file writes them (docs/standins.md), and what the caller makes of them."""

from __future__ import annotations

import json
from typing import Any

import pytest
import yaml

from calls.bridge.person_plan import PersonPlan
from calls.bridge.plan import Filler, Greeting, Watchdog
from calls.bridge.reasons import EndCause
from calls.standins.scenario import parse_scenario
from tests.sound_call import assert_sound
from tests.unit.bridge.line import Line, assert_sent, function_call, quiet_plan
from tests.virtual_call import PatientBrain, VirtualCall, clip, evenly, plan_of

pytestmark = pytest.mark.unit

GREETING, APOLOGY = "Good morning.", "Sorry, something went wrong."
HELLO = """
caller:
  - say: "Hello there."
  - hang_up: {heard: "said"}
    timeout_ms: 20000
"""
WAITS = """
caller:
  - say: "Hello there."
  - hang_up: {ms: 40000}
    timeout_ms: 60000
"""
STORY = """
caller:
  - say: "A story."
  - say: "Stop."
    barge_in: {after_ms_of_agent_audio: 1700}
  - hang_up: {heard: "said"}
brain:
  rules:
    - when: story
      say: >-
        Once upon a time once upon a time once upon a time once upon a time once upon a time
        once upon a time and so on.
"""


def played(*parts: str, sessions_are_well: bool = True, **plan: Any) -> VirtualCall:
    """Play a scenario made of YAML parts in virtual time."""
    document: dict[str, Any] = {}
    for part in parts:
        document |= yaml.safe_load(part)
    scenario = parse_scenario(document)
    fields = {"greeting": Greeting("exact", GREETING), **plan}
    return VirtualCall(
        plan_of(**fields),
        scenario.caller,
        PatientBrain(list(scenario.rules), scenario.default_say, scenario.greeting),
        latency=evenly(20),
        realtime=scenario.realtime,
        sessions=scenario.sessions,
        media=scenario.media,
        until_ms=90_000,
    ).run()


def codes(call: VirtualCall) -> set[Any]:
    """Return the codes of every error that the model sent."""
    return {error["code"] for model in call.models for error in model.errors}


def texts(call: VirtualCall) -> list[str]:
    """Return what the model's conversation holds of the assistant."""
    return [item.text for item in call.model.conversation.items if item.role == "assistant"]


# -- text where audio was asked for (trap O30) --------------------------------------------------


@pytest.mark.parametrize("index", [0, 1], ids=["greeting", "answer"])
def test_o30_an_answer_in_text_is_asked_for_again_in_audio(index: int) -> None:
    faulty = f"{{text_only: true, first_faulty_response: {index}, faulty_responses: 1}}"
    call = played(HELLO, f"profile: {{realtime: {faulty}}}")
    assert_sound(call)
    assert call.caller.heard_texts == [GREETING, "You said: Hello there."]
    assert call.ended_at_ms < 5_000
    # What nobody has heard is not in the model's memory either.
    assert texts(call) == call.caller.heard_texts


def test_o30_a_model_that_only_writes_ends_in_a_heard_apology() -> None:
    call = played(WAITS, "profile: {realtime: {text_only: true, first_faulty_response: 1}}")
    assert_sound(call, words_in=False)
    assert call.caller.heard_texts == [GREETING, APOLOGY]
    assert call.end.ended_reason == EndCause.MODEL_FAILED.ended_reason
    assert call.ended_at_ms < 6_000


# -- a response that never ends (7.3) -----------------------------------------------------------


def test_a_response_that_falls_silent_is_asked_for_once_more() -> None:
    stalls = "{stall_mid_response: true, first_faulty_response: 1, faulty_responses: 1}"
    story = "brain: {rules: [{say: 'It was said to be so long that nobody ever heard the end.'}]}"
    call = played(HELLO.replace("said", "the end"), story, f"profile: {{realtime: {stalls}}}")
    assert_sound(call, words_out=False)
    assert call.caller.heard_texts[-1].endswith("nobody ever heard the end.")
    assert call.part.bridge.counters["dead_air"] == 1


def test_a_model_whose_responses_never_end_is_not_asked_for_ever() -> None:
    """What was heard of a response that fell silent gives no patience back."""
    call = played(
        WAITS, "profile: {realtime: {stall_mid_response: true, first_faulty_response: 1}}"
    )
    assert_sound(call, words_in=False, words_out=False)
    assert call.caller.heard_texts[-1] == APOLOGY
    assert call.part.bridge.counters["retries"] == 1
    assert call.end.ended_reason == EndCause.MODEL_FAILED.ended_reason


# -- truncation that is refused (5.2, 7.1; trap O10) --------------------------------------------


def test_o10_a_truncate_beyond_the_server_s_count_is_sent_again_within_it() -> None:
    call = played(STORY, "profile: {realtime: {counts_ms_less: 600}}")
    assert_sound(call, errors={"invalid_value"})
    [taken] = call.model.truncations
    refused, again = call.sent("conversation.item.truncate")
    assert refused["audio_end_ms"] > again["audio_end_ms"] == taken.audio_end_ms
    assert taken.audio_end_ms == taken.had_ms - 600
    assert "" in texts(call)  # the model no longer believes that it said everything


def test_o11_an_item_without_audio_at_the_server_is_deleted_instead() -> None:
    refusal = "{refuse_event: conversation.item.truncate, refuse_code: unsupported_content_type}"
    call = played(STORY, f"profile: {{realtime: {refusal}}}")
    assert_sound(call, errors={"unsupported_content_type"})
    [refused] = call.sent("conversation.item.truncate")
    [deleted] = call.sent("conversation.item.delete")
    assert deleted["item_id"] == refused["item_id"]


def test_a_truncate_of_an_item_that_is_gone_is_harmless() -> None:
    refusal = (
        "{refuse_event: conversation.item.truncate, refuse_code: item_truncate_invalid_item_id}"
    )
    call = played(STORY, f"profile: {{realtime: {refusal}}}")
    assert_sound(call, errors={"item_truncate_invalid_item_id"})
    assert len(call.sent("conversation.item.truncate")) == 1
    assert call.caller.heard_texts[-1] == "You said: Stop."


# -- errors and refusals (7.1) ------------------------------------------------------------------


@pytest.mark.parametrize(
    ("code", "point"),
    [
        ("server_error", "committed"),
        ("server_error", "audio"),
        ("rate_limit_exceeded", "response_created"),
        ("invalid_tool_call_id", "response_done"),
        ("something_new", "committed"),
        ("something_new", "audio"),
    ],
)
def test_an_error_that_concerns_no_event_of_ours_changes_nothing(code: str, point: str) -> None:
    call = played(HELLO, f"profile: {{realtime: {{error_code: {code}, error_at: {point}}}}}")
    assert_sound(call, errors=codes(call))
    assert call.caller.heard_texts == [GREETING, "You said: Hello there."]
    assert len(call.models) == 1


@pytest.mark.parametrize(
    ("code", "cause", "point", "close"),
    [
        ("insufficient_quota", EndCause.MODEL_QUOTA, "committed", "null"),
        ("insufficient_quota", EndCause.MODEL_QUOTA, "audio", "4000"),
        ("billing_hard_limit_reached", EndCause.MODEL_QUOTA, "response_created", "4000"),
        ("account_deactivated", EndCause.MODEL_KEY, "response_done", "null"),
        ("account_deactivated", EndCause.MODEL_KEY, "audio", "null"),
    ],
)
def test_what_never_heals_ends_in_an_apology_and_no_new_socket(
    code: str, cause: EndCause, point: str, close: str
) -> None:
    fault = f"error_code: {code}, error_at: {point}, error_close: {close}"
    call = played(WAITS, f"profile: {{realtime: {{{fault}}}, sessions: [{{}}]}}")
    assert_sound(call, words_in=False, words_out=False, errors={code})
    assert call.caller.heard_texts[-1] == APOLOGY
    assert call.end.ended_reason == cause.ended_reason
    assert len(call.models) == 1


@pytest.mark.parametrize(
    ("code", "cause"),
    [
        ("account_deactivated", EndCause.MODEL_KEY),
        ("billing_hard_limit_reached", EndCause.MODEL_QUOTA),
        ("model_not_found", EndCause.CONFIG_REJECTED),
        ("missing_model", EndCause.CONFIG_REJECTED),
        ("something_new", EndCause.MODEL_FAILED),
    ],
)
def test_o19_a_fatal_error_after_the_upgrade_is_told_at_once(code: str, cause: EndCause) -> None:
    call = played(WAITS, f"profile: {{realtime: {{connect_error: {code}}}}}")
    assert_sound(call, words_in=False, errors={code})
    assert call.caller.heard_texts == [APOLOGY]
    assert (call.end.ended_reason, call.ended_at_ms < 2_000) == (cause.ended_reason, True)


@pytest.mark.parametrize("code", ["server_error", "rate_limit_exceeded"])
def test_a_configuration_that_meets_the_server_s_own_trouble_is_sent_to_another_session(
    code: str,
) -> None:
    refusal = f"refuse_event: session.update, refuse_code: {code}"
    call = played(HELLO, f"profile: {{realtime: {{{refusal}}}, sessions: [{{}}]}}")
    assert_sound(call, words_in=False, errors=codes(call))
    assert call.caller.heard_texts == [GREETING, "You said: Hello there."]
    assert call.ended_at_ms < 5_000
    assert call.models[0].closed


@pytest.mark.parametrize(
    ("code", "cause"),
    [
        ("invalid_type", EndCause.CONFIG_REJECTED),
        ("missing_required_parameter", EndCause.CONFIG_REJECTED),
        ("insufficient_quota", EndCause.MODEL_QUOTA),
    ],
)
def test_a_configuration_that_is_refused_for_good_says_why(code: str, cause: EndCause) -> None:
    refusal = f"refuse_event: session.update, refuse_code: {code}"
    call = played(WAITS, f"profile: {{realtime: {{{refusal}}}, sessions: [{{}}]}}")
    assert_sound(call, words_in=False, errors={code})
    assert call.caller.heard_texts == [APOLOGY]
    assert call.end.ended_reason == cause.ended_reason
    assert len(call.models) == 1


@pytest.mark.parametrize(("code", "close"), [("server_error", 1011), ("session_expired", 1001)])
def test_an_error_with_a_close_behind_it_costs_a_socket_and_no_word(code: str, close: int) -> None:
    fault = f"{{error_code: {code}, error_after: 1, error_close: {close}}}"
    call = played(HELLO, f"profile: {{realtime: {fault}, sessions: [{{}}]}}")
    assert_sound(call, words_in=False, words_out=False, errors=codes(call))
    assert call.caller.heard_texts == [GREETING, "You said: Hello there."]
    assert len(call.models) == 2
    assert call.end.ended_reason == "customer-ended-call"


def test_a_refused_request_waits_as_long_as_a_rate_limit_says() -> None:
    refusal = "refuse_event: response.create, refuse_code: rate_limit_exceeded, refuse_times: 2"
    call = played(HELLO, f"profile: {{realtime: {{{refusal}, retry_in_ms: 1200}}}}")
    assert_sound(call, errors={"rate_limit_exceeded"})
    assert call.caller.heard_texts == [GREETING, "You said: Hello there."]
    heard = [moment.at_ms for moment in call.caller.timeline if moment.kind == "heard"]
    assert heard[0] >= 2 * 1200


def test_o15_a_slot_that_is_always_taken_ends_in_a_heard_apology() -> None:
    lost = "conversation_already_has_active_response"
    refusal = f"refuse_event: response.create, refuse_code: {lost}, refuse_times: null"
    call = played(WAITS, f"profile: {{realtime: {{{refusal}}}}}")
    assert_sound(call, words_in=False)
    assert call.caller.heard_texts == [APOLOGY]
    assert call.end.ended_reason == EndCause.MODEL_FAILED.ended_reason
    assert call.ended_at_ms < 2 * call.plan.watchdog.stall_ms + 2_000


def test_o15_a_race_for_the_slot_that_is_lost_once_costs_no_word() -> None:
    lost = "conversation_already_has_active_response"
    call = played(
        HELLO, f"profile: {{realtime: {{refuse_event: response.create, refuse_code: {lost}}}}}"
    )
    assert_sound(call)
    assert call.caller.heard_texts == [GREETING, "You said: Hello there."]


@pytest.mark.parametrize(
    ("failure", "details"), [("server_error", "text"), ("rate_limit", "missing"), ("quota", "text")]
)
def test_a_failure_that_is_told_as_old_servers_did_is_made_again(
    failure: str, details: str
) -> None:
    fault = f"fail_response: {failure}, first_faulty_response: 1, faulty_responses: 1"
    call = played(HELLO, f"profile: {{realtime: {{{fault}, status_details: {details}}}}}")
    told = [each for each in call.faults if "status_details" in each]
    assert len(told) == (details == "text")  # the one thing that the official types refuse
    call.faults.clear()
    assert_sound(call)
    assert call.caller.heard_texts == [GREETING, "You said: Hello there."]


def test_nothing_left_of_a_rate_limit_delays_only_what_is_asked_again() -> None:
    spent = "tokens_remaining: 0, tokens_reset_seconds: 2.5"
    call = played(HELLO, f"profile: {{realtime: {{{spent}}}}}")
    assert_sound(call)
    well_ms = call.ended_at_ms
    fault = "fail_response: rate_limit, first_faulty_response: 1, faulty_responses: 1"
    call = played(HELLO, f"profile: {{realtime: {{{spent}, {fault}}}}}")
    assert_sound(call)
    assert call.ended_at_ms > well_ms + 1_000


# -- the carrier --------------------------------------------------------------------------------


@pytest.mark.parametrize("step", ['rest_twiml: "<Response/>"', "rest_completed: true"])
def test_a_rest_update_during_playback_ends_the_stream_and_keeps_what_was_heard(step: str) -> None:
    call = played(
        f"caller: [{{say: 'A story.'}}, {{{step}, barge_in: {{after_ms_of_agent_audio: 900}}}}]",
        "brain: {rules: [{say: 'Once upon a time once upon a time once upon a time.'}]}",
    )
    assert_sound(call)
    [_, story] = [turn for turn in call.turns if turn.role == "assistant"]
    assert story.interrupted
    assert 0 < len(story.text) < len("Once upon a time once upon a time once upon a time.")
    assert (call.caller.ended_by, call.end.call_over) == ("rest", True)


def test_t22_a_line_that_is_cut_leaves_the_call_to_the_next_stream() -> None:
    call = played(WAITS, "profile: {media: {drop_after_ms: 1400}}")
    assert_sound(call, words_out=False)
    assert (call.end.ended_reason, call.end.call_over) == (
        "phone-call-provider-closed-websocket",
        False,
    )


# -- by hand ------------------------------------------------------------------------------------


def breaks_off(line: Line, number: int) -> Line:
    """A response of which something was heard falls silent and is given up."""
    line.created(f"r{number}").audio(100, f"a{number}", f"r{number}").audio_done(
        f"a{number}", f"r{number}"
    )
    line.after(100).mark(f"g1:{number}")
    return line.tick(line.plan.watchdog.stall_ms)


def test_a_response_that_ended_gives_patience_with_the_next_that_breaks_off() -> None:
    line = breaks_off(Line(quiet_plan(apology=None)).ready(), 1)
    assert_sent(line, realtime=["cancel r1", "create retry"])
    line.says(100, "a2", "r2").after(100).mark("g1:2")
    line.look()
    assert_sent(breaks_off(line, 3), realtime=["cancel r3", "create retry"])
    assert_sent(breaks_off(line, 4), realtime=["cancel r4"])  # the second in a row


def test_o30_text_beside_a_tool_call_is_left_to_what_follows_the_tool() -> None:
    line = Line(quiet_plan("look")).ready().created()
    text = {"type": "message", "id": "m1", "content": [{"type": "output_text", "text": "Hm."}]}
    line.done(output=[text, function_call("look", "c1")])
    assert_sent(line, realtime=[])
    assert_sent(line.tool(), realtime=["output c1", "create tool"])
    assert "retries" not in line.bridge.counters


def test_no_filler_is_heard_in_the_answer_that_it_has_waited_for() -> None:
    """The first sound of an answer ends the wait: its own filler and every further one."""
    line = Line(quiet_plan(filler=Filler(clip("Hm.", 1600), 1_000))).ready().turn()
    line.tick(1_000)
    assert_sent(line, twilio=["media 200", "mark g1:1", "media 180", "mark g1:2"])
    line.after(260).mark("g1:1").mark("g1:2").created()
    line.after(1_500).audio(200)
    due_ms = line.bridge.next_deadline_ms()
    assert due_ms is not None
    assert due_ms > line.now_ms
    line.tick()
    assert_sent(line, twilio=["media 200", "mark g1:3"])


def test_an_emergency_said_over_a_holding_tone_does_not_cost_the_greeting() -> None:
    words = PersonPlan(
        emergency_words=("help",), on_emergency="notice", emergency_notice="Dial 911."
    )
    line = Line(plan_of(person=words, greeting=Greeting("exact", GREETING)))
    line.dialled().streaming().tick(2_000)
    assert line.look()[0]  # the tone
    line.updated().created()
    line.realtime(
        "conversation.item.input_audio_transcription.completed",
        item_id="u1",
        content_index=0,
        transcript="help",
    )
    assert_sent(line, twilio=[], realtime=["create greeting"])
    line.audio(300).audio_done().done()
    assert_sent(line, realtime=["create notice"])


def test_a_tick_that_brings_another_session_leaves_no_filler_overdue() -> None:
    """The lost session owed the answer; now only the tool does, and has for a while."""
    watch = Watchdog(session_ms=1_000, session_hard_ms=4_000)
    line = Line(quiet_plan("look", watchdog=watch, filler=Filler(None, 900, True))).ready()
    line.frame().tick(1_000)
    line.bridge.realtime_opened(line.now_ms, config_sent=True, session=2)
    shape = {"audio": {side: {"format": {"type": "audio/pcmu"}} for side in ("input", "output")}}
    line.after(100).turn().calls("look")
    for kind, session in (("session.created", {}), ("session.updated", shape)):
        text = json.dumps({"type": kind, "session": session})
        line.bridge.receive_realtime(text, line.now_ms, session=2)
    line.tick(2_900)
    assert line.bridge.session == 2
    due_ms = line.bridge.next_deadline_ms()
    assert due_ms is None or due_ms > line.now_ms
