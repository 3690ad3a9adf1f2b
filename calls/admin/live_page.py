"""The page of calls that go on now, and the list of commands that people gave to calls.

Owns who sees which of it: the page needs ``calls.watch_calls``, what is said and the caller's whole
number ``calls.view_transcript``, the buttons ``calls.control_calls``. Each call that a person is
shown the words of is audited once. Commands go through ``calls.services.live_control``.
"""

from __future__ import annotations

import uuid
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from django.contrib import admin, messages
from django.core.exceptions import PermissionDenied
from django.db.models import F, Max, QuerySet, Window
from django.http import Http404, HttpRequest, HttpResponse, HttpResponseNotAllowed, JsonResponse
from django.shortcuts import redirect
from django.template.response import TemplateResponse
from django.urls import path, reverse
from django.utils import timezone

from calls.admin.call_page import PERMISSION as READS
from calls.admin.words import STATUS_COLOURS, clock, seconds_in_words
from calls.models import Call, CallControl, ToolInvocation, Turn
from calls.services.live_control import ControlRefused, control_ask, control_wait
from calls.wire.vapi_control import ControlWireError, control_of
from voiceplatform.base.models import Organisation
from voiceplatform.base.scoped_admin import ReadOnlyAdmin, badge
from voiceplatform.base.services import audit_write

WATCHES: Final = "calls.watch_calls"
CONTROLS: Final = "calls.control_calls"
_MOST_CALLS: Final = 50
_MOST_TURNS: Final = 8
_MOST_SEEN: Final = 500
_SEEN: Final = "live_calls_seen"
_SEALED: Final = ("revision__document", "revision__server_url", "revision__server_secret")
_SPEAKERS: Final[Mapping[str, str]] = {"user": "Caller", "assistant": "Assistant", "system": "Note"}
_NOT_TAKEN: Final = (
    "Nobody has the call at this moment: it is between two connections, or has just ended. Nothing "
    "was done. Try again."
)


@dataclass(frozen=True, slots=True)
class LiveCall:
    """One call as the page shows it."""

    pk: uuid.UUID
    organisation: Organisation | None
    number: str
    caller: str
    assistant: str
    status: str
    colour: str
    since: str
    tools: Sequence[str]
    turns: Sequence[Mapping[str, str]]
    is_ours: bool


def masked(number: str) -> str:
    """Return a number of which only the last two digits can be read."""
    return f"•••• {number[-2:]}" if number.startswith("+") else "hidden" if number else "withheld"


def live_calls(user: Any) -> list[LiveCall]:
    """Return the calls that go on and that ``user`` may see, newest first."""
    reads = user.has_perm(READS)
    rows = (
        Call.objects.visible_to(user)
        .exclude(status=Call.Status.ENDED)
        .select_related("number", "revision__assistant", "organisation")
        .only(
            "organisation__name",
            *("status", "stack", "caller", "callee", "created_at", "started_at"),
            *("number__name", "number__number_e164", "revision__number"),
            "revision__assistant__name",
        )
        .order_by("-created_at")[:_MOST_CALLS]
    )
    calls = list(rows)
    ids = [call.pk for call in calls]
    tools = _by_call(
        ToolInvocation.objects.filter(call__in=ids, state=ToolInvocation.State.RUNNING)
        .only("call_id", "name")
        .order_by("id")
    )
    last = Window(Max("ordinal"), partition_by=F("call_id"))
    turns = _by_call(
        Turn.objects.filter(call__in=ids if reads else [])
        .annotate(last=last)
        .filter(ordinal__gt=F("last") - _MOST_TURNS)
        .order_by("ordinal")
    )
    return [
        LiveCall(
            pk=call.pk,
            organisation=call.organisation,
            number=(call.number.name or call.number.number_e164) if call.number else call.callee,
            caller=(call.caller or "withheld") if reads else masked(call.caller),
            assistant=str(call.revision.assistant) if call.revision else "no assistant",
            status=str(call.get_status_display()).lower(),
            colour=STATUS_COLOURS.get(call.status, "info"),
            since=_since(call),
            tools=[tool.name for tool in tools.get(call.pk, ())],
            turns=[_shown(turn) for turn in turns.get(call.pk, ()) if turn.text],
            is_ours=call.stack == Call.Stack.DIRECT and call.status != Call.Status.FORWARDING,
        )
        for call in calls
    ]


def _by_call(rows: QuerySet[Any]) -> dict[uuid.UUID, list[Any]]:
    found: dict[uuid.UUID, list[Any]] = {}
    for row in rows:
        found.setdefault(row.call_id, []).append(row)
    return found


def _since(call: Call) -> str:
    begun = call.started_at or call.created_at
    return seconds_in_words(max(0, int((timezone.now() - begun).total_seconds())))


def _shown(turn: Turn) -> dict[str, str]:
    return {
        "kind": turn.role,
        "who": _SPEAKERS.get(turn.role, turn.role),
        "at": clock(turn.started_ms),
        "text": turn.text,
    }


def live_urls(model_admin: Any) -> list[Any]:
    """Return the URLs of the page, for the admin of calls."""
    view = model_admin.admin_site.admin_view
    return [
        path("live/", view(live_page), name="calls_call_live"),
        path("live/rows/", view(live_rows), name="calls_call_live_rows"),
        path("<uuid:object_id>/control/", view(live_control), name="calls_call_control"),
    ]


