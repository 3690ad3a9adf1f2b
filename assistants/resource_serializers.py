"""What squads and stored resources look like on the wire: what is checked, and what goes out.

Holds shapes only (vapi.md 8.1, 8.3); rules live in the services. Whatever a shape does not name is
kept and returned unseen.
"""

from __future__ import annotations

import uuid
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from django.conf import settings
from drf_spectacular.utils import extend_schema_field
from rest_framework import serializers

from assistants.models import FileReading, Squad, StoredResource
from voiceplatform.base.rest import Choice, Shape, Text, iso

_ANY_OBJECT: Final[Mapping[str, Any]] = {"required": False, "allow_null": True}


@extend_schema_field({"type": "string", "format": "uuid"})
class Id(Text):
    """A UUID, kept as it was written."""

    def to_internal_value(self, data: Any) -> str:
        """Refuse what is no UUID."""
        text = super().to_internal_value(data)
        try:
            uuid.UUID(text)
        except ValueError:
            raise serializers.ValidationError("must be a UUID") from None
        return text


@extend_schema_field({"type": "object", "additionalProperties": True})
class AnyObject(serializers.Field[Any, Any, Any, Any]):
    """A JSON object whatever it holds."""

    def to_internal_value(self, data: Any) -> dict[str, Any]:
        """Refuse everything but an object."""
        if not isinstance(data, dict):
            raise serializers.ValidationError("must be an object")
        return data


class DestinationShape(Shape):
    """One of a member's ``assistantDestinations``."""

    assistantId = Id()
    assistantName = Text()


class MemberShape(Shape):
    """One of a squad's members: a saved assistant or one written out."""

    assistantId = Id()
    assistant = AnyObject(**_ANY_OBJECT)
    assistantOverrides = AnyObject(**_ANY_OBJECT)
    assistantDestinations = DestinationShape(many=True, required=False, allow_null=True)

    def validate(self, attrs: dict[str, Any]) -> dict[str, Any]:
        """Want an assistant in one form or the other."""
        if not attrs.get("assistantId") and not attrs.get("assistant"):
            raise serializers.ValidationError("must have assistantId or assistant")
        return attrs


class SquadShape(Shape):
    """The fields of a squad that the platform works with."""

    name = Text()
    members = MemberShape(many=True, required=False, allow_empty=False)
    membersOverrides = AnyObject(**_ANY_OBJECT)


class NewSquadShape(SquadShape):
    """A squad to be made: somebody has to answer."""

    members = MemberShape(many=True, required=True, allow_empty=False)


class CredentialShape(Shape):
    """A credential; ``provider`` is the union's discriminator (vapi.md 0, rule 4)."""

    provider = Text(required=True, allow_null=False, allow_blank=False, max_length=60)
    name = Text(max_length=200)


class StructuredOutputShape(Shape):
    """``/structured-output``; the type defaults to ``ai`` at Vapi."""

    name = Text(required=True, allow_null=False, allow_blank=False, max_length=40)
    type = Choice(("ai", "regex"))
    description = Text()
    schema = AnyObject(**_ANY_OBJECT)
    assistantIds = serializers.ListField(child=Id(), required=False, allow_null=True)


class EvalShape(Shape):
    """``/eval``."""

    name = Text(max_length=80)
    type = Text(required=True, allow_null=False, allow_blank=False)
    messages = serializers.ListField(required=True)


class PersonalityShape(Shape):
    """``/eval/simulation/personality``."""

    name = Text(required=True, allow_null=False, allow_blank=False, max_length=200)
    assistant = AnyObject(required=True)


class ScenarioShape(Shape):
    """``/eval/simulation/scenario``."""

    name = Text(required=True, allow_null=False, allow_blank=False, max_length=200)
    instructions = Text(required=True, allow_null=False)
    evaluations = serializers.ListField(required=True)


class SimulationShape(Shape):
    """``/eval/simulation``."""

    name = Text(max_length=200)
    scenarioId = Id(required=True, allow_null=False)
    personalityId = Id(required=True, allow_null=False)


class SuiteShape(Shape):
    """``/eval/simulation/suite``."""

    name = Text(required=True, allow_null=False, allow_blank=False, max_length=200)
    simulationIds = serializers.ListField(child=Id(required=True, allow_null=False), required=True)


@dataclass(frozen=True, slots=True)
class KindOfResource:
    """How one kind is checked, named in refusals and listed."""

    kind: StoredResource.Kind
    noun: str
    shape: type[Shape]
    in_envelope: bool = False


CREDENTIAL: Final = KindOfResource(StoredResource.Kind.CREDENTIAL, "Credential", CredentialShape)
STRUCTURED_OUTPUT: Final = KindOfResource(
    StoredResource.Kind.STRUCTURED_OUTPUT, "Structured output", StructuredOutputShape, True
)
EVAL: Final = KindOfResource(StoredResource.Kind.EVAL, "Eval", EvalShape, True)
PERSONALITY: Final = KindOfResource(
    StoredResource.Kind.PERSONALITY, "Personality", PersonalityShape
)
SCENARIO: Final = KindOfResource(StoredResource.Kind.SCENARIO, "Scenario", ScenarioShape)
SUITE: Final = KindOfResource(StoredResource.Kind.SUITE, "Suite", SuiteShape)
SIMULATION: Final = KindOfResource(StoredResource.Kind.SIMULATION, "Simulation", SimulationShape)


class FileShape(Shape):
    """What may be said about a file."""

    name = Text(max_length=200)
    purpose = Choice(("assistant", "knowledge-base-v2", "composer-attachment"))
    metadata = AnyObject(**_ANY_OBJECT)


def squad_json(squad: Squad) -> dict[str, Any]:
    """Return the squad as Vapi shows it, without its secrets."""
    return _with_server_fields(squad)


def resource_json(resource: StoredResource) -> dict[str, Any]:
    """Return a stored resource as Vapi shows it, without its secrets."""
    return _with_server_fields(resource)


def file_json(file: StoredResource) -> dict[str, Any]:
    """Return an uploaded file as Vapi shows it; ``url`` is ours and wants a key.

    ``statusReason`` is ours: why it cannot be read, or what of it was left out.
    """
    reading: FileReading | None = getattr(file, "reading", None)
    why = {"statusReason": reading.problem} if reading is not None and reading.problem else {}
    return {
        **_with_server_fields(file),
        **why,
        "object": "file",
        "status": reading.state if reading is not None else FileReading.State.PROCESSING.value,
        "url": f"{settings.PUBLIC_BASE_URL}/file/{file.pk}/content",
    }


def _with_server_fields(row: Squad | StoredResource) -> dict[str, Any]:
    return {
        "id": str(row.pk),
        "orgId": str(row.organisation_id),
        "createdAt": iso(row.created_at),
        "updatedAt": iso(row.updated_at),
        **row.document_redacted,
    }
