"""Every secret that an organisation's documents lack, once, and how a person enters and tries it.

Owns the grouping (the same secret for the same server and header, or for the same credential) and
the writes: a new revision of each assistant, a new document of each tool and squad, one audit entry
without the value. A secret goes in and never comes out. It must not know pages.
"""

from __future__ import annotations

import hashlib
import uuid
from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Final, Literal

from django.db import transaction

from assistants.models import Assistant, Finding, ImportRun, Squad, StoredResource
from assistants.resource_services import resource_document
from assistants.secret_slots import AUTHORIZATION, SECRET_HEADER, Slot, slots, with_value
from assistants.selectors import assistant_list
from assistants.services import assistant_patch, revision_document
from assistants.squad_services import squad_document, squad_patch
from tools.models import ServerCredential, Tool
from tools.selectors import tool_list
from tools.services import tool_document, tool_patch
from tools.wire.vapi_credential import read_credential
from voiceplatform.base.models import Organisation
from voiceplatform.base.redaction import redact_url
from voiceplatform.base.services import audit_write

Kind = Literal["assistant", "tool", "squad"]

MOST_CHARACTERS: Final = 4096
_RUNS_READ: Final = 50
_BATCH: Final = 100


class SecretRefused(ValueError):
    """The value cannot be sent as a header; its text says why and never quotes it."""


class NoSuchSecret(LookupError):
    """No document needs this secret any more; show the page again."""


@dataclass(frozen=True, slots=True)
class SecretPlace:
    """One place of one document that a secret fills."""

    kind: Kind
    object_id: str
    name: str
    path: str
    url_shown: str
    why: str


@dataclass(frozen=True, slots=True)
class MissingSecret:
    """One secret with every place it fills.

    ``state`` is ``missing``, ``perhaps`` (the server may check none) or ``set``. ``header`` is
    empty for a credential; ``proposed_header`` says how to send that one.
    """

    key: str
    host: str
    header: str
    credential_id: str
    state: str
    places: tuple[SecretPlace, ...]
    proposed_header: str = ""
    credential_name: str = ""

    @property
    def label(self) -> str:
        """What a person calls it."""
        if self.credential_id:
            return f"credential {self.credential_name or self.credential_id}"
        return f"{self.header} for {self.host or 'a server without an address'}"


@dataclass(frozen=True, slots=True)
class Need:
    """A slot together with the row that it belongs to."""

    key: str
    kind: Kind
    row: Any = field(repr=False)
    document: Mapping[str, Any] = field(repr=False)
    slot: Slot


def missing_secrets(organisation: Organisation) -> list[MissingSecret]:
    """Return every secret that is missing, the certain ones first, then those that may be."""
    return [each for each in secrets_of(organisation) if each.state != "set"]


def secrets_of(organisation: Organisation) -> list[MissingSecret]:
    """Return every secret of the organisation's documents: missing, perhaps, and set."""
    by_key: dict[str, list[Need]] = {}
    for need in needs(organisation):
        by_key.setdefault(need.key, []).append(need)
    credentials = _credentials(organisation, by_key.values())
    entered = _entered(organisation, credentials)
    found = [_secret(key, group, credentials) for key, group in by_key.items()]
    found = [
        replace(each, state="set") if str(_uuid(each.credential_id)) in entered else each
        for each in found
    ]
    order = {"missing": 0, "perhaps": 1, "set": 2}
    return sorted(found, key=lambda each: (order[each.state], each.host, each.header, each.key))


def needs(organisation: Organisation) -> Iterator[Need]:
    """Yield every slot of the live documents of ``organisation``."""
    told = _told_by_imports(organisation)
    assistants = assistant_list(organisation).exclude(current_revision=None)
    for assistant in assistants.select_related("current_revision").iterator(chunk_size=_BATCH):
        assert assistant.current_revision is not None
        document = revision_document(assistant.current_revision)
        yield from _needs("assistant", assistant, document, told)
    for tool in tool_list(organisation).iterator(chunk_size=_BATCH):
        yield from _needs("tool", tool, tool_document(tool), told)
    squads: Any = Squad.objects.for_organisation(organisation).filter(deleted_at__isnull=True)
    for squad in squads.iterator(chunk_size=_BATCH):
        yield from _needs("squad", squad, squad_document(squad), told)


