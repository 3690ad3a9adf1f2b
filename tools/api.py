"""``/tool`` in Vapi's shapes (vapi.md 3.1): reads through selectors, writes through services."""

from __future__ import annotations

from rest_framework import exceptions
from rest_framework.request import Request
from rest_framework.response import Response

from tools import selectors, services
from tools.exceptions import ToolInUse, ToolTypeIsFixed
from tools.models import Tool
from tools.serializers import NewToolShape, ToolShape, tool_json
from voiceplatform.base.described import Described
from voiceplatform.base.rest import ApiView, Conflict, check_shape, list_window


class ToolView(ApiView):
    """What both views share."""

    described = Described(noun="Tool", post=NewToolShape, patch=ToolShape)


class ToolList(ToolView):
    """``GET`` and ``POST /tool``."""

    def get(self, request: Request) -> Response:
        """List tools, newest first."""
        rows = selectors.tool_list(self.organisation).defer("document")
        return Response([tool_json(tool) for tool in list_window(request, rows)])

    def post(self, request: Request) -> Response:
        """Make a tool."""
        document = self.body()
        check_shape(NewToolShape, document)
        tool = services.tool_store(
            organisation=self.organisation, document=document, actor=self.key
        )
        return Response(tool_json(tool), status=201)


class ToolDetail(ToolView):
    """``GET``, ``PATCH`` and ``DELETE /tool/{id}``."""

    def get(self, request: Request, object_id: str) -> Response:
        """Return one tool."""
        return Response(tool_json(self._tool(object_id)))

    def patch(self, request: Request, object_id: str) -> Response:
        """Replace the top-level fields that were sent."""
        tool, patch = self._tool(object_id), self.body()
        check_shape(ToolShape, patch)
        try:
            tool = services.tool_patch(tool=tool, patch=patch, actor=self.key)
        except ToolTypeIsFixed as error:
            raise exceptions.ValidationError(str(error)) from error
        return Response(tool_json(tool))

    def delete(self, request: Request, object_id: str) -> Response:
        """Delete a tool and return it as it was."""
        tool = self._tool(object_id)
        try:
            services.tool_delete(tool=tool, actor=self.key)
        except ToolInUse as error:
            raise Conflict(str(error)) from error
        return Response(tool_json(tool))

    def _tool(self, object_id: str) -> Tool:
        tool: Tool = self.find(selectors.tool_list(self.organisation), object_id, "Tool")
        return tool
