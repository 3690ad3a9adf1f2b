"""Rows for tests, made by plain functions with working defaults.

Every function saves at least one row and returns it; a keyword overrides any column. Rows that
belong to an organisation go to the default one unless told. Nothing here imports a test framework.
"""

from __future__ import annotations

from tests.factories.assistants import (
    make_assistant,
    make_file,
    make_resource,
    make_revision,
    make_squad,
    make_tool,
    make_voice_choice,
)
from tests.factories.base import (
    default_organisation,
    make_api_key,
    make_audit_entry,
    make_job,
    make_organisation,
    make_staff,
    make_superuser,
    make_user,
    phone_e164,
    sid,
)
from tests.factories.call_logs import (
    make_imported_call,
    make_log_import,
    make_log_piece,
    make_shim,
    make_shim_record,
)
from tests.factories.calls import (
    make_call,
    make_control,
    make_redaction_rule,
    make_silent_host,
    make_talk,
    make_tool_check,
    make_tool_exchange,
    make_tool_invocation,
    make_turn,
)
from tests.factories.events import make_attempt, make_destination, make_event
from tests.factories.forecasts import make_forecast, make_guardrail
from tests.factories.guards import (
    make_guard,
    make_guard_limits,
    make_incident,
    make_notice,
    make_notice_receiver,
)
from tests.factories.leaving import make_departed_number, make_departure, make_old_rate
from tests.factories.moves import make_change, make_handover, make_move, make_old_stack
from tests.factories.parity import (
    make_caller_clip,
    make_critical_marks,
    make_parity_call,
    make_run,
    make_run_dial,
    make_scenario,
    make_shadow_call,
    make_shadow_switch,
)
from tests.factories.plans import make_plan, make_plan_entry
from tests.factories.readiness import (
    make_acceptance,
    make_account_facts,
    make_model_limit,
    make_readiness,
)
from tests.factories.recordings import make_recording, make_removal
from tests.factories.telephony import (
    make_account,
    make_carrier_check,
    make_clip,
    make_connection,
    make_desk,
    make_firing,
    make_missed_call,
    make_net,
    make_number,
    make_policy,
    make_refusal,
    make_wording,
)

__all__ = [
    "default_organisation",
    "make_acceptance",
    "make_account",
    "make_account_facts",
    "make_api_key",
    "make_assistant",
    "make_attempt",
    "make_audit_entry",
    "make_call",
    "make_caller_clip",
    "make_carrier_check",
    "make_change",
    "make_clip",
    "make_connection",
    "make_control",
    "make_critical_marks",
    "make_departed_number",
    "make_departure",
    "make_desk",
    "make_destination",
    "make_event",
    "make_file",
    "make_firing",
    "make_forecast",
    "make_guard",
    "make_guard_limits",
    "make_guardrail",
    "make_handover",
    "make_imported_call",
    "make_incident",
    "make_job",
    "make_log_import",
    "make_log_piece",
    "make_missed_call",
    "make_model_limit",
    "make_move",
    "make_net",
    "make_notice",
    "make_notice_receiver",
    "make_number",
    "make_old_rate",
    "make_old_stack",
    "make_organisation",
    "make_parity_call",
    "make_plan",
    "make_plan_entry",
    "make_policy",
    "make_readiness",
    "make_recording",
    "make_redaction_rule",
    "make_refusal",
    "make_removal",
    "make_resource",
    "make_revision",
    "make_run",
    "make_run_dial",
    "make_scenario",
    "make_shadow_call",
    "make_shadow_switch",
    "make_shim",
    "make_shim_record",
    "make_silent_host",
    "make_squad",
    "make_staff",
    "make_superuser",
    "make_talk",
    "make_tool",
    "make_tool_check",
    "make_tool_exchange",
    "make_tool_invocation",
    "make_turn",
    "make_user",
    "make_voice_choice",
    "make_wording",
    "phone_e164",
    "sid",
]
