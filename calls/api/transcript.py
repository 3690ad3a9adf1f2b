"""``GET /call/{id}/transcript``: what is said in a call, as it is said (``text/event-stream``).

Who may, how many and for how long is decided here; which events there are by
``calls.services.live_entries``, how rows are looked at by ``live_feed``. A reader holds no thread.
"""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import AsyncIterator
from typing import Any, Final

from django.http import HttpResponse, StreamingHttpResponse
from django.http.response import HttpResponseBase
from rest_framework import exceptions, status
from rest_framework.request import Request

from calls.media.database import in_database
from calls.selectors import records
from calls.services import live_feed
from calls.services.live_entries import Cursor, Snapshot, frame
from voiceplatform.base.described import TEXT, Described
from voiceplatform.base.models import ApiKey
from voiceplatform.base.rest import ApiView
from voiceplatform.base.services import api_key_is_live, audit_write

HEARTBEAT_SECONDS: Final = 15.0  # proxies cut a line that is silent for a minute
RETRY_MS: Final = 1_000


# One event of the stream; ``data`` is JSON, docs/live.md says of what.
_EVENT: Final = {
    "type": "object",
    "required": ["id", "event", "data"],
    "properties": {
        "id": TEXT,
        "event": {"type": "string", "enum": ["status", "turn", "tool", "end"]},
        "data": TEXT,
    },
}


class TooManyReaders(exceptions.APIException):
    """This process carries as many streams as it may; try again later."""

    status_code = status.HTTP_429_TOO_MANY_REQUESTS
    default_detail = (
        "Too many transcripts are being read at once. Fix: close some of the streams, or read the "
        "call with GET /call/{id}."
    )


class Transcript(ApiView):
    """``GET /call/{id}/transcript``."""

    described = Described(
        noun="Call",
        answers={"GET": _EVENT},
        content_types={"GET": "text/event-stream"},
    )
    read_scope = "transcripts"

    def get(self, request: Request, object_id: str) -> HttpResponseBase:
        """Stream what has been said so far, then what is being said, until the call is over."""
        call = self.find(records.call_list(self.organisation), object_id, "Call")
        cursor = Cursor.read(request.headers.get("Last-Event-ID", ""))
        now = live_feed.snapshots([call.pk]).get(call.pk)
        if now is None:
            raise exceptions.NotFound(f"Call {object_id} was not found.")
        if cursor.has_all(now):
            # What tells an EventSource to stop asking.
            return HttpResponse(status=status.HTTP_204_NO_CONTENT)
        if not now.over and live_feed.reader_count() >= live_feed.MOST_READERS:
            raise TooManyReaders
        audit_write(
            actor=self.key,
            action="transcript.view",
            organisation=self.organisation,
            target=call,
            details={"through": "stream", "count": 1},
        )
        if now.over:
            return HttpResponse(_HEAD + _frames(cursor, now), **_AS_EVENTS)
        return StreamingHttpResponse(_stream(call.pk, cursor, now, self.key), **_AS_EVENTS)


_HEAD: Final = f"retry: {RETRY_MS}\n\n"
_AS_EVENTS: Final[dict[str, Any]] = {
    "content_type": "text/event-stream",
    "headers": {"Cache-Control": "no-store", "X-Accel-Buffering": "no"},
}


def _frames(cursor: Cursor, snapshot: Snapshot) -> str:
    return "".join(frame(event, data, cursor) for event, data in cursor.events(snapshot))


async def _stream(
    call_id: uuid.UUID, cursor: Cursor, snapshot: Snapshot, key: ApiKey
) -> AsyncIterator[str]:
    yield _HEAD + _frames(cursor, snapshot)
    with live_feed.feed().reading(call_id) as watch:
        while True:
            changed = watch.next_change()
            if watch.looked:
                # Held: while the reader takes a piece, the next look may replace it.
                seen = watch.snapshot
                if seen is None:
                    return  # it was erased
                news = _frames(cursor, seen)
                if news:
                    yield news
                if seen.over:
                    return
            if not await _within(changed, HEARTBEAT_SECONDS):
                yield ": the call goes on\n\n"
                if not await in_database(api_key_is_live, key):
                    return


async def _within(event: asyncio.Event, seconds: float) -> bool:
    try:
        async with asyncio.timeout(seconds):
            await event.wait()
    except TimeoutError:
        return False
    return True
