"""The dossier of a number: a page that prints, and the same as a file.

Owns the two doors; what a dossier says is ``calls.services.dossiers``'s. Each opening is audited.
"""

from __future__ import annotations

import json
import uuid
from typing import Any

from django.http import HttpRequest, HttpResponse
from django.urls import path

from calls.admin.moving_doors import check_may_look, number_of, page
from calls.models import PhoneNumber
from calls.numbers.dossier import Dossier
from calls.services.dossiers import dossier_read

_VERDICTS = {"ok": "success", "failed": "danger", "unsure": "warning"}
_VERDICT_WORDS = {"ok": "works", "failed": "does not work", "unsure": "cannot tell"}
_PARITY = {"pass": "success", "fail": "danger"}


def dossier_urls(model_admin: Any) -> list[Any]:
    """Return the URLs of the dossier, for the admin of numbers."""
    view = model_admin.admin_site.admin_view
    return [
        path("<uuid:object_id>/dossier/", view(dossier_page), name="calls_phonenumber_dossier"),
        path(
            "<uuid:object_id>/dossier/download/",
            view(dossier_download),
            name="calls_phonenumber_dossier_download",
        ),
    ]


def dossier_page(request: HttpRequest, object_id: uuid.UUID) -> HttpResponse:
    """Show the dossier of one number."""
    number, dossier = _read(request, object_id)
    return page(
        request,
        "dossier",
        f"Dossier of {number.number_e164}",
        number=number,
        dossier=dossier,
        facts=dossier.facts,
        parity_colour=_PARITY.get(dossier.facts.parity, "warning"),
        steps=[
            {
                "step": step,
                "figures": [
                    {
                        "of": figures,
                        "stack": "here" if figures.stack == "direct" else "old stack",
                        "bad": f"{figures.bad_calls / figures.calls:.1%}",
                        "low": f"{figures.bad_low:.1%}",
                        "high": f"{figures.bad_high:.1%}",
                    }
                    for figures in step.figures
                ],
            }
            for step in dossier.steps
        ],
        tools=[
            (tool, _VERDICT_WORDS.get(tool.verdict, "not checked"), _VERDICTS.get(tool.verdict))
            for tool in dossier.facts.tools
        ],
    )


def dossier_download(request: HttpRequest, object_id: uuid.UUID) -> HttpResponse:
    """Give the dossier as a JSON file."""
    number, dossier = _read(request, object_id)
    text = json.dumps(dossier.as_json(), indent=2, ensure_ascii=False)
    response = HttpResponse(text, content_type="application/json; charset=utf-8")
    name = f"dossier-{number.number_e164.lstrip('+')}-{dossier.facts.made_at:%Y-%m-%d}.json"
    response["Content-Disposition"] = f'attachment; filename="{name}"'
    response["Cache-Control"] = "no-store"
    return response


def _read(request: HttpRequest, object_id: uuid.UUID) -> tuple[PhoneNumber, Dossier]:
    check_may_look(request)
    number = number_of(request, object_id)
    return number, dossier_read(number=number, actor=request.user, through="admin")
