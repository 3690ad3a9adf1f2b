"""Opens PDF and Word files in a process of its own, whose time and memory the system bounds.

Owns the bounds and the two ends of the pipe: bytes in, JSON out. What a hostile file does there
ends with that process; it knows no database, no secret and no setting. Run as a module it is the
far end.
"""

from __future__ import annotations

import json
import resource
import subprocess
import sys
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Final

from assistants.knowledge.passages import Part
from assistants.knowledge.texts import Unreadable

Reader = Callable[[bytes], Iterable[Part]]

CPU_SECONDS: Final = 90
_WALL_SECONDS: Final = 150
_MEMORY_BYTES: Final = 1024 * 1024 * 1024
_MOST_CHARACTERS: Final = 10_000_000
_ROOT: Final = Path(__file__).resolve().parents[2]
_TOO_MUCH: Final = (
    "It takes too much time or memory to read. Fix: save it again with less in it, or as text."
)


def parts_apart(kind: str, content: bytes) -> list[Part]:
    """Return the parts of a PDF or Word file.

    Raises:
        Unreadable: no text can be taken from it, or not within the bounds.
    """
    try:
        done = subprocess.run(  # noqa: S603 - our own module, no shell; the file is its input
            [sys.executable, "-I", "-c", _BEGIN, str(_ROOT), kind],
            input=content,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,  # warnings about the file, as many as it wants
            timeout=_WALL_SECONDS,
            env={},
            check=False,
        )
    except subprocess.TimeoutExpired as error:
        raise Unreadable(_TOO_MUCH) from error
    if done.returncode != 0:
        raise Unreadable(_TOO_MUCH)
    told = json.loads(done.stdout)
    if "problem" in told:
        raise Unreadable(told["problem"])
    return [Part(text, page, heading) for text, page, heading in told["parts"]]


# An isolated interpreter finds no module of ours by itself, and reads nothing of its surroundings.
_BEGIN: Final = (
    "import sys; sys.path.insert(0, sys.argv[1]); "
    "from assistants.knowledge.apart import far_end; far_end(sys.argv[2])"
)


def far_end(kind: str) -> None:
    """Read a file from the standard input and answer on the standard output."""
    resource.setrlimit(resource.RLIMIT_CPU, (CPU_SECONDS, CPU_SECONDS))
    resource.setrlimit(resource.RLIMIT_AS, (_MEMORY_BYTES, _MEMORY_BYTES))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    sys.stdout.write(answer(kind, sys.stdin.buffer.read()))


def answer(kind: str, content: bytes) -> str:
    """Return what the far end says of a file, as JSON."""
    from assistants.knowledge.docx import docx_parts
    from assistants.knowledge.pdf import pdf_parts

    readers: Mapping[str, Callable[[bytes], Iterable[Part]]] = {
        "pdf": pdf_parts,
        "docx": docx_parts,
    }
    parts, left = [], _MOST_CHARACTERS
    try:
        for part in readers[kind](content):
            parts.append((part.text[:left], part.page, part.heading))
            left -= len(part.text)
            if left <= 0:
                break
    except Unreadable as problem:
        return json.dumps({"problem": str(problem)})
    return json.dumps({"parts": parts})
