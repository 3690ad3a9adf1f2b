"""The reader of an assistant's ``compliancePlan`` and of the older ``hipaaEnabled`` (vapi.md 2).

Owns what makes an assistant one of which nothing may be kept, and what it asks of its callers.
Pure and total.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

from tools.loose_json import as_object, as_text

# Either of them: Vapi then stores no logs, recordings or transcripts.
PLAN_SWITCHES = ("hipaaEnabled", "pciEnabled")
CONSENT_PLAN = "recordingConsentPlan"
# The second one is in older exports, for the same.
_NOTICES = frozenset({"stay-on-line", "hang-up-to-decline"})


@dataclass(frozen=True, slots=True)
class ConsentPlan:
    """What a caller is told or asked first; ``transfers``: who declines is sent to a person."""

    kind: Literal["notice", "ask"]
    message: str
    transfers: bool = False


def consent_plan(document: Mapping[str, Any]) -> ConsentPlan | None:
    """Return the recording consent of an assistant, None where it has none that can be read."""
    plan = as_object(as_object(document.get("compliancePlan")).get(CONSENT_PLAN))
    kind, message = as_text(plan.get("type")), as_text(plan.get("message")).strip()
    if not message:
        return None
    if kind in _NOTICES:
        return ConsentPlan("notice", message)
    if kind != "verbal":
        return None
    tool = as_object(plan.get("declineTool"))
    return ConsentPlan("ask", message, transfers=tool.get("type") == "transferCall")


def keeps_no_words(document: Mapping[str, Any]) -> bool:
    """Tell whether nothing of what is said with this assistant may be stored."""
    plan = as_object(document.get("compliancePlan"))
    return document.get("hipaaEnabled") is True or any(
        plan.get(name) is True for name in PLAN_SWITCHES
    )
