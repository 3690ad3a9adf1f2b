"""Who answers a number: the one place where a route is changed, previewed and recorded.

Owns the order of it: the row is locked, the order is judged by ``route_problems``, and route,
``NumberChange`` and audit entry are stored together. Whoever changes a route (a person, a plan, the
guard, a move) comes here. Nothing here asks Twilio, and no call is decided.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final
from uuid import UUID

from django.db import transaction
from django.utils import timezone

from assistants.selectors import NUMBER_KIND, resource_list
from calls.models import NumberChange, NumberNet, PhoneNumber
from calls.numbers.hours import HoursError
from calls.numbers.old_stack import DYNAMIC_MS, MOST_MS
from calls.numbers.route_problems import Problem, RouteSettings, route_problems
from calls.numbers.schedule import Schedule, schedule_of, schedule_stored
from calls.numbers.switch.net import overrides_for
from calls.numbers.switch.voice import Kind, Target
from calls.services.call_plan import connection_for
from calls.services.contract import contract_problem
from calls.services.previous_targets import previous_of, target_json, target_known
from calls.services.server_messages.targets import number_asks
from voiceplatform.base.services import actor_label, audit_write

# The column of a voice URL takes as much; a longer one is in ``previous_target`` alone.
_URL_CHARACTERS: Final = 500
_STICKY: Final = frozenset(PhoneNumber.Sticky.values)
_STICKY_WORDS: Final = {
    "caller": "always the same ones",
    "hour": "the same ones for an hour",
    "call": "drawn anew for each call",
}


class _Keep:
    """The value of a setting that an order leaves as it is."""

    def __repr__(self) -> str:
        return "KEEP"


KEEP: Final = _Keep()


class RouteRefused(ValueError):
    """A route cannot be set; ``problems`` say which field, why, and what to do."""

    def __init__(self, problems: tuple[Problem, ...]) -> None:
        self.problems = problems
        super().__init__(" ".join(f"{each.cause} Fix: {each.fix}" for each in problems))


class RouteOvertaken(RouteRefused):
    """The route is not the one any more that the order was made for."""


@dataclass(frozen=True, slots=True)
class RouteOrder:
    """A route that somebody wants.

    Attributes:
        route: one of ``route_problems.ROUTES``.
        canary_percent: the share of a canary; 0 elsewhere leaves the stored one.
        sticky: ``caller``, ``hour`` or ``call``; '' leaves the stored one.
        schedule: a ``Schedule``, its JSON, None for none, KEEP for the stored one.
    """

    route: str
    canary_percent: int = 0
    sticky: str = ""
    schedule: Any = KEEP


@dataclass(frozen=True, slots=True)
class RoutePreview:
    """What an order would change, in words, and what is wrong with it, errors first."""

    before: str
    after: str
    problems: tuple[Problem, ...]
    version: int

    @property
    def errors(self) -> tuple[Problem, ...]:
        """Return the problems for which the order is refused."""
        return tuple(each for each in self.problems if each.weight == "error")

    @property
    def is_change(self) -> bool:
        """Tell whether callers would notice."""
        return self.before != self.after


@dataclass(frozen=True, slots=True)
class _Columns:
    route: str
    canary_percent: int
    canary_sticky: str
    schedule: dict[str, Any] | None

    def as_json(self) -> dict[str, Any]:
        return {
            "route": self.route,
            "canary_percent": self.canary_percent,
            "canary_sticky": self.canary_sticky,
            "schedule": self.schedule,
            "words": self.words(),
        }

    def words(self) -> str:
        plan = schedule_stored(self.schedule)
        said = _words(self.route, self.canary_percent, self.canary_sticky)
        if plan is None or self.route == "paused":
            return said
        outside = _words(plan.outside, self.canary_percent, self.canary_sticky)
        return f"{said} inside the windows ({plan.zone}); outside them: {outside}"


def _words(route: str, percent: int, sticky: str) -> str:
    if route == "canary":
        return f"canary {percent}%, {_STICKY_WORDS.get(sticky, sticky)}"
    return route


def route_words(number: PhoneNumber) -> str:
    """Return the number's route in words, e.g. ``canary 10%, always the same ones``."""
    return _columns_of(number).words()


def route_preview(number: PhoneNumber, order: RouteOrder) -> RoutePreview:
    """Return what an order would change on ``number`` as it stands, saved or not. No HTTP."""
    before = _columns_of(number)
    after, unreadable = _wanted(number, order)
    problems = (*unreadable, *_problems(number, after))
    problems = tuple(sorted(problems, key=lambda problem: problem.weight != "error"))
    return RoutePreview(before.words(), after.words(), problems, number.version)


def route_differs(number_id: UUID, order: RouteOrder) -> bool:
    """Tell whether an order is for another route than the stored one."""
    number = PhoneNumber.objects.get(pk=number_id)
    return _wanted(number, order)[0] != _columns_of(number)


