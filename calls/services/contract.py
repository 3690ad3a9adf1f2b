"""Whether a number may use a connection: rows in, a sentence of ``calls.numbers.contract`` out."""

from __future__ import annotations

from calls.models import PhoneNumber, ProviderConnection
from calls.numbers.contract import Marks, Terms, why_not


class ContractForbids(Exception):
    """A session was about to be opened where the number's data may not go; the text says why."""


def contract_problem(number: PhoneNumber, connection: ProviderConnection) -> str:
    """Return why ``number`` may not use ``connection``, '' when it may."""
    return why_not(
        Marks(health_data=number.health_data, eu_data=number.eu_data),
        Terms(
            region=connection.region.strip().lower(),
            # Both halves: a name without a date is an intention.
            has_baa=bool(connection.baa_signed_by and connection.baa_signed_on),
            has_dpa=connection.dpa_signed_on is not None,
            zero_retention=connection.zero_retention,
        ),
    )
