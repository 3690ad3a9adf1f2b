"""Every request is UTF-8, whatever codec its ``Content-Type`` names.

Owns that one rule. Django takes any codec that Python knows: ``charset=zlib`` would let a small
body grow without bound, and ``charset=rot13`` is none for bytes, so reading such a form or query
would end in a 500. Twilio, browsers and Vapi's SDKs send UTF-8 (RFC 8259 for JSON).
"""

from __future__ import annotations

from django.http import HttpRequest
from django.utils.deprecation import MiddlewareMixin


class Utf8RequestMiddleware(MiddlewareMixin):
    """Drops the codec that a request asks to be read with."""

    def process_request(self, request: HttpRequest) -> None:
        """Set the encoding before anybody reads the query or the form."""
        if request.encoding is not None:
            request.encoding = "utf-8"
