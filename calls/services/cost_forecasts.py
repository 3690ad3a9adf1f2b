"""What a number's calls would cost here: made from past calls, approved when dearer, checked later.

Owns the rows of forecasts. Figures are ``calls.parity.forecast``'s; a forecast is never changed,
another one is made. That it is dearer here is accepted by a person who is named, once, with a
reason. After a hundred calls the forecast is set against what they really cost.
"""

from __future__ import annotations

import json
import uuid
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final

from django.db import transaction
from django.db.models import F, QuerySet, TextField
from django.db.models.functions import Cast
from django.utils import timezone

from assistants.models import Assistant, AssistantRevision
from assistants.services import revision_document
from calls.models import Call, CostForecast, ImportedCall, ParityCall, ParityRun, PhoneNumber
from calls.money.rates import PRICES, price_for
from calls.parity.forecast import (
    ASSUMED_CACHE,
    CHECKED_AFTER,
    PastCost,
    error_percent,
    forecast,
)
from calls.parity.past import script_of
from calls.services.call_plan import offered_tools
from calls.services.sequences import entries_of
from calls.services.session_preview import preview_document
from calls.services.sessions import answering_model
from tools.loose_json import as_object
from voiceplatform.base.fields import DecryptionError, unseal
from voiceplatform.base.services import actor_label, audit_write

# The newest calls speak for what is to come; more make the interval no narrower that matters.
MOST_CALLS: Final = 500
_LEAST_REPLAYS: Final = 10
# Of these the first hundred that the priced model answered are taken.
_MOST_LOOKED_AT: Final = 400
_MOST_OPEN: Final = 200
_CHARACTERS_A_TOKEN: Final = 4
_SEED: Final = 20_260_331


class ForecastRefused(Exception):
    """No forecast can be made, or this one needs no approval; the text names cause and fix."""


def forecasts_make(
    *,
    assistant: Assistant,
    actor: Any,
    number: PhoneNumber | None = None,
    models: Sequence[str] = (),
) -> list[CostForecast]:
    """Make a forecast for each model from the newest past calls of an assistant or number.

    Args:
        models: names of ``calls.money``'s list; by default the two that are current, and the one
            that the assistant's revision names.

    Raises:
        ForecastRefused: there is no revision, no past call, or a model without a price.
    """
    revision = assistant.current_revision
    if revision is None:
        raise ForecastRefused("the assistant has no revision. Fix: publish one.")
    if number is not None and number.organisation_id != assistant.organisation_id:
        raise ForecastRefused("the number is not this organisation's. Fix: choose another number.")
    names = list(dict.fromkeys(models or _usual_models(revision)))
    unknown = [name for name in names if name not in PRICES]
    if unknown:
        raise ForecastRefused(
            f"no price is known for {unknown[0]}. Fix: choose one of {', '.join(PRICES)}."
        )
    calls = past_costs(assistant, number)
    prompt_tokens = prompt_tokens_of(revision)
    made: list[dict[str, Any]] = []
    for name in names:
        measured = measured_cache(assistant, name)
        found = forecast(
            calls,
            model=name,
            price=price_for(name),
            prompt_tokens=prompt_tokens,
            cache=measured or ASSUMED_CACHE,
            is_measured=measured is not None,
            seed=_SEED,
        )
        if found is None:
            raise ForecastRefused(
                "no past call of it has a length and words. Fix: import call logs, see "
                "docs/call-logs.md."
            )
        old = found.old
        made.append(
            {
                "model": name,
                "calls": found.calls,
                "minutes": round(found.minutes, 3),
                "low_usd": found.new.low,
                "middle_usd": found.new.middle,
                "high_usd": found.new.high,
                "old_low_usd": old.low if old else None,
                "old_middle_usd": old.middle if old else None,
                "old_high_usd": old.high if old else None,
                "verdict": found.verdict,
                "figures": {**found.figures, "why": found.why},
            }
        )
    with transaction.atomic():
        rows = [
            CostForecast.objects.create(
                organisation=assistant.organisation,
                assistant=assistant,
                revision=revision,
                number=number,
                made_by=actor_label(actor),
                **columns,
            )
            for columns in made
        ]
        audit_write(
            actor=actor,
            action="cost_forecast.make",
            organisation=assistant.organisation,
            target=assistant,
            details={"models": names, "calls": len(calls)},
        )
    return rows


