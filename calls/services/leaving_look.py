"""Gathers what the rules of leaving Vapi look at: rows, Twilio's settings, Vapi's account.

Owns the questions to Twilio and Vapi; both are read and never written. What the answers mean is
``calls.numbers.leaving``'s to say. Asks outside of any transaction.
"""

from __future__ import annotations

import datetime as dt
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from typing import Any, Final
from urllib.parse import urlsplit

from django.conf import settings
from django.db.models import Count

from assistants.import_api import import_from_api
from assistants.vapi_api import VapiApi, VapiApiError
from calls.models import (
    Call,
    Departure,
    Incident,
    NumberMove,
    NumberNet,
    PhoneNumber,
    PlanNumber,
    Recording,
    TwilioAccount,
)
from calls.numbers.leaving import (
    LATELY,
    AtTwilio,
    Exported,
    LeavingFacts,
    LeavingNumber,
    Stranger,
    VapiAccount,
    is_at_vapi,
)
from calls.numbers.schedule import schedule_stored
from calls.numbers.switch.net import is_same_site
from calls.selectors.ended_calls import callers
from calls.selectors.numbers import number_sources
from calls.telephony.twilio_rest import NeverSent, TwilioRefused, TwilioRest, TwilioSilent
from tools.loose_json import as_text
from voiceplatform.base.fields import DecryptionError
from voiceplatform.base.models import Organisation, UnknownRoute

# How long ago a script may have asked for a route that we lack.
_SCRIPTS: Final = dt.timedelta(days=30)
_LONGEST_CALL: Final = dt.timedelta(hours=4)
_UNDERWAY: Final = (Recording.State.WANTED, Recording.State.RECORDING, Recording.State.READY)
_CHANGED: Final = frozenset({"created", "updated"})
_MOST_CHANGED: Final = 50

Progress = Callable[[int, int, str], None]


def facts_for(
    departure: Departure,
    *,
    now: dt.datetime,
    vapi: VapiApi | None = None,
    progress: Progress = lambda done, total, label: None,
    cancelled: Callable[[], bool] = lambda: False,
) -> LeavingFacts:
    """Return what depends on Vapi now: asks Twilio for every number, and Vapi where it can."""
    organisation = departure.organisation
    hosts = vapi_hosts()
    numbers = list(_numbers(organisation))
    at_twilio, strangers, unread = _at_twilio(organisation, numbers, hosts, progress)
    exported = _exported(departure)
    account, problem = _at_vapi(organisation, vapi, exported, now, progress, cancelled)
    kept = [_kept(each.document_redacted) for each in number_sources(organisation)[1]]
    return LeavingFacts(
        now=now,
        numbers=_number_facts(numbers, at_twilio, now),
        strangers=(*strangers, *kept),
        unread=unread,
        live_at_vapi=_handed(organisation)
        .exclude(status=Call.Status.ENDED)
        .filter(created_at__gte=now - _LONGEST_CALL)
        .count(),
        recordings_underway=Recording.objects.for_organisation(organisation)
        .filter(state__in=_UNDERWAY)
        .count(),
        unknown_routes=_unknown_routes(organisation, now),
        vapi=account,
        vapi_problem=problem,
        exported=exported,
        vapi_hosts=hosts,
    )


def vapi_hosts() -> frozenset[str]:
    """Return where Vapi's API is by the settings, if that is not Vapi's own domain."""
    place = urlsplit(settings.VAPI_BASE_URL).netloc.rpartition("@")[2].lower()
    return frozenset({place}) if place else frozenset()


def _numbers(organisation: Organisation) -> Iterable[PhoneNumber]:
    rows = PhoneNumber.objects.for_organisation(organisation).select_related("twilio_account")
    return rows.defer("previous_target").order_by("number_e164")


