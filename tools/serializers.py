"""What a tool looks like on the wire: which fields are checked coming in, and the object going out.

Holds shapes only (vapi.md 3); rules live in the services.
"""

from __future__ import annotations

import re
from typing import Any

from drf_spectacular.utils import extend_schema_field
from rest_framework import serializers

from tools.models import Tool
from tools.services import tool_document
from voiceplatform.base.redaction import redact
from voiceplatform.base.rest import Flag, Number, Shape, Text, iso

_FUNCTION_NAME = re.compile(r"[a-zA-Z0-9_-]{1,64}")


@extend_schema_field({"type": "string", "pattern": f"^{_FUNCTION_NAME.pattern}$"})
class FunctionName(Text):
    """A name that a model may call (vapi.md trap 11)."""

    def to_internal_value(self, data: Any) -> str:
        """Refuse characters that no model accepts."""
        if not isinstance(data, str) or not _FUNCTION_NAME.fullmatch(data):
            raise serializers.ValidationError("must match ^[a-zA-Z0-9_-]{1,64}$")
        return data


class ParametersShape(Shape):
    """JSON Schema of the arguments; the SDK wants both properties (vapi.md trap 29)."""

    type = Text()
    properties = serializers.DictField(required=False, allow_null=True)


class FunctionShape(Shape):
    """``function``."""

    name = FunctionName(required=True, allow_null=False)
    description = Text()
    parameters = ParametersShape(required=False, allow_null=True)


class ServerShape(Shape):
    """``server`` (vapi.md 2.5)."""

    url = Text()
    secret = Text()
    timeoutSeconds = Number(1, 300)
    headers = serializers.DictField(required=False, allow_null=True)


class ToolShape(Shape):
    """The fields of a tool that the platform works with."""

    type = Text(allow_null=False, allow_blank=False, max_length=60)
    function = FunctionShape(required=False, allow_null=True)
    server = ServerShape(required=False, allow_null=True)
    messages = serializers.ListField(required=False, allow_null=True)

    def get_fields(self) -> dict[str, Any]:
        """Add the field whose name is a Python keyword."""
        return {**super().get_fields(), "async": Flag()}


class NewToolShape(ToolShape):
    """A tool to be made: the type is required."""

    type = Text(required=True, allow_null=False, allow_blank=False, max_length=60)


def tool_json(tool: Tool) -> dict[str, Any]:
    """Return the tool as Vapi shows it, without its secrets."""
    document = tool.document_redacted or redact(tool_document(tool))
    return {
        "id": str(tool.pk),
        "orgId": str(tool.organisation_id),
        "createdAt": iso(tool.created_at),
        "updatedAt": iso(tool.updated_at),
        "type": tool.type,
        **document,
    }
