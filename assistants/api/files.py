"""``/file`` in Vapi's shapes (vapi.md 8.3): uploads by multipart, the rest is JSON.

Reads by selectors, writes by services. A file is handed out as an attachment of no particular type:
whoever uploaded it must not be able to run anything in somebody's browser.
"""

from __future__ import annotations

import io
import uuid
from typing import Any, Final

from django.core.exceptions import SuspiciousOperation
from django.core.files.uploadedfile import UploadedFile
from django.http import HttpResponse
from rest_framework import exceptions
from rest_framework.parsers import MultiPartParser
from rest_framework.request import Request
from rest_framework.response import Response

from assistants import resource_services, selectors
from assistants.file_services import MAX_FILE_BYTES, FileIdTaken, file_upload, said_type
from assistants.models import StoredResource
from assistants.resource_serializers import FileShape, file_json
from voiceplatform.base.described import BYTES, TEXT, Described
from voiceplatform.base.rest import (
    ApiView,
    BoundedJSONParser,
    PayloadTooLarge,
    check_shape,
    list_window,
)

_MAX_BODY_BYTES: Final = MAX_FILE_BYTES + 64 * 1024  # the form around the file
_KIND: Final = StoredResource.Kind.FILE
# What the upload said of its bytes stays true as long as they are the same.
_OF_THE_BYTES: Final = frozenset({"bytes", "mimetype", "originalName"})
_FORM: Final = {
    "type": "object",
    "required": ["file"],
    "properties": {
        "file": BYTES,
        "name": {"type": "string", "maxLength": 200},
        "purpose": TEXT,
        "metadata": {"type": "string", "description": "a JSON object"},
        "id": {
            "type": "string",
            "format": "uuid",
            "description": "the id by which tools from Vapi name it",
        },
    },
}
_DESCRIBED: Final = Described(noun="File", post=_FORM, patch=FileShape, query={"purpose": TEXT})


class FileList(ApiView):
    """``GET`` and ``POST /file``."""

    described = _DESCRIBED
    parser_classes = (MultiPartParser,)

    def get(self, request: Request) -> Response:
        """List files, newest first; ``purpose`` narrows."""
        rows = selectors.resource_list(self.organisation, _KIND).defer("document", "content")
        rows = rows.select_related("reading")
        purpose = request.query_params.get("purpose")
        if purpose is not None:
            rows = rows.filter(document_redacted__purpose=purpose.replace("\x00", ""))
        return Response([file_json(row) for row in list_window(request, rows)])

    def post(self, request: Request) -> Response:
        """Store an uploaded file.

        Raises:
            PayloadTooLarge: more than ``MAX_FILE_BYTES``.
            ValidationError: no file, metadata that is no JSON object, an id that is taken.
        """
        upload, about, file_id = self._form(request)
        if upload.size is None or upload.size > MAX_FILE_BYTES:
            raise PayloadTooLarge(f"The file is larger than {MAX_FILE_BYTES} bytes.")
        check_shape(FileShape, about)
        try:
            file = file_upload(
                organisation=self.organisation,
                name=upload.name or "",
                mimetype=said_type(upload.content_type),
                content=upload.read(),
                actor=self.key,
                about=about,
                file_id=file_id,
            )
        except FileIdTaken as error:
            raise exceptions.ValidationError(f"id {file_id} is taken; leave it out") from error
        return Response(file_json(file), status=201)

    def _form(
        self, request: Request
    ) -> tuple[UploadedFile[bytes], dict[str, Any], uuid.UUID | None]:
        length = request.META.get("CONTENT_LENGTH") or "0"
        if not length.isdigit() or int(length) > _MAX_BODY_BYTES:
            raise PayloadTooLarge(f"The file is larger than {MAX_FILE_BYTES} bytes.")
        try:
            form: Any = request.data
        except SuspiciousOperation as error:  # more fields or files than Django takes
            raise exceptions.ParseError(str(error)) from error
        upload = form.get("file")
        if not isinstance(upload, UploadedFile):
            raise exceptions.ValidationError("file must be a file in a multipart form")
        about = {name: form[name] for name in ("name", "purpose") if form.get(name)}
        if form.get("metadata"):
            raw = io.BytesIO(str(form["metadata"]).encode("utf-8", "replace"))
            about["metadata"] = BoundedJSONParser().parse(raw)
        return upload, about, _id(form.get("id"))


def _id(text: Any) -> uuid.UUID | None:
    try:
        return uuid.UUID(str(text)) if text else None
    except ValueError:
        raise exceptions.ValidationError("id must be a UUID") from None


class FileDetail(ApiView):
    """``GET``, ``PATCH`` and ``DELETE /file/{id}``."""

    described = _DESCRIBED

    def get(self, request: Request, object_id: str) -> Response:
        """Return what is known of one file."""
        return Response(file_json(self._file(object_id)))

    def patch(self, request: Request, object_id: str) -> Response:
        """Replace the top-level fields that were sent."""
        file, patch = self._file(object_id), self.body()
        check_shape(FileShape, patch)
        patch = {name: value for name, value in patch.items() if name not in _OF_THE_BYTES}
        file = resource_services.resource_patch(resource=file, patch=patch, actor=self.key)
        return Response(file_json(file))

    def delete(self, request: Request, object_id: str) -> Response:
        """Delete a file with its bytes and return what was known of it."""
        file = self._file(object_id)
        resource_services.resource_delete(resource=file, actor=self.key)
        return Response(file_json(file))

    def _file(self, object_id: str) -> StoredResource:
        rows = selectors.resource_list(self.organisation, _KIND).select_related("reading")
        file: StoredResource = self.find(rows, object_id, "File")
        return file


class FileContent(ApiView):
    """``GET /file/{id}/content``: the bytes."""

    described = Described(
        noun="File",
        answers={"GET": BYTES},
        content_types={"GET": "application/octet-stream"},
    )

    def get(self, request: Request, object_id: str) -> HttpResponse:
        """Return the bytes as an attachment."""
        rows = selectors.resource_list(self.organisation, _KIND).defer(None)
        file: StoredResource = self.find(rows, object_id, "File")
        return HttpResponse(
            bytes(file.content or b""),
            content_type="application/octet-stream",
            headers={"Content-Disposition": "attachment"},
        )
