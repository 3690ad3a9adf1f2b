"""App configuration of the assistants layer."""

from __future__ import annotations

from django.apps import AppConfig


class AssistantsConfig(AppConfig):
    """Imported Vapi assistants and their revisions."""

    name = "assistants"
    verbose_name = "Assistants"
