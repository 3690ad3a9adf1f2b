"""Every misbehaviour of twilio.md 6.4 and every failure of openai_realtime.md 1.5 and 7 can be
written in a scenario file, is described in docs/standins.md, and does what it says.
"""

from __future__ import annotations

import dataclasses
import re
from pathlib import Path
from typing import Any

import pytest
import yaml

from calls.standins.caller import CallerStep, say
from calls.standins.peer import Close
from calls.standins.realtime_profile import RealtimeProfile
from calls.standins.scenario import Scenario, ScenarioError, load_scenario, parse_scenario
from calls.standins.twilio_media import MediaProfile
from tests.contract import ContractError

from .helpers import Session, error_of, kinds, of_kind, say_exactly
from .test_twilio_media import Line

pytestmark = pytest.mark.unit

PAGE = Path(__file__).parents[3] / "docs" / "standins.md"
ROW = re.compile(r"^\| (?P<what>[^|]+) \| `(?P<yaml>[^`|]+)` \|", re.MULTILINE)
_TOP = re.compile(r"caller|brain|profile")


def rows() -> list[tuple[str, str]]:
    """Return what the tables of the page promise, and how it is written."""
    found = [(row["what"], row["yaml"]) for row in ROW.finditer(PAGE.read_text(encoding="utf-8"))]
    return [(what, text) for what, text in found if _TOP.match(text)]


def parse(text: str) -> Scenario:
    return parse_scenario(yaml.safe_load(text), "x.yaml")


def test_what_the_page_shows_is_a_scenario_that_differs_from_an_ordinary_one() -> None:
    ordinary, shown = parse("{}"), rows()
    assert len(shown) > 50
    assert [what for what, text in shown if parse(text) == ordinary] == []


@pytest.mark.parametrize("kind", [MediaProfile, RealtimeProfile])
def test_every_option_is_on_the_page(kind: type[Any]) -> None:
    page = PAGE.read_text(encoding="utf-8")
    named = [each.name for each in dataclasses.fields(kind) if each.name != "mutant"]
    assert [name for name in named if name not in page] == []


def test_the_page_s_scenario_is_one(tmp_path: Path) -> None:
    blocks = re.findall(r"```yaml\n(.*?)```", PAGE.read_text(encoding="utf-8"), re.DOTALL)
    assert blocks
    for number, block in enumerate(blocks):
        file = tmp_path / f"{number}.yaml"
        file.write_text(block, encoding="utf-8")
        assert load_scenario(file).caller


# -- values ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "place", "fix"),
    [
        ("profile: {media: {frame_bytes: small}}", "profile.media.frame_bytes", "a whole number"),
        ("profile: {media: {frame_bytes: 0}}", "profile.media.frame_bytes", "8 or more"),
        ("profile: {media: {gap_frames: [3]}}", "profile.media.gap_frames", "a list of 2"),
        ("profile: {media: {gap_frames: [3, x]}}", "profile.media.gap_frames", "a whole number"),
        ("profile: {media: {stop_twice: 'yes'}}", "profile.media.stop_twice", "true or false"),
        ("profile: {media: {origin: 5}}", "profile.media.origin", "must be a text"),
        ("profile: {streams: {}}", "profile.streams", "must be a list"),
        ("profile: {streams: [{}, {gap_ms: -1}]}", "profile.streams[1].gap_ms", "0 or more"),
        ("profile: {realtime: {burst_factor: 0}}", "profile.realtime.burst_factor", "0.1 or more"),
        ("profile: {realtime: {think_ms: true}}", "profile.realtime.think_ms", "a whole number"),
        ("profile: {realtime: {junk: noise}}", "profile.realtime.junk", "one of json, unknown_"),
        ("profile: {realtime: {api_keys: k}}", "profile.realtime.api_keys", "must be a list"),
        ("profile: {sessions: [{lose_at: x}]}", "profile.sessions[0].lose_at", "one of ms, speech"),
        ("caller: [{rest_completed: soon}]", "caller[0].rest_completed", "must be true"),
        ("caller: [{rest_twiml: 5}]", "caller[0].rest_twiml", "must be a text"),
    ],
)
def test_a_wrong_value_is_refused_with_its_place_and_what_would_fit(
    text: str, place: str, fix: str
) -> None:
    with pytest.raises(ScenarioError) as caught:
        parse(text)
    assert str(caught.value).startswith(f"x.yaml: {place}: ")
    assert fix in str(caught.value)


