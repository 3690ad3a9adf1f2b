"""The pages of one move: what it would change, how far it is, what to do when it stopped, the way
back.

Owns what is shown before a person confirms and what their click orders. Twilio is asked by the
preview, and by the click that puts a number back, which works without a worker; everything else is
read from the rows. Orders go through ``calls.services.number_moves`` alone.
"""

from __future__ import annotations

import uuid
from typing import Any, Final

from django.contrib import messages
from django.http import Http404, HttpRequest, HttpResponse, HttpResponseRedirect
from django.urls import path, reverse

from calls.admin.moving import WHY_BACK
from calls.admin.moving_doors import (
    CLICK_SECONDS,
    check_may_change,
    number_of,
    page,
    part,
    why_of,
)
from calls.models import NumberMove, PhoneNumber
from calls.numbers.switch.voice import Snapshot, UnreadableNumber, target_of
from calls.selectors.move_views import move_view, target_words
from calls.services.move_rows import snapshot_of
from calls.services.number_moves import (
    MovePreview,
    MoveRefused,
    has_way_back,
    move_abandon,
    move_accept,
    move_begin,
    move_continue,
    move_preview,
    open_move,
    restore_begin,
    restore_try,
)
from calls.services.number_routes import RouteOrder, RouteRefused, route_preview, route_words
from calls.telephony.twilio_rest import TwilioRefused, TwilioSilent
from voiceplatform.base.fields import DecryptionError
from voiceplatform.base.redaction_urls import redact_url

_SEVERITIES: Final = {"blocks": "danger", "ask": "warning", "note": "info"}
_SEVERITY_WORDS: Final = {"blocks": "blocks", "ask": "your decision", "note": "note"}
_CANNOT: Final = (TwilioSilent, TwilioRefused, DecryptionError, ValueError)


def move_urls(model_admin: Any) -> list[Any]:
    """Return the URLs of these pages, for the admin of numbers."""
    view = model_admin.admin_site.admin_view
    one = "<uuid:object_id>/moves/<uuid:move_id>/"
    return [
        path("<uuid:object_id>/move/", view(preview_page), name="calls_phonenumber_move"),
        path(one, view(moved_page), name="calls_phonenumber_moved"),
        path(f"{one}part/", view(moved_part), name="calls_phonenumber_moved_part"),
        path("<uuid:object_id>/restore/", view(restore_page), name="calls_phonenumber_restore"),
    ]


# ---- before it -----------------------------------------------------------------------------------


def preview_page(request: HttpRequest, object_id: uuid.UUID) -> HttpResponse:
    """Ask Twilio and show what a move would change; on POST begin it as it was shown."""
    number = number_of(request, object_id, to_change=True)
    under_way = open_move(number)
    if under_way is not None:
        return _to_move(under_way)
    given = request.POST if request.method == "POST" else request.GET
    order = _order(number, given)
    problem = ""
    if request.method == "POST":
        try:
            move = move_begin(
                number=number,
                actor=request.user,
                why=why_of(request),
                fingerprint=request.POST.get("fingerprint", ""),
                typed=request.POST.get("typed", ""),
                route=order,
            )
        except (MoveRefused, RouteRefused, *_CANNOT) as error:
            problem = str(error)
        else:
            return _to_move(move)
    preview, silence = _preview(number, order)
    return page(
        request,
        "move",
        f"Move {number.number_e164} here",
        number=number,
        preview=preview,
        silence=silence,
        problem=problem,
        findings=[
            {
                "colour": _SEVERITIES[each.severity],
                "word": _SEVERITY_WORDS[each.severity],
                "cause": _sentence(each.cause),
                "fix": _sentence(each.fix),
                "field": each.field,
            }
            for each in (preview.findings if preview is not None else ())
        ],
        changes=[each for each in preview.differences if each.is_changed] if preview else [],
        kept=[each for each in preview.differences if not each.is_changed] if preview else [],
        net=_net_words(preview) if preview is not None else "",
        route_now=route_words(number),
        route_words=_order_words(number, order),
        route_problems=route_preview(number, order).problems if order is not None else (),
        route=given.get("route", ""),
        percent=given.get("percent", "10"),
        typed=request.POST.get("typed", ""),
        why=request.POST.get("why", ""),
        routes=PhoneNumber.Route.choices,
    )


def _order(number: PhoneNumber, given: Any) -> RouteOrder | None:
    """Return the route that the number is to have; None leaves the one that it has."""
    route = given.get("route", "")
    if route not in PhoneNumber.Route.values:
        return None
    text = str(given.get("percent", ""))
    percent = int(text) if text.isascii() and text.isdigit() and len(text) <= 3 else 0
    return RouteOrder(route=route, canary_percent=percent if route == "canary" else 0)


def _order_words(number: PhoneNumber, order: RouteOrder | None) -> str:
    return route_words(number) if order is None else route_preview(number, order).after


def _preview(number: PhoneNumber, order: RouteOrder | None) -> tuple[MovePreview | None, str]:
    try:
        return move_preview(number=number, route=order), ""
    except _CANNOT as error:
        return None, _sentence(str(error))


