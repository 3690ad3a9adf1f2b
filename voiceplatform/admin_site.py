"""The admin's site: unfold's own, which builds no more for a page than the page shows.

Owns how the menu of ``voiceplatform.admin_look`` becomes the sidebar of one request. It must not
decide who may see what: the entries and the models' admins do.
"""

from __future__ import annotations

from typing import Any

from django.apps import AppConfig
from django.contrib import admin
from django.contrib.admin import sites
from django.http import HttpRequest
from django.urls import reverse
from django.utils.functional import SimpleLazyObject
from unfold.sites import UnfoldAdminSite

from voiceplatform.admin_look import UNFOLD


class SparingSite(UnfoldAdminSite):  # type: ignore[misc]  # unfold has no types
    """Unfold's site without its list of all models and its copies of the menu for each page."""

    def get_app_list(self, request: HttpRequest, app_label: str | None = None) -> Any:
        """Return the models of each app, looked up when a page shows them; few do."""
        return SimpleLazyObject(lambda: super(SparingSite, self).get_app_list(request, app_label))

    def get_sidebar_list(self, request: HttpRequest) -> list[dict[str, Any]]:
        """Return the groups of the menu, each with the entries that this user may open."""
        index = reverse(f"{self.name}:index")
        return [
            _ASKED_FOR
            | group
            | {"items": [_shown(item, request, index) for item in group["items"]]}
            for group in UNFOLD["SIDEBAR"]["navigation"]
        ]


# The template asks each group and entry for these; a key that is missing costs an exception.
_ASKED_FOR = {"badge": None, "collapsible": False, "separator": False}


def _shown(item: dict[str, Any], request: HttpRequest, index: str) -> dict[str, Any]:
    """Return an entry of the menu with what unfold's template asks of it, all of it decided."""
    link, permission, active = str(item["link"]), item.get("permission"), item.get("active")
    if active is None:
        is_active = request.path == index if link == index else link in request.path
    else:
        is_active = active(request)
    return {
        "title": item["title"],
        "icon": item["icon"],
        "link": link,
        "link_callback": link,
        "badge": None,
        "active": is_active,
        "has_permission": permission is None or permission(request),
    }


class AdminConfig(AppConfig):
    """Unfold, with our site in place of its own."""

    name = "unfold"

    def ready(self) -> None:
        """Put the site where ``admin.register`` looks for it."""
        admin.site = sites.site = SparingSite()
