"""Files on disk that an import reads: one file, or a folder with everything below it.

Owns which files of a folder are looked at, and that what is no ordinary file (a device, a pipe, a
link that leads out of the folder) is never opened. It must not interpret them.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator
from pathlib import Path

from assistants.import_results import ImportFile
from assistants.wire.files import MAX_BYTES, SUFFIXES, is_state_file

MAX_FILES = 5000
MAX_ALL_BYTES = 256 * 1024 * 1024
_NEVER = frozenset({"node_modules", "__pycache__"})
# A prompt beside a document is named, not read, so text files are looked at too.
_TEXT = (".txt",)


class PathProblem(Exception):
    """A path that cannot be imported; the text says why and what to do."""


def read_paths(paths: list[str]) -> tuple[Iterator[ImportFile], bool]:
    """Return the files below ``paths``, read as they are asked for, and if any was a folder.

    Hidden files and folders are left out but for the state files of Vapi's config-as-code tool;
    symbolic links to folders are not followed, nor those that lead out of the folder.

    Raises:
        PathProblem: a path does not exist, cannot be read, is no ordinary file, or there is too
            much; also while the files are read.
    """
    chosen: dict[str, Path] = {}
    is_folder = False
    for text in paths:
        path = Path(text)
        if path.is_dir():
            is_folder = True
            root = path.resolve()
            below = [(each.relative_to(path).as_posix(), each) for each in _below(path, root)]
        elif path.is_file():
            below = [(path.name, path)]
        elif path.exists():
            raise PathProblem(f"{text} is a device or a pipe. Fix: give a file or a folder.")
        else:
            raise PathProblem(f"{text} does not exist. Fix: give a file or a folder.")
        for name, each in below:
            known = chosen.get(name)
            if known is not None and not _is_same(known, each):
                name = f"{each.parent.name}/{name}"
            chosen[name] = each
        if len(chosen) > MAX_FILES:
            raise PathProblem(f"over {MAX_FILES} files in {text}. Fix: import it folder by folder.")
    return _read(chosen), is_folder


def _is_same(one: Path, other: Path) -> bool:
    """Tell whether two files say the same; naming one twice is no reason to import it twice."""
    return one.resolve() == other.resolve() or _bytes(one) == _bytes(other)


def _below(folder: Path, root: Path) -> list[Path]:
    found: list[Path] = []
    try:
        entries = sorted(folder.iterdir())
    except OSError as error:
        raise PathProblem(f"{folder} cannot be read: {error.strerror}.") from error
    for path in entries:
        if (path.name.startswith(".") and not is_state_file(path.name)) or path.name in _NEVER:
            continue
        if path.is_dir() and not path.is_symlink():
            found += _below(path, root)
        elif path.suffix.lower() in (*SUFFIXES, *_TEXT) and path.is_file():
            if not path.is_symlink() or path.resolve().is_relative_to(root):
                found.append(path)
    return found


def _read(chosen: dict[str, Path]) -> Iterator[ImportFile]:
    size = 0
    for name, path in chosen.items():
        raw = _bytes(path)
        size += len(raw)
        if size > MAX_ALL_BYTES:
            raise PathProblem(
                f"over {MAX_ALL_BYTES // 2**20} MiB together. Fix: import them folder by folder."
            )
        yield ImportFile(name, raw)


def _bytes(path: Path) -> bytes:
    """Read one byte more than is allowed, so that the reader can say that it is too large."""
    try:
        # Without waiting for a writer, should a pipe have taken the file's place meanwhile.
        descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
        with os.fdopen(descriptor, "rb", buffering=0) as handle:
            if not stat.S_ISREG(os.fstat(descriptor).st_mode):
                raise PathProblem(f"{path} is no ordinary file. Fix: give a file or a folder.")
            return handle.read(MAX_BYTES + 1)
    except OSError as error:
        raise PathProblem(f"{path} cannot be read: {error.strerror}.") from error
