"""What an assistant looks like on the wire: what is checked coming in, and the object going out.

Holds shapes only (vapi.md 2); rules live in the services.
"""

from __future__ import annotations

import uuid
from typing import Any

from drf_spectacular.utils import extend_schema_field
from rest_framework import serializers

from assistants.models import Assistant
from assistants.services import revision_document
from assistants.wire.vapi_config import FIRST_MESSAGE_MODES
from tools.serializers import NewToolShape, ServerShape
from voiceplatform.base.redaction import redact
from voiceplatform.base.rest import Choice, Flag, Number, Shape, Text, iso


@extend_schema_field({"type": "string", "format": "uuid"})
class ToolId(Text):
    """The id of a saved tool of this organisation; ``known_tools`` is in the context."""

    def to_internal_value(self, data: Any) -> str:
        """Refuse what is no UUID and what names no tool (vapi.md trap 23)."""
        try:
            text = str(uuid.UUID(super().to_internal_value(data)))
        except ValueError:
            raise serializers.ValidationError("must be a UUID") from None
        if text not in self.context["known_tools"]:
            raise serializers.ValidationError(f"names no tool here: {text}")
        return text


class MessageShape(Shape):
    """One of ``model.messages``."""

    role = Choice(("assistant", "function", "user", "system", "tool"))
    content = Text()


class ModelShape(Shape):
    """``model`` (vapi.md 2.3)."""

    provider = Text()
    model = Text()
    systemPrompt = Text()
    messages = MessageShape(many=True, required=False, allow_null=True)
    tools = NewToolShape(many=True, required=False, allow_null=True)
    toolIds = serializers.ListField(
        child=ToolId(required=True, allow_null=False), required=False, allow_null=True
    )


class VoiceShape(Shape):
    """``voice`` (vapi.md 2.4)."""

    provider = Text()
    voiceId = Text()


class TranscriberShape(Shape):
    """``transcriber``."""

    provider = Text()
    language = Text()


class AssistantShape(Shape):
    """The fields of an assistant that the platform works with; each one is optional."""

    name = Text(max_length=40)
    firstMessage = Text()
    firstMessageMode = Choice(FIRST_MESSAGE_MODES)
    firstMessageInterruptionsEnabled = Flag()
    endCallMessage = Text(max_length=1000)
    maxDurationSeconds = Number(10, 43_200)
    model = ModelShape(required=False, allow_null=True)
    voice = VoiceShape(required=False, allow_null=True)
    transcriber = TranscriberShape(required=False, allow_null=True)
    server = ServerShape(required=False, allow_null=True)
    serverUrl = Text()
    serverUrlSecret = Text()


def assistant_json(assistant: Assistant) -> dict[str, Any]:
    """Return the assistant as Vapi shows it, without its secrets."""
    revision = assistant.current_revision
    document: dict[str, Any] = {}
    if revision is not None:
        document = revision.document_redacted or redact(revision_document(revision))
    return {
        "id": str(assistant.pk),
        "orgId": str(assistant.organisation_id),
        "createdAt": iso(assistant.created_at),
        "updatedAt": iso(assistant.updated_at),
        **document,
        "isServerUrlSecretSet": bool(revision and revision.server_secret),
    }
