"""``/phone-number/{id}/route``, ``/move``, ``/restore`` and ``/moves``: numbers moved by programs.

Our own addition to Vapi's surface. Everything but the list needs the scope ``numbers``, which no
other scope includes: who may write assistants need not be able to move a live number. The rules are
those of the admin's pages; nothing is done here that those cannot do. An ``Idempotency-Key`` makes
the same order twice one order.
"""

from __future__ import annotations

from typing import Any, Final

from rest_framework import exceptions, serializers
from rest_framework.request import Request
from rest_framework.response import Response

from calls.models import NumberChange, NumberMove, PhoneNumber
from calls.numbers.route_problems import ROUTES, Problem
from calls.selectors.records import number_list
from calls.services.number_moves import (
    MovePreview,
    MoveRefused,
    move_begin,
    move_preview,
    restore_begin,
    restore_try,
)
from calls.services.number_routes import (
    KEEP,
    RouteOrder,
    RouteOvertaken,
    RouteRefused,
    route_preview,
    route_set,
)
from calls.telephony.twilio_rest import TwilioRefused, TwilioSilent
from voiceplatform.base.described import Described
from voiceplatform.base.fields import DecryptionError
from voiceplatform.base.redaction_urls import redact_url
from voiceplatform.base.rest import (
    ApiView,
    Choice,
    Conflict,
    Flag,
    Number,
    Shape,
    Text,
    check_shape,
    iso,
    list_window,
)

SCOPE: Final = "numbers"
_MOST_WHY: Final = 500
_MOST_KEY: Final = 100
# Of what one request waits for; a worker goes on with the rest.
_REQUEST_SECONDS: Final = 8.0
_STICKY: Final = ("caller", "hour", "call")


class RouteShape(Shape):
    """A route as a program wants it."""

    route = Choice(ROUTES, required=True, allow_null=False)
    canaryPercent = Number(0, 100)
    sticky = Choice(_STICKY)
    schedule = serializers.DictField(required=False, allow_null=True)
    expectedVersion = Number(0, 2_000_000_000)
    why = Text(max_length=_MOST_WHY)
    dryRun = Flag()


class MoveShape(Shape):
    """A move: without ``fingerprint`` its preview is asked for."""

    route = Choice(ROUTES)
    canaryPercent = Number(0, 100)
    fingerprint = Text(max_length=64)
    confirm = Text(max_length=40)
    why = Text(max_length=_MOST_WHY)


class RestoreShape(Shape):
    """The way back of one number."""

    why = Text(max_length=_MOST_WHY)


_TEXT: Final = {"type": "string"}
_TIME: Final = {"type": ["string", "null"], "format": "date-time"}
_PROBLEMS: Final = {
    "type": "array",
    "items": {
        "type": "object",
        "properties": {"field": _TEXT, "weight": _TEXT, "cause": _TEXT, "fix": _TEXT},
    },
}
MOVE_SCHEMA: Final[dict[str, Any]] = {
    "type": "object",
    "properties": {
        "id": {"type": "string", "format": "uuid"},
        "phoneNumberId": {"type": "string", "format": "uuid"},
        "direction": {"type": "string", "enum": ["here", "back"]},
        "step": {"type": "string", "enum": list(NumberMove.Step.values)},
        "problem": _TEXT,
        "testCall": _TEXT,
        "firstCallSid": _TEXT,
        "isWayBack": {"type": "boolean"},
        "who": _TEXT,
        "why": _TEXT,
        "createdAt": _TIME,
        "finishedAt": _TIME,
    },
}
ROUTE_SCHEMA: Final[dict[str, Any]] = {
    "type": "object",
    "properties": {
        "changed": {"type": "boolean"},
        "before": _TEXT,
        "after": _TEXT,
        "version": {"type": "integer"},
        "problems": _PROBLEMS,
        "changeId": {"type": ["string", "null"], "format": "uuid"},
    },
}
PREVIEW_SCHEMA: Final[dict[str, Any]] = {
    "type": "object",
    "properties": {
        "move": {"anyOf": [MOVE_SCHEMA, {"type": "null"}]},
        "preview": {"type": ["object", "null"], "additionalProperties": True},
    },
}
RESTORE_SCHEMA: Final[dict[str, Any]] = {
    "type": "object",
    "properties": {
        "state": {"type": "string", "enum": ["done", "again", "person", "nothing"]},
        "words": _TEXT,
        "retryAfterSeconds": {"type": "number"},
        "move": {"anyOf": [MOVE_SCHEMA, {"type": "null"}]},
    },
}


