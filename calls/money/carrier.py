"""What the carrier charges for a call, from a dated list; pure. Amounts are micro-USD.

Twilio's US list prices (twilio.md 8.2, read 2026-11-22): every leg and every stream is rounded up
to a full minute. Accounts have contracts, so this is an estimate and is shown as one.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class CarrierPrice:
    """USD per started minute, valid from ``since`` (ISO date)."""

    since: str
    inbound: float
    stream: float
    outbound: float


US_LIST = CarrierPrice("2026-11-22", inbound=0.0085, stream=0.004, outbound=0.014)


def started_minutes(seconds: float) -> int:
    """Return how many minutes are billed for that long, none for a call that never was."""
    return -int(-seconds // 60) if seconds > 0 else 0


def carrier_microusd(
    *,
    call_seconds: float,
    stream_seconds: list[float],
    transfer_seconds: float = 0,
    price: CarrierPrice = US_LIST,
) -> int:
    """Return the price of an inbound leg, its streams and the leg it was transferred to."""
    streams = sum(started_minutes(seconds) for seconds in stream_seconds)
    usd = (
        started_minutes(call_seconds) * price.inbound
        + streams * price.stream
        + started_minutes(transfer_seconds) * price.outbound
    )
    return round(usd * 1_000_000)
