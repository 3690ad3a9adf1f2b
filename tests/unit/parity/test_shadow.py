"""A live call heard along, in virtual time: both tracks of a fork, and two Realtime stand-ins."""

from __future__ import annotations

import base64
import json
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any

import pytest

from calls.money.rates import price_for
from calls.parity.past import PastTool
from calls.parity.shadow import NOTICE_MS, Shadow
from calls.parity.shadow_asking import LAST_MS, READY_MS
from calls.parity.shadow_lines import SIDES, Side
from calls.parity.shadow_outcome import Reach, old_side, our_side, reach_of, result_of
from calls.parity.shadow_values import ShadowPlan
from calls.standins.peer import Close, Refuse
from calls.standins.realtime_brain import CallTool, Part, RuleBrain, Speak, Turn
from calls.standins.realtime_peer import RealtimePeer
from calls.standins.realtime_profile import RealtimeProfile
from calls.standins.tones import BLOCK_BYTES, SILENCE, encode
from calls.wire.realtime import McpServer
from tests.contract import check_realtime_client
from tests.replays import MODEL, config_of, same_text
from tests.unit.house.source_tree import ROOT, SourceTree
from tests.unit.parity.calls import call as one_call
from tests.unit.parity.calls import tool

pytestmark = pytest.mark.unit

SIDS = ("CA" + "1" * 32, "AC" + "2" * 32)
GREETING, ASKS, OFFERS = "Good day.", "A table for two.", "Ten is free."
BOOKED = PastTool("book", {"guests": 2}, "done", 0, "call_old", "ok")
FRAME_MS = 20
# Who says what when: (ms, track, text).
CALL = (
    (200, "outbound", GREETING),
    (1_600, "inbound", ASKS),
    (4_500, "outbound", OFFERS),
    (6_200, "inbound", "Fine."),
)


class Script:
    """A model that answers the newest turn of the caller by its number, from 0."""

    def __init__(self, answers: Mapping[int, list[Part]], after: str = "Done.") -> None:
        self._answers, self._after = answers, after
        self.asked: list[tuple[tuple[str, str], ...]] = []

    def reply(self, turn: Turn) -> list[Part]:
        """Return the answer; once a tool has answered in this turn, only words."""
        self.asked.append(turn.history)
        turns = [at for at, (role, _) in enumerate(turn.history) if role == "user"]
        last = turn.history[turns[-1] :] if turns else turn.history
        if any(kind == "function_call_output" for kind, _ in last):
            return [Speak(self._after)]
        return self._answers.get(len(turns) - 1, [Speak("I see.")])


