"""What a refusal of the model means and what to do about it, in words for people who run this.

One table of the codes of openai_realtime.md 1.5 and 7.1, of the statuses an upgrade is answered
with and of the close codes. Pure; it must not quote a provider's message, which may hold a key.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final


@dataclass(frozen=True, slots=True)
class Fault:
    """Why something failed and what a person does about it; sentences."""

    cause: str
    fix: str


_KEY: Final = Fault(
    "The provider does not know this API key, or it was revoked.",
    "Make a new key at the provider and enter it under Connections.",
)
_QUOTA: Final = Fault(
    "The account has no credit left or has reached its spending limit.",
    "Raise the limit or add credit at the provider; calls work again within minutes.",
)
_MODEL: Final = Fault(
    "The provider does not offer this model to this key, or has shut it down.",
    "Enter a speech model such as gpt-realtime-2.1 under Connections; at Azure the name of the "
    "deployment, which need not be the model's.",
)
_RATE: Final = Fault(
    "The provider's rate limit is reached.",
    "Wait a minute; if it comes back, ask the provider for a higher limit of this model or "
    "deployment.",
)
_REGION: Final = Fault(
    "The provider does not serve this key from this address or region.",
    "Use the host of the region that the project is enabled for, e.g. eu.api.openai.com for "
    "European data residency, and a server in a country the provider serves.",
)
_SETTINGS: Final = Fault(
    "The provider refuses a setting of the session, and with it all of them.",
    "Check dialect and model of the connection; `manage.py render_session` shows what is sent.",
)
_SERVER: Final = Fault(
    "The provider has trouble of its own.", "Try again; look at the provider's status page."
)
_NETWORK_FIX: Final = "Check the Realtime address of the connection, DNS, firewall and proxy."

FAULTS: Final[Mapping[str, Fault]] = {
    "invalid_api_key": _KEY,
    "account_deactivated": Fault(
        "The provider has closed this account.", "Ask the provider; until then use another key."
    ),
    "insufficient_quota": _QUOTA,
    "billing_hard_limit_reached": _QUOTA,
    "model_not_found": _MODEL,
    "invalid_model": _MODEL,
    "missing_model": Fault(
        "No model was named.", "Enter a model such as gpt-realtime-2.1 under Connections."
    ),
    "beta_api_shape_disabled": Fault(
        "The provider has switched the beta dialect off (since May 2026 at OpenAI).",
        "Choose the dialect OpenAI GA, or Azure GA at Azure.",
    ),
    "rate_limit_exceeded": _RATE,
    "inference_rate_limit_exceeded": _RATE,
    "unsupported_country_region_territory": _REGION,
    "unknown_parameter": _SETTINGS,
    "invalid_type": _SETTINGS,
    "invalid_value": _SETTINGS,
    "missing_required_parameter": _SETTINGS,
    "server_error": _SERVER,
    "session_expired": Fault(
        "The session reached the provider's 60 minutes.",
        "Nothing: sessions are replaced before that; if this is frequent, look at the call's log.",
    ),
    # What an upgrade is answered with.
    "http_401": _KEY,
    "http_403": Fault(
        "The key may not open Realtime sessions here: no access, or the wrong region's host.",
        "Give the key access to Realtime at the provider. For European data residency use the host "
        "that the project is enabled for.",
    ),
    "http_404": Fault(
        "There is no such address or deployment.",
        "Check the Realtime address; at Azure the model is the name of your deployment and the "
        "address ends in /openai/v1/realtime.",
    ),
    "http_429": _RATE,
    "http_500": Fault(
        "The provider failed, which it also does for a credential that is no API key.",
        "Enter an API key, not a token of a login; otherwise try again later.",
    ),
    # What the way there may suffer.
    "tls": Fault(
        "The certificate of the address is not accepted.",
        "Check the Realtime address and this machine's clock and certificate store; a proxy that "
        "opens TLS needs its authority installed here.",
    ),
    "dns": Fault("The host of the address is not known.", _NETWORK_FIX),
    "refused": Fault("Nobody listens at the address.", _NETWORK_FIX),
    "unreachable": Fault("The address cannot be reached from here.", _NETWORK_FIX),
    "address": Fault("The Realtime address is no WebSocket address.", "It begins with wss://."),
    "timeout": Fault(
        "No answer came in time.",
        "Try again; if it stays, check firewall and proxy, then the provider's status page.",
    ),
    "no_session_created": Fault(
        "The socket opened and the peer said nothing that begins a session.",
        "Check that the Realtime address belongs to the dialect of the connection.",
    ),
    "not_mulaw": Fault(
        "The session does not speak G.711 mu-law, so callers would hear noise.",
        "Check the dialect of the connection.",
    ),
    # Close codes (7.4); most come with an error event, which says more.
    "close_1001": Fault("The provider closed the session, as it does after 60 minutes.", ""),
    "close_1006": Fault(
        "The connection broke without a word.",
        "Check network, firewall and proxies between here and the provider.",
    ),
    "close_1011": Fault(
        "The provider failed, or this server was too busy to answer its pings.",
        "Look at the load of this machine at that time, then at the provider's status page.",
    ),
    "close_3000": _KEY,
    "close_4000": _SETTINGS,
}
_REDIRECT: Final = Fault(
    "The address answers with a redirect, and none is followed: callers and keys go to the address "
    "that was entered, or nowhere.",
    "Enter the address that it leads to, if it is the provider's.",
)
_UNKNOWN: Final = Fault(
    "The provider refused for a reason this version does not know.",
    "Look the code up in the provider's documentation.",
)


def fault_of(code: str) -> Fault:
    """Return what ``code`` means: an error code, ``http_<status>``, ``close_<code>`` or ours."""
    found = FAULTS.get(code)
    if found is None and code.startswith("http_5"):
        return _SERVER
    if found is None and code.startswith("http_3"):
        return _REDIRECT
    return found or _UNKNOWN
