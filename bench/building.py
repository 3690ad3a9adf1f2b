"""Compiles the C parts of the bench into ``var/bench/build``; nothing is shipped compiled."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

SOURCES = Path(__file__).resolve().parent / "native"
PROGRAMS = ("loadgen", "nullbridge")
COMPILERS = ("cc", "gcc", "clang")


class BenchError(Exception):
    """The bench cannot go on; the message is one sentence with what to mend."""


def compiler() -> str:
    """Return a C compiler's path.

    Raises:
        BenchError: there is none.
    """
    for name in COMPILERS:
        if path := shutil.which(name):
            return path
    raise BenchError(
        "the bench needs a C compiler (cc, gcc or clang) and there is none. "
        "Fix: apt-get install --yes gcc libc6-dev"
    )


def build(folder: Path) -> dict[str, Path]:
    """Compile what is older than its sources and return where each program is.

    Raises:
        BenchError: no compiler, or it refused; the message holds what it said.
    """
    folder.mkdir(parents=True, exist_ok=True)
    headers = list(SOURCES.glob("*.h"))
    built = {}
    for name in PROGRAMS:
        program, source = folder / name, SOURCES / f"{name}.c"
        newest = max(path.stat().st_mtime for path in (source, *headers))
        if not program.exists() or program.stat().st_mtime < newest:
            partial = folder / f"{name}.partial"
            command = [compiler(), "-O2", "-Wall", "-Wextra", "-o", str(partial), str(source)]
            done = subprocess.run(  # noqa: S603 - our own sources
                command, capture_output=True, text=True, check=False
            )
            if done.returncode:
                raise BenchError(f"{name}.c does not compile:\n{done.stderr[-3000:]}")
            partial.rename(program)
        built[name] = program
    return built