def _usual_models(revision: AssistantRevision) -> list[str]:
    named = [revision.model] if revision.model in PRICES else []
    return [*named, "gpt-realtime-2.1", "gpt-realtime-2.1-mini"]


def past_costs(assistant: Assistant, number: PhoneNumber | None = None) -> list[PastCost]:
    """Return the newest past calls of an assistant or a number, with what they cost then.

    A call whose facts no key opens is one whose price nobody knows.
    """
    rows: QuerySet[ImportedCall] = ImportedCall.objects.for_organisation(assistant.organisation)
    rows = rows.filter(assistant=assistant) if number is None else rows.filter(number=number)
    rows = rows.select_related("call").prefetch_related("call__turns", "call__tool_invocations")
    newest = rows.defer("recordings", "facts").order_by("-call__started_at", "-pk")[:MOST_CALLS]
    chosen = list(newest)
    facts = _facts_of(chosen)
    return [
        _past_cost(row, facts.get(row.pk, {}))
        for row in chosen
        if row.is_whole and row.call.duration_seconds
    ]


def _facts_of(rows: Iterable[ImportedCall]) -> dict[Any, Mapping[str, Any]]:
    sealed = ImportedCall.objects.filter(pk__in=[row.pk for row in rows]).annotate(
        facts_sealed=Cast(F("facts"), TextField())
    )
    found: dict[Any, Mapping[str, Any]] = {}
    for pk, text in sealed.values_list("pk", "facts_sealed"):
        try:
            found[pk] = as_object(json.loads(unseal(text.encode("ascii")))) if text else {}
        except (DecryptionError, ValueError):
            continue
    return found


def _past_cost(row: ImportedCall, facts: Mapping[str, Any]) -> PastCost:
    parts = {
        str(name): float(value)
        for name, value in as_object(facts.get("cost_breakdown")).items()
        if name in {"transport", "stt", "llm", "tts", "vapi", "chat"} and _is_amount(value)
    }
    cost = facts.get("cost_usd")
    known = float(cost) if _is_amount(cost) and cost is not None else sum(parts.values())
    return PastCost(
        key=str(row.call_id),
        seconds=float(row.call.duration_seconds),
        script=script_of(entries_of(row.call)),
        # A call of which no log says the price did not come for nothing.
        old_usd=known or None,
        parts=parts,
    )


