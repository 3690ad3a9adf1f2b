"""The sidebar that our site makes for a page is the one that unfold would have made."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import unfold
from django.contrib import admin
from django.template import engines
from django.template.loader import get_template
from django.test import RequestFactory
from unfold.sites import UnfoldAdminSite

from tests import factories
from voiceplatform.admin_site import SparingSite

pytestmark = [pytest.mark.integration, pytest.mark.django_db]

MENU = "unfold/helpers/app_list.html"
ANY = "00000000-0000-0000-0000-000000000001"
PATHS = (
    *(
        "/admin/",
        "/admin/calls/call/",
        f"/admin/calls/call/{ANY}/change/",
        "/admin/calls/call/live/",
    ),
    *("/admin/calls/phonenumber/moving/", f"/admin/calls/phonenumber/{ANY}/console/"),
    *(
        "/admin/assistants/importrun/missing-secrets/",
        "/admin/auth/user/",
        "/admin/password_change/",
    ),
    *("/admin/calls/parityscenario/add/", "/admin/calls/numberguard/"),
)


def seen(groups: list[dict[str, Any]]) -> list[Any]:
    """Return what the template shows of a sidebar: groups, and entries with the lit ones marked."""
    return [
        (
            group["title"],
            [bool(group.get(key)) for key in ("separator", "collapsible", "badge")],
            [
                (
                    item["title"],
                    item["icon"],
                    item.get("link_callback", item["link"]),
                    item["active"],
                )
                for item in group["items"]
                if item["has_permission"]
            ],
        )
        for group in groups
    ]


@pytest.mark.parametrize("permissions", [None, "all", ["calls.view_call", "tools.view_tool"]])
def test_it_is_unfolds_for_everybody_on_every_kind_of_page(
    permissions: Any, rf: RequestFactory
) -> None:
    staff = factories.make_staff(permissions=permissions or ())
    user = factories.make_superuser() if permissions is None else staff
    assert type(admin.site) is SparingSite
    theirs = Path(unfold.__file__).parent / "templates" / MENU
    ours, unfolds = get_template(MENU), engines["django"].from_string(theirs.read_text("utf-8"))
    for path in PATHS:
        request = rf.get(path)
        request.user = user
        shown = seen(admin.site.get_sidebar_list(request))
        assert shown == seen(UnfoldAdminSite().get_sidebar_list(request)), path
        assert any(entries for *_, entries in shown)
        context = {"sidebar_navigation": admin.site.get_sidebar_list(request)}
        rendered = [template.render(context).split() for template in (ours, unfolds)]
        assert "".join(rendered[0]) == "".join(rendered[1]), path
