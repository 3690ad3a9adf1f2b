"""A stored secret stays with its server: what a patch may move, and what it may not."""

from __future__ import annotations

from typing import Any

import pytest

from voiceplatform.base.redaction_moves import SecretMoved, moves_refuse

pytestmark = pytest.mark.unit

A, B = "https://a.example/x?token=t", "https://b.example"
SERVER = {"url": A, "secret": "s", "headers": {"Authorization": "Bearer t", "X-Team": "desk"}}
TOOL = {"type": "function", "function": {"name": "f"}, "server": SERVER}
PAIRS = [{"key": "apiToken", "value": "v"}]
REQUEST = {"type": "apiRequest", "name": "r", "url": A, "headers": {"X-Api-Key": "k"}}


@pytest.mark.parametrize(
    ("patch", "stored", "named"),
    [
        ({"server": {"url": B}}, TOOL, "server.secret"),
        ({"server": {"url": B, "secret": "mine"}}, TOOL, "server.headers.Authorization"),
        (
            {"server": {"url": B, "secret": None, "headers": {}}},
            TOOL,
            "server.headers.Authorization",
        ),
        # In two steps: the secret is left without an address, then gets a new one.
        ({"server": {"url": B}}, {"server": {"secret": "s"}}, "server.secret"),
        ({"serverUrl": B}, {"serverUrl": A, "serverUrlSecret": "s"}, "serverUrlSecret"),
        ({"server": {"url": B}}, {"serverUrl": A, "serverUrlSecret": "s"}, "serverUrlSecret"),
        ({"serverUrl": B}, {"server": {"secret": "s"}}, "server.secret"),
        ({"url": B}, REQUEST, "headers.X-Api-Key"),
        ({"url": "http://a.example"}, REQUEST, "headers.X-Api-Key"),
        ({"server": {"url": B}}, {"server": {"url": A}, "parameters": PAIRS}, "parameters.0.value"),
        (
            {"model": {"provider": "x", "tools": [{**TOOL, "server": {"url": B}}]}},
            {"model": {"provider": "x", "tools": [TOOL]}},
            "model.tools.0.server.secret",
        ),
        (
            {"model": {"provider": "custom-llm", "url": B}},
            {"model": {"provider": "custom-llm", "url": A, "headers": {"X-Key": "k"}}},
            "model.headers.X-Key",
        ),
    ],
)
def test_a_secret_that_would_go_to_another_server_is_named(
    patch: dict[str, Any], stored: dict[str, Any], named: str
) -> None:
    with pytest.raises(SecretMoved, match=named.replace(".", r"\.")):
        moves_refuse(patch, stored)


@pytest.mark.parametrize(
    ("patch", "stored"),
    [
        ({"name": "new"}, TOOL),
        ({"server": {"url": "https://a.example/y"}}, TOOL),
        ({"server": {"url": "https://***@a.example/x?token=***"}}, TOOL),
        (
            {"server": {"url": B, "secret": "mine", "headers": {"Authorization": "Bearer mine"}}},
            TOOL,
        ),
        ({"server": {"url": B, "secret": None, "headers": None}}, TOOL),
        ({"server": None}, TOOL),
        ({"server": {"url": B}}, {"server": {"url": A}}),
        ({"serverUrl": A}, {"server": {"url": A, "secret": "s"}}),
        # The keys of providers and of Twilio do not go to the server.
        ({"server": {"url": B}}, {"twilioAuthToken": "t", "credentials": [{"apiKey": "k"}]}),
        # Another tool in its place has no secret to lose.
        (
            {"tools": [{"function": {"name": "g"}, "server": {"url": B}}]},
            {"tools": [{"function": {"name": "f"}, "server": SERVER}]},
        ),
    ],
)
def test_what_takes_no_secret_along_is_let_through(
    patch: dict[str, Any], stored: dict[str, Any]
) -> None:
    moves_refuse(patch, stored)
    # And the check can tell: with a secret that is not sent, another address is refused.
    with pytest.raises(SecretMoved):
        moves_refuse({"url": B}, {"url": A, "secret": "s"})
