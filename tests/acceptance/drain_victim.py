"""Processes that work on an outbox and stop at a named point, for a test to kill them there.

``python -m tests.acceptance.drain_victim`` takes orders on stdin, a JSON object a line: ``point``,
``nth`` and ``work``. Each is carried out by a copy of the process, which has loaded everything. It
says ``pid N``, then ``at POINT`` when it comes to that point the NTH time and waits there for ever,
or ``done``. It runs the shipped code; the lease alone is shorter.
"""

from __future__ import annotations

import asyncio
import importlib
import itertools
import json
import os
import signal
import sys
import threading
import traceback
from collections.abc import Callable
from typing import Any

from voiceplatform.supervisor.parent_death import die_with_parent

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


def _work(point: str, nth: int, work: str) -> None:
    """Do ``work`` (``drain``, ``end N``, a command of manage.py) and stop at ``point``, if any."""
    from django.core.management import call_command

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
    elif work.startswith("end "):
        _causes(int(work.split()[1]))
    else:
        name, _, code = work.partition(" ")
        call_command(name, verbosity=0, **({"command": code} if code else {}))


def _orders() -> None:
    """Take orders, each carried out by a copy of this process that a test may kill."""
    import django

    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "voiceplatform.settings")
    django.setup()
    importlib.import_module("calls.events.delivery")
    importlib.import_module("calls.services.call_finish")
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)
    server_pid = os.getpid()
    for line in sys.stdin:
        if os.fork():
            continue
        die_with_parent(server_pid, signal.SIGKILL)
        code = 1
        try:
            sys.stdout.write(f"pid {os.getpid()}\n")
            sys.stdout.flush()
            _work(**json.loads(line))
            sys.stdout.write("done\n")
            code = 0
        except BaseException:
            traceback.print_exc()
            sys.stdout.write("failed\n")
        finally:
            sys.stdout.flush()
            sys.stderr.flush()
            os._exit(code)


if __name__ == "__main__":
    _orders()
