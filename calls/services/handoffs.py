"""Who takes over when a call is handed on, as rows say; and the record that somebody has.

Owns the way from a destination (vapi.md 8.2) to the revision and plan of the assistant that is
meant, the variables that it is given, and ``AssistantActivation``. What the caller hears meanwhile
is the bridge's; nothing here raises into a call.
"""

from __future__ import annotations

import copy
import uuid
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any, Final

from assistants.derived import derived_revision, inline_assistant
from assistants.models import Assistant, AssistantRevision, Squad
from assistants.overrides import overridden
from assistants.selectors import assistant_list, squad_list
from assistants.services import revision_document
from assistants.squad_members import longest_seconds, member_revision, members_of
from calls.bridge.effects import RecordHandoff
from calls.bridge.successor import Successor
from calls.models import AssistantActivation, Call
from tools.handoffs import Context, Destination, chosen, destinations_of, handed_values
from tools.messages import arguments_of
from tools.models import Tool
from tools.services import tool_document
from tools.spec import ToolResult
from tools.wire.vapi_tool import ToolReading
from voiceplatform.base.models import Organisation
from voiceplatform.base.selectors import uuids_in

# A ceiling for each call: two assistants that hand it to and fro end somewhere.
MOST_HANDOFFS: Final = 20

NOBODY: Final = "The call was not handed over: destination names nobody of the list."


@dataclass(frozen=True, slots=True)
class Target:
    """The assistant that is meant, with what its overrides set beside its document."""

    revision: AssistantRevision
    name: str
    squad: Squad | None = None
    variables: Mapping[str, Any] | None = None


def destination_of(tool: Tool, arguments_json: str) -> Destination | None:
    """Return where the model wants a call to go; None where it names nobody of the list.

    One of type ``dynamic`` has a server that is to be asked; its answer is like any other.
    """
    return chosen(destinations_of(tool_document(tool)), arguments_of(arguments_json))


def target_of(
    organisation: Organisation, destination: Destination, *, squad: Squad | None, owner: uuid.UUID
) -> Target | None:
    """Return the assistant that a destination means; None where it is not here, or not published.

    A name means a member of the squad that has the call; outside of one, the only assistant that is
    called so.

    Args:
        owner: the id of the tool; an assistant that is written inside it is told apart by it.
    """
    found = _found(organisation, destination, squad, owner)
    if found is None or not destination.overrides:
        return found
    document, variables = overridden(
        revision_document(found.revision), [dict(destination.overrides)]
    )
    note = f"With what the handoff to {found.name} changes"[:500]
    revision = derived_revision(found.revision.assistant, document, note=note)
    return replace(found, revision=revision, variables={**(found.variables or {}), **variables})


def _found(
    organisation: Organisation, destination: Destination, squad: Squad | None, owner: uuid.UUID
) -> Target | None:
    if destination.squad_id:
        return _of_squad(organisation, destination)
    if destination.inline:
        name = destination.called({})
        revision = inline_assistant(organisation, owner, name, destination.inline)
        return Target(revision, name, squad)
    for member in members_of(squad) if squad is not None else ():
        if any(member.is_called(word) for word in destination.words):
            assert squad is not None, "only a squad has members"
            revision = member_revision(squad, member)
            return Target(revision, member.name, squad, member.variables)
    assistant = _assistant(organisation, destination)
    current = assistant.current_revision if assistant is not None else None
    if assistant is None or current is None:
        return None
    # An assistant outside of the squad knows nobody in it (vapi.md 8.1).
    return Target(current, assistant.name)


def _of_squad(organisation: Organisation, destination: Destination) -> Target | None:
    """Return the member of another squad that takes over: the one that is named, else the first."""
    ids = uuids_in([destination.squad_id])
    squad: Squad | None = squad_list(organisation).filter(pk__in=ids).first() if ids else None
    wanted = destination.entry_name
    for member in members_of(squad) if squad is not None else ():
        if squad is not None and (not wanted or member.name == wanted):
            return Target(member_revision(squad, member), member.name, squad, member.variables)
    return None


def _assistant(organisation: Organisation, destination: Destination) -> Assistant | None:
    rows = assistant_list(organisation)
    ids = uuids_in([destination.assistant_id])
    if ids:
        by_id: Assistant | None = rows.filter(pk__in=ids).first()
        return by_id
    named = list(rows.filter(name=destination.assistant_name)[:2])
    return named[0] if destination.assistant_name and len(named) == 1 else None


def not_here(destination: Destination) -> ToolResult:
    """Return what the model is told of an assistant that cannot take over."""
    name = destination.called({})
    return ToolResult(
        f"The call was not handed over: there is no assistant {name!r} to take it. Go on yourself, "
        "or offer the caller another way.",
        outcome="error",
    )


def taken_over_by(call: Call, target: Target, arguments_json: str) -> Call:
    """Return ``call`` as it is with ``target``; an object beside the row, never to be saved.

    The variables of a call stay; what the model hands over and what overrides set is added, later
    wins (vapi.md 2.10).
    """
    before = call.activation.variables if call.activation is not None else None
    handed = copy.copy(call)
    handed.revision = target.revision
    handed.activation = AssistantActivation(
        revision=target.revision,
        squad=target.squad,
        assistant_name=target.name[:200],
        variables={
            **(before or {}),
            **handed_values(arguments_of(arguments_json)),
            **(target.variables or {}),
        },
    )
    return handed


