"""App configuration of the lowest layer."""

from __future__ import annotations

from django.apps import AppConfig


class BaseConfig(AppConfig):
    """Organisations, keys, jobs, audit entries and the fields they share."""

    name = "voiceplatform.base"
    label = "base"
    verbose_name = "Organisations and access"

    def ready(self) -> None:
        """Register the system checks."""
        from voiceplatform.base import checks  # noqa: F401 - importing registers them
