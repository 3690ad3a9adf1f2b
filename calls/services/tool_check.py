"""Checks all tool servers of an organisation, or of one import, as a job that a person watches.

Owns which tools are checked, the job and what it leaves behind: a row for each tool. What a server
is asked is ``calls.services.tool_probe``'s. A second run of the same job repeats harmless requests.
"""

from __future__ import annotations

import uuid
from collections.abc import Sequence
from typing import Any, Final

from django.db import transaction
from django.db.models import F, Q
from django.utils import timezone

from assistants.models import ImportRun
from calls.models import ToolCheck
from calls.services.tool_probe import as_json, tool_questions, verdict_of
from tools.models import Tool
from tools.spec import ASKING_KINDS, POSTED_KINDS
from voiceplatform.base.job_bell import JobBell
from voiceplatform.base.jobs import RunningJob, job_create
from voiceplatform.base.models import Job, Organisation
from voiceplatform.base.selectors import uuids_in
from voiceplatform.base.services import audit_write

KIND: Final = "tool-check"
TASK: Final = "calls.tasks.run_tool_check"
SOFT_LIMIT_SECONDS: Final = 55 * 60

_TOO_LONG: Final = "It took longer than 55 minutes and was stopped. What was found is kept."

BELL: Final = JobBell(TASK, (KIND,), too_long=_TOO_LONG)


def tools_to_check(organisation: Organisation, run: ImportRun | None = None) -> list[uuid.UUID]:
    """Return the tools whose servers answer calls: saved ones, and those of live assistants.

    Args:
        run: only those that this import brought.
    """
    in_use = Q(
        revisions__assistant__current_revision=F("revisions"),
        revisions__assistant__deleted_at__isnull=True,
    )
    rows = Tool.objects.for_organisation(organisation).filter(
        Q(is_inline=False) | in_use, deleted_at__isnull=True, type__in=ASKING_KINDS
    )
    if run is not None:
        brought = uuids_in([str(each.get("id", "")) for each in run.objects_json])
        by_assistant = Q(revisions__assistant__in=brought) & in_use
        rows = rows.filter(Q(pk__in=brought) | by_assistant)
    return list(rows.order_by("name", "pk").distinct().values_list("pk", flat=True))


def check_start(
    *,
    organisation: Organisation,
    actor: Any,
    run: ImportRun | None = None,
    may_post: bool = False,
) -> Job:
    """Queue a check; only TLS and HEAD unless ``may_post``, and then only where owners allow it."""
    found = tools_to_check(organisation, run)
    with transaction.atomic():
        job = job_create(
            organisation=organisation,
            kind=KIND,
            actor=actor,
            parameters={
                "dry": not may_post,
                "import": str(run.pk) if run is not None else "",
                "tools": [str(pk) for pk in found],
            },
            total=len(found),
        )
        audit_write(
            actor=actor,
            action="tool.check",
            organisation=organisation,
            target=job,
            details={"tools": len(found), "dry": not may_post},
        )
        transaction.on_commit(lambda: BELL.poke(job.pk))
    return job


def marked_calls_allow(*, tool: Tool, actor: Any, allowed: bool) -> ToolCheck:
    """Store whether the owner of a tool's server allows requests that are marked as a test."""
    with transaction.atomic():
        row, _ = ToolCheck.objects.update_or_create(
            tool=tool,
            defaults={
                "allows_marked_call": allowed,
                "allowed_by": actor if allowed and getattr(actor, "pk", None) else None,
                "allowed_at": timezone.now() if allowed else None,
            },
            create_defaults={
                "organisation": tool.organisation,
                "allows_marked_call": allowed,
                "allowed_by": actor if allowed and getattr(actor, "pk", None) else None,
                "allowed_at": timezone.now() if allowed else None,
            },
        )
        audit_write(
            actor=actor,
            action="tool.allow_test_requests" if allowed else "tool.forbid_test_requests",
            organisation=tool.organisation,
            target=tool,
        )
    return row


def check_run(job_id: uuid.UUID | str) -> None:
    """Do one check to its end; harmless when another worker has it or it has ended."""
    BELL.run(job_id, _check)


def _check(running: RunningJob) -> None:
    job = running.job
    wanted: Sequence[str] = job.parameters.get("tools", [])
    may_post = job.parameters.get("dry") is False
    counts = {"ok": 0, "unsure": 0, "failed": 0}
    for number, tool_id in enumerate(wanted):
        if running.cancelled():
            words = f"Cancelled after {number} of {len(wanted)}: {_words(counts)}."
            running.end(Job.State.CANCELLED, words, result=_list(), counts=(number, len(wanted)))
            return
        tool = (
            Tool.objects.for_organisation(job.organisation)
            .select_related("organisation")
            .filter(pk=tool_id, deleted_at__isnull=True)
            .first()
        )
        if tool is None:
            continue
        running.progress(number, len(wanted), f"Asking the server of {tool.name}")
        counts[check_one(tool, may_post=may_post, actor=job.created_by)] += 1
    total = len(wanted)
    running.end(Job.State.DONE, f"{_words(counts)}.", result=_list(), counts=(total, total))


def check_one(tool: Tool, *, may_post: bool, actor: Any) -> str:
    """Check one tool, store what was found and return the verdict."""
    stored = ToolCheck.objects.filter(tool=tool).first()
    is_allowed = stored is not None and stored.allows_marked_call
    allowed = may_post and is_allowed and tool.type in POSTED_KINDS
    answers = tool_questions(tool, may_post=allowed, actor=actor)
    found = {
        "verdict": verdict_of(answers),
        "was_dry": not allowed,
        "answers": as_json(answers),
        "checked_at": timezone.now(),
    }
    ToolCheck.objects.update_or_create(
        tool=tool, defaults=found, create_defaults={**found, "organisation": tool.organisation}
    )
    return str(found["verdict"])


def _list() -> dict[str, Any]:
    return {"model": "calls.toolcheck", "is_list": True}


def _words(counts: dict[str, int]) -> str:
    parts = (
        (counts["ok"], "work"),
        (counts["failed"], "do not work"),
        (counts["unsure"], "cannot be told"),
    )
    said = ", ".join(f"{count} {words}" for count, words in parts if count)
    return said or "there is no tool with a server"
