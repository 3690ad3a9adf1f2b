"""WebSocket routes: the media socket. Outside any origin check, Twilio sends none (trap T1)."""

from __future__ import annotations

from django.urls import path

from calls.media.consumer import MediaConsumer

websocket_urlpatterns = [
    path("twilio/media/<uuid:call_id>/<str:token>", MediaConsumer.as_asgi()),
]
