"""What becomes of one tool: findings on its type, server, secret, schema and destinations.

Owns which tool types run in this version and what to do about the others (vapi.md 3). Pure; the
tool comes in today's form (``assistants.legacy``).
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, Final

from assistants.address_account import account_url
from assistants.extraction import names_of
from assistants.findings import (
    INVALID,
    LOSSY,
    MAPPED,
    SECRET_MISSING,
    UNSUPPORTED,
    Notes,
    has_placeholder,
    several,
    short,
    variables,
)
from assistants.handoff_account import account_handoff
from assistants.legacy import tool_name
from assistants.mcp_account import account_mcp
from assistants.query_account import account_query
from assistants.request_account import account_encryption, account_request
from assistants.text_account import account_text
from assistants.tool_talk_account import account_talk
from assistants.wire.files import step
from tools.defaults import has_template
from tools.handoffs import hands_over
from tools.normalise import MAX_TOOL_DESCRIPTION, function_of, normalise
from tools.spec import POSTED_KINDS

LEGAL_NAME: Final = re.compile(r"[a-zA-Z0-9_-]{1,64}")
_E164: Final = re.compile(r"\+[1-9][0-9]{6,14}")
_EMERGENCY: Final = frozenset({"911", "112", "999", "000", "110", "119", "118", "15", "17", "18"})
_INSTEAD: Final[Mapping[str, str]] = {
    "code": "run the code behind an address of yours and make it a function tool",
    "voicemail": "leave it out: who calls in is no answering machine",
    "sipRequest": "no SIP leg exists on a Twilio stream; do it from a function tool",
}
_ABOUT: Final = frozenset({"id", "orgId", "createdAt", "updatedAt"})
_FAMILIES: Final = ("google.", "slack.", "gohighlevel.")


def account_tool(
    tool: Mapping[str, Any], notes: Notes, path: str, *, assistant_has_server: bool | None
) -> None:
    """Add the findings on ``tool``.

    Args:
        path: its JSON path; ``$`` for a saved tool.
        assistant_has_server: whether the assistant around it has a server; None for a saved tool.
    """
    kind = tool.get("type")
    at = step(path, "server")
    notes.mark(
        *(step(path, key) for key in ("type", "name", "description", "async", "function")),
        *(step(at, key) for key in ("url", "timeoutSeconds", "headers")),
    )
    if kind in POSTED_KINDS:
        _account_function(tool, notes, path, assistant_has_server)
    elif kind == "sms":
        account_text(tool, notes, path)
    elif kind == "query":
        account_query(tool, notes, path)
    elif kind == "apiRequest":
        account_request(tool, notes, path)
    elif kind == "endCall":
        notes.add(step(path, "type"), MAPPED, "The assistant can end the call.")
    elif kind == "dtmf":
        notes.add(
            step(path, "type"),
            LOSSY,
            "Keys are sounded as tones in the audio, the only way that a stream has: most phone "
            "menus understand them, none is bound to. Fix: try it with the menu that you need.",
        )
        if tool.get("sipInfoDtmfEnabled"):
            words = "No SIP message can be sent on this line; the tones are."
            notes.add(step(path, "sipInfoDtmfEnabled"), UNSUPPORTED, words)
    elif kind == "handoff" or (kind == "transferCall" and hands_over(tool)):
        account_handoff(tool, notes, path)
    elif kind == "transferCall":
        _account_transfer(tool, notes, path)
    elif kind == "mcp":
        account_mcp(tool, notes, path)
    else:
        others = (step(path, key) for key in tool if key not in _ABOUT)
        notes.mark(*others, state=UNSUPPORTED)
        _account_other(str(kind), notes, path)
    _account_parts(tool, notes, path, str(kind))


def _account_function(
    tool: Mapping[str, Any], notes: Notes, path: str, assistant_has_server: bool | None
) -> None:
    name = tool_name(tool)
    at = step(path, "function")
    if not name:
        notes.add(at, INVALID, "No function name, so no model can call it. Fix: give it one.")
    elif not LEGAL_NAME.fullmatch(name):
        notes.add(
            step(at, "name"),
            LOSSY,
            f"{short(name)!r} is no name that a model accepts (letters, digits, _ and -, at most "
            "64). The model sees a legal form of it; the tool server is told the old one.",
        )
    server = tool.get("server")
    url = server.get("url") if isinstance(server, dict) else None
    if isinstance(url, str) and url:
        notes.add(at, MAPPED, "The model can call it; each call goes to its own server.")
        account_url(url, notes, step(step(path, "server"), "url"))
        account_secret(server if isinstance(server, dict) else {}, notes, step(path, "server"))
        account_encryption(tool, server or {}, notes, step(path, "server"))
    elif assistant_has_server is False:
        notes.add(
            at,
            INVALID,
            "Neither the tool nor the assistant has a server, so its calls go to that of the phone "
            "number or the organisation, and nowhere without one. Fix: set server.url.",
        )
    else:
        notes.add(at, MAPPED, "The model can call it; its calls go to the assistant's server.")
    _account_schema(tool, notes, at)


def _account_schema(tool: Mapping[str, Any], notes: Notes, at: str) -> None:
    function = tool.get("function")
    parameters = function.get("parameters") if isinstance(function, dict) else None
    if parameters is not None and not isinstance(parameters, dict):
        notes.add(
            step(at, "parameters"),
            INVALID,
            "No JSON Schema, so the model is told that there are no arguments. Fix: write one.",
        )
        return
    for note in normalise(parameters).notes:
        place = step(at, "parameters")
        for part in note.path:
            place = step(place, part)
        notes.add(place, LOSSY if note.is_lost else MAPPED, note.message)
    description = function.get("description") if isinstance(function, dict) else None
    if isinstance(description, str):
        offered = function_of(description, parameters).description
        if not offered.startswith(description.strip()):
            notes.add(
                step(at, "description"),
                LOSSY,
                f"A session takes {MAX_TOOL_DESCRIPTION:,} characters with what is said about the "
                "arguments; the model reads the beginning. Fix: shorten it, or move the rest into "
                "the prompt.",
            )


def account_secret(server: Mapping[str, Any], notes: Notes, path: str) -> None:
    """Say whether the tool server will recognise us (vapi.md trap 16)."""
    secret, headers = server.get("secret"), server.get("headers")
    if isinstance(secret, str) and secret:
        account_secret_text(secret, notes, step(path, "secret"))
    elif isinstance(server.get("credentialId"), str):
        notes.add(
            step(path, "credentialId"),
            SECRET_MISSING,
            "The credential itself is not in an export. Fix: enter its secret or header here, or "
            "all of it under Server credentials with this id.",
        )
    elif not (isinstance(headers, dict) and headers):
        notes.add(
            path,
            SECRET_MISSING,
            "Exports leave secrets out. If this server checks X-Vapi-Secret it will refuse our "
            "calls. Fix: enter the secret in the admin; ignore this when it checks none.",
        )


def account_secret_text(secret: str, notes: Notes, path: str) -> None:
    """Say what becomes of a secret that the document holds."""
    if has_placeholder(secret):
        notes.add(
            path,
            SECRET_MISSING,
            "A placeholder stands where the secret belongs. Fix: enter the secret in the admin or "
            "in the file.",
        )
    else:
        notes.add(path, MAPPED, "Stored sealed, sent as X-Vapi-Secret and never shown again.")


def _account_transfer(tool: Mapping[str, Any], notes: Notes, path: str) -> None:
    destinations = tool.get("destinations")
    at = step(path, "destinations")
    if not isinstance(destinations, list) or not destinations:
        notes.add(
            at,
            MAPPED,
            "No destination: your server is asked for one when it is needed "
            "(transfer-destination-request). Without a server the transfer fails and the call "
            "goes on.",
        )
        return
    used = next((i for i, entry in enumerate(destinations) if _is_number(entry)), None)
    for index, entry in enumerate(destinations):
        each = step(at, index)
        notes.mark(step(each, "type"), step(each, "description"))
        if isinstance(entry, dict):
            _account_destination(entry, notes, each, is_used=index == used)
        else:
            notes.add(each, INVALID, "No destination object; it is left out.")


def _is_number(entry: Any) -> bool:
    return isinstance(entry, dict) and entry.get("type", "number") == "number"


def _account_destination(
    entry: Mapping[str, Any], notes: Notes, path: str, *, is_used: bool
) -> None:
    kind, number = entry.get("type"), entry.get("number")
    if not _is_number(entry) or not isinstance(number, str):
        words = kind if isinstance(kind, str) else "unknown"
        notes.add(
            path,
            UNSUPPORTED,
            f"A destination of type {short(words)} cannot be reached. Fix: use a phone number.",
        )
        return
    at = step(path, "number")
    digits = re.sub(r"\D", "", number)
    if digits in _EMERGENCY:
        notes.add(
            at,
            INVALID,
            "An emergency number. Calls are never transferred there; the assistant has to tell "
            "callers to dial it themselves.",
        )
    elif variables(number) and is_used:
        notes.add(
            at,
            LOSSY,
            "A template, filled in for each call; if that gives no number that may be dialled, "
            "the assistant is told so and offers another way.",
        )
    elif variables(number) or has_placeholder(number):
        notes.add(at, UNSUPPORTED, "A placeholder; nobody fills it in. Fix: write the number.")
    elif not _E164.fullmatch(number):
        notes.add(at, INVALID, "Not in the form +15550100001, so Twilio cannot dial it.")
    elif is_used:
        notes.add(at, MAPPED, "Callers can be transferred there.")
    else:
        notes.add(
            at,
            UNSUPPORTED,
            "Only the first number of a tool is dialled. Fix: make a tool of its own for this one.",
        )
    plan = entry.get("transferPlan")
    mode = plan.get("mode") if isinstance(plan, dict) else None
    if plan and mode != "blind-transfer":
        notes.add(
            step(path, "transferPlan"),
            LOSSY,
            "The person is not briefed before the caller comes through: a plain transfer.",
        )
    message = entry.get("message")
    if isinstance(message, str) and message:
        words = "Spoken before the transfer"
        filled = f"{words}, its variables filled in." if variables(message) else f"{words}."
        notes.add(step(path, "message"), MAPPED, filled)
    elif message:
        notes.add(step(path, "message"), UNSUPPORTED, "Only a plain sentence is spoken; this not.")
    for key in ("extension", "callerId"):
        if entry.get(key):
            notes.add(step(path, key), UNSUPPORTED, "Stored; the transfer is made without it.")


def _account_other(kind: str, notes: Notes, path: str) -> None:
    instead = _INSTEAD.get(kind)
    if instead is None and kind.startswith(_FAMILIES):
        instead = "reach that service from a function tool of yours"
    notes.add(
        step(path, "type"),
        UNSUPPORTED,
        f"Tools of type {short(kind)} do not run yet: the model is not offered it, so what "
        f"it did does not happen. Instead: {instead or 'make it a function tool with a server'}.",
    )


def _account_extraction(tool: Mapping[str, Any], notes: Notes, at: str, kind: str) -> None:
    """Say which variables a result sets, and who sees them."""
    plan = tool["variableExtractionPlan"]
    names = names_of(plan)
    if kind not in POSTED_KINDS | {"apiRequest"}:
        words = "Nothing is taken from what this tool comes to into variables."
        notes.add(at, UNSUPPORTED, words)
    elif not names:
        words = "It names no variable (letters, digits and _; not customer, call or the like)."
        notes.add(at, INVALID, f"{words} Fix: name one.")
    elif kind in POSTED_KINDS and tool.get("async") is True:
        notes.add(at, UNSUPPORTED, "Nothing is taken: an answer of this tool is not waited for.")
    else:
        notes.add(
            at,
            LOSSY,
            f"Set by a result that is JSON: {several([short(name) for name in names])}. What is "
            "sent and said afterwards sees it, a later value wins; the prompt was given to the "
            "model when the call began and stays as it was.",
        )


def _account_parts(tool: Mapping[str, Any], notes: Notes, path: str, kind: str) -> None:
    """Speak of what stands beside the function: spoken messages, static parameters, plans."""
    if kind != "mcp":
        account_talk(tool, notes, path, kind)
    if isinstance(tool.get("parameters"), list) and tool["parameters"]:
        at = step(path, "parameters")
        filled = has_template(tool["parameters"])
        words = "Added to every call, over what the model gives."
        notes.add(at, MAPPED, f"{words} Templates in them are filled in." if filled else words)
    if tool.get("variableExtractionPlan"):
        _account_extraction(tool, notes, step(path, "variableExtractionPlan"), kind)
    if kind not in ("transferCall", "handoff") and isinstance(tool.get("destinations"), list):
        if tool["destinations"]:
            notes.add(step(path, "destinations"), UNSUPPORTED, "Stored; nothing leads there yet.")
    server = tool.get("server")
    if isinstance(server, dict) and server.get("backoffPlan") and kind != "mcp":
        at = step(step(path, "server"), "backoffPlan")
        notes.add(at, MAPPED, "A failed request is repeated as this says, with the same bytes.")
