"""Phone numbers for config as code: the documents that ``number_import`` reads back unchanged.

Numbers that are only kept (another provider, an unknown Twilio account) are among them. Reads only.
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
    """Return id, name, time of creation and document, with secrets, of each number."""
    rows, kept = number_sources(organisation)
    # Documents are needed here, so they come with the rows and not one by one.
    whole = kept.defer(None).defer("content")
    for stored in with_companions(organisation, rows, whole, descending=False):
        document = number_document(stored)
        names = (document.get(key) for key in ("name", "number", "sipUri"))
        said = next((name for name in names if isinstance(name, str) and name), "")
        name = (stored.row.name or stored.row.number_e164) if stored.row else said
        yield stored.pk, name, stored.created_at, document