class NumberOrder(ApiView):
    """What the orders about one number share."""

    write_scope = SCOPE

    def number(self, object_id: str) -> PhoneNumber:
        """Return the number that the path names, one of the key's organisation."""
        # With its account whole, which the list of numbers is not: its login is needed.
        rows = PhoneNumber.objects.for_organisation(self.organisation).select_related(
            *("twilio_account", "organisation", "assistant", "policy", "connection")
        )
        found: PhoneNumber = self.find(rows, object_id, "Phone number")
        return found

    def idempotency_key(self, request: Request) -> str:
        """Return what makes the same order twice one order, '' without it.

        Raises:
            ValidationError: it is longer than 100 characters, or not plain text.
        """
        key = request.headers.get("Idempotency-Key", "").strip()
        if not key:
            return ""
        if len(key) > _MOST_KEY or not key.isascii() or not key.isprintable():
            raise exceptions.ValidationError(
                f"Idempotency-Key must be plain text of at most {_MOST_KEY} characters"
            )
        return f"rest:{self.key.pk}:{key}"


def _why(body: dict[str, Any]) -> str:
    return str(body.get("why") or "")


def _percent(body: dict[str, Any]) -> int:
    percent = body.get("canaryPercent") or 0
    if percent != int(percent):
        raise exceptions.ValidationError("canaryPercent must be a whole number")
    return int(percent)


def _problems(problems: tuple[Problem, ...]) -> list[dict[str, str]]:
    return [
        {"field": each.field, "weight": each.weight, "cause": each.cause, "fix": each.fix}
        for each in problems
    ]


def _refusal(error: RouteRefused) -> exceptions.APIException:
    sentences = [f"{each.field}: {each.cause} {each.fix}" for each in error.problems]
    if isinstance(error, RouteOvertaken):
        return Conflict(" ".join(sentences))
    return exceptions.ValidationError(sentences)


class NumberRoute(NumberOrder):
    """``POST /phone-number/{id}/route``."""

    described = Described(
        noun="PhoneNumber",
        post=RouteShape,
        answers={"POST": ROUTE_SCHEMA},
        succeeds={"POST": 200},
        refuses={"POST": (409,)},
    )

    def post(self, request: Request, object_id: str) -> Response:
        """Say who answers the number: vapi, canary, direct or paused. Nothing changes at Twilio."""
        number, body = self.number(object_id), self.body()
        check_shape(RouteShape, body)
        key = self.idempotency_key(request)
        schedule = body["schedule"] if "schedule" in body else KEEP
        order = RouteOrder(body["route"], _percent(body), body.get("sticky") or "", schedule)
        if body.get("dryRun"):
            preview = route_preview(number, order)
            return Response(
                {
                    "changed": False,
                    "before": preview.before,
                    "after": preview.after,
                    "version": preview.version,
                    "problems": _problems(preview.problems),
                    "changeId": None,
                }
            )
        expected = body.get("expectedVersion")
        try:
            change = route_set(
                number_id=number.pk,
                order=order,
                actor=self.key,
                why=_why(body),
                key=key,
                expected_version=None if expected is None else int(expected),
            )
        except RouteRefused as error:
            raise _refusal(error) from error
        return Response(_changed(change, number))


def _changed(change: NumberChange, number: PhoneNumber) -> dict[str, Any]:
    number.refresh_from_db(fields=["version"])
    return {
        "changed": change.before != change.after,
        "before": str(change.before.get("words", "")),
        "after": str(change.after.get("words", "")),
        "version": number.version,
        "problems": [],
        "changeId": str(change.pk),
    }


