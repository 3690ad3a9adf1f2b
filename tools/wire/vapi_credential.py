"""The reader of Vapi's credential object, as far as tool servers are concerned (vapi.md 4.2).

Owns what an ``authenticationPlan`` means, with Vapi's defaults. Pure and total: a plan that lacks
what it cannot do without is no credential.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final, Literal, get_args

from tools.loose_json import as_object, as_text
from tools.servers import Bearer, Credential, Hmac, OAuth2

_Algorithm = Literal["sha256", "sha512", "sha1"]
_ALGORITHMS: Final[Mapping[str, _Algorithm]] = {name: name for name in get_args(_Algorithm)}


def read_credential(document: Any) -> Credential | None:
    """Return how a credential signs a request; None when it says nothing that can be done."""
    whole = as_object(document)
    plan = as_object(whole.get("authenticationPlan")) or whole
    kind = as_text(plan.get("type"))
    if kind == "oauth2" or (not kind and plan.get("clientId")):
        return _oauth2(plan)
    if kind == "hmac" or (not kind and plan.get("secretKey")):
        return _hmac(plan)
    token = as_text(plan.get("token"))
    if not token:
        return None
    return Bearer(
        token=token,
        header_name=as_text(plan.get("headerName")) or "Authorization",
        has_prefix=plan.get("bearerPrefixEnabled") is not False,
    )


def _oauth2(plan: Mapping[str, Any]) -> OAuth2 | None:
    url, client_id = as_text(plan.get("url")), as_text(plan.get("clientId"))
    secret = as_text(plan.get("clientSecret"))
    if not (url and client_id and secret):
        return None
    return OAuth2(url, client_id, secret, as_text(plan.get("scope")))


def _hmac(plan: Mapping[str, Any]) -> Hmac | None:
    secret = as_text(plan.get("secretKey"))
    algorithm = _ALGORITHMS.get(as_text(plan.get("algorithm")) or "sha256")
    if not secret or algorithm is None:
        return None
    return Hmac(
        secret_key=secret,
        algorithm=algorithm,
        signature_header=as_text(plan.get("signatureHeader")) or "x-signature",
        timestamp_header=as_text(plan.get("timestampHeader")) or "x-timestamp",
        signature_prefix=as_text(plan.get("signaturePrefix")),
        include_timestamp=plan.get("includeTimestamp") is not False,
        payload_format=as_text(plan.get("payloadFormat")),
        message_id_header=as_text(plan.get("messageIdHeader")),
        encoding="base64" if plan.get("signatureEncoding") == "base64" else "hex",
        secret_is_base64=plan.get("secretIsBase64") is True,
    )
