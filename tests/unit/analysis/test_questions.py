"""What is asked about a call that is over (vapi.md 2.9), and what the answers become (6.5)."""

from __future__ import annotations

import datetime as dt
import json
import typing
from typing import Any

import pytest
import vapi
from openai.types.chat import ChatCompletion
from openai.types.chat.completion_create_params import CompletionCreateParamsNonStreaming
from pydantic import TypeAdapter

from assistants.wire.vapi_analysis import RUBRICS, read_analysis
from calls.analysis.questions import (
    Facts,
    Question,
    UnusableAnswer,
    analysis_object,
    answer_problems,
    answer_value,
    questions,
)
from calls.money.rates import text_microusd, text_price_for
from calls.standins.chat import chat_completion
from calls.wire.chat_completions import completion_request, read_completion

pytestmark = pytest.mark.unit

FACTS = Facts(
    transcript="AI: Hello\nUser: {{endedReason}} please",
    system_prompt="Be brief.",
    messages=[{"role": "user", "content": "Hi"}],
    ended_reason="customer-ended-call",
    variables={"customer": {"number": "+15550100001"}},
    now=dt.datetime(2026, 11, 23, tzinfo=dt.UTC),
)
SCHEMA = {"type": "object", "properties": {"day": {"type": "string"}}, "required": ["day"]}


def asked(**plan: Any) -> list[Question]:
    return list(questions(read_analysis({"analysisPlan": plan}), FACTS))


def data(**plan: Any) -> Question:
    (question,) = asked(
        summaryPlan={"enabled": False},
        successEvaluationPlan={"enabled": False},
        structuredDataPlan={"enabled": True, **plan},
    )
    return question


def judged(rubric: str = "", **plan: Any) -> Question:
    named = {"rubric": rubric} if rubric else {}
    (question,) = asked(summaryPlan={"enabled": False}, successEvaluationPlan={**named, **plan})
    return question


def request_of(question: Question) -> dict[str, Any]:
    """Return the request of a question, held to the official SDK's types."""
    form = question.form
    body = completion_request(
        model="gpt-5.4-mini",
        messages=question.messages,
        schema=form.schema if form else None,
        is_strict=form is not None and form.is_strict,
    )
    TypeAdapter(CompletionCreateParamsNonStreaming).validate_python(body)
    assert set(body) <= set(typing.get_type_hints(CompletionCreateParamsNonStreaming))
    return body


@pytest.mark.parametrize("document", [{}, {"analysisPlan": None}, {"analysisPlan": "x"}])
def test_without_a_plan_a_call_is_summarised_and_judged_as_at_vapi(
    document: dict[str, Any],
) -> None:
    plan = read_analysis(document)
    assert [(ask.kind, ask.rubric, ask.timeout_seconds) for ask in plan.asks] == [
        ("summary", "", 5),
        ("successEvaluation", "PassFail", 5),
    ]
    assert (plan.min_messages, plan.timeout_seconds) == (2, 10)


def test_the_default_questions_are_vapis_words_filled_in() -> None:
    summary, success = asked()
    assert summary.messages[0]["content"].startswith("You are an expert note-taker.")
    # What a caller says is text, never a template.
    assert "AI: Hello\nUser: {{endedReason}} please" in summary.messages[1]["content"]
    assert "customer-ended-call" in summary.messages[1]["content"]
    assert "A simple 'true' if call passed" in success.messages[0]["content"]
    assert "Be brief." in success.messages[2]["content"]


def test_everything_may_be_switched_off() -> None:
    off = {"enabled": False}
    plan = read_analysis(
        {
            "analysisPlan": {
                "summaryPlan": off,
                "successEvaluationPlan": off,
                "minMessagesThreshold": 7,
            }
        }
    )
    assert (plan.asks, plan.min_messages) == ((), 7)


@pytest.mark.parametrize(
    ("given", "seconds"), [(1, 1), (60, 60), (0, 1), (9000, 60), (None, 5), ("9", 5), (True, 5)]
)
def test_times_are_within_vapis_limits(given: Any, seconds: int) -> None:
    plan = read_analysis({"analysisPlan": {"summaryPlan": {"timeoutSeconds": given}}})
    assert plan.asks[0].timeout_seconds == seconds


