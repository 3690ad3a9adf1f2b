"""OpenAPI of the REST surface, made of what the views say of themselves (``described``).

Owns how a description becomes an operation: parameters, bodies, answers and every refusal that the
surface can give; names no resource. drf-spectacular walks the URLs and reads the shapes; named in
the settings and imported only when somebody asks for the schema.
"""

from __future__ import annotations

import inspect
from collections.abc import Iterator, Mapping
from typing import Any

from drf_spectacular.extensions import (
    OpenApiAuthenticationExtension,
    OpenApiSerializerFieldExtension,
)
from drf_spectacular.openapi import AutoSchema
from drf_spectacular.plumbing import ResolvedComponent
from drf_spectacular.utils import OpenApiParameter

from voiceplatform.base.described import Described
from voiceplatform.base.rest import ApiView, time_filter_names

REASONS = {
    400: "A field or a parameter is wrong; each sentence of `message` begins with its path.",
    401: "`Invalid Key`: no key, an unknown one, an expired or a revoked one.",
    403: "The key lacks a scope; `message` names it.",
    404: "No such object in this organisation.",
    409: "The object is still in use; `message` says where.",
    413: "The body is too large.",
    415: "The body is not of a content type that this route reads.",
    429: "Too many requests with this key; `Retry-After` says how many seconds to wait.",
}
_MOMENT = {"type": "string", "format": "date-time"}
_STORED = {
    "id": {"type": "string", "format": "uuid", "readOnly": True},
    "orgId": {"type": "string", "format": "uuid", "readOnly": True},
    "createdAt": {**_MOMENT, "readOnly": True},
    "updatedAt": {**_MOMENT, "readOnly": True},
}
_ERROR = {
    "type": "object",
    "required": ["message", "error", "statusCode"],
    "properties": {
        "message": {"oneOf": [{"type": "string"}, {"type": "array", "items": {"type": "string"}}]},
        "error": {"type": "string"},
        "statusCode": {"type": "integer"},
    },
}
_LIMIT = {"type": "integer", "minimum": 0, "maximum": 1000, "default": 100}
_PAGE_PARAMETERS: dict[str, Mapping[str, Any]] = {
    "page": {"type": "integer", "minimum": 1, "maximum": 100_000, "default": 1},
    "sortOrder": {"type": "string", "enum": ["ASC", "DESC"], "default": "DESC"},
    "sortBy": {"type": "string", "enum": ["createdAt", "updatedAt"], "default": "createdAt"},
}


