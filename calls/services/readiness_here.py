"""What is known on this side of the numbers of an organisation, as facts for their readiness.

Owns the way from rows to ``calls.numbers.readiness.facts``: who would answer and what an import
said of it, secrets, policy, connection, what a call uses of a model. Reads only. A row whose
ciphertext no key opens is reported as not known, and keeps no other one waiting.
"""

from __future__ import annotations

import datetime as dt
import hashlib
import json
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Final

import structlog
from django.utils import timezone

from assistants.assistant_account import account_assistant
from assistants.findings import AUDIBLE, INVALID, UNSUPPORTED, Notes
from assistants.missing_secrets import MissingSecret, missing_secrets
from assistants.models import Assistant, Squad
from assistants.selectors import circumstances_of, revision_tools
from assistants.services import revision_document
from assistants.squad_members import members_of
from assistants.tool_account import account_tool
from assistants.wire.vapi_squad import assistant_ids
from calls.models import (
    AudibleAcceptance,
    Call,
    CallPolicy,
    ModelLimit,
    PhoneNumber,
    ProviderConnection,
)
from calls.numbers.readiness.facts import (
    Accepted,
    Answering,
    Audible,
    Connection,
    Limit,
    ModelUse,
    Peak,
    Policy,
    Secrets,
)
from calls.services.contract import contract_problem
from calls.services.model_limits import limits_in_force
from calls.services.operators import desk_of
from calls.services.server_messages.targets import number_asks
from tools.services import tool_document
from voiceplatform.base.fields import DecryptionError
from voiceplatform.base.models import Organisation

MONTH: Final = dt.timedelta(days=31)
# Fewer say too little of what a call uses.
LEAST_CALLS: Final = 10
LEAST_SECONDS: Final = 600
_MOST_CALLS: Final = 500
REVISION: Final = "revision:"

log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class HereFacts:
    """What this side says of one number; names as in ``NumberFacts``."""

    answering: Answering | None
    asks_server: bool
    secrets: Secrets | None
    policy: Policy | None
    connection: Connection | None
    has_person: bool


@dataclass(slots=True)
class _Said:
    """What is said of a document, and the rows behind it that may lack secrets."""

    wrong: list[str] = field(default_factory=list)
    audible: list[Audible] = field(default_factory=list)
    unsupported: int = 0
    ids: set[str] = field(default_factory=set)
    sources: list[str] = field(default_factory=list)


