"""What happens when a client connects to Realtime, before any event (openai_realtime.md 1):
most refusals come after a successful upgrade. Pure decisions; it must not send anything.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from calls.standins.realtime_profile import RealtimeProfile


@dataclass(frozen=True, slots=True)
class Fatal:
    """An `error` event and the close that follows it, `<error.type>.<code>`."""

    code: str
    close_code: int
    message: str


# Codes of 1.5 and 7.1 whose close is not 4000.
_KEY_CODES = frozenset({"invalid_api_key", "account_deactivated"})


def api_key(profile: RealtimeProfile, query: Mapping[str, str], headers: Mapping[str, str]) -> str:
    """Return the key given: Bearer anywhere, `api-key` at Azure only; empty if there is none."""
    scheme, _, bearer = headers.get("authorization", "").partition(" ")
    if scheme.lower() == "bearer" and bearer:
        return bearer
    if profile.dialect == "ga":
        return ""
    return headers.get("api-key") or query.get("api-key", "")


def key_is_good(profile: RealtimeProfile, key: str) -> bool:
    """Tell whether a key is accepted: one of the profile's, or any but `sk-invalid`."""
    return key in profile.api_keys if profile.api_keys else bool(key) and key != "sk-invalid"


def requested_model(query: Mapping[str, str]) -> str:
    """Return the model, which Azure's preview calls a deployment."""
    return query.get("model") or query.get("deployment", "")


def refusal_status(
    profile: RealtimeProfile, query: Mapping[str, str], headers: Mapping[str, str]
) -> int | None:
    """Return the HTTP status that answers the upgrade instead of 101, if any."""
    if profile.upgrade_status is not None:
        return profile.upgrade_status
    if "call_id" in query:
        return 404  # this stand-in has no SIP or WebRTC calls to attach to (1.5)
    if profile.dialect == "azure_ga" and "api-version" in query:
        return 401  # a documented cause of 401 (1.3)
    return None if api_key(profile, query, headers) else 401


def fatal_fault(
    profile: RealtimeProfile, query: Mapping[str, str], headers: Mapping[str, str]
) -> Fatal | None:
    """Return what ends the session right after the upgrade, if anything (1.5)."""
    if profile.connect_error is not None:
        close_code = 3000 if profile.connect_error in _KEY_CODES else 4000
        return Fatal(profile.connect_error, close_code, "This session cannot be served.")
    if not key_is_good(profile, api_key(profile, query, headers)):
        return Fatal("invalid_api_key", 3000, "Incorrect API key provided.")
    if profile.dialect == "ga" and "openai-beta" in headers:
        message = "The Realtime Beta API is no longer supported. Please use /v1/realtime."
        return Fatal("beta_api_shape_disabled", 4000, message)
    model = requested_model(query)
    if not model:
        return Fatal("missing_model", 4000, "You must provide a model parameter.")
    if profile.dialect == "ga" and model not in profile.models:
        message = f'Model "{model}" is not supported in realtime mode.'
        return Fatal("invalid_model", 4000, message)
    return None