def _is_amount(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and 0 <= value < 1_000


def prompt_tokens_of(revision: AssistantRevision) -> int:
    """Return about how many tokens the instructions and tools of a revision are."""
    preview = preview_document(
        revision_document(revision),
        offered_tools(revision),
        organisation=revision.assistant.organisation,
        variables={},
        revision=revision,
    )
    session = preview.session_update["session"]
    text = session["instructions"] + json.dumps(session["tools"], ensure_ascii=False)
    return -(-len(text) // _CHARACTERS_A_TOKEN)


def measured_cache(assistant: Assistant, model: str) -> tuple[float, float] | None:
    """Return between which shares of what was sent before the model billed as cached: P10, P90.

    From the newest replays of the assistant with that model; None where there are too few.
    """
    rows = (
        ParityCall.objects.filter(
            run__assistant=assistant,
            run__kind__in=(ParityRun.Kind.REPLAY, ParityRun.Kind.REHEAR),
            stack=ParityCall.Stack.DIRECT,
            state=ParityCall.State.DONE,
        )
        .annotate(extras_sealed=Cast(F("extras"), TextField()))
        .order_by("-finished_at")
        .values_list("extras_sealed", flat=True)[:200]
    )
    shares: list[float] = []
    for text in rows:
        try:
            extras = as_object(json.loads(unseal(text.encode("ascii")))) if text else {}
        except (DecryptionError, ValueError):
            continue
        tokens = as_object(extras.get("tokens"))
        again = int(tokens.get("into", 0)) - int(tokens.get("last", 0))
        if extras.get("model") == model and again > 0:
            shares.append(min(1.0, int(tokens.get("cached", 0)) / again))
    if len(shares) < _LEAST_REPLAYS:
        return None
    shares.sort()
    return shares[len(shares) // 10], shares[-(len(shares) // 10) - 1]


# ---- approval -----------------------------------------------------------------------------------


def forecast_approve(*, row: CostForecast, actor: Any, name: str, note: str) -> CostForecast:
    """Note that somebody accepts that a number is dearer here.

    Args:
        name: who accepts it, as people know them; ``note``: why.

    Raises:
        ForecastRefused: it is not dearer, somebody has approved it, or no name or reason is given.
    """
    name, note = " ".join(name.split())[:200], note.strip()[:500]
    if row.verdict != CostForecast.Verdict.DEARER:
        raise ForecastRefused("it does not say dearer, so nobody has to accept it.")
    if not name or not note:
        raise ForecastRefused("an approval has a name and a reason. Fix: enter both.")
    with transaction.atomic():
        written = CostForecast.objects.filter(
            pk=row.pk, approved_by="", verdict=CostForecast.Verdict.DEARER
        ).update(approved_by=name, approved_at=timezone.now(), approval_note=note)
        if not written:
            raise ForecastRefused("somebody has approved it meanwhile. Fix: nothing is to be done.")
        audit_write(
            actor=actor,
            action="cost_forecast.approve",
            organisation=row.organisation,
            target=row,
            details={"model": row.model, "approved_by": name},
        )
    row.refresh_from_db()
    return row


# ---- what it really cost ------------------------------------------------------------------------


def forecasts_check() -> int:
    """Set forecasts against the first hundred calls that came since; return how many.

    Of a number its calls, else those that the assistant answered, with the model that was priced.
    """
    checked = 0
    open_rows = CostForecast.objects.filter(checked_at__isnull=True)
    # The newest first: of a model that answers nobody a forecast stays open for ever.
    for pk in list(open_rows.order_by("-created_at").values_list("pk", flat=True)[:_MOST_OPEN]):
        checked += _check(pk)
    return checked


def _check(pk: uuid.UUID) -> int:
    row = CostForecast.objects.filter(pk=pk).first()
    if row is None:
        return 0
    calls = Call.objects.filter(
        organisation=row.organisation_id,
        stack=Call.Stack.DIRECT,
        imported_at__isnull=True,
        is_test__isnull=True,
        created_at__gte=row.created_at,
        ended_at__isnull=False,
        duration_seconds__gt=0,
    )
    if row.number_id:
        calls = calls.filter(number=row.number_id)
    else:
        calls = calls.filter(revision__assistant=row.assistant_id)
    first = calls.select_related("revision", "connection").only(
        *("duration_seconds", "metrics", "created_at", "revision__model"),
        *("connection__model", "connection__dialect", "connection__realtime_url"),
    )
    usd = minutes = 0.0
    count = 0
    for call in first.order_by("created_at")[:_MOST_LOOKED_AT]:
        if call.revision is None or call.connection is None or count == CHECKED_AFTER:
            continue
        if answering_model(call.connection, call.revision.model) != row.model:
            continue
        parts = as_object(as_object(call.metrics).get("cost_usd"))
        if not parts:
            continue  # it ended and is not priced yet; it was not free
        usd += sum(float(parts.get(name, 0)) for name in ("model", "carrier"))
        minutes += call.duration_seconds / 60
        count += 1
    changed: dict[str, Any] = {"actual_calls": count}
    if count >= CHECKED_AFTER and minutes:
        # A call's price here has no transcription in it (call_finish), so neither has this.
        said = as_object(row.figures.get("usd_a_minute")).get("transcription", 0)
        changed |= {
            "actual_usd": usd / minutes,
            "error_percent": error_percent(row.middle_usd - float(said), usd / minutes),
            "checked_at": timezone.now(),
        }
    elif count == row.actual_calls:
        return 0
    return int(
        bool(CostForecast.objects.filter(pk=pk, checked_at__isnull=True).update(**changed))
        and "checked_at" in changed
    )
