"""URLs of the tools layer."""

from __future__ import annotations

from django.urls import path

from tools import api

urlpatterns = [
    path("tool", api.ToolList.as_view(), name="tool-list"),
    path("tool/<str:object_id>", api.ToolDetail.as_view(), name="tool-detail"),
]
