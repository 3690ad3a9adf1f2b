"""The header of a call's page: facts without a word of what was said, and how consent was given.

Reads only. Of a call that never came here the facts are those of its log, and say so.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from calls.admin.words import ms_in_words, seconds_in_words
from calls.models import Call, ImportedCall
from calls.selectors.past_calls import imported_of


@dataclass(frozen=True, slots=True)
class Fact:
    """One line of the header."""

    name: str
    value: str
    hint: str = ""
    link: tuple[str, Any] | None = None


def call_facts(call: Call) -> list[Fact]:
    """Return the header of a call: who, how long, what it cost, who answered."""
    imported = imported_of(call) if call.stack == Call.Stack.VAPI else None
    if call.imported_at is not None and imported is not None:
        return _facts_of_log(call, imported)
    number, revision = call.number, call.revision
    facts = [
        Fact("Caller", call.caller or "withheld"),
        Fact(
            "Called number",
            number.name or number.number_e164 if number else call.callee or "unknown",
            number.number_e164 if number and number.name else "",
            ("admin:calls_phonenumber_change", number.pk) if number else None,
        ),
        Fact(
            "Assistant",
            str(revision.assistant) if revision else "none",
            f"revision {revision.number}" if revision else "",
            ("admin:assistants_assistantrevision_change", revision.pk) if revision else None,
        ),
        Fact("Duration", seconds_in_words(call.duration_seconds) if call.ended_at else "live"),
        Fact("Cost", f"${call.cost_usd:.4f}"),
        Fact(
            "Model",
            call.connection.model if call.connection else "–",
            call.connection.name if call.connection else "",
        ),
        Fact("Answered by", call.get_stack_display(), call.route_reason),
        Fact("First word after", ms_in_words(call.first_word_ms)),
        Fact(
            "Answer time",
            ms_in_words(call.turn_latency_p50_ms),
            f"95% within {ms_in_words(call.turn_latency_p95_ms)}"
            if call.turn_latency_p95_ms is not None
            else "",
        ),
        Fact("Twilio call", call.call_sid),
    ]
    if imported is not None:
        facts.append(_log_fact(imported))
    return facts


def _facts_of_log(call: Call, imported: ImportedCall) -> list[Fact]:
    """Return the facts of a call that never came here: what its log says."""
    number, assistant = imported.number, imported.assistant
    return [
        Fact("Caller", call.caller or "not in the log"),
        Fact(
            "Called number",
            number.name or number.number_e164 if number else call.callee or "not in the log",
            "",
            ("admin:calls_phonenumber_change", number.pk) if number else None,
        ),
        Fact(
            "Assistant",
            str(assistant) if assistant else "not known here",
            "",
            ("admin:assistants_assistant_change", assistant.pk) if assistant else None,
        ),
        Fact("Duration", seconds_in_words(call.duration_seconds)),
        Fact("Cost", f"${call.cost_usd:.4f}", "at Vapi"),
        Fact("Answered by", call.get_stack_display(), "imported from its log"),
        Fact(
            "Answer time",
            ms_in_words(call.turn_latency_p50_ms),
            f"95% within {ms_in_words(call.turn_latency_p95_ms)}"
            if call.turn_latency_p95_ms is not None
            else "",
        ),
        Fact("Carrier's call", imported.provider_sid or "not in the log"),
        _log_fact(imported),
    ]


def _log_fact(imported: ImportedCall) -> Fact:
    hints = [f"consent to record: {imported.get_consent_display().lower()}"]
    if not imported.has_times:
        hints.append("the log has an order and no times")
    words = "whole" if imported.is_whole else "only a part is known"
    return Fact("Log", words, "; ".join(hints), ("admin:calls_importedcall_change", imported.pk))


def policy_facts(call: Call) -> list[Fact]:
    """Return which line the caller heard and what became of the question, if one was asked."""
    wording = call.policy_wording
    if wording is None:
        return []
    return [
        Fact(
            "Policy",
            wording.policy.name,
            "reviewed" if wording.policy.reviewed_at else "not reviewed",
            ("admin:calls_callpolicy_change", wording.policy_id),
        ),
        Fact("Line", wording.text, f"{wording.language}, version {wording.version}"),
        *_consent(call),
    ]


def _consent(call: Call) -> list[Fact]:
    """Return the evidence of a caller who was asked: question, answer, how and when."""
    if not call.consent:
        return []
    given = call.consent
    how = {"key": "by key", "spoken": "said", "none": "no answer that was understood"}
    words = f"{how.get(given.get('kind', ''), '')} {given.get('answer', '')}".strip()
    at = str(given.get("at", ""))[:19].replace("T", " ")
    state = Call.Consent(call.consent_state)
    kept = "; nothing that was said is kept" if state == Call.Consent.REFUSED else ""
    return [
        Fact("Question", str(given.get("question", "")) or "not answered yet"),
        Fact("Answer", f"{state.label}{kept}", f"{words}, {at} UTC" if at else ""),
    ]