def test_null_takes_an_option_back() -> None:
    scenario = parse("profile: {realtime: {refuse_times: null, api_keys: [a, b]}}")
    assert scenario.realtime.refuse_times is None
    assert scenario.realtime.api_keys == ("a", "b")


def test_streams_of_one_call_differ_and_the_last_holds_for_the_rest() -> None:
    scenario = parse("profile: {media: {drop_after_ms: 900}, streams: [{frame_bytes: 80}, {}]}")
    assert scenario.media_of(0).drop_after_ms == 900
    assert scenario.media_of(1) == MediaProfile(frame_bytes=80)
    assert scenario.media_of(2) == scenario.media_of(7) == MediaProfile()
    again = parse("profile: {media: {drop_after_ms: 900}}")
    assert again.media_of(3).drop_after_ms == 900


# -- the carrier -------------------------------------------------------------------------------


def test_t22_a_line_that_is_cut_says_nothing_and_nobody_has_hung_up() -> None:
    line = Line(drop_after_ms=200)
    line.run(180)
    assert line.closes == []
    line.run(40)
    assert line.closes == [Close(1006)]
    assert [message["event"] for message in line.sent][-1] == "media"
    assert line.peer.ended_by == "script"


@pytest.mark.parametrize(
    ("action", "document"), [("rest_twiml", "<Response/>"), ("rest_completed", "")]
)
def test_a_rest_update_comes_in_the_middle_of_playback(action: Any, document: str) -> None:
    line = Line(CallerStep(action, document, wait="agent_audio_ms", wait_ms=200))
    line.collect()
    line.play(b"\x55" * 8000)
    line.mark("m1")
    line.run(180)
    assert line.peer.ended_by is None
    sent = line.run(40)
    assert sent[-1]["event"] == "stop"
    assert "mark" not in [message["event"] for message in sent]  # what was pending is not told
    assert (line.peer.ended_by, line.peer.other_twiml) == ("rest", document or None)
    assert line.closes == [Close(1000)]


# -- the model ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("code", "close"),
    [
        ("invalid_api_key", Close(3000, "invalid_request_error.invalid_api_key")),
        ("account_deactivated", Close(3000, "invalid_request_error.account_deactivated")),
        ("insufficient_quota", Close(4000, "insufficient_quota.insufficient_quota")),
        ("model_not_found", Close(4000, "invalid_request_error.model_not_found")),
    ],
)
def test_o19_any_fatal_error_comes_after_a_successful_upgrade(code: str, close: Close) -> None:
    session = Session(RealtimeProfile(connect_error=code), configure=False)
    assert error_of(session.events)["code"] == code
    assert session.other == [close]


def test_an_event_is_refused_as_often_as_asked_and_then_obeyed() -> None:
    profile = RealtimeProfile(
        refuse_event="response.create",
        refuse_code="rate_limit_exceeded",
        refuse_after=1,
        refuse_times=2,
        retry_in_ms=1500,
    )
    session = Session(profile)
    outcomes = []
    for _ in range(4):
        error = of_kind(session.send("response.create", response=say_exactly("Hi.")), "error")
        outcomes.append(error[0]["error"]["type"] if error else "obeyed")
        session.run(3000)
    assert outcomes == ["obeyed", "tokens", "tokens", "obeyed"]
    refusal = of_kind(session.events, "error")[0]["error"]
    assert refusal["event_id"] == "test-response.create"
    assert "try again in 1.5s" in refusal["message"]
    assert len(of_kind(session.events, "response.created")) == 2


def test_an_error_of_the_server_s_own_comes_at_its_point_once() -> None:
    session = Session(RealtimeProfile(error_code="server_error", error_at="audio", error_after=1))
    for _ in range(2):
        session.send("response.create", response=say_exactly("A few words, said slowly."))
        session.run(4000)
    order = [each["type"] for each in session.events]
    audio = [at for at, kind in enumerate(order) if kind == "response.output_audio.delta"]
    assert order.index("error") == audio[1] + 1
    error = error_of(session.events)
    assert (error["type"], error["code"], error["event_id"]) == ("server_error", None, None)
    statuses = [each["response"]["status"] for each in of_kind(session.events, "response.done")]
    assert statuses == ["completed", "completed"]


def test_an_error_can_come_at_an_age_and_with_a_close() -> None:
    profile = RealtimeProfile(
        error_code="session_expired", error_at="ms", error_after=700, error_close=1001
    )
    session = Session(profile)
    assert session.run(699) == []
    assert kinds(session.run(1)) == ["error"]
    assert session.other == [Close(1001, "invalid_request_error.session_expired")]


