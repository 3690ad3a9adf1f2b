"""What is wrong with the route that an operator is about to set: the field, the cause, the fix.

Owns the rules of a route's settings, for the form, the preview and the readiness page; it decides
nothing about a call (``route`` copes with every setting) and says nothing of what the number lacks
beyond it. Pure.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final, Literal

from calls.numbers.hours import zone_of
from calls.numbers.old_stack import MOST_MS, PATIENCE_MS, attempt_ms
from calls.numbers.schedule import Schedule

# What is left of Twilio's patience for our own answer (twilio.md 1.3).
OWN_ANSWER_MS: Final = 1_000
# Twilio's read timeout when the address does not say another (twilio.md 1.3).
TWILIO_READ_MS: Final = 15_000

# ``error``: the setting cannot be taken. ``warning``: it can, and will not do what it seems to.
Weight = Literal["error", "warning"]
# What Twilio asks for a call of the number, by precedence (twilio.md 5.2).
Kind = Literal["trunk", "app", "url", "none"]
ROUTES: Final = ("vapi", "canary", "direct", "paused")


@dataclass(frozen=True, slots=True)
class RouteSettings:
    """A route as it would be, with what its rules depend on.

    Attributes:
        has_previous_url: it is known where the calls went before, and that is not ourselves.
        kind: how the number was configured before it was moved.
        old_fixed: the old stack's number has an assistant of its own and asks no server first.
        webhook_ms: how long Twilio waits for our answer, by the number's voice address.
    """

    route: str
    canary_percent: int = 0
    schedule: Schedule | None = None
    policy_reviewed: bool = True
    blocked: str = ""
    has_previous_url: bool = True
    kind: Kind = "url"
    old_fixed: bool = True
    qualified: bool = False
    patience_ms: int = PATIENCE_MS
    webhook_ms: int = TWILIO_READ_MS


@dataclass(frozen=True, slots=True)
class Problem:
    """One thing that is wrong, in words for ops staff."""

    field: str
    weight: Weight
    cause: str
    fix: str


def route_problems(settings: RouteSettings) -> tuple[Problem, ...]:
    """Return what is wrong with a route's settings, errors first; empty when nothing is."""
    found = [
        *_of_route(settings),
        *_of_share(settings),
        *_of_schedule(settings),
        *_of_patience(settings),
    ]
    return tuple(sorted(found, key=lambda problem: problem.weight != "error"))


def _routes(settings: RouteSettings) -> set[str]:
    """Return every route that may hold at some time of the week."""
    outside: set[str] = {settings.schedule.outside} if settings.schedule is not None else set()
    return {settings.route} | (outside if settings.route != "paused" else set())


def _of_route(settings: RouteSettings) -> Iterator[Problem]:
    routes = _routes(settings)
    for route in sorted(routes - set(ROUTES)):
        cause = f"“{route[:20]}” is no route."
        yield Problem("route", "error", cause, f"Choose one of {', '.join(ROUTES)}.")
    leaves = bool(routes & {"canary", "direct"})
    if leaves and settings.blocked:
        fix = "Remove what blocks it, or leave the route at vapi."
        yield Problem("route", "error", f"The number is blocked: {settings.blocked}.", fix)
    if leaves and not settings.policy_reviewed:
        cause = "The number's call policy has not been reviewed, and until then it stays with Vapi."
        yield Problem("policy", "error", cause, "Open the policy, check it and mark it reviewed.")
    if settings.kind == "trunk" and "canary" in routes:
        cause = (
            "The number is on a SIP trunk: Twilio asks nobody who answers, and calls cannot be "
            "handed back one by one (twilio.md 5.2)."
        )
        fix = "Choose vapi or direct; the move takes it off the trunk, the restore puts it back."
        yield Problem("route", "error", cause, fix)
    elif routes & {"canary", "vapi"} and not settings.has_previous_url and settings.kind != "trunk":
        cause = "It is not known where the number's calls went before, so none can be handed back."
        fix = "Read the number from Twilio or enter its previous voice URL, or choose direct."
        weight: Weight = "error" if "canary" in routes else "warning"
        yield Problem("previous_voice_url", weight, cause, fix)


def _of_share(settings: RouteSettings) -> Iterator[Problem]:
    percent = settings.canary_percent
    if not 0 <= percent <= 100:
        yield Problem("canary_percent", "error", f"{percent}% is no share.", "Enter 0 to 100.")
    elif "canary" in _routes(settings) and percent in {0, 100}:
        who = "no caller" if percent == 0 else "every caller"
        instead = "vapi" if percent == 0 else "direct"
        cause = f"A canary of {percent}% is {who}."
        fix = f"Enter 1 to 99, or choose {instead} if that is meant."
        yield Problem("canary_percent", "warning", cause, fix)


def _of_schedule(settings: RouteSettings) -> Iterator[Problem]:
    plan = settings.schedule
    if plan is None:
        return
    if zone_of(plan.zone) is None:
        cause = f"The time zone “{plan.zone[:40]}” is not known, so no window would ever open."
        yield Problem("zone", "error", cause, "Enter a name such as Europe/Berlin.")
    if not any(plan.windows):
        cause = f"The schedule has no windows, so the route is always {plan.outside}."
        fix = "Enter a window such as 09:00-17:00, or remove the schedule."
        yield Problem("windows", "warning", cause, fix)
    if settings.route == plan.outside:
        cause = f"The route is {plan.outside} inside the windows and outside them."
        fix = "Choose another route for outside, or remove the schedule."
        yield Problem("outside", "warning", cause, fix)
    if settings.route == "paused":
        cause = "A paused number is paused at all times, whatever its schedule says."
        yield Problem("route", "warning", cause, "Choose the route that holds inside the windows.")


def _of_patience(settings: RouteSettings) -> Iterator[Problem]:
    """Find hand-overs that Twilio would not wait for, or that the old stack could not make."""
    if settings.kind == "trunk" or not _routes(settings) & {"canary", "vapi"}:
        return
    if settings.patience_ms < 1 or settings.patience_ms > TWILIO_READ_MS:
        cause = f"The old stack cannot be waited for {settings.patience_ms} ms: Twilio gives up."
        fix = f"Enter 1 to {MOST_MS} ms; {PATIENCE_MS} is usual."
        yield Problem("patience_ms", "error", cause, fix)
    elif settings.old_fixed and settings.patience_ms > MOST_MS:
        cause = (
            f"Twilio leaves a site of ours that hangs within 6 s, so the old stack is waited for "
            f"{MOST_MS} ms and not {settings.patience_ms}."
        )
        yield Problem("patience_ms", "warning", cause, f"Enter {MOST_MS} ms or less.")
    waits_ms = attempt_ms(
        has_net=settings.qualified or settings.route == "canary",
        fixed_assistant=settings.old_fixed,
        patience_ms=settings.patience_ms,
    )
    needs_ms = waits_ms + OWN_ANSWER_MS
    if settings.webhook_ms < needs_ms:
        cause = (
            f"Twilio waits {settings.webhook_ms} ms for our answer, and a hand-over may take "
            f"{needs_ms} ms: the fallback address would be asked while the old stack answers."
        )
        fix = "Put the number back and move it here again, which writes its voice address anew."
        yield Problem("webhook_ms", "warning", cause, fix)
