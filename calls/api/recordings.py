"""``GET /call/{id}/mono-recording`` and ``/stereo-recording``: the sound of a call, as WAV.

Opened by a key with the scope ``transcripts``, or by the address itself while it is good
(``calls.services.recording_links``). Every delivery is an audit entry.
"""

from __future__ import annotations

from typing import Any, ClassVar

from django.http.response import HttpResponseBase
from rest_framework import exceptions
from rest_framework.request import Request
from rest_framework.views import APIView

from calls.api.own_address import AddressRate, HasScopeOrAddress, Holder, OwnAddress
from calls.models import Call
from calls.selectors import records
from calls.services.recording_links import Mix, link_opens
from calls.services.recording_sound import recording_played, sound_response, stored_recording
from voiceplatform.base.described import BYTES, Described
from voiceplatform.base.models import ApiKey
from voiceplatform.base.rest import ApiView, KeyRate


class SignedAddress(OwnAddress):
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
        holder = Holder(call, "recording")
        return holder, holder


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
