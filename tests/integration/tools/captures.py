"""What a request that Vapi once sent to a tool server holds and ours for the same call would not.

``differences`` takes any capture of that kind: today's ``tool-calls``, the old ``function-call``,
with or without headers, of one tool or several, with arguments as objects or as text. Rows are
made of what it describes, our request is built from the rows, and each path of the capture is
looked up in it. ``EXEMPT`` names what is left out on purpose, with its reason.
"""

from __future__ import annotations

import json
import re
import uuid
from collections import defaultdict
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from assistants.services import assistant_publish
from calls.bridge.effects import DispatchTool
from calls.models import Call
from calls.services.tool_posts import ToolPost, tool_posts
from tests.factories import default_organisation, make_call, make_number
from tests.unit.tools.test_wire_messages import check
from tools.exchange import request_headers
from tools.models import Tool
from tools.services import tool_store
from tools.spec import ToolSpec
from tools.switches import Switches, write_switches
from voiceplatform.base.egress import destination
from voiceplatform.base.redaction import is_secret_name

LISTS = ("toolCalls", "toolCallList", "toolWithToolCallList")
EXEMPT = {
    r"\.chat(\.|$)|\.X-Chat-Id$": "a text chat: there is no call",
    r"\.timestamp$": "text in the captures of July 2024, a number since (vapi.md 1.6)",
    r"\.phoneNumber\.stripe": "how Vapi bills its customers",
    r"\.call\.squad(\.|$)": "a transient squad; ours is the assistant that answers",
    r"\.call\.(assistant|assistantOverrides)(\.|$)": "a transient assistant; ours are stored",
    r"\.call\.webCallUrl$": "where Vapi's own web client joins; ours are phone calls",
}
# What a proxy or the client's HTTP library adds, and not Vapi.
_OF_THE_WAY = re.compile(
    r"host|content-length|connection|accept(-encoding|-language)?|user-agent|transfer-encoding|via"
    r"|forwarded|x-forwarded-.*|x-real-ip|x-request-.*|x-amzn-.*|x-cloud-.*|x-envoy-.*|cf-.*|cdn-.*"
    r"|traceparent|tracestate|baggage|sentry-trace|priority|true-client-ip|request-id|function-.*"
)
_OURS = {"x-call-id", "x-voiceplatform-stack", "idempotency-key", "accept", "accept-encoding"}
_IDS = {"X-Call-Id", "X-Chat-Id", "X-Session-Id", "Content-Type"}
_OF_US_ALONE = _OURS | {"user-agent"}


@dataclass(frozen=True)
class TheirCall:
    """One function call of a capture."""

    tool_call_id: str
    name: str
    arguments: dict[str, Any]


@dataclass(frozen=True)
class Capture:
    """A request as it was found: its message, and its headers where they were kept."""

    message: dict[str, Any]
    headers: dict[str, str] = field(default_factory=dict)

    @classmethod
    def read(cls, found: Any) -> Capture:
        """Read a body, a message without its wrapper, or a logged request around one."""
        headers = found.get("headers") if isinstance(found.get("headers"), dict) else {}
        body = found.get("body", found) if "message" not in found else found
        body = json.loads(body) if isinstance(body, str) else body
        lowered = {name.lower(): str(value) for name, value in headers.items()}
        return cls(body.get("message", body), lowered)

    @property
    def is_legacy(self) -> bool:
        """Tell whether it is the old message of a single call."""
        return bool(self.message["type"] == "function-call")

    @property
    def calls(self) -> list[TheirCall]:
        """Return the function calls, in their order, however they are spelt."""
        if self.is_legacy:
            return [_their_call(self.message["functionCall"], "")]
        name = next(name for name in LISTS if self.message.get(name))
        return [
            _their_call(each.get("toolCall", each), each.get("name", ""))
            for each in self.message[name]
        ]

    @property
    def switches(self) -> Switches:
        """Return the switches with which its server is asked: its types decide (vapi.md 4.3)."""
        entries = [self.message.get("functionCall") or {}]
        for name in LISTS:
            entries += [each.get("toolCall", each) for each in self.message.get(name) or ()]
        texts = any(isinstance(_arguments_of(each), str) for each in entries)
        return Switches(text_arguments=texts, legacy_message=self.is_legacy)


