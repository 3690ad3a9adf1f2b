"""What kind of Vapi's objects a piece of JSON is, by its own fields and by the folder it lies in.

Owns the signs of each kind (corpus facts of 2026-11-22) and the folder names of Vapi's
config-as-code layout. Pure and total; it must not judge whether the object is a good one.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from pathlib import PurePosixPath
from typing import Any, Final, Literal

Kind = Literal[
    "assistant",
    "tool",
    "squad",
    "phone-number",
    "file",
    "structured-output",
    "eval",
    "eval/simulation",
    "eval/simulation/personality",
    "eval/simulation/scenario",
    "eval/simulation/suite",
    "call",
    "payload",
    "refusal",
    "unknown",
]

# Kept in Vapi's own shape, not acted upon; the names are routes and those of ``StoredResource``.
RESOURCE_KINDS: Final[tuple[Kind, ...]] = (
    "structured-output",
    "eval",
    "eval/simulation/personality",
    "eval/simulation/scenario",
    "eval/simulation",
    "eval/simulation/suite",
)
TOOL_TYPES: Final = frozenset(
    {
        *("apiRequest", "code", "dtmf", "endCall", "function", "transferCall", "handoff", "bash"),
        *("computer", "textEditor", "query", "sms", "mcp", "voicemail", "sipRequest", "output"),
        *("knowledgeBase", "ghl", "make"),
    }
)
_ASSISTANT_SIGNS: Final = frozenset(
    {
        *("model", "voice", "transcriber", "firstMessage", "firstMessageMode", "systemPrompt"),
        *("endCallMessage", "endCallPhrases", "voicemailMessage", "serverMessages"),
        *("clientMessages", "analysisPlan", "artifactPlan", "startSpeakingPlan", "systemMessage"),
        *("stopSpeakingPlan", "silenceTimeoutSeconds", "maxDurationSeconds", "backgroundSound"),
        *("endCallFunctionEnabled", "voicemailDetection", "isServerUrlSecretSet"),
    }
)
_TOOL_FAMILIES: Final = ("google.", "slack.", "gohighlevel.")
_NUMBER_PROVIDERS: Final = frozenset({"twilio", "vapi", "vonage", "telnyx", "byo-phone-number"})
_CALL_TYPES: Final = frozenset(
    {"inboundPhoneCall", "outboundPhoneCall", "webCall", "vapi.websocketCall"}
)
_FOLDERS: Final[Mapping[str, Kind]] = {
    "assistants": "assistant",
    "assistant": "assistant",
    "tools": "tool",
    "tool": "tool",
    "functions": "tool",
    "squads": "squad",
    "squad": "squad",
    "phonenumbers": "phone-number",
    "phonenumber": "phone-number",
    "structuredoutputs": "structured-output",
    "structuredoutput": "structured-output",
    "evals": "eval",
    "personalities": "eval/simulation/personality",
    "scenarios": "eval/simulation/scenario",
    "simulations": "eval/simulation",
    "simulationsuites": "eval/simulation/suite",
    "calls": "call",
}
# Everyday words that mean something below ``simulations`` only.
_BELOW_SIMULATIONS: Final[Mapping[str, Kind]] = {
    "tests": "eval/simulation",
    "suites": "eval/simulation/suite",
}


def _word(name: str) -> str:
    return re.sub(r"[-_ ]", "", name).lower()


def folder_kind(word: str) -> Kind | None:
    """Return the kind that a folder, or a key around objects, of this name holds."""
    return _FOLDERS.get(_word(word))


def place_of(name: str) -> tuple[Kind | None, str]:
    """Return the kind that a file's folders tell, and its path below that folder, no extension.

    The path is how Vapi's config-as-code tool names the object (``company-1/transfer-call``).
    """
    path = PurePosixPath(name)
    words = [_word(part) for part in path.parts[:-1]]
    for index in reversed(range(len(words))):
        kind = _FOLDERS.get(words[index])
        if index and words[index - 1] == "simulations":
            kind = _BELOW_SIMULATIONS.get(words[index], kind)
        if kind:
            below = PurePosixPath(*path.parts[index + 1 :])
            return kind, below.with_suffix("").as_posix() if below.suffix else below.as_posix()
    return None, path.stem


def kind_of(value: Mapping[str, Any], hint: Kind | None = None) -> Kind | None:
    """Return what ``value`` is by its own fields, None when it looks like an envelope."""
    kind = value.get("type")
    kind = kind if isinstance(kind, str) else None
    message = value.get("message")
    if isinstance(message, dict) and isinstance(message.get("type"), str):
        return "payload"
    if isinstance(value.get("statusCode"), int) and isinstance(message, str | list):
        return "refusal"
    if kind in _CALL_TYPES or ("endedReason" in value and "model" not in value):
        return "call"
    if isinstance(value.get("members"), list):
        return "squad"
    resource = _resource_kind(value, kind, hint)
    if resource:
        return resource
    if _is_phone_number(value, hint):
        return "phone-number"
    if _is_tool(value, hint):
        return "tool"
    signs = _ASSISTANT_SIGNS & value.keys()
    if signs or (hint == "assistant" and value.keys() & {"prompt", "context", "instructions"}):
        return "assistant"
    return None


def _resource_kind(value: Mapping[str, Any], kind: str | None, hint: Kind | None) -> Kind | None:
    if hint in RESOURCE_KINDS and isinstance(value.get("name"), str):
        return hint
    if kind in ("ai", "regex") and isinstance(value.get("schema"), dict):
        return "structured-output"
    if kind is not None and kind.startswith("chat.mock"):
        return "eval"
    if isinstance(value.get("personalityId"), str) and isinstance(value.get("scenarioId"), str):
        return "eval/simulation"
    if isinstance(value.get("simulationIds"), list):
        return "eval/simulation/suite"
    if isinstance(value.get("instructions"), str) and isinstance(value.get("evaluations"), list):
        return "eval/simulation/scenario"
    return None


def _is_phone_number(value: Mapping[str, Any], hint: Kind | None) -> bool:
    if value.keys() & {"model", "voice", "transcriber"}:
        return False
    numbered = value.keys() & {"number", "twilioPhoneNumber", "sipUri"}
    provider = value.get("provider")
    known = isinstance(provider, str) and provider in _NUMBER_PROVIDERS
    account = isinstance(value.get("twilioAccountSid"), str)
    return bool(numbered) and (known or account or hint == "phone-number")


def _is_tool(value: Mapping[str, Any], hint: Kind | None) -> bool:
    if value.keys() & {"model", "voice", "transcriber"}:
        return False
    kind, function = value.get("type"), value.get("function")
    if isinstance(kind, str) and (kind in TOOL_TYPES or kind.startswith(_TOOL_FAMILIES)):
        return True
    if isinstance(function, dict) and isinstance(function.get("name"), str):
        return True
    parameters = value.get("parameters")
    has_schema = isinstance(parameters, dict) and parameters.keys() & {"properties", "type"}
    if isinstance(value.get("name"), str) and has_schema:
        return True
    return hint == "tool" and isinstance(kind, str) and bool(kind)


def names_of(value: Mapping[str, Any], keys: Sequence[str]) -> str:
    """Return the first of ``keys`` that holds a name, ''."""
    for key in keys:
        if isinstance(value.get(key), str) and value[key].strip():
            return str(value[key])
    return ""
