"""URL routes of the platform; wiring only."""

from __future__ import annotations

from django.contrib import admin
from django.urls import include, path

from calls.admin.doctor import doctor
from voiceplatform import api_docs

urlpatterns = [
    path("admin/doctor", admin.site.admin_view(doctor), name="doctor"),
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
