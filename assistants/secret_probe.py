"""Trying a secret: asks the servers that it opens, and tells what they answered.

Owns the request: HEAD without a body by default, which proves address, certificate and perhaps the
secret; a POST marked as a test only when the owner of the server allows it, because it may have an
effect there. Addresses are other people's, so the egress policy decides what may be reached. No
secret is shown, not even one that a server repeats.
"""

from __future__ import annotations

import asyncio
import html
import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final
from urllib.parse import quote, quote_plus

from assistants.missing_secrets import NoSuchSecret, checked, places_of
from assistants.secret_slots import AUTHORIZATION, secret_at
from voiceplatform.base.egress import EgressRefused, destination, egress_client
from voiceplatform.base.http import AsyncClient, HTTPError, InvalidURL
from voiceplatform.base.models import Organisation
from voiceplatform.base.redaction_urls import MASK, redact_url, url_secrets
from voiceplatform.base.services import audit_write

MOST_URLS: Final = 5
PROBE_SECONDS: Final = 8.0
TEST_HEADER: Final = "X-Voiceplatform-Test"
_MOST_BYTES: Final = 4096
_SHOWN_CHARACTERS: Final = 300
# No type that Vapi sends, so a server that switches on it does nothing.
TEST_BODY: Final = {
    "message": {
        "type": "voiceplatform-secret-test",
        "note": "A test of the shared secret, sent because the owner allowed it. No call is on.",
    }
}


@dataclass(frozen=True, slots=True)
class ProbeResult:
    """What one server answered; ``verdict`` is ``ok``, ``refused``, ``unsure`` or ``failed``."""

    url_shown: str
    method: str
    verdict: str
    words: str
    status: int | None = None
    excerpt: str = ""


@dataclass(frozen=True, slots=True)
class _Target:
    url: str
    headers: Mapping[str, str]
    secret: str

    def __repr__(self) -> str:
        """Show no secret."""
        return f"_Target({redact_url(self.url)!r})"


def secret_test(
    organisation: Organisation,
    key: str,
    actor: Any,
    *,
    value: str = "",
    header: str = "",
    may_post: bool = False,
) -> list[ProbeResult]:
    """Ask the servers of a secret, at most five, all at once; takes up to eight seconds.

    Must not be called in a transaction or from an event loop.

    Args:
        value: the secret to try; empty means the one that is stored, if it is.
        header: what a credential is sent in; empty means ``Authorization``.
        may_post: the owner of the server allows a POST that is marked as a test.

    Raises:
        NoSuchSecret: no document needs it.
        SecretRefused: the value is none that a header can carry.
    """
    found = places_of(organisation, key)
    if not found:
        raise NoSuchSecret(key)
    given = checked(value) if value else ""
    targets: dict[str, _Target] = {}
    for need in found:
        slot = need.slot
        secret = given or secret_at(need.document, slot)
        name = slot.header or header or AUTHORIZATION
        if given and name.lower() == "authorization" and " " not in given:
            secret = f"Bearer {given}"
        targets.setdefault(slot.url, _Target(slot.url, {name: secret} if secret else {}, secret))
    results = asyncio.run(_probe_all(list(targets.values())[:MOST_URLS], may_post))
    audit_write(
        actor=actor,
        action="secret.test",
        organisation=organisation,
        details={
            "host": found[0].slot.host,
            "method": "POST" if may_post else "HEAD",
            "verdicts": [result.verdict for result in results],
        },
    )
    return results


async def _probe_all(targets: list[_Target], may_post: bool) -> list[ProbeResult]:
    async with egress_client(connect_seconds=4.0, read_seconds=PROBE_SECONDS) as client:
        return list(await asyncio.gather(*(_probe(client, each, may_post) for each in targets)))


async def _probe(client: AsyncClient, target: _Target, may_post: bool) -> ProbeResult:
    method = "POST" if may_post else "HEAD"
    shown = redact_url(target.url)
    try:
        place = destination(target.url)
        headers = {
            "User-Agent": "voiceplatform",
            "Accept-Encoding": "identity",
            TEST_HEADER: "secret",
            **({"Authorization": place.authorization} if place.authorization else {}),
            **({"Content-Type": "application/json"} if may_post else {}),
            **target.headers,
        }
        content = json.dumps(TEST_BODY).encode() if may_post else None
        async with asyncio.timeout(PROBE_SECONDS):
            async with client.stream(
                method, place.url, headers=headers, content=content
            ) as response:
                body = b""
                async for piece in response.aiter_raw():
                    body = (body + piece)[:_MOST_BYTES]
                    if len(body) == _MOST_BYTES:
                        break
                status = response.status_code
    except EgressRefused as error:
        return ProbeResult(shown, method, "failed", str(error))
    except TimeoutError:
        words = f"It did not answer within {PROBE_SECONDS:g} seconds."
        return ProbeResult(shown, method, "failed", words)
    except (HTTPError, InvalidURL, OSError, ValueError) as error:
        # Their texts may quote a header or the address.
        words = f"It could not be reached ({type(error).__name__})."
        return ProbeResult(shown, method, "failed", words)
    verdict, words = _verdict(status, has_secret=bool(target.secret), posted=may_post)
    return ProbeResult(shown, method, verdict, words, status, _excerpt(body, target))


def _verdict(status: int, *, has_secret: bool, posted: bool) -> tuple[str, str]:
    with_it = "with the secret" if has_secret else "without a secret"
    if status in (401, 403):
        if has_secret:
            return "refused", "It refused us although the secret was sent: the secret is wrong."
        return "refused", "It refuses requests without the secret, so it needs one."
    if 200 <= status < 300:
        if posted:
            return "ok", f"It accepted a test request {with_it}."
        return "unsure", (
            f"It is there and accepted a HEAD request {with_it}. Many servers check the secret on "
            "POST only; a marked POST would tell, if its owner allows one."
        )
    if 300 <= status < 400:
        return "unsure", "It redirects; calls do not follow that. Check the address."
    if status >= 500:
        return "failed", "It is there, but failed."
    return "unsure", (
        f"It is there and did not object to us {with_it}, but does not take this kind of request."
    )


def _excerpt(body: bytes, target: _Target) -> str:
    text = body.decode("utf-8", "replace")
    secret = target.secret
    known = {secret, secret.removeprefix("Bearer ")} | url_secrets(target.url)
    forms = {form for each in known - {""} for form in _repeated(each)}
    # The longest first: a part of a secret must not be what is left of it.
    for form in sorted(forms, key=len, reverse=True):
        text = text.replace(form, MASK)
    if len(body) == _MOST_BYTES:  # one that was cut in two cannot be recognised
        text = text[: -max(map(len, forms), default=0) or None]
    return "".join(c if c.isprintable() else " " for c in text)[:_SHOWN_CHARACTERS].strip()


def _repeated(secret: str) -> set[str]:
    """Return the forms in which a page or an answer of JSON repeats a text."""
    as_json = json.dumps(secret)[1:-1]
    encoded = {quote(secret, safe=""), quote(secret), quote_plus(secret)}
    return {secret, html.escape(secret), as_json, as_json.replace("/", "\\/"), *encoded}
