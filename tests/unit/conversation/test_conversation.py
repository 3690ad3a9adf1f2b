"""The order of a conversation, and its four forms."""

from __future__ import annotations

import random

import pytest

from calls.conversation import Entry, Handover, Speech, ToolUse, conversation, forms, heard_until

pytestmark = pytest.mark.unit

BEGAN = 1_763_805_600_000
CALLER = Speech("user", "Book me in", 2000, 3500, ordinal=1)
GREETING = Speech("assistant", "Hello", 300, 1500, ordinal=0)


def shown(entries: tuple[Entry, ...]) -> list[str]:
    """Return each entry as a short word."""
    return [
        each.speech.text
        if each.speech
        else f"{each.kind} {'+'.join(tool.tool_call_id for tool in each.tools)}".strip()
        for each in entries
    ]


def tool(tool_call_id: str = "c1", started_ms: int = 4000, **changes: object) -> ToolUse:
    values = {"duration_ms": 500, "output": "done", **changes}
    return ToolUse(tool_call_id, "book", '{"day": 1}', started_ms, **values)  # type: ignore[arg-type]


def test_what_was_said_first_comes_first_however_late_its_text_came() -> None:
    answer = Speech("assistant", "At ten then", 3900, 5000, ordinal=2)
    turns = [GREETING, CALLER, answer]
    for _ in range(5):
        random.shuffle(turns)
        assert shown(conversation(turns)) == ["Hello", "Book me in", "At ten then"]


def test_words_over_a_queued_answer_stand_before_it() -> None:
    # Both were generated at once; the second is heard when the first is over.
    first = Speech("assistant", "One moment.", 1000, 4000, ordinal=0)
    queued = Speech("assistant", "Here it is.", 4000, 5000, ordinal=1)
    between = Speech("user", "Thanks", 3000, 3400, ordinal=2)
    assert shown(conversation([first, queued, between])) == [
        *("One moment.", "Thanks", "Here it is."),
    ]


def test_two_tools_of_one_response_stand_together_and_each_answer_where_it_came() -> None:
    meanwhile = Speech("assistant", "Still looking", 4600, 5200, ordinal=2)
    slow, quick = tool("slow", 4000, duration_ms=2000), tool("quick", 4010, duration_ms=300)
    found = conversation([GREETING, CALLER, meanwhile], [slow, quick])
    assert shown(found) == [
        *("Hello", "Book me in", "tool-calls slow+quick", "tool-result quick"),
        *("Still looking", "tool-result slow"),
    ]
    assert [each["role"] for each in forms.openai_messages(found)] == [
        # An answer follows its call there, wherever it came.
        *("assistant", "user", "assistant", "tool", "tool", "assistant"),
    ]


@pytest.mark.parametrize(
    ("second", "spoken"),
    [
        (tool("c2", 4600), []),  # too long after
        (tool("c2", 4100), [Speech("user", "And?", 4050, ordinal=2)]),  # something was said
        (tool("c2", 4200), []),  # the first had been answered
    ],
)
def test_calls_that_were_made_apart_stand_apart(second: ToolUse, spoken: list[Speech]) -> None:
    found = conversation(spoken, [tool("c1", 4000, duration_ms=150), second])
    assert [each.tools[0].tool_call_id for each in found if each.kind == "tool-calls"] == [
        "c1",
        "c2",
    ]


def test_a_tool_that_still_runs_has_no_answer_in_any_form() -> None:
    found = conversation([], [tool(running=True, state="running", duration_ms=None)])
    assert shown(found) == ["tool-calls c1"]
    assert [each["role"] for each in forms.vapi_messages(found, began_ms=BEGAN)] == ["tool_calls"]
    assert "tool" not in [each["role"] for each in forms.openai_messages(found)]


def test_an_interrupted_answer_reads_as_it_was_heard() -> None:
    cut = Speech(
        "assistant", "We open", 3900, 4400, ordinal=2, unheard="at nine.", interrupted=True
    )
    unheard = Speech("assistant", "", 4500, 4500, ordinal=3, unheard="Never heard")
    found = conversation([GREETING, CALLER, cut, unheard])
    assert forms.plain_transcript(found) == "AI: Hello\nUser: Book me in\nAI: We open"
    spoken = [each["message"] for each in forms.vapi_messages(found, began_ms=BEGAN)]
    assert spoken == ["Hello", "Book me in", "We open"]
    assert [entry.speech for entry in found[2:]] == [cut, unheard]


def test_times_are_epoch_ms_seconds_from_the_start_and_durations_in_ms() -> None:
    found = forms.vapi_messages(conversation([CALLER], [tool()]), began_ms=BEGAN, prompt="Be kind")
    system, user, call, result = found
    assert system == {
        "role": "system",
        "message": "Be kind",
        "time": BEGAN,
        "secondsFromStart": 0.0,
    }
    assert user == {
        "role": "user",
        "message": "Book me in",
        "time": BEGAN + 2000,
        "secondsFromStart": 2.0,
        "endTime": BEGAN + 3500,
        "duration": 1500,
    }
    assert call["toolCalls"][0]["function"] == {"name": "book", "arguments": '{"day": 1}'}
    assert (result["time"], result["result"]) == (BEGAN + 4500, "done")


def test_the_assistant_s_labels_name_the_speakers() -> None:
    labels = forms.Labels(assistant="Anna", user="Guest")
    found = conversation([GREETING, CALLER, Speech("system", "note", 5000, ordinal=5)])
    assert forms.plain_transcript(found, labels) == "Anna: Hello\nGuest: Book me in"


def test_only_what_had_begun_by_a_moment_is_told_of_it() -> None:
    later = Speech("assistant", "Later", 6000, ordinal=3)
    speech, tools = heard_until([GREETING, CALLER, later], [tool("c1"), tool("c2", 7000)], 4200)
    assert [each.text for each in speech] == ["Hello", "Book me in"]
    (kept,) = tools
    assert (kept.tool_call_id, kept.running, kept.output) == ("c1", True, "")
    assert len(heard_until([later], [tool()], None)[0]) == 1


def test_a_hand_over_stands_in_line() -> None:
    found = conversation([GREETING, CALLER], [], [Handover(1800, "Desk", "Booking")])
    assert [each.kind for each in found] == ["speech", "handover", "speech"]
    assert found[1].handover == Handover(1800, "Desk", "Booking")
