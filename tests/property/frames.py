"""Strategies for what two peers may put on the wire: valid, out of order, twice, or nonsense.

Ids come from small pools so that messages meet; it must not know what the bridge does with them.
"""

from __future__ import annotations

import base64
import json
from dataclasses import replace
from typing import Any

from hypothesis import strategies as st

from calls.bridge.person_plan import PersonPlan
from calls.bridge.plan import (
    CallPlan,
    Filler,
    Greeting,
    HistoryItem,
    Idle,
    Interruption,
    Keypad,
    Limits,
    Watchdog,
)
from calls.bridge.successor import Successor
from calls.wire.vapi_control import Control
from tests.virtual_call import ACCOUNT_SID, CALL_SID, STREAM_SID, clip, plan_of
from tools.messages import ToolMessage, with_fillers

SUCCESSOR = Successor(plan_of("look", "endCall", greeting=Greeting("exact", "Me now."))).to_json()
CONTROLS = [
    Control("say", "Hello."),
    Control("say", "Listen.", interrupts=True, interruptible=False),
    Control("say", "Bye.", ends_call=True),
    Control("add-message", "The order is late."),
    Control("add-message", "Hi.", role="user", answers=False),
    Control("mute-assistant"),
    Control("unmute-assistant"),
    Control("mute-customer"),
    Control("unmute-customer"),
    Control("say-first-message"),
    Control("end-call"),
    Control("transfer", "Hold the line.", dial_to="+14155550123"),
    Control("transfer", dial_to="sip:desk@pbx.example.com"),
]
ITEM_IDS = ["item_1", "item_2", "item_3", "item_4"]
RESPONSE_IDS = ["resp_1", "resp_2", "resp_3", "resp_4"]
TOOL_CALL_IDS = ["call_1", "call_2", "call_3", "call_4"]
CODES = [
    "server_error",
    "conversation_already_has_active_response",
    "response_cancel_not_active",
    "insufficient_quota",
    "session_expired",
    "unknown_parameter",
    "rate_limit_exceeded",
    "",
]
# What a truncate may be refused with (openai_realtime.md 7.1).
CUT_CODES = ["invalid_value", "unsupported_content_type", "item_truncate_invalid_item_id", ""]
scalars = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(),
    st.sampled_from([10**300, -(10**40), 0, 1e308, "\ud800", "\x00", "", "x" * 300]),
    st.text(max_size=8),
)
values = st.recursive(
    scalars,
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=6), inner, max_size=3)
    ),
    max_leaves=6,
)
EVENT_TYPES = [
    "session.created", "session.updated", "input_audio_buffer.speech_started",
    "input_audio_buffer.speech_stopped", "input_audio_buffer.committed",
    "conversation.item.input_audio_transcription.delta",
    "conversation.item.input_audio_transcription.failed",
    "conversation.item.input_audio_transcription.completed", "conversation.item.added",
    "response.created", "response.output_item.added", "response.output_item.done",
    "response.output_audio.delta", "response.output_audio.done",
    "response.output_audio_transcript.delta", "response.output_audio_transcript.done",
    "response.done", "error", "rate_limits.updated", "what.is.this",
]  # fmt: skip
KEYS = ["item_id", "response_id", "item", "response", "delta", "transcript", "session", "error"]


def mulaw(size: int) -> str:
    """Return ``size`` bytes of audio in base64."""
    return base64.b64encode(b"\x55" * size).decode()


def nested(depth: int) -> str:
    """Return JSON that is ``depth`` lists deep."""
    return '{"type":"error","event":"start","error":' + "[" * depth + "]" * depth + "}"


garbage = st.one_of(
    st.text(max_size=40),
    st.sampled_from(
        ["", "null", "[]", "{", '"x"', "NaN", nested(100_000), '{"type":3,"event":[]}']
    ),
    values.map(json.dumps),
)
odd_events = st.builds(
    lambda kind, body: json.dumps({"type": kind, **body}),
    st.sampled_from(EVENT_TYPES),
    st.dictionaries(st.sampled_from(KEYS), values, max_size=4),
)
odd_messages = st.builds(
    lambda event, body: json.dumps({"event": event, "streamSid": STREAM_SID, **body}),
    st.sampled_from(["connected", "start", "media", "mark", "dtmf", "stop", "else"]),
    st.dictionaries(
        st.sampled_from(["start", "media", "mark", "dtmf", "stop"]), values, max_size=2
    ),
)


def event(kind: str, **fields: Any) -> str:
    """Return a server event."""
    return json.dumps({"type": kind, "event_id": "event_1", **fields})


def message(kind: str, body: dict[str, Any], stream_sid: str = STREAM_SID) -> str:
    """Return a message of Twilio's."""
    return json.dumps({"event": kind, "sequenceNumber": "2", "streamSid": stream_sid, kind: body})


def start(call_sid: str = CALL_SID, encoding: str = "audio/x-mulaw") -> str:
    """Return a ``start`` message."""
    body = {
        "streamSid": STREAM_SID,
        "accountSid": ACCOUNT_SID,
        "callSid": call_sid,
        "tracks": ["inbound"],
        "customParameters": {"tok": "t"},
        "mediaFormat": {"encoding": encoding, "sampleRate": 8000, "channels": 1},
    }
    return message("start", body)


def media(size: int, timestamp_ms: int = 0) -> str:
    """Return an inbound ``media`` message."""
    timestamp = str(timestamp_ms)
    body = {"track": "inbound", "chunk": "1", "timestamp": timestamp, "payload": mulaw(size)}
    return message("media", body)


