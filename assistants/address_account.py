"""Findings on an address that tool calls go to: what cannot be reached, or is not encrypted.

Owns the words that every kind of tool and server shares. Pure.
"""

from __future__ import annotations

from urllib.parse import urlsplit

from assistants.findings import INVALID, LOSSY, Notes, has_placeholder


def account_url(url: str, notes: Notes, path: str) -> bool:
    """Add a finding where nothing, or nothing encrypted, is sent; return whether all is well."""
    if has_placeholder(url):
        notes.add(
            path,
            INVALID,
            "The address holds a placeholder, so nothing can be sent there. "
            "Fix: put the real address into the file and import again.",
        )
        return False
    try:
        parts = urlsplit(url)
        usable = parts.scheme in ("http", "https") and bool(parts.hostname)
    except ValueError:
        usable = False
    if not usable:
        notes.add(path, INVALID, "No http or https address. Fix: correct it and import again.")
    elif parts.scheme == "http":
        notes.add(
            path,
            LOSSY,
            "Requests go there unencrypted, as they do from Vapi, and to public addresses only. "
            "Fix: use https.",
        )
    else:
        return True
    return False
