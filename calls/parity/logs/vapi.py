"""Vapi's own documents: a call object, and the messages it posts to servers (vapi.md 5 and 6).

Pure. Owns where each value stands, legacy copies at the top included, and which copy of the
messages is the fullest. Total: a field of the wrong type is read as if it were absent. It must not
decide whether a document is a call's at all; that is ``reading``'s.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping
from dataclasses import replace
from typing import Any, Final

from calls.parity.logs.loose import first, number_of, text_of, time_of
from calls.parity.logs.messages import (
    Spoken,
    best_of,
    is_any,
    read_calls,
    read_messages,
    read_openai_messages,
    read_transcript,
    with_more_tools,
)
from calls.parity.logs.past_call import Consent, Direction, PastCall, twins_of
from tools.loose_json import as_list, as_object

_DIRECTIONS: Final[Mapping[str, Direction]] = {
    "inboundPhoneCall": "inbound",
    "outboundPhoneCall": "outbound",
    "webCall": "web",
    "vapi.websocketCall": "web",
}
_RECORDINGS: Final[Mapping[str, tuple[tuple[str, ...], ...]]] = {
    "stereo": (
        ("artifact", "recording", "stereoUrl"),
        ("artifact", "stereoRecordingUrl"),
        ("stereoRecordingUrl",),
    ),
    "mono": (
        ("artifact", "recording", "mono", "combinedUrl"),
        ("artifact", "recordingUrl"),
        ("recordingUrl",),
    ),
    "customer": (("artifact", "recording", "mono", "customerUrl"),),
    "assistant": (("artifact", "recording", "mono", "assistantUrl"),),
}
_REACHED: Final = frozenset({"connected", "completed"})
_NOT_REACHED: Final = frozenset({"no-answer", "busy", "voicemail", "failed", "cancelled"})
_OVER: Final = frozenset({"ended", "not-found", "deletion-failed"})
_REPORT: Final = "end-of-call-report"
_MOST_ROWS: Final = 200


def read_call(call: Mapping[str, Any], message: Mapping[str, Any] | None = None) -> PastCall:
    """Return what a call object says, with what the message around it adds.

    Args:
        message: the server message that carries the call: its own fields are newer than the
            call's, which may be a copy from the begin.
    """
    outer = message if message is not None else call
    both = {**call, **{k: v for k, v in outer.items() if v is not None and k != "call"}}
    created_at = time_of(call.get("createdAt"))
    started_at = time_of(both.get("startedAt"))
    ended_at = time_of(both.get("endedAt"))
    kind = text_of(outer.get("type")) if message is not None else ""
    status = text_of(both.get("status"))
    has_ended = kind == _REPORT or ended_at is not None or status in _OVER
    # An extract may have left the state out.
    has_ended = has_ended or (not status and bool(text_of(both.get("endedReason"))))
    told_at = time_of(outer.get("timestamp")) if message is not None else None
    if kind == _REPORT or (kind == "status-update" and has_ended):
        ended_at = ended_at or told_at
    if started_at is None and ended_at is not None:
        # Reports of earlier years have an end and a length.
        seconds = number_of(first(both.get("durationSeconds"), _from_ms(both.get("durationMs"))))
        if seconds is not None and 0 < seconds < 86_400:
            started_at = ended_at - dt.timedelta(seconds=seconds)
    if has_ended and ended_at is None:
        # The object was last changed when the call was over; failed calls have nothing better.
        ended_at = time_of(call.get("updatedAt")) or started_at or created_at
    spoken = _spoken(call, outer, started_at or created_at)
    # One that never connected did nothing; of any other the messages have to tell. An extract
    # without a state may have left the begin out as well, and where somebody spoke there was one.
    has_no_begin = message is None and has_ended and started_at is None
    never_began = has_no_begin and bool(status) and not is_any(spoken)
    transport, details = as_object(call.get("transport")), as_object(outer.get("artifact"))
    return PastCall(
        log_id=text_of(call.get("id"), 64),
        provider_sid=text_of(first(call.get("phoneCallProviderId"), transport.get("callSid")), 80),
        direction=_DIRECTIONS.get(text_of(call.get("type")), "inbound"),
        **_people(call, outer),
        **_assistant(call, outer),
        created_at=created_at or started_at or told_at,
        # Without a begin, ms count from the next best moment.
        started_at=started_at or (None if never_began else created_at or told_at),
        ended_at=ended_at,
        has_ended=has_ended,
        ended_reason=text_of(both.get("endedReason"), 120),
        speech=spoken.speech,
        tools=spoken.tools,
        has_times=spoken.has_times,
        tells_tools=never_began or (_has_messages(call, outer) and not spoken.is_cut),
        start_is_told=started_at is not None,
        was_transferred=_transferred(both, details),
        analysis=_analysis(both),
        structured=as_object(details.get("structuredOutputs")),
        cost_usd=number_of(both.get("cost")) if has_ended else None,
        costs=tuple(each for each in as_list(both.get("costs"))[:_MOST_ROWS] if as_object(each)),
        cost_breakdown=as_object(both.get("costBreakdown")),
        latency=_latency(as_object(details.get("performanceMetrics"))),
        recordings=_recordings(both),
        consent=_consent(both.get("compliance")),
        problems=spoken.problems,
    )


def read_tool_request(call: Mapping[str, Any], message: Mapping[str, Any]) -> PastCall:
    """Return what a request to a tool server says: its tool calls, whose answers it cannot know.

    The messages along with it, if there are any, tell the calls before and their answers.
    """
    past = read_call(call, message)
    told_at = time_of(message.get("timestamp"))
    at_ms = None  # without any moment of the message there is nothing but an order
    if told_at is not None and past.started_at is not None:
        at_ms = max(0, round((told_at - past.started_at).total_seconds() * 1000))
    asked = asked_calls(message, at_ms)
    known = {tool.tool_call_id for tool in past.tools}
    known |= set(twins_of(replace(past, tools=asked.tools), past))
    latest = max((tool.started_ms for tool in past.tools), default=0)
    new = tuple(
        replace(tool, started_ms=max(tool.started_ms, latest))
        for tool in asked.tools
        if tool.tool_call_id not in known
    )
    return replace(
        past,
        tools=(*past.tools, *new),
        has_times=past.has_times and asked.has_times if past.tools else asked.has_times,
    )


def asked_calls(message: Mapping[str, Any], at_ms: int | None = None) -> Spoken:
    """Return the tool calls that a server is asked to make by this very message."""
    told_at = time_of(message.get("timestamp"))
    return read_calls(_asked(message), at_ms, str(told_at.timestamp()) if told_at else "")


def _asked(message: Mapping[str, Any]) -> list[Any]:
    listed = first(message.get("toolCallList"), message.get("toolCalls"))
    if listed is None:
        listed = [
            {
                "name": first(each.get("name"), as_object(each.get("function")).get("name")),
                **as_object(each.get("toolCall")),
            }
            for each in map(as_object, as_list(message.get("toolWithToolCallList")))
        ]
    old = as_object(message.get("functionCall"))
    return [*as_list(listed), *([old] if old else [])]


def _spoken(
    call: Mapping[str, Any], outer: Mapping[str, Any], began_at: dt.datetime | None
) -> Spoken:
    """Return the fullest copy of the messages; without any, the plain transcript."""
    places = (outer.get("artifact"), outer, call.get("artifact"), call)
    rows = [as_object(place) for place in places]
    found = best_of([read_messages(row.get("messages"), began_at) for row in rows])
    other = best_of([read_openai_messages(row.get("messagesOpenAIFormatted")) for row in rows])
    if is_any(found) or is_any(other):
        return with_more_tools(found, other) if is_any(found) else other
    texts = (read_transcript(row.get("transcript")) for row in rows)
    speech = next((each for each in texts if each), ())
    if not speech:
        return Spoken()
    problem = "only a plain transcript is in the log: no times, no tool calls"
    return Spoken(speech, has_times=False, problems=(problem,))


def _has_messages(call: Mapping[str, Any], outer: Mapping[str, Any]) -> bool:
    rows = [
        as_object(place) for place in (outer.get("artifact"), outer, call.get("artifact"), call)
    ]
    return any(
        isinstance(row.get(name), list)
        for row in rows
        for name in ("messages", "messagesOpenAIFormatted")
    )


def _people(call: Mapping[str, Any], outer: Mapping[str, Any]) -> dict[str, Any]:
    customer = as_object(first(outer.get("customer"), call.get("customer")))
    number = as_object(first(outer.get("phoneNumber"), call.get("phoneNumber")))
    theirs = text_of(first(customer.get("number"), customer.get("sipUri")), 80)
    ours = text_of(first(number.get("number"), number.get("twilioPhoneNumber")), 80)
    is_outbound = call.get("type") == "outboundPhoneCall"
    return {
        "caller": ours if is_outbound else theirs,
        "callee": theirs if is_outbound else ours,
        "number_id": text_of(first(call.get("phoneNumberId"), number.get("id")), 64),
    }


def _assistant(call: Mapping[str, Any], outer: Mapping[str, Any]) -> dict[str, Any]:
    assistant = as_object(first(outer.get("assistant"), call.get("assistant")))
    return {
        "assistant_id": text_of(first(call.get("assistantId"), assistant.get("id")), 64),
        "assistant_name": text_of(assistant.get("name"), 200),
        "squad_id": text_of(call.get("squadId"), 64),
    }


def _transferred(both: Mapping[str, Any], details: Mapping[str, Any]) -> bool | None:
    """Return what is said of a transfer apart from the reason of the end; None: nothing.

    The records are of attempts, each with how it ended (the SDK's ``TransferArtifact``).
    """
    records = map(as_object, as_list(details.get("transfers")))
    ends = {text_of(each.get("status")) for each in records}
    if ends & _REACHED or as_object(both.get("destination")):
        return True
    return False if ends and ends <= _NOT_REACHED else None


def _analysis(both: Mapping[str, Any]) -> dict[str, Any]:
    found = dict(as_object(both.get("analysis")))
    if "summary" not in found and text_of(both.get("summary")):
        found["summary"] = text_of(both.get("summary"))
    return {str(name)[:80]: value for name, value in found.items() if value is not None}


def _latency(metrics: Mapping[str, Any]) -> dict[str, Any]:
    found: dict[str, Any] = {
        name: number
        for name, value in metrics.items()
        if isinstance(name, str) and (number := number_of(value)) is not None
    }
    turns = [
        {
            str(name): number
            for name, value in as_object(each).items()
            if (number := number_of(value)) is not None
        }
        for each in as_list(metrics.get("turnLatencies"))[:_MOST_ROWS]
    ]
    return found | ({"turns": turns} if any(turns) else {})


def _recordings(both: Mapping[str, Any]) -> dict[str, str]:
    found: dict[str, str] = {}
    for name, places in _RECORDINGS.items():
        for path in places:
            value: Any = both
            for key in path:
                value = as_object(value).get(key)
            if isinstance(value, str) and value.startswith(("https://", "http://")):
                found[name] = value[:2000]
                break
    return found


def _consent(compliance: Any) -> Consent:
    """Return whether the caller agreed to be recorded (the SDK's ``RecordingConsent``)."""
    stored = as_object(as_object(compliance).get("recordingConsent"))
    if not stored:
        return "unknown"
    return "granted" if time_of(stored.get("grantedAt")) is not None else "refused"


def _from_ms(value: Any) -> float | None:
    number = number_of(value)
    return None if number is None else number / 1000
