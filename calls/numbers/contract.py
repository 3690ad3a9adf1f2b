"""Which model connections a number may use, by what was agreed with the provider (design.md 11).

Pure: marks of a number and terms of a connection in, a sentence out. It must not offer a way
around: every place that opens a session for callers asks here.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Marks:
    """What kind of callers' data a number carries."""

    health_data: bool = False
    eu_data: bool = False


@dataclass(frozen=True, slots=True)
class Terms:
    """What was agreed with a provider; ``region`` in lower case, '' where none is stated."""

    region: str
    has_baa: bool
    has_dpa: bool
    zero_retention: bool


def why_not(marks: Marks, terms: Terms) -> str:
    """Return why a number with these marks may not use the connection, '' when it may."""
    if marks.health_data and not terms.has_baa:
        return "the number carries health data and the model connection has no signed BAA"
    if marks.health_data and not terms.zero_retention:
        return "the number carries health data and the model connection keeps what is said"
    if marks.eu_data and not (terms.region == "eu" or terms.region.startswith("eu-")):
        return "the number's data stays in the EU and the model connection's region is not eu"
    if marks.eu_data and not terms.has_dpa:
        return "the number's data stays in the EU and the model connection has no signed DPA"
    return ""
