"""``/call`` and ``/phone-number`` for reading, in Vapi's shapes (vapi.md 6.2, 7.1).

Who reads what was said needs the scope ``transcripts``, and every such reading is audited.
"""

from __future__ import annotations

from collections.abc import Sequence

from rest_framework.request import Request
from rest_framework.response import Response

from calls.api.serializers import call_json, number_json
from calls.models import Call
from calls.selectors import records
from voiceplatform.base.described import UUID, Described
from voiceplatform.base.rest import ApiView, list_window, query_uuid
from voiceplatform.base.services import audit_write

_AUDITED_IDS = 100


class CallView(ApiView):
    """What both call views share."""

    described = Described(
        noun="Call", query={"id": UUID, "assistantId": UUID, "phoneNumberId": UUID}
    )
    write_scope = "calls"

    def may_read_transcripts(self) -> bool:
        """Tell whether the key opens what was said."""
        return "transcripts" in self.key.scopes

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
        return Response([call_json(call, with_artifact=speaks) for call in calls])


class CallDetail(CallView):
    """``GET /call/{id}``."""

    def get(self, request: Request, object_id: str) -> Response:
        """Return one call."""
        speaks = self.may_read_transcripts()
        rows = records.call_list(self.organisation)
        call = self.find(records.with_spoken(rows) if speaks else rows, object_id, "Call")
        if speaks:
            self.audit([call])
        return Response(call_json(call, with_artifact=speaks))


class NumberView(ApiView):
    """What both number views share."""

    described = Described(noun="PhoneNumber")


class NumberList(NumberView):
    """``GET /phone-number``."""

    def get(self, request: Request) -> Response:
        """List numbers, newest first."""
        rows = list_window(request, records.number_list(self.organisation))
        return Response([number_json(number) for number in rows])


class NumberDetail(NumberView):
    """``GET /phone-number/{id}``."""

    def get(self, request: Request, object_id: str) -> Response:
        """Return one number."""
        rows = records.number_list(self.organisation)
        return Response(number_json(self.find(rows, object_id, "Phone number")))
