"""Which connection answers an organisation's calls, for findings of the layer below.

Owns that one read; dialling it is ``call_plan``'s. The key stays sealed.
"""

from __future__ import annotations

from assistants.circumstances import Answering
from calls.models import ProviderConnection
from calls.wire.realtime import takes_hints
from voiceplatform.base.models import Organisation


def answering_default(*, organisation: Organisation) -> Answering | None:
    """Return the connection that answers where a number names no other."""
    rows = ProviderConnection.objects.filter(organisation=organisation, is_default=True)
    connection = rows.defer("api_key").first()
    return None if connection is None else answering_of(connection)


def answering_of(connection: ProviderConnection) -> Answering:
    """Return of a connection what findings on assistants take into account."""
    return Answering(
        name=connection.name,
        deployment=connection.model if connection.names_deployment else "",
        transcriber=connection.transcription_model,
        takes_hints=takes_hints(connection.transcription_model),
    )
