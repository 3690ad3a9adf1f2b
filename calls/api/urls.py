"""REST URLs of the calls layer."""

from __future__ import annotations

from django.urls import path

from calls.api import (
    analytics,
    control,
    dossier,
    events,
    moves,
    numbers,
    readiness,
    recordings,
    transcript,
    views,
)

urlpatterns = [
    path("assistant/start", views.AssistantStart.as_view(), name="assistant-start"),
    path("call", views.CallList.as_view(), name="call-list"),
    path("call/<str:object_id>", views.CallDetail.as_view(), name="call-detail"),
    path(
        "call/<str:object_id>/transcript", transcript.Transcript.as_view(), name="call-transcript"
    ),
    path(
        "call/<str:object_id>/mono-recording",
        recordings.MonoRecording.as_view(),
        name="call-mono-recording",
    ),
    path(
        "call/<str:object_id>/stereo-recording",
        recordings.StereoRecording.as_view(),
        name="call-stereo-recording",
    ),
    path("call/<str:object_id>/control", control.ControlView.as_view(), name="call-control"),
    path("event/redeliver", events.EventRedeliver.as_view(), name="event-redeliver"),
    path("analytics", analytics.Analytics.as_view(), name="analytics"),
    path("phone-number", numbers.NumberList.as_view(), name="phone-number-list"),
    path(
        "phone-number/<str:object_id>", numbers.NumberDetail.as_view(), name="phone-number-detail"
    ),
    path(
        "phone-number/<str:object_id>/route", moves.NumberRoute.as_view(), name="phone-number-route"
    ),
    path(
        "phone-number/<str:object_id>/move",
        moves.NumberMoveOrder.as_view(),
        name="phone-number-move",
    ),
    path(
        "phone-number/<str:object_id>/restore",
        moves.NumberRestore.as_view(),
        name="phone-number-restore",
    ),
    path(
        "phone-number/<str:object_id>/moves",
        moves.NumberMoves.as_view(),
        name="phone-number-moves",
    ),
    path(
        "phone-number/<str:object_id>/dossier",
        dossier.NumberDossier.as_view(),
        name="phone-number-dossier",
    ),
    path(
        "phone-number/<str:object_id>/readiness",
        readiness.NumberReadiness.as_view(),
        name="phone-number-readiness",
    ),
    path("v2/phone-number", numbers.NumberPage.as_view(), name="phone-number-page"),
]
