"""``/squad`` in Vapi's shapes (vapi.md 8.1): reads by selectors, writes by services."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from rest_framework import exceptions
from rest_framework.request import Request
from rest_framework.response import Response

from assistants import selectors, squad_services
from assistants.exceptions import SquadInUse
from assistants.models import Squad
from assistants.resource_serializers import NewSquadShape, SquadShape, squad_json
from assistants.wire.vapi_squad import assistant_references
from voiceplatform.base.described import TEXT, Described
from voiceplatform.base.rest import ApiView, Conflict, Shape, check_shape, list_window, query_ids


class SquadView(ApiView):
    """What both views share."""

    described = Described(noun="Squad", post=NewSquadShape, patch=SquadShape, query={"idAny": TEXT})

    def check(self, shape: type[Shape], document: Mapping[str, Any]) -> None:
        """Check the document's shape and that its saved assistants exist in this organisation."""
        check_shape(shape, document)
        places = list(assistant_references(document))
        known = selectors.assistants_here(self.organisation, (text for _, text in places))
        missing = [
            f"{path} names no assistant here: {text}"
            for path, text in places
            if text.lower() not in known
        ]
        if missing:
            raise exceptions.ValidationError(missing)


class SquadList(SquadView):
    """``GET`` and ``POST /squad``."""

    def get(self, request: Request) -> Response:
        """List squads, newest first; ``idAny`` narrows to some."""
        rows = selectors.squad_list(self.organisation).defer("document")
        wanted = query_ids(request, "idAny")
        if wanted is not None:
            rows = rows.filter(pk__in=wanted)
        return Response([squad_json(squad) for squad in list_window(request, rows)])

    def post(self, request: Request) -> Response:
        """Make a squad."""
        document = self.body()
        self.check(NewSquadShape, document)
        squad = squad_services.squad_store(
            organisation=self.organisation, document=document, actor=self.key
        )
        return Response(squad_json(squad), status=201)


class SquadDetail(SquadView):
    """``GET``, ``PATCH`` and ``DELETE /squad/{id}``."""

    def get(self, request: Request, object_id: str) -> Response:
        """Return one squad."""
        return Response(squad_json(self._squad(object_id)))

    def patch(self, request: Request, object_id: str) -> Response:
        """Replace the top-level fields that were sent."""
        squad, patch = self._squad(object_id), self.body()
        self.check(SquadShape, patch)
        squad = squad_services.squad_patch(squad=squad, patch=patch, actor=self.key)
        return Response(squad_json(squad))

    def delete(self, request: Request, object_id: str) -> Response:
        """Delete a squad and return it as it was."""
        squad = self._squad(object_id)
        try:
            squad_services.squad_delete(squad=squad, actor=self.key)
        except SquadInUse as error:
            raise Conflict(str(error)) from error
        return Response(squad_json(squad))

    def _squad(self, object_id: str) -> Squad:
        squad: Squad = self.find(selectors.squad_list(self.organisation), object_id, "Squad")
        return squad