def updated(kind: str = "audio/pcmu") -> str:
    """Return ``session.updated`` with one format both ways."""
    shape = {"format": {"type": kind}}
    return event("session.updated", session={"audio": {"input": shape, "output": shape}})


def delta(response_id: str, item_id: str, size: int) -> str:
    """Return an audio delta."""
    return event(
        "response.output_audio.delta",
        response_id=response_id,
        item_id=item_id,
        output_index=0,
        content_index=0,
        delta=mulaw(size),
    )


def written(item_id: str) -> dict[str, Any]:
    """Return an item of the assistant in which nothing can be heard."""
    content = [{"type": "output_text", "text": "Read me."}]
    return {"id": item_id, "type": "message", "role": "assistant", "content": content}


def function_call(tool_call_id: str, name: str, status: str = "completed") -> dict[str, Any]:
    """Return a function call item."""
    return {
        "id": f"fc_{tool_call_id}",
        "type": "function_call",
        "status": status,
        "call_id": tool_call_id,
        "name": name,
        "arguments": "{}",
    }


def done(response_id: str, status: str, output: list[dict[str, Any]], tokens: int = 10) -> str:
    """Return ``response.done``."""
    details = {"type": status, "error": {"type": "server_error", "code": None}}
    usage = {"output_token_details": {"audio_tokens": tokens, "text_tokens": tokens}}
    response = {
        "id": response_id,
        "status": status,
        "status_details": details if status == "failed" else None,
        "output": output,
        "usage": usage,
    }
    return event("response.done", response=response)


# Words and keys that the caller of the machine uses.
_PERSON = PersonPlan(
    reachable=True,
    operator_key="0",
    refusal_key="1",
    refusal_words=("stop",),
    emergency_words=("why",),
    emergency_notice="Hang up.",
)
PEOPLE = (
    replace(_PERSON, on_refusal="human", on_emergency="notice"),
    replace(_PERSON, on_refusal="end", on_emergency="transfer"),
    replace(_PERSON, on_refusal="unrecorded", on_emergency="notice"),
)


# What tools have said around their calls, and what forbids them.
MESSAGES: tuple[tuple[ToolMessage, ...], ...] = (
    (),
    with_fillers((), "en"),
    (
        ToolMessage("start", "I book it now.", blocking=True),
        ToolMessage("delayed", "Soon.", after_ms=0),
        ToolMessage("delayed", "Not long.", after_ms=1_000),
        ToolMessage("complete", "Booked.", ends_call=True),
        ToolMessage("failed", "It failed."),
    ),
    (ToolMessage("start"), ToolMessage("complete", "Ask for the name.", role="system")),
)
REJECTIONS: tuple[dict[str, Any], ...] = (
    {},
    {},
    {"conditions": [{"type": "regex", "regex": "stop", "target": {"role": "user"}}]},
    {"conditions": [{"type": "liquid", "liquid": "true"}]},
)


@st.composite
def plans(draw: st.DrawFn) -> CallPlan:
    """Return plans of every kind of opening and ending."""
    resumed = draw(st.booleans()) and draw(st.booleans())
    plan = plan_of(
        "look",
        "book",
        "endCall",
        policy_line=draw(st.sampled_from([None, clip("Recorded.")])),
        apology=draw(st.sampled_from([None, clip("Sorry.")])),
        greeting=draw(
            st.sampled_from(
                [
                    Greeting(),
                    Greeting("exact", "Hello.", interruptible=True),
                    Greeting("exact", "Hello."),
                    Greeting("exact", "Hello.", clip=clip("Hello.")),
                    Greeting("exact", "Hello.", interruptible=True, clip=clip("Hello.")),
                    Greeting("generated"),
                ]
            )
        ),
        end_call_message=draw(st.sampled_from(["", "Bye."])),
        person=draw(st.sampled_from([PersonPlan(), *PEOPLE])),
        resumed=resumed,
        history=(HistoryItem("user", "I am Ada."), HistoryItem("assistant", "")) if resumed else (),
        limits=draw(
            st.sampled_from([Limits(), Limits(60_000, 2, 2_000), Limits(5_000, 0, 10_000_000)])
        ),
        watchdog=draw(
            st.sampled_from(
                [
                    Watchdog(),
                    Watchdog(tool_ms=3_000, caller_audio_ms=9_000),
                    Watchdog(session_ms=1_000, session_hard_ms=4_000),
                ]
            )
        ),
        elapsed_ms=draw(st.sampled_from([0, 4_000])),
        idle=draw(st.sampled_from([Idle(), Idle(("There?",), 2_000, 2, True, 5_000, "Bye then.")])),
        end_call_phrases=draw(st.sampled_from([(), ("words all",)])),
        keypad=draw(st.sampled_from([None, Keypad(300, ("#",))])),
        filler=draw(st.sampled_from([Filler(), Filler(clip("Hm."), 700), Filler(None, 900, True)])),
        interruption=draw(
            st.sampled_from([Interruption(), Interruption(2, 0, 500, ("ok",), ("stop",))])
        ),
    )
    tools = [
        replace(
            each,
            messages=draw(st.sampled_from(MESSAGES)),
            rejection=draw(st.sampled_from(REJECTIONS)),
            is_async=draw(st.booleans()) and each.name == "book",
        )
        for each in plan.tools
    ]
    return replace(plan, tools=tuple(tools))
