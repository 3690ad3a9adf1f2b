"""``/assistant`` in Vapi's shapes (vapi.md 2.1): reads by selectors, writes by services."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from rest_framework.request import Request
from rest_framework.response import Response

from assistants import selectors, services
from assistants.exceptions import AssistantInUse
from assistants.models import Assistant
from assistants.serializers import AssistantShape, assistant_json
from assistants.wire.vapi_config import read_assistant
from tools.selectors import tools_by_id
from voiceplatform.base.described import Described
from voiceplatform.base.rest import ApiView, Conflict, check_shape, list_window


class AssistantView(ApiView):
    """What both views share."""

    described = Described(noun="Assistant", post=AssistantShape, patch=AssistantShape)

    def check(self, document: Mapping[str, Any]) -> None:
        """Check the document's shape and that its saved tools exist in this organisation."""
        known = tools_by_id(self.organisation, read_assistant(document).tool_ids)
        check_shape(AssistantShape, document, known_tools=known)


class AssistantList(AssistantView):
    """``GET`` and ``POST /assistant``."""

    def get(self, request: Request) -> Response:
        """List assistants, newest first."""
        rows = selectors.assistant_list(self.organisation).defer("current_revision__document")
        shown = selectors.with_bare_revisions(list_window(request, rows))
        return Response([assistant_json(row) for row in shown])

    def post(self, request: Request) -> Response:
        """Make an assistant with its first revision."""
        document = self.body()
        self.check(document)
        assistant = services.assistant_publish(
            organisation=self.organisation, document=document, source="api", actor=self.key
        )
        return Response(assistant_json(assistant), status=201)


class AssistantDetail(AssistantView):
    """``GET``, ``PATCH`` and ``DELETE /assistant/{id}``."""

    def get(self, request: Request, object_id: str) -> Response:
        """Return one assistant."""
        return Response(assistant_json(self._assistant(object_id)))

    def patch(self, request: Request, object_id: str) -> Response:
        """Publish a revision with the top-level fields that were sent."""
        assistant, patch = self._assistant(object_id), self.body()
        self.check(patch)
        assistant = services.assistant_patch(assistant=assistant, patch=patch, actor=self.key)
        return Response(assistant_json(assistant))

    def delete(self, request: Request, object_id: str) -> Response:
        """Delete an assistant and return it as it was."""
        assistant = self._assistant(object_id)
        try:
            services.assistant_delete(assistant=assistant, actor=self.key)
        except AssistantInUse as error:
            raise Conflict(str(error)) from error
        return Response(assistant_json(assistant))

    def _assistant(self, object_id: str) -> Assistant:
        rows = selectors.assistant_list(self.organisation)
        assistant: Assistant = self.find(rows, object_id, "Assistant")
        return assistant
