"""App configuration of the calls layer."""

from __future__ import annotations

from django.apps import AppConfig


class CallsConfig(AppConfig):
    """Numbers, live calls, records and delivery."""

    name = "calls"
    verbose_name = "Calls"

    def ready(self) -> None:
        """Register who stores and reads numbers, and who knows which connection answers."""
        from assistants.ports import (
            register_answering_reader,
            register_number_exporter,
            register_number_importer,
        )
        from calls.services.answering import answering_default
        from calls.services.number_export import number_export
        from calls.services.number_import import number_import
        from calls.services.parity_gate import gate_register
        from calls.services.parity_kinds import kinds_register

        register_number_importer(number_import)
        register_number_exporter(number_export)
        register_answering_reader(answering_default)
        kinds_register()
        gate_register()
