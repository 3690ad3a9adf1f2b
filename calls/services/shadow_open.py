"""A fork knocks: who it is, what hears it along, what the old stack's tools answered meanwhile.

Owns the reads and small writes while a call is heard along; each is asked for by the consumer. What
came of it is ``shadow_runs``' to store. Nothing here calls a tool: results are only looked up.
"""

from __future__ import annotations

import hmac
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

import structlog
from django.core.exceptions import ObjectDoesNotExist
from django.utils import timezone

from calls.conversation import ToolUse
from calls.media.realtime_client import Endpoint
from calls.models import Call, ParityRun, ShadowCall, ShadowSwitch, ShimRecord, ToolShim
from calls.money.rates import price_for
from calls.parity.known_results import alike_by
from calls.parity.logs.sequencing import arguments_of, outcome_of, tool_name
from calls.parity.logs.shim import kept_as_call
from calls.parity.past import PastTool
from calls.parity.shadow_delay import Legs
from calls.parity.shadow_rules import why_never
from calls.parity.shadow_values import ShadowPlan
from calls.selectors.records import tool_use_of
from calls.services.call_plan import connection_for, endpoint_for, plan_for
from calls.services.contract import ContractForbids
from calls.services.media_open import MediaRefused, MediaUnsigned
from calls.services.parity_marks import run_region
from calls.services.replay_runs import run_marks
from calls.services.replay_sessions import call_like, session_names
from calls.services.shadow_money import left_for
from calls.services.shadow_offers import shadow_token
from calls.services.shadow_switches import standing_of
from calls.telephony.child_legs import child_legs
from calls.telephony.security import stream_signature_valid
from calls.telephony.twilio_client import CarrierSilent, TwilioAccess, access_of
from voiceplatform.base.fields import DecryptionError

# A tool of the old stack may take so long; the caller hears it wait, too.
RESULT_MS: Final = 10_000
# A session lasts an hour at most (openai_realtime.md 1.4).
LONGEST_SECONDS: Final = 55 * 60
_MOST_MICROUSD: Final = 3_000_000
_MOST_RECORDS: Final = 300
_ENDS: Final = frozenset({"endCall", "transferCall", "handoff", "voicemail"})

log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class ShadowTicket:
    """Everything that hearing one call along needs.

    ``shown``: names under which tools are compared, by those of the session.
    """

    shadow_id: str
    call_id: str
    plan: ShadowPlan
    endpoint: Endpoint
    access: TwilioAccess
    shown: Mapping[str, str]


def shadow_open(*, shadow_id: str, token: str, url: str, signature: str) -> ShadowTicket:
    """Return the ticket of a fork and use its token up, in one conditional UPDATE.

    Raises:
        MediaUnsigned: wrong signature, or none.
        MediaRefused: unknown, a wrong, used or expired token, or what may not be heard any more.
    """
    row = (
        ShadowCall.objects.select_related(
            *("call__twilio_account", "call__number__policy", "call__number__connection"),
            *("call__number__organisation", "call__number__assistant__current_revision"),
            *("run__revision__assistant", "run__number__twilio_account", "run__organisation"),
        )
        .filter(pk=shadow_id)
        .first()
    )
    if row is None or row.call.number is None:
        raise MediaRefused("unknown shadow")
    account = row.call.account
    tokens = [account.auth_token, account.auth_token_secondary]
    if not stream_signature_valid(tokens, url, signature):
        raise MediaUnsigned(account)
    if not hmac.compare_digest(shadow_token(shadow_id).encode(), token.encode()):
        raise MediaRefused("wrong token")
    now = timezone.now()
    taken = ShadowCall.objects.filter(
        pk=row.pk, state=ShadowCall.State.OFFERED, token_expires_at__gt=now
    ).update(state=ShadowCall.State.HEARING, alive_at=now, begun_at=now)
    if not taken:
        raise MediaRefused("the token has been used, or has expired")
    try:
        return _ticket(row)
    except (ContractForbids, DecryptionError, ObjectDoesNotExist, _Forbidden) as error:
        ShadowCall.objects.filter(pk=row.pk, state=ShadowCall.State.HEARING).update(
            state=ShadowCall.State.NOTHING, problem=str(error)[:300], ended_at=now
        )
        raise MediaRefused(str(error)) from error


class _Forbidden(Exception):
    """What holds for the number has changed since the fork was offered."""


