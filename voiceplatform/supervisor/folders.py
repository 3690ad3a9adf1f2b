"""An instance's folders, its lock and its generated keys.

Owns everything under ``VAR_DIR`` that exists before a child runs. A file here is whole or absent:
it is written under a temporary name and linked to its own. Nothing here knows processes.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import secrets
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from cryptography.fernet import Fernet

from voiceplatform.supervisor.errors import StartError

PARTIAL = ".partial-"


def make_folder(path: Path) -> None:
    """Create ``path`` for its owner only; one that exists must belong to us.

    Raises:
        StartError: it cannot be created, or somebody else owns it.
    """
    try:
        path.mkdir(mode=0o700, parents=True, exist_ok=True)
    except OSError as error:
        raise StartError(
            f"cannot create {path} ({error.strerror}). Fix: make it writable, or set VAR_DIR."
        ) from error
    # The run folder may lie under the shared temporary folder, where anybody could wait for us.
    if path.stat().st_uid != os.geteuid():
        raise StartError(f"{path} belongs to another user. Fix: remove it, or set VAR_DIR.")


@dataclass
class Lock:
    """The hold on one ``VAR_DIR``; the kernel lets go when the process ends, however it ends."""

    descriptor: int
    predecessor_crashed: bool

    def release(self) -> None:
        """Let go after an orderly end; a second call does nothing."""
        if self.descriptor >= 0:
            os.ftruncate(self.descriptor, 0)
            os.close(self.descriptor)
            self.descriptor = -1


def lock(var_dir: Path) -> Lock:
    """Take the one lock of ``var_dir``.

    Raises:
        StartError: another instance runs there; the message names its process id.
    """
    descriptor = os.open(var_dir / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        owner = os.read(descriptor, 32).decode("ascii", "replace").strip() or "unknown"
        os.close(descriptor)
        raise StartError(
            f"already running as pid {owner} with VAR_DIR={var_dir}. "
            "Fix: stop it, or set another VAR_DIR and PORT."
        ) from None
    crashed = os.fstat(descriptor).st_size > 0
    os.ftruncate(descriptor, 0)
    os.pwrite(descriptor, f"{os.getpid()}\n".encode("ascii"), 0)
    return Lock(descriptor, crashed)


def write_whole(path: Path, content: str) -> bool:
    """Write a file that its owner only may read, whole or not at all; never overwrite one.

    Returns whether this call wrote it.
    """
    partial = path.with_name(f"{PARTIAL}{path.name}-{os.getpid()}")
    descriptor = os.open(partial, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
    try:
        os.write(descriptor, content.encode("ascii"))
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
    try:
        os.link(partial, path)
    except FileExistsError:
        return False
    finally:
        partial.unlink()
    folder = os.open(path.parent, os.O_RDONLY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)
    return True


def keys_folder(var_dir: Path) -> Path:
    """Return the folder of generated secrets, emptied of what a killed start left half written."""
    folder = var_dir / "keys"
    make_folder(folder)
    for left in folder.glob(f"{PARTIAL}*"):
        with contextlib.suppress(FileNotFoundError):
            left.unlink()
    return folder


GENERATED: dict[str, Callable[[], str]] = {
    "secret_key": lambda: secrets.token_urlsafe(48),
    "field_encryption_keys": lambda: Fernet.generate_key().decode("ascii"),
}


def generate_missing_keys(var_dir: Path, missing: set[str]) -> list[str]:
    """Generate those of ``GENERATED`` that are ``missing`` and return the names that were made."""
    folder = keys_folder(var_dir)
    return [
        name
        for name, make in GENERATED.items()
        if name in missing and write_whole(folder / name, make() + "\n")
    ]
