"""WebSocket routes: Twilio's media sockets, that of forks too, outside any origin check because
Twilio sends none (trap T1), the talk page's, which checks the origin itself, and that of listeners,
who bring a token or a key.
"""

from __future__ import annotations

from django.urls import path

from calls.media.caller_consumer import RunCallerConsumer
from calls.media.consumer import MediaConsumer
from calls.media.listen_consumer import ListenConsumer
from calls.media.shadow_consumer import ShadowConsumer
from calls.web.consumer import TalkConsumer

websocket_urlpatterns = [
    path("twilio/media/<uuid:call_id>/<str:token>", MediaConsumer.as_asgi()),
    path("twilio/shadow/<uuid:shadow_id>/<str:token>", ShadowConsumer.as_asgi()),
    path("twilio/media/run/<uuid:dial_id>/<str:token>", RunCallerConsumer.as_asgi()),
    path("call/<uuid:call_id>/listen", ListenConsumer.as_asgi()),
    path("web/media/<uuid:call_id>/<str:token>", TalkConsumer.as_asgi()),
]
