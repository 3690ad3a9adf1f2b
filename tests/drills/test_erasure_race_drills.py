"""A call log is imported at the very moment at which its caller is erased.

On SQLite one of them waits at the door of its transaction; what tells more is the run on PostgreSQL
(``make test-postgres``), where both are inside.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any

import pytest
from django.db import connection, connections

from calls.models import Call, ImportedCall
from calls.parity.logs.reading import read_log
from calls.services.call_log_store import Store
from calls.services.erasure import caller_erase
from tests import factories
from tests.vapi_account import whole_call

pytestmark = [pytest.mark.integration, pytest.mark.django_db(transaction=True)]

PERSON = "+14155550142"
# For so long the importer stands still; who does not wait for it is through by then.
PAUSE_SECONDS = 1.0
PATIENCE_SECONDS = 20.0


def in_thread(work: Callable[[], Any], outcome: list[Any]) -> threading.Thread:
    """Run ``work`` with a connection of its own; ``outcome`` gets what it returned."""

    def run() -> None:
        try:
            outcome.append(work())
        finally:
            connections.close_all()

    thread = threading.Thread(target=run)
    thread.start()
    return thread


class Pause:
    """Stands still before the first look for the call, after the tombstones were read."""

    def __init__(self) -> None:
        self.reached, self.go_on = threading.Event(), threading.Event()

    def __call__(self, execute: Any, sql: str, params: Any, many: bool, context: Any) -> Any:
        if sql.startswith("SELECT") and "calls_importedcall" in sql and not self.reached.is_set():
            self.reached.set()
            self.go_on.wait(PAUSE_SECONDS)
        return execute(sql, params, many, context)


def test_a_call_that_is_told_again_while_it_is_erased_stays_away() -> None:
    organisation = factories.default_organisation()
    store = Store(organisation)
    store.put(read_log(whole_call(1)))
    pause, outcome, threads = Pause(), list[Any](), list[threading.Thread]()

    def tell_more() -> str:
        with connection.execute_wrapper(pause):
            return Store(organisation).put(read_log(whole_call(2, cost=0.5)))

    def meanwhile(done: int, total: int) -> None:
        # Its caller has no tombstone for this one yet: it comes while the others are erased.
        store.put(read_log(whole_call(2)))
        threads.append(in_thread(tell_more, outcome))
        assert pause.reached.wait(PATIENCE_SECONDS)

    caller_erase(organisation=organisation, number=PERSON, actor=None, progress=meanwhile)
    pause.go_on.set()
    threads[0].join(PATIENCE_SECONDS)
    assert outcome[0] in ("updated", "unchanged", "erased")
    assert not Call.objects.exists() and not ImportedCall.objects.exists()
    assert Store(organisation).put(read_log(whole_call(2))) == "erased"
