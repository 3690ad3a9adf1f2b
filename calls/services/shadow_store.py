"""What a shadow leaves behind: our side of a pair, sealed and masked, the old stack's side awaited.

Owns the rows that are written when a call that was heard along is over. Whoever has lost the call,
because it was erased or taken for dead, writes nothing more. What may be kept is the rule of the
assistant that would have answered, as for a call of its own.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, replace
from decimal import Decimal
from typing import Any

import structlog
from django.db import transaction
from django.utils import timezone

from calls.models import Call, ParityCall, ParityRun, ShadowCall
from calls.parity.played import CallResult
from calls.parity.replay import CUT_WORDS
from calls.parity.sequence import sequence_dump
from calls.parity.shadow_outcome import reach_of, result_of
from calls.parity.shadow_values import Shadowed
from calls.privacy.keeping import EVERYTHING, Keeping
from calls.services.privacy import keeping_for
from calls.services.shadow_money import no_pair_cost
from tools.loose_json import as_object

NOBODY_SPOKE = "nobody spoke whom we heard"

log = structlog.get_logger(__name__)


def shadow_store(*, shadow_id: str, shadowed: Shadowed, shown: Mapping[str, str]) -> bool:
    """Store what came of hearing a call along; False when it is not ours to store any more."""
    row = (
        ShadowCall.objects.select_related("call", "run__revision")
        .filter(pk=shadow_id, state=ShadowCall.State.HEARING)
        .first()
    )
    if row is None:
        return False
    has_failed = shadowed.cut == "failed" and not shadowed.cut_exchange
    if not shadowed.turns:
        state = ShadowCall.State.FAILED if shadowed.problem else ShadowCall.State.NOTHING
    else:
        state = ShadowCall.State.FAILED if has_failed else ShadowCall.State.DONE
    problem = shadowed.problem or ("" if shadowed.turns else NOBODY_SPOKE)
    cost_usd = Decimal(shadowed.cost_microusd) / 1_000_000
    with transaction.atomic():
        held = ShadowCall.objects.filter(pk=row.pk, state=ShadowCall.State.HEARING)
        if not held.update(state=state, problem=problem[:300], ended_at=timezone.now()):
            return False
        if state == ShadowCall.State.DONE:
            _pair(row, _columns(row, shadowed, shown))
        elif state == ShadowCall.State.FAILED:
            pair_lost(row, problem, cost_usd)
        elif cost_usd:
            no_pair_cost(row.run_id, cost_usd)
    return True


def pair_lost(row: ShadowCall, problem: str, cost_usd: Decimal = Decimal(0)) -> None:
    """Write a pair that is missing: a call was taken, and could not be heard to anything.

    Args:
        cost_usd: what was spent until then; it counts towards the run's limit.
    """
    failed = {
        "state": ParityCall.State.FAILED,
        "problem": (problem or "it could not be heard along")[:300],
        "finished_at": timezone.now(),
    }
    _pair(row, {**failed, "cost_usd": cost_usd}, failed)


def _pair(
    row: ShadowCall, ours: Mapping[str, Any], theirs: Mapping[str, Any] | None = None
) -> None:
    common = {
        "organisation_id": row.organisation_id,
        "run_id": row.run_id,
        "position": row.position,
        # No name of ours or of a caller: what a run shows outlives a call that is erased.
        "scenario": f"live call {row.position + 1}",
        "index": 0,
        "source_call_id": row.call_id,
        "attempts": 1,
        "begun_at": row.begun_at or row.created_at,
    }
    ParityCall.objects.create(**common, stack=ParityCall.Stack.VAPI, **(theirs or {}))
    ParityCall.objects.create(**common, stack=ParityCall.Stack.DIRECT, **ours)


def _columns(row: ShadowCall, shadowed: Shadowed, shown: Mapping[str, str]) -> dict[str, Any]:
    offset_ms = _offset_ms(row)
    # Times of a call that came here count from its begin, those of its log too.
    result = _kept(result_of(str(row.call_id), shadowed, shown, offset_ms), _keeping(row))
    tokens = shadowed.tokens
    return {
        "state": ParityCall.State.DONE,
        "sequence": sequence_dump(result.sequence),
        "transcript": [asdict(each) for each in result.transcript],
        "latency": asdict(result.latency),
        "cost_usd": result.cost_usd,
        "is_cut": result.cut,
        "audio_seconds": result.audio_seconds,
        "extras": {
            "reach": reach_of(shadowed, shown, offset_ms).as_json(),
            "cut": shadowed.cut,
            "cut_words": CUT_WORDS[shadowed.cut] if shadowed.cut else "",
            "problem": shadowed.problem,
            "model": _model(row.run),
            "tokens": asdict(tokens),
        },
        "finished_at": timezone.now(),
    }


def _offset_ms(row: ShadowCall) -> int:
    begun, started = row.begun_at, row.call.started_at
    if begun is None or started is None:
        return 0
    return max(0, round((begun - started).total_seconds() * 1000))


def _model(run: ParityRun) -> str:
    return str(run.model or run.revision.model)


def _keeping(row: ShadowCall) -> Keeping:
    """Return what may be kept: by the rule of the assistant that would have answered."""
    like: Call = row.call
    like.revision = row.run.revision
    return keeping_for(like)


def _kept(result: CallResult, keeping: Keeping) -> CallResult:
    if keeping is EVERYTHING:
        return result
    tools = tuple(
        replace(
            tool,
            arguments=_masked(tool.arguments, keeping),
            result=keeping.body(tool.result) if tool.result is not None else None,
        )
        for tool in result.sequence.tools
    )
    return replace(
        result,
        sequence=replace(result.sequence, tools=tools),
        transcript=tuple(replace(line, text=keeping.line(line.text)) for line in result.transcript),
    )


def _masked(arguments: Mapping[str, Any], keeping: Keeping) -> dict[str, Any]:
    text = keeping.body(json.dumps(dict(arguments), ensure_ascii=False))
    try:
        return dict(as_object(json.loads(text))) if text else {}
    except ValueError:
        return {}
