"""The media process: Twilio's webhooks, every WebSocket and health; all else goes to web.

Audio never shares a process with admin and REST (design decision 11): a busy thread there would
delay frames here. Wiring only.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any

from channels.routing import ProtocolTypeRouter

from voiceplatform.asgi import django_application  # sets Django up first

from django.conf import settings  # isort: skip - after Django is set up

from voiceplatform.base.http import unix_transport
from voiceplatform.health import with_health
from voiceplatform.pass_through import PassThrough
from voiceplatform.sockets import websocket_application

LOCAL_PREFIX = "/twilio/"

ASGIApp = Callable[..., Awaitable[None]]


def split(local: ASGIApp, elsewhere: ASGIApp) -> ASGIApp:
    """Return an application that keeps Twilio's paths and hands every other one elsewhere."""

    async def application(
        scope: MutableMapping[str, Any],
        receive: Callable[[], Awaitable[MutableMapping[str, Any]]],
        send: Callable[..., Awaitable[None]],
    ) -> None:
        inner = local if scope["path"].startswith(LOCAL_PREFIX) else elsewhere
        await inner(scope, receive, send)

    return application


web_process = PassThrough(
    unix_transport(settings.RUN_DIR / "web.sock"), public_is_https=settings.PUBLIC_IS_HTTPS
)
application = ProtocolTypeRouter(
    {
        "http": with_health(split(django_application, web_process)),
        "websocket": websocket_application(),
    }
)