def _arguments_of(call: Mapping[str, Any]) -> Any:
    for node in (call.get("function") or {}, call):
        for name in ("arguments", "parameters"):
            if name in node:
                return node[name]
    return {}


def _their_call(call: Mapping[str, Any], name: str) -> TheirCall:
    given = _arguments_of(call)
    arguments = json.loads(given or "{}") if isinstance(given, str) else dict(given or {})
    found = (call.get("function") or {}).get("name") or call.get("name") or name
    return TheirCall(str(call.get("id") or uuid.uuid4()), found, arguments)


def kind(value: Any) -> str:
    """Return the JSON type of a value; integers and floats are both numbers."""
    if isinstance(value, bool):
        return "boolean"
    return {dict: "object", list: "array", str: "string", int: "number", float: "number"}.get(
        type(value), "null"
    )


def paths(node: Any, where: str = "") -> dict[str, set[str]]:
    """Return the JSON types found at every path; list elements with a role are told apart by it."""
    found: dict[str, set[str]] = defaultdict(set)
    found[where].add(kind(node))
    children: list[tuple[str, Any]] = []
    if isinstance(node, dict):
        children = [(f"{where}.{key}", value) for key, value in node.items()]
    elif isinstance(node, list):
        for value in node:
            role = value.get("role", "") if isinstance(value, dict) else ""
            children.append((f"{where}[{role}]", value))
    for path, value in children:
        for each, kinds in paths(value, path).items():
            found[each] |= kinds
    return found


def is_exempt(where: str) -> bool:
    """Tell whether a path is left out on purpose; secrets always are (vapi.md 4.1)."""
    last = where.rpartition(".")[2].partition("[")[0]
    return is_secret_name(last) or any(re.search(pattern, where) for pattern in EXEMPT)


def missing(theirs: Any, ours: Any) -> list[str]:
    """Return the paths of ``theirs`` that ``ours`` lacks, or holds with other types only.

    Where theirs is null anything of ours will do, but nothing at all.
    """
    have = paths(ours)
    return [
        f"{where}: {sorted(kinds)}, ours {sorted(have.get(where, {'missing'}))}"
        for where, kinds in paths(theirs).items()
        if not is_exempt(where) and not (where in have and kinds - {"null"} <= have[where])
    ]


def differences(found: Any) -> list[str]:
    """Return what a capture holds that our request for the same calls would not, one line each."""
    capture = Capture.read(found)
    wanted = capture.calls
    post = our_post(capture, wanted)
    body = json.loads(post.body)
    lines = missing({"message": capture.message}, body)
    lines += _order(body["message"], wanted, capture.switches)
    lines += _headers(capture.headers, post)
    if not capture.is_legacy:
        parsed = check(body)  # raises where the SDK's own type does not take it
        if [call.id for call in parsed.tool_call_list] != [each.tool_call_id for each in wanted]:
            lines.append("the SDK reads other calls")
    return lines


def _order(ours: Mapping[str, Any], wanted: list[TheirCall], switches: Switches) -> Iterator[str]:
    """Yield where our calls are not theirs, one by one: id, name and arguments."""
    if switches.legacy_message:
        lists = {"functionCall": [ours["functionCall"]]}
    else:
        lists = {name: [each.get("toolCall", each) for each in ours[name]] for name in LISTS}
    for name, entries in lists.items():
        found = [_their_call(each, "") for each in entries]
        if [each.tool_call_id for each in found] != [each.tool_call_id for each in wanted]:
            yield f"{name}: other calls, or in another order"
            continue
        for one, other in zip(found, wanted, strict=True):
            if one.name != other.name or not _holds(one.arguments, other.arguments):
                yield f"{name}: {one.tool_call_id} is called otherwise"


def _holds(ours: Any, theirs: Any) -> bool:
    """Tell whether values are the same, but for what a schema has a default for."""
    if isinstance(ours, dict) and isinstance(theirs, dict):
        return all(name in ours and _holds(ours[name], each) for name, each in theirs.items())
    if isinstance(ours, list) and isinstance(theirs, list):
        return len(ours) == len(theirs) and all(map(_holds, ours, theirs))
    return bool(ours == theirs)