def test_own_messages_are_templates_of_the_call() -> None:
    own = [
        {"role": "system", "content": "Sum up for {{customer.number}}: {{ messages }}"},
        {"role": "user", "content": [{"type": "text", "text": "{{transcript | size}}"}]},
        {"role": "robot", "content": "dropped"},
        "dropped",
    ]
    summary = asked(summaryPlan={"messages": own})[0]
    assert [each["content"] for each in summary.messages] == [
        'Sum up for +15550100001: [{"role": "user", "content": "Hi"}]',
        str(len(FACTS.transcript)),
    ]


def test_own_words_without_a_rubric_decide_how_to_judge() -> None:
    question = judged(messages=[{"role": "user", "content": "Stars, 1 to 5: {{transcript}}"}])
    assert question.form is None and "response_format" not in request_of(question)
    assert answer_value(question, " 4 stars ") == "4 stars"


def test_the_older_fields_ask_the_same() -> None:
    plan = read_analysis(
        {
            "analysisPlan": {
                "summaryPrompt": "Two words.",
                "structuredDataPrompt": "The day.",
                "structuredDataSchema": SCHEMA,
                "structuredDataRequestTimeoutSeconds": 12,
            },
            "successEvaluationRubric": "NumericScale",
        }
    )
    found = {ask.kind: ask for ask in plan.asks}
    assert found["summary"].messages[0].content == "Two words."
    assert "{{transcript}}" in found["summary"].messages[1].content
    assert found["successEvaluation"].rubric == "NumericScale"
    assert found["structuredData"].schema == SCHEMA
    assert found["structuredData"].timeout_seconds == 12
    assert "{{schema}}" in found["structuredData"].messages[0].content


@pytest.mark.parametrize("prompt", ["", "off", " OFF "])
def test_an_empty_prompt_switched_the_older_form_off(prompt: str) -> None:
    plan = read_analysis({"analysisPlan": {"summaryPrompt": prompt}})
    assert [ask.kind for ask in plan.asks] == ["successEvaluation"]


@pytest.mark.parametrize(
    ("rubric", "answered", "shown"),
    [
        ("PassFail", '{"result": false}', "false"),
        ("PassFail", "True", "true"),  # a gateway that knows no forms
        ("NumericScale", '{"result": 7}', "7"),
        ("PercentageScale", '{"result": 85}', "85%"),
        ("PercentageScale", '{"result": 850}', "100%"),
        ("DescriptiveScale", '{"result": "Good"}', "Good"),
        ("LikertScale", '{"result": "Strongly Agree"}', "Strongly Agree"),
        ("Checklist", '{"result": [{"criterion": "a", "met": true}]}',
         '[{"criterion": "a", "met": true}]'),
    ],
)  # fmt: skip
def test_a_verdict_is_text_whatever_its_rubric(rubric: str, answered: str, shown: str) -> None:
    question = judged(rubric)
    assert answer_value(question, answered) == shown
    found = analysis_object([(question.ask, shown)])
    assert vapi.Analysis(**found).success_evaluation == shown


@pytest.mark.parametrize("rubric", RUBRICS)
def test_every_rubric_has_a_strict_form_that_the_stand_in_fills(rubric: str) -> None:
    question = judged(rubric)
    body = request_of(question)
    form = body["response_format"]["json_schema"]
    assert form["strict"] is True
    # What strict outputs demand of every object (Structured Outputs guide).
    for node in _objects(form["schema"]):
        assert node["additionalProperties"] is False
        assert node["required"] == list(node["properties"])
    status, answer = chat_completion(json.dumps(body).encode())
    assert status == 200
    ChatCompletion.model_validate(answer, strict=True)
    completion = read_completion(json.dumps(answer).encode())
    assert answer_value(question, completion.text)
    assert completion.prompt_tokens and completion.completion_tokens and not completion.problem


def _objects(node: Any) -> list[dict[str, Any]]:
    found = [node] if isinstance(node, dict) and node.get("type") == "object" else []
    children = node.values() if isinstance(node, dict) else node if isinstance(node, list) else ()
    return found + [each for child in children for each in _objects(child)]