def _number_facts(
    numbers: list[PhoneNumber], at_twilio: Mapping[Any, AtTwilio], now: dt.datetime
) -> list[LeavingNumber]:
    pks = [number.pk for number in numbers]
    handed: dict[Any, dict[str, int]] = {}
    rows = (
        callers()
        .filter(number__in=pks, stack=Call.Stack.VAPI, created_at__gte=now - LATELY)
        .order_by()
        .values_list("number", "route_code")
        .annotate(count=Count("pk"))
    )
    for pk, code, count in rows:
        handed.setdefault(pk, {})[code or "not recorded"] = count
    work = _open_work(pks)
    nets = _nets(pks)
    return [
        _number(each, at_twilio.get(each.pk), handed.get(each.pk, {}), nets, work.get(each.pk, ()))
        for each in numbers
    ]


def _number(
    number: PhoneNumber,
    live: AtTwilio | None,
    handed: Mapping[str, int],
    nets: Mapping[Any, NumberNet | None],
    work: tuple[str, ...],
) -> LeavingNumber:
    plan = schedule_stored(number.schedule)
    address, problem = _second_site(number.pk, nets)
    return LeavingNumber(
        label=number.number_e164,
        route=number.route,
        canary_percent=number.canary_percent,
        outside=plan.outside if plan is not None else "",
        handed=handed,
        second_site=address,
        second_problem=problem,
        at_twilio=live,
        open_work=work,
    )


def _nets(pks: list[Any]) -> dict[Any, NumberNet | None]:
    """Return the nets by number; None for one that no key opens, which must not hide the rest."""
    found: dict[Any, NumberNet | None] = {}
    for pk in NumberNet.objects.filter(number__in=pks).values_list("number", flat=True):
        try:
            found[pk] = NumberNet.objects.get(number=pk)
        except DecryptionError:
            found[pk] = None
    return found


def _second_site(pk: Any, nets: Mapping[Any, NumberNet | None]) -> tuple[str, str]:
    if pk not in nets:
        return "", ""
    net = nets[pk]
    if net is None:
        return "unreadable", "no key opens what is stored of it"
    return net.address, address_problem(net)


def address_problem(net: NumberNet) -> str:
    """Return why the address of a net cannot be relied on without Vapi, '' when it can."""
    if is_at_vapi(net.address, vapi_hosts()):
        return "it lies at Vapi"
    if is_same_site(net.address, settings.PUBLIC_BASE_URL):
        return "it is this site itself"
    if net.address_state == NumberNet.Address.FAILS:
        return net.address_words or "it did not answer when it was last looked at"
    return ""


def _open_work(pks: list[Any]) -> dict[Any, tuple[str, ...]]:
    found: dict[Any, tuple[str, ...]] = {}
    open_incidents = Incident.objects.filter(number__in=pks, closed_at__isnull=True)
    open_moves = NumberMove.objects.filter(number__in=pks, finished_at__isnull=True)
    on_plans = PlanNumber.objects.filter(number__in=pks, holds=True)
    for rows, words in (
        (open_moves, "a move is open"),
        (open_incidents, "an incident is open"),
        (on_plans, "a plan that is on has it"),
    ):
        for pk in rows.values_list("number", flat=True):
            found[pk] = (*found.get(pk, ()), words)
    return found


def _at_twilio(
    organisation: Organisation,
    numbers: list[PhoneNumber],
    hosts: frozenset[str],
    progress: Progress,
) -> tuple[dict[Any, AtTwilio], list[Stranger], list[tuple[str, str]]]:
    found: dict[Any, AtTwilio] = {}
    strangers: list[Stranger] = []
    unread: list[tuple[str, str]] = []
    accounts = list(TwilioAccount.objects.for_organisation(organisation).order_by("name"))
    for place, account in enumerate(accounts):
        progress(place, len(accounts), "Asking Twilio")
        ours = {each.number_e164: each for each in numbers if each.twilio_account_id == account.pk}
        try:
            rest = TwilioRest(account)
            apps: dict[str, Mapping[str, Any]] = {}
            for resource in rest.numbers():
                live = _addresses(rest, resource, apps)
                number = ours.get(as_text(resource.get("phone_number")))
                if number is not None:
                    found[number.pk] = live
                elif is_at_vapi(live.voice_url, hosts):
                    strangers.append(Stranger(as_text(resource.get("phone_number")), "at_twilio"))
        except (TwilioSilent, TwilioRefused, NeverSent, ValueError) as error:
            unread.append((str(account), str(error)))
    return found, strangers, unread


