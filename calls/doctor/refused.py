"""What a refused request means and what to do about it, in words. Pure."""

from __future__ import annotations

from calls.doctor.model_faults import Fault


def fault_of_refusal(cause: str, signed_url: str = "") -> Fault:
    """Return why a request was refused (``RefusedRequest.Cause``) and what a person does."""
    if cause == "other-url":
        return Fault(
            f"Twilio signed the address {signed_url}, and we hashed another one. Calls that come "
            "this way are not answered.",
            "Set PUBLIC_BASE_URL to the origin that Twilio is told, or enter at Twilio exactly the "
            "address that we hashed; scheme, host, path and query must be the same to the letter.",
        )
    if cause == "unsigned":
        return Fault(
            "The request had no signature.",
            "If Twilio's debugger shows it, a proxy removes the header X-Twilio-Signature: let it "
            "pass. If not, somebody else sent it and nothing needs to be done.",
        )
    if cause == "unknown-account":
        return Fault(
            "The request names a Twilio account that is not entered here.",
            "If the account is yours, add it under Twilio accounts; a sub-account has a SID and a "
            "token of its own. If not, somebody else sent it and nothing needs to be done.",
        )
    return Fault(
        "The signature fits neither of the account's tokens at any address we can think of.",
        "Compare the auth token with Twilio's console; while it is rotated enter both. A proxy "
        "that changes path, query or body also does this. If Twilio's debugger shows no such "
        "request, somebody else sent it.",
    )
