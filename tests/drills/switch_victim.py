"""Processes that move numbers and are killed: each kills itself with SIGKILL at a given point.

``python -m tests.drills.switch_victim`` takes orders on stdin, a JSON object a line: ``work``,
``point``, ``nth`` and ``numbers``. Each is carried out by a copy of the process, which has loaded
everything; it says ``died``, or what came of it. It runs the shipped code, the task's own body.
"""

from __future__ import annotations

import gc
import itertools
import json
import os
import signal
import sys
import traceback
from collections.abc import Callable
from typing import Any

from voiceplatform.supervisor.parent_death import die_with_parent

# point: what is called there, and the side of it on which the process dies.
POINTS = {
    "before a look": ("look", "before"),
    "between a look and storing it": ("look", "after"),
    "between storing and the write": ("write", "before"),
    "between the write and its answer": ("write", "after"),
    "before storing": ("store", "before"),
    "after storing": ("store", "after"),
    "before the lease": ("take", "before"),
    "after the lease": ("take", "after"),
}


def _dying(plain: Callable[..., Any], side: str, nth: int, is_meant: Any) -> Callable[..., Any]:
    numbers = itertools.count(1)

    def replaced(*arguments: Any, **options: Any) -> Any:
        mine = is_meant(*arguments) and next(numbers) == nth
        if mine and side == "before":
            os.kill(os.getpid(), signal.SIGKILL)
        result = plain(*arguments, **options)
        if mine and side == "after":
            os.kill(os.getpid(), signal.SIGKILL)
        return result

    return replaced


def _die_at(point: str, nth: int) -> None:
    from calls.services import move_engine
    from calls.services.move_rows import Held
    from calls.telephony.twilio_rest import TwilioRest

    what, side = POINTS[point]
    if what == "store":
        Held.write = _dying(Held.write, side, nth, lambda *_: True)  # type: ignore[method-assign]
    elif what == "take":
        move_engine.take = _dying(move_engine.take, side, nth, lambda *_: True)
    else:
        method = "GET" if what == "look" else "POST"
        TwilioRest._once = _dying(  # type: ignore[method-assign]
            TwilioRest._once, side, nth, lambda _, used, *rest: used == method
        )


def _work(work: str, point: str, nth: int, numbers: list[dict[str, Any]], url: str) -> Any:
    from calls.models import NumberMove, PhoneNumber
    from calls.services import move_bell, number_moves
    from calls.services.number_routes import RouteOrder

    move_bell.poke = lambda: None  # nobody listens here
    open_moves = NumberMove.objects.filter(finished_at__isnull=True)
    if work == "seed":
        from calls.standins.server import DEFAULT_ACCOUNT_SID, DEFAULT_AUTH_TOKEN
        from tests import factories

        account = factories.make_account(
            account_sid=DEFAULT_ACCOUNT_SID, auth_token=DEFAULT_AUTH_TOKEN, api_base_url=url
        )
        shared = {
            "twilio_account": account,
            "assistant": factories.make_assistant(),
            "connection": factories.make_connection(),
            "policy": factories.make_policy(),
            "route": "vapi",
        }
        for each in numbers:
            factories.make_number(number_e164=each["number"], twilio_sid=each["sid"], **shared)
    elif work == "begin":
        trunks = {each["number"] for each in numbers if each["trunk"]}
        for number in PhoneNumber.objects.select_related("twilio_account", "policy"):
            order = RouteOrder("direct") if number.number_e164 in trunks else None
            seen = number_moves.move_preview(number=number, route=order)
            number_moves.move_begin(
                number=number,
                actor=None,
                why="drill",
                fingerprint=seen.fingerprint,
                typed=number.number_e164,
                route=order,
            )
    elif work == "callers":
        for move in open_moves.filter(step="tested").select_related("number"):
            sid = "CA" + move.pk.hex
            number_moves.webhook_seen(number=move.number, call_sid=sid, caller="+15550109999")
    elif work == "restore":
        for number in PhoneNumber.objects.all():
            number_moves.restore_begin(number=number, actor=None, why="drill")
    elif work == "turn":
        from calls.tasks import continue_moves

        open_moves.update(lease_until=None)  # the drill has no quarter of a minute for each death
        if point:
            _die_at(point, nth)
        continue_moves()
    return {
        "open": open_moves.exclude(step__in=("tested", "stopped")).count(),
        "steps": sorted(set(NumberMove.objects.values_list("step", flat=True))),
        "problems": sorted(set(open_moves.values_list("problem", flat=True))),
        "writes": sorted(set(NumberMove.objects.values_list("writes", flat=True))),
    }


def _load_all() -> None:
    """Do once what each copy would do first, and keep the collector from its pages."""
    import calls.services.move_bell
    import calls.services.number_routes
    import calls.tasks
    import tests.factories  # noqa: F401
    from voiceplatform.base import http

    _ = calls.tasks.continue_moves.name
    http.default_ssl_context()
    gc.freeze()


def _orders() -> None:
    import django

    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "voiceplatform.settings")
    django.setup()
    _load_all()
    server_pid = os.getpid()
    for line in sys.stdin:
        reader, writer = os.pipe()
        pid = os.fork()
        if pid:
            os.close(writer)
            with os.fdopen(reader) as told:
                said = told.read()
            os.waitpid(pid, 0)
            sys.stdout.write((said or json.dumps({"died": True})) + "\n")
            sys.stdout.flush()
            continue
        die_with_parent(server_pid, signal.SIGKILL)
        try:
            answer = json.dumps(_work(**json.loads(line)))
        except BaseException:
            traceback.print_exc()
            answer = json.dumps({"failed": True})
        os.write(writer, answer.encode())
        os._exit(0)


if __name__ == "__main__":
    _orders()
