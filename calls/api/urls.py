"""REST URLs of the calls layer."""

from __future__ import annotations

from django.urls import path

from calls.api import views

urlpatterns = [
    path("call", views.CallList.as_view(), name="call-list"),
    path("call/<str:object_id>", views.CallDetail.as_view(), name="call-detail"),
    path("phone-number", views.NumberList.as_view(), name="phone-number-list"),
    path("phone-number/<str:object_id>", views.NumberDetail.as_view(), name="phone-number-detail"),
]
