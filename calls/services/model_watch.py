"""Whether the models that are configured will still be there: dates known, and what is listed.

Owns the daily look at what each connection's provider lists, where it is kept (one job row per
organisation, written over), and the warnings that the first page and ``doctor`` show. Known dates
come from ``assistants/model_dates.csv`` and need no look; at Azure names are deployments', with
dates of Azure's own, so those are left out. It must not change what answers calls.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Final

import structlog
from django.utils import timezone

from assistants.model_dates import endings
from assistants.models import Assistant
from assistants.speech_models import is_speech_model
from calls.models import ProviderConnection
from voiceplatform.base import http
from voiceplatform.base.models import Job, Organisation

KIND: Final = "model-watch"
AHEAD: Final = dt.timedelta(days=120)
SOON: Final = dt.timedelta(days=30)
EVERY: Final = dt.timedelta(hours=23)
_MOST_MODELS: Final = 2_000

log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class ModelWarning:
    """One configured model that ends. ``is_urgent``: within a month, or gone."""

    used_by: str
    model: str
    words: str
    fix: str
    is_urgent: bool


@dataclass(frozen=True, slots=True)
class _Use:
    organisation_id: Any
    connection_id: str
    used_by: str
    model: str
    speaks: bool


def model_warnings(
    organisations: Iterable[Organisation] | None = None, *, today: dt.date | None = None
) -> list[ModelWarning]:
    """Return what ends soon or has ended, urgent ones first; None looks at every organisation."""
    today = today or timezone.now().date()
    pks = None if organisations is None else [each.pk for each in organisations]
    listed = _listings(pks)
    found: dict[tuple[str, str], ModelWarning] = {}
    for use in _uses(pks):
        warning = _warning(use, listed.get(use.connection_id, {}), today)
        if warning is not None:
            found[(use.used_by, use.model)] = warning
    return sorted(found.values(), key=lambda each: (not each.is_urgent, each.used_by, each.model))


def _uses(pks: list[Any] | None) -> list[_Use]:
    connections = ProviderConnection.objects.defer("api_key")
    assistants = Assistant.objects.filter(deleted_at__isnull=True).exclude(
        current_revision__model=""
    )
    if pks is not None:
        connections = connections.filter(organisation__in=pks)
        assistants = assistants.filter(organisation__in=pks)
    uses: list[_Use] = []
    defaults: dict[Any, str] = {}
    for row in connections.order_by("name"):
        if row.is_default:
            defaults[row.organisation_id] = str(row.pk)
        if row.names_deployment:
            continue
        name = f"connection {row.name}"
        for model, speaks in (
            (row.model, True),
            (row.speech_model, False),
            (row.transcription_model, False),
            *(((row.text_model, False),) if row.text_model else ()),
        ):
            uses.append(_Use(row.organisation_id, str(row.pk), name, model, speaks))
    named = assistants.order_by("name").values_list(
        "organisation_id", "name", "current_revision__model"
    )
    for organisation_id, name, model in named.distinct():
        # Another model than a speech model is not dialled; the connection's is (sessions.py).
        if model and is_speech_model(model):
            connection_id = defaults.get(organisation_id, "")
            uses.append(_Use(organisation_id, connection_id, f"assistant {name}", model, True))
    return uses


def _warning(use: _Use, listed: Mapping[str, Any], today: dt.date) -> ModelWarning | None:
    ending = endings().get(use.model)
    days = [day for day in (ending.shutdown if ending else "", listed.get(use.model)) if day]
    # Whoever is later to hear is wrong: the earlier day counts.
    day = min((parsed for parsed in map(_day, days) if parsed is not None), default=None)
    fix = f"Choose {ending.successor} instead." if ending else "Choose a newer model."
    if day is not None and day <= today:
        return ModelWarning(use.used_by, use.model, f"was shut down on {day}", fix, True)
    if listed and use.speaks and use.model not in listed:
        words = "is not, or no more, offered to this key"
        return ModelWarning(use.used_by, use.model, words, "Choose one the key may use.", True)
    if day is not None and day - today <= AHEAD:
        left = (day - today).days
        words = f"is shut down on {day}, in {left} day{'' if left == 1 else 's'}"
        return ModelWarning(use.used_by, use.model, words, fix, day - today <= SOON)
    return None


def _day(text: object) -> dt.date | None:
    try:
        return dt.date.fromisoformat(str(text))
    except ValueError:
        return None


def _listings(pks: list[Any] | None) -> dict[str, dict[str, Any]]:
    jobs = Job.objects.filter(kind=KIND)
    if pks is not None:
        jobs = jobs.filter(organisation__in=pks)
    found: dict[str, dict[str, Any]] = {}
    for job in jobs:
        if isinstance(job.result, dict):
            found.update(job.result.get("listed", {}))
    return found


def models_look(*, now: dt.datetime | None = None) -> int:
    """Ask each provider, at most once a day, what it lists; return how many were asked."""
    now = now or timezone.now()
    fresh = Job.objects.filter(kind=KIND, finished_at__gt=now - EVERY).values("organisation")
    rows = ProviderConnection.objects.exclude(organisation__in=fresh).order_by("name")
    by_organisation: dict[Any, list[ProviderConnection]] = {}
    for row in rows[:200]:
        by_organisation.setdefault(row.organisation_id, []).append(row)
    asked = 0
    for organisation_id, connections in by_organisation.items():
        listed: dict[str, dict[str, Any]] = {}
        for row in connections:
            if row.names_deployment:
                continue
            asked += 1
            found = _ask(row)
            if found:
                listed[str(row.pk)] = found
        _keep(organisation_id, listed, len(connections), now)
    return asked


def _keep(organisation_id: Any, listed: dict[str, Any], total: int, now: dt.datetime) -> None:
    columns = {
        "state": Job.State.DONE,
        "message": "Looked which models the connections' providers list.",
        "done_count": len(listed),
        "total_count": total,
        "result": {"listed": listed},
        "finished_at": now,
    }
    Job.objects.update_or_create(organisation_id=organisation_id, kind=KIND, defaults=columns)


def _ask(row: ProviderConnection) -> dict[str, Any]:
    """Return the listed models with their day of shutdown; empty when the provider said nothing.

    Only names that matter are kept: those that ours could be compared with.
    """
    header = {"Authorization": f"Bearer {row.api_key}"}
    try:
        with http.client(connect_seconds=5, read_seconds=10) as client:
            response = client.get(f"{row.rest_base_url}/models", headers=header)
            body = response.json() if response.status_code == 200 else None
    except (http.HTTPError, ValueError) as error:
        log.info("models_not_listed", connection=str(row.pk), error=type(error).__name__)
        return {}
    models = body.get("data") if isinstance(body, dict) else None
    if not isinstance(models, list):
        log.info("models_not_listed", connection=str(row.pk), status=response.status_code)
        return {}
    names = {
        each["id"][:80]: each.get("shutdown_date")
        for each in models[:_MOST_MODELS]
        if isinstance(each, dict) and isinstance(each.get("id"), str)
    }
    return {
        name: day if _day(day) is not None else None
        for name, day in names.items()
        if is_speech_model(name)
        or name in (row.model, row.speech_model, row.transcription_model, row.text_model)
        or name in endings()
    }
