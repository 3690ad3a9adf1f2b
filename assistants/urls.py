"""URLs of the assistants layer.

Where Vapi has verbs below a collection (``/eval/run``), an id must look like one: a route that we
lack has to say so instead of looking for an object called "run".
"""

from __future__ import annotations

from django.urls import URLPattern, path

from assistants.api import assistants, files, resources, squads
from assistants.resource_serializers import (
    EVAL,
    PERSONALITY,
    SCENARIO,
    SIMULATION,
    STRUCTURED_OUTPUT,
    SUITE,
    KindOfResource,
)


def _resource(kind: KindOfResource) -> list[URLPattern]:
    route, name = str(kind.kind), str(kind.kind).replace("/", "-")
    listed = resources.ResourceList.as_view(kind=kind)
    single = resources.ResourceDetail.as_view(kind=kind)
    return [
        path(route, listed, name=f"{name}-list"),
        path(f"{route}/<uuid:object_id>", single, name=f"{name}-detail"),
    ]


urlpatterns = [
    path("assistant", assistants.AssistantList.as_view(), name="assistant-list"),
    path(
        "assistant/<str:object_id>", assistants.AssistantDetail.as_view(), name="assistant-detail"
    ),
    path("squad", squads.SquadList.as_view(), name="squad-list"),
    path("squad/<str:object_id>", squads.SquadDetail.as_view(), name="squad-detail"),
    path("file", files.FileList.as_view(), name="file-list"),
    path("file/<str:object_id>", files.FileDetail.as_view(), name="file-detail"),
    path("file/<str:object_id>/content", files.FileContent.as_view(), name="file-content"),
    path("credential", resources.CredentialList.as_view(), name="credential-list"),
    path(
        "credential/<uuid:object_id>",
        resources.CredentialDetail.as_view(),
        name="credential-detail",
    ),
    *(
        pattern
        for kind in (STRUCTURED_OUTPUT, EVAL, PERSONALITY, SCENARIO, SUITE, SIMULATION)
        for pattern in _resource(kind)
    ),
]
