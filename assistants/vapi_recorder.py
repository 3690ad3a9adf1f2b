"""A Vapi account that remembers what was read of it, as files that can be imported again.

Owns the names of those files, whose folders say what each object is (the config-as-code layout).
It must not decide what is read.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import Any, Final

from assistants.import_results import ImportFile
from assistants.vapi_api import VapiApi, VapiApiError

MOST_BYTES: Final = 20 * 1024 * 1024

_FOLDERS: Final = {
    "assistant": "assistants",
    "tool": "tools",
    "squad": "squads",
    "phone-number": "phoneNumbers",
    "structured-output": "structuredOutputs",
    "eval": "evals",
    "eval/simulation/personality": "simulations/personalities",
    "eval/simulation/scenario": "simulations/scenarios",
    "eval/simulation": "simulations/tests",
    "eval/simulation/suite": "simulations/suites",
}


class VapiRecorder(VapiApi):
    """The client of an account, with a copy of each object of the routes that are imported."""

    def __init__(self, *, api_key: str, base_url: str, **options: Any) -> None:
        """Prepare a client that has read nothing yet; arguments are those of ``VapiApi``."""
        super().__init__(api_key=api_key, base_url=base_url, **options)
        self._recorded: dict[str, bytes] = {}
        self._size_bytes = 0

    def objects(
        self, route: str, filters: Mapping[str, str] | None = None
    ) -> Iterator[dict[str, Any]]:
        """Yield every object of a list route and keep it.

        Raises:
            VapiApiError: as ever, or the account is too large to be kept for a preview.
        """
        for row in super().objects(route, filters):
            self._keep(route, row)
            yield row

    def get(self, route: str, object_id: str) -> dict[str, Any] | None:
        """Return one object, which is kept, or None."""
        row = super().get(route, object_id)
        if row is not None:
            self._keep(route, row)
        return row

    def files(self) -> list[ImportFile]:
        """Return what was read so far."""
        return [ImportFile(name, raw) for name, raw in self._recorded.items()]

    def _keep(self, route: str, row: dict[str, Any]) -> None:
        folder = _FOLDERS.get(route)
        if folder is None:
            return
        object_id = str(row.get("id") or len(self._recorded)).replace("/", "-")
        raw = json.dumps(row).encode()
        self._size_bytes += len(raw)
        if self._size_bytes > MOST_BYTES:
            raise VapiApiError(
                f"the account holds over {MOST_BYTES // 2**20} MiB, too much for a preview in the "
                "browser. Fix: import it with the command import_vapi --from-api"
            )
        self._recorded[f"{folder}/{object_id}.json"] = raw
