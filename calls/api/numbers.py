"""``/phone-number`` and ``/v2/phone-number`` in Vapi's shapes (vapi.md 7.1).

Reads by selectors, writes by services. Whatever is done here, nothing changes at a carrier.
"""

from __future__ import annotations

import uuid
from collections.abc import Mapping
from typing import Any

from rest_framework import exceptions
from rest_framework.request import Request
from rest_framework.response import Response

from calls.api.serializers import NewNumberShape, NumberShape, check_number
from calls.selectors import numbers
from calls.selectors.numbers import StoredNumber
from calls.services import number_documents
from calls.services.number_documents import NumberInUse, NumberRefused, number_object
from voiceplatform.base.described import TEXT, Described
from voiceplatform.base.rest import (
    ApiView,
    Conflict,
    check_shape,
    list_page,
    list_window,
    query_limit,
)


class NumberView(ApiView):
    """What the views of ``/phone-number`` share."""

    described = Described(
        noun="PhoneNumber", post=NewNumberShape, patch=NumberShape, refuses={"PATCH": (409,)}
    )


class NumberList(NumberView):
    """``GET`` and ``POST /phone-number``."""

    def get(self, request: Request) -> Response:
        """List numbers, newest first."""
        rows, kept = numbers.number_sources(self.organisation)
        shown = numbers.with_companions(
            self.organisation, list_window(request, rows), list_window(request, kept)
        )
        return Response([number_object(each) for each in shown[: query_limit(request)]])

    def post(self, request: Request) -> Response:
        """Store a number; one of a Twilio account that is known here starts on route ``vapi``."""
        document = self.body()
        check_shape(NewNumberShape, document)
        check_number(document)
        try:
            stored = number_documents.number_create(
                organisation=self.organisation, document=document, actor=self.key
            )
        except NumberRefused as error:
            raise exceptions.ValidationError(str(error)) from error
        return Response(number_object(stored), status=201)


class NumberPage(ApiView):
    """``GET /v2/phone-number``: the same numbers in an envelope (vapi.md 1.5)."""

    described = Described(noun="PhoneNumber", listing="page", query={"search": TEXT})

    def get(self, request: Request) -> Response:
        """List a page of numbers; ``search`` finds part of a name, number or SIP address."""
        search = request.query_params.get("search", "").replace("\x00", "")
        rows, kept = numbers.number_sources(self.organisation, search)
        ordered_rows, page = list_page(request, rows)
        ordered_kept, _ = list_page(request, kept)
        until = page.number * page.limit
        shown = numbers.with_companions(
            self.organisation,
            ordered_rows[:until],
            ordered_kept[:until],
            by=page.column,
            descending=page.descending,
        )
        total = ordered_rows.count() + ordered_kept.count()
        results = shown[until - page.limit : until]
        return Response(page.envelope([number_object(each) for each in results], total))


class NumberDetail(NumberView):
    """``GET``, ``PATCH`` and ``DELETE /phone-number/{id}``."""

    def get(self, request: Request, object_id: str) -> Response:
        """Return one number."""
        return Response(number_object(self._number(object_id)))

    def patch(self, request: Request, object_id: str) -> Response:
        """Replace the top-level fields that were sent."""
        stored, patch = self._number(object_id), self.body()
        check_shape(NumberShape, patch)
        check_number({**number_documents.number_document(stored), **_said(patch)})
        try:
            stored = number_documents.number_patch(stored=stored, patch=patch, actor=self.key)
        except NumberRefused as error:
            raise exceptions.ValidationError(str(error)) from error
        except NumberInUse as error:
            raise Conflict(str(error)) from error
        return Response(number_object(stored))

    def delete(self, request: Request, object_id: str) -> Response:
        """Delete a number here and return it as it was; nothing changes at the carrier."""
        stored = self._number(object_id)
        answer = number_object(stored)
        try:
            number_documents.number_delete(stored=stored, actor=self.key)
        except NumberInUse as error:
            raise Conflict(str(error)) from error
        return Response(answer)

    def _number(self, object_id: str) -> StoredNumber:
        try:
            found = numbers.number_by_id(self.organisation, uuid.UUID(object_id))
        except ValueError:
            found = None
        if found is None:
            raise exceptions.NotFound(f"Phone number {object_id} was not found.")
        return found


def _said(patch: Mapping[str, Any]) -> dict[str, Any]:
    """Leave out the discriminator: some clients omit it (vapi.md trap 25); it never changes."""
    return {name: value for name, value in patch.items() if name != "provider"}
