"""The page of missing secrets: each once, with all the places it fills; enter it, try it.

Writes through ``assistants.missing_secrets`` only. What is entered is in no answer, not even when
it is refused.
"""

from __future__ import annotations

from typing import Any, Final

from django.contrib import admin, messages
from django.core.exceptions import PermissionDenied
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.template.response import TemplateResponse
from django.urls import reverse

from assistants.missing_secrets import (
    MissingSecret,
    NoSuchSecret,
    SecretPlace,
    SecretRefused,
    checked,
    secret_fill,
    secrets_of,
)
from assistants.secret_probe import ProbeResult, secret_test
from assistants.secret_slots import AUTHORIZATION, SECRET_HEADER
from voiceplatform.base.models import Organisation
from voiceplatform.base.selectors import organisations_visible_to

_PAGE: Final = "admin:assistants_importrun_secrets"
_COLOURS: Final = {"ok": "success", "refused": "danger", "unsure": "info", "failed": "danger"}
_WORDS: Final = {
    "ok": "let us in",
    "refused": "refused",
    "unsure": "cannot tell",
    "failed": "failed",
}
_ROW_PAGES: Final = {
    "assistant": "admin:assistants_assistant_change",
    "tool": "admin:tools_tool_change",
    "squad": "admin:assistants_squad_change",
}
_MOST_PLACES: Final = 12
_GONE: Final = "Nothing lacks this secret any more."


def missing_secrets_view(request: HttpRequest, site: admin.AdminSite) -> HttpResponse:
    """Show the page; on POST try a secret, store it, or both.

    Raises:
        PermissionDenied: the person may not see, or not change, assistants.
    """
    if not request.user.has_perm("assistants.view_assistant"):
        raise PermissionDenied
    may_write = request.user.has_perm("assistants.change_assistant") and request.user.has_perm(
        "tools.change_tool"
    )
    every = list(organisations_visible_to(request.user).order_by("created_at"))
    organisation = _chosen(request, every)
    if organisation is None:
        raise PermissionDenied
    tried: dict[str, Any] = {}
    if request.method == "POST":
        if not may_write:
            raise PermissionDenied
        answer = _posted(request, organisation, tried)
        if answer is not None:
            return answer
    found = secrets_of(organisation)
    context = {
        **site.each_context(request),
        "title": "Missing secrets",
        "organisation": organisation,
        "organisations": every if len(every) > 1 else [],
        "may_write": may_write,
        "tried": tried,
        "groups": [
            {"state": state, "secrets": [_shown(each) for each in found if each.state == state]}
            for state in ("missing", "perhaps", "set")
        ],
        "missing_count": sum(each.state == "missing" for each in found),
    }
    return TemplateResponse(request, "admin/assistants/importrun/missing_secrets.html", context)


def _chosen(request: HttpRequest, every: list[Organisation]) -> Organisation | None:
    wanted = request.POST.get("organisation") or request.GET.get("organisation") or ""
    named = next((each for each in every if str(each.pk) == wanted), None)
    if wanted:
        return named
    return every[0] if every else None


def _posted(
    request: HttpRequest, organisation: Organisation, tried: dict[str, Any]
) -> HttpResponse | None:
    """Do what a form asks; None when the answer is the page itself."""
    key = request.POST.get("key", "")
    value = request.POST.get("value", "")
    header = request.POST.get("header", "")
    wants_store = request.POST.get("do") == "store"
    try:
        secret = next((each for each in secrets_of(organisation) if each.key == key), None)
        if secret is None:
            raise NoSuchSecret(key)
        if wants_store:
            checked(value)  # before anybody is asked
        if wants_store or request.POST.get("do") == "test":
            results = secret_test(
                organisation,
                key,
                request.user,
                value=value,
                header=header or secret.proposed_header,
                may_post=request.POST.get("may_post") == "1",
            )
            tried |= {
                "label": secret.label,
                "results": [_result(each) for each in results],
                "was_stored": False,
            }
        if wants_store:
            count = secret_fill(organisation, key, value, request.user, header=header)
            tried["was_stored"] = True
            places = "1 place" if count == 1 else f"{count} places"
            messages.success(request, f"Stored in {places}; the next call uses it.")
    except SecretRefused as refusal:
        messages.error(request, str(refusal))
    except NoSuchSecret:
        messages.warning(request, _GONE)
        query = f"?organisation={organisation.pk}"
        return HttpResponseRedirect(reverse(_PAGE) + query)
    return None


def _result(result: ProbeResult) -> dict[str, Any]:
    return {
        "url": result.url_shown,
        "method": result.method,
        "status": result.status,
        "words": result.words,
        "excerpt": result.excerpt,
        "verdict": _WORDS[result.verdict],
        "colour": _COLOURS[result.verdict],
    }


def _shown(secret: MissingSecret) -> dict[str, Any]:
    return {
        "key": secret.key,
        "host": secret.host,
        "header": secret.header,
        "label": secret.label,
        "state": secret.state,
        "is_credential": bool(secret.credential_id),
        "headers": _headers(secret.proposed_header),
        "why": sorted({place.why for place in secret.places}),
        "place_count": len(secret.places),
        "places": [_place(each) for each in secret.places[:_MOST_PLACES]],
        "more": max(0, len(secret.places) - _MOST_PLACES),
    }


def _headers(proposed: str) -> list[dict[str, str]]:
    """Return how a credential can be sent, the likely way first."""
    names = dict.fromkeys((proposed or AUTHORIZATION, AUTHORIZATION, SECRET_HEADER, "X-Api-Key"))
    return [
        {
            "name": name,
            "words": f"{name}: Bearer …" if name == AUTHORIZATION else f"{name}: …",
        }
        for name in names
    ]


def _place(place: SecretPlace) -> dict[str, str]:
    return {
        "kind": place.kind,
        "name": place.name or "(no name)",
        "path": place.path,
        "url": place.url_shown,
        "link": reverse(_ROW_PAGES[place.kind], args=[place.object_id]),
    }
