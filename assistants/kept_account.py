"""What becomes of phone numbers and of the resources that are merely kept.

Owns the words for Vapi's phone number object (vapi.md 7.1) and for structured outputs, evaluations
and simulations, which are stored in their own shape and not acted upon. Pure.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from assistants.findings import (
    KEPT,
    LOSSY,
    MAPPED,
    SECRET_MISSING,
    UNSUPPORTED,
    Notes,
    summarise_kept,
)
from assistants.wire.files import step

_ABOUT_KEPT: Final[Mapping[str, str]] = {
    "orgId": "Replaced by the organisation that imports.",
    "updatedAt": "Replaced by the time of the import.",
}
_ACCOUNT_HAS_ITS_OWN: Final = (
    "Stored sealed and not used: the Twilio account of this installation has its own."
)
_NUMBER_KEPT: Final[Mapping[str, str]] = {
    **_ABOUT_KEPT,
    "twilioAuthToken": _ACCOUNT_HAS_ITS_OWN,
    "twilioApiKey": _ACCOUNT_HAS_ITS_OWN,
    "twilioApiSecret": _ACCOUNT_HAS_ITS_OWN,
}
_WHAT_IT_WOULD_DO: Final[Mapping[str, str]] = {
    "structured-output": "no call is evaluated with it",
    "eval": "it is not run",
    "eval/simulation": "it is not run",
    "eval/simulation/personality": "no simulated caller uses it",
    "eval/simulation/scenario": "no simulated call follows it",
    "eval/simulation/suite": "it is not run",
}


def account_number(value: Mapping[str, Any], notes: Notes) -> None:
    """Add the findings on a phone number; every leaf is spoken of afterwards."""
    kept = ("id", "number", "name", "provider", "twilioPhoneNumber", "twilioAccountSid")
    notes.mark(*(step("$", key) for key in (*kept, "createdAt", "status")))
    if value.get("assistantId"):
        notes.add("$.assistantId", MAPPED, "Linked when that assistant is here.")
    if value.get("squadId"):
        notes.add(
            "$.squadId",
            UNSUPPORTED,
            "A number answers with one assistant, not with a squad; its calls stay on Vapi "
            "meanwhile. Fix: give it the squad's first member before its route leaves vapi.",
        )
    server = value.get("server")
    for place, url in (
        ("$.server", server.get("url") if isinstance(server, Mapping) else ""),
        ("$.serverUrl", value.get("serverUrl")),
    ):
        if url:
            notes.add(
                place,
                LOSSY,
                "Answers tools for which neither the tool nor its assistant names a server. "
                "Nothing else is sent there: no assistant-request, no report.",
            )
    for key in ("workflowId", "fallbackDestination", "hooks"):
        if value.get(key):
            notes.add(
                step("$", key),
                UNSUPPORTED,
                "Stored and returned, without effect here; calls stay on Vapi meanwhile.",
            )
    if value.get("credentialId"):
        notes.add(
            "$.credentialId",
            SECRET_MISSING,
            "Credentials come as ids only. Fix: add the account under Twilio accounts.",
        )
    if value.get("serverUrlSecret"):
        notes.add("$.serverUrlSecret", MAPPED, "Stored sealed, sent as X-Vapi-Secret.")
    summarise_kept(value, notes, _NUMBER_KEPT)


def account_resource(kind: str, value: Mapping[str, Any], notes: Notes) -> None:
    """Add the findings on a resource that is kept; every leaf is spoken of afterwards."""
    notes.mark("$.id", "$.createdAt", "$.name")
    notes.add(
        "$",
        KEPT,
        f"Stored in Vapi's own shape and returned at /{kind}; {_WHAT_IT_WOULD_DO[kind]} here.",
    )
    summarise_kept(value, notes, _ABOUT_KEPT)