class Line:
    """A fork of one call and what hears it, 20 ms a step."""

    def __init__(
        self,
        brain: Script,
        *,
        call: Sequence[tuple[int, str, str]] = CALL,
        alter: Callable[[ShadowPlan], ShadowPlan] = lambda plan: plan,
        profile: RealtimeProfile | None = None,
        ear: RealtimeProfile | None = None,
    ) -> None:
        plan = ShadowPlan(
            *SIDS,
            config=config_of(["book", "bye"]),
            dialect="openai_ga",
            price=price_for(MODEL),
            alike=same_text,
            ends=frozenset({"bye"}),
        )
        self.shadow = Shadow(alter(plan), 0)
        self.brain = brain
        self.peers: dict[Side, RealtimePeer] = {
            "model": RealtimePeer(profile or RealtimeProfile(), brain, id_seed="m"),
            "ear": RealtimePeer(ear or RealtimeProfile(), RuleBrain(), id_seed="e"),
        }
        self.sent: dict[Side, list[dict[str, Any]]] = {"model": [], "ear": []}
        self.now_ms = 0
        self.silent_from_ms = 1_000_000  # the fork brings nothing from then on
        self.events: dict[int, Callable[[], None]] = {}
        self._sound = {"inbound": bytearray(), "outbound": bytearray()}
        self._call = list(call)

    def run(self, until_ms: int = 9_000) -> Shadow:
        """Carry the call to its end at ``until_ms``, then wait until the shadow is done."""
        for side in SIDES:
            self.peers[side].opened(0, None, {"authorization": "Bearer sk-standin"})
        self.twilio({"event": "connected", "protocol": "Call", "version": "1.0.0"})
        self.twilio({"event": "start", "streamSid": "MZ1", "start": self.start()})
        while not self.shadow.done and self.now_ms < 400_000:
            if self.now_ms < min(until_ms, self.silent_from_ms):
                self._frames()
            elif self.now_ms == until_ms:
                self.twilio({"event": "stop", "stop": {}})
            for at_ms in [at for at in self.events if at <= self.now_ms]:
                self.events.pop(at_ms)()
            self._exchange()
            self.now_ms += FRAME_MS if self.now_ms < until_ms + 30_000 else 1_000
        assert self.shadow.done, "it never ended"
        return self.shadow

    @staticmethod
    def start(**changes: Any) -> dict[str, Any]:
        """Return the body of a fork's ``start``."""
        media = {"encoding": "audio/x-mulaw", "sampleRate": 8000, "channels": 1}
        sids = {"streamSid": "MZ1", "callSid": SIDS[0], "accountSid": SIDS[1]}
        return {**sids, "tracks": ["inbound", "outbound"], "mediaFormat": media, **changes}

    def twilio(self, message: Mapping[str, Any]) -> None:
        """Have Twilio send a message."""
        self.shadow.receive_twilio(json.dumps(message), self.now_ms)

    def _frames(self) -> None:
        while self._call and self._call[0][0] <= self.now_ms:
            _, track, text = self._call.pop(0)
            self._sound[track] += encode(text)
        for track, sound in self._sound.items():
            frame = bytes(sound[:BLOCK_BYTES]).ljust(BLOCK_BYTES, bytes([SILENCE]))
            del sound[:BLOCK_BYTES]
            payload = base64.b64encode(frame).decode()
            self.twilio({"event": "media", "media": {"track": track, "payload": payload}})

    def _exchange(self) -> None:
        self.shadow.tick(self.now_ms)
        busy = True
        while busy and not self.shadow.done:
            busy = False
            for side in SIDES:
                peer, outgoing = self.peers[side], self.shadow.outgoing(side)
                peer.tick(self.now_ms)
                for output in peer.drain():
                    busy = True
                    if isinstance(output, Close | Refuse):
                        code = output.code if isinstance(output, Close) else output.status
                        self.shadow.closed(side, code, self.now_ms)
                    elif isinstance(output.data, str):
                        self.shadow.receive(side, output.data, self.now_ms)
                while outgoing and not peer.closed:
                    busy = True
                    text = outgoing.popleft()
                    event = json.loads(text)
                    if event["type"] != "input_audio_buffer.append":
                        check_realtime_client(event)
                    self.sent[side].append(event)
                    peer.receive(text, self.now_ms)

    def told(self, side: Side) -> list[str]:
        """Return the types of all events that were sent but sound."""
        kinds = [event["type"] for event in self.sent[side]]
        return [kind for kind in kinds if kind != "input_audio_buffer.append"]

    def items(self) -> list[tuple[str, str]]:
        """Return the conversation as the model knows it."""
        items = self.peers["model"].conversation.items
        return [(each.role if each.kind == "message" else each.kind, each.text) for each in items]


def books(**more: Any) -> Script:
    return Script({0: [CallTool("book", json.dumps({"guests": 2, **more}))]})


def test_a_call_is_heard_to_its_end_in_the_conversation_that_really_was() -> None:
    line = Line(books(), alter=lambda plan: replace(plan, result_ms=5_000))
    line.events[4_000] = lambda: line.shadow.known([BOOKED], line.now_ms)
    result = line.run().result
    assert (result.cut, result.problem) == ("", "")
    assert [(each.name, each.exchange) for each in result.calls] == [("book", 0)]
    assert result.calls[0].known == BOOKED
    assert [each.heard for each in result.answers] == [ASKS, "Fine."]
    assert [each.said for each in result.answers] == [["Done."], ["I see."]]
    assert all(each.latency_ms and each.latency_ms > 0 for each in result.answers)
    # What was really said and answered stands there; nothing that our model said.
    assert line.items() == [
        ("assistant", GREETING),
        ("user", ASKS),
        ("function_call", '{"guests": 2}'),
        ("function_call_output", "done"),
        ("assistant", OFFERS),
        ("user", "Fine."),
    ]
    assert result.cost_microusd > 0 and result.tokens.responses == 3
    assert abs(result.audio_ms - 9_000) < 100


def test_neither_session_can_take_a_turn_or_ask_a_server() -> None:
    server = McpServer("crm", "https://crm.example/mcp")
    line = Line(
        Script({}),
        alter=lambda plan: replace(plan, config=replace(plan.config, mcp_servers=(server,))),
    )
    line.run()
    for side in SIDES:
        (update,) = [each for each in line.sent[side] if each["type"] == "session.update"]
        turns = update["session"]["audio"]["input"]["turn_detection"]
        assert (turns["create_response"], turns["interrupt_response"]) == (False, False)
        assert "crm" not in json.dumps(update)
    # The ear is told nothing and asked nothing; the model is asked beside the conversation only.
    assert set(line.told("ear")) == {"session.update"}
    asked = [each["response"] for each in line.sent["model"] if each["type"] == "response.create"]
    assert asked and all(each["conversation"] == "none" for each in asked)


