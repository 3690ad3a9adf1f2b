"""URL routes of the platform; wiring only."""

from __future__ import annotations

from django.contrib import admin
from django.urls import include, path

urlpatterns = [
    path("admin/", admin.site.urls),
    path("", include("assistants.urls")),
    path("", include("tools.urls")),
    path("", include("calls.api.urls")),
    path("", include("calls.urls")),
]

# An unknown route names itself in JSON; under /admin/ it stays a page.
handler404 = "voiceplatform.drf.not_found"