def _addresses(
    rest: TwilioRest, resource: Mapping[str, Any], apps: dict[str, Mapping[str, Any]]
) -> AtTwilio:
    """Return what decides: an app's voice fields go before the number's (twilio.md 5.2)."""
    voice = resource
    sid = as_text(resource.get("voice_application_sid"))
    if sid:
        if sid not in apps:
            apps[sid] = rest.application(sid)
        voice = apps[sid]
    return AtTwilio(
        voice_url=as_text(voice.get("voice_url")),
        voice_fallback_url=as_text(voice.get("voice_fallback_url")),
        status_callback=as_text(voice.get("status_callback")),
        sms_url=as_text(resource.get("sms_url")),
        sms_fallback_url=as_text(resource.get("sms_fallback_url")),
        is_on_trunk=bool(resource.get("trunk_sid")),
    )


def _kept(document: Any) -> Stranger:
    shown = document if isinstance(document, Mapping) else {}
    label = as_text(shown.get("number")) or as_text(shown.get("sipUri")) or "a number without one"
    return Stranger(label, "vapi_owned" if shown.get("provider") == "vapi" else "kept")


def _handed(organisation: Organisation) -> Any:
    return Call.objects.for_organisation(organisation).filter(stack=Call.Stack.VAPI)


def _unknown_routes(organisation: Organisation, now: dt.datetime) -> list[tuple[str, int]]:
    rows = UnknownRoute.objects.for_organisation(organisation).filter(last_at__gte=now - _SCRIPTS)
    return [
        (f"{method} {route}", count)
        for method, route, count in rows.order_by("-count").values_list("method", "route", "count")
    ]


def _exported(departure: Departure) -> Exported | None:
    if departure.exported_at is None:
        return None
    said = departure.export
    return Exported(
        at=departure.exported_at,
        vapi_calls=said.get("vapi_calls"),
        missing=int(said.get("missing", 0)),
        is_verified=bool(said.get("digest")),
    )


def _at_vapi(
    organisation: Organisation,
    vapi: VapiApi | None,
    exported: Exported | None,
    now: dt.datetime,
    progress: Progress,
    cancelled: Callable[[], bool],
) -> tuple[VapiAccount | None, str]:
    if vapi is None:
        return None, ""
    report = import_from_api(
        organisation=organisation,
        client=vapi,
        actor=None,
        source="leaving",
        dry_run=True,
        progress=lambda done, total, label: progress(done, total, "Comparing with Vapi"),
        cancelled=cancelled,
    )
    if report.problem or report.is_cancelled:
        return None, report.problem or "it was cancelled"
    changed = [f"{e.kind} {e.name or e.object_id}" for e in report.results if e.outcome in _CHANGED]
    lately: Counter[str] = Counter()
    newest: dt.datetime | None = None
    since_export = 0
    first = min(now - LATELY, exported.at if exported is not None else now)
    try:
        for row in vapi.objects("call"):
            at = _moment(row.get("createdAt"))
            if at is None or at < first:
                break  # newest first
            newest = newest or at
            if at >= now - LATELY:
                lately[as_text(row.get("type")) or "call"] += 1
            since_export += exported is not None and at > exported.at
    except VapiApiError as error:
        return None, str(error)
    return VapiAccount(tuple(changed[:_MOST_CHANGED]), since_export, dict(lately), newest), ""


def _moment(value: Any) -> dt.datetime | None:
    try:
        found = dt.datetime.fromisoformat(as_text(value).replace("Z", "+00:00"))
    except ValueError:
        return None
    return found if found.tzinfo else found.replace(tzinfo=dt.UTC)