def test_a_response_can_fall_silent_in_mid_sentence() -> None:
    session = Session(RealtimeProfile(stall_mid_response=True, faulty_responses=1))
    session.send("response.create", response=say_exactly("A sentence that is not finished today."))
    assert len(of_kind(session.run(60_000), "response.output_audio.delta")) == 2
    assert of_kind(session.events, "response.done") == []
    done = of_kind(session.send("response.cancel"), "response.done")[0]["response"]
    assert done["status"] == "cancelled"
    session.send("response.create", response=say_exactly("And now."))
    session.run(3000)
    assert of_kind(session.events, "response.done")[1]["response"]["status"] == "completed"


def test_o30_an_answer_can_be_text_where_audio_was_asked_for() -> None:
    session = Session(RealtimeProfile(text_only=True, faulty_responses=1))
    session.send("response.create", response=say_exactly("Read me."))
    session.run(3000)
    assert of_kind(session.events, "response.output_audio.delta") == []
    done = of_kind(session.events, "response.done")[0]["response"]
    assert done["output"][0]["content"] == [{"type": "output_text", "text": "Read me."}]


def test_o10_the_server_s_count_of_audio_can_be_shorter_than_what_it_sent() -> None:
    session = Session(RealtimeProfile(counts_ms_less=85))
    session.send("response.create", response=say_exactly("Twenty words or so."))
    session.run(3000)
    item = session.peer.conversation.items[-1]
    where = {"item_id": item.item_id, "content_index": 0}
    full_ms = item.audio_ms
    refused = session.send("conversation.item.truncate", **where, audio_end_ms=full_ms - 84)
    assert error_of(refused)["message"] == (
        f"Audio content of {full_ms - 85}ms is already shorter than {full_ms - 84}ms"
    )
    taken = session.send("conversation.item.truncate", **where, audio_end_ms=full_ms - 85)
    assert kinds(taken) == ["conversation.item.truncated"]


def test_rate_limits_can_be_used_up() -> None:
    session = Session(RealtimeProfile(tokens_remaining=0, tokens_reset_seconds=2.5))
    session.send("response.create", response=say_exactly("Hi."))
    session.run(3000)
    [limits] = of_kind(session.events, "rate_limits.updated")
    assert limits["rate_limits"][0] | {"limit": 0} == {
        "name": "tokens", "limit": 0, "remaining": 0, "reset_seconds": 2.5,
    }  # fmt: skip


def test_why_a_response_failed_can_be_told_as_old_servers_did() -> None:
    failing: dict[str, Any] = {"fail_response": "inference_rate_limit", "retry_in_ms": 800}
    session = Session(RealtimeProfile(**failing, status_details="missing"))
    session.send("response.create")
    session.run(3000)
    assert of_kind(session.events, "response.done")[0]["response"]["status_details"] is None
    session = Session(RealtimeProfile(**failing))
    session.send("response.create")
    session.run(3000)
    error = of_kind(session.events, "response.done")[0]["response"]["status_details"]["error"]
    assert error["code"] == "inference_rate_limit_exceeded"
    assert error["message"].endswith("Please try again in 0.8s.")
    # A bare text is what the official types refuse, and what our reader has to survive.
    session = Session(RealtimeProfile(**failing, status_details="text"))
    session.send("response.create")
    with pytest.raises(ContractError, match="status_details"):
        session.run(3000)


def test_every_new_event_passes_the_official_types() -> None:
    """`Session` checks each event that it collects; here the odd ones come in one session."""
    profile = RealtimeProfile(
        error_code="something_new",
        error_at="committed",
        tokens_remaining=0,
        fail_response="rate_limit",
        retry_in_ms=10,
        faulty_responses=1,
        text_only=True,
        refuse_event="conversation.item.delete",
    )
    session = Session(profile)
    session.speak("Hello")
    session.run(2000)
    session.send("response.create", response=say_exactly("Now in text."))
    session.run(2000)
    session.send("conversation.item.delete", item_id="item_x")
    seen = set(kinds(session.events))
    assert {"error", "rate_limits.updated", "response.done"} <= seen


def test_a_caller_s_words_are_not_what_rest_does() -> None:
    scenario = parse("caller: [{say: x}, {rest_twiml: x}]")
    assert scenario.knows("x")
    assert not parse("caller: [{rest_twiml: y}]").knows("y")
    assert say("x") == scenario.caller[0]
