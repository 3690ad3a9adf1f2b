"""Who answers a call: one pure decision, with the reason that is stored on the call."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

# ``ask``: a server is asked who answers.
Answer = Literal["direct", "busy", "decline", "fallback", "ask"]


@dataclass(frozen=True, slots=True)
class NumberFacts:
    """What the decision needs to know of a number; ``None`` instead means: we do not know it.

    ``asks``: it has no assistant, and a server says who answers.
    """

    route: str
    has_revision: bool
    has_connection: bool
    policy_reviewed: bool
    model_lost: bool = False
    contract_problem: str = ""
    asks: bool = False


@dataclass(frozen=True, slots=True)
class Decision:
    """The answer and, in a sentence for the person on duty, why."""

    answer: Answer
    reason: str


def decide(facts: NumberFacts | None, *, live_calls: int, max_calls: int) -> Decision:
    """Decide who answers. ``live_calls`` counts this process against its own ceiling."""
    if facts is None:
        return Decision("decline", "unknown number")
    if facts.route == "paused":
        return Decision("decline", "the number is paused")
    if facts.route == "vapi":
        return Decision("decline", "the number's route is vapi, and Twilio sent the call here")
    for holds, reason in (
        (facts.has_revision or facts.asks, "the number has no assistant with a published revision"),
        (facts.has_connection, "no provider connection: none on the number and no default"),
        (facts.policy_reviewed, "the number's call policy has not been reviewed"),
    ):
        if not holds:
            return Decision("decline", reason)
    if facts.contract_problem:
        return Decision("decline", facts.contract_problem)
    if facts.model_lost:
        return Decision("fallback", "the model could not be reached by the last calls")
    if live_calls >= max_calls:
        return Decision("busy", f"{live_calls} calls are live, the ceiling is {max_calls}")
    if facts.asks and not facts.has_revision:
        return Decision("ask", f"route {facts.route}: its server is asked who answers")
    if facts.route == "canary":
        # Forms refuse this route until calls can be handed back; a caller is never turned away.
        return Decision("direct", "route canary, without a hand-over to Vapi: every call is ours")
    return Decision("direct", f"route {facts.route}")
