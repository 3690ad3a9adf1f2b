"""Phone numbers for config as code: the documents that ``number_import`` reads back unchanged.

Numbers that are only kept (another provider, an unknown Twilio account) are left out: an import
refuses them. Reads only.
"""

from __future__ import annotations

import datetime as dt
import uuid
from collections.abc import Iterator, Mapping
from typing import Any

from calls.selectors.numbers import number_sources, with_companions
from calls.services.number_documents import number_document
from voiceplatform.base.models import Organisation


def number_export(
    *, organisation: Organisation
) -> Iterator[tuple[uuid.UUID, str, dt.datetime, Mapping[str, Any]]]:
    """Return id, name, time of creation and document, with secrets, of each number served here."""
    rows, _ = number_sources(organisation)
    for stored in with_companions(organisation, rows, [], descending=False):
        assert stored.row is not None
        name = stored.row.name or stored.row.number_e164
        yield stored.pk, name, stored.created_at, number_document(stored)