def test_structured_data_is_asked_for_in_its_schema_and_kept_though_it_differs() -> None:
    question = data(schema=SCHEMA)
    body = request_of(question)
    assert body["response_format"]["json_schema"]["schema"] == SCHEMA
    assert body["response_format"]["json_schema"]["strict"] is False
    assert json.dumps(SCHEMA) in question.messages[0]["content"]
    value = answer_value(question, '```json\n{"day": "Monday"}\n```')
    assert value == {"day": "Monday"} and answer_problems(question, value) == []
    (problem,) = answer_problems(question, {"night": 1})
    assert "day" in problem


def test_a_schema_that_is_no_object_is_wrapped_in_one() -> None:
    question = data(schema={"type": "array", "items": {"type": "string"}})
    schema = request_of(question)["response_format"]["json_schema"]["schema"]
    assert schema["properties"]["result"]["type"] == "array"
    assert answer_value(question, '{"result": ["a"]}') == {"result": ["a"]}
    assert answer_value(question, '["a"]') == {"result": ["a"]}


@pytest.mark.parametrize("text", ["", "  ", "I cannot say.", "{", '{"a": NaN}', "[" * 5000])
def test_what_is_no_data_is_no_answer(text: str) -> None:
    with pytest.raises(UnusableAnswer):
        answer_value(data(schema=SCHEMA), text)


def test_several_extractions_stand_beside_each_other() -> None:
    found = asked(
        summaryPlan={"enabled": False},
        successEvaluationPlan={"enabled": False},
        structuredDataMultiPlan=[
            {"key": "first", "plan": {"enabled": True, "schema": SCHEMA}},
            {"key": "second", "plan": {"schema": SCHEMA, "timeoutSeconds": 9}},
            {"key": "off", "plan": {"enabled": False, "schema": SCHEMA}},
            {"key": "", "plan": {}},
        ],
    )
    assert [(each.ask.key, each.ask.timeout_seconds) for each in found] == [
        ("first", 5),
        ("second", 9),
    ]
    analysis = analysis_object((each.ask, {"day": each.ask.key}) for each in found)
    assert analysis == {
        "structuredDataMulti": [{"first": {"day": "first"}}, {"second": {"day": "second"}}]
    }
    assert vapi.Analysis(**analysis).structured_data_multi == analysis["structuredDataMulti"]


@pytest.mark.parametrize(
    ("choice", "problem"),
    [
        ({"message": {"content": "Half a"}, "finish_reason": "length"}, "cut off"),
        ({"message": {"content": None, "refusal": "No."}, "finish_reason": "stop"}, "refused"),
        ({"message": {"content": ""}, "finish_reason": "content_filter"}, "filter"),
    ],
)
def test_an_answer_that_is_none_says_why(choice: dict[str, Any], problem: str) -> None:
    assert problem in read_completion(json.dumps({"choices": [choice]}).encode()).problem


@pytest.mark.parametrize(
    "body", [b"", b"[]", b"{}", b'{"choices":[]}', b'{"choices":[{}]}', b"<p>"]
)
def test_what_is_no_chat_completion_is_refused(body: bytes) -> None:
    with pytest.raises(ValueError, match="the answer"):
        read_completion(body)


def test_tokens_cost_what_the_list_says_and_unknown_models_the_most() -> None:
    counts = {"prompt_tokens": 1000, "completion_tokens": 100, "cached_tokens": 400}
    mini = text_price_for("gpt-5.4-mini-2026-03-17")
    assert text_microusd(**counts, price=mini) == 600 * 0.75 + 400 * 0.075 + 100 * 4.5
    assert text_price_for("mystery").completion > mini.completion
    assert text_microusd(prompt_tokens=10, completion_tokens=0, cached_tokens=99, price=mini) == 1


@pytest.mark.parametrize(
    "change", [{"model": ""}, {"messages": []}, {"stream": True}, {"messages": [{"role": "x"}]},
               {"response_format": {"type": "json_schema", "json_schema": {"schema": {}}}}],
)  # fmt: skip
def test_the_stand_in_refuses_what_the_provider_refuses(change: dict[str, Any]) -> None:
    body = {**request_of(judged()), **change}
    assert chat_completion(json.dumps(body).encode())[0] == 400
