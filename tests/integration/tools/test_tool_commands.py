"""``try_tool`` and ``replay_call --tools-to``: a developer's server gets what a call would send."""

from __future__ import annotations

import io
import json
import logging
import sys
from collections.abc import Iterator
from typing import Any

import pytest
from django.core.management import CommandError, call_command

from calls.models import Call
from calls.services.tool_records import store_exchange
from tests import factories
from tests.integration.tools.plain_server import PlainServer, answer_all, plain_server
from tools.spec import Exchange
from voiceplatform.base.models import AuditEntry

pytestmark = [pytest.mark.integration, pytest.mark.django_db]

SECRET = "planted-secret-0xC0FFEE"


@pytest.fixture
def laptop(settings: Any) -> Iterator[PlainServer]:
    """A developer's server on loopback, which no call may reach."""
    settings.EGRESS_ALLOW = []
    with plain_server(answer_all()) as made:
        yield made


def run(name: str, *arguments: str) -> tuple[int, str]:
    out = io.StringIO()
    try:
        call_command(name, *arguments, stdout=out)
    except SystemExit as end:
        return int(str(end.code)), out.getvalue()
    return 0, out.getvalue()


def test_a_named_server_gets_the_envelope_and_no_secret(laptop: PlainServer) -> None:
    factories.make_tool(
        name="book",
        server_url=f"https://tools.example.com/?token={SECRET}",
        server_secret=SECRET,
        server_headers={"Authorization": SECRET},
    )
    code, shown = run("try_tool", "book", "--to", laptop.url, "--arguments", '{"when": "mon"}')
    assert code == 0
    assert "HTTP 200" in shown and "would read (ok): Booked." in shown
    ((method, headers, body),) = laptop.requests
    assert method == "POST" and headers["x-voiceplatform-test"] == "tool"
    assert "x-vapi-secret" not in headers and "authorization" not in headers
    assert body["message"]["toolCallList"][0]["function"]["arguments"] == {"when": "mon"}
    assert SECRET not in json.dumps([headers, body]) + shown
    entry = AuditEntry.objects.get(action="tool.try")
    assert (entry.actor, entry.details["through"]) == ("system", "command")
    assert entry.details["other_server"] is True


def test_arguments_are_made_up_and_the_answer_is_json_on_demand(laptop: PlainServer) -> None:
    tool = factories.make_tool(name="book")
    laptop.handler = lambda *_: (500, b"oops")
    code, shown = run("try_tool", str(tool.pk), "--to", laptop.url, "--json")
    answer = json.loads(shown)
    assert code == 1
    assert (answer["ok"], answer["status"], answer["response"]) == (False, 500, "oops")
    assert laptop.bodies[0]["message"]["toolCallList"][0]["function"]["arguments"] == {
        "when": "test"
    }


