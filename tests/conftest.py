"""Rules and fixtures of every test: tiers, offline unit tests, databases, Valkey, Hypothesis.

Options: ``--database=postgres`` runs the database tests on a real PostgreSQL server that lives as
long as the session (one server, one database per xdist worker). ``HYPOTHESIS_PROFILE=deep`` and
``DRILL_SCALE=full`` raise the counts. Nothing here skips: a missing part is an error.
"""

from __future__ import annotations

import contextlib
import gc
import os
import shutil
import socket
import threading
import time
from collections import Counter
from collections.abc import Callable, Generator, Iterable, Iterator
from pathlib import Path
from typing import Any, NoReturn

import pytest
from hypothesis import HealthCheck, settings
from xdist.scheduler import LoadScopeScheduling

from tests.migrated import fill, first_alone, session
from tests.servers import running_postgres, running_valkey
from tests.sparing import (
    empty_instead_of_flush,
    keep_contexts_of_pages,
    look_for_static_files_once,
)
from tests.vapi_sdk import defer_models

pytest_plugins = ["tests.instances"]
# What shares something that takes long to make, and so runs in one process.
TOGETHER = {
    "the shared instance": (
        *(f"tests/acceptance/test_{name}.py" for name in ("drain", "kills", "supervised_parts")),
        *(f"tests/acceptance/test_{name}.py" for name in ("vapi_clients", "vapi_python_sdk")),
        *(f"tests/acceptance/test_{name}.py" for name in ("config_as_code", "browser_import")),
        *("tests/acceptance/test_browser_talk.py", "tests/acceptance/test_browser_moves.py"),
        *("tests/drills/test_kill_drills.py", "tests/drills/test_outage_drills.py"),
    ),
    "the models of Vapi's SDK": (
        "tests/integration/api/test_vapi_sdk",
        *("tests/integration/events/test_reports.py", "tests/integration/tools/test_tool_run.py"),
        "tests/unit/tools/test_wire_messages.py",
    ),
    "the parsed sources": ("tests/unit/house/",),
    "the rendered fixtures": ("tests/integration/calls/test_render_session.py",),
}
TIERS = {"unit", "property", "integration", "acceptance"}
TESTS_DIR = Path(__file__).parent

settings.register_profile("quick", max_examples=60, deadline=None)
settings.register_profile(
    "deep", max_examples=5000, deadline=None, suppress_health_check=[HealthCheck.too_slow]
)
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "quick"))

gc.disable()  # until all is collected: what is imported stays
defer_models()
_session = contextlib.ExitStack()


def pytest_addoption(parser: pytest.Parser) -> None:
    """Add ``--database``."""
    parser.addoption(
        "--database",
        choices=("sqlite", "postgres"),
        default="sqlite",
        help="where database tests run; postgres starts a real server for this session",
    )


def pytest_configure(config: pytest.Config) -> None:
    """Start PostgreSQL in the controlling process and point every process's settings to it."""
    if not hasattr(config, "workerinput"):
        _session.enter_context(session())
    if config.getoption("--database") != "postgres" or config.getoption("collectonly", False):
        return
    worker_input = getattr(config, "workerinput", None)
    if worker_input is None:
        config.stash[POSTGRES_URL] = _session.enter_context(running_postgres())
    else:
        config.stash[POSTGRES_URL] = worker_input["postgres_url"]
    _use_database(config.stash[POSTGRES_URL])


@pytest.hookimpl(optionalhook=True)
def pytest_configure_node(node: Any) -> None:
    """Hand the server's URL to an xdist worker."""
    node.workerinput["postgres_url"] = node.config.stash.get(POSTGRES_URL, "")


def pytest_unconfigure() -> None:
    """Stop what this process started and remove its folder."""
    from django.conf import settings as django_settings

    _session.close()
    shutil.rmtree(django_settings.VAR_DIR, ignore_errors=True)


def _use_database(url: str) -> None:
    """Make ``url`` Django's default database, as ``DATABASE_URL`` would have."""
    from django.conf import settings as django_settings
    from django.db import connections

    from voiceplatform.settings import _database

    django_settings.DATABASES["default"] = _database(url)
    django_settings.DATABASE_IS_EMBEDDED = False
    connections.settings = connections.configure_settings(django_settings.DATABASES)
    if hasattr(connections._connections, "default"):
        del connections["default"]


class SharingScheduling(LoadScopeScheduling):  # type: ignore[misc]  # xdist has no types
    """Deals out single tests, but those of ``TOGETHER`` as one."""

    def _split_scope(self, nodeid: str) -> str:
        shared = (what for what, beginnings in TOGETHER.items() if nodeid.startswith(beginnings))
        return next(shared, nodeid)


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> SharingScheduling:
    """Use our scheduler (xdist's own groups do not work with this pytest)."""
    return SharingScheduling(config, log)


POSTGRES_URL = pytest.StashKey[str]()


