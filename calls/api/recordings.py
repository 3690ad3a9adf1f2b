"""``GET /call/{id}/mono-recording`` and ``/stereo-recording``: the sound of a call, as WAV.

Opened by a key with the scope ``transcripts``, or by the address itself while it is good
(``calls.services.recording_links``). Every delivery is an audit entry.
"""

from __future__ import annotations

import uuid
from dataclasses import dataclass
from typing import Any, ClassVar

from django.http.response import HttpResponseBase
from rest_framework import exceptions
from rest_framework.authentication import BaseAuthentication
from rest_framework.permissions import BasePermission
from rest_framework.request import Request
from rest_framework.throttling import BaseThrottle
from rest_framework.views import APIView

from calls.models import Call
from calls.selectors import records
from calls.services.recording_links import Mix, link_opens
from calls.services.recording_sound import recording_played, sound_response, stored_recording
from voiceplatform.base import rate_limit
from voiceplatform.base.described import BYTES, Described
from voiceplatform.base.models import ApiKey
from voiceplatform.base.rest import ApiView, HasScope, KeyRate


@dataclass(frozen=True, slots=True)
class Holder:
    """Whoever has the address of a call's recording."""

    call: Call
    is_authenticated: ClassVar[bool] = True
    is_active: ClassVar[bool] = True

    @property
    def pk(self) -> uuid.UUID:
        """Return what its requests are counted by."""
        return self.call.pk


class SignedAddress(BaseAuthentication):
    """Accepts ``?expires=&token=`` of the recording's own address."""

    def authenticate(self, request: Request) -> tuple[Holder, Holder] | None:
        """Return the call that the address opens; None when no token came.

        Raises:
            AuthenticationFailed: it was not made here, or is no longer good.
        """
        token = request.query_params.get("token")
        if token is None:
            return None
        call_id = str(request.parser_context["kwargs"]["object_id"])
        view: Any = request.parser_context["view"]
        expires = request.query_params.get("expires", "")
        call: Call | None = None
        if link_opens(call_id, view.mix, expires, token):
            call = Call.objects.select_related("organisation").filter(pk=call_id).first()
        if call is None:
            raise exceptions.AuthenticationFailed(
                "The address is wrong or older than seven days. Hint: take recordingUrl from "
                "GET /call/{id} again, or use a key with the scope 'transcripts'."
            )
        holder = Holder(call)
        return holder, holder

    def authenticate_header(self, request: Request) -> str:
        """Name the scheme of the other way in."""
        return "Bearer"


class HasScopeOrAddress(BasePermission):
    """Needs the view's scope, or the address of the recording itself."""

    def has_permission(self, request: Request, view: APIView) -> bool:
        """Tell whether whoever asks may."""
        if isinstance(request.auth, Holder):
            return True
        by_key = HasScope()
        allowed = by_key.has_permission(request, view)
        self.message = getattr(by_key, "message", None)
        return allowed


class AddressRate(BaseThrottle):
    """Takes one request from the bucket of the call whose address is used."""

    _wait_seconds = 0.0

    def allow_request(self, request: Request, view: APIView) -> bool:
        """Tell whether the bucket still held a request."""
        if isinstance(request.auth, Holder):
            self._wait_seconds = rate_limit.take(f"recording:{request.auth.pk}")
        return not self._wait_seconds

    def wait(self) -> float:
        """Return after how many seconds the next request is allowed."""
        return self._wait_seconds


class StereoRecording(ApiView):
    """``GET /call/{id}/stereo-recording``: the caller on one channel, who answers on the other."""

    authentication_classes = (*APIView.authentication_classes, SignedAddress)
    permission_classes = (HasScopeOrAddress,)
    throttle_classes = (KeyRate, AddressRate)
    described = Described(noun="Call", answers={"GET": BYTES}, content_types={"GET": "audio/wav"})
    read_scope = "transcripts"
    mix: ClassVar[Mix] = "stereo"

    def get(self, request: Request, object_id: str) -> HttpResponseBase:
        """Return the recording of one call."""
        if isinstance(request.auth, ApiKey):
            rows = records.call_list(self.organisation).select_related("organisation")
            call: Call = self.find(rows, object_id, "Call")
            actor: Any = self.key
        else:
            bearer: Any = request.auth
            call, actor = bearer.call, "recording URL"
        row = stored_recording(call)
        if row is None:
            raise exceptions.NotFound(f"There is no recording of call {call.pk}, or not yet.")
        recording_played(call, actor, through="api")
        return sound_response(request._request, row, self.mix)


class MonoRecording(StereoRecording):
    """``GET /call/{id}/mono-recording``: both sides on one channel."""

    mix: ClassVar[Mix] = "mono"
