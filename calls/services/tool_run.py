"""Runs one function call of the model. No tool server can be called in this version."""

from __future__ import annotations

from calls.bridge.effects import DispatchTool
from calls.bridge.plan import CallPlan
from calls.models import Call
from calls.telephony.twilio_client import TwilioAccess
from tools.spec import ToolResult


async def tool_run(*, plan: CallPlan, effect: DispatchTool) -> ToolResult:
    """Answer a function call; never raises."""
    return ToolResult("This tool cannot be reached at the moment.", outcome="error")


def twilio_access_for(*, call_id: str) -> TwilioAccess:
    """Return what it takes to act on a call at Twilio."""
    account = Call.objects.select_related("twilio_account").get(pk=call_id).twilio_account
    return TwilioAccess(account.account_sid, account.auth_token, account.api_base_url)
