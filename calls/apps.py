"""App configuration of the calls layer."""

from __future__ import annotations

from django.apps import AppConfig


class CallsConfig(AppConfig):
    """Numbers, live calls, records and delivery."""

    name = "calls"
    verbose_name = "Calls"

    def ready(self) -> None:
        """Register the system checks."""
        from calls import checks  # noqa: F401 - importing registers them
