"""``POST /event/redeliver``: make events due again. Ours, not Vapi's; writes by a service."""

from __future__ import annotations

import uuid
from typing import Any

from rest_framework import exceptions, serializers
from rest_framework.request import Request
from rest_framework.response import Response

from calls.models import OutboxEvent
from calls.selectors.delivery import Selection
from calls.services.redelivery import MOST_IDS, events_redeliver
from voiceplatform.base.described import UUID, Described
from voiceplatform.base.models import Job
from voiceplatform.base.rest import ApiView, Choice, Shape, Text, check_shape, read_moment
from voiceplatform.base.selectors import uuids_in

_STATES = tuple(str(value) for value in OutboxEvent.State.values)
_EVERY = {"since": "createdAtGe", "until": "createdAtLt"}


class RedeliverShape(Shape):
    """Which events; without ``ids`` and ``state`` those that were given up."""

    ids = serializers.ListField(
        child=Text(max_length=36, allow_null=False),
        required=False,
        allow_null=True,
        max_length=MOST_IDS,
    )
    state = serializers.ListField(
        child=Choice(_STATES, allow_null=False), required=False, allow_null=True
    )
    createdAtGe = Text(max_length=40)
    createdAtLt = Text(max_length=40)
    kind = Text(max_length=60)
    destinationId = Text(max_length=36)
    host = Text(max_length=255)


class EventRedeliver(ApiView):
    """``POST /event/redeliver``."""

    described = Described(
        noun="Redelivery",
        post=RedeliverShape,
        answers={
            "POST": {
                "type": "object",
                "required": ["due", "jobId"],
                "properties": {
                    "due": {"type": "integer", "description": "Made due by this request"},
                    "jobId": {
                        "anyOf": [UUID, {"type": "null"}],
                        "description": "Makes the rest due, where there are more than 200",
                    },
                },
            }
        },
    )
    write_scope = "calls"

    def post(self, request: Request) -> Response:
        """Make the events due and say how many, or which job does it."""
        document = self.body()
        check_shape(RedeliverShape, document)
        outcome = events_redeliver(
            selection=self._selection(document), organisation=self.organisation, actor=self.key
        )
        if isinstance(outcome, Job):
            return Response({"due": 0, "jobId": str(outcome.pk)}, status=201)
        return Response({"due": outcome, "jobId": None}, status=201)

    def _selection(self, document: dict[str, Any]) -> Selection:
        given = document.get("ids") or []
        ids = uuids_in(given)
        if len(ids) != len(given):
            raise exceptions.ValidationError(["ids must hold UUIDs"])
        moments = {}
        for name, key in _EVERY.items():
            text = document.get(key) or ""
            moments[name] = read_moment(text) if text else None
            if text and moments[name] is None:
                raise exceptions.ValidationError([f"{key} must be a valid ISO 8601 date string"])
        states = document.get("state") or (_STATES if ids else [OutboxEvent.State.DEAD])
        return Selection(
            self.organisation.pk,
            states=tuple(states),
            kind=document.get("kind") or "",
            host=document.get("host") or "",
            receiver_id=self._receiver_id(document),
            ids=tuple(ids),
            **moments,
        )

    def _receiver_id(self, document: dict[str, Any]) -> uuid.UUID | None:
        text = document.get("destinationId") or ""
        found = uuids_in([text]) if text else []
        if text and not found:
            raise exceptions.ValidationError(["destinationId must be a UUID"])
        return found[0] if found else None
