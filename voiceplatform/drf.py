"""How the REST door recognises a key and how every refusal looks; named in the settings.

Owns authentication and the one error body (design.md 5, vapi.md 1.4); knows no resource. REST
framework imports it while its own views load, so it must not import ``rest_framework.views``.
"""

from __future__ import annotations

import math
import uuid
from collections.abc import Callable, Iterable, Mapping
from typing import Any

from django.core.exceptions import RequestDataTooBig
from django.http import Http404, HttpRequest, HttpResponse, JsonResponse
from django.views.defaults import page_not_found
from rest_framework import exceptions
from rest_framework.authentication import BaseAuthentication, get_authorization_header
from rest_framework.request import Request
from rest_framework.response import Response

from voiceplatform.base import rate_limit, services, unknown_routes
from voiceplatform.base.models import ApiKey
from voiceplatform.base.prepared import RowGone
from voiceplatform.base.redaction_moves import SecretMoved

_ADMIN_PREFIX = "/admin/"


class KeyUser:
    """Whoever holds an API key; what REST framework calls the user."""

    is_authenticated = True
    is_active = True

    def __init__(self, key: ApiKey) -> None:
        self.key = key

    @property
    def pk(self) -> uuid.UUID:
        """Return the key's id."""
        return self.key.pk


class BearerKey(BaseAuthentication):
    """Accepts ``Authorization: Bearer vp_…``."""

    def authenticate(self, request: Request) -> tuple[KeyUser, ApiKey] | None:
        """Return the holder and the key; None when no Authorization header came.

        Raises:
            AuthenticationFailed: the header holds no live key. Scripts look for the words
                "Invalid Key" (vapi.md trap 34).
        """
        words = get_authorization_header(request).split()
        if not words:
            return None
        key = _key_of(b" ".join(words))
        if key is not None:
            return KeyUser(key), key
        raise exceptions.AuthenticationFailed(
            "Invalid Key. Hint: send an API key of this platform as "
            "`Authorization: Bearer vp_…`; Vapi's own keys are not known here."
        )

    def authenticate_header(self, request: Request) -> str:
        """Name the scheme, so that a missing key is 401 and not 403."""
        return "Bearer"


def _key_of(header: bytes) -> ApiKey | None:
    """Return the live key in an Authorization header, None for anything else."""
    words = header.split()
    if len(words) != 2 or words[0].lower() != b"bearer":
        return None
    return services.api_key_check(words[1].decode("latin-1"))


def error_body(status_code: int, message: str | list[str]) -> dict[str, Any]:
    """Return Vapi's error body (vapi.md 1.4)."""
    return {"message": message, "error": _REASONS[status_code], "statusCode": status_code}


_REASONS = {
    400: "Bad Request",
    401: "Unauthorized",
    403: "Forbidden",
    404: "Not Found",
    405: "Method Not Allowed",
    406: "Not Acceptable",
    409: "Conflict",
    413: "Payload Too Large",
    415: "Unsupported Media Type",
    429: "Too Many Requests",
}


def exception_handler(error: Exception, context: dict[str, Any]) -> Response | None:
    """Render every refusal in the one error body; other errors go on to Django."""
    if isinstance(error, Http404):
        error = exceptions.NotFound(str(error) or "Not found.")
    elif isinstance(error, RowGone):
        error = exceptions.NotFound(str(error))
    elif isinstance(error, SecretMoved):
        error = exceptions.ValidationError(str(error))
    elif isinstance(error, RequestDataTooBig):
        return Response(error_body(413, "The body is too large."), 413)
    if not isinstance(error, exceptions.APIException):
        return None
    message: str | list[str]
    if isinstance(error, exceptions.ValidationError):
        message = list(_sentences(error.detail, ""))
    else:
        message = str(error.detail)
    headers: dict[str, str] = {}
    if isinstance(error, exceptions.Throttled):
        # Whole seconds, and never zero: the SDKs wait as long as it says (vapi.md 1.1).
        headers["Retry-After"] = str(max(1, math.ceil(getattr(error, "wait", None) or 0)))
        message = "Too many requests with this key. Wait as long as Retry-After says."
    if isinstance(error, exceptions.NotAuthenticated | exceptions.AuthenticationFailed):
        headers["WWW-Authenticate"] = "Bearer"
        if isinstance(error, exceptions.NotAuthenticated):
            message = "Invalid Key. Hint: no `Authorization: Bearer vp_…` header was sent."
    return Response(error_body(error.status_code, message), error.status_code, headers=headers)


def _sentences(detail: Any, path: str) -> Iterable[str]:
    """Flatten REST framework's nested errors to ``model.messages.0 must be an object``."""
    if isinstance(detail, Mapping):
        for name, child in detail.items():
            inner = path if name == "non_field_errors" else f"{path}.{name}" if path else str(name)
            yield from _sentences(child, inner)
    elif isinstance(detail, list):
        for child in detail:
            yield from _sentences(child, path)
    else:
        yield f"{path} {detail}".strip()


def not_found(request: HttpRequest, exception: Exception | None = None) -> HttpResponse:
    """Answer an unknown route by naming it, in JSON; under /admin/ with Django's page."""
    if request.path.startswith(_ADMIN_PREFIX):
        page: Callable[..., HttpResponse] = page_not_found
        return page(request, exception or Http404())
    return unknown_route(request)


def unknown_route(request: HttpRequest) -> JsonResponse:
    """Answer 404 in the one error body, and count who asked for what (design.md 5).

    Only the holder of a live key is counted, within the key's own rate: one UPDATE a request.
    """
    key = _key_of(request.META.get("HTTP_AUTHORIZATION", "").encode("latin-1", "replace"))
    if key is not None:
        wait_seconds = rate_limit.take(str(key.pk))
        if wait_seconds:
            error = exceptions.Throttled(wait=wait_seconds)
            refusal = exception_handler(error, {})
            assert refusal is not None
            return JsonResponse(
                refusal.data, status=429, headers={"Retry-After": refusal["Retry-After"]}
            )
        unknown_routes.unknown_route_count(
            organisation=key.organisation, method=request.method or "", path=request.path
        )
    return JsonResponse(error_body(404, f"Cannot {request.method} {request.path}"), status=404)
