"""Files on disk that an import reads: one file, or a folder with everything below it.

Owns which files of a folder are looked at. It must not interpret them.
"""

from __future__ import annotations

from pathlib import Path

from assistants.import_services import ImportFile
from assistants.wire.files import MAX_BYTES, SUFFIXES

MAX_FILES = 5000
_NEVER = frozenset({"node_modules", "__pycache__"})
# A prompt beside a document is named, not read, so text files are looked at too.
_TEXT = (".txt",)


class PathProblem(Exception):
    """A path that cannot be imported; the text says why and what to do."""


def read_paths(paths: list[str]) -> tuple[list[ImportFile], bool]:
    """Return the files below ``paths`` and whether any of them was a folder.

    Hidden files and folders are left out; symbolic links to folders are not followed.

    Raises:
        PathProblem: a path does not exist, cannot be read, or holds too many files.
    """
    files: dict[str, ImportFile] = {}
    is_folder = False
    for text in paths:
        path = Path(text)
        if path.is_dir():
            is_folder = True
            chosen = [(each.relative_to(path).as_posix(), each) for each in _below(path)]
        elif path.is_file():
            chosen = [(path.name, path)]
        else:
            raise PathProblem(f"{text} does not exist. Fix: give a file or a folder.")
        for name, each in chosen:
            known = files.get(name)
            file = ImportFile(name, _bytes(each))
            if known is not None and known.raw != file.raw:
                file = ImportFile(f"{each.parent.name}/{name}", file.raw)
            files[file.name] = file
        if len(files) > MAX_FILES:
            raise PathProblem(f"over {MAX_FILES} files in {text}. Fix: import it folder by folder.")
    return list(files.values()), is_folder


def _below(folder: Path) -> list[Path]:
    found: list[Path] = []
    for path in sorted(folder.iterdir()):
        if path.name.startswith(".") or path.name in _NEVER:
            continue
        if path.is_dir() and not path.is_symlink():
            found += _below(path)
        elif path.is_file() and path.suffix.lower() in (*SUFFIXES, *_TEXT):
            found.append(path)
    return found


def _bytes(path: Path) -> bytes:
    """Read one byte more than is allowed, so that the reader can say that it is too large."""
    try:
        with path.open("rb") as handle:
            return handle.read(MAX_BYTES + 1)
    except OSError as error:
        raise PathProblem(f"{path} cannot be read: {error.strerror}.") from error