class HereReader:
    """Reads the facts of one organisation's numbers; what they have in common is read once."""

    def __init__(self, organisation: Organisation, *, now: dt.datetime | None = None) -> None:
        self._organisation = organisation
        self._now = now or timezone.now()
        self._around = circumstances_of(organisation)
        self._secrets = self._read_secrets()
        self._said: dict[Any, _Said] = {}
        self._accepted: dict[tuple[str, str], Accepted] | None = None
        self.default_connection: ProviderConnection | None = (
            ProviderConnection.objects.for_organisation(organisation)
            .defer("api_key")
            .filter(is_default=True)
            .first()
        )

    def _read_secrets(self) -> list[MissingSecret] | None:
        try:
            return missing_secrets(self._organisation)
        except DecryptionError:
            log.warning("secrets_not_readable", organisation=str(self._organisation.pk))
            return None

    def facts_of(self, number: PhoneNumber) -> HereFacts:
        """Return what is known of one number.

        Raises:
            DecryptionError: one of its documents was sealed with a key that is gone.
        """
        answering, ids = self._answering(number)
        return HereFacts(
            answering=answering,
            asks_server=number_asks(number),
            secrets=self._lacking(ids | {str(number.pk)}),
            policy=_policy(number),
            connection=_connection(number, self.connection_of(number)),
            has_person=desk_of(number) is not None or bool(number.fallback_message),
        )

    def connection_of(self, number: PhoneNumber) -> ProviderConnection | None:
        """Return the connection that the number would use."""
        return number.connection or self.default_connection

    # ---- who answers ----------------------------------------------------------------------

    def _answering(self, number: PhoneNumber) -> tuple[Answering | None, set[str]]:
        if number.squad is not None and number.squad.deleted_at is None:
            found = self._of_squad(number.squad)
            if found is not None:
                return found
        assistant = number.assistant
        if assistant is None:
            return None, set()
        said = self._of_assistant(assistant)
        revision = assistant.current_revision
        return (
            Answering(
                name=str(assistant),
                assistant_id=str(assistant.pk),
                at=revision.created_at if revision is not None else None,
                wrong=tuple(said.wrong),
                audible=self._judged(said.audible),
                unsupported=said.unsupported,
                is_deleted=assistant.deleted_at is not None,
                sources=tuple(said.sources),
            ),
            said.ids,
        )

    def _of_squad(self, squad: Squad) -> tuple[Answering, set[str]] | None:
        """Return what is said of all members together; the first one answers (vapi.md 8.1)."""
        members = members_of(squad)
        if not members:
            return None
        together = _Said(ids={str(squad.pk), *assistant_ids(squad.document_redacted)})
        for member in members:
            said = (
                self._of_assistant(member.assistant)
                if member.assistant is not None
                else self._of_document(member.document, document_source(member.document))
            )
            together.wrong += [f"{member.name}: {words}" for words in said.wrong]
            together.audible += [replace(each, place=member.name) for each in said.audible]
            together.sources += said.sources
            together.unsupported += said.unsupported
            together.ids |= said.ids
        first = members[0].assistant
        answering = Answering(
            name=members[0].name,
            assistant_id=str(first.pk) if first is not None else "",
            at=squad.updated_at,
            wrong=tuple(together.wrong),
            audible=self._judged(together.audible),
            unsupported=together.unsupported,
            sources=tuple(together.sources),
        )
        return answering, together.ids

    def _of_assistant(self, assistant: Assistant) -> _Said:
        revision = assistant.current_revision
        if revision is None:
            return _Said(ids={str(assistant.pk)})
        if revision.pk not in self._said:
            source = revision_source(revision.pk)
            said = self._of_document(revision_document(revision), source)
            said.ids.add(str(assistant.pk))
            for tool in revision_tools(revision):
                said.ids.add(str(tool.pk))
                if not tool.is_inline:  # an inline one stands in the assistant's document
                    notes = Notes()
                    has_server = bool(revision.server_url)
                    document = tool_document(tool)
                    account_tool(document, notes, "$", assistant_has_server=has_server)
                    _sort(notes, said, source, f"tool {tool.name}: ")
            self._said[revision.pk] = said
        return self._said[revision.pk]

    def _of_document(self, document: Mapping[str, Any], source: str) -> _Said:
        notes, said = Notes(), _Said(sources=[source])
        account_assistant(document, notes, self._around)
        _sort(notes, said, source)
        return said

    def _judged(self, audible: Iterable[Audible]) -> tuple[Audible, ...]:
        """Return what is audible with who accepted it; read as late as it is first asked for."""
        if self._accepted is None:
            self._accepted = _acceptances(self._organisation)
        found = self._accepted
        return tuple(
            replace(each, accepted=found.get((each.source, each.words))) for each in audible
        )

    def _lacking(self, ids: set[str]) -> Secrets | None:
        if self._secrets is None:
            return None
        found: dict[str, list[str]] = {"missing": [], "perhaps": []}
        for each in self._secrets:
            if any(place.object_id in ids for place in each.places):
                found[each.state].append(each.label)
        return Secrets(self._now, tuple(found["missing"]), tuple(found["perhaps"]))


def revision_source(revision_id: Any) -> str:
    """Return how an acceptance names the document of a revision."""
    return f"{REVISION}{revision_id}"


def document_source(document: Mapping[str, Any]) -> str:
    """Return how an acceptance names a document that a squad holds; it changes with it."""
    text = json.dumps(document, sort_keys=True, default=str)
    return f"document:{hashlib.sha256(text.encode()).hexdigest()}"


def _acceptances(organisation: Organisation) -> dict[tuple[str, str], Accepted]:
    rows = AudibleAcceptance.objects.for_organisation(organisation).order_by("at", "pk")
    return {
        (row.source, words): Accepted(row.who, row.at, row.why)
        for row in rows
        for words in row.words
    }


def _sort(notes: Notes, said: _Said, source: str, prefix: str = "") -> None:
    for finding in notes.findings:
        words = f"{prefix}{finding.path}: {finding.message}"
        if finding.state == INVALID:
            said.wrong.append(words)
        elif finding.state == AUDIBLE:
            said.audible.append(Audible(words, source))
        elif finding.state == UNSUPPORTED:
            said.unsupported += 1


def _policy(number: PhoneNumber) -> Policy | None:
    policy = number.policy
    if policy is None:
        return None
    asks = policy.recording_consent == CallPolicy.Consent.ASK
    to_person = asks and policy.on_refusal == CallPolicy.Refusal.HUMAN
    return Policy(
        name=str(policy),
        policy_id=str(policy.pk),
        reviewed_at=policy.reviewed_at,
        has_wording=policy.wordings.exists(),
        lacks_person=to_person and desk_of(number) is None,
    )


