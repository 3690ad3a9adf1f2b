"""Typed readers of the environment; the only module that touches ``os.environ``.

A value that cannot be read is an error that names the variable, what was found and what is
expected; a missing one is the stated default, never a guess. Every name may also be given as
``NAME_FILE``, a path whose content (one trailing newline stripped) is the value.
"""

from __future__ import annotations

import hashlib
import os
import tempfile
from pathlib import Path


class EnvError(ValueError):
    """A variable holds something unusable; fix the variable the message names."""


def text(name: str, default: str = "") -> str:
    """Return the value of ``name`` or of the file that ``name``_FILE points to."""
    value = os.environ.get(name)
    if value is not None and value != "":
        return value
    path = os.environ.get(f"{name}_FILE")
    if path:
        try:
            return Path(path).read_text(encoding="utf-8").removesuffix("\n")
        except OSError as error:
            raise EnvError(
                f"{name}_FILE={path!r} cannot be read ({error.strerror}). "
                f"Fix: point it to a readable file, or set {name} itself."
            ) from error
    return default


def flag(name: str, *, default: bool = False) -> bool:
    """Return a yes/no value; 1/true/yes/on and 0/false/no/off, any case."""
    value = text(name).strip().lower()
    if value == "":
        return default
    if value in {"1", "true", "yes", "on"}:
        return True
    if value in {"0", "false", "no", "off"}:
        return False
    raise EnvError(f"{name}={value!r} is not a yes/no value. Fix: use 1 or 0.")


def integer(name: str, default: int, *, low: int, high: int) -> int:
    """Return a whole number within ``low``..``high`` (inclusive)."""
    value = text(name).strip()
    if value == "":
        return default
    try:
        number = int(value)
    except ValueError:
        raise EnvError(
            f"{name}={value!r} is not a whole number. Fix: e.g. {name}={default}."
        ) from None
    if not low <= number <= high:
        raise EnvError(f"{name}={number} is outside {low}..{high}. Fix: e.g. {name}={default}.")
    return number


def words(name: str, default: str = "") -> list[str]:
    """Return a comma-separated list, blanks dropped."""
    return [part.strip() for part in text(name, default).split(",") if part.strip()]


def run_dir(var_dir: Path) -> Path:
    """Return the folder for an instance's unix sockets.

    ``VAR_DIR/run``, or a folder under the temporary directory named after ``VAR_DIR`` when the
    path is too long for a socket address (108 bytes on Linux, the name included).
    """
    folder = var_dir / "run"
    if len(os.fsencode(folder)) <= 80:
        return folder
    digest = hashlib.sha256(os.fsencode(var_dir)).hexdigest()[:16]
    return Path(tempfile.gettempdir()) / f"voiceplatform-{os.getuid()}-{digest}"


def child_environment(extra: dict[str, str]) -> dict[str, str]:
    """Return this process's environment with ``extra`` on top, for a child process."""
    return {**os.environ, **extra}


def tell_library(name: str, value: str) -> None:
    """Set a variable for a C library of this process alone; nothing of ours reads it."""
    os.putenv(name, value)


def set_settings_module() -> None:
    """Have Django read our settings in this process and its copies."""
    os.environ["DJANGO_SETTINGS_MODULE"] = "voiceplatform.settings"
