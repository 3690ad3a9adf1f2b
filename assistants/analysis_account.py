"""Findings on an assistant's ``analysisPlan`` and the older fields for the same (vapi.md 2.9).

Pure. Owns the words; what is asked about a call is read by ``wire.vapi_analysis``.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, Final

from assistants.findings import INVALID, LOSSY, MAPPED, UNSUPPORTED, Notes
from assistants.prompt import problems
from assistants.wire.files import step
from assistants.wire.vapi_analysis import RUBRICS
from tools.loose_json import as_list, as_object, as_text

_DONE: Final = (
    "Calls are summarised and judged after they end, by the text model of their connection; the "
    "end-of-call report waits for it."
)
# The same, from before there were plans.
OLDER: Final = (
    *("summaryPrompt", "structuredDataPrompt", "structuredDataSchema"),
    *("successEvaluationPrompt", "successEvaluationRubric"),
)
_RUBRIC_UNKNOWN: Final = (
    "Not a rubric of Vapi's, so the prompt alone says how to judge. Fix: one of "
    f"{', '.join(RUBRICS)}."
)


def account_analysis(document: Mapping[str, Any], notes: Notes) -> None:
    """Add the findings on what is asked about calls that are over."""
    for name in OLDER:
        if document.get(name):
            notes.add(step("$", name), MAPPED, _DONE)
    _rubric(document.get("successEvaluationRubric"), "$.successEvaluationRubric", notes)
    plan = as_object(document.get("analysisPlan"))
    if not plan:
        return
    notes.add("$.analysisPlan", MAPPED, _DONE)
    _rubric(plan.get("successEvaluationRubric"), "$.analysisPlan.successEvaluationRubric", notes)
    if plan.get("outcomeIds"):
        notes.add("$.analysisPlan.outcomeIds", UNSUPPORTED, "Outcomes are not calculated.")
    success = as_object(plan.get("successEvaluationPlan"))
    _rubric(success.get("rubric"), "$.analysisPlan.successEvaluationPlan.rubric", notes)
    for path, one in _plans(plan):
        is_data = "structuredData" in path
        if is_data and one.get("enabled") is not False and not one.get("schema"):
            if one.get("enabled") is True or "Multi" in path:
                words = "There is no schema, so the model chooses what it extracts."
                notes.add(step(path, "enabled") if "enabled" in one else path, LOSSY, words)
        for index, message in enumerate(as_list(one.get("messages"))):
            place = step(step(step(path, "messages"), index), "content")
            for problem in problems(as_text(as_object(message).get("content")))[:3]:
                notes.add(place, INVALID, problem)


def _plans(plan: Mapping[str, Any]) -> Iterator[tuple[str, Mapping[str, Any]]]:
    for name in ("summaryPlan", "structuredDataPlan", "successEvaluationPlan"):
        yield step("$.analysisPlan", name), as_object(plan.get(name))
    for index, entry in enumerate(as_list(plan.get("structuredDataMultiPlan"))):
        place = step(step("$.analysisPlan", "structuredDataMultiPlan"), index)
        yield step(place, "plan"), as_object(as_object(entry).get("plan"))


def _rubric(value: Any, path: str, notes: Notes) -> None:
    if value and value not in RUBRICS:
        notes.add(path, INVALID, _RUBRIC_UNKNOWN)
