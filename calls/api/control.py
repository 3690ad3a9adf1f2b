"""``POST /call/{id}/control``: what a person or a program does to a call that goes on.

Opened by a key with the scope ``calls``, or by the address itself (``call.monitor.controlUrl``),
whose token is checked here. What a body may hold is ``calls.wire.vapi_control``, what becomes of it
``calls.services.live_control``.
"""

from __future__ import annotations

import uuid
from dataclasses import dataclass
from typing import Any, ClassVar

from rest_framework import exceptions
from rest_framework.authentication import BaseAuthentication
from rest_framework.permissions import BasePermission
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.throttling import BaseThrottle
from rest_framework.views import APIView

from calls.models import Call, CallControl
from calls.selectors import records
from calls.services.live_control import ControlRefused, control_ask, control_wait
from calls.services.live_monitor import needs_key, token_fits
from calls.wire.vapi_control import ControlWireError, control_of
from voiceplatform.base import rate_limit
from voiceplatform.base.described import Described
from voiceplatform.base.models import ApiKey
from voiceplatform.base.rest import ApiView, Conflict, HasScope, KeyRate

_NOBODY = (
    "Nobody picked the command up within 5 seconds, and it will not be carried out later: the call "
    "is between two streams, or has just ended. Fix: read its status with GET /call/{id}, and try "
    "again."
)


@dataclass(frozen=True, slots=True)
class Bearer:
    """Whoever has a call's own control address."""

    call: Call
    is_authenticated: ClassVar[bool] = True
    is_active: ClassVar[bool] = True

    @property
    def pk(self) -> uuid.UUID:
        """Return what its requests are counted by."""
        return self.call.pk


class AddressToken(BaseAuthentication):
    """Accepts ``?token=`` of the call's own address where no Authorization header came."""

    def authenticate(self, request: Request) -> tuple[Bearer, Bearer] | None:
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
        bearer = Bearer(call)
        return bearer, bearer

    def authenticate_header(self, request: Request) -> str:
        """Name the scheme of the other way in."""
        return "Bearer"


def _call_of(call_id: str) -> Call | None:
    call: Call | None = (
        Call.objects.select_related("organisation", "revision")
        .defer("revision__document", "revision__server_url", "revision__server_secret")
        .filter(pk=call_id)
        .first()
    )
    return call


class HasScopeOrToken(BasePermission):
    """Needs the view's scope, or the address of the call itself."""

    def has_permission(self, request: Request, view: APIView) -> bool:
        """Tell whether whoever asks may."""
        if isinstance(request.auth, Bearer):
            return True
        by_key = HasScope()
        allowed = by_key.has_permission(request, view)
        self.message = getattr(by_key, "message", None)
        return allowed


class CallRate(BaseThrottle):
    """Takes one request from the bucket of the call whose address is used."""

    _wait_seconds = 0.0

    def allow_request(self, request: Request, view: APIView) -> bool:
        """Tell whether the bucket still held a request."""
        if isinstance(request.auth, Bearer):
            self._wait_seconds = rate_limit.take(f"control:{request.auth.pk}")
        return not self._wait_seconds

    def wait(self) -> float:
        """Return after how many seconds the next request is allowed."""
        return self._wait_seconds


class ControlView(ApiView):
    """``POST /call/{id}/control``."""

    authentication_classes = (*APIView.authentication_classes, AddressToken)
    permission_classes = (HasScopeOrToken,)
    throttle_classes = (KeyRate, CallRate)
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