def record_of(handed: Call) -> dict[str, Any]:
    """Return what is to be stored when the call has been handed over; JSON only."""
    activation = handed.activation
    assert activation is not None, "a call that is handed over has an activation"
    return {
        "revision_id": str(activation.revision_id),
        "squad_id": str(activation.squad_id) if activation.squad_id else "",
        "assistant_name": activation.assistant_name,
        "variables": activation.variables or {},
    }


def successor_result(handed: Call, plan: Any, context: Context, result: str) -> ToolResult:
    """Return the answer of a handoff whose next assistant is known; ``plan`` is its CallPlan."""
    successor = Successor(plan=plan, context=context, record=record_of(handed))
    if result:
        successor = replace(successor, result=result)
    return ToolResult(successor.result, successor=successor.to_json())


def with_record(call: Call, record: Mapping[str, Any]) -> Call:
    """Return ``call`` as a record says it is now; an object beside the row, never to be saved."""
    handed = copy.copy(call)
    handed.revision = AssistantRevision.objects.select_related("assistant").get(
        pk=record["revision_id"]
    )
    handed.activation = AssistantActivation(
        revision=handed.revision,
        squad_id=record["squad_id"] or None,
        assistant_name=record["assistant_name"],
        variables=record["variables"],
    )
    return handed


# ---- rows -------------------------------------------------------------------------------------


def handoffs_store(call_id: str, handoffs: Sequence[RecordHandoff]) -> None:
    """Store who has taken a call over, in the transaction of the caller; repeats change nothing."""
    call = (
        Call.objects.select_for_update(of=("self",))
        .select_related("revision__assistant")
        .only("revision__assistant__name", "activation_id")
        .get(pk=call_id)
    )
    known = {row.tool_call_id: row for row in call.activations.defer("variables")}
    if not known:
        # Who answered: from the beginning, with nothing before.
        first = call.revision
        known[""] = AssistantActivation.objects.create(
            call=call,
            ordinal=0,
            revision=first,
            assistant_name=first.assistant.name if first is not None else "",
            started_ms=0,
            first_ordinal=0,
        )
    for each in handoffs:
        if each.tool_call_id[:64] in known:
            continue
        row = known[each.tool_call_id[:64]] = AssistantActivation.objects.create(
            call=call,
            ordinal=len(known),
            revision_id=each.record["revision_id"],
            squad_id=each.record["squad_id"] or None,
            assistant_name=each.record["assistant_name"],
            tool_call_id=each.tool_call_id[:64],
            started_ms=each.at_ms,
            first_ordinal=each.first_ordinal,
            context=asdict(each.context),
            variables=each.record["variables"],
        )
        Call.objects.filter(pk=call_id).update(revision_id=row.revision_id, activation=row)


def squad_begins(call: Call, target: Target) -> None:
    """Store that ``target``, the first member of a squad, answers ``call``."""
    call.activation = AssistantActivation.objects.create(
        call=call,
        ordinal=0,
        revision=target.revision,
        squad=target.squad,
        assistant_name=target.name[:200],
        started_ms=0,
        first_ordinal=0,
        variables=dict(target.variables or {}),
    )
    Call.objects.filter(pk=call.pk).update(activation=call.activation)


def first_member(squad: Squad) -> Target | None:
    """Return the member of a squad that answers its calls, None where no member can."""
    members = members_of(squad) if squad.deleted_at is None else []
    if not members:
        return None
    first = members[0]
    return Target(member_revision(squad, first), first.name, squad, first.variables)


def assistant_of_squad(squad: Squad) -> Assistant | None:
    """Return the assistant that a number with ``squad`` has beside it: its first member's."""
    target = first_member(squad)
    assistant: Assistant | None = target.revision.assistant if target is not None else None
    return assistant


def longest_call_seconds(call: Call) -> int:
    """Return how long the members of the call's squad may last at most, 0 without a squad."""
    squad = call.activation.squad if call.activation is not None else None
    return longest_seconds(members_of(squad)) if squad is not None else 0


def handoffs_left(call: Call) -> int:
    """Return how often a call may still be handed over."""
    if call.activation is None:
        return MOST_HANDOFFS
    return max(0, MOST_HANDOFFS + 1 - call.activations.count())


def context_of_row(row: AssistantActivation) -> Context:
    """Return what of the conversation the assistant of a row was told."""
    value = row.context or {}
    return Context(value.get("kind", "all"), value.get("most", 0))


def destination_names(
    organisation_id: uuid.UUID, tools: Iterable[Tool | ToolReading]
) -> dict[str, str]:
    """Return the names of the saved assistants and squads that tools hand calls to, by id."""
    places = [
        place
        for tool in tools
        for place in destinations_of({"destinations": list(tool.destinations or ())})
    ]
    found: dict[str, str] = {}
    for model, ids in (
        (Assistant, {each.assistant_id for each in places}),
        (Squad, {each.squad_id for each in places}),
    ):
        wanted = uuids_in(filter(None, ids))
        if wanted:
            rows = model._default_manager.filter(organisation=organisation_id, pk__in=wanted)
            found |= {str(pk): name for pk, name in rows.values_list("pk", "name") if name}
    return found
