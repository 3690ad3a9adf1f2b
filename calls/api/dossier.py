"""``GET /phone-number/{id}/dossier``: the dossier of a number for programs; each one is audited."""

from __future__ import annotations

from rest_framework.request import Request
from rest_framework.response import Response

from calls.selectors.records import number_list
from calls.services.dossiers import dossier_read
from voiceplatform.base.described import Described
from voiceplatform.base.rest import ApiView


class NumberDossier(ApiView):
    """``GET /phone-number/{id}/dossier``."""

    described = Described(noun="Dossier", answers={"GET": {"type": "object"}}, listing="one")

    def get(self, request: Request, object_id: str) -> Response:
        """Return how a number came here: steps, figures, cost, approvals, net and incidents."""
        rows = number_list(self.organisation).select_related("organisation")
        number = self.find(rows, object_id, "Phone number")
        dossier = dossier_read(number=number, actor=self.key, through="api")
        return Response(dossier.as_json())