def route_set(
    *,
    number_id: UUID,
    order: RouteOrder,
    actor: Any,
    why: str,
    kind: str = "route",
    evidence: Mapping[str, Any] | None = None,
    key: str = "",
    expected_version: int | None = None,
) -> NumberChange:
    """Set a number's route, and record who did it and why; in one transaction.

    Args:
        actor: as ``audit_write`` takes it: a user, a key, or a label such as ``guard``.
        kind: one of ``NumberChange.Kind``.
        evidence: ids and figures; never a caller's number or words.
        key: the same key again for the number changes nothing and returns the first change.
        expected_version: the version that the order was made for; None: whatever it is.

    Raises:
        RouteRefused: the order has errors.
        RouteOvertaken: the route was changed meanwhile.
        PhoneNumber.DoesNotExist: there is no such number.
    """
    with transaction.atomic():
        number: PhoneNumber = (
            PhoneNumber.objects.select_for_update(of=("self",))
            .select_related("assistant", "policy", "connection", "organisation")
            .get(pk=number_id)
        )
        if key:
            done: NumberChange | None = number.changes.filter(key=key).first()
            if done is not None:
                return done
        if expected_version is not None and expected_version != number.version:
            raise RouteOvertaken((overtaken(number, expected_version),))
        preview = route_preview(number, order)
        if preview.errors:
            raise RouteRefused(preview.errors)
        before, (after, _) = _columns_of(number), _wanted(number, order)
        number.route = after.route
        number.canary_percent = after.canary_percent
        number.canary_sticky = after.canary_sticky
        number.schedule = after.schedule
        return _changed(number, before, after, actor, why, kind, evidence, key)


def _changed(
    number: PhoneNumber,
    before: _Columns,
    after: _Columns,
    actor: Any,
    why: str,
    kind: str,
    evidence: Mapping[str, Any] | None,
    key: str,
) -> NumberChange:
    if after != before:
        number.version += 1
    number.save(
        update_fields=[
            *("route", "canary_percent", "canary_sticky", "schedule", "version", "updated_at"),
        ]
    )
    change = NumberChange.objects.create(
        organisation_id=number.organisation_id,
        number=number,
        kind=kind,
        before=before.as_json(),
        after=after.as_json(),
        who=actor_label(actor)[:200],
        why=why[:500],
        evidence=dict(evidence or {}),
        key=key,
    )
    audit_write(
        actor=actor,
        action="phonenumber.route",
        organisation=number.organisation,
        target=number,
        details={
            "before": before.words(),
            "after": after.words(),
            "why": why[:500],
            "kind": kind,
            "change": str(change.pk),
        },
    )
    return change


def overtaken(number: PhoneNumber, expected_version: int) -> Problem:
    """Return, in words, what changed of a route since it had ``expected_version``."""
    # One row for each version: the newest ones are those that whoever asks has not seen.
    behind = min(max(number.version - expected_version, 1), 3)
    found = [change for change in number.changes.all()[:10] if change.before != change.after]
    news = "; ".join(
        f"{change.who} at {change.created_at:%Y-%m-%d %H:%M} UTC: {change}"
        + (f" ({change.why})" if change.why else "")
        for change in reversed(found[:behind])
    )
    cause = f"The route was changed meanwhile: {news or route_words(number)}."
    return Problem("version", "error", cause, "Look at the number again, then decide anew.")


def qualify(*, number: PhoneNumber, is_qualified: bool, actor: Any, why: str) -> None:
    """Say whether the number's assistant may answer in the old stack's place when that is down."""
    with transaction.atomic():
        row = PhoneNumber.objects.select_for_update(of=("self",)).get(pk=number.pk)
        if (row.qualified_at is not None) == is_qualified:
            return
        row.qualified_at = timezone.now() if is_qualified else None
        row.qualified_by = actor_label(actor)[:200] if is_qualified else ""
        row.save(update_fields=["qualified_at", "qualified_by", "updated_at"])
        audit_write(
            actor=actor,
            action="phonenumber.qualify" if is_qualified else "phonenumber.disqualify",
            organisation=row.organisation,
            target=row,
            details={"why": why[:500]},
        )
    number.qualified_at, number.qualified_by = row.qualified_at, row.qualified_by


def previous_set(number: PhoneNumber, target: Target | None) -> None:
    """Store where the number's calls went before; None: that is not known.

    Call it in the transaction of what made it known: a snapshot, an import, a person's entry.
    """
    number.previous_target = None if target is None else target_json(target)
    url = target.url if target is not None else ""
    number.previous_voice_url = url if len(url) <= _URL_CHARACTERS else ""
    number.save(update_fields=["previous_target", "previous_voice_url", "updated_at"])


def kind_of(number: PhoneNumber) -> Kind:
    """Return what answered the number's calls before: trunk, app, url, or none that is known."""
    target = target_known(number)
    return target.kind if target is not None else "none"


