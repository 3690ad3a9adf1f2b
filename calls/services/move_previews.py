"""What a move of a number would change, asked of Twilio now: nothing is written anywhere.

Owns the facts that the pure judgement (``calls.numbers.switch``) is handed, and the fingerprint
that a confirmation names: it stands for all that the person was shown. Blocking; outside of
transactions.
"""

from __future__ import annotations

import hashlib
import json
from copy import copy
from dataclasses import dataclass, field
from typing import Any

from django.conf import settings

from assistants.models import StoredResource
from assistants.selectors import NUMBER_KIND
from calls.models import PhoneNumber
from calls.numbers.switch.findings import Finding, MoveFacts, findings
from calls.numbers.switch.net import Net, Overrides, net_for, overrides_for
from calls.numbers.switch.voice import (
    Application,
    Target,
    VoiceConfig,
    read,
    read_application,
    target_of,
)
from calls.numbers.switch.writes import Difference, difference, effect, here
from calls.services import move_rows
from calls.services.nets import net_address_of
from calls.services.number_routes import RouteOrder, route_preview, slowest_answer_ms
from calls.services.previous_targets import target_json
from calls.telephony.twilio_rest import TwilioRefused, TwilioRest
from voiceplatform.base.redaction_urls import redact_url


@dataclass(frozen=True, slots=True)
class MovePreview:
    """What a person sees before they confirm.

    ``fingerprint`` is what ``move_begin`` is given, so that nobody confirms what they did not see.
    """

    number_e164: str
    before: VoiceConfig | None = None
    wanted: VoiceConfig | None = None
    application: Application | None = None
    target: Target | None = None
    voice_region: str = ""
    route: str = ""
    net: Net = field(default_factory=lambda: Net("none"))
    overrides: Overrides = field(default_factory=Overrides)
    findings: tuple[Finding, ...] = ()
    differences: tuple[Difference, ...] = ()
    effect: str = ""
    fingerprint: str = ""

    @property
    def blocks(self) -> tuple[Finding, ...]:
        """Return what makes the move impossible."""
        return tuple(each for each in self.findings if each.severity == "blocks")

    @property
    def can_begin(self) -> bool:
        """Tell whether a person may confirm it."""
        return self.wanted is not None and not self.blocks


def move_preview(*, number: PhoneNumber, route: RouteOrder | None = None) -> MovePreview:
    """Ask Twilio how a number is, and say what a move here would change and what speaks against it.

    Args:
        route: what the number's route is to be; None leaves it as it is.

    Raises:
        TwilioSilent, TwilioRefused: Twilio does not say; no statement is made then.
        ValueError: the account's login or region is none, or PUBLIC_BASE_URL is no address.
    """
    account = number.twilio_account
    with TwilioRest(account) as twilio:
        resource = _resource(twilio, number)
        region = twilio.voice_region(number.number_e164) if resource is not None else ""
        before = None if resource is None else read(resource)
        application = _application(twilio, before)
    order = str(number.route if route is None else route.route)
    target = None if before is None else target_of(before, application)
    then = _as_moved(number, target)
    net = _net(number, target)
    overrides = overrides_for(slowest_answer_ms(then))
    facts = MoveFacts(
        config=before,
        application=application,
        account_sid=account.account_sid,
        account_region=account.region,
        voice_region=region,
        provider=_provider(number),
        route=order,
        net=net,
        overrides=overrides,
        our_url=settings.PUBLIC_BASE_URL,
        expected=_expected(number),
    )
    wished = route or RouteOrder(str(number.route), number.canary_percent)
    found = _sorted(
        (*findings(facts), *_route_findings(then, wished), *_hand_over_findings(target, order))
    )
    if before is None or target is None:
        return MovePreview(number.number_e164, route=order, findings=found)
    wanted = here(before, base_url=settings.PUBLIC_BASE_URL, net=net, overrides=overrides)
    return MovePreview(
        number_e164=number.number_e164,
        before=before,
        wanted=wanted,
        application=application,
        target=target,
        voice_region=region,
        route=order,
        net=net,
        overrides=overrides,
        findings=found,
        differences=difference(before, wanted, mask=redact_url),
        effect=effect(target, target_of(wanted), mask=redact_url),
        fingerprint=_fingerprint(before, wanted, application, region, order, found),
    )


