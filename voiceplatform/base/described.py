"""What a REST view says of itself for ``/schema``: values only, so that views need no generator.

Owns the words of a description; how OpenAPI is made of them is ``voiceplatform.base.openapi``.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal, TypeAlias

if TYPE_CHECKING:
    from voiceplatform.base.rest import Shape

UUID = {"type": "string", "format": "uuid"}
TEXT = {"type": "string"}
BYTES = {"type": "string", "format": "binary"}


Body: TypeAlias = "type[Shape] | Shape | Mapping[str, Any] | None"


@dataclass(frozen=True, slots=True, kw_only=True)
class Described:
    """The routes of one resource; whatever is not said follows from the method and the path.

    Args:
        noun: the object's name as a type, e.g. ``PhoneNumber``; also the tag.
        post, patch: the bodies: a shape, JSON Schema where it is no JSON, None: any object.
        listing: what a GET without an id answers: an array, an envelope with ``results`` and
            ``metadata`` (vapi.md 1.5), or one thing.
        query: further parameters of the list, name to JSON Schema.
        windowed: whether the list takes ``limit`` and the filters by time.
        answers: schema of a success, by method, where it is not the object.
        succeeds: status of a success, by method, where it is not 201 for a POST without an id
            and else 200.
        refuses: further statuses, by method; DELETE always has 409.
        content_types: of the answer, by method, where it is not JSON.
    """

    noun: str
    post: Body = None
    patch: Body = None
    listing: Literal["array", "page", "one"] = "array"
    windowed: bool = True
    query: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    answers: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    succeeds: Mapping[str, int] = field(default_factory=dict)
    refuses: Mapping[str, tuple[int, ...]] = field(default_factory=dict)
    content_types: Mapping[str, str] = field(default_factory=dict)
