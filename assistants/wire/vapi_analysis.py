"""The reader of an assistant's ``analysisPlan`` and of the older fields for the same (vapi.md 2.9).

Owns what is asked about a call that is over: which questions, in whose words, with Vapi's defaults
(AnalysisPlan, SummaryPlan, StructuredDataPlan and SuccessEvaluationPlan of its SDK). Pure and
total: a value of the wrong type is read as if it were absent. What becomes of a question is
``calls.analysis``'s.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final, Literal

from tools.loose_json import as_list, as_object, as_text, as_whole_number

Kind = Literal["summary", "successEvaluation", "structuredData"]

RUBRICS: Final = (
    *("NumericScale", "DescriptiveScale", "Checklist", "Matrix", "PercentageScale"),
    *("LikertScale", "AutomaticRubric", "PassFail"),
)
DEFAULT_MIN_MESSAGES: Final = 2
DEFAULT_TIMEOUT_SECONDS: Final = 5
TIMEOUT_SECONDS: Final = (1, 60)
_MIN_MESSAGES: Final = (0, 10_000)
_MOST_ASKS: Final = 20
_MOST_MESSAGES: Final = 20
_ROLES: Final = ("system", "user", "assistant", "developer")

# Vapi's own words, as its SDK documents them.
_HEARD: Final = "Here is the transcript:\n\n{{transcript}}\n\n"
_WHY: Final = "Here is the ended reason of the call:\n\n{{endedReason}}\n\n"
_SUMMARY: Final = (
    "You are an expert note-taker. You will be given a transcript of a call. Summarize the call in "
    "2-3 sentences. DO NOT return anything except the summary."
)
_STRUCTURED: Final = (
    "You are an expert data extractor. You will be given a transcript of a call. Extract "
    "structured data per the JSON Schema. DO NOT return anything except the structured data."
)
_SCHEMA: Final = "\n\nJson Schema:\n{{schema}}\n\nOnly respond with the JSON."
_SUCCESS: Final = (
    "You are an expert call evaluator. You will be given a transcript of a call and the system "
    "prompt of the AI participant. Determine if the call was successful based on the objectives "
    "inferred from the system prompt. DO NOT return anything except the result."
)
_RUBRIC: Final = "\n\nRubric:\n{{rubric}}\n\nOnly respond with the result."
_PROMPTED: Final = "Here was the system prompt of the call:\n\n{{systemPrompt}}\n\n. "


@dataclass(frozen=True, slots=True)
class Message:
    """One message of a question; ``content`` is a Liquid template."""

    role: str
    content: str


@dataclass(frozen=True, slots=True)
class Ask:
    """One question about a call.

    ``key`` names an entry of ``structuredDataMulti``; empty elsewhere. ``rubric`` is empty where
    the author's own words say how to judge.
    """

    kind: Kind
    messages: tuple[Message, ...]
    timeout_seconds: int = DEFAULT_TIMEOUT_SECONDS
    key: str = ""
    rubric: str = ""
    schema: Mapping[str, Any] | None = None


@dataclass(frozen=True, slots=True)
class AnalysisPlan:
    """What is asked about the calls of an assistant, of at least so many messages."""

    asks: tuple[Ask, ...]
    min_messages: int = DEFAULT_MIN_MESSAGES

    @property
    def timeout_seconds(self) -> int:
        """Return how long all questions may take, one after the other."""
        return sum(ask.timeout_seconds for ask in self.asks)


def read_analysis(document: Mapping[str, Any]) -> AnalysisPlan:
    """Return what an assistant's document asks about its calls.

    A document that says nothing of it asks for a summary and whether the call was a success.
    """
    plan = as_object(document.get("analysisPlan"))
    # Before there were plans, the same stood in the assistant itself, and then in the plan.
    old = {**document, **plan}
    asks = [*_summary(plan, old), *_success(plan, old), *_structured(plan, old), *_multi(plan)]
    return AnalysisPlan(
        tuple(asks[:_MOST_ASKS]),
        as_whole_number(plan.get("minMessagesThreshold"), _MIN_MESSAGES, DEFAULT_MIN_MESSAGES),
    )


def _summary(plan: Mapping[str, Any], old: Mapping[str, Any]) -> Iterator[Ask]:
    own = as_object(plan.get("summaryPlan"))
    if _is_off(own, old.get("summaryPrompt"), default=True):
        return
    prompt = as_text(old.get("summaryPrompt")) or _SUMMARY
    messages = _messages(own) or _pair(prompt, f"{_HEARD}. {_WHY}")
    seconds = _seconds(own, old.get("summaryRequestTimeoutSeconds"))
    yield Ask("summary", messages, seconds)


def _success(plan: Mapping[str, Any], old: Mapping[str, Any]) -> Iterator[Ask]:
    own = as_object(plan.get("successEvaluationPlan"))
    if _is_off(own, old.get("successEvaluationPrompt"), default=True):
        return
    named = as_text(own.get("rubric")) or as_text(old.get("successEvaluationRubric"))
    rubric = named if named in RUBRICS else ""
    given, prompt = _messages(own), as_text(old.get("successEvaluationPrompt"))
    if not given and not prompt:
        rubric = rubric or "PassFail"
    head = (prompt or _SUCCESS) + (_RUBRIC if rubric else "")
    asked = (*_pair(head, _HEARD), Message("user", _PROMPTED + _WHY))
    seconds = _seconds(own, old.get("successEvaluationRequestTimeoutSeconds"))
    yield Ask("successEvaluation", given or asked, seconds, rubric=rubric)


def _structured(plan: Mapping[str, Any], old: Mapping[str, Any]) -> Iterator[Ask]:
    own = as_object(plan.get("structuredDataPlan"))
    schema = as_object(own.get("schema")) or as_object(old.get("structuredDataSchema"))
    # The older form has no switch: it names a schema, or a prompt, or nothing.
    is_asked = bool(old.get("structuredDataSchema") or old.get("structuredDataPrompt"))
    if _is_off(own, old.get("structuredDataPrompt"), default=is_asked):
        return
    seconds = _seconds(own, old.get("structuredDataRequestTimeoutSeconds"))
    yield _extraction(own, schema, seconds, prompt=as_text(old.get("structuredDataPrompt")))


def _multi(plan: Mapping[str, Any]) -> Iterator[Ask]:
    for entry in as_list(plan.get("structuredDataMultiPlan")):
        key, own = as_text(as_object(entry).get("key")), as_object(as_object(entry).get("plan"))
        # An entry of a catalogue is there to be asked; it may still be switched off.
        if key and not _is_off(own, None, default=True):
            yield _extraction(own, as_object(own.get("schema")), _seconds(own, None), key=key)


def _extraction(
    own: Mapping[str, Any],
    schema: Mapping[str, Any],
    seconds: int,
    *,
    key: str = "",
    prompt: str = "",
) -> Ask:
    head = (prompt or _STRUCTURED) + (_SCHEMA if schema else "")
    messages = _messages(own) or _pair(head, f"{_HEARD}. {_WHY}")
    return Ask("structuredData", messages, seconds, key=key, schema=schema or None)


def _is_off(own: Mapping[str, Any], old_prompt: Any, *, default: bool) -> bool:
    enabled = own.get("enabled")
    if isinstance(enabled, bool):
        return not enabled
    # An empty prompt, or "off", is how the older form was switched off.
    if isinstance(old_prompt, str) and old_prompt.strip().lower() in ("", "off"):
        return True
    return not default


def _messages(own: Mapping[str, Any]) -> tuple[Message, ...]:
    found = []
    for each in as_list(own.get("messages"))[:_MOST_MESSAGES]:
        role, content = as_text(as_object(each).get("role")), as_object(each).get("content")
        if isinstance(content, list):
            content = "\n".join(as_text(as_object(part).get("text")) for part in content)
        if role in _ROLES and as_text(content):
            found.append(Message(role, as_text(content)))
    return tuple(found)


def _pair(system: str, user: str) -> tuple[Message, ...]:
    return Message("system", system), Message("user", user)


def _seconds(own: Mapping[str, Any], old: Any) -> int:
    older = as_whole_number(old, TIMEOUT_SECONDS, DEFAULT_TIMEOUT_SECONDS)
    return as_whole_number(own.get("timeoutSeconds"), TIMEOUT_SECONDS, older)
