"""State of the calls layer, one module per subject."""

from calls.models.call_logs import CallLogImport, CallLogPiece, ImportedCall
from calls.models.changes import NumberChange
from calls.models.clips import RenderedClip
from calls.models.connections import ProviderConnection, TwilioAccount
from calls.models.events import DeliveryAttempt, EventDestination, OutboxEvent
from calls.models.forecasts import CostForecast, GuardrailProposal
from calls.models.guards import GuardLimits, Incident, IncidentCall, NumberGuard
from calls.models.handoffs import AssistantActivation
from calls.models.handovers import CallHandover, OldStack
from calls.models.leaving import DepartedNumber, Departure, OldStackRate
from calls.models.live import CallControl
from calls.models.live_runs import CallerClip, RunDial
from calls.models.moves import NumberMove
from calls.models.nets import NetFiring, NumberNet
from calls.models.notices import Notice, NoticeReceiver
from calls.models.numbers import PhoneNumber
from calls.models.operators import OperatorDesk
from calls.models.parity import CriticalMarks, ParityCall, ParityRun, ParityScenario
from calls.models.plans import MigrationPlan, PlanEntry, PlanNumber
from calls.models.policy import CallPolicy, PolicyWording
from calls.models.privacy import Erasure, RedactionRule, RetentionRule
from calls.models.readiness import AccountFacts, AudibleAcceptance, ModelLimit, NumberReadiness
from calls.models.reconciler import CarrierCheck, MissedCall
from calls.models.recordings import Recording, RecordingRemoval
from calls.models.records import Call, CallInputChunk, ToolInvocation, Turn
from calls.models.refusals import RefusedRequest
from calls.models.shadows import ShadowCall, ShadowSwitch
from calls.models.shims import ShimRecord, ToolShim
from calls.models.talks import Talk
from calls.models.tool_records import SilentHost, ToolCheck, ToolExchange

__all__ = [
    "AccountFacts",
    "AssistantActivation",
    "AudibleAcceptance",
    "Call",
    "CallControl",
    "CallHandover",
    "CallInputChunk",
    "CallLogImport",
    "CallLogPiece",
    "CallPolicy",
    "CallerClip",
    "CarrierCheck",
    "CostForecast",
    "CriticalMarks",
    "DeliveryAttempt",
    "DepartedNumber",
    "Departure",
    "Erasure",
    "EventDestination",
    "GuardLimits",
    "GuardrailProposal",
    "ImportedCall",
    "Incident",
    "IncidentCall",
    "MigrationPlan",
    "MissedCall",
    "ModelLimit",
    "NetFiring",
    "Notice",
    "NoticeReceiver",
    "NumberChange",
    "NumberGuard",
    "NumberMove",
    "NumberNet",
    "NumberReadiness",
    "OldStack",
    "OldStackRate",
    "OperatorDesk",
    "OutboxEvent",
    "ParityCall",
    "ParityRun",
    "ParityScenario",
    "PhoneNumber",
    "PlanEntry",
    "PlanNumber",
    "PolicyWording",
    "ProviderConnection",
    "Recording",
    "RecordingRemoval",
    "RedactionRule",
    "RefusedRequest",
    "RenderedClip",
    "RetentionRule",
    "ShadowCall",
    "ShadowSwitch",
    "RunDial",
    "ShimRecord",
    "SilentHost",
    "Talk",
    "ToolCheck",
    "ToolExchange",
    "ToolInvocation",
    "ToolShim",
    "Turn",
    "TwilioAccount",
]
