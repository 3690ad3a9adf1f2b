"""Has a text model read the calls that wait for it, and writes down what it made of them.

Owns the claim (a lease in the call's row, so that a worker that dies loses it), the requests, each
within its plan's time and never in a database transaction, and the end: the analysis, its cost and
the report that waited, in one transaction. What is asked is ``calls.analysis``.
"""

from __future__ import annotations

import asyncio
import datetime as dt
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Final

import structlog
from django.db import transaction
from django.utils import timezone

from assistants.prompt import render
from calls.analysis.questions import (
    Facts,
    Question,
    UnusableAnswer,
    analysis_object,
    answer_problems,
    answer_value,
    questions,
)
from calls.conversation import conversation, forms
from calls.media.database import in_database
from calls.models import Call, ProviderConnection
from calls.money.rates import text_microusd, text_price_for
from calls.selectors.handoffs import speaker_names
from calls.selectors.records import speech_of, tool_use_of
from calls.services.analysis import (
    DONE,
    WAITING,
    analysis_state,
    analysis_verdict,
    poke,
    state_set,
    text_model,
)
from calls.services.call_finish import call_price
from calls.services.call_variables import variables_for
from calls.services.privacy import keeping_for
from calls.services.reports import reports_enqueue
from calls.services.vapi_objects import transcript_labels
from calls.wire.chat_completions import PATH, Completion, completion_request, read_completion
from voiceplatform.base import http
from voiceplatform.base.fields import DecryptionError

# A worker that is killed loses its calls to another one after this long.
LEASE: Final = dt.timedelta(seconds=15)
AT_ONCE: Final = 20
# How long a round takes up new calls; it ends when those it has are done.
ROUND_SECONDS: Final = 40.0
# A round, and then the longest question of all (60 s) with what is around it.
SOFT_LIMIT_SECONDS: Final = 120
_LOOK_SECONDS: Final = 0.5
_RENEW_SECONDS: Final = 4.0
_RETRY_SECONDS: Final = (0.5, 1.0, 2.0, 4.0)

log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class Work:
    """One call in the hands of this worker."""

    call_id: str
    url: str = ""
    headers: dict[str, str] = field(default_factory=dict, repr=False)
    model: str = ""
    questions: tuple[Question, ...] = ()
    problem: str = ""


@dataclass(frozen=True, slots=True)
class Reply:
    """What came of one question: ``completion`` None where there was no answer at all."""

    question: Question
    completion: Completion | None = None
    problem: str = ""


def analyses_work() -> int:
    """Analyse the calls that wait, until none does; return how many were settled.

    One worker at a time: events must not wait behind models.
    """
    if Call.objects.filter(analysis_due_at__gt=timezone.now()).exists():
        return 0
    settled = asyncio.run(_round())
    if Call.objects.filter(analysis_due_at__lte=timezone.now()).exists():
        poke()
    return settled


async def _round() -> int:
    until = time.monotonic() + ROUND_SECONDS
    renew_at = time.monotonic() + _RENEW_SECONDS
    running: dict[asyncio.Task[bool], str] = {}
    settled = 0
    async with http.async_client(connect_seconds=5, read_seconds=60) as client:
        while True:
            if time.monotonic() < until and len(running) < AT_ONCE:
                for call_id in await in_database(analyses_claim, AT_ONCE - len(running)):
                    running[asyncio.create_task(_analyse(client, call_id))] = call_id
            if not running:
                return settled
            finished, _ = await asyncio.wait(
                running, timeout=_LOOK_SECONDS, return_when=asyncio.FIRST_COMPLETED
            )
            for task in finished:
                call_id = running.pop(task)
                if (error := task.exception()) is not None:
                    # Its lease runs out, then it is tried again, until its report goes without.
                    log.error("analysis_failed", call_id=call_id, error=type(error).__name__)
                else:
                    settled += task.result()
            if time.monotonic() >= renew_at:
                renew_at = time.monotonic() + _RENEW_SECONDS
                await in_database(_renew, list(running.values()))


def analyses_claim(limit: int) -> list[str]:
    """Take calls that wait, longest first, each by a conditional UPDATE; return their ids."""
    now = timezone.now()
    due = Call.objects.filter(analysis_due_at__lte=now).order_by("analysis_due_at")
    return [
        str(pk)
        for pk, at in list(due.values_list("pk", "analysis_due_at")[:limit])
        if Call.objects.filter(pk=pk, analysis_due_at=at).update(analysis_due_at=now + LEASE)
    ]


def _renew(call_ids: Sequence[str]) -> None:
    rows = Call.objects.filter(pk__in=call_ids, analysis_due_at__isnull=False)
    rows.update(analysis_due_at=timezone.now() + LEASE)


async def _analyse(client: http.AsyncClient, call_id: str) -> bool:
    work = await in_database(_prepare, call_id)
    replies = [_ask(client, work, question) for question in work.questions]
    return await in_database(analysis_settle, work, await asyncio.gather(*replies))


def _prepare(call_id: str) -> Work:
    call = (
        Call.objects.select_related("revision__assistant", "number", "connection", "organisation")
        .select_related("activation", "twilio_account")
        .get(pk=call_id)
    )
    # Once more: what was agreed with the provider may have changed since the call ended.
    verdict = analysis_verdict(call)
    if verdict.plan is None or call.connection is None:
        return Work(call_id, problem=verdict.reason)
    try:
        headers = _headers(call.connection)
    except DecryptionError as error:
        return Work(call_id, problem=str(error))
    return Work(
        call_id,
        f"{call.connection.rest_base_url}{PATH}",
        headers,
        text_model(call.connection),
        questions(verdict.plan, facts_of(call)),
    )


