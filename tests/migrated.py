"""One migrated SQLite file for the whole test session: made once, copied by whoever needs one.

Every worker's database and every instance of the acceptance tests would else run all migrations
for itself. That they run from nothing is shown by the tests that ask for it (``fresh=True``), by
the demo and by PostgreSQL.
"""

from __future__ import annotations

import fcntl
import os
import shutil
import sqlite3
import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
FOLDER_VARIABLE = "VOICEPLATFORM_TEST_SESSION_DIR"


def begin_session() -> None:
    """Make the folder that the workers of this session inherit by environment."""
    os.environ[FOLDER_VARIABLE] = tempfile.mkdtemp(prefix="voiceplatform-session-")


def end_session() -> None:
    """Remove the folder."""
    shutil.rmtree(os.environ.pop(FOLDER_VARIABLE), ignore_errors=True)


def migrated_sqlite() -> Path:
    """Return the path of the migrated file, which nobody writes to; make it if nobody has."""
    folder = Path(os.environ[FOLDER_VARIABLE])
    made = folder / "migrated.sqlite3"
    with (folder / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not made.exists():
            unfinished = folder / "unfinished.sqlite3"
            subprocess.run(
                [sys.executable, "manage.py", "migrate", "--skip-checks", "--verbosity=0"],
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
