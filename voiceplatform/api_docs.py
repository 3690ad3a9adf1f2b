"""``/schema`` and ``/docs``: the REST surface described, without a key and without the internet.

Owns how the description is served; what it says is ``voiceplatform.base.openapi``. Both tell of
routes only and read nothing of an organisation.
"""

from __future__ import annotations

import functools
import json
from typing import Any

from csp.decorators import csp_update
from django.http import HttpRequest, HttpResponse
from django.shortcuts import render
from django.views.decorators.cache import cache_control
from django.views.decorators.http import require_safe

_A_WHILE_SECONDS = 300


@functools.cache
def schema_document() -> dict[str, Any]:
    """Return the OpenAPI document; it cannot change while the process lives."""
    # Late: a second of imports that only a reader of the schema needs.
    from drf_spectacular.generators import SchemaGenerator

    document: dict[str, Any] = SchemaGenerator().get_schema(request=None, public=True)
    return document


@functools.cache
def _rendered() -> bytes:
    return json.dumps(schema_document(), ensure_ascii=False).encode()


@require_safe
@cache_control(public=True, max_age=_A_WHILE_SECONDS)
def schema(request: HttpRequest) -> HttpResponse:
    """Answer the OpenAPI document as JSON."""
    return HttpResponse(_rendered(), content_type="application/json")


# Swagger UI's stylesheet holds its icons as data: images.
@require_safe
@csp_update({"img-src": ["'self'", "data:"]})
def docs(request: HttpRequest) -> HttpResponse:
    """Answer a page on which the description can be read and tried."""
    return render(request, "docs.html")
