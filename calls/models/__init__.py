"""State of the calls layer, one module per subject."""

from calls.models.connections import ProviderConnection, TwilioAccount
from calls.models.events import DeliveryAttempt, OutboxEvent
from calls.models.numbers import PhoneNumber
from calls.models.policy import CallPolicy, PolicyWording
from calls.models.records import Call, CallInputChunk, ToolInvocation, Turn

__all__ = [
    "Call",
    "CallInputChunk",
    "CallPolicy",
    "DeliveryAttempt",
    "OutboxEvent",
    "PhoneNumber",
    "PolicyWording",
    "ProviderConnection",
    "ToolInvocation",
    "Turn",
    "TwilioAccount",
]
