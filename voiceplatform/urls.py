"""URL routes of the platform; wiring only."""

from __future__ import annotations

from django.contrib import admin
from django.templatetags.static import static
from django.urls import include, path
from django.utils.functional import lazy
from django.views.generic import RedirectView

from calls.admin import talk_page
from calls.admin.doctor import doctor
from voiceplatform import api_docs

# Browsers ask for it beside every answer that names no icon, e.g. one in JSON.
_icon = RedirectView.as_view(url=lazy(static, str)("calls/icon.svg"))

urlpatterns = [
    path("favicon.ico", _icon),
    path("admin/doctor", admin.site.admin_view(doctor), name="doctor"),
    # Pages of assistants that need calls, a layer above.
    path(
        "admin/assistants/assistantrevision/<int:object_id>/talk/",
        admin.site.admin_view(talk_page.talk),
        name="talk",
    ),
    path(
        "admin/assistants/assistantrevision/<int:object_id>/talk/start/",
        admin.site.admin_view(talk_page.begin),
        name="talk-start",
    ),
    path("admin/", admin.site.urls),
    path("schema", api_docs.schema, name="schema"),
    path("docs", api_docs.docs, name="docs"),
    # Before the assistants: /assistant/start is no assistant's id.
    path("", include("calls.api.urls")),
    path("", include("assistants.urls")),
    path("", include("tools.urls")),
    path("", include("calls.urls")),
]

# An unknown route names itself in JSON; under /admin/ it stays a page.
handler404 = "voiceplatform.drf.not_found"
