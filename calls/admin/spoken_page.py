"""The page “Search what was said”, and the words that the list of calls may be searched for.

Needs ``calls.view_transcript`` beside the right to see calls: that a call was found says what was
said in it. Every search is audited with its words and the calls it showed.
"""

from __future__ import annotations

import datetime as dt
import re
import uuid
from typing import Any, Final
from urllib.parse import urlencode

from django import forms
from django.contrib import admin
from django.core.exceptions import PermissionDenied
from django.db.models import QuerySet
from django.http import HttpRequest, HttpResponse
from django.template.response import TemplateResponse
from django.urls import path
from django.utils import timezone
from unfold.widgets import (
    UnfoldAdminSelectWidget,
    UnfoldAdminTextInputWidget,
)

from assistants.models import Assistant
from calls.admin.call_page import PERMISSION as READS
from calls.admin.words import STATUS_COLOURS, clock, reason_in_words
from calls.conversation.search import MOST_CHARACTERS
from calls.models import Call, PhoneNumber
from calls.selectors.spoken import FoundCall, FoundCalls, NothingToFind, calls_said, spoken_search
from calls.services.said_words import words_due
from calls.services.spoken_audit import MOST_IDS, search_audit
from voiceplatform.base.selectors import organisations_visible_to

_SEES: Final = "calls.view_call"
_SPEAKERS: Final = {"user": "Caller", "assistant": "Assistant", "system": "Note"}
# Who looks for these means the number or the call, not something that was said.
_NO_WORDS: Final = re.compile(r"\+?[\d\s().\-/]+|CA[0-9a-f]{32}|[0-9a-f]{8}-[0-9a-f-]{27}", re.I)


def _day() -> Any:
    # The browser's own calendar; the admin's needs scripts and styles that no other page here has.
    return UnfoldAdminTextInputWidget({"type": "date"})


def may_search(request: HttpRequest) -> bool:
    """Tell whether the person may search in what was said."""
    return bool(request.user.has_perm(_SEES) and request.user.has_perm(READS))


