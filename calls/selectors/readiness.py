"""Reads of the readiness of numbers, for pages, exports and other rooms; writes nothing.

Owns the one form in which a row leaves the platform, as JSON and as CSV. A cell that a spreadsheet
would take for a formula is made a text (``neutral``): names and addresses are other people's words.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable, Iterator, Sequence
from typing import Any, Final

from django.db.models import QuerySet

from calls.models import NumberReadiness, PhoneNumber
from voiceplatform.base.models import Organisation

COLUMNS: Final = (
    *("number", "colour", "reason", "next_step", "name", "twilio_account", "twilio_sid"),
    *("checked_at", "findings", "facts"),
)
# What makes a spreadsheet compute a cell; an apostrophe before it makes it a text.
_FORMULAS: Final = ("=", "+", "-", "@", "\t", "\r")


def readiness_list(organisation: Organisation) -> QuerySet[NumberReadiness]:
    """Return the rows of an organisation with what ``as_json`` shows of others."""
    rows: QuerySet[NumberReadiness] = NumberReadiness.objects.for_organisation(organisation)
    return with_names(rows)


def with_names(rows: QuerySet[NumberReadiness]) -> QuerySet[NumberReadiness]:
    """Fetch names along, and nothing that is sealed."""
    return rows.select_related("account", "number").only(
        *("number_e164", "colour", "reason", "next_step", "next_link", "next_target"),
        *("twilio_sid", "checked_at", "findings", "facts", "organisation_id"),
        *("account__name", "number__name"),
    )


def readiness_view(number: PhoneNumber) -> dict[str, Any] | None:
    """Return what was found of ``number`` as plain values, None if it was never checked."""
    row = with_names(NumberReadiness.objects.filter(number=number)).first()
    return as_json(row) if row is not None else None


def as_json(row: NumberReadiness) -> dict[str, Any]:
    """Return a row as plain values; times are ISO 8601 with their zone."""
    return {
        "number": row.number_e164,
        "colour": row.colour,
        "reason": row.reason,
        "next_step": row.next_step,
        "name": row.number.name if row.number is not None else "",
        "twilio_account": row.account.name if row.account is not None else "",
        "twilio_sid": row.twilio_sid,
        "checked_at": row.checked_at.isoformat(timespec="seconds"),
        "findings": row.findings,
        "facts": row.facts,
    }


def as_csv(rows: Iterable[NumberReadiness]) -> Iterator[str]:
    """Yield a table line by line, one number a line, findings and facts as text."""
    yield _line(COLUMNS)
    for row in rows:
        values = as_json(row)
        values["findings"] = "; ".join(str(each["short"]) for each in row.findings)
        values["facts"] = "; ".join(
            f"{each['name']}: {each['value']} ({_dated(each)})" for each in row.facts
        )
        yield _line([neutral(str(values[name])) for name in COLUMNS])


def _dated(fact: dict[str, Any]) -> str:
    return f"{fact['source']} {fact['at']}".strip()


def _line(cells: Sequence[str]) -> str:
    text = io.StringIO()
    csv.writer(text).writerow(cells)
    return text.getvalue()


def neutral(cell: str) -> str:
    """Return a cell that no spreadsheet computes; what it does not compute is left as it is."""
    return f"'{cell}" if cell.startswith(_FORMULAS) else cell