def _headers(theirs: Mapping[str, str], post: ToolPost) -> Iterator[str]:
    """Yield where our headers are not theirs, but for those of the way and the ones we document."""
    assert post.server is not None
    sent = request_headers(
        post.server, destination(post.server.url), call_id="c", idempotency_key="c:t"
    )
    ours = {name.decode().lower(): value.decode("latin-1") for name, value in sent}
    said = {name: value for name, value in theirs.items() if not _OF_THE_WAY.fullmatch(name)}
    if not said:
        return
    for name, value in said.items():
        # What a secret is differs from call to call; that it is there does not.
        same = ours.get(name) == value or (name in ours and is_secret_name(name))
        if not same:
            yield f"header {name}: {ours.get(name, 'missing')}"
    for name in ours.keys() - said.keys() - _OF_US_ALONE:
        yield f"header {name}: only ours"


def our_post(capture: Capture, wanted: list[TheirCall]) -> ToolPost:
    """Return the one request that we would have sent for the calls of a capture."""
    call, tools = _rows(capture, wanted)
    given = [
        (
            ToolSpec(name=each.name, handle=str(tools[each.name].pk)),
            DispatchTool(each.tool_call_id, each.name, json.dumps(each.arguments)),
        )
        for each in wanted
    ]
    posts, known = tool_posts(str(call.pk), given)
    assert known == {}, f"not sent: {[each.output for each in known.values()]}"
    (post,) = posts
    return post


def _rows(capture: Capture, wanted: list[TheirCall]) -> tuple[Call, dict[str, Tool]]:
    """Make the rows that a capture describes."""
    organisation, message = default_organisation(), capture.message
    document = dict(_assistant_of(message))
    model = dict(document.get("model") or {"provider": "openai", "model": "gpt-4o"})
    model.setdefault("messages", [{"role": "system", "content": "Be kind."}])
    saved = [tool for tool in model.get("tools") or () if _uuid(tool.get("id"))]
    for tool in saved:
        tool_store(organisation=organisation, document=tool, actor=None, tool_id=_uuid(tool["id"]))
    model["tools"] = [tool for tool in model.get("tools") or () if tool not in saved]
    tools = {
        name: tool_store(organisation=organisation, document=each, actor=None)
        for name, each in _tool_documents(capture, wanted).items()
    }
    model["toolIds"] = [*(each["id"] for each in saved), *(str(tool.pk) for tool in tools.values())]
    assistant = assistant_publish(
        organisation=organisation,
        document={**document, "model": model},
        source="import",
        actor=None,
    )
    customer = message.get("customer") or (message.get("call") or {}).get("customer") or {}
    call = make_call(
        number=make_number(assistant=assistant),
        caller=customer.get("number") or "+15550100001",
        turns=[{"text": "Hello"}, {"text": "Please"}, {"text": "A moment"}],
        tool_invocations=[{"name": "earlier", "started_ms": 900}],
    )
    return call, tools


def _assistant_of(message: Mapping[str, Any]) -> Mapping[str, Any]:
    call = message.get("call") or {}
    members = (call.get("squad") or {}).get("members") or [{}]
    candidates = (message.get("assistant"), call.get("assistant"), members[0].get("assistant"))
    return next((each for each in candidates if each), {"name": "Front desk"})


def _uuid(value: Any) -> uuid.UUID | None:
    try:
        return uuid.UUID(str(value))
    except ValueError:
        return None


def _tool_documents(capture: Capture, wanted: list[TheirCall]) -> dict[str, dict[str, Any]]:
    """Return the document of each tool that is called; one server answers them all."""
    described: dict[str, dict[str, Any]] = {}
    for entry in capture.message.get("toolWithToolCallList") or ():
        document = {key: each for key, each in entry.items() if key not in {"toolCall", "name"}}
        name = (entry.get("function") or {}).get("name") or entry.get("name")
        described[name] = document
    named = next((each["server"] for each in described.values() if each.get("server")), {})
    documents = {}
    for name in dict.fromkeys(each.name for each in wanted):
        document = described.get(name, {})
        document.setdefault("type", "function")
        document["function"] = {"name": name, **document.get("function", {})}
        if "x-vapi-secret" in capture.headers:
            named = {**named, "secret": "the-secret-of-it"}
        url = {"url": "https://tools.example.com/hook"}
        server = {**url, **(document.get("server") or {}), **named}
        # Vapi puts its own among those of the customer.
        own = {key: each for key, each in (server.get("headers") or {}).items() if key not in _IDS}
        document["server"] = {**server, "headers": own} if "headers" in server else server
        documents[name] = write_switches(document, capture.switches)
    return documents