def blocked_of(number: PhoneNumber) -> str:
    """Return why the number's calls may not come here at all, '' when they may.

    What Vapi's export says of the same number counts: one that Vapi owns, or that another carrier
    brings, is not moved by an address at Twilio.
    """
    if number.organisation_id is None:
        return ""
    rows = resource_list(number.organisation, NUMBER_KIND).exclude(pk=number.pk)
    same = rows.filter(document_redacted__number=number.number_e164)
    for document in same.values_list("document_redacted", flat=True)[:5]:
        provider = str(document.get("provider") or "twilio")
        if provider == "vapi":
            return "Vapi owns it, and only a port or a forwarding moves its calls"
        if provider != "twilio":
            return f"Vapi's export says that its calls come from {provider}, not from Twilio"
    return ""


def settings_of(number: PhoneNumber, after: _Columns | None = None) -> RouteSettings:
    """Return a number's route settings, with what their rules depend on."""
    columns = after or _columns_of(number)
    policy = number.policy
    return RouteSettings(
        route=columns.route,
        canary_percent=columns.canary_percent,
        schedule=schedule_stored(columns.schedule),
        policy_reviewed=policy is not None and policy.reviewed_at is not None,
        blocked=blocked_of(number) if _leaves(columns) else "",
        has_previous_url=bool(previous_of(number).voice),
        kind=kind_of(number),
        old_fixed=not number.previous_asks,
        qualified=number.qualified_at is not None,
        patience_ms=number.patience_ms,
        webhook_ms=_webhook_ms(number),
    )


def slowest_answer_ms(number: PhoneNumber) -> int:
    """Return how long our answer to Twilio may take at most, on whatever route the number is.

    Who writes the number's voice address makes Twilio wait as long (``switch.net.overrides_for``),
    and nobody writes it again when the route changes. Slow is a server that is asked who answers,
    by Vapi or by us (vapi.md 5.3).
    """
    return DYNAMIC_MS if number.previous_asks or number_asks(number) else MOST_MS


def _webhook_ms(number: PhoneNumber) -> int:
    """Return how long Twilio waits for us: as last seen there, else as a move would write it."""
    nets = NumberNet.objects.filter(number=number.pk)
    seen = nets.values_list("hanging_ms", flat=True).first()
    return seen or overrides_for(slowest_answer_ms(number)).read_ms


def _leaves(columns: _Columns) -> bool:
    plan = schedule_stored(columns.schedule)
    routes = {columns.route, plan.outside} if plan is not None else {columns.route}
    return columns.route != "paused" and bool(routes & {"canary", "direct"})


def _columns_of(number: PhoneNumber) -> _Columns:
    return _Columns(
        route=str(number.route),
        canary_percent=number.canary_percent,
        canary_sticky=str(number.canary_sticky),
        schedule=number.schedule,
    )


def _wanted(number: PhoneNumber, order: RouteOrder) -> tuple[_Columns, tuple[Problem, ...]]:
    """Return the columns that an order makes, and what of it cannot be read."""
    problems: list[Problem] = []
    schedule = number.schedule
    if isinstance(order.schedule, Schedule):
        schedule = order.schedule.as_json()
    elif order.schedule is None:
        schedule = None
    elif isinstance(order.schedule, Mapping):
        try:
            schedule = schedule_of(order.schedule).as_json()
        except HoursError as error:
            cause, _, fix = str(error).partition(" Fix: ")
            problems.append(Problem("schedule", "error", cause, fix or "Correct the schedule."))
    elif order.schedule is not KEEP:
        cause = "The schedule is none."
        problems.append(Problem("schedule", "error", cause, "Enter windows, or remove it."))
    sticky = order.sticky or str(number.canary_sticky)
    if sticky not in _STICKY:
        cause = f"“{sticky[:20]}” says nothing about how long a caller stays on a stack."
        fix = f"Choose one of {', '.join(sorted(_STICKY))}."
        problems.append(Problem("sticky", "error", cause, fix))
        sticky = str(number.canary_sticky)
    names_share = order.route == "canary" or order.canary_percent
    percent = order.canary_percent if names_share else number.canary_percent
    return _Columns(order.route, percent, sticky, schedule), tuple(problems)


def _problems(number: PhoneNumber, after: _Columns) -> tuple[Problem, ...]:
    found = list(route_problems(settings_of(number, after)))
    if _leaves(after):
        found += _lacks(number)
    return tuple(found)


def _lacks(number: PhoneNumber) -> list[Problem]:
    """Return what the number lacks for us to answer at all."""
    found: list[Problem] = []
    assistant = number.assistant
    if number.squad_id is not None:
        pass  # its first member answers, whose revision is made with the squad's
    elif assistant is None:
        if not number_asks(number):
            cause = "Nobody would answer: the number has no assistant."
            fix = "Choose one, or give the number a server that names an assistant for each call."
            found.append(Problem("assistant", "error", cause, fix))
    elif assistant.current_revision_id is None:
        cause = f"Nobody would answer: {assistant.name} has no published revision."
        found.append(Problem("assistant", "error", cause, "Publish it, or choose another one."))
    connection = connection_for(number)
    if connection is None:
        cause = "There is no connection to a model: none on the number and no default."
        found.append(Problem("connection", "error", cause, "Choose one, or make one the default."))
    elif problem := contract_problem(number, connection):
        cause = f"The model connection may not be used: {problem}."
        found.append(Problem("connection", "error", cause, "Choose another connection."))
    return found
