"""Questions about a call, filled in, and their answers as Vapi's ``analysis`` holds them.

Pure. Owns the form in which an answer is wanted: what a rubric allows, where a schema goes, and the
text that ``successEvaluation`` becomes (vapi.md 2.9, 6.5). It must not know rows, nor the wire.
"""

from __future__ import annotations

import datetime as dt
import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from assistants.prompt import render
from assistants.wire.vapi_analysis import AnalysisPlan, Ask
from tools.schema import argument_problems

# How each rubric is told to the model: Vapi's words for it.
_RUBRIC_WORDS: Final[Mapping[str, str]] = {
    "NumericScale": "A scale of 1 to 10.",
    "DescriptiveScale": "A scale of Excellent, Good, Fair, Poor.",
    "Checklist": "A checklist of criteria and their status.",
    "Matrix": "A grid that evaluates multiple criteria across different performance levels.",
    "PercentageScale": "A scale of 0% to 100%.",
    "LikertScale": "A scale of Strongly Agree, Agree, Neutral, Disagree, Strongly Disagree.",
    "AutomaticRubric": (
        "Automatically break down evaluation into several criteria, each with its own score."
    ),
    "PassFail": "A simple 'true' if call passed, 'false' if not.",
}
_LIKERT: Final = ("Strongly Agree", "Agree", "Neutral", "Disagree", "Strongly Disagree")
_LEVELS: Final = ("Excellent", "Good", "Fair", "Poor")
_MOST_CHARACTERS: Final = 100_000  # of one answer


@dataclass(frozen=True, slots=True)
class Facts:
    """What a question may speak of. ``variables`` are those of the call itself."""

    transcript: str
    system_prompt: str
    messages: Sequence[Mapping[str, Any]]
    ended_reason: str
    variables: Mapping[str, Any]
    now: dt.datetime


@dataclass(frozen=True, slots=True)
class Form:
    """The JSON that an answer has to be; ``is_strict`` where every keyword is one we chose.

    ``is_wrapped``: the value stands in a member ``result``, for an answer has to be an object.
    """

    schema: Mapping[str, Any]
    is_strict: bool = False
    is_wrapped: bool = False


@dataclass(frozen=True, slots=True)
class Question:
    """One request that is ready: messages as the provider takes them, and the form wanted."""

    ask: Ask
    messages: tuple[dict[str, str], ...]
    form: Form | None = None


class UnusableAnswer(Exception):
    """The model answered something that is not what was asked for; the text says what."""


def questions(plan: AnalysisPlan, facts: Facts) -> tuple[Question, ...]:
    """Return the questions of a plan about one call."""
    return tuple(_question(ask, facts) for ask in plan.asks)


def _question(ask: Ask, facts: Facts) -> Question:
    variables = {
        **facts.variables,
        "transcript": facts.transcript,
        "systemPrompt": facts.system_prompt,
        # As text: Liquid prints a list without what separates its items.
        "messages": json.dumps(list(facts.messages), ensure_ascii=False),
        "endedReason": facts.ended_reason,
        "rubric": _RUBRIC_WORDS.get(ask.rubric, ""),
        "schema": json.dumps(ask.schema, ensure_ascii=False) if ask.schema else "",
    }
    messages = tuple(
        {"role": each.role, "content": render(each.content, variables, facts.now)}
        for each in ask.messages
    )
    return Question(ask, messages, _form(ask))


def _form(ask: Ask) -> Form | None:
    if ask.kind == "structuredData" and ask.schema:
        return _form_of_schema(ask.schema)
    if ask.kind == "successEvaluation" and ask.rubric:
        return Form(_wrapped(_rubric_schema(ask.rubric)), is_strict=True, is_wrapped=True)
    return None


def _form_of_schema(schema: Mapping[str, Any]) -> Form:
    kind = schema.get("type")
    if kind == "object" or (kind is None and "properties" in schema):
        return Form({**schema, "type": "object"})
    return Form(_wrapped(schema), is_wrapped=True)


