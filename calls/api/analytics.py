"""``POST /analytics``: sums over calls in Vapi's shape (vapi.md 8.3); reads only."""

from __future__ import annotations

import datetime as dt
import zoneinfo
from collections.abc import Mapping
from typing import Any

from django.utils import timezone
from rest_framework import exceptions, serializers
from rest_framework.request import Request
from rest_framework.response import Response

from calls.selectors.analytics import (
    COLUMNS,
    GROUPS,
    OPERATIONS,
    STEPS,
    Operation,
    Query,
    call_sums,
)
from voiceplatform.base.described import Described
from voiceplatform.base.rest import ApiView, Choice, Shape, Text, check_shape, iso, read_moment

_WEEK = dt.timedelta(days=7)
_MAX_QUERIES = 20
_MAX_OPERATIONS = 50  # each is a column of one SELECT, of which databases take 1,600 to 2,000


class OperationShape(Shape):
    """One of ``operations``; ``history`` and concurrency are not kept here."""

    operation = Choice(tuple(OPERATIONS), required=True, allow_null=False)
    column = Choice(tuple(COLUMNS), required=True, allow_null=False)
    alias = Text(max_length=40)

    def validate(self, attrs: dict[str, Any]) -> dict[str, Any]:
        """Refuse sums of ids."""
        if attrs["column"] == "id" and attrs["operation"] != "count":
            raise serializers.ValidationError("column id can only be counted")
        return attrs


class TimeRangeShape(Shape):
    """``timeRange``; the last seven days unless told."""

    step = Choice(STEPS)
    start = Text()
    end = Text()
    timezone = Text(max_length=60)


class QueryShape(Shape):
    """One of ``queries``."""

    table = Choice(("call", "subscription"), required=True, allow_null=False)
    name = Text(required=True, allow_null=False, max_length=40)
    operations = OperationShape(
        many=True,
        required=True,
        allow_empty=False,
        max_length=_MAX_OPERATIONS,  # type: ignore[call-arg]  # the stubs know no many=True options
    )
    groupBy = serializers.ListField(
        child=Choice(tuple(GROUPS), allow_null=False), required=False, allow_null=True
    )
    timeRange = TimeRangeShape(required=False, allow_null=True)

    def to_internal_value(self, data: Any) -> Any:
        """Leave the operations on subscriptions unread: there is no such table here."""
        if isinstance(data, dict) and data.get("table") == "subscription":
            data = {**data, "operations": [{"operation": "count", "column": "id"}]}
        return super().to_internal_value(data)


class AnalyticsShape(Shape):
    """The body."""

    queries: serializers.ListSerializer[Any] = serializers.ListSerializer(
        child=QueryShape(), required=True, allow_empty=False, max_length=_MAX_QUERIES
    )


class Analytics(ApiView):
    """``POST /analytics``."""

    described = Described(
        noun="AnalyticsQueryResult",
        post=AnalyticsShape,
        succeeds={"POST": 200},
        answers={"POST": {"type": "array", "items": {"type": "object"}}},
    )
    write_scope = "read"

    def post(self, request: Request) -> Response:
        """Answer each query with its groups; there is no table of subscriptions here."""
        body = self.body()
        check_shape(AnalyticsShape, body)
        return Response([self._answer(each) for each in body["queries"]])

    def _answer(self, asked: Mapping[str, Any]) -> dict[str, Any]:
        query = _query(asked)
        shown_range = {
            "start": iso(query.start),
            "end": iso(query.end),
            "timezone": query.zone.key,
        }
        if query.step:
            shown_range["step"] = query.step
        is_call = asked["table"] == "call"
        return {
            "name": asked["name"],
            "timeRange": shown_range,
            "result": call_sums(self.organisation, query) if is_call else [],
        }


def _query(asked: Mapping[str, Any]) -> Query:
    span = asked.get("timeRange") or {}
    end = _moment(span, "end", timezone.now())
    try:
        start = _moment(span, "start", end - _WEEK)
    except OverflowError:
        raise exceptions.ValidationError("timeRange.end is in the first week of time") from None
    if start > end:
        raise exceptions.ValidationError("timeRange.start must not be after timeRange.end")
    try:
        zone = zoneinfo.ZoneInfo(span.get("timezone") or "UTC")
    except (ValueError, OSError, zoneinfo.ZoneInfoNotFoundError):
        raise exceptions.ValidationError("timeRange.timezone must be an IANA zone") from None
    operations = [
        Operation(
            each["operation"],
            each["column"],
            each.get("alias") or each["operation"] + each["column"][0].upper() + each["column"][1:],
        )
        for each in (asked["operations"] if asked["table"] == "call" else ())
    ]
    groups = list(dict.fromkeys(asked.get("groupBy") or ()))
    return Query(operations, groups, start, end, span.get("step") or "", zone)


def _moment(span: Mapping[str, Any], name: str, default: dt.datetime) -> dt.datetime:
    text = span.get(name)
    if text is None:
        return default
    moment = read_moment(text)
    if moment is None:
        raise exceptions.ValidationError(f"timeRange.{name} must be a valid ISO 8601 date-time")
    return moment
