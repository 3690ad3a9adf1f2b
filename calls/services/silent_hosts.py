"""Which tool servers are left alone at the moment, in rows that people can see.

Owns those rows: each process that carries calls tells what it has met, and what is old or was taken
back is gone. Whether a server is asked is decided in the process itself (``tools.hosts``), never by
a row.
"""

from __future__ import annotations

import datetime as dt
import os
import platform
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final
from urllib.parse import urlsplit

from django.db import transaction
from django.utils import timezone

from calls.models import SilentHost
from tools.hosts import OPEN_SECONDS
from voiceplatform.base.selectors import rows_visible_to, uuids_in

# Without calls nobody asks a server, so nobody learns that it answers again.
SHOWN_FOR: Final = dt.timedelta(minutes=30)
_KEPT_FOR: Final = dt.timedelta(days=1)


def silent_hosts_store(met: Sequence[tuple[str, str, int]]) -> None:
    """Store the hosts that this process leaves alone now, as (owner, host, failures)."""
    process = f"{platform.node()[:60]}:{os.getpid()}"
    now = timezone.now()
    own = SilentHost.objects.filter(process=process)
    kept: list[int] = []
    with transaction.atomic():
        for owner, host, failures in met:
            for organisation_id in uuids_in([owner]):
                row, _ = SilentHost.objects.update_or_create(
                    organisation_id=organisation_id,
                    host=host[:300],
                    process=process,
                    defaults={"failures": failures, "last_at": now},
                    create_defaults={"failures": failures, "last_at": now, "since": now},
                )
                kept.append(row.pk)
        own.exclude(pk__in=kept).delete()
        SilentHost.objects.filter(last_at__lt=now - _KEPT_FOR).delete()


@dataclass(frozen=True, slots=True)
class SilentServer:
    """A server as a page tells of it."""

    host: str
    words: str


def silent_servers(user: Any, *, hostname: str = "") -> list[SilentServer]:
    """Return the servers that are left alone, as far as ``user`` may see them.

    Args:
        hostname: only those of this name.
    """
    rows = rows_visible_to(SilentHost.objects.all(), user, "organisation").filter(
        last_at__gte=timezone.now() - SHOWN_FOR
    )
    worst: dict[str, SilentHost] = {}
    for row in rows.order_by("since", "id"):
        if not hostname or urlsplit(row.host).hostname == hostname:
            worst.setdefault(row.host, row)
    return [SilentServer(host, _words(row)) for host, row in worst.items()]


def _words(row: SilentHost) -> str:
    since = timezone.localtime(row.since)
    return (
        f"gave no answer {row.failures} times in a row since {since:%H:%M} ({since:%Z}). Calls do "
        f"not wait for it: the assistant is told at once, and one request every {OPEN_SECONDS:g} "
        "seconds tries whether it is back. See that the server runs and can be reached."
    )
