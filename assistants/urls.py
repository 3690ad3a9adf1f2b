"""URLs of the assistants layer."""

from __future__ import annotations

from django.urls import path

from assistants import api

urlpatterns = [
    path("assistant", api.AssistantList.as_view(), name="assistant-list"),
    path("assistant/<str:object_id>", api.AssistantDetail.as_view(), name="assistant-detail"),
]
