"""What every REST view shares: body limits, scopes, list parameters, strict fields, forms of times.

Owns what all resources do alike (design.md 5, vapi.md 1); knows no resource and no rule. How a key
is read and how an error looks is ``voiceplatform.drf``, named in the settings.
"""

from __future__ import annotations

import datetime as dt
import io
import math
import re
import uuid
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

from django.conf import settings
from django.db.models import QuerySet
from django.utils.dateparse import parse_datetime
from rest_framework import exceptions, serializers, status
from rest_framework.negotiation import DefaultContentNegotiation
from rest_framework.parsers import BaseParser, JSONParser
from rest_framework.permissions import SAFE_METHODS, BasePermission
from rest_framework.renderers import JSONRenderer
from rest_framework.request import Request
from rest_framework.throttling import BaseThrottle
from rest_framework.views import APIView

from voiceplatform.base import rate_limit
from voiceplatform.base.described import Described
from voiceplatform.base.models import ApiKey, Organisation

_MAX_DEPTH = 64
_MAX_LIMIT = 1000
_DEFAULT_LIMIT = 100
_MAX_PAGE = 100_000
_BARE_NUMBER = re.compile(r"\d{1,6}(\.0*)?")
_TIME_FILTERS = {"Gt": "gt", "Lt": "lt", "Ge": "gte", "Le": "lte"}


class HasScope(BasePermission):
    """Needs the scope that the view names: ``read_scope`` for reading, else ``write_scope``."""

    def has_permission(self, request: Request, view: APIView) -> bool:
        """Tell whether the key carries the scope, and say which one is missing."""
        if not isinstance(request.auth, ApiKey) or not isinstance(view, ApiView):
            return False
        needed = view.scope_for(request.method or "")
        self.message = f"This key lacks the scope '{needed}'."
        return needed in request.auth.scopes


class KeyRate(BaseThrottle):
    """Takes one request from the key's bucket (``voiceplatform.base.rate_limit``)."""

    _wait_seconds = 0.0

    def allow_request(self, request: Request, view: APIView) -> bool:
        """Tell whether the bucket still held a request."""
        if not isinstance(request.auth, ApiKey):
            return True
        self._wait_seconds = rate_limit.take(str(request.auth.pk))
        return not self._wait_seconds

    def wait(self) -> float:
        """Return after how many seconds the next request is allowed."""
        return self._wait_seconds


class JsonWhateverAccepted(DefaultContentNegotiation):
    """Answers JSON whatever ``Accept`` says, as Vapi does; nobody is helped by a 406."""

    def select_renderer(
        self, request: Request, renderers: Any, format_suffix: str | None = None
    ) -> Any:
        """Return the view's first renderer."""
        renderer = next(iter(renderers))
        return renderer, renderer.media_type


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
            document = super().parse(io.BytesIO(raw), media_type, parser_context)
            problems = list(_unstorable(document, "", 0))
        except RecursionError:
            raise exceptions.ParseError(f"nested deeper than {_MAX_DEPTH} levels") from None
        if problems:
            raise exceptions.ValidationError(problems[:20])
        return document


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


class Text(serializers.CharField):
    """A JSON string; numbers are not turned into one."""

    def __init__(self, **kwargs: Any) -> None:
        kwargs = {
            "required": False,
            "allow_null": True,
            "allow_blank": True,
            "trim_whitespace": False,
            **kwargs,
        }
        super().__init__(**kwargs)

    def to_internal_value(self, data: Any) -> str:
        """Refuse everything but a string."""
        if not isinstance(data, str):
            raise serializers.ValidationError("must be a string")
        return super().to_internal_value(data)


class Choice(Text):
    """One of the given strings."""

    def __init__(self, choices: Iterable[str], **kwargs: Any) -> None:
        self.choices = tuple(choices)
        super().__init__(**kwargs)

    def to_internal_value(self, data: Any) -> str:
        """Refuse a string that is not listed."""
        if data not in self.choices:
            raise serializers.ValidationError(
                f"must be one of the following values: {', '.join(self.choices)}"
            )
        return super().to_internal_value(data)


