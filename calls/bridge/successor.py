"""Who takes over after a handoff, and what of the conversation that assistant is told.

Owns the values that a handoff passes from the service that loads an assistant to the bridge, and
the rules of ``contextEngineeringPlan`` (vapi.md 8.2). Pure; when the change happens is
``handover``'s.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from typing import Any

from calls.bridge.plan import CallPlan, HistoryItem
from tools.handoffs import HANDED_OVER, Context

# Fields of a plan that belong to the assistant; all others are the call's and stay.
_OF_ASSISTANT = (
    *("model", "session", "tools", "price", "apology", "end_call_message", "end_call_phrases"),
    *("examples", "idle", "interruption", "keypad", "filler", "assistant_name", "revision_id"),
    "tells",
)


@dataclass(frozen=True, slots=True)
class Successor:
    """The assistant that takes over: its plan, what it is told, and how the records name it.

    ``result`` is what the function call answers; ``record`` is what the service wants back when the
    call has been handed over, JSON only.
    """

    plan: CallPlan
    context: Context = Context()
    result: str = HANDED_OVER
    record: Mapping[str, Any] = field(default_factory=dict)

    def to_json(self) -> dict[str, Any]:
        """Return a JSON value from which ``from_json`` makes an equal successor."""
        return {
            "plan": self.plan.to_json(),
            "context": asdict(self.context),
            "result": self.result,
            "record": dict(self.record),
        }

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> Successor:
        """Return the successor that ``to_json`` wrote.

        Raises:
            KeyError, TypeError: the value was not written by ``to_json``.
        """
        return cls(
            plan=CallPlan.from_json(value["plan"]),
            context=Context(**value["context"]),
            result=value["result"],
            record=value["record"],
        )


def succeeding(plan: CallPlan, successor: CallPlan, history: Sequence[HistoryItem]) -> CallPlan:
    """Return the plan of a call that goes on with another assistant.

    Its first message is said at every entry (vapi.md 8.2), by the session that is there already:
    no clip is needed. The call may last as long as the longest of its assistants (vapi.md 2.2).
    """
    longest_ms = max(plan.limits.max_duration_ms, successor.limits.max_duration_ms)
    return replace(
        plan,
        **{name: getattr(successor, name) for name in _OF_ASSISTANT},
        greeting=replace(successor.greeting, clip=None),
        limits=replace(plan.limits, max_duration_ms=longest_ms),
        history=tuple(history),
        policy_line=None,
        resumed=False,
    )


def passed_on(
    inherited: Sequence[HistoryItem], own: Sequence[HistoryItem], context: Context
) -> tuple[HistoryItem, ...]:
    """Return what the next assistant is told.

    Args:
        inherited: what the source itself was told when it took over.
        own: what was said and done since.
    """
    whole = (*inherited, *own)
    if context.kind == "none":
        return ()
    if context.kind == "lastNMessages":
        return whole[-context.most :] if context.most else ()
    if context.kind == "userAndAssistantMessages":
        return tuple(item for item in whole if item.role != "tool")
    if context.kind == "previousAssistantMessages":
        # What the source heard and did stays with it: it may have asked for a card's number.
        return tuple(inherited)
    return whole