def test_stdout_holds_the_answer_alone(
    laptop: PlainServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A program reads it; log lines go to stderr meanwhile."""
    factories.make_tool(name="book")
    stdout, stderr = io.StringIO(), io.StringIO()
    monkeypatch.setattr(sys, "stdout", stdout)
    monkeypatch.setattr(sys, "stderr", stderr)
    root, handler = logging.getLogger(), logging.StreamHandler(stdout)
    root.addHandler(handler)
    try:
        call_command("try_tool", "book", "--to", laptop.url, "--json", stdout=stdout)
        root.warning("back again")
    finally:
        root.removeHandler(handler)
    first, *rest = stdout.getvalue().splitlines()
    assert json.loads(first)["ok"] is True
    assert rest == ["back again"]
    assert "tool_answered" in stderr.getvalue()


def test_without_a_named_server_the_tool_s_own_is_asked_and_obeys_the_guard(
    laptop: PlainServer, settings: Any
) -> None:
    factories.make_tool(name="book", server_url=laptop.url, server_secret=SECRET)
    code, _ = run("try_tool", "book")
    assert code == 1 and laptop.requests == []
    settings.EGRESS_ALLOW = ["127.0.0.0/8"]
    code, _ = run("try_tool", "book")
    assert code == 0 and laptop.requests[0][1]["x-vapi-secret"] == SECRET


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["no-such-tool"], "there is no tool"),
        (["book", "--arguments", "{}"], "'when' is a required property"),
        (["book", "--arguments", "{"], "not valid JSON"),
        (["book", "--to", "ftp://x"], "neither http nor https"),
        (["twice"], "name one by its id"),
        (["book", "--organisation", "nobody"], "no organisation"),
    ],
)
def test_what_cannot_be_sent_is_said(arguments: list[str], words: str) -> None:
    factories.make_tool(name="book")
    for _ in range(2):
        factories.make_tool(name="twice")
    with pytest.raises(CommandError, match=words) as refused:
        run("try_tool", *arguments)
    assert refused.value.returncode == 1


def recorded_call() -> Call:
    """Make a call with two requests, the second of which carried two function calls."""
    call = factories.make_call(
        tool_invocations=[
            {"tool_call_id": "a1", "name": "look_up", "output": "Found."},
            {"tool_call_id": "b1", "name": "book", "output": "Booked."},
            {"tool_call_id": "b2", "name": "notify", "output": "Told."},
        ]
    )
    for ids in (("a1",), ("b1", "b2")):
        names = dict(call.tool_invocations.values_list("tool_call_id", "name"))
        calls = [
            {"id": each, "type": "function", "function": {"name": names[each], "arguments": {}}}
            for each in ids
        ]
        message = {"type": "tool-calls", "toolCalls": calls, "toolCallList": calls}
        store_exchange(
            str(call.pk),
            Exchange(
                host="tools.example.com",
                url="https://tools.example.com/",
                request_body=json.dumps({"message": message}).encode(),
                status=200,
                response_text="{}",
            ),
            ids,
        )
    return call


def test_recorded_requests_arrive_in_order_and_differences_are_named(laptop: PlainServer) -> None:
    call = recorded_call()
    answers = {"a1": "Found.", "b1": "Booked.", "b2": "Nobody was told."}

    def handle(body: dict[str, Any], _: dict[str, str]) -> tuple[int, Any]:
        calls = body["message"]["toolCallList"]
        results = [{"toolCallId": each["id"], "result": answers[each["id"]]} for each in calls]
        return 200, {"results": results}

    laptop.handler = handle
    code, shown = run("replay_call", str(call.pk), "--tools-to", laptop.url)
    assert code == 1
    ids = [[each["id"] for each in body["message"]["toolCalls"]] for body in laptop.bodies]
    assert ids == [["a1"], ["b1", "b2"]]
    assert laptop.requests[0][1]["x-voiceplatform-test"] == "replay"
    assert laptop.requests[0][1]["x-call-id"] == str(call.pk)
    assert "look_up: the same" in shown and "book: the same" in shown
    assert "notify: DIFFERENT" in shown and "now:  Nobody was told." in shown
    answers["b2"] = "Told."
    code, shown = run("replay_call", str(call.pk), "--tools-to", laptop.url, "--json")
    found = json.loads(shown)
    assert code == 0 and found["ok"] is True
    assert [request["status"] for request in found["requests"]] == [200, 200]


def test_a_call_without_stored_requests_says_so(laptop: PlainServer) -> None:
    call = factories.make_call()
    with pytest.raises(CommandError, match="no stored requests"):
        run("replay_call", str(call.pk), "--tools-to", laptop.url)
    factories.make_tool_exchange(call, content=None)  # the caller refused
    with pytest.raises(CommandError, match="no stored requests"):
        run("replay_call", str(call.pk), "--tools-to", laptop.url)
    with pytest.raises(CommandError, match="neither http nor https"):
        run("replay_call", str(recorded_call().pk), "--tools-to", "localhost:3000")
    assert laptop.requests == []