class Flag(serializers.Field[Any, Any, Any, Any]):
    """A JSON boolean."""

    def __init__(self) -> None:
        super().__init__(required=False, allow_null=True)

    def to_internal_value(self, data: Any) -> bool:
        """Refuse words and numbers that merely look like one."""
        if not isinstance(data, bool):
            raise serializers.ValidationError("must be a boolean value")
        return data


class Number(serializers.Field[Any, Any, Any, Any]):
    """A JSON number within bounds, inclusive."""

    def __init__(self, low: float, high: float) -> None:
        self.low, self.high = low, high
        super().__init__(required=False, allow_null=True)

    def to_internal_value(self, data: Any) -> float:
        """Refuse booleans, text and numbers outside."""
        if isinstance(data, bool) or not isinstance(data, int | float):
            raise serializers.ValidationError("must be a number")
        if not self.low <= data <= self.high:
            raise serializers.ValidationError(f"must be from {self.low} to {self.high}")
        return data


class Shape(serializers.Serializer[Any]):
    """An object of which some properties are checked; the others pass unseen."""

    default_error_messages: ClassVar = {"invalid": "must be an object"}


def check_shape(shape: type[Shape], document: Mapping[str, Any], **context: Any) -> None:
    """Check ``document``; it is not changed. Fields find ``context`` under ``self.context``.

    Raises:
        ValidationError: with a path for everything that is wrong.
    """
    shape(data=document, context=context).is_valid(raise_exception=True)


class ApiView(APIView):
    """Base of every REST view; authentication and errors come from the settings.

    ``read_scope`` and ``write_scope`` name what a key needs (``services.SCOPES``, docs/rest.md);
    a POST that only asks sets both to ``read``. ``described`` is what ``/schema`` says of the view.
    """

    permission_classes: Sequence[type[BasePermission]] = (HasScope,)
    throttle_classes: Sequence[type[BaseThrottle]] = (KeyRate,)
    parser_classes: Sequence[type[BaseParser]] = (BoundedJSONParser,)
    renderer_classes = (JSONRenderer,)
    content_negotiation_class = JsonWhateverAccepted
    described: ClassVar[Described | None] = None
    read_scope: ClassVar[str] = "read"
    write_scope: ClassVar[str] = "write"

    @classmethod
    def scope_for(cls, method: str) -> str:
        """Return the scope that a request of this method needs."""
        return cls.read_scope if method in SAFE_METHODS else cls.write_scope

    def describe(self) -> Described | None:
        """Return what ``/schema`` says of this view; None: nothing."""
        return self.described

    @property
    def key(self) -> ApiKey:
        """Return the key of this request."""
        key = self.request.auth
        assert isinstance(key, ApiKey)
        return key

    @property
    def organisation(self) -> Organisation:
        """Return the organisation that the key opens."""
        return self.key.organisation

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
    rows, problems = _within_times(request, rows, created, updated)
    limit = _whole_number(request, "limit", _DEFAULT_LIMIT, 0, _MAX_LIMIT, problems)
    if problems:
        raise exceptions.ValidationError(problems)
    return rows.order_by(f"-{created}", "-pk")[:limit]


@dataclass(frozen=True, slots=True)
class Page:
    """What a request asks of a list in an envelope (vapi.md 1.5); ``number`` counts from 1.

    ``column`` is the one that the rows are sorted by.
    """

    number: int
    limit: int
    descending: bool
    column: str

    def envelope(self, results: Sequence[Any], total: int) -> dict[str, Any]:
        """Return the page as Vapi answers it."""
        pages = math.ceil(total / self.limit) if self.limit else 0
        return {
            "results": list(results),
            "metadata": {
                "itemsPerPage": self.limit,
                "totalItems": total,
                "currentPage": self.number,
                "totalPages": pages,
                "hasNextPage": self.number < pages,
                "sortOrder": "DESC" if self.descending else "ASC",
            },
        }


