"""WebSocket routes: the media socket, outside any origin check because Twilio sends none (trap T1),
and the talk page's, which checks the origin itself.
"""

from __future__ import annotations

from django.urls import path

from calls.media.consumer import MediaConsumer
from calls.web.consumer import TalkConsumer

websocket_urlpatterns = [
    path("twilio/media/<uuid:call_id>/<str:token>", MediaConsumer.as_asgi()),
    path("web/media/<uuid:call_id>/<str:token>", TalkConsumer.as_asgi()),
]
