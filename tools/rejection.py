"""Whether a function call is refused because of what was said: ``rejectionPlan`` (vapi.md 3.4).

Pure and total. A plan that cannot be read refuses nothing, as an empty one does. Liquid is rendered
by whoever asks; patterns are JavaScript's, matched by ``tools.js_pattern`` with a bound on the
work.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, Literal

from tools.js_pattern import PatternError, found_in
from tools.loose_json import as_list, as_object, as_text

MAX_LEVELS: Final = 8
MAX_CONDITIONS: Final = 50

# What the model is told: that it was refused, not by which words (they would invite to say them).
REJECTED: Final = (
    "The tool was not called: it may not be used at this point of the conversation. "
    "Do not say that it was done. Go on with the conversation."
)


@dataclass(frozen=True, slots=True)
class Said:
    """One message of a conversation."""

    role: Literal["user", "assistant"]
    text: str


# Renders a Liquid condition over the messages so far.
Render = Callable[[str, Sequence[Said]], str]


def needs_liquid(plan: Any) -> bool:
    """Tell whether a plan has a condition in Liquid."""
    return _any_liquid(as_list(as_object(plan).get("conditions")), MAX_LEVELS)


def _any_liquid(conditions: Sequence[Any], levels: int) -> bool:
    return levels > 0 and any(
        as_object(each).get("type") == "liquid"
        or _any_liquid(as_list(as_object(each).get("conditions")), levels - 1)
        for each in conditions
    )


def has_conditions(plan: Any) -> bool:
    """Tell whether a plan may ever refuse a call."""
    return bool(as_list(as_object(plan).get("conditions")))


def unreadable(plan: Any) -> list[str]:
    """Return what is wrong with the patterns of a plan, each once."""
    found: dict[str, None] = {}
    left = list(as_list(as_object(plan).get("conditions")))[:MAX_CONDITIONS]
    while left:
        condition = as_object(left.pop(0))
        left += as_list(condition.get("conditions"))[:MAX_CONDITIONS] if len(left) < 500 else ()
        if condition.get("type") == "regex":
            try:
                found_in(as_text(condition.get("regex")), "")
            except PatternError as error:
                found[str(error)] = None
    return list(found)


def rejects(plan: Any, said: Sequence[Said], render: Render | None = None) -> bool:
    """Tell whether a call is refused: every condition of its plan holds, and there is one.

    Args:
        said: the conversation so far, oldest first.
        render: for conditions in Liquid, which hold where they render exactly ``true``; without it
            they do not hold.
    """
    conditions = as_list(as_object(plan).get("conditions"))
    if not conditions or len(conditions) > MAX_CONDITIONS:
        return False
    return all(_holds(each, said, render, MAX_LEVELS) for each in conditions)


def _holds(value: Any, said: Sequence[Said], render: Render | None, levels: int) -> bool:
    condition = as_object(value)
    kind = condition.get("type")
    if kind == "regex":
        return _matches(condition, said)
    if kind == "liquid":
        text = as_text(condition.get("liquid"))
        return render is not None and bool(text) and render(text, said).strip() == "true"
    if kind == "group" and levels:
        inner = as_list(condition.get("conditions"))[:MAX_CONDITIONS]
        found = (_holds(each, said, render, levels - 1) for each in inner)
        # An empty group decides nothing.
        return bool(inner) and (any(found) if condition.get("operator") == "OR" else all(found))
    return False


def _matches(condition: Mapping[str, Any], said: Sequence[Said]) -> bool:
    pattern = condition.get("regex")
    if not isinstance(pattern, str):
        return False
    try:
        found = found_in(pattern, _target(as_object(condition.get("target")), said))
    except PatternError:
        return False  # neither this nor its contrary can be said
    return found != (condition.get("negate") is True)


def _target(target: Mapping[str, Any], said: Sequence[Said]) -> str:
    """Return the message meant, '' where there is none: position -1 is the newest one."""
    role = target.get("role")
    mine = [each.text for each in said if role not in ("user", "assistant") or each.role == role]
    position = target.get("position", -1)
    if isinstance(position, bool) or not isinstance(position, int | float):
        position = -1
    try:
        return mine[int(position)]
    except (IndexError, ValueError, OverflowError):
        return ""