def _needs(
    kind: Kind, row: Any, document: Mapping[str, Any], told: Mapping[str, Collection[str]]
) -> Iterator[Need]:
    for slot in slots(document, told.get(str(row.pk), ())):
        yield Need(_key(slot), kind, row, document, slot)


def _key(slot: Slot) -> str:
    """Name a secret by what it is for; the same in every process, and no secret itself."""
    what = ("credential", slot.credential_id) if slot.credential_id else ("host", slot.host)
    text = "\n".join((*what, slot.header.lower()))
    return hashlib.sha256(text.encode()).hexdigest()[:24]


def _told_by_imports(organisation: Organisation) -> dict[str, set[str]]:
    """Return, by object id, the paths of secrets that the newest imports found missing.

    Findings on a whole server are guesses and left out; they are paths of no slot.
    """
    rows = Finding.objects.filter(
        run__organisation=organisation,
        run__state=ImportRun.State.DONE,
        state=Finding.State.SECRET_MISSING,
    ).order_by("-run__created_at")
    places: dict[Any, list[tuple[int, str]]] = {}
    for run_id, number, path in rows.values_list("run_id", "object_number", "path"):
        if run_id in places or len(places) < _RUNS_READ:
            places.setdefault(run_id, []).append((number, path))
    told: dict[str, set[str]] = {}
    for run in ImportRun.objects.filter(pk__in=places).defer("files"):
        for number, path in places[run.pk]:
            if number < len(run.objects_json):
                told.setdefault(str(run.objects_json[number]["id"]), set()).add(path)
    return told


def _credentials(
    organisation: Organisation, groups: Iterable[list[Need]]
) -> dict[str, StoredResource]:
    ids = {_uuid(group[0].slot.credential_id) for group in groups} - {None}
    if not ids:
        return {}
    rows: Any = StoredResource.objects.for_organisation(organisation).filter(
        kind=StoredResource.Kind.CREDENTIAL, pk__in=ids, deleted_at__isnull=True
    )
    return {str(row.pk): row for row in rows.defer("content", "document")}


def _entered(
    organisation: Organisation, credentials: Mapping[str, StoredResource]
) -> frozenset[str]:
    """Return the credentials that requests can be signed with: entered here, or stored whole."""
    rows = ServerCredential.objects.for_organisation(organisation)
    whole = StoredResource.objects.filter(pk__in=[row.pk for row in credentials.values()])
    return frozenset(
        [
            *map(str, rows.values_list("credential_id", flat=True)),
            *(str(row.pk) for row in whole if read_credential(resource_document(row)) is not None),
        ]
    )


def _secret(
    key: str, group: list[Need], credentials: Mapping[str, StoredResource]
) -> MissingSecret:
    slot = group[0].slot
    states = {need.slot.state for need in group}
    state = next(each for each in ("missing", "perhaps", "set") if each in states)
    credential = credentials.get(str(_uuid(slot.credential_id)))
    return MissingSecret(
        key=key,
        host=slot.host,
        header=slot.header,
        credential_id=slot.credential_id,
        state=state,
        places=tuple(
            SecretPlace(
                kind=need.kind,
                object_id=str(need.row.pk),
                name=str(need.row.name),
                path=need.slot.path,
                url_shown=redact_url(need.slot.url),
                why=need.slot.why,
            )
            for need in group
            if need.slot.state == state
        ),
        proposed_header=_header_of(credential) if slot.credential_id else "",
        credential_name=credential.name if credential else "",
    )


def _header_of(credential: StoredResource | None) -> str:
    """Return the header that Vapi sends a credential in (vapi.md 4.2)."""
    document = credential.document_redacted if credential else {}
    plan = document.get("authenticationPlan") if isinstance(document, dict) else None
    name = plan.get("headerName") if isinstance(plan, dict) else None
    return name if isinstance(name, str) and name else AUTHORIZATION


