"""The REST door's shared parts: keys, the one error body, list parameters and body limits.

Owns what every resource does alike (design.md 5, vapi.md 1); knows no resource and no rule.
"""

from __future__ import annotations

import datetime as dt
import math
import re
import uuid
from collections.abc import Callable, Iterable, Mapping
from typing import Any, cast

from django.conf import settings
from django.core.exceptions import RequestDataTooBig
from django.db.models import QuerySet
from django.http import Http404, HttpRequest, HttpResponse, JsonResponse
from django.utils.dateparse import parse_datetime
from django.views.defaults import page_not_found
from rest_framework import exceptions, status
from rest_framework.authentication import BaseAuthentication, get_authorization_header
from rest_framework.parsers import JSONParser
from rest_framework.permissions import SAFE_METHODS, BasePermission
from rest_framework.renderers import JSONRenderer
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from voiceplatform.base import services
from voiceplatform.base.models import ApiKey, Organisation

_MAX_DEPTH = 64
_MAX_LIMIT = 1000
_DEFAULT_LIMIT = 100
_ADMIN_PREFIX = "/admin/"
_BARE_NUMBER = re.compile(r"\d{1,6}(\.0*)?")
_TIME_FILTERS = {"Gt": "gt", "Lt": "lt", "Ge": "gte", "Le": "lte"}


class KeyUser:
    """Whoever holds an API key; what REST framework calls the user."""

    is_authenticated = True
    is_active = True

    def __init__(self, key: ApiKey) -> None:
        self.key = key

    @property
    def pk(self) -> uuid.UUID:
        """Return the key's id."""
        return cast(uuid.UUID, self.key.pk)


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
        if len(words) == 2 and words[0].lower() == b"bearer":
            key = services.api_key_check(words[1].decode("latin-1"))
            if key is not None:
                return KeyUser(key), key
        raise exceptions.AuthenticationFailed(
            "Invalid Key. Hint: send an API key of this platform as "
            "`Authorization: Bearer vp_…`; Vapi's own keys are not known here."
        )

    def authenticate_header(self, request: Request) -> str:
        """Name the scheme, so that a missing key is 401 and not 403."""
        return "Bearer"


class HasScope(BasePermission):
    """Needs scope ``read`` for reading and ``write`` for everything else."""

    def has_permission(self, request: Request, view: APIView) -> bool:
        """Tell whether the key carries the scope, and say which one is missing."""
        if not isinstance(request.auth, ApiKey):
            return False
        needed = "read" if request.method in SAFE_METHODS else "write"
        self.message = f"This key lacks the scope '{needed}'."
        return needed in request.auth.scopes


class PayloadTooLarge(exceptions.APIException):
    """The body is over ``DATA_UPLOAD_MAX_MEMORY_SIZE``; send less."""

    status_code = status.HTTP_413_REQUEST_ENTITY_TOO_LARGE
    default_detail = "The body is too large."


class Conflict(exceptions.APIException):
    """The object is still in use; detach it first."""

    status_code = status.HTTP_409_CONFLICT
    default_detail = "The object is still in use."


class BoundedJSONParser(JSONParser):
    """JSON of bounded size and depth, without values that a database refuses."""

    def parse(
        self,
        stream: Any,
        media_type: str | None = None,
        parser_context: Mapping[str, Any] | None = None,
    ) -> Any:
        """Return the parsed body.

        Raises:
            PayloadTooLarge: more bytes than ``DATA_UPLOAD_MAX_MEMORY_SIZE``.
            ParseError: not JSON, or nested deeper than 64 levels.
            ValidationError: text or a number that cannot be stored, with its path.
        """
        limit = settings.DATA_UPLOAD_MAX_MEMORY_SIZE or 0
        raw = stream.read(limit + 1)
        if len(raw) > limit:
            raise PayloadTooLarge(f"The body is larger than {limit} bytes.")
        try:
            document = super().parse(_Once(raw), media_type, parser_context)
            problems = list(_unstorable(document, "", 0))
        except RecursionError:
            raise exceptions.ParseError(f"nested deeper than {_MAX_DEPTH} levels") from None
        if problems:
            raise exceptions.ValidationError(problems[:20])
        return document


class _Once:
    """Bytes as the stream that REST framework's parser reads."""

    def __init__(self, raw: bytes) -> None:
        self._raw = raw

    def read(self, size: int = -1) -> bytes:
        raw, self._raw = self._raw, b""
        return raw


def _unstorable(node: Any, path: str, depth: int) -> Iterable[str]:
    """Yield a sentence per value that JSON allows and PostgreSQL does not."""
    if depth > _MAX_DEPTH:
        raise exceptions.ParseError(f"nested deeper than {_MAX_DEPTH} levels")
    if isinstance(node, dict):
        for name, child in node.items():
            if not _is_storable_text(name):
                yield f"{path or 'body'} has a property name with a character that is not allowed"
            else:
                yield from _unstorable(child, f"{path}.{name}" if path else name, depth + 1)
    elif isinstance(node, list):
        for index, child in enumerate(node):
            yield from _unstorable(child, f"{path}.{index}" if path else str(index), depth + 1)
    elif isinstance(node, str):
        if not _is_storable_text(node):
            yield f"{path} holds a NUL character or half of a surrogate pair"
    elif isinstance(node, float) and not math.isfinite(node):
        yield f"{path} is not a finite number"