def _resource(twilio: TwilioRest, number: PhoneNumber) -> dict[str, Any] | None:
    if number.twilio_sid:
        try:
            resource = twilio.number(number.twilio_sid)
        except TwilioRefused as error:
            if not error.is_gone:
                raise
        else:
            # A SID that was typed wrong must not move somebody else's number.
            if resource.get("phone_number") == number.number_e164:
                return resource
    return twilio.number_by_e164(number.number_e164)


def _application(twilio: TwilioRest, before: VoiceConfig | None) -> Application | None:
    if before is None or not before.voice_application_sid:
        return None
    try:
        return read_application(twilio.application(before.voice_application_sid))
    except (TwilioRefused, ValueError):
        return None  # the finding ``app_unknown`` asks a person


def _net(number: PhoneNumber, target: Target | None) -> Net:
    address, method = net_address_of(number)
    if target is None:
        return Net("address", address, method) if address else Net("none")
    return net_for(target, our_url=settings.PUBLIC_BASE_URL, address=address, method=method)


def _as_moved(number: PhoneNumber, target: Target | None) -> PhoneNumber:
    """Return the number as its row will be once it has come here, unsaved."""
    then = copy(number)
    if target is not None:
        then.previous_target = target_json(target)
        then.previous_voice_url = target.url
    return then


def _route_findings(number: PhoneNumber, route: RouteOrder) -> tuple[Finding, ...]:
    return tuple(
        Finding(
            code=f"route_{each.field}",
            severity="blocks" if each.weight == "error" else "note",
            field=each.field,
            cause=each.cause.rstrip("."),
            fix=each.fix.rstrip("."),
        )
        for each in route_preview(number, route).problems
    )


def _hand_over_findings(target: Target | None, route: str) -> tuple[Finding, ...]:
    """Return whether the route would leave callers to nobody, who are answered now."""
    if target is None or route != "vapi" or target.url or target.kind == "none":
        return ()
    what = "a trunk" if target.kind == "trunk" else "a TwiML app whose address is not known"
    cause = f"{what} answers its calls, so none can be handed over while it rings, and with the "
    cause += "route vapi nobody would answer here"
    fix = "choose direct, which moves all of its calls at once, or leave the number where it is"
    return (Finding("no_hand_over", "blocks", "route", cause, fix),)


def _sorted(found: tuple[Finding, ...]) -> tuple[Finding, ...]:
    order = ("blocks", "ask", "note")
    return tuple(sorted(found, key=lambda each: order.index(each.severity)))


def _provider(number: PhoneNumber) -> str:
    # What Vapi's export said of it; a number that was entered here has none.
    kept = StoredResource.objects.filter(
        pk=number.pk, kind=NUMBER_KIND, deleted_at__isnull=True
    ).values_list("document_redacted", flat=True)
    document = kept.first()
    return str((document or {}).get("provider") or "twilio")


def _expected(number: PhoneNumber) -> VoiceConfig | None:
    """Return how the last finished way back left the number, None if there was none."""
    last = number.moves.filter(finished_at__isnull=False).order_by("-created_at").first()
    if last is None or last.direction != "back" or last.step != "done":
        return None
    return move_rows.move_of(last).wanted


def _fingerprint(
    before: VoiceConfig,
    wanted: VoiceConfig,
    application: Application | None,
    region: str,
    route: str,
    found: tuple[Finding, ...],
) -> str:
    shown = [
        before.fingerprint(),
        wanted.fingerprint(),
        repr(application and (application.sid, application.voice_url, application.voice_method)),
        region,
        route,
        [each.code for each in found],
    ]
    return hashlib.sha256(json.dumps(shown).encode()).hexdigest()