def test_each_session_hears_its_own_side_only() -> None:
    line = Line(Script({}))
    line.run()
    heard = {side: [h.text for h in line.peers[side]._input.heard] for side in SIDES}
    assert heard == {"model": [ASKS, "Fine."], "ear": [GREETING, OFFERS]}


@pytest.mark.parametrize("recorded", [False, True])
def test_a_tool_whose_result_nobody_knows_ends_the_comparison(recorded: bool) -> None:
    wait_ms = 3_000 if recorded else 0
    line = Line(books(table="window"), alter=lambda plan: replace(plan, result_ms=wait_ms))
    if recorded:  # another call of that tool does not answer this one
        line.events[4_000] = lambda: line.shadow.known([BOOKED], line.now_ms)
    result = line.run().result
    assert (result.cut, result.cut_exchange) == ("unknown-result", 0)
    assert [(each.name, each.known) for each in result.calls] == [("book", None)]
    assert line.now_ms < 9_000  # nothing more is heard than is compared
    reach = reach_of(result, offset_ms=500)
    assert (reach.cut, reach.asked) == ("unknown-result", "book")
    assert reach.to_ms == 500 + result.turns[0].ended_ms


def test_what_the_old_stack_did_and_we_did_not_is_put_into_the_conversation() -> None:
    line = Line(Script({}), alter=lambda plan: replace(plan, names={"book_table": "book"}))
    done = replace(BOOKED, name="book_table")
    line.events[4_000] = lambda: line.shadow.known([done, done], line.now_ms)
    result = line.run().result
    assert (result.cut, result.calls) == ("", [])
    assert [kind for kind, _ in line.items()].count("function_call_output") == 1


def test_nobody_is_heard_before_the_notice_was_given() -> None:
    call = (
        (200, "outbound", "Hello. This call is heard by OpenAI, too."),
        (300, "inbound", "Before."),
        (3_000, "inbound", "After."),
    )
    line = Line(Script({}), call=call, alter=lambda p: replace(p, notice="heard by OpenAI too"))
    result = line.run(6_000).result
    assert [each.heard for each in result.answers] == ["After."]
    assert [h.text for h in line.peers["model"]._input.heard] == ["After."]
    assert result.notice_ms is not None and 0 < result.audio_ms < 6_000 - result.notice_ms + 2_000


def test_a_notice_that_is_never_given_ends_it_with_not_a_byte_of_the_caller_sent() -> None:
    line = Line(Script({}), alter=lambda plan: replace(plan, notice="recorded for quality"))
    result = line.run(NOTICE_MS + 5_000).result
    assert result.problem == "the old stack did not say the words of the notice"
    assert (result.audio_ms, result.turns) == (0, [])
    assert "input_audio_buffer.append" not in [each["type"] for each in line.sent["model"]]


def test_words_that_are_written_down_late_stand_before_the_turn_that_they_came_before() -> None:
    call = ((200, "outbound", GREETING), (900, "inbound", ASKS))
    slow = RealtimeProfile(transcription_delay_ms=1_500)
    line = Line(Script({}), call=call, ear=slow)
    line.run(5_000)
    assert line.items() == [("assistant", GREETING), ("user", ASKS)]
    assert line.brain.asked == [(("assistant", GREETING), ("user", ASKS))]  # and was waited for


def test_our_model_ending_the_call_ends_the_comparison() -> None:
    line = Line(Script({1: [CallTool("bye", "{}")]}))
    result = line.run().result
    assert (result.cut, [each.name for each in result.calls]) == ("left-early", ["bye"])
    assert reach_of(result).asked == "bye"


def test_a_person_is_not_heard() -> None:
    line = Line(Script({}))
    line.events[4_400] = lambda: line.shadow.person_came(line.now_ms, 5_900)
    line.silent_from_ms = 4_400
    result = line.run().result
    assert result.cut == "person" and line.now_ms < 5_500
    assert [each.heard for each in result.answers] == [ASKS]
    # All that was said had been answered: what the old stack did until the dial answers it, too.
    assert reach_of(result) == Reach(result.turns[0].started_ms, 5_900, "person")


