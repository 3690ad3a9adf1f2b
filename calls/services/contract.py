"""Whether a number may use a connection: rows in, a sentence of ``calls.numbers.contract`` out."""

from __future__ import annotations

from assistants.models import Assistant
from calls.models import PhoneNumber, ProviderConnection
from calls.numbers.contract import Marks, Terms, why_not


class ContractForbids(Exception):
    """A session was about to be opened where the number's data may not go; the text says why."""


def contract_problem(number: PhoneNumber, connection: ProviderConnection) -> str:
    """Return why ``number`` may not use ``connection``, '' when it may."""
    return why_not(
        Marks(health_data=number.health_data, eu_data=number.eu_data), _terms_of(connection)
    )


def marks_of(assistant: Assistant) -> Marks:
    """Return the marks of all numbers that ``assistant`` answers, on whatever route they are.

    What is said to it in a talk is what its callers say, so a talk obeys what holds for them.
    """
    marked = PhoneNumber.objects.filter(assistant=assistant)
    rows = list(marked.values_list("health_data", "eu_data"))
    return Marks(health_data=any(health for health, _ in rows), eu_data=any(eu for _, eu in rows))


def talk_problem(marks: Marks, connection: ProviderConnection) -> str:
    """Return why an assistant whose numbers have ``marks`` may not be talked to, '' when it may."""
    return why_not(marks, _terms_of(connection))


def _terms_of(connection: ProviderConnection) -> Terms:
    return Terms(
        region=connection.region.strip().lower(),
        # Both halves: a name without a date is an intention.
        has_baa=bool(connection.baa_signed_by and connection.baa_signed_on),
        has_dpa=connection.dpa_signed_on is not None,
        zero_retention=connection.zero_retention,
    )
