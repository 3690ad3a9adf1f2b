"""Logs named ``call.ended``: this platform's own (docs/schemas), and those that a service wrote
after the founding recipe.

Pure. Owns both shapes. The recipe fixes no schema, so its logs are read by the names that Vapi uses
and by those of our own event, in either spelling of words.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import replace
from typing import Any, Final

from calls.conversation import ToolUse
from calls.parity.logs.loose import (
    arguments_text,
    first,
    ms_of,
    number_of,
    text_of,
    time_of,
    words_of,
)
from calls.parity.logs.messages import STEP_MS
from calls.parity.logs.past_call import UNNAMED, Direction, PastCall
from calls.parity.logs.results import has_failed
from calls.parity.logs.vapi import read_call
from tools.loose_json import as_list, as_object

_CAPITAL: Final = re.compile(r"(?<=[a-z0-9])([A-Z])")
_DIRECTIONS: Final[tuple[Direction, ...]] = ("inbound", "outbound", "web")
_BAD_STATES: Final = frozenset({"error", "failed", "timeout", "refused"})


def read_ended(event: Mapping[str, Any]) -> PastCall:
    """Return what a ``call.ended`` log says; the call is its ``call``, its ``data`` or itself."""
    inner = as_object(first(event.get("call"), event.get("data"), event))
    inner = as_object(first(inner.get("call"), inner))
    flat = {_snake(name): value for name, value in {**event, **inner}.items()}
    past = read_call(
        inner, {**inner, "status": "ended", **_without(event, "call", "data"), "type": "call.ended"}
    )
    ended_at = time_of(first(flat.get("ended_at"), flat.get("timestamp"))) or past.ended_at
    started_at = time_of(flat.get("started_at")) or past.started_at
    tools, has_times = _tools(flat)
    return replace(
        past,
        log_id=text_of(first(flat.get("call_id"), past.log_id, flat.get("id")), 64),
        provider_sid=text_of(first(flat.get("call_sid"), past.provider_sid), 80),
        stack="direct" if flat.get("stack") == "direct" else "vapi",
        direction=_direction(flat.get("direction"), past.direction),
        caller=past.caller or _phone(first(flat.get("caller"), flat.get("from"))),
        callee=past.callee or _phone(first(flat.get("number"), flat.get("callee"), flat.get("to"))),
        assistant_id=past.assistant_id or text_of(flat.get("assistant_id"), 64),
        created_at=past.created_at or started_at or ended_at,
        started_at=started_at,
        ended_at=ended_at,
        has_ended=True,
        ended_reason=past.ended_reason or text_of(flat.get("ended_reason"), 120),
        tools=tools or past.tools,
        has_times=has_times if tools else past.has_times,
        tells_tools="tool_calls" in flat or past.tells_tools,
        start_is_told=started_at is not None,
        cost_usd=number_of(first(flat.get("cost_usd"), flat.get("cost"))),
    )


def _tools(flat: Mapping[str, Any]) -> tuple[tuple[ToolUse, ...], bool]:
    found: list[ToolUse] = []
    rows = [as_object(each) for each in as_list(flat.get("tool_calls"))]
    has_times = all(number_of(_row(each).get("started_ms")) is not None for each in rows)
    for place, each in enumerate(rows):
        row = _row(each)
        name = text_of(first(row.get("name"), as_object(row.get("function")).get("name")), 200)
        if not name:
            continue
        arguments = first(
            row.get("arguments_json"),
            row.get("arguments"),
            row.get("parameters"),
            as_object(row.get("function")).get("arguments"),
        )
        state = text_of(first(row.get("state"), row.get("outcome"))).lower()
        result = row.get("result", row.get("output"))
        latest = found[-1].started_ms if found else 0
        started_ms = ms_of(number_of(row.get("started_ms"))) if has_times else place * STEP_MS
        words = words_of(result)
        is_bad = state in _BAD_STATES or has_failed(words)
        found.append(
            ToolUse(
                text_of(first(row.get("tool_call_id"), row.get("id")), 64)
                or f"{UNNAMED}{name[:40]}-{place + 1}",
                name,
                arguments_text(arguments),
                max(started_ms or 0, latest),
                duration_ms=ms_of(number_of(row.get("duration_ms"))),
                output=words,
                state="running" if result is None and not state else "error" if is_bad else "ok",
                running=(result is None and not state) or state == "running",
            )
        )
    return tuple(found), has_times


def _row(value: Mapping[str, Any]) -> dict[str, Any]:
    return {_snake(name): each for name, each in value.items()}


def _snake(name: Any) -> str:
    return _CAPITAL.sub(lambda found: f"_{found[1].lower()}", str(name)).replace("-", "_")


def _direction(value: Any, otherwise: Direction) -> Direction:
    return next((each for each in _DIRECTIONS if each == value), otherwise)


def _phone(value: Any) -> str:
    return text_of(first(as_object(value).get("number"), value), 80)


def _without(value: Mapping[str, Any], *names: str) -> dict[str, Any]:
    return {name: each for name, each in value.items() if name not in names}


def json_text(value: Any) -> Any:
    """Return the object that JSON text holds, the value itself where it is no such text."""
    if not isinstance(value, str) or not value.lstrip().startswith(("{", "[")):
        return value
    try:
        return json.loads(value, strict=False)
    except (ValueError, RecursionError):
        return value