def _headers(connection: ProviderConnection) -> dict[str, str]:
    if connection.dialect == ProviderConnection.Dialect.AZURE_GA:
        return {"api-key": connection.api_key}
    return {"Authorization": f"Bearer {connection.api_key}"}


def facts_of(call: Call) -> Facts:
    """Return what questions may speak of: the conversation as it is stored, so as it is masked."""
    now = timezone.now()
    turns = list(call.turns.order_by("ordinal"))
    names = speaker_names(call, turns)
    entries = conversation(
        [speech_of(turn, names.get(turn.ordinal, "")) for turn in turns],
        map(tool_use_of, call.tool_invocations.order_by("started_ms", "id")),
    )
    variables = variables_for(call, now, with_unmasked=False)
    instructions = call.revision.instructions if call.revision is not None else ""
    prompt = render(instructions, variables, now)
    return Facts(
        transcript=forms.plain_transcript(entries, transcript_labels(call.revision)),
        system_prompt=prompt,
        messages=forms.openai_messages(entries, prompt=prompt),
        ended_reason=call.ended_reason,
        variables=variables,
        now=now,
    )


async def _ask(client: http.AsyncClient, work: Work, question: Question) -> Reply:
    try:
        async with asyncio.timeout(question.ask.timeout_seconds):
            return await _answer(client, work, question)
    except TimeoutError:
        words = f"no answer within {question.ask.timeout_seconds} s"
        return Reply(question, problem=words)
    except (http.HTTPError, http.InvalidURL, ValueError) as error:
        # The name alone where it is not ours: httpx may quote the URL.
        own = type(error) is ValueError
        return Reply(question, problem=str(error) if own else type(error).__name__)


async def _answer(client: http.AsyncClient, work: Work, question: Question) -> Reply:
    """Ask until there is an answer; what may pass is tried again while the time lasts."""
    form = question.form
    for pause_seconds in (*_RETRY_SECONDS, None):
        body = completion_request(
            model=work.model,
            messages=question.messages,
            schema=form.schema if form is not None else None,
            is_strict=form is not None and form.is_strict,
        )
        problem = ""
        try:
            response = await client.post(work.url, json=body, headers=work.headers)
        except http.TransportError as error:
            if pause_seconds is None:
                raise
            problem = type(error).__name__
        else:
            status = response.status_code
            if status == 200:
                return Reply(question, read_completion(response.content))
            problem = f"the provider answered {status}"
            if status == 400 and form is not None:
                # Its schema, or any schema, is refused: the words alone say what is wanted too.
                form = None
                continue
            if status != 429 and status < 500:
                return Reply(question, problem=problem)
        if pause_seconds is not None:
            await asyncio.sleep(pause_seconds)
    return Reply(question, problem=problem)


def analysis_settle(work: Work, replies: Sequence[Reply]) -> bool:
    """Store an analysis with its cost and send the report that waited for it; once.

    Returns False where the report did not wait any more: then nothing is stored.
    """
    with transaction.atomic():
        call = Call.objects.select_for_update().get(pk=work.call_id)
        if analysis_state(call).get("state") != WAITING:
            Call.objects.filter(pk=call.pk).update(analysis_due_at=None)
            return False
        keeping = keeping_for(call)
        answers, parts = [], []
        problems = [work.problem] if work.problem else []
        for reply in replies:
            value, trouble = _value(reply)
            problems += [f"{_name(reply.question)}: {each}" for each in trouble]
            if reply.completion is not None:
                parts.append(_part(work.model, reply))
            if isinstance(value, str):
                answers.append((reply.question.ask, keeping.line(value)))
            elif value is not None:
                answers.append((reply.question.ask, keeping.variables(value)))
        call.analysis = analysis_object(answers)
        call.analysis_due_at = None
        state_set(call, state=DONE, model=work.model, parts=parts, problems=problems)
        call_price(call)
        reports_enqueue(call)
        call.save(
            update_fields=["analysis", "analysis_due_at", "metrics", "cost_usd", "report_due_at"]
        )
    log.info("call_analysed", call_id=work.call_id, asked=len(replies), problems=len(problems))
    return True


def _value(reply: Reply) -> tuple[Any, list[str]]:
    """Return what was answered, None where that is nothing, and what is wrong with it."""
    if reply.completion is None:
        return None, [reply.problem]
    if reply.completion.problem:
        return None, [reply.completion.problem]
    try:
        value = answer_value(reply.question, reply.completion.text)
    except UnusableAnswer as error:
        return None, [str(error)]
    # Kept all the same: half of the data is worth more than none.
    return value, answer_problems(reply.question, value)


def _name(question: Question) -> str:
    return f"{question.ask.kind} {question.ask.key}".strip()


def _part(model: str, reply: Reply) -> dict[str, Any]:
    assert reply.completion is not None, "only what was answered costs"
    tokens = {
        "prompt_tokens": reply.completion.prompt_tokens,
        "completion_tokens": reply.completion.completion_tokens,
        "cached_tokens": reply.completion.cached_tokens,
    }
    cost = text_microusd(**tokens, price=text_price_for(model))
    return {"type": reply.question.ask.kind, "model": model, **tokens, "cost_microusd": cost}
