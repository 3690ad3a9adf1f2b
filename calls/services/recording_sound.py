"""The sound of a stored recording as an answer to whoever may hear it, and that somebody did.

Owns the form of the answer: whole, in parts for players, or mixed to one channel. Who may is the
doors' to decide; they ask for nothing else of a recording.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncIterator, Iterator
from typing import Any

from django.core.handlers.asgi import ASGIRequest
from django.http import HttpRequest, HttpResponse, StreamingHttpResponse
from django.http.response import HttpResponseBase

from calls.models import Call, Recording
from calls.services.recording_files import mixed, path_of, sound_read
from calls.services.recording_links import Mix
from voiceplatform.base.services import audit_write

_RANGE = re.compile(r"bytes=(\d{1,12})-(\d{0,12})")


def stored_recording(call: Call) -> Recording | None:
    """Return the recording of a call if its sound is here."""
    row = Recording.objects.filter(call=call, state=Recording.State.STORED).first()
    return row if row is not None and path_of(row.call_id).is_file() else None


def recording_played(call: Call, actor: Any, *, through: str) -> None:
    """Note that somebody was given the sound of a call."""
    audit_write(
        actor=actor,
        action="recording.play",
        organisation=call.organisation,
        target=call,
        details={"through": through},
    )


def sound_response(request: HttpRequest, row: Recording, mix: Mix) -> HttpResponseBase:
    """Answer with a stored recording, or the part of it that a player asks for.

    Two channels are given in parts, since players seek; one is mixed on the way and given whole.
    """
    headers = {"Cache-Control": "private, no-store"}
    if mix == "mono":
        pieces = mixed(sound_read(row.call_id))
        return _streamed(request, pieces, 200, headers)
    size, first, last, status = row.size_bytes, 0, row.size_bytes - 1, 200
    headers["Accept-Ranges"] = "bytes"
    asked = _RANGE.fullmatch(request.headers.get("Range", ""))
    if asked is not None:
        first, status = int(asked[1]), 206
        last = min(int(asked[2] or last), last)
        if first > last:
            headers["Content-Range"] = f"bytes */{size}"
            return HttpResponse(status=416, headers=headers)
        headers["Content-Range"] = f"bytes {first}-{last}/{size}"
    headers["Content-Length"] = str(last + 1 - first)
    return _streamed(request, sound_read(row.call_id, first, last), status, headers)


def _streamed(
    request: HttpRequest, pieces: Iterator[bytes], status: int, headers: dict[str, str]
) -> StreamingHttpResponse:
    # Opening a piece takes milliseconds, which the loop of the web process has not.
    content: Any = _in_threads(pieces) if isinstance(request, ASGIRequest) else pieces
    return StreamingHttpResponse(content, status=status, content_type="audio/wav", headers=headers)


async def _in_threads(pieces: Iterator[bytes]) -> AsyncIterator[bytes]:
    while piece := await asyncio.to_thread(next, pieces, b""):
        yield piece