def secret_fill(
    organisation: Organisation, key: str, value: str, actor: Any, *, header: str = ""
) -> int:
    """Write ``value`` into every place that lacks this secret; return how many there were.

    Each assistant gets one new revision, published; each tool and squad a new document. Places
    whose secret is set already stay as they are.

    Args:
        header: how a credential is sent; empty means as Vapi sends it.

    Raises:
        SecretRefused: the value or the header is none that a request can carry.
        NoSuchSecret: nothing lacks this secret.
    """
    value = checked(value)
    wanted = [need for need in needs(organisation) if need.key == key]
    lacking = [need for need in wanted if need.slot.state != "set"]
    if not lacking:
        raise NoSuchSecret(key)
    if lacking[0].slot.credential_id:
        credentials = _credentials(organisation, [lacking])
        credential_id = str(_uuid(lacking[0].slot.credential_id))
        header = _checked_header(header) or _header_of(credentials.get(credential_id))
    by_row: dict[tuple[Kind, Any], list[Need]] = {}
    for need in lacking:
        by_row.setdefault((need.kind, need.row.pk), []).append(need)
    for group in by_row.values():
        _fill(group, value, header, actor)
    audit_write(
        actor=actor,
        action="secret.fill",
        organisation=organisation,
        details={
            "host": lacking[0].slot.host,
            "header": lacking[0].slot.header or header,
            "places": [f"{need.kind} {need.row.pk} {need.slot.path}"[:300] for need in lacking],
        },
    )
    return len(lacking)


@transaction.atomic
def _fill(group: list[Need], value: str, header: str, actor: Any) -> None:
    """Write one row; each is a transaction of its own, so that a long list blocks nobody."""
    kind = group[0].kind
    row, document = _fresh(kind, group[0].row)
    new = dict(document)
    lacking = {need.slot.steps: need.slot.path for need in group}
    # The row may have changed since the page was shown: what lacks nothing now is left alone.
    for slot in slots(document, lacking.values()):
        if slot.steps in lacking and slot.state != "set":
            new = with_value(new, slot, value, header=header)
    patch = {name: child for name, child in new.items() if document.get(name) != child}
    if not patch:
        return
    if kind == "assistant":
        assistant_patch(assistant=row, patch=patch, actor=actor, source="admin")
    elif kind == "tool":
        tool_patch(tool=row, patch=patch, actor=actor)
    else:
        squad_patch(squad=row, patch=patch, actor=actor)


def _fresh(kind: Kind, row: Any) -> tuple[Any, Mapping[str, Any]]:
    if kind == "assistant":
        rows = Assistant.objects.select_related("current_revision", "organisation")
        assistant = rows.get(pk=row.pk)
        revision = assistant.current_revision
        return assistant, revision_document(revision) if revision else {}
    if kind == "tool":
        tool = Tool.objects.get(pk=row.pk)
        return tool, tool_document(tool)
    squad = Squad.objects.get(pk=row.pk)
    return squad, squad_document(squad)


def checked(value: str) -> str:
    """Return a secret without the space around it.

    Raises:
        SecretRefused: it is empty, too long, or no header can carry it.
    """
    value = value.strip()
    if not value:
        raise SecretRefused("Enter the secret.")
    if len(value) > MOST_CHARACTERS:
        raise SecretRefused(f"More than {MOST_CHARACTERS} characters; this is no secret.")
    if not (value.isascii() and value.isprintable()):
        raise SecretRefused(
            "It holds a line break or a character that no header can carry. Copy it again."
        )
    return value


def _checked_header(name: str) -> str:
    if name and name.lower() not in {SECRET_HEADER.lower(), AUTHORIZATION.lower()}:
        if not all(char.isalnum() or char in "-_" for char in name) or not name.isascii():
            raise SecretRefused("No header has this name: use letters, digits, - and _.")
    return name[:100]


def places_of(organisation: Organisation, key: str, *, only: Collection[str] = ()) -> list[Need]:
    """Return the places of one secret, those in a state of ``only`` if any is given."""
    found = [need for need in needs(organisation) if need.key == key]
    return [need for need in found if not only or need.slot.state in only]


def _uuid(text: str) -> uuid.UUID | None:
    try:
        return uuid.UUID(text)
    except ValueError:
        return None