def test_what_was_said_before_a_person_was_dialled_is_answered_still() -> None:
    line = Line(Script({0: [CallTool("bye", "{}")]}), profile=RealtimeProfile(think_ms=2_500))
    line.events[3_600] = lambda: line.shadow.person_came(line.now_ms, 4_800)
    line.silent_from_ms = 3_600
    result = line.run().result
    assert (result.cut, [each.name for each in result.calls]) == ("left-early", ["bye"])
    # An answer that does not come in time leaves its exchange out, and nothing more is said of it.
    slow = Line(Script({}), profile=RealtimeProfile(think_ms=30_000))
    slow.events[3_600] = lambda: slow.shadow.person_came(slow.now_ms, 4_800)
    slow.silent_from_ms = 3_600
    result = slow.run().result
    assert result.cut == "person" and slow.now_ms < 3_600 + LAST_MS + 1_000
    assert result.cut_at_ms == result.turns[0].started_ms


def test_whoever_was_speaking_when_a_person_was_dialled_was_not_asked_about() -> None:
    line = Line(Script({}))
    line.events[6_500] = lambda: line.shadow.person_came(line.now_ms, 8_000)
    line.silent_from_ms = 6_500
    result = line.run().result
    assert (result.cut, len(result.turns)) == ("person", 1)
    assert result.cut_at_ms is not None and 6_200 <= result.cut_at_ms <= 6_500


def test_words_that_should_not_have_been_heard_are_not_kept() -> None:
    line = Line(Script({}))
    line.events[4_400] = lambda: line.shadow.void("told too late", line.now_ms)
    result = line.run().result
    assert (result.turns, result.words, result.answers) == ([], [], [])
    assert (result.cut, result.problem) == ("failed", "told too late")
    assert result.cost_microusd > 0


def test_turns_that_come_while_the_model_is_asked_are_asked_about_together() -> None:
    call = ((100, "inbound", "One."), (700, "inbound", "Two."), (1_300, "inbound", "Three."))
    slow = RealtimeProfile(think_ms=2_000, vad_onset_ms=40)
    line = Line(Script({}), call=call, profile=slow)
    result = line.run(6_000).result
    assert [each.heard for each in result.answers] == ["One.", "Two.", "Three."]
    assert [bool(each.said) for each in result.answers] == [True, False, True]


def test_the_last_answer_is_waited_for_when_the_caller_has_hung_up() -> None:
    line = Line(Script({}), profile=RealtimeProfile(think_ms=2_500))
    result = line.run(7_500).result
    assert result.cut == "" and result.answers[-1].said == ["I see."]


@pytest.mark.parametrize(
    ("profile", "words"),
    [
        (RealtimeProfile(upgrade_status=429), "socket closed with 429"),
        (RealtimeProfile(never_updated=True), "not ready in time"),
        (RealtimeProfile(reject_update=True), "was refused"),
        (RealtimeProfile(lose_at="committed", lose_after=1), "socket closed with 1006"),
        (RealtimeProfile(stall_after_created=True), "did not answer"),
        (RealtimeProfile(fail_response="server_error"), "an answer failed"),
        (RealtimeProfile(refuse_event="conversation.item.create"), "was refused"),
    ],
)
def test_a_model_that_fails_ends_the_shadow_with_its_reason(
    profile: RealtimeProfile, words: str
) -> None:
    line = Line(Script({}), profile=profile)
    result = line.run(max(9_000, READY_MS + 1_000)).result
    assert result.cut == "failed" and words in result.problem


def test_an_answer_that_fails_once_is_asked_for_again() -> None:
    faulty = RealtimeProfile(fail_response="server_error", faulty_responses=1)
    result = Line(Script({}), profile=faulty).run().result
    assert (result.cut, len(result.answers)) == ("", 2)


def test_money_is_spent_up_to_the_limit() -> None:
    line = Line(Script({}), alter=lambda plan: replace(plan, most_microusd=1))
    result = line.run().result
    assert result.cut == "spend" and result.calls == []


def test_a_fork_of_another_call_or_of_none_is_not_heard() -> None:
    for changes in ({"callSid": "CA" + "9" * 32}, {"accountSid": "AC" + "9" * 32}):
        line = Line(Script({}))
        line.twilio({"event": "start", "start": line.start(**changes)})
        assert line.shadow.done and line.shadow.result.cut == "failed"
    line = Line(Script({}))
    for _ in range(30):
        line.shadow.receive_twilio("{", 0)
    assert line.shadow.done


# ---- against the old stack's side -----------------------------------------------------------


