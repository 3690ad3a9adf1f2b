"""Runs the function calls of one response of the model: requests out, a result for each call back.

Never raises into the call: what goes wrong is a text the model can act on. What is sent, and to
whom, is ``tool_posts``'s. Ending and transferring a call are the bridge's.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import replace
from functools import partial
from typing import Final
from weakref import WeakKeyDictionary

import structlog
from django.core.exceptions import ObjectDoesNotExist, ValidationError
from django.db import Error as AnyDatabaseError

from calls.bridge.effects import DispatchTool
from calls.bridge.plan import CallPlan
from calls.media.database import in_database, in_database_at_last
from calls.models import Call
from calls.services.extraction import variables_take
from calls.services.silent_hosts import silent_hosts_store
from calls.services.tool_kinds.handoff import handoff_run
from calls.services.tool_kinds.query import query_run
from calls.services.tool_kinds.sms import text_run
from calls.services.tool_kinds.transfer import transfer_run
from calls.services.tool_posts import UNAVAILABLE, ToolPost, tool_post, tool_posts
from calls.services.tool_records import store_exchange
from calls.services.tool_rejection import judged
from calls.services.tool_servers import server_for
from calls.telephony.twilio_client import TwilioAccess, access_of
from tools.dispatch import dispatch
from tools.hosts import open_hosts
from tools.spec import SERVED_KINDS, Exchange, ToolResult, ToolSpec
from tools.wire.vapi_server import ASYNC_RESULT
from voiceplatform.base.fields import DecryptionError

__all__ = [
    "UNAVAILABLE",
    "ToolPost",
    "server_for",
    "tool_post",
    "tool_run",
    "twilio_access_for",
]

Finished = Callable[[str, ToolResult], None]

# Who answers the kinds that are no request to a server; each told as ``tool_run`` is.
Runner = Callable[[str, ToolSpec, DispatchTool, Finished], Awaitable[None]]
_RUNNERS: Final[Mapping[str, Runner]] = {
    "sms": text_run,
    "handoff": handoff_run,
    "query": query_run,
    "transferCall": transfer_run,
}

# A database that is only busy is asked again; the model waits for the answer meanwhile.
_PAUSES_SECONDS: Final = (0.05, 0.2, 0.5)

log = structlog.get_logger(__name__)

_storing: set[asyncio.Task[None]] = set()
_told: WeakKeyDictionary[asyncio.AbstractEventLoop, tuple[tuple[str, str, int], ...]] = (
    WeakKeyDictionary()
)
_turns: WeakKeyDictionary[asyncio.AbstractEventLoop, asyncio.Lock] = WeakKeyDictionary()


async def tool_run(*, plan: CallPlan, calls: Sequence[DispatchTool], finished: Finished) -> None:
    """Answer the function calls of one response; never raises.

    Args:
        finished: told each call's ``tool_call_id`` and result once, as soon as it is known.
    """
    load = partial(_loaded, plan.call_id)
    calls = await judged(plan=plan, calls=calls, finished=finished, load=load)
    wanted: list[tuple[ToolSpec, DispatchTool]] = []
    others: list[Awaitable[None]] = []
    for effect in calls:
        spec = next((tool for tool in plan.tools if tool.name == effect.name), None)
        if spec is None:
            problem = f"There is no tool {effect.name!r}."
        elif spec.kind in _RUNNERS:
            others.append(_RUNNERS[spec.kind](plan.call_id, spec, effect, finished))
            continue
        elif spec.kind not in SERVED_KINDS:
            log.warning("tool_kind_not_supported", call_id=plan.call_id, kind=spec.kind)
            problem = "This tool is not available on this line."
        else:
            wanted.append((spec, effect))
            continue
        finished(effect.tool_call_id, ToolResult(problem, outcome="error"))
    await asyncio.gather(_posted(plan, wanted, finished), *others)


async def _posted(
    plan: CallPlan, wanted: Sequence[tuple[ToolSpec, DispatchTool]], finished: Finished
) -> None:
    """Answer the calls that are requests to servers."""
    if not wanted:
        return
    try:
        posts, known = await in_database(
            tool_posts, plan.call_id, wanted, revision_id=plan.revision_id
        )
    except (AnyDatabaseError, ObjectDoesNotExist) as error:
        log.error("tools_not_prepared", call_id=plan.call_id, error=type(error).__name__)
        posts = []
        result = ToolResult(UNAVAILABLE, outcome="error")
        known = {effect.tool_call_id: result for _, effect in wanted}
    for tool_call_id, result in known.items():
        finished(tool_call_id, result)
    await asyncio.gather(*(_answer(plan, post, finished) for post in posts))


def _loaded(call_id: str) -> Call:
    call: Call = Call.objects.select_related(
        "organisation", "number", "revision", "twilio_account", "activation"
    ).get(pk=call_id)
    return call


async def _answer(plan: CallPlan, post: ToolPost, finished: Finished) -> None:
    """Send one request and tell what each of its calls came to."""
    call_id = plan.call_id
    stored: list[asyncio.Task[None]] = []
    waiting = dict(post.calls)
    if not all(spec.is_async for spec in post.calls.values()):
        # Beside calls that are waited for they are resolved at once all the same.
        for tool_call_id, spec in post.calls.items():
            if spec.is_async:
                del waiting[tool_call_id]
                finished(tool_call_id, ToolResult(ASYNC_RESULT))

    def exchanged(exchange: Exchange) -> None:
        task = asyncio.create_task(_store(call_id, exchange, list(post.calls)))
        stored.append(task)
        _storing.add(task)
        task.add_done_callback(_storing.discard)

    results = await dispatch(
        post.calls,
        post.server,
        post.body,
        call_id=call_id,
        exchanged=exchanged,
        read=post.read,
        secrets=post.secrets,
    )
    answers = {tool_call_id: results[tool_call_id] for tool_call_id in waiting}
    for tool_call_id, result in (await _extracted(plan, post, answers)).items():
        finished(tool_call_id, result)
    _note_hosts()
    if stored:
        await asyncio.wait(stored)  # not gathered: who ends this task does not undo the record


def _note_hosts() -> None:
    """Let people see which hosts this process leaves alone, if that is not what it told last."""
    loop = asyncio.get_running_loop()
    met = tuple((each.owner, each.host, each.failures) for each in open_hosts())
    if met == _told.get(loop, ()):
        return
    _told[loop] = met
    task = asyncio.create_task(_store_hosts(met))
    _storing.add(task)
    task.add_done_callback(_storing.discard)


async def _store_hosts(met: tuple[tuple[str, str, int], ...]) -> None:
    async with _turns.setdefault(asyncio.get_running_loop(), asyncio.Lock()):
        await in_database_at_last(silent_hosts_store, met)


async def _extracted(
    plan: CallPlan, post: ToolPost, answers: dict[str, ToolResult]
) -> dict[str, ToolResult]:
    """Take variables out of answers before anybody is told them: what follows may need these."""
    taken = [
        (post.extraction[tool_call_id], result.output)
        for tool_call_id, result in answers.items()
        if tool_call_id in post.extraction and result.outcome == "ok"
    ]
    if not taken:
        return answers
    for pause_seconds in (*_PAUSES_SECONDS, None):
        try:
            retold = await in_database(variables_take, plan, taken)
        except AnyDatabaseError as error:
            if pause_seconds is not None:
                await asyncio.sleep(pause_seconds)
                continue
            log.error("variables_not_set", call_id=plan.call_id, error=type(error).__name__)
        except (ObjectDoesNotExist, ValidationError, DecryptionError) as error:
            log.error("variables_not_set", call_id=plan.call_id, error=type(error).__name__)
        else:
            return {each: replace(result, retold=retold) for each, result in answers.items()}
        break
    return answers


async def _store(call_id: str, exchange: Exchange, tool_call_ids: list[str]) -> None:
    # One after another: records for people must not crowd out what the calls themselves store.
    async with _turns.setdefault(asyncio.get_running_loop(), asyncio.Lock()):
        await in_database_at_last(store_exchange, call_id, exchange, tool_call_ids)


def twilio_access_for(*, call_id: str) -> TwilioAccess:
    """Return what it takes to act on a call at Twilio."""
    account = Call.objects.select_related("twilio_account").get(pk=call_id).account
    return access_of(account)
