"""Reads of assistants; writes nothing."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from django.db.models import PROTECT, QuerySet, prefetch_related_objects

from assistants import ports
from assistants.circumstances import Circumstances
from assistants.models import Assistant, AssistantRevision, Squad, StoredResource
from assistants.voice_table import decided_voices
from assistants.wire.vapi_squad import assistant_ids
from voiceplatform.base.models import Organisation
from voiceplatform.base.selectors import uuids_in

# Companions are stored resources that share the id of a row of the layer above: what Vapi's object
# of a phone number or call says beyond the columns of that row. They have no route of their own.
NUMBER_KIND = "phone-number"
CALL_KIND = "call"
COMPANIONS = (NUMBER_KIND, CALL_KIND)


def assistant_list(organisation: Organisation) -> QuerySet[Assistant]:
    """Return the assistants of an organisation that are not deleted, with current revisions."""
    rows: QuerySet[Assistant] = Assistant.objects.for_organisation(organisation)
    return rows.filter(deleted_at__isnull=True).select_related("current_revision")


def circumstances_of(organisation: Organisation) -> Circumstances:
    """Return what findings on assistants of ``organisation`` take into account."""
    read = ports.answering_reader()
    answering = read(organisation=organisation) if read is not None else None
    return Circumstances(decided=decided_voices(organisation), answering=answering)


def assistant_users(assistant: Assistant) -> list[str]:
    """Return what points at ``assistant`` from layers above, e.g. phone numbers; at most 5."""
    users: list[str] = []
    for relation in Assistant._meta.related_objects:
        model: Any = relation.related_model
        if relation.on_delete is PROTECT and model is not AssistantRevision:
            rows = model._default_manager.filter(**{relation.field.name: assistant})
            users += [str(row) for row in rows[:5]]
    users += [
        f"squad {squad}"
        for squad in squad_list(assistant.organisation).defer("document")
        if str(assistant.pk) in assistant_ids(squad.document_redacted)
    ]
    return users[:5]


def assistants_here(organisation: Organisation, ids: Iterable[str]) -> set[str]:
    """Return those of ``ids`` that name a live assistant of the organisation."""
    found = assistant_list(organisation).filter(pk__in=uuids_in(ids)).values_list("pk", flat=True)
    return {str(pk) for pk in found}


def squad_list(organisation: Organisation) -> QuerySet[Squad]:
    """Return the squads of an organisation that are not deleted."""
    rows: QuerySet[Squad] = Squad.objects.for_organisation(organisation)
    return rows.filter(deleted_at__isnull=True)


def squad_users(squad: Squad) -> list[str]:
    """Return the phone numbers that answer with ``squad``, at most 5.

    A number's squad stands in its companion document too: numbers are a layer above.
    """
    users: list[str] = []
    for relation in Squad._meta.related_objects:
        model: Any = relation.related_model
        if relation.on_delete is PROTECT:
            named = model._default_manager.filter(**{relation.field.name: squad})
            users += [str(row) for row in named[:5]]
    rows = resource_list(squad.organisation, NUMBER_KIND).filter(
        document_redacted__squadId__iexact=str(squad.pk)
    )
    shown = (row.document_redacted for row in rows.defer("document")[:5])
    users += [str(each.get("number") or each.get("name") or "a number") for each in shown]
    return list(dict.fromkeys(users))[:5]


def resource_list(organisation: Organisation, kind: str) -> QuerySet[StoredResource]:
    """Return the stored resources of one kind that are not deleted, without the bytes of files."""
    rows: QuerySet[StoredResource] = StoredResource.objects.for_organisation(organisation)
    return rows.filter(kind=kind, deleted_at__isnull=True).defer("content")


# Which kind names which, and in what field (the SDK's in-use conflicts).
_NAMED_BY: dict[str, tuple[str, str]] = {
    StoredResource.Kind.PERSONALITY: (StoredResource.Kind.SIMULATION, "personalityId"),
    StoredResource.Kind.SCENARIO: (StoredResource.Kind.SIMULATION, "scenarioId"),
    StoredResource.Kind.SIMULATION: (StoredResource.Kind.SUITE, "simulationIds"),
}


def resource_users(resource: StoredResource) -> list[str]:
    """Return the simulations or suites that name ``resource``, at most 5."""
    if resource.kind not in _NAMED_BY:
        return []
    kind, field = _NAMED_BY[resource.kind]
    users: list[str] = []
    for row in resource_list(resource.organisation, kind).defer("document"):
        named = row.document_redacted.get(field)
        if str(resource.pk) in (named if isinstance(named, list) else [named]):
            users.append(str(row))
    return users[:5]


def revision_tools(revision: AssistantRevision) -> list[Any]:
    """Return the tools of ``revision`` in the order the document gave."""
    if "revisiontool_set" in getattr(revision, "_prefetched_objects_cache", {}):
        return [link.tool for link in revision.revisiontool_set.all()]
    return list(revision.tools.order_by("revisiontool__position"))


def with_bare_revisions(assistants: Iterable[Assistant]) -> list[Assistant]:
    """Return ``assistants`` with what those lack to be shown whose redacted copy is empty.

    In three queries for any number of them; without it each would ask for its own.
    """
    rows = list(assistants)
    bare: dict[Any, AssistantRevision] = {}
    for row in rows:
        if row.current_revision is not None and not row.current_revision.document_redacted:
            bare[row.current_revision.pk] = row.current_revision
            row.current_revision.assistant = row
    if bare:
        documents = AssistantRevision.objects.filter(pk__in=bare).values_list("pk", "document")
        for pk, document in documents:
            bare[pk].document = document
        unwritten = [revision for revision in bare.values() if revision.document is None]
        prefetch_related_objects(unwritten, "revisiontool_set__tool")
    return rows