def old(*tools: tuple[str, int]) -> Any:
    return one_call(*(replace(tool(name), at_ms=at_ms) for name, at_ms in tools))


def names(found: Any) -> list[str]:
    return [tool.name for tool in found.tools]


def test_what_was_done_before_the_callers_first_word_is_not_compared() -> None:
    whole = old(("crm", 100), ("book", 5_000))
    found = old_side(whole, Reach(from_ms=2_000), "k")
    assert names(found) == ["book"] and not found.cut and found.outcomes == whole.outcomes


def test_where_ours_asked_for_what_nobody_knows_the_olds_call_in_its_place_is_the_last() -> None:
    reach = Reach(1_000, 10_000, "unknown-result", "book")
    same = old_side(old(("find", 5_000), ("book", 11_000), ("text", 12_000)), reach, "k")
    assert (names(same), same.cut, same.cut_with) == (["find", "book"], True, "k")
    after = old_side(old(("find", 11_000), ("book", 12_000), ("text", 40_000)), reach, "k")
    assert names(after) == ["find", "book"]
    other = old_side(old(("find", 11_000), ("text", 12_000)), reach, "k")
    assert names(other) == ["find"]
    assert names(old_side(old(("book", 60_000)), reach, "k")) == []
    # The clocks of both stacks may be a second apart.
    assert names(old_side(old(("book", 9_500), ("text", 12_000)), reach, "k")) == ["book"]


def test_both_stacks_ending_the_call_at_one_place_is_a_whole_comparison() -> None:
    reach = Reach(1_000, 10_000, "left-early", "endCall")
    whole = old(("book", 5_000), ("endCall", 12_000))
    found = old_side(whole, reach, "k")
    assert names(found) == ["book", "endCall"] and not found.cut
    ours = our_side(replace(old(("book", 1)), stack="direct", cut=True, cut_with="k"), found, "k")
    assert (ours.cut, ours.cut_with) == (False, "")
    early = old_side(old(("endCall", 10_500), ("book", 30_000)), reach, "k")
    assert early.cut and names(early) == ["endCall"]


def test_a_tool_that_went_well_when_it_was_called_again_has_not_failed_for_good() -> None:
    whole = one_call(tool("book", day=1))
    failed, again = tool("book", "failed", day=1), tool("book", "ok", day=1)
    tried = our_side(one_call(failed, again, stack="direct"), whole, "k")
    assert tried.outcomes.tools_ok is None
    other = our_side(one_call(failed, tool("book", day=2), stack="direct"), whole, "k")
    assert other.outcomes.tools_ok is False


def test_a_shadow_that_was_cut_for_another_reason_is_compared_up_to_then() -> None:
    found = old_side(old(("book", 5_000), ("text", 9_000)), Reach(0, 8_000, "person"), "k")
    assert names(found) == ["book"] and found.cut
    assert Reach.from_json(Reach(1, 2, "time", "x").as_json()) == Reach(1, 2, "time", "x")


def test_times_count_from_the_begin_of_the_call() -> None:
    line = Line(books())
    shadowed = line.run().result
    result = result_of("k", shadowed, {"book": "book_table"}, offset_ms=2_000)
    assert [tool.name for tool in result.sequence.tools] == ["book_table"]
    assert result.sequence.tools[0].at_ms == 2_000 + shadowed.calls[0].at_ms
    assert [line.text for line in result.transcript] == [GREETING, ASKS]
    assert result.transcript[1].at_ms == 2_000 + shadowed.turns[0].started_ms
    assert result.cut and result.audio_seconds > 0


def test_whatever_hears_a_call_along_reaches_no_dispatcher_of_tools_and_sends_no_frame() -> None:
    names = (
        *("media/shadowing", "media/shadow_consumer", "services/shadow_open"),
        *("services/shadow_store", "services/shadow_offers", "services/shadow_runs"),
    )
    sources = {f"calls/{name}.py": (ROOT / f"calls/{name}.py").read_text("utf-8") for name in names}
    tree = SourceTree.of(sources)
    named = {found.target for source in tree.sources.values() for found in source.imports}
    assert "calls.media.realtime_client.dial" in named
    assert not [
        name
        for name in named
        if name.startswith(("tools.dispatch", "tools.exchange", "voiceplatform.base.http"))
        or re.search(r"tool_(run|posts|try|kinds|replay)", name)
    ]
    for name in names[:2]:
        assert "frames.send(" not in sources[f"calls/{name}.py"]
        assert "_fork.send(" not in sources[f"calls/{name}.py"]