def _is_storable_text(value: str) -> bool:
    if "\x00" in value:
        return False
    try:
        value.encode()
    except UnicodeEncodeError:
        return False
    return True


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
    elif isinstance(error, RequestDataTooBig):
        error = PayloadTooLarge()
    if not isinstance(error, exceptions.APIException):
        return None
    message: str | list[str]
    if isinstance(error, exceptions.ValidationError):
        message = list(_sentences(error.detail, ""))
    else:
        message = str(error.detail)
    headers = {}
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


class ApiView(APIView):
    """Base of every REST view: one key, one parser, one renderer."""

    authentication_classes = (BearerKey,)
    permission_classes = (HasScope,)
    parser_classes = (BoundedJSONParser,)
    renderer_classes = (JSONRenderer,)

    @property
    def key(self) -> ApiKey:
        """Return the key of this request."""
        key = self.request.auth
        assert isinstance(key, ApiKey)
        return key

    @property
    def organisation(self) -> Organisation:
        """Return the organisation that the key opens."""
        return cast(Organisation, self.key.organisation)

    def body(self) -> dict[str, Any]:
        """Return the body, an object.

        Raises:
            ValidationError: the body is JSON but no object.
        """
        if not isinstance(self.request.data, dict):
            raise exceptions.ValidationError("body must be an object")
        return self.request.data

    def find(self, rows: QuerySet[Any], object_id: str, noun: str) -> Any:
        """Return the row with this id.

        Raises:
            NotFound: no such row in this organisation, or not an id at all.
        """
        try:
            row = rows.filter(pk=uuid.UUID(object_id)).first()
        except ValueError:
            row = None
        if row is None:
            raise exceptions.NotFound(f"{noun} {object_id} was not found.")
        return row


def list_window(
    request: Request,
    rows: QuerySet[Any],
    *,
    created: str = "created_at",
    updated: str = "updated_at",
) -> QuerySet[Any]:
    """Apply Vapi's list parameters (vapi.md 1.5): times, ``limit``; newest first.

    Raises:
        ValidationError: a value cannot be read, with the parameter's name.
    """
    problems: list[str] = []
    for name, column in (("createdAt", created), ("updatedAt", updated)):
        for ending, lookup in _TIME_FILTERS.items():
            text = request.query_params.get(name + ending)
            if text is None:
                continue
            moment = _moment(text)
            if moment is None:
                problems.append(f"{name}{ending} must be a valid ISO 8601 date-time")
            else:
                rows = rows.filter(**{f"{column}__{lookup}": moment})
    limit = _DEFAULT_LIMIT
    text = request.query_params.get("limit")
    if text is not None:
        # The SDK types it as a float: 100.0 is a hundred (vapi.md trap 27).
        if _BARE_NUMBER.fullmatch(text) and int(float(text)) <= _MAX_LIMIT:
            limit = int(float(text))
        else:
            problems.append(f"limit must be a whole number from 0 to {_MAX_LIMIT}")
    if problems:
        raise exceptions.ValidationError(problems)
    return rows.order_by(f"-{created}", "-pk")[:limit]


def _moment(text: str) -> dt.datetime | None:
    try:
        # An unescaped plus of an offset arrives as a blank.
        moment = parse_datetime(text) or parse_datetime(text.replace(" ", "+"))
        if moment is None:
            return None
        if moment.tzinfo is None:
            moment = moment.replace(tzinfo=dt.UTC)
        return moment.astimezone(dt.UTC)
    except (ValueError, OverflowError):
        return None


def query_uuid(request: Request, name: str) -> uuid.UUID | None:
    """Return a query parameter that is an id, or None when it is absent.

    Raises:
        ValidationError: it is not a UUID.
    """
    text = request.query_params.get(name)
    if text is None:
        return None
    try:
        return uuid.UUID(text)
    except ValueError:
        raise exceptions.ValidationError(f"{name} must be a UUID") from None


def iso(moment: dt.datetime | None) -> str | None:
    """Return Vapi's form of a time: UTC with milliseconds and ``Z`` (vapi.md 1.6)."""
    if moment is None:
        return None
    return moment.astimezone(dt.UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def not_found(request: HttpRequest, exception: Exception | None = None) -> HttpResponse:
    """Answer an unknown route by naming it, in JSON; under /admin/ with Django's page."""
    if request.path.startswith(_ADMIN_PREFIX):
        page: Callable[..., HttpResponse] = page_not_found
        return page(request, exception or Http404())
    return unknown_route(request)


def unknown_route(request: HttpRequest) -> JsonResponse:
    """Answer 404 in the one error body."""
    return JsonResponse(error_body(404, f"Cannot {request.method} {request.path}"), status=404)