class Schema(AutoSchema):  # type: ignore[misc]  # skipped by mypy, see pyproject.toml
    """One operation of an ``ApiView``."""

    @property
    def described(self) -> Described:
        """Return what the view says of itself."""
        described: Described | None = self.view.describe()
        assert described is not None
        return described

    @property
    def has_id(self) -> bool:
        """Tell whether the path names one object."""
        return "{" in self.path

    @property
    def lists(self) -> bool:
        """Tell whether this operation answers many objects."""
        return self.method == "GET" and not self.has_id and self.described.listing != "one"

    def is_excluded(self) -> bool:
        """Leave out what does not describe itself; a test sees that every view of ours does."""
        return not isinstance(self.view, ApiView) or self.view.describe() is None

    def get_operation_id(self) -> str:
        """Return verb and path, e.g. ``get_assistant_by_id``."""
        words = self.path.strip("/").replace("{object_id}", "by id").replace("{", "").split("/")
        name = "_".join(words).replace("}", "").replace(" ", "_").replace("-", "_")
        return f"{self.method.lower()}_{name}"

    def get_tags(self) -> list[str]:
        """Group by the object."""
        return [self.described.noun]

    def get_summary(self) -> str:
        """Return the first line of the handler's docstring."""
        handler = getattr(self.view, self.method.lower())
        return (inspect.getdoc(handler) or "").partition("\n")[0]

    def get_description(self) -> str:
        """Say which scope the key needs."""
        return f"Needs a key with the scope `{self.view.scope_for(self.method)}`."

    def get_request_serializer(self) -> Any:
        """Return the shape of the body; without one any object."""
        if self.method not in ("POST", "PATCH"):
            return None
        shape = self.described.post if self.method == "POST" else self.described.patch
        if shape is None:
            shape = {"type": "object", "additionalProperties": True}
        if isinstance(shape, Mapping):
            return dict.fromkeys(self.map_parsers(), dict(shape))
        return shape

    def _get_request_for_media_type(self, serializer: Any, direction: str = "request") -> Any:
        # A body is always an object here, and a PATCH has a shape of its own: spectacular's two
        # guesses, "may be absent" and "nothing is required", are both wrong.
        if isinstance(serializer, dict):
            return serializer, True
        return self.resolve_serializer(serializer, direction).ref, True

    def _map_basic_serializer(self, serializer: Any, direction: str) -> dict[str, Any]:
        # Unknown properties are kept and returned.
        return {
            **super()._map_basic_serializer(serializer, direction),
            "additionalProperties": True,
        }

    def get_response_serializers(self) -> Any:
        """Say nothing here: ``get_operation`` writes every answer."""
        return None

    def get_override_parameters(self) -> list[OpenApiParameter]:
        """Return the id in the path and what the list may be asked."""
        found = [
            OpenApiParameter(name, {"type": "string", "format": "uuid"}, OpenApiParameter.PATH)
            for name in (("object_id",) if "{object_id}" in self.path else ())
        ]
        found += [
            OpenApiParameter(name, dict(schema), OpenApiParameter.QUERY)
            for name, schema in self._query()
        ]
        return found

    def _query(self) -> Iterator[tuple[str, Mapping[str, Any]]]:
        if self.method != "GET" or self.has_id:
            return
        if self.lists and self.described.windowed:
            yield "limit", _LIMIT
            for name in time_filter_names():
                yield name, _MOMENT
        if self.lists and self.described.listing == "page":
            yield from _PAGE_PARAMETERS.items()
        yield from self.described.query.items()

    def get_operation(
        self, path: str, path_regex: str, path_prefix: str, method: str, registry: Any
    ) -> Any:
        """Return the operation with every answer it can give."""
        operation = super().get_operation(path, path_regex, path_prefix, method, registry)
        if operation is None:
            return None
        content_type = self.described.content_types.get(self.method, "application/json")
        operation["responses"] = {
            str(self._success_status()): {
                "description": "Done.",
                "content": {content_type: {"schema": self._success_schema()}},
            }
        }
        for status in sorted(self._refusals()):
            answer = {
                "description": REASONS[status],
                "content": {"application/json": {"schema": self._component("Error", _ERROR)}},
            }
            if status == 429:
                seconds = {"type": "integer", "minimum": 1}
                answer["headers"] = {"Retry-After": {"schema": seconds, "required": True}}
            operation["responses"][str(status)] = answer
        return operation

    def _success_status(self) -> int:
        default = 201 if self.method == "POST" and not self.has_id else 200
        return self.described.succeeds.get(self.method, default)

    def _success_schema(self) -> Mapping[str, Any]:
        said = self.described.answers.get(self.method)
        if said is not None:
            return said
        one = self._component(
            self.described.noun,
            {
                "type": "object",
                "required": list(_STORED),
                "properties": _STORED,
                "additionalProperties": True,
            },
        )
        if not self.lists:
            return one
        many = {"type": "array", "items": one}
        if self.described.listing == "array":
            return many
        return {
            "type": "object",
            "required": ["results", "metadata"],
            "properties": {"results": many, "metadata": {"type": "object"}},
        }

    def _refusals(self) -> set[int]:
        statuses = {401, 403, 429, *self.described.refuses.get(self.method, ())}
        if self.has_id:
            statuses.add(404)
        if self.method in ("POST", "PATCH"):
            statuses |= {400, 413, 415}
        if any(True for _ in self._query()):
            statuses.add(400)
        if self.method == "DELETE":
            statuses.add(409)
        return statuses

    def _component(self, name: str, schema: Mapping[str, Any]) -> Mapping[str, Any]:
        component = ResolvedComponent(
            name=name, type=ResolvedComponent.SCHEMA, schema=dict(schema), object=name
        )
        self.registry.register_on_missing(component)
        ref: Mapping[str, Any] = component.ref
        return ref


class _KeyScheme(OpenApiAuthenticationExtension):  # type: ignore[misc]  # as above
    """The one way in."""

    target_class = "voiceplatform.drf.BearerKey"
    name = "key"

    def get_security_definition(self, auto_schema: Any) -> dict[str, str]:
        """Return a bearer scheme."""
        return {"type": "http", "scheme": "bearer", "description": "A key of this platform: vp_…"}


class _FlagSchema(OpenApiSerializerFieldExtension):  # type: ignore[misc]  # as above
    target_class = "voiceplatform.base.rest.Flag"

    def map_serializer_field(self, auto_schema: Any, direction: str) -> dict[str, Any]:
        return {"type": "boolean"}


class _NumberSchema(OpenApiSerializerFieldExtension):  # type: ignore[misc]  # as above
    target_class = "voiceplatform.base.rest.Number"

    def map_serializer_field(self, auto_schema: Any, direction: str) -> dict[str, Any]:
        return {"type": "number", "minimum": self.target.low, "maximum": self.target.high}


class _ChoiceSchema(OpenApiSerializerFieldExtension):  # type: ignore[misc]  # as above
    target_class = "voiceplatform.base.rest.Choice"
    match_subclasses = True

    def map_serializer_field(self, auto_schema: Any, direction: str) -> dict[str, Any]:
        return {"type": "string", "enum": list(self.target.choices)}
