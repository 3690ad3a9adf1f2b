"""The stand-in tool server through its ASGI interface: ledger, answers, secret."""

from __future__ import annotations

import json
from typing import Any

import pytest

from calls.standins.tool_server import ToolReply, ToolServerApp

pytestmark = pytest.mark.unit


async def ask(
    app: ToolServerApp, method: str, path: str, body: Any = None, **headers: str
) -> tuple[int, dict[str, str], bytes]:
    """Send one request; return status, headers and body of the answer."""
    raw = body if isinstance(body, bytes) else json.dumps(body).encode()
    sent: list[dict[str, Any]] = []

    async def receive() -> dict[str, Any]:
        return {"type": "http.request", "body": raw, "more_body": False}

    async def send(message: Any) -> None:
        sent.append(message)

    fields = [(name.replace("_", "-").encode(), v.encode()) for name, v in headers.items()]
    scope = {"type": "http", "method": method, "path": path, "headers": fields}
    await app(scope, receive, send)
    answer = b"".join(message.get("body", b"") for message in sent[1:])
    return (
        sent[0]["status"],
        {name.decode(): value.decode() for name, value in sent[0]["headers"]},
        answer,
    )


def calls(*names: str, **arguments: Any) -> dict[str, Any]:
    """Return a tool-calls body."""
    listed = [
        {"id": f"id-{name}", "type": "function", "function": {"name": name, "arguments": arguments}}
        for name in names
    ]
    return {"message": {"type": "tool-calls", "toolCallList": listed}}


async def test_each_call_is_answered_and_recorded() -> None:
    app = ToolServerApp()
    app.replies["book"] = ToolReply(result="Booked {day}")
    app.replies["pay"] = ToolReply(result="declined", form="error")
    status, _, raw = await ask(app, "POST", "/tools/hook", calls("book", "pay", day="mon"))
    assert status == 200
    assert json.loads(raw) == {
        "results": [
            {"toolCallId": "id-book", "name": "book", "result": "Booked mon"},
            {"toolCallId": "id-pay", "name": "pay", "error": "declined"},
        ]
    }
    status, _, raw = await ask(app, "GET", "/tools/ledger")
    (entry,) = json.loads(raw)
    assert (entry["path"], entry["names"]) == ("/tools/hook", ["book", "pay"])
    assert entry["tool_call_ids"] == ["id-book", "id-pay"]
    await ask(app, "DELETE", "/tools/ledger")
    assert not app.ledger


async def test_answers_are_set_from_another_process() -> None:
    app = ToolServerApp()
    wanted = {"*": {"result": {"ok": 1}, "status": 201, "message": "Fine"}}
    status, _, _ = await ask(app, "PUT", "/tools/answers", wanted)
    assert status == 200
    status, _, raw = await ask(app, "POST", "/tools/x", calls("anything"))
    assert status == 201
    assert json.loads(raw)["results"][0]["result"] == {"ok": 1}
    assert json.loads(raw)["results"][0]["message"] == "Fine"


@pytest.mark.parametrize("body", [b"{", [1], {"book": {"form": "no"}}, {"book": {"nope": 1}}])
async def test_answers_that_mean_nothing_are_refused(body: Any) -> None:
    app = ToolServerApp()
    status, _, _ = await ask(app, "PUT", "/tools/answers", body)
    assert (status, app.replies) == (400, {})


async def test_a_wrong_secret_is_refused_and_recorded() -> None:
    app = ToolServerApp(secret="right")
    for given, status in (({}, 401), ({"x_vapi_secret": "wrong"}, 401)):
        assert (await ask(app, "POST", "/tools/x", calls("a"), **given))[0] == status
    assert (await ask(app, "POST", "/tools/x", calls("a"), x_vapi_secret="right"))[0] == 200
    assert [request.status for request in app.ledger] == [401, 401, 200]


async def test_every_fault_is_the_one_that_was_asked_for() -> None:
    app = ToolServerApp()

    async def answer(**reply: Any) -> tuple[int, dict[str, str], bytes]:
        app.replies["a"] = ToolReply(**reply)
        return await ask(app, "POST", "/tools/x", calls("a"))

    assert (await answer(form="object"))[2] == (
        b'{"results": {"toolCallId": "id-a", "name": "a", "result": "OK"}}'
    )
    assert json.loads((await answer(form="legacy"))[2]) == {"result": "OK"}
    assert json.loads((await answer(form="top-level-error", status=500))[2]) == {"error": "OK"}
    wrong = json.loads((await answer(form="wrong-id"))[2])
    assert wrong["results"][0]["toolCallId"] != "id-a"
    assert (await answer(form="text"))[2] == b"OK"
    assert (await answer(form="empty"))[2] == b""
    assert len((await answer(form="huge"))[2]) == 1 << 20
    status, headers, _ = await answer(form="redirect", result="http://127.0.0.1/")
    assert (status, headers["location"]) == (302, "http://127.0.0.1/")


async def test_what_is_no_server_message_is_refused() -> None:
    app = ToolServerApp()
    assert (await ask(app, "POST", "/tools/x", b"no json"))[0] == 400
    assert (await ask(app, "POST", "/tools/x", [1]))[0] == 400
    assert (await ask(app, "POST", "/tools/x", b" " * 2_000_000))[0] == 413
    assert (await ask(app, "GET", "/tools/x"))[0] == 405
    assert app.serves("/tools/x")
    assert not app.serves("/standin/tools/")


async def test_other_server_messages_arrive_too() -> None:
    app = ToolServerApp()
    app.replies["*"] = ToolReply(status=500)
    body = {"message": {"type": "status-update", "status": "ended"}}
    status, _, raw = await ask(app, "POST", "/tools/x", body, x_event="1")
    assert (status, json.loads(raw)) == (200, {})
    assert app.ledger[0].body == body
    assert app.ledger[0].headers["x-event"] == "1"