class TieredModule(pytest.Module):
    """A test module that names its tier, and the one its folder stands for."""

    def collect(self) -> Iterable[pytest.Item | pytest.Collector]:
        """Collect, or fail naming what the module lacks."""
        marks = getattr(self.obj, "pytestmark", [])
        names = {mark.name for mark in (marks if isinstance(marks, list) else [marks])}
        tiers = sorted(names & TIERS)
        if len(tiers) != 1:
            raise self.CollectError(
                f"{self.path.name} names {len(tiers)} tiers ({', '.join(tiers) or 'none'}); write "
                f"pytestmark = pytest.mark.<one of {', '.join(sorted(TIERS))}>"
            )
        folder = self.path.relative_to(TESTS_DIR).parts[0]
        if folder in TIERS and folder != tiers[0]:
            raise self.CollectError(f"{self.path.name} lies in {folder}/ but is marked {tiers[0]}")
        return super().collect()


def pytest_pycollect_makemodule(module_path: Path, parent: pytest.Collector) -> pytest.Module:
    """Hold every module under tests/ to its tier."""
    return TieredModule.from_parent(parent, path=module_path)


@pytest.hookimpl(wrapper=True)
def pytest_collection(session: pytest.Session) -> Generator[None, object, object]:
    """Let one worker collect first and leave bytecode and Hypothesis's notes for the others.

    In a fresh clone each of them would compile every module: eight seconds of processor time.
    """
    is_worker = hasattr(session.config, "workerinput")
    with first_alone() if is_worker else contextlib.nullcontext():
        return (yield)


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Let whole instances begin first, so that no worker is left alone with the longest test."""
    items.sort(key=lambda item: item.get_closest_marker("acceptance") is None)
    twice = [name for name, count in Counter(item.nodeid for item in items).items() if count > 1]
    if twice:
        raise pytest.UsageError(f"tests of one name, of which xdist runs only one: {twice[:3]}")


def pytest_collection_finish() -> None:
    """Look through what every test needs no more, and less often through the rest.

    Thousands of tests and the SDKs' models are kept to the end; searching them for garbage was a
    sixth of the suite's processor time.
    """
    gc.freeze()
    gc.enable()
    gc.set_threshold(50_000, 20, 50)


def _nobody_there(*_: object, **__: object) -> NoReturn:
    raise ConnectionRefusedError("refused while a unit test runs")


def _refusing(
    earlier: set[threading.Thread], instead: Callable[..., object]
) -> Callable[..., object]:
    """Return what refuses a unit test; threads of tests before it get ``instead``."""

    def refuse(*args: object, **kwargs: object) -> object:
        if threading.current_thread() in earlier:
            return instead(*args, **kwargs)
        raise AssertionError("a unit test opens no socket and does not sleep; move it elsewhere")

    return refuse


@pytest.fixture(autouse=True)
def _unit_tests_are_pure(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Refuse database, sockets and sleep in the unit tier; asyncio's socketpair stays possible.

    A doorbell of an earlier test may still be ringing in its own thread. It finds nobody there: at
    any other exception a Redis client leaves its socket open, and this test would answer for it.
    """
    if request.node.get_closest_marker("unit") is None:
        return
    if request.node.get_closest_marker("django_db") is not None:
        pytest.fail("a unit test uses no database; move it to tests/integration")
    earlier = set(threading.enumerate()) - {threading.current_thread()}
    for name in ("connect", "connect_ex", "bind", "sendto"):
        monkeypatch.setattr(socket.socket, name, _refusing(earlier, _nobody_there))
    monkeypatch.setattr(time, "sleep", _refusing(earlier, time.sleep))


@pytest.fixture(scope="session")
def django_db_modify_db_settings(
    django_db_modify_db_settings_parallel_suffix: None,
) -> Iterator[None]:
    """Give Django a database in memory that is migrated already; it finds nothing to do."""
    from django.db import connection

    if connection.vendor != "sqlite":
        yield
        return
    with contextlib.closing(fill(connection.creation._get_test_db_name())):
        yield


@pytest.fixture(scope="session", autouse=True)
def _nothing_is_made_anew_for_each_test(django_test_environment: None) -> None:
    """Delete committed rows at a low price, find static files once, keep contexts of pages."""
    empty_instead_of_flush()
    keep_contexts_of_pages()
    look_for_static_files_once()


@pytest.fixture(scope="session")
def postgres_url(request: pytest.FixtureRequest) -> Iterator[str]:
    """URL of a real PostgreSQL server, the session's own one when it runs on PostgreSQL."""
    url = request.config.stash.get(POSTGRES_URL, "")
    if url:
        yield url
        return
    with running_postgres() as started:
        yield started


@pytest.fixture(scope="session")
def valkey_url() -> Iterator[str]:
    """URL of a real Valkey server, on the very socket that the test settings name."""
    from django.conf import settings as django_settings

    with running_valkey(django_settings.REDIS_SOCKET) as path:
        yield f"unix://{path}"


@pytest.fixture(scope="session")
def drill_scale() -> float:
    """Share of a drill's full count to run: 1.0 with ``DRILL_SCALE=full``, else the least."""
    value = os.environ.get("DRILL_SCALE", "")
    return 1.0 if value == "full" else float(value or 0)
