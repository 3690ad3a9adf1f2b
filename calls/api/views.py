"""``/call`` in Vapi's shapes (vapi.md 6.2): reads by selectors, writes by services.

Who reads what was said needs the scope ``transcripts``, and every such reading is audited.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from rest_framework import exceptions
from rest_framework.request import Request
from rest_framework.response import Response

from calls.api.serializers import CallPatchShape, call_json
from calls.models import Call
from calls.selectors import records
from calls.services.call_records import CallInUse, call_erase, call_rename
from voiceplatform.base.described import UUID, Described
from voiceplatform.base.rest import ApiView, Conflict, check_shape, list_window, query_uuid
from voiceplatform.base.services import audit_write

_AUDITED_IDS = 100
# 400 and not 5xx: the SDK would send a refused call two more times (vapi.md 0, rule 9).
_NO_OUTBOUND = (
    "This installation places no calls yet: outbound and web calls are missing. Calls to its phone "
    "numbers are answered. Fix: let the customer call a number whose route is direct."
)


class CallView(ApiView):
    """What both call views share."""

    described = Described(
        noun="Call", query={"id": UUID, "assistantId": UUID, "phoneNumberId": UUID}
    )
    write_scope = "calls"

    def may_read_transcripts(self) -> bool:
        """Tell whether the key opens what was said."""
        return "transcripts" in self.key.scopes

    def shown(self, call: Call, *, with_artifact: bool, name: str) -> dict[str, Any]:
        """Return the call as this key may see it."""
        controls = "calls" in self.key.scopes
        return call_json(call, with_artifact=with_artifact, with_control=controls, name=name)

    def audit(self, calls: Sequence[Call]) -> None:
        """Record that the key read the transcripts of ``calls``."""
        if calls:
            audit_write(
                actor=self.key,
                action="transcript.view",
                organisation=self.organisation,
                target=calls[0] if len(calls) == 1 else None,
                details={
                    "through": "api",
                    "count": len(calls),
                    "calls": [str(call.pk) for call in calls[:_AUDITED_IDS]],
                },
            )


class CallList(CallView):
    """``GET /call``."""

    def get(self, request: Request) -> Response:
        """List calls, newest first."""
        rows = records.call_list(self.organisation)
        for name, column in (
            ("id", "pk"),
            ("assistantId", "revision__assistant"),
            ("phoneNumberId", "number"),
        ):
            value = query_uuid(request, name)
            if value is not None:
                rows = rows.filter(**{column: value})
        speaks = self.may_read_transcripts()
        rows = list_window(request, records.with_spoken(rows) if speaks else rows)
        calls = list(rows)
        if speaks:
            self.audit(calls)
        names = records.call_names(self.organisation, (call.pk for call in calls))
        return Response(
            [self.shown(call, with_artifact=speaks, name=names.get(call.pk, "")) for call in calls]
        )

    def post(self, request: Request) -> Response:
        """Refuse to place a call, saying what is missing."""
        self.body()
        raise exceptions.ValidationError(_NO_OUTBOUND)


class AssistantStart(ApiView):
    """``POST /assistant/start``: the founding recipe's way to start a call."""

    described = Described(noun="Call")
    write_scope = "calls"

    def post(self, request: Request) -> Response:
        """Refuse to place a call, saying what is missing."""
        self.body()
        raise exceptions.ValidationError(_NO_OUTBOUND)


class CallDetail(CallView):
    """``GET``, ``PATCH`` and ``DELETE /call/{id}``."""

    def get(self, request: Request, object_id: str) -> Response:
        """Return one call."""
        call = self._call(object_id)
        if self.may_read_transcripts():
            self.audit([call])
        return Response(self._shown(call))

    def patch(self, request: Request, object_id: str) -> Response:
        """Give the call a name; nothing else of it can be changed (vapi.md 6.2)."""
        call, patch = self._call(object_id), self.body()
        check_shape(CallPatchShape, patch)
        if "name" in patch:
            call_rename(call=call, name=patch["name"], actor=self.key)
        if self.may_read_transcripts():
            self.audit([call])
        return Response(self._shown(call))

    def delete(self, request: Request, object_id: str) -> Response:
        """Erase the call for good and return what it was, without what was said in it."""
        call = self._call(object_id)
        answer = self.shown(call, with_artifact=False, name=self._name(call))
        try:
            call_erase(call=call, actor=self.key)
        except CallInUse as error:
            raise Conflict(str(error)) from error
        return Response(answer)

    def _call(self, object_id: str) -> Call:
        rows = records.call_list(self.organisation)
        speaks = self.may_read_transcripts()
        call: Call = self.find(records.with_spoken(rows) if speaks else rows, object_id, "Call")
        return call

    def _shown(self, call: Call) -> dict[str, Any]:
        speaks = self.may_read_transcripts()
        return self.shown(call, with_artifact=speaks, name=self._name(call))

    def _name(self, call: Call) -> str:
        return records.call_names(self.organisation, [call.pk]).get(call.pk, "")
