"""What goes into an import and what comes out: files, the fate of each object, the whole report.

Plain values that the services, the command and the admin share; nothing here reads or writes.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from typing import Final

from assistants.findings import Finding, account, pack_leaves, unpack_leaves
from assistants.importing import Draft
from assistants.models import ImportRun

CREATED: Final = "created"
UPDATED: Final = "updated"
UNCHANGED: Final = "unchanged"
REFUSED: Final = "refused"
IGNORED: Final = "ignored"
OUTCOMES: Final = (CREATED, UPDATED, UNCHANGED, REFUSED, IGNORED)


@dataclass(frozen=True, slots=True)
class ImportFile:
    """One file to import; ``name`` is its path below the imported folder."""

    name: str
    raw: bytes


@dataclass(frozen=True, slots=True)
class ObjectResult:
    """What became of one object; its document is not kept, so that thousands fit in memory."""

    kind: str
    object_id: str
    name: str
    file: str
    where: str
    outcome: str
    reason: str = ""
    findings: tuple[Finding, ...] = ()
    packed_leaves: str = ""

    @property
    def leaves(self) -> list[tuple[str, str]]:
        """Return (JSON path, state) of every leaf of the object as it came."""
        return unpack_leaves(self.packed_leaves)


@dataclass(frozen=True, slots=True)
class ImportReport:
    """What became of every object, in the order of the files.

    ``problem`` says why an import ended early; what it lists is stored all the same.
    """

    results: tuple[ObjectResult, ...]
    run: ImportRun | None = None
    problem: str = ""
    is_cancelled: bool = False

    def counts(self) -> dict[str, int]:
        """Return how many objects had each outcome."""
        found = Counter(result.outcome for result in self.results)
        return {outcome: found[outcome] for outcome in OUTCOMES}


def result_of(draft: Draft, outcome: str, reason: str = "") -> ObjectResult:
    """Return the result of ``draft``; a refusal stands among its findings too."""
    findings = draft.findings
    if outcome == REFUSED and not any(f.path == "$" and f.state == "invalid" for f in findings):
        findings = (Finding("$", "invalid", f"{reason[:1].upper()}{reason[1:]}"), *findings)
    has_leaves = draft.document is not None and draft.original is not None
    leaves = account(draft.original or {}, findings, draft.marks) if has_leaves else ()
    return ObjectResult(
        kind=draft.kind,
        object_id=draft.object_id,
        name=draft.name,
        file=draft.file,
        where=draft.where,
        outcome=outcome,
        reason=reason,
        findings=findings,
        packed_leaves=pack_leaves(leaves),
    )
