"""What calls and phone numbers look like over REST: Vapi's shapes (vapi.md 6.3, 6.5, 7.1).

The objects are those of ``calls.services``, which webhooks use too; here stands what REST checks
coming in and what it leaves out.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from rest_framework import exceptions, serializers

from assistants.resource_serializers import AnyObject, Id
from calls.models import Call
from calls.services.number_documents import PROVIDERS
from calls.services.vapi_objects import artifact_object, call_object
from tools.serializers import ServerShape
from voiceplatform.base.rest import Choice, Flag, Shape, Text

# What each provider's object cannot do without, beside the discriminator (the SDK's create types).
_NEEDED = {
    "twilio": ("number", "twilioAccountSid"),
    "vonage": ("number", "credentialId"),
    "telnyx": ("number", "credentialId"),
    "byo-phone-number": ("credentialId",),
}


class NumberShape(Shape):
    """The fields of a phone number that the platform works with, of every provider."""

    provider = Choice(PROVIDERS, allow_null=False)
    name = Text(max_length=40)
    number = Text(max_length=40)
    assistantId = Id()
    squadId = Id()
    credentialId = Id()
    twilioAccountSid = Text(max_length=34)
    twilioAuthToken = Text()
    twilioApiKey = Text()
    twilioApiSecret = Text()
    smsEnabled = Flag()
    server = ServerShape(required=False, allow_null=True)
    fallbackDestination = AnyObject(required=False, allow_null=True)
    hooks = serializers.ListField(required=False, allow_null=True)


class NewNumberShape(NumberShape):
    """A number to be made: the discriminator is required."""

    provider = Choice(PROVIDERS, required=True, allow_null=False)


def check_number(document: Mapping[str, Any]) -> None:
    """Check that a whole number has what its provider needs.

    Raises:
        ValidationError: with a sentence for each field that is missing.
    """
    needed = _NEEDED.get(str(document.get("provider")), ())
    missing = [f"{name} must be a string" for name in needed if not document.get(name)]
    if missing:
        raise exceptions.ValidationError(missing)


class CallPatchShape(Shape):
    """What of a call can be changed."""

    name = Text(max_length=40)


def call_json(
    call: Call, *, with_artifact: bool, with_control: bool = False, name: str = ""
) -> dict[str, Any]:
    """Return the call as Vapi shows it; what was said only with ``with_artifact``.

    An address opens what the key alone does not, so each is shown to keys that may do the same.
    """
    document = call_object(call)
    allowed = {"listenUrl": with_artifact, "controlUrl": with_control}
    monitor = document.pop("monitor", {})
    monitor = {name: url for name, url in monitor.items() if allowed.get(name)}
    if monitor:
        document["monitor"] = monitor
    if name:
        document["name"] = name
    if with_artifact:
        document["artifact"] = artifact_object(call)
        document["analysis"] = call.analysis or {}
    return document
