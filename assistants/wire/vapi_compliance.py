"""The reader of an assistant's ``compliancePlan`` and of the older ``hipaaEnabled`` (vapi.md 2).

Owns what makes an assistant one of which nothing may be kept. Pure and total.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from tools.loose_json import as_object

# Either of them: Vapi then stores no logs, recordings or transcripts.
PLAN_SWITCHES = ("hipaaEnabled", "pciEnabled")


def keeps_no_words(document: Mapping[str, Any]) -> bool:
    """Tell whether nothing of what is said with this assistant may be stored."""
    plan = as_object(document.get("compliancePlan"))
    return document.get("hipaaEnabled") is True or any(
        plan.get(name) is True for name in PLAN_SWITCHES
    )