def live_page(request: HttpRequest) -> HttpResponse:
    """Show the page."""
    context = {
        **admin.site.each_context(request),
        "title": "Live calls",
        "rows_url": reverse("admin:calls_call_live_rows"),
        **_context(request, fresh=True),
    }
    return TemplateResponse(request, "admin/calls/live.html", context)


def live_rows(request: HttpRequest) -> HttpResponse:
    """Answer the calls alone, for the page that is open."""
    answer = TemplateResponse(request, "admin/calls/live_rows.html", _context(request, fresh=False))
    answer["Cache-Control"] = "no-store"
    return answer


def _context(request: HttpRequest, *, fresh: bool) -> dict[str, Any]:
    if not request.user.has_perm(WATCHES):
        raise PermissionDenied
    calls = live_calls(request.user)
    reads = request.user.has_perm(READS)
    if reads:
        _audit(request, calls, fresh=fresh)
    return {
        "calls": calls,
        "may_read": reads,
        "may_control": request.user.has_perm(CONTROLS),
        "permission_to_read": READS,
        "permission_to_control": CONTROLS,
    }


def _audit(request: HttpRequest, calls: Sequence[LiveCall], *, fresh: bool) -> None:
    """Record whose words are shown; an open page records what comes new."""
    seen = [] if fresh else request.session.get(_SEEN, [])
    new = [call for call in calls if str(call.pk) not in seen]
    if not new:
        return
    request.session[_SEEN] = [*seen, *(str(call.pk) for call in new)][-_MOST_SEEN:]
    for organisation in dict.fromkeys(call.organisation for call in new):
        ids = [str(call.pk) for call in new if call.organisation == organisation]
        audit_write(
            actor=request.user,
            action="transcript.view",
            organisation=organisation,
            details={"through": "live page", "count": len(ids), "calls": ids},
        )


def live_control(request: HttpRequest, object_id: uuid.UUID) -> HttpResponse:
    """Give a command to one call, and say what came of it."""
    rows = Call.objects.visible_to(request.user).select_related("organisation", "revision")
    call = rows.defer(*_SEALED).filter(pk=object_id).first()
    if call is None:
        raise Http404("The call was not found.")
    if not (request.user.has_perm(WATCHES) and request.user.has_perm(CONTROLS)):
        raise PermissionDenied
    if request.method != "POST":
        return HttpResponseNotAllowed(["POST"])
    try:
        control = control_of(_body(request))
        row = control_wait(control_ask(call=call, control=control, actor=request.user))
    except ControlWireError as error:
        return _answered(request, "; ".join(error.sentences) + ".", done=False)
    except ControlRefused as error:
        return _answered(request, str(error), done=False)
    if row.state == CallControl.State.EXPIRED:
        return _answered(request, _NOT_TAKEN, done=False)
    if row.state == CallControl.State.REFUSED:
        return _answered(request, row.answer, done=False)
    return _answered(request, "Done.", done=True)


def _body(request: HttpRequest) -> dict[str, Any]:
    """Return the form as the command that a program would send."""
    form = request.POST
    text = form.get("text", "").strip()
    command = form.get("command", "")
    if command == "transfer":
        to = form.get("to", "").strip()
        kind = "sip" if to.startswith("sip") else "number"
        destination = {"type": kind, "sipUri" if kind == "sip" else "number": to}
        return {"type": "transfer", "destination": destination, "content": text or None}
    if command == "say":
        at_once = form.get("at_once") == "1"
        return {"type": "say", "content": text, "interruptAssistantEnabled": at_once}
    return {"type": command}


def _answered(request: HttpRequest, words: str, *, done: bool) -> HttpResponse:
    if "application/json" in request.headers.get("accept", ""):
        return JsonResponse({"done": done, "words": words}, headers={"Cache-Control": "no-store"})
    messages.add_message(request, messages.SUCCESS if done else messages.ERROR, words)
    return redirect("admin:calls_call_live")


@admin.register(CallControl)
class CallControlAdmin(ReadOnlyAdmin):
    """Commands to live calls: who gave which, and what came of it; not the words that were said."""

    list_hint = (
        "What people and programs did to calls that went on: on the page Live calls, or with "
        "POST /call/{id}/control."
    )
    list_display = ("created_at", "call", "kind", "actor", "state_badge", "answer")
    list_filter = ("kind", "state", "created_at")
    search_fields = ("call__id__iexact", "actor__startswith")
    fields = ("id", "call", "kind", "actor", "state_badge", "answer", "created_at", "settled_at")
    readonly_fields = ("state_badge",)
    hidden_lookups = ("command",)

    def get_queryset(self, request: HttpRequest) -> QuerySet[Any]:
        """Leave the sealed words in the database."""
        return (
            super()
            .get_queryset(request)
            .select_related("call", "organisation")
            .defer("command", "call__metrics", "call__next_step")
        )

    @badge(
        description="Outcome",
        ordering="state",
        label={"done": "success", "refused": "warning", "expired": "danger", "taken": "info"},
    )
    def state_badge(self, obj: CallControl) -> Any:
        """Return what came of it."""
        return obj.state, str(obj.get_state_display()).lower()