def _ticket(row: ShadowCall) -> ShadowTicket:
    run, call, number = row.run, row.call, row.call.number
    assert number is not None, "asked by who opens"
    switch = ShadowSwitch.objects.filter(number=number, is_on=True).first()
    never = why_never(standing_of(number, switch.notice)) if switch is not None else "it is off"
    connection = connection_for(number)
    if never or switch is None or connection is None:
        raise _Forbidden(never)
    like = call_like(run, call, connection, None)
    plan = plan_for(like, now=timezone.now())
    model = run.model or plan.model
    marks = run_marks(run, plan.tools)
    logged = {name for tool in plan.tools for name in (tool.name, tool.posted_name) if name}
    endpoint = endpoint_for(like)
    policy = number.policy
    assert policy is not None, "why_never has looked"
    return ShadowTicket(
        shadow_id=str(row.pk),
        call_id=str(call.pk),
        plan=ShadowPlan(
            call_sid=call.call_sid,
            account_sid=call.account.account_sid,
            config=plan.session,
            dialect=plan.dialect,
            price=price_for(model),
            alike=alike_by(marks, run_region(run)),
            ends=frozenset(tool.name for tool in plan.tools if tool.kind in _ENDS),
            names=session_names(logged, plan.tools),
            notice=switch.notice if policy.recording_consent == "notice" else "",
            result_ms=RESULT_MS if _is_recorded(run) else 0,
            most_microusd=min(_MOST_MICROUSD, int(left_for(row) * 1_000_000)),
            most_ms=min(number.max_call_seconds, LONGEST_SECONDS) * 1000,
        ),
        endpoint=Endpoint(
            url=endpoint.url,
            dialect=endpoint.dialect,
            model=model,
            api_key=endpoint.api_key,
            safety_identifier=endpoint.safety_identifier,
        ),
        access=access_of(call.account),
        shown={tool.name: tool_name(tool.posted_name or tool.name) for tool in plan.tools},
    )


def _is_recorded(run: ParityRun) -> bool:
    """Tell whether a recording address stands before a tool server of the organisation."""
    rows = ToolShim.objects.filter(organisation=run.organisation_id, stopped_at__isnull=True)
    return rows.filter(records_until__gt=timezone.now()).exists()


def shadow_goes_on(shadow_id: str) -> bool:
    """Note that a call is heard along still; False when it is to end: cancelled or switched off."""
    rows = ShadowCall.objects.filter(
        pk=shadow_id,
        state=ShadowCall.State.HEARING,
        run__state=ParityRun.State.RUNNING,
        call__number__shadow_switch__is_on=True,
    )
    # A condition over joined tables is no UPDATE's on every database.
    if not rows.exists():
        return False
    kept = ShadowCall.objects.filter(pk=shadow_id, state=ShadowCall.State.HEARING)
    return bool(kept.update(alive_at=timezone.now()))


def legs_dialled(access: TwilioAccess, call_sid: str) -> Legs | None:
    """Return whom the old stack has had dialled for a call; None where Twilio does not say."""
    try:
        return child_legs(access, call_sid)
    except CarrierSilent as error:
        log.warning("shadow_legs_unknown", call_sid=call_sid, error=str(error))
        return None


def shadow_results(call_id: str) -> list[PastTool]:
    """Return what the old stack's tools answered in a call so far, in the order of asking.

    From recording addresses: what waits to be made part of its call, and what already is.
    """
    call = Call.objects.only("pk", "call_sid", "organisation_id", "started_at").get(pk=call_id)
    found: dict[str, PastTool] = {}
    uses: list[ToolUse] = []
    records = ShimRecord.objects.filter(
        shim__organisation=call.organisation_id, received_at__gte=call.created_at
    ).order_by("-pk")
    ids = list(records.values_list("pk", flat=True)[:_MOST_RECORDS])
    for pk in reversed(ids):
        try:
            record = ShimRecord.objects.filter(pk=pk).first()
            past = kept_as_call(record.content) if record is not None else None
        except (DecryptionError, LookupError, TypeError, ValueError):
            continue
        if past is not None and past.provider_sid == call.call_sid:
            uses += past.tools
    # As the tool said it where that is still here; what became part of the call may be masked.
    uses += [tool_use_of(row) for row in call.tool_invocations.all()]
    for use in sorted(uses, key=lambda each: each.started_ms):
        if use.running or use.tool_call_id in found:
            continue
        found[use.tool_call_id] = PastTool(
            name=use.name,
            arguments=arguments_of(use),
            result=use.output,
            at_ms=use.started_ms,
            tool_call_id=use.tool_call_id,
            outcome=outcome_of(use),
        )
    return list(found.values())