def list_page(
    request: Request,
    rows: QuerySet[Any],
    *,
    created: str = "created_at",
    updated: str = "updated_at",
) -> tuple[QuerySet[Any], Page]:
    """Apply the parameters of an envelope list but for the cut, so that the caller can count.

    Returns:
        The ordered rows, and the page whose ``number`` and ``limit`` say which of them to show.

    Raises:
        ValidationError: a value cannot be read, with the parameter's name.
    """
    rows, problems = _within_times(request, rows, created, updated)
    number = _whole_number(request, "page", 1, 1, _MAX_PAGE, problems)
    limit = _whole_number(request, "limit", _DEFAULT_LIMIT, 0, _MAX_LIMIT, problems)
    order = request.query_params.get("sortOrder", "DESC")
    if order not in ("ASC", "DESC"):
        problems.append("sortOrder must be one of the following values: ASC, DESC")
    column = {"createdAt": created, "updatedAt": updated}.get(
        request.query_params.get("sortBy", "createdAt"), ""
    )
    if not column:
        problems.append("sortBy must be one of the following values: createdAt, updatedAt")
    if problems:
        raise exceptions.ValidationError(problems)
    sign = "-" if order == "DESC" else ""
    page = Page(number, limit, order == "DESC", column)
    return rows.order_by(f"{sign}{column}", f"{sign}pk"), page


def query_limit(request: Request) -> int:
    """Return ``limit``, for a list that is put together from several queries.

    Raises:
        ValidationError: it cannot be read.
    """
    problems: list[str] = []
    limit = _whole_number(request, "limit", _DEFAULT_LIMIT, 0, _MAX_LIMIT, problems)
    if problems:
        raise exceptions.ValidationError(problems)
    return limit


def time_filter_names() -> list[str]:
    """Return the parameters by which a list is narrowed to times (vapi.md 1.5)."""
    return [name + ending for name in ("createdAt", "updatedAt") for ending in _TIME_FILTERS]


def _within_times(
    request: Request, rows: QuerySet[Any], created: str, updated: str
) -> tuple[QuerySet[Any], list[str]]:
    """Apply the filters by time; return the rows and what could not be read."""
    problems: list[str] = []
    for name, column in (("createdAt", created), ("updatedAt", updated)):
        for ending, lookup in _TIME_FILTERS.items():
            text = request.query_params.get(name + ending)
            if text is None:
                continue
            moment = read_moment(text)
            if moment is None:
                problems.append(f"{name}{ending} must be a valid ISO 8601 date-time")
            else:
                rows = rows.filter(**{f"{column}__{lookup}": moment})
    return rows, problems


def _whole_number(
    request: Request, name: str, default: int, low: int, high: int, problems: list[str]
) -> int:
    """Return a query parameter; the SDK types them as floats: 100.0 is a hundred (trap 27)."""
    text = request.query_params.get(name)
    if text is None:
        return default
    if _BARE_NUMBER.fullmatch(text) and low <= int(float(text)) <= high:
        return int(float(text))
    problems.append(f"{name} must be a whole number from {low} to {high}")
    return default


def read_moment(text: str) -> dt.datetime | None:
    """Return a time in ISO 8601 in UTC, None for anything else; without a zone it is UTC."""
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


def query_ids(request: Request, name: str) -> list[uuid.UUID] | None:
    """Return a query parameter that holds several ids, repeated or with commas; None when absent.

    Raises:
        ValidationError: one of them is not a UUID.
    """
    given = request.query_params.getlist(name) + request.query_params.getlist(f"{name}[]")
    if not given:
        return None
    try:
        return [uuid.UUID(text.strip()) for item in given for text in item.split(",")][:_MAX_LIMIT]
    except ValueError:
        raise exceptions.ValidationError(f"each value in {name} must be a UUID") from None


def iso(moment: dt.datetime | None) -> str | None:
    """Return Vapi's form of a time: UTC with milliseconds and ``Z`` (vapi.md 1.6)."""
    if moment is None:
        return None
    return moment.astimezone(dt.UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
