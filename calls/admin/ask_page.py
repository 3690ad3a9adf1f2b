"""A page that says what will happen, asks for what it needs, and acts by POST.

Owns the one way in which small decisions are asked for in admin. What happens is a service's, given
by whoever shows the page.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from django import forms
from django.http import HttpRequest, HttpResponse
from django.template.response import TemplateResponse


def ask_page(
    admin: Any,
    request: HttpRequest,
    form: forms.Form,
    *,
    title: str,
    means: Sequence[str],
    button: str,
    back: str,
) -> HttpResponse:
    """Return the page with ``form``; ``means`` are the sentences that say what it does."""
    context = {
        **admin.admin_site.each_context(request),
        "title": title,
        "opts": admin.opts,
        "means": means,
        "form": form,
        "button": button,
        "back": back,
    }
    return TemplateResponse(request, "admin/calls/ask.html", context)
