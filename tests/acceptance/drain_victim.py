"""A process that works on an outbox and stops at a named point, for a test to kill it there.

``python -m tests.acceptance.drain_victim POINT NTH`` says ``at POINT`` on stdout and then waits for
ever, the NTH time it comes to that point. It runs the shipped code; the lease alone is shorter.
"""

from __future__ import annotations

import asyncio
import itertools
import os
import sys
import threading
from collections.abc import Callable
from typing import Any

LEASE_SECONDS = 1
# point: (module, name, before or after it)
POINTS = {
    "before the claim": ("delivery", "claim", "before"),
    "between claim and POST": ("delivery", "deliver", "before"),
    "between answer and settling": ("delivery", "settle", "before"),
    "after settling": ("delivery", "settle", "after"),
    "between commit and poke": ("outbox", "poke", "before"),
    "before the commit": ("reports", "event_enqueue", "after"),
}


def _stopping(plain: Callable[..., Any], point: str, nth: int, side: str) -> Callable[..., Any]:
    numbers = itertools.count(1)

    def stop() -> None:
        sys.stdout.write(f"at {point}\n")
        sys.stdout.flush()
        threading.Event().wait()

    def replaced(*arguments: Any, **options: Any) -> Any:
        mine = next(numbers) == nth
        if mine and side == "before":
            stop()
        result = plain(*arguments, **options)
        if mine and side == "after":
            stop()
        return result

    return replaced


def _causes(count: int) -> None:
    """End ``count`` calls, each in a transaction of its own with what is to be told of it."""
    from calls.models import Call
    from calls.services.call_finish import call_close

    open_calls = Call.objects.exclude(status=Call.Status.ENDED).order_by("call_sid")
    for call_id in list(open_calls.values_list("pk", flat=True)[:count]):
        call_close(call_id=str(call_id), reason="customer-ended-call")


def main(point: str, nth: int, work: str) -> None:
    """Do ``work`` (``drain`` or ``end N``) and stop at ``point``, or nowhere."""
    import django

    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "voiceplatform.settings")
    django.setup()
    from calls.events import delivery, outbox
    from calls.services import reports

    outbox.LEASE_SECONDS = LEASE_SECONDS
    modules = {"delivery": delivery, "outbox": outbox, "reports": reports}
    if point in POINTS:
        module, name, side = POINTS[point]
        plain = getattr(modules[module], name)
        setattr(modules[module], name, _stopping(plain, point, nth, side))
    elif work != "drain":
        outbox.poke = lambda: None  # nobody listens here
    if work == "drain":
        asyncio.run(delivery.drain())
    else:
        _causes(int(work.split()[1]))
    sys.stdout.write("done\n")


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]), sys.argv[3])