class NumberMoveOrder(NumberOrder):
    """``POST /phone-number/{id}/move``."""

    described = Described(
        noun="PhoneNumber",
        post=MoveShape,
        answers={"POST": PREVIEW_SCHEMA},
        succeeds={"POST": 200},
        refuses={"POST": (409,)},
    )

    def post(self, request: Request, object_id: str) -> Response:
        """Preview a move of the number here; with its ``fingerprint`` and the number, begin it."""
        number, body = self.number(object_id), self.body()
        check_shape(MoveShape, body)
        key = self.idempotency_key(request)
        order = RouteOrder(body["route"], _percent(body)) if body.get("route") else None
        try:
            if not body.get("fingerprint"):
                preview = move_preview(number=number, route=order)
                return Response({"move": None, "preview": _preview(preview)})
            move = move_begin(
                number=number,
                actor=self.key,
                why=_why(body),
                fingerprint=str(body["fingerprint"]),
                typed=str(body.get("confirm") or ""),
                route=order,
                key=key,
            )
        except RouteRefused as error:
            raise _refusal(error) from error
        except (MoveRefused, TwilioRefused, TwilioSilent, DecryptionError, ValueError) as error:
            raise Conflict(str(error)) from error
        return Response({"move": move_json(move), "preview": None})


def _preview(preview: MovePreview) -> dict[str, Any]:
    return {
        "fingerprint": preview.fingerprint,
        "canBegin": preview.can_begin,
        "route": preview.route,
        "effect": preview.effect,
        "findings": [
            {
                "code": each.code,
                "severity": each.severity,
                "field": each.field,
                "cause": each.cause,
                "fix": each.fix,
            }
            for each in preview.findings
        ],
        "differences": [
            {"field": each.field, "old": each.old, "new": each.new, "words": each.words}
            for each in preview.differences
            if each.is_changed
        ],
        "net": {
            "source": preview.net.source,
            "url": redact_url(preview.net.url),
            "deadSeconds": preview.overrides.dead_ms / 1000,
            "hangingSeconds": preview.overrides.hanging_ms / 1000,
        },
    }


class NumberRestore(NumberOrder):
    """``POST /phone-number/{id}/restore``."""

    described = Described(
        noun="PhoneNumber",
        post=RestoreShape,
        answers={"POST": RESTORE_SCHEMA},
        succeeds={"POST": 200},
        refuses={"POST": (409,)},
    )

    def post(self, request: Request, object_id: str) -> Response:
        """Put the number back at Twilio as it was before its move; waits up to 8 seconds for it."""
        number, body = self.number(object_id), self.body()
        check_shape(RestoreShape, body)
        try:
            move = restore_begin(
                number=number, actor=self.key, why=_why(body), key=self.idempotency_key(request)
            )
        except (DecryptionError, ValueError) as error:
            raise Conflict(f"Nothing was changed: {error}") from error
        if move is None:
            words = "there is nothing to put back: the number was not moved by this platform"
            return Response(
                {"state": "nothing", "words": words, "retryAfterSeconds": 0.0, "move": None}
            )
        result = restore_try(move.pk, within_seconds=_REQUEST_SECONDS)
        move.refresh_from_db()
        return Response(
            {
                "state": result.state,
                "words": result.words,
                "retryAfterSeconds": round(result.retry_after_seconds, 1),
                "move": move_json(move),
            }
        )


class NumberMoves(ApiView):
    """``GET /phone-number/{id}/moves``."""

    described = Described(
        noun="NumberMove", answers={"GET": {"type": "array", "items": MOVE_SCHEMA}}
    )

    def get(self, request: Request, object_id: str) -> Response:
        """List the moves of a number, here and back, newest first."""
        number = self.find(number_list(self.organisation), object_id, "Phone number")
        rows = NumberMove.objects.filter(number=number).defer("state", "snapshot")
        shown = list_window(request, rows, updated="created_at")
        return Response([move_json(move) for move in shown])


def move_json(move: NumberMove) -> dict[str, Any]:
    """Return a move as programs see it; no address of the number is in it."""
    return {
        "id": str(move.pk),
        "phoneNumberId": str(move.number_id),
        "direction": move.direction,
        "step": move.step,
        "problem": move.problem,
        "testCall": move.test_words,
        "firstCallSid": move.first_call_sid,
        "isWayBack": move.direction == NumberMove.Direction.HERE
        and move.closed_at is None
        and move.may_be_written,
        "who": move.who,
        "why": move.why,
        "createdAt": iso(move.created_at),
        "finishedAt": iso(move.finished_at),
    }
