"""Stored resources in Vapi's shapes (vapi.md 8.3): one pair of views for every kind.

Reads by selectors, writes by services; nothing here acts upon what is stored.
"""

from __future__ import annotations

import uuid
from typing import Any, ClassVar

from django.db.models import QuerySet
from rest_framework.request import Request
from rest_framework.response import Response

from assistants import resource_services, selectors
from assistants.exceptions import ResourceInUse
from assistants.models import StoredResource
from assistants.resource_serializers import (
    CREDENTIAL,
    STRUCTURED_OUTPUT,
    KindOfResource,
    resource_json,
)
from voiceplatform.base.described import TEXT, UUID, Described
from voiceplatform.base.rest import (
    ApiView,
    Conflict,
    check_shape,
    list_page,
    list_window,
    query_ids,
    query_uuid,
)


class ResourceView(ApiView):
    """What all kinds share; ``kind`` is given where the route is made."""

    kind: ClassVar[KindOfResource] = STRUCTURED_OUTPUT

    def describe(self) -> Described:
        """Say what the kind is."""
        return Described(
            noun=self.kind.noun.title().replace(" ", ""),
            post=self.kind.shape,
            patch=self.kind.shape(partial=True),
            listing="page" if self.kind.in_envelope else "array",
            query={"id": UUID, "idAny": TEXT, "name": TEXT},
        )

    def rows(self) -> QuerySet[Any]:
        """Return the organisation's live rows of this kind."""
        return selectors.resource_list(self.organisation, self.kind.kind)


class ResourceList(ResourceView):
    """``GET`` and ``POST`` of one kind."""

    def get(self, request: Request) -> Response:
        """List the resources: a bare array, or a page in an envelope where Vapi has one."""
        rows = self._filtered(request, self.rows().defer("document"))
        if not self.kind.in_envelope:
            return Response([resource_json(row) for row in list_window(request, rows)])
        ordered, page = list_page(request, rows)
        shown = ordered[(page.number - 1) * page.limit : page.number * page.limit]
        return Response(page.envelope([resource_json(row) for row in shown], ordered.count()))

    def _filtered(self, request: Request, rows: QuerySet[Any]) -> QuerySet[Any]:
        wanted = query_ids(request, "idAny")
        one = query_uuid(request, "id")
        name = request.query_params.get("name")
        if wanted is not None:
            rows = rows.filter(pk__in=wanted)
        if one is not None:
            rows = rows.filter(pk=one)
        if name is not None:
            rows = rows.filter(name=name.replace("\x00", ""))
        return rows

    def post(self, request: Request) -> Response:
        """Store a resource."""
        document = self.body()
        check_shape(self.kind.shape, document)
        resource = resource_services.resource_store(
            organisation=self.organisation,
            kind=self.kind.kind,
            document=document,
            actor=self.key,
        )
        return Response(resource_json(resource), status=201)


class ResourceDetail(ResourceView):
    """``GET``, ``PATCH`` and ``DELETE`` of one resource."""

    def get(self, request: Request, object_id: uuid.UUID) -> Response:
        """Return one resource."""
        return Response(resource_json(self._resource(object_id)))

    def patch(self, request: Request, object_id: uuid.UUID) -> Response:
        """Replace the top-level fields that were sent."""
        resource, patch = self._resource(object_id), self.body()
        self.kind.shape(data=patch, partial=True).is_valid(raise_exception=True)
        resource = resource_services.resource_patch(resource=resource, patch=patch, actor=self.key)
        return Response(resource_json(resource))

    def delete(self, request: Request, object_id: uuid.UUID) -> Response:
        """Delete a resource and return it as it was."""
        resource = self._resource(object_id)
        try:
            resource_services.resource_delete(resource=resource, actor=self.key)
        except ResourceInUse as error:
            raise Conflict(str(error)) from error
        return Response(resource_json(resource))

    def _resource(self, object_id: uuid.UUID) -> StoredResource:
        resource: StoredResource = self.find(self.rows(), str(object_id), self.kind.noun)
        return resource


class CredentialList(ResourceList):
    """``/credential``; what is secret is taken in and never given out."""

    kind = CREDENTIAL
    write_scope = "admin"


class CredentialDetail(ResourceDetail):
    """``/credential/{id}``."""

    kind = CREDENTIAL
    write_scope = "admin"
