"""Secrets of an import: references of our own exports resolved, and what is missing but stored.

Owns how drafts meet secrets; the form of a reference is ``secret_references``, which leaves are
secret is ``base.redaction``. It must not write anything.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import replace
from typing import Any

from assistants.assistant_account import account_assistant
from assistants.findings import SECRET_MISSING, Notes, leaves
from assistants.importing import MASKED, Draft
from assistants.kept_account import account_resource
from assistants.kinds import RESOURCE_KINDS
from assistants.secret_references import missing_findings, still_missing, with_values
from assistants.squad_account import account_squad
from assistants.tool_account import account_tool


def with_secrets(drafts: Iterable[Draft], secrets: Mapping[str, str]) -> tuple[Draft, ...]:
    """Resolve the secrets that our own exports refer to (``${SECRET:NAME}``)."""
    found: list[Draft] = []
    for draft in drafts:
        document, unresolved = with_values(draft.document, secrets)
        findings = draft.findings + missing_findings(unresolved)
        found.append(replace(draft, document=document, findings=findings))
    return tuple(found)


def without_stored_secrets(draft: Draft, merged: Mapping[str, Any]) -> Draft:
    """Drop findings on secrets that are missing in the file but stored already.

    Args:
        merged: the document as it will be stored, with the secrets that stay.
    """
    notes = Notes()
    if draft.kind == "assistant":
        account_assistant(merged, notes)
    elif draft.kind == "squad":
        account_squad(merged, notes)
    elif draft.kind in RESOURCE_KINDS:
        account_resource(draft.kind, merged, notes)
    else:
        account_tool(merged, notes, "$", assistant_has_server=None)
    stored = set(leaves(merged))
    missing = {finding.path for finding in notes.findings if finding.state == SECRET_MISSING}
    return replace(
        draft,
        findings=tuple(
            finding
            for finding in draft.findings
            if finding.state != SECRET_MISSING
            or finding.path in missing
            or still_missing(finding, merged)
            or (finding.message == MASKED and finding.path not in stored)
        ),
    )
