"""Critical arguments as a person changes them: per revision and tool, with who and when.

Owns the rows of decisions. What a decision means is ``calls.parity.marking``'s; which marks a run
begins with ``parity_marks``'. A run keeps the marks that it began with, so no decision changes what
was measured. A decision holds from its revision on; only what differs from the rule is kept.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from django.db import transaction
from django.utils import timezone

from assistants.models import AssistantRevision
from assistants.services import revision_document
from assistants.wire.vapi_analysis import read_analysis
from calls.models import CriticalMarks
from calls.parity.differ import STRUCTURED
from calls.parity.fields import marks_of
from calls.parity.forms import Kind
from calls.parity.marking import (
    MOST_FIELDS,
    Field,
    decided,
    decision_problem,
    decisions_for,
    fields_of,
    read_decisions,
)
from calls.services.call_plan import offered_tools
from tools.services import tool_document
from tools.wire.vapi_tool import read_tool
from voiceplatform.base.services import actor_label, audit_write


class MarksRefused(Exception):
    """The decisions cannot be stored; ``problems`` name each cause and its fix."""

    def __init__(self, problems: list[str]) -> None:
        super().__init__(" ".join(problems))
        self.problems = problems


class MarksOvertaken(Exception):
    """Somebody else changed them since they were shown."""


@dataclass(frozen=True, slots=True)
class MarkedTool:
    """One tool of a revision with its fields, and who decided on them last, None: nobody."""

    name: str
    fields: tuple[Field, ...]
    decision: CriticalMarks | None

    @property
    def critical(self) -> int:
        """Return how many fields are critical."""
        return sum(each.kind is not None for each in self.fields)


@dataclass(frozen=True, slots=True)
class MarkedRevision:
    """The tools of a revision; ``seen`` tells this state from every other one."""

    revision: AssistantRevision
    tools: tuple[MarkedTool, ...]
    seen: str


def marks_for(revision: AssistantRevision) -> dict[str, dict[str, Kind]]:
    """Return the critical arguments of each tool by path, as a run of ``revision`` begins with.

    A tool without any is left out, unless a person decided so.
    """
    made = _decisions_of(revision)
    found: dict[str, dict[str, Kind]] = {}
    for name, schema in _schemas(revision).items():
        decision = made.get(name)
        marks = decided(_rule(name, schema), _read(decision))
        if marks or (decision is not None and name != STRUCTURED):
            found[name] = marks
    return found


def marks_shown(revision: AssistantRevision) -> MarkedRevision:
    """Return every tool of a revision with its fields, and what holds for each."""
    made = _decisions_of(revision)
    tools = tuple(
        MarkedTool(
            name,
            fields_of(schema, _read(made.get(name)), has_rule=name != STRUCTURED),
            made.get(name),
        )
        for name, schema in _schemas(revision).items()
    )
    return MarkedRevision(revision, tools, _seen(made))


def marks_change(
    *,
    revision: AssistantRevision,
    wanted: Mapping[str, Mapping[str, str]],
    seen: str,
    actor: Any,
) -> list[str]:
    """Store which fields are critical from ``revision`` on; return the tools that changed.

    Args:
        wanted: kinds by path by tool, '' for not critical; what is not named follows the rule.
        seen: of ``marks_shown``, what the person looked at.

    Raises:
        MarksRefused: a tool that the revision has not, a path or a kind that is none.
        MarksOvertaken: somebody else was faster.
    """
    schemas = _schemas(revision)
    problems = [
        f"{tool}: the revision has no such tool. Fix: look again."
        for tool in wanted
        if tool not in schemas
    ]
    for tool, fields in wanted.items():
        told = [decision_problem(path, kind) for path, kind in fields.items()]
        problems += [f"{tool}: {problem}" for problem in told if problem]
        if len(fields) > 2 * MOST_FIELDS:
            problems.append(f"{tool}: too many fields. Fix: mark those that matter.")
    if problems:
        raise MarksRefused(problems)
    changed = []
    with transaction.atomic():
        # Two people who decide at once do it one after the other, and the second one is told.
        AssistantRevision.objects.select_for_update().only("pk").get(pk=revision.pk)
        made = _decisions_of(revision)
        if _seen(made) != seen:
            raise MarksOvertaken("The critical arguments were changed since you opened the page.")
        for tool, fields in wanted.items():
            rule = _rule(tool, schemas[tool])
            before, after = _read(made.get(tool)), decisions_for(rule, fields)
            if decided(rule, before) == decided(rule, after):
                continue
            _write(revision, tool, after, actor)
            _audit(revision, tool, decided(rule, before), decided(rule, after), actor)
            changed.append(tool)
    return changed


def _write(revision: AssistantRevision, tool: str, decisions: dict[str, str], actor: Any) -> None:
    CriticalMarks.objects.update_or_create(
        revision=revision,
        tool=tool,
        defaults={
            "organisation": revision.assistant.organisation,
            "decisions": decisions,
            "changed_by": actor_label(actor)[:200],
            "changed_at": timezone.now(),
        },
    )


def _audit(
    revision: AssistantRevision,
    tool: str,
    before: Mapping[str, Kind],
    after: Mapping[str, Kind],
    actor: Any,
) -> None:
    differing = [
        path for path in dict.fromkeys((*before, *after)) if before.get(path) != after.get(path)
    ]
    audit_write(
        actor=actor,
        action="critical_marks.change",
        organisation=revision.assistant.organisation,
        target=revision,
        details={
            "tool": tool,
            "fields": {
                path: [before.get(path, ""), after.get(path, "")] for path in differing[:100]
            },
        },
    )


def _schemas(revision: AssistantRevision) -> dict[str, Any]:
    """Return the parameters of each tool by its name, and the schema of structured data, if any."""
    found: dict[str, Any] = {}
    for tool in offered_tools(revision):
        # A tool's own column may lack fixed arguments.
        found[tool.name] = read_tool(tool_document(tool)).parameters or tool.parameters
    for ask in read_analysis(revision_document(revision)).asks:
        if ask.kind == "structuredData" and not ask.key and ask.schema:
            found[STRUCTURED] = ask.schema
    return found


def _rule(tool: str, schema: Any) -> dict[str, Kind]:
    return {} if tool == STRUCTURED else marks_of(schema)


def _decisions_of(revision: AssistantRevision) -> dict[str, CriticalMarks]:
    """Return the newest decision on each tool that was made for this revision or one before it."""
    rows = CriticalMarks.objects.filter(
        revision__assistant=revision.assistant_id, revision__number__lte=revision.number
    )
    rows = rows.select_related("revision__assistant").defer("revision__document")
    return {row.tool: row for row in rows.order_by("revision__number")}


def _read(decision: CriticalMarks | None) -> dict[str, str]:
    return read_decisions(decision.decisions) if decision is not None else {}


def _seen(made: Mapping[str, CriticalMarks]) -> str:
    state = sorted((tool, str(row.pk), row.changed_at.isoformat()) for tool, row in made.items())
    return hashlib.sha256(json.dumps(state).encode()).hexdigest()[:32]