def _wrapped(schema: Mapping[str, Any]) -> dict[str, Any]:
    return {
        "type": "object",
        "properties": {"result": dict(schema)},
        "required": ["result"],
        "additionalProperties": False,
    }


def _rubric_schema(rubric: str) -> dict[str, Any]:
    """Return what a rubric allows, in keywords that strict outputs have always known."""
    if rubric == "PassFail":
        return {"type": "boolean"}
    if rubric == "NumericScale":
        return {"type": "integer", "enum": list(range(1, 11))}
    if rubric == "PercentageScale":
        return {"type": "integer", "description": "0 to 100"}
    if rubric == "DescriptiveScale":
        return {"type": "string", "enum": list(_LEVELS)}
    if rubric == "LikertScale":
        return {"type": "string", "enum": list(_LIKERT)}
    verdict = {
        "Checklist": ("met", {"type": "boolean"}),
        "Matrix": ("level", {"type": "string", "enum": list(_LEVELS)}),
        "AutomaticRubric": ("score", {"type": "integer", "enum": list(range(1, 11))}),
    }
    name, value = verdict[rubric]
    entry = {
        "type": "object",
        "properties": {"criterion": {"type": "string"}, name: value},
        "required": ["criterion", name],
        "additionalProperties": False,
    }
    return {"type": "array", "items": entry}


def answer_value(question: Question, text: str) -> Any:
    """Return what an answer adds to the analysis: text, or an object of structured data.

    Raises:
        UnusableAnswer: it is empty, or no JSON where that was asked for.
    """
    text = _bare(text)
    if not text:
        raise UnusableAnswer("the answer was empty")
    if question.ask.kind == "structuredData":
        return _data(question, text)
    if question.ask.kind == "successEvaluation" and question.form is not None:
        return _verdict(question.ask.rubric, _unwrapped(text))
    return text[:_MOST_CHARACTERS]


def answer_problems(question: Question, value: Any) -> list[str]:
    """Return how structured data differs from its schema, in words; it is kept all the same."""
    schema = question.ask.schema
    if question.ask.kind != "structuredData" or not schema or not isinstance(value, dict):
        return []
    if question.form is not None and question.form.is_wrapped:
        return []
    return argument_problems(schema, value)


def _data(question: Question, text: str) -> dict[str, Any]:
    value = _json(text)
    if value is None:
        raise UnusableAnswer("the answer is not JSON")
    # Vapi's ``structuredData`` is an object; what is none stays in the member that holds it.
    return value if isinstance(value, dict) else {"result": value}


def _unwrapped(text: str) -> Any:
    value = _json(text)
    if isinstance(value, dict) and "result" in value:
        return value["result"]
    # A gateway that does not know forms sends the bare words.
    return text if value is None else value


def _verdict(rubric: str, value: Any) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, str):
        said = value.strip()
        return said.lower() if rubric == "PassFail" else said
    if rubric == "PercentageScale" and isinstance(value, int | float):
        return f"{min(max(value, 0), 100):g}%"
    return json.dumps(value, ensure_ascii=False)


def _bare(text: str) -> str:
    """Take off the fence that models put around JSON."""
    text = text.strip().replace("\x00", "")
    if text.startswith("```") and text.endswith("```") and "\n" in text:
        return text.split("\n", 1)[1][:-3].strip()
    return text


def _json(text: str) -> Any:
    if len(text) > _MOST_CHARACTERS:
        return None
    try:
        return json.loads(text, parse_constant=_not_json)
    except (ValueError, RecursionError):
        return None


def _not_json(word: str) -> Any:
    raise ValueError(word)


def analysis_object(answers: Iterable[tuple[Ask, Any]]) -> dict[str, Any]:
    """Return Vapi's ``analysis`` of what was answered; what was not is left out.

    Entries of ``structuredDataMulti`` are objects of one member, their key, as the SDK's type (a
    list of objects) allows.
    """
    found: dict[str, Any] = {}
    for ask, value in answers:
        if ask.key:
            found.setdefault("structuredDataMulti", []).append({ask.key: value})
        else:
            found[ask.kind] = value
    return found
