"""Admin of the calls layer, one module per subject; importing them registers them."""

from calls.admin import (
    clips,
    connections,
    event_destinations,
    events,
    handoffs,
    live_page,
    numbers,
    operators,
    policy,
    reconciler,
    records,
    refusals,
    talk_page,
    tool_pages,
    tool_records,
    voice_page,
)

__all__ = [
    "clips",
    "connections",
    "event_destinations",
    "events",
    "handoffs",
    "live_page",
    "numbers",
    "operators",
    "policy",
    "reconciler",
    "records",
    "refusals",
    "talk_page",
    "tool_pages",
    "tool_records",
    "voice_page",
]