class SearchForm(forms.Form):
    """What to look for, and in which calls."""

    words = forms.CharField(
        max_length=MOST_CHARACTERS,
        strip=True,
        widget=UnfoldAdminTextInputWidget({"placeholder": 'e.g. refund, or "call me back"'}),
        error_messages={
            "required": "Nothing to look for was entered. Fix: enter words that were said."
        },
    )
    since = forms.DateField(label="From", required=False, widget=_day())
    until = forms.DateField(label="Until", required=False, widget=_day())
    number = forms.ModelChoiceField(
        required=False,
        empty_label="every number",
        queryset=PhoneNumber.objects.none(),
        widget=UnfoldAdminSelectWidget,
    )
    assistant = forms.ModelChoiceField(
        required=False,
        empty_label="every assistant",
        queryset=Assistant.objects.none(),
        widget=UnfoldAdminSelectWidget,
    )

    def __init__(self, user: Any, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        number: Any = self.fields["number"]
        number.queryset = PhoneNumber.objects.visible_to(user).only("name", "number_e164")
        assistant: Any = self.fields["assistant"]
        assistant.queryset = Assistant.objects.visible_to(user).only("name")

    def clean(self) -> dict[str, Any]:
        """Compare the two days."""
        cleaned = super().clean() or {}
        since, until = cleaned.get("since"), cleaned.get("until")
        if since and until and since > until:
            self.add_error("until", "This is before From. Fix: choose a later day.")
        return cleaned

    def calls(self, user: Any) -> QuerySet[Call]:
        """Return the calls to look in: some of those that ``user`` may see."""
        given = self.cleaned_data
        rows: QuerySet[Call] = Call.objects.visible_to(user)
        if given["since"]:
            rows = rows.filter(created_at__gte=_begin_of(given["since"]))
        if given["until"]:
            rows = rows.filter(created_at__lt=_begin_of(given["until"]) + dt.timedelta(days=1))
        if given["number"]:
            rows = rows.filter(number=given["number"])
        if given["assistant"]:
            rows = rows.filter(revision__assistant=given["assistant"])
        return rows.select_related("number", "revision__assistant").only(
            *("organisation_id", "status", "caller", "callee", "created_at", "ended_reason"),
            *("number__name", "number__number_e164", "revision__number"),
            "revision__assistant__name",
        )


def said_urls(model_admin: Any) -> list[Any]:
    """Return the URL of the page, for the admin of calls."""
    view = model_admin.admin_site.admin_view(said_page)
    return [path("said/", view, name="calls_call_said")]


def said_page(request: HttpRequest) -> HttpResponse:
    """Show the form, and what was found."""
    if not may_search(request):
        raise PermissionDenied
    form = SearchForm(request.user, request.GET if "words" in request.GET else None)
    found = _search(request, form) if form.is_bound and form.is_valid() else None
    context = {
        **admin.site.each_context(request),
        "title": "Search what was said",
        "opts": Call._meta,
        "form": form,
        "found": found is not None,
        "due": words_due(),
        "rows": [_row(each) for each in found.calls] if found else (),
        "older": _older(request, found) if found else "",
    }
    return TemplateResponse(request, "admin/calls/call/said.html", context)


def _search(request: HttpRequest, form: SearchForm) -> FoundCalls | None:
    words = form.cleaned_data["words"]
    try:
        found = spoken_search(form.calls(request.user), words, older_than=_older_than(request))
    except NothingToFind as error:
        form.add_error("words", f"{str(error)[:1].upper()}{str(error)[1:]}")
        return None
    search_audit(
        actor=request.user,
        words=words,
        calls=[each.call for each in found.calls],
        organisations=organisations_visible_to(request.user),
        through="admin",
    )
    return found


def search_in_list(
    request: HttpRequest, rows: QuerySet[Call], searched: str
) -> QuerySet[Call] | None:
    """Return those of ``rows`` in which ``searched`` was said, newest ones only, and audit it.

    None: it is a number or an id, there is no word in it, or the person may not read transcripts.
    """
    if not may_search(request) or _NO_WORDS.fullmatch(searched.strip()):
        return None
    try:
        said = calls_said(rows, searched)
    except NothingToFind:
        return None
    newest = said.order_by("-created_at").only("organisation_id").select_related(None)
    calls = list(newest[:MOST_IDS])
    search_audit(
        actor=request.user,
        words=searched,
        calls=calls,
        organisations=organisations_visible_to(request.user),
        through="list of calls",
    )
    return rows.filter(pk__in=[call.pk for call in calls])


def _row(found: FoundCall) -> dict[str, Any]:
    call = found.call
    return {
        "call": call,
        "caller": call.caller or "withheld",
        "number": (call.number.name or call.number.number_e164) if call.number else call.callee,
        "assistant": str(call.revision.assistant) if call.revision else "no assistant",
        "status": str(call.get_status_display()).lower(),
        "colour": STATUS_COLOURS.get(call.status, "info"),
        "outcome": reason_in_words(call.ended_reason),
        "more": found.more,
        "places": [
            {
                "who": _SPEAKERS.get(place.role, place.role),
                "at": clock(place.started_ms),
                "anchor": f"turn-{place.ordinal}",
                "parts": place.parts,
            }
            for place in found.snippets
        ],
    }


def _older(request: HttpRequest, found: FoundCalls) -> str:
    """Return the query of the page behind this one, '' if there is none."""
    if found.older_than is None:
        return ""
    moment, call_id = found.older_than
    asked = request.GET.copy()
    asked["before"], asked["before_id"] = moment.isoformat(), str(call_id)
    return f"?{urlencode(list(asked.items()))}"


def _older_than(request: HttpRequest) -> tuple[dt.datetime, uuid.UUID] | None:
    """Return where the page before this one ended; None for the first page, or for nonsense."""
    try:
        moment = dt.datetime.fromisoformat(request.GET["before"])
        call_id = uuid.UUID(request.GET["before_id"])
    except (KeyError, ValueError):
        return None
    return None if moment.tzinfo is None else (moment, call_id)


def _begin_of(day: dt.date) -> dt.datetime:
    return timezone.make_aware(dt.datetime.combine(day, dt.time.min))