def _net_words(preview: MovePreview) -> str:
    """Say who is asked when we do not answer, and after how long."""
    dead, hanging = preview.overrides.dead_ms / 1000, preview.overrides.hanging_ms / 1000
    after = f"after {dead:g} s if our site is dead, after {hanging:g} s if it hangs"
    match preview.net.source:
        case "address":
            return f"Your own address {redact_url(preview.net.url)} is asked {after}."
        case "previous":
            return f"What answers now, {redact_url(preview.net.url)}, is asked {after}."
    return "Nobody: callers would hear an error, and the call would end."


def _sentence(text: str) -> str:
    text = text.strip()
    return f"{text[:1].upper()}{text[1:]}{'' if text.endswith(('.', '!', '?')) else '.'}"


# ---- how far it is -------------------------------------------------------------------------------


def moved_page(request: HttpRequest, object_id: uuid.UUID, move_id: uuid.UUID) -> HttpResponse:
    """Show one move; on POST go on over what was found, leave it, or carry it on from here."""
    move = _move(request, object_id, move_id)
    if request.method == "POST":
        check_may_change(request)
        _decide(request, move)
        return _to_move(move)
    direction = "Move" if move.direction == NumberMove.Direction.HERE else "Way back"
    title = f"{direction} of {move.number.number_e164}"
    return page(request, "moved", title, **_moved(request, move))


def moved_part(request: HttpRequest, object_id: uuid.UUID, move_id: uuid.UUID) -> HttpResponse:
    """Answer what changes alone, for the page that is open."""
    return part(request, "moved_part", **_moved(request, _move(request, object_id, move_id)))


def _move(request: HttpRequest, object_id: uuid.UUID, move_id: uuid.UUID) -> NumberMove:
    number = number_of(request, object_id)
    row: NumberMove | None = (
        NumberMove.objects.select_related("organisation")
        .defer("state", "snapshot")
        .filter(pk=move_id, number=number)
        .first()
    )
    if row is None:
        raise Http404("The move was not found.")
    row.number = number
    return row


def _moved(request: HttpRequest, move: NumberMove) -> dict[str, Any]:
    return {
        "number": move.number,
        "move": move,
        "view": move_view(move),
        "is_back": move.direction == NumberMove.Direction.BACK,
        "route_now": route_words(move.number),
        "part_url": reverse("admin:calls_phonenumber_moved_part", args=[move.number_id, move.pk]),
    }


def _decide(request: HttpRequest, move: NumberMove) -> None:
    why, choice = why_of(request), request.POST.get("choice", "")
    try:
        match choice:
            case "accept":
                fingerprint = request.POST.get("fingerprint", "")
                move_accept(move=move, fingerprint=fingerprint, actor=request.user, why=why)
                messages.success(request, "It goes on.")
            case "leave":
                move_abandon(move=move, actor=request.user, why=why)
                messages.success(request, "It was left as it is at Twilio.")
            case "carry_on":
                move_continue(move.pk, within_seconds=CLICK_SECONDS)
            case _:
                messages.error(request, "Nothing was ordered: choose one of the buttons.")
    except (MoveRefused, *_CANNOT) as error:
        messages.error(request, f"Nothing was changed. {_sentence(str(error))}")


def _to_move(move: NumberMove) -> HttpResponseRedirect:
    return HttpResponseRedirect(
        reverse("admin:calls_phonenumber_moved", args=[move.number_id, move.pk])
    )


# ---- the way back --------------------------------------------------------------------------------


def restore_page(request: HttpRequest, object_id: uuid.UUID) -> HttpResponse:
    """Say what would be put back; on POST put it back, in this request as far as it goes."""
    number = number_of(request, object_id, to_change=True)
    if request.method == "POST":
        return _restore(request, number)
    before, problem = "", ""
    try:
        snapshot = snapshot_of(number)
        if snapshot is not None:
            before = target_words_of(snapshot)
    except (DecryptionError, UnreadableNumber) as error:
        problem = f"The snapshot cannot be read, so nothing can be put back from it: {error}"
    return page(
        request,
        "restore",
        f"Put {number.number_e164} back",
        number=number,
        has_way_back=has_way_back(number),
        before=before,
        problem=problem,
        route_now=route_words(number),
        why=WHY_BACK,
    )


def target_words_of(snapshot: Snapshot) -> str:
    """Say what answers again once a snapshot is put back."""
    return target_words(target_of(snapshot.config, snapshot.application))


def _restore(request: HttpRequest, number: PhoneNumber) -> HttpResponse:
    try:
        move = restore_begin(number=number, actor=request.user, why=why_of(request, WHY_BACK))
    except (DecryptionError, UnreadableNumber) as error:
        messages.error(request, f"Nothing was changed. {_sentence(str(error))}")
        return HttpResponseRedirect(reverse("admin:calls_phonenumber_console", args=[number.pk]))
    if move is None:
        messages.warning(request, "There is nothing to put back: this platform did not move it.")
        return HttpResponseRedirect(reverse("admin:calls_phonenumber_console", args=[number.pk]))
    # In this request, so that it works while no worker does; what is left the beat does.
    result = restore_try(move.pk, within_seconds=CLICK_SECONDS)
    if result.state == "done":
        messages.success(request, "The number is back at Twilio as it was.")
    elif result.state == "again":
        messages.warning(
            request,
            f"Ordered, not done yet: {result.words}. Callers who still come here are handed to "
            "the old stack. It is tried again by itself; this page follows it.",
        )
    else:
        messages.error(request, f"It needs you: {_sentence(result.words)}")
    return _to_move(move)
