"""A folder that a long export writes file by file, and its list of checksums.

Owns the list, going on after an interruption, and reading everything back. Each file is written
whole or not at all and noted at once, so a second run of the same export writes only what is not
there. The finished list has the form of ``sha256sum``, so that anybody can check a copy with it.
Knows nothing of what the files say.
"""

from __future__ import annotations

import hashlib
import os
import re
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Final

LIST_FILE: Final = "SHA256SUMS"
# What a run has written so far; it is gone when the run is complete.
OPEN_FILE: Final = ".SHA256SUMS.open"
_LINE: Final = re.compile(r"([0-9a-f]{64})  (\S.*)")
_PIECE_BYTES: Final = 256 * 1024


class FolderRefused(Exception):
    """The folder cannot be used; the text says why and what to do."""


@dataclass(frozen=True, slots=True)
class Verified:
    """What reading back found: how many files and bytes were right, and what was not."""

    files: int
    size_bytes: int
    problems: tuple[str, ...]


class _TheirError(Exception):
    """Whoever gives the pieces has failed."""

    def __init__(self, error: OSError) -> None:
        super().__init__()
        self.error = error


class ExportFolder:
    """A folder in the hands of one run."""

    def __init__(self, folder: Path) -> None:
        """Take up a folder that is new, empty, or an export's.

        Raises:
            FolderRefused: something else is in it, or it cannot be written.
        """
        self.folder = folder
        try:
            folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            names = {each.name for each in folder.iterdir()}
            if names and not names & {LIST_FILE, OPEN_FILE}:
                raise FolderRefused(
                    f"{folder} holds files that no export wrote. Fix: choose an empty folder."
                )
            self._digests = _read_list(folder / OPEN_FILE)
            self.goes_on = bool(self._digests)
            self._open = (folder / OPEN_FILE).open("a", encoding="utf-8")
        except OSError as error:
            raise _refused(folder, error) from error

    def __contains__(self, path: str) -> bool:
        """Tell whether this run, or the one that it goes on with, has written ``path``."""
        return path in self._digests and (self.folder / path).is_file()

    def __len__(self) -> int:
        return len(self._digests)

    def digest(self, path: str) -> str:
        """Return the SHA-256 of a file that was written."""
        return self._digests[path]

    def write(self, path: str, pieces: Iterable[bytes]) -> str:
        """Write a file whole and note it; return its SHA-256.

        What ``pieces`` raises passes through, and nothing of the file is left.

        Raises:
            FolderRefused: the disk does not take it.
            ValueError: ``path`` leads out of the folder.
        """
        if not _is_inside(path):
            raise ValueError("a file of an export lies in its folder")
        target = self.folder / path
        partial = target.with_name(f".{target.name}.part")
        digest = hashlib.sha256()
        try:
            target.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            descriptor = os.open(partial, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
            try:
                with os.fdopen(descriptor, "wb") as file:
                    for piece in _theirs(pieces):
                        digest.update(piece)
                        file.write(piece)
                    file.flush()
                    os.fsync(file.fileno())
                partial.replace(target)
            finally:
                partial.unlink(missing_ok=True)
            found = digest.hexdigest()
            self._open.write(f"{found}  {path}\n")
            self._open.flush()
        except _TheirError as error:
            raise error.error from error.error.__cause__
        except OSError as error:
            raise _refused(self.folder, error) from error
        self._digests[path] = found
        return found

    def close(self) -> None:
        """Stop for now; the next run goes on."""
        self._open.close()

    def finish(self, beat: Callable[[], object] = lambda: None) -> tuple[str, Verified]:
        """Read everything back and write the list; return its SHA-256 and what was found.

        ``beat`` is called while files are read, which may take long.

        With a problem the list is not written, and what was wrong is written anew by the next run.
        """
        self.close()
        verified = _verify(self.folder, self._digests, beat)
        if verified.problems:
            good = {p: d for p, d in self._digests.items() if _digest_of(self.folder / p) == d}
            (self.folder / OPEN_FILE).write_text(_text(good), encoding="utf-8")
            return "", verified
        for path in self._gone():
            (self.folder / path).unlink(missing_ok=True)
        text = _text(self._digests)
        partial = self.folder / f"{LIST_FILE}.part"
        with partial.open("w", encoding="utf-8") as file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
        partial.replace(self.folder / LIST_FILE)
        (self.folder / OPEN_FILE).unlink()
        return hashlib.sha256(text.encode()).hexdigest(), verified

    def _gone(self) -> Iterator[str]:
        """Yield what an earlier export wrote and this one did not."""
        yield from (p for p in _read_list(self.folder / LIST_FILE) if p not in self._digests)


def export_verify(folder: Path, beat: Callable[[], object] = lambda: None) -> Verified:
    """Read a finished export back, each file against the list; ``beat`` as for ``finish``.

    Raises:
        FolderRefused: it has no list: it was not finished, or is none.
    """
    try:
        listed = _read_list(folder / LIST_FILE)
    except OSError as error:
        raise _refused(folder, error) from error
    if not listed:
        raise FolderRefused(
            f"{folder} has no {LIST_FILE}, so it is no finished export. Fix: export again."
        )
    return _verify(folder, listed, beat)


def _theirs(pieces: Iterable[bytes]) -> Iterator[bytes]:
    """Yield ``pieces``, with an error of theirs marked: it says nothing of our disk."""
    try:
        yield from pieces
    except OSError as error:
        raise _TheirError(error) from error


def list_digest(folder: Path) -> str:
    """Return the SHA-256 of the list, '' where there is none."""
    return _digest_of(folder / LIST_FILE)


def _verify(folder: Path, listed: dict[str, str], beat: Callable[[], object]) -> Verified:
    files, size, problems = 0, 0, []
    for path, digest in sorted(listed.items()):
        beat()
        found = _digest_of(folder / path)
        if found == digest:
            files += 1
            size += (folder / path).stat().st_size
        else:
            problems.append(f"{path} {'was changed' if found else 'is not there'}")
    return Verified(files, size, tuple(problems))


def _read_list(path: Path) -> dict[str, str]:
    """Return the digests by path; a last line that was cut off is passed over."""
    try:
        text = path.read_text(encoding="utf-8")
    except FileNotFoundError:
        return {}
    whole = text[: text.rfind("\n") + 1]
    lines = (_LINE.fullmatch(line) for line in whole.splitlines())
    return {line[2]: line[1] for line in lines if line and _is_inside(line[2])}


def _text(digests: dict[str, str]) -> str:
    return "".join(f"{digest}  {path}\n" for path, digest in sorted(digests.items()))


def _is_inside(path: str) -> bool:
    pure = PurePosixPath(path)
    return bool(pure.parts) and not pure.is_absolute() and ".." not in pure.parts


def _digest_of(path: Path) -> str:
    """Return the SHA-256 of a file, '' when there is none."""
    digest = hashlib.sha256()
    try:
        with path.open("rb") as file:
            while piece := file.read(_PIECE_BYTES):
                digest.update(piece)
    except (FileNotFoundError, NotADirectoryError, IsADirectoryError):
        return ""
    return digest.hexdigest()


def _refused(folder: Path, error: OSError) -> FolderRefused:
    place = error.filename or folder
    return FolderRefused(f"{place} cannot be used: {error.strerror or error}. Fix: mend that.")