def _connection(number: PhoneNumber, row: ProviderConnection | None) -> Connection | None:
    if row is None:
        return None
    signed = row.baa_signed_on or row.dpa_signed_on
    return Connection(
        name=row.name,
        connection_id=str(row.pk),
        model=row.model,
        region=row.region,
        forbidden=contract_problem(number, row),
        at=dt.datetime.combine(signed, dt.time(), dt.UTC) if signed else row.created_at,
    )


# ---- what a call uses of a model ----------------------------------------------------------------


def model_use(
    connection: ProviderConnection, *, peak: Peak | None, now: dt.datetime | None = None
) -> ModelUse:
    """Return the limits of a connection's model and what its calls of the last 31 days used."""
    now = now or timezone.now()
    rows = ModelLimit.objects.filter(connection=connection, model=connection.model)
    limits = limits_in_force(rows)
    calls, seconds, tokens, responses = _measured(connection, now)
    is_enough = calls >= LEAST_CALLS and seconds >= LEAST_SECONDS
    minutes = seconds / 60
    return ModelUse(
        tokens=_limit(limits.get(ModelLimit.Name.TOKENS)),
        requests=_limit(limits.get(ModelLimit.Name.REQUESTS)),
        tokens_per_call=tokens / minutes if is_enough else None,
        requests_per_call=responses / minutes if is_enough and responses else None,
        measured_calls=calls,
        measured_at=now,
        peak=peak,
    )


def _limit(row: ModelLimit | None) -> Limit | None:
    if row is None:
        return None
    is_live = row.source == ModelLimit.Source.LIVE
    return Limit(row.limit, "live" if is_live else "entered", row.seen_at)


def _measured(connection: ProviderConnection, now: dt.datetime) -> tuple[int, float, int, int]:
    """Return calls, seconds, tokens and responses of the newest calls that used the model."""
    rows = Call.objects.filter(
        organisation=connection.organisation_id,
        connection=connection,
        status=Call.Status.ENDED,
        created_at__gt=now - MONTH,
    ).order_by("-created_at")
    calls, seconds, tokens, responses = 0, 0.0, 0, 0
    for metrics in rows.values_list("metrics", flat=True)[:_MOST_CALLS]:
        streams = [each for each in metrics.get("streams", ()) if isinstance(each, dict)]
        counted = [each["counters"] for each in streams if isinstance(each.get("counters"), dict)]
        used = sum(_number(each, "input_tokens", "output_tokens") for each in counted)
        lasted_ms = sum(_number(each, "stream_ms") for each in streams)
        if not used or not lasted_ms:
            continue
        calls += 1
        tokens += used
        seconds += lasted_ms / 1000
        responses += sum(_number(each, "responses") for each in streams)
    return calls, seconds, tokens, responses


def _number(stream: Mapping[str, Any], *names: str) -> int:
    values = (stream.get(name) for name in names)
    return int(sum(value for value in values if isinstance(value, int | float)))


# ---- calls of our own ---------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class CallSpan:
    """A call that was on from one moment to another, in seconds of the epoch."""

    call_sid: str
    number_e164: str
    begin: float
    end: float


def own_spans(organisation: Organisation, now: dt.datetime) -> dict[Any, list[CallSpan]]:
    """Return the calls of the last 31 days that have a row here, by Twilio account."""
    rows = Call.objects.for_organisation(organisation).filter(
        created_at__gt=now - MONTH,
        ended_at__isnull=False,
        # A call of the old stack is in Twilio's own list already, under another id.
        imported_at__isnull=True,
    )
    found: dict[Any, list[CallSpan]] = defaultdict(list)
    columns = ("twilio_account_id", "call_sid", "number__number_e164", "created_at", "ended_at")
    for account_id, sid, number, begin, end in rows.values_list(*columns).iterator():
        found[account_id].append(CallSpan(sid, number or "", begin.timestamp(), end.timestamp()))
    return found


def numbers_of(organisation: Organisation) -> Iterator[tuple[Any, PhoneNumber | None]]:
    """Yield each number's id with its row, None where the row cannot be read."""
    ids = PhoneNumber.objects.for_organisation(organisation).values_list("pk", flat=True)
    related = (
        *("twilio_account", "assistant__current_revision", "squad", "connection", "policy"),
        *("operator_desk", "organisation"),
    )
    for pk in list(ids):
        try:
            row = PhoneNumber.objects.select_related(*related).filter(pk=pk).first()
        except DecryptionError:
            yield pk, None
        else:
            if row is not None:  # else deleted meanwhile
                yield pk, row


def e164_of(ids: Iterable[Any]) -> dict[Any, str]:
    """Return the numbers of rows that cannot be read whole."""
    rows = PhoneNumber.objects.filter(pk__in=list(ids))
    return dict(rows.values_list("pk", "number_e164"))
