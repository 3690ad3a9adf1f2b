"""The ``secrets.env`` files that an import finds beside the files it reads.

Owns where they may lie. What they say is read by ``secret_references``; no value is ever quoted.
"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from assistants.import_paths import PathProblem
from assistants.secret_references import SECRETS_FILE, SecretsFileProblem, read_secrets

_MOST_BYTES = 2**20


def read_secrets_beside(paths: Iterable[str]) -> dict[str, str]:
    """Return what ``secrets.env`` in each folder of ``paths``, or beside each file, says.

    Raises:
        PathProblem: one of them cannot be read.
    """
    found: dict[str, str] = {}
    folders = [path if path.is_dir() else path.parent for path in map(Path, paths)]
    for path in dict.fromkeys(folder / SECRETS_FILE for folder in folders):
        if not path.is_file():
            continue
        try:
            with path.open("rb") as handle:
                raw = handle.read(_MOST_BYTES + 1)
            if len(raw) > _MOST_BYTES:
                raise SecretsFileProblem("it is over 1 MiB")
            found |= read_secrets(raw.decode())
        except SecretsFileProblem as error:
            raise PathProblem(f"{path}: {error}. Fix: correct it there.") from error
        except UnicodeDecodeError as error:
            raise PathProblem(f"{path} is not UTF-8. Fix: save it as UTF-8.") from error
        except OSError as error:
            raise PathProblem(f"{path} cannot be read: {error.strerror}.") from error
    return found
