"""App configuration of the tools layer."""

from __future__ import annotations

from django.apps import AppConfig


class ToolsConfig(AppConfig):
    """Things an assistant may call; knows nothing of calls or telephony."""

    name = "tools"
    verbose_name = "Tools"
