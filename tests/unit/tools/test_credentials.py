"""How requests prove who sends them: plans as Vapi writes them, headers as servers check them."""

from __future__ import annotations

import asyncio
import base64
import hashlib
import hmac
import json
from typing import Any
from urllib.parse import parse_qs

import pytest

from tools.auth import (
    NotAuthorised,
    Signing,
    credential_headers,
    forget_token,
    signature_headers,
)
from tools.servers import Bearer, Hmac, OAuth2
from tools.wire.vapi_credential import read_credential

pytestmark = pytest.mark.unit

BODY = b'{"message":{"a":"{timestamp}"}}'
SIGNING = Signing("https://tools.example.com/hook?x=1", BODY, 1_763_805_600.9, "msg_1")
SECRET = "hidden-secret"
OAUTH = OAuth2("https://auth.example.com/token", "me", SECRET, "book")


def plan(**fields: Any) -> dict[str, Any]:
    """Return a credential as ``/credential`` stores it."""
    return {"provider": "webhook", "authenticationPlan": fields}


async def no_post(url: str, headers: dict[str, str], form: bytes) -> tuple[int, str]:
    """Fail: nothing needs to be fetched."""
    raise AssertionError(url)


def sign(payload: bytes, algorithm: str = "sha256", key: bytes = SECRET.encode()) -> bytes:
    """Return a signature as a server computes it."""
    return hmac.new(key, payload, getattr(hashlib, algorithm)).digest()


def test_a_bearer_plan_has_vapi_s_defaults() -> None:
    assert read_credential(plan(type="bearer", token="t")) == Bearer("t", "Authorization", True)
    other = plan(type="bearer", token="t", headerName="X-Vapi-Secret", bearerPrefixEnabled=False)
    assert read_credential(other) == Bearer("t", "X-Vapi-Secret", False)


@pytest.mark.parametrize(
    ("credential", "headers"),
    [
        (Bearer("t"), {"Authorization": "Bearer t"}),
        (Bearer("t", "X-Vapi-Secret", False), {"X-Vapi-Secret": "t"}),
    ],
)
async def test_a_bearer_token_stands_in_its_header(
    credential: Bearer, headers: dict[str, str]
) -> None:
    assert await credential_headers(credential, SIGNING, no_post) == headers


def test_hmac_signs_time_and_the_exact_bytes_by_default() -> None:
    credential = read_credential(plan(type="hmac", secretKey=SECRET, algorithm="sha256"))
    assert isinstance(credential, Hmac)
    assert signature_headers(credential, SIGNING) == {
        "x-signature": sign(b"1763805600." + BODY).hex(),
        "x-timestamp": "1763805600",
    }


def test_hmac_without_a_time_signs_the_body() -> None:
    credential = read_credential(plan(type="hmac", secretKey=SECRET, includeTimestamp=False))
    assert isinstance(credential, Hmac)
    assert signature_headers(credential, SIGNING) == {"x-signature": sign(BODY).hex()}


def test_hmac_has_every_option_of_vapi() -> None:
    raw = b"\x00\xffkey"
    credential = read_credential(
        plan(
            type="hmac",
            secretKey="whsec_" + base64.b64encode(raw).decode(),
            algorithm="sha512",
            signatureHeader="svix-signature",
            timestampHeader="svix-timestamp",
            signaturePrefix="v1,",
            payloadFormat="{svix-id}.{timestamp}.{method}.{url}.{body}",
            messageIdHeader="svix-id",
            signatureEncoding="base64",
            secretIsBase64=True,
        )
    )
    assert isinstance(credential, Hmac)
    payload = b"msg_1.1763805600.POST.https://tools.example.com/hook?x=1." + BODY
    assert signature_headers(credential, SIGNING) == {
        "svix-signature": "v1," + base64.b64encode(sign(payload, "sha512", raw)).decode(),
        "svix-timestamp": "1763805600",
        "svix-id": "msg_1",
    }


def test_a_secret_that_is_no_base64_is_said_to_be_none() -> None:
    with pytest.raises(NotAuthorised) as refusal:
        signature_headers(Hmac("not base64!", secret_is_base64=True), SIGNING)
    assert "not base64!" not in str(refusal.value)


@pytest.mark.parametrize(
    "document",
    [
        None,
        {},
        plan(),
        plan(type="bearer"),
        plan(type="oauth2", url="https://a.example.com"),
        plan(type="hmac", secretKey=SECRET, algorithm="md5"),
        plan(type="hmac"),
        {"authenticationPlan": [1]},
    ],
)
def test_a_plan_that_lacks_what_it_needs_is_none(document: Any) -> None:
    assert read_credential(document) is None


class TokenServer:
    """Answers token requests from a list, the last one for ever."""

    def __init__(self, *answers: tuple[int, Any]) -> None:
        self.answers = list(answers)
        self.forms: list[dict[str, list[str]]] = []

    async def post(self, url: str, headers: dict[str, str], form: bytes) -> tuple[int, str]:
        """Answer one request."""
        assert url == OAUTH.url
        assert headers["Content-Type"] == "application/x-www-form-urlencoded"
        self.forms.append(parse_qs(form.decode()))
        await asyncio.sleep(0)
        status, body = self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]
        return status, body if isinstance(body, str) else json.dumps(body)


async def bearer(server: TokenServer) -> str:
    """Return the header of one request."""
    return (await credential_headers(OAUTH, SIGNING, server.post))["Authorization"]


async def test_an_oauth2_token_is_fetched_once_for_all_who_wait() -> None:
    assert (
        read_credential(
            plan(type="oauth2", url=OAUTH.url, clientId="me", clientSecret=SECRET, scope="book")
        )
        == OAUTH
    )
    server = TokenServer((200, {"access_token": "t1", "expires_in": 3600}))
    assert set(await asyncio.gather(*(bearer(server) for _ in range(5)))) == {"Bearer t1"}
    assert server.forms == [
        {
            "grant_type": ["client_credentials"],
            "client_id": ["me"],
            "client_secret": [SECRET],
            "scope": ["book"],
        }
    ]


async def test_a_token_that_has_expired_is_fetched_again() -> None:
    server = TokenServer(
        (200, {"access_token": "t1", "expires_in": 0}), (200, {"access_token": "t2"})
    )
    assert [await bearer(server) for _ in range(3)] == ["Bearer t1", "Bearer t2", "Bearer t2"]


async def test_a_refused_token_is_dropped_unless_it_was_renewed_meanwhile() -> None:
    server = TokenServer((200, {"access_token": "t1"}), (200, {"access_token": "t2"}))
    first = {"Authorization": await bearer(server)}
    assert forget_token(OAUTH, first)
    assert await bearer(server) == "Bearer t2"
    assert forget_token(OAUTH, first)
    assert await bearer(server) == "Bearer t2"
    assert len(server.forms) == 2
    assert not forget_token(Bearer("t"), {"Authorization": "Bearer t"})


@pytest.mark.parametrize(
    "answer",
    [
        (401, {"error": "invalid_client", "hint": SECRET}),
        (200, "<html>"),
        (200, {"access_token": ""}),
        (200, []),
        (500, {"access_token": "t"}),
    ],
)
async def test_without_a_token_nothing_is_sent_and_no_secret_told(answer: Any) -> None:
    with pytest.raises(NotAuthorised) as refusal:
        await bearer(TokenServer(answer))
    assert SECRET not in str(refusal.value)
