"""HTTP routes of the calls layer that Twilio and Vapi ask; exact, without trailing slashes."""

from __future__ import annotations

from django.urls import path

from calls.shim.views import tool_shim
from calls.telephony import caller_views, views

urlpatterns = [
    path("twilio/voice", views.voice, name="twilio-voice"),
    path("twilio/status", views.status, name="twilio-status"),
    path("twilio/after-stream/<uuid:call_id>", views.after_stream, name="twilio-after-stream"),
    path("twilio/after-dial/<uuid:call_id>", views.after_dial, name="twilio-after-dial"),
    path("twilio/consent/<uuid:call_id>", views.consent, name="twilio-consent"),
    path("twilio/key/<uuid:call_id>", views.key, name="twilio-key"),
    path("twilio/stream-status", views.stream_status, name="twilio-stream-status"),
    path("twilio/shadow-status/<uuid:shadow_id>", views.shadow_status, name="twilio-shadow-status"),
    path("twilio/recording", views.recording, name="twilio-recording"),
    path("twilio/run-caller/<uuid:dial_id>", caller_views.run_caller, name="twilio-run-caller"),
    path(
        "twilio/run-caller-status/<uuid:dial_id>",
        caller_views.run_caller_status,
        name="twilio-run-caller-status",
    ),
    path("tool-shim/<str:token>", tool_shim, name="tool-shim"),
]
