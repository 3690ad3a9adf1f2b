"""The whole platform as one ASGI application: Django and every WebSocket in this process.

What ``runserver`` and a plain ``daphne voiceplatform.asgi:application`` serve, and what the web
process runs. Wiring only.
"""

from __future__ import annotations

import os

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "voiceplatform.settings")

from django.core.asgi import get_asgi_application

_django = get_asgi_application()  # before any import that needs the app registry

from channels.routing import ProtocolTypeRouter  # noqa: E402 - see above
from django.conf import settings  # noqa: E402 - see above

from voiceplatform.body_limit import with_body_limit  # noqa: E402 - see above
from voiceplatform.health import with_health  # noqa: E402 - see above
from voiceplatform.sockets import websocket_application  # noqa: E402 - see above

# Twilio's paths are served next to live audio and to anybody; what goes to web has its own limit.
django_application = with_body_limit(
    _django, prefix="/twilio/", limit_bytes=settings.DATA_UPLOAD_MAX_MEMORY_SIZE
)
application = ProtocolTypeRouter(
    {
        "http": with_health(django_application),
        "websocket": websocket_application(),
    }
)
