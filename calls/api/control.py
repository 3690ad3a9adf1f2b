"""``POST /call/{id}/control``: what a person or a program does to a call that goes on.

Opened by a key with the scope ``calls``, or by the address itself (``call.monitor.controlUrl``),
whose token is checked here. What a body may hold is ``calls.wire.vapi_control``, what becomes of it
``calls.services.live_control``.
"""

from __future__ import annotations

from typing import Any

from rest_framework import exceptions
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from calls.api.own_address import AddressRate, HasScopeOrAddress, Holder, OwnAddress
from calls.models import Call, CallControl
from calls.selectors import records
from calls.services.live_control import ControlRefused, control_ask, control_wait
from calls.services.live_monitor import needs_key, token_fits
from calls.wire.vapi_control import ControlWireError, control_of
from voiceplatform.base.described import Described
from voiceplatform.base.models import ApiKey
from voiceplatform.base.rest import ApiView, Conflict, KeyRate

_NOBODY = (
    "Nobody picked the command up within 5 seconds, and it will not be carried out later: the call "
    "is between two streams, or has just ended. Fix: read its status with GET /call/{id}, and try "
    "again."
)


class AddressToken(OwnAddress):
    """Accepts ``?token=`` of the call's own address where no Authorization header came."""

    def authenticate(self, request: Request) -> tuple[Holder, Holder] | None:
        """Return the call that the token opens; None when none came.

        Raises:
            AuthenticationFailed: it opens nothing, or the assistant asks for a key as well.
        """
        token = request.query_params.get("token")
        if token is None:
            return None
        call_id = str(request.parser_context["kwargs"]["object_id"])
        call = _call_of(call_id) if token_fits(call_id, "control", token) else None
        if call is None or needs_key(call, "control"):
            raise exceptions.AuthenticationFailed(
                "Invalid token. Hint: use call.monitor.controlUrl as it was sent, or a key with "
                "the scope 'calls'."
            )
        holder = Holder(call, "control")
        return holder, holder


def _call_of(call_id: str) -> Call | None:
    call: Call | None = (
        Call.objects.select_related("organisation", "revision")
        .defer("revision__document", "revision__server_url", "revision__server_secret")
        .filter(pk=call_id)
        .first()
    )
    return call


class ControlView(ApiView):
    """``POST /call/{id}/control``."""

    authentication_classes = (*APIView.authentication_classes, AddressToken)
    permission_classes = (HasScopeOrAddress,)
    throttle_classes = (KeyRate, AddressRate)
    described = Described(
        noun="Call",
        answers={"POST": {"type": "object", "additionalProperties": True}},
        refuses={"POST": (409,)},
    )
    write_scope = "calls"

    def post(self, request: Request, object_id: str) -> Response:
        """Say something, tell the assistant something, mute, transfer or end a live call."""
        if isinstance(request.auth, ApiKey):
            rows = records.call_list(self.organisation).select_related("organisation")
            call = self.find(rows, object_id, "Call")
            actor: Any = self.key
        else:
            bearer: Any = request.auth
            call, actor = bearer.call, "control URL"
        try:
            control = control_of(self.body())
            row = control_wait(control_ask(call=call, control=control, actor=actor))
        except ControlWireError as error:
            raise exceptions.ValidationError(error.sentences) from error
        except ControlRefused as error:
            raise Conflict(str(error)) from error
        if row.state == CallControl.State.EXPIRED:
            raise Conflict(_NOBODY)
        if row.state == CallControl.State.REFUSED:
            raise Conflict(row.answer)
        return Response({"id": str(row.pk), "status": row.state})
