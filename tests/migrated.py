"""What the processes of one test session share: above all, one migrated SQLite file.

Every worker's database and every instance of the acceptance tests would else run all migrations
for itself. That they run from nothing is shown by the tests that ask for it (``fresh=True``), by
the demo and by PostgreSQL.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import sqlite3
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
FOLDER_VARIABLE = "VOICEPLATFORM_TEST_SESSION_DIR"
# The states that migrations leave behind are many objects; looking for garbage among them is two
# of five seconds.
MIGRATE = """
import gc
gc.disable()
import manage, sys
sys.argv[1:] = ["migrate", "--skip-checks", "--verbosity=0"]
manage.main()
"""


@contextlib.contextmanager
def session() -> Iterator[None]:
    """Have a folder that the workers of this session inherit by environment.

    A session that a test starts inherits it too, with the migrated file.
    """
    if FOLDER_VARIABLE in os.environ:
        yield
        return
    with tempfile.TemporaryDirectory(
        prefix="voiceplatform-session-", ignore_cleanup_errors=True
    ) as folder:
        os.environ[FOLDER_VARIABLE] = folder
        try:
            yield
        finally:
            del os.environ[FOLDER_VARIABLE]


@contextlib.contextmanager
def first_alone() -> Iterator[None]:
    """Let whoever comes first do the block alone; all others of this session do it thereafter."""
    done = Path(os.environ[FOLDER_VARIABLE]) / "collected"
    with done.open("ab") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if done.stat().st_size:
            fcntl.flock(lock, fcntl.LOCK_UN)
        yield
        os.write(lock.fileno(), b"1")


def migrated_sqlite() -> Path:
    """Return the path of the migrated file, which nobody writes to; make it if nobody has."""
    folder = Path(os.environ[FOLDER_VARIABLE])
    made = folder / "migrated.sqlite3"
    with (folder / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not made.exists():
            unfinished = folder / "unfinished.sqlite3"
            subprocess.run(
                [sys.executable, "-c", MIGRATE],
                cwd=ROOT,
                env=os.environ | {"DATABASE_URL": f"sqlite:///{unfinished}"},
                check=True,
            )
            unfinished.rename(made)
    return made


def fill(uri: str) -> sqlite3.Connection:
    """Copy the migrated file into a SQLite database; one in memory lives while this is open."""
    target = sqlite3.connect(uri, uri=True)
    source = sqlite3.connect(migrated_sqlite())
    source.backup(target)
    source.close()
    return target
