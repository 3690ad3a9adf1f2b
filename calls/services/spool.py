"""What of a live call the database did not take: on disk, and from there to its rows.

Owns the files under ``VAR_DIR/spool``, one for each stream whose journal had to wait: their form,
their bounds and how they are replayed, in order and harmless when repeated. Each entry is flushed
to the disk before it counts as kept, sealed like every secret at rest, and holds only what the
call's rules of privacy let stay. Must not be called on the event loop: everything here blocks.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import time
import zlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Final

import structlog
from django.conf import settings
from django.db import DataError, IntegrityError

from calls.bridge.effects import (
    CallNews,
    PolicyLinePlayed,
    RecordHandoff,
    RecordMcpTool,
    RecordTool,
    RecordTurn,
)
from calls.media.news import PIECES
from calls.models import Call, Turn
from calls.privacy.keeping import Keeping
from calls.services import journal as store
from calls.services.call_finish import stream_finish
from calls.services.server_messages.targets import target_of
from voiceplatform.base.fields import DecryptionError, seal, unseal

SUFFIX: Final = ".spool"
# An hour of turns is a tenth of it. What is there stays; what does not fit waits in memory.
MOST_FILE_BYTES: Final = 8 * 1024 * 1024
# Half of a file is for words: the record for replays is worth less.
MOST_RECORD_BYTES: Final = MOST_FILE_BYTES // 2
MOST_BYTES: Final = 256 * 1024 * 1024  # of all files, looked at when another one begins
USED_SECONDS: Final = 2.0  # a replay takes milliseconds; a caller hears nothing meanwhile
_PAUSE_SECONDS: Final = 0.02
_VERSION: Final = 1
_AT_ONCE: Final = 50  # rows of one kind in a transaction (design.md 9)
_TRIES: Final = 5

log = structlog.get_logger(__name__)

_told: set[str] = set()


@dataclass(slots=True)
class Waiting:
    """What a journal holds that is not stored yet; the names are those of ``batch_store``."""

    turns: dict[int, RecordTurn] = field(default_factory=dict)
    tools: dict[str, RecordTool] = field(default_factory=dict)
    handoffs: list[RecordHandoff] = field(default_factory=list)
    policy: PolicyLinePlayed | None = None
    pieces: list[tuple[int, str]] = field(default_factory=list)
    news: list[CallNews] = field(default_factory=list)
    refused: bool = False
    emergency: bool = False
    dial_to: str = ""

    def __bool__(self) -> bool:
        """Tell whether there is anything to store."""
        return any(getattr(self, name) for name in self.__slots__)


def folder() -> Path:
    """Return where the files are; there is none until one is needed."""
    return Path(settings.VAR_DIR) / "spool"


class Spool:
    """The file of one stream, locked as long as its journal may add to it.

    Use it from one thread at a time. What is on it is not written again: give the newest state of
    everything that waits each time.
    """

    def __init__(self, call_id: str, stream_number: int) -> None:
        self.path = folder() / f"{call_id}.{stream_number}{SUFFIX}"
        self._file: int | None = None
        self._bytes = 0
        self._kept = Waiting()
        self._marks: dict[str, Any] = {}

    @property
    def is_open(self) -> bool:
        """Tell whether anything is on disk that is not known to be in the database."""
        return self._file is not None

    def keep(
        self, waiting: Waiting, keeping: Keeping | None, *, spend_microusd: int, stream_ms: int
    ) -> bool:
        """Add what is new in ``waiting``; tell whether all words of it are on disk now.

        An assistant that has just taken over has rules that only the database knows: until they are
        known (``keeping`` None) nothing is written.
        """
        if keeping is None or waiting.handoffs:
            return False
        kept = self._kept
        entry: dict[str, Any] = {
            "turns": [
                asdict(keeping.turn(turn))
                for ordinal, turn in waiting.turns.items()
                if kept.turns.get(ordinal) is not turn
            ],
            "tools": [
                asdict(keeping.tool(tool))
                for tool_call_id, tool in waiting.tools.items()
                if kept.tools.get(tool_call_id) is not tool
            ],
            "news": [
                asdict(told)
                for each in waiting.news
                # Pieces are put together while they wait, and nobody misses one.
                if each.kind not in PIECES
                and each not in kept.news
                and (told := keeping.news(each)) is not None
            ],
        }
        marks: dict[str, Any] = {
            "policy_ms": [waiting.policy.at_ms] if waiting.policy else [],
            "refused": waiting.refused,
            "emergency": waiting.emergency,
            "dial_to": waiting.dial_to,
        }
        if any(entry.values()) or marks != self._marks or not self.is_open:
            spend = {"spend_microusd": spend_microusd, "stream_ms": stream_ms}
            if not self._append(entry | marks | spend, MOST_FILE_BYTES):
                return False
            self._marks = marks
        kept.turns, kept.tools, kept.news = waiting.turns, waiting.tools, list(waiting.news)
        pieces = [piece for piece in waiting.pieces if piece not in kept.pieces]
        if pieces and keeping.inputs and self._append({"pieces": pieces}, MOST_RECORD_BYTES):
            kept.pieces = list(waiting.pieces)
        return True

    def keep_end(self, ended: Mapping[str, Any]) -> bool:
        """Add the end of the stream, as ``stream_finish`` takes it; nothing may follow."""
        return self._append({"ended": dict(ended)}, MOST_FILE_BYTES)

    def discard(self) -> None:
        """Remove the file: the database has everything that is on it."""
        if self._file is not None:
            self.path.unlink(missing_ok=True)
            self.release()

    def release(self) -> None:
        """Leave the file to whoever replays it."""
        if self._file is not None:
            os.close(self._file)
        self._file, self._bytes = None, 0
        self._kept, self._marks = Waiting(), {}

    def _append(self, entry: Mapping[str, Any], most_bytes: int) -> bool:
        line = _line(entry)
        try:
            if self._file is None and not self._open():
                return False
            assert self._file is not None
            if self._bytes + len(line) > most_bytes:
                _tell_once("spool_full", self.path, limit_bytes=most_bytes)
                return False
            _write(self._file, line)
        except OSError as error:
            _tell_once("spool_not_written", self.path, error=error.strerror or "")
            self._cut_off()
            return False
        self._bytes += len(line)
        return True

    def _cut_off(self) -> None:
        """Take back half a line, which would make the next one unreadable as well."""
        if self._file is not None:
            with contextlib.suppress(OSError):
                os.ftruncate(self._file, self._bytes)

    def _open(self) -> bool:
        self.path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        others = sum(size for _, size in _files())
        if others > MOST_BYTES:
            _tell_once("spool_full", self.path, limit_bytes=MOST_BYTES)
            return False
        for _ in range(_TRIES):
            flags = os.O_RDWR | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC
            handle = os.open(self.path, flags, 0o600)
            # Whoever replays may have found it empty, and removed it, before it was locked.
            if _lock(handle) and os.fstat(handle).st_nlink:
                _sync_folder(self.path.parent)
                self._file, self._bytes = handle, os.fstat(handle).st_size
                return True
            os.close(handle)
        return False


def has_spools() -> bool:
    """Tell whether there is a file of anybody's."""
    return bool(_files())


def spools_replay(call_id: str = "") -> int:
    """Bring what lies on disk into the database, of one call or of all; return how many files.

    Files that a journal still adds to are left alone; those of one call are waited for a moment,
    because who asks for them begins with what they hold, and somebody may be replaying them.

    Raises:
        DatabaseError: the database is still away; everything is still on disk.
    """
    patience_seconds = USED_SECONDS if call_id else 0.0
    return sum(spool_replay(path, patience_seconds) for path, _ in _files(call_id))


def spool_replay(path: Path, patience_seconds: float = 0.0) -> bool:
    """Bring one file into the database and remove it; tell whether it is gone.

    Waits so long for whoever uses it.

    Raises:
        DatabaseError: as ``spools_replay``.
    """
    try:
        handle = os.open(path, os.O_RDWR | os.O_CLOEXEC)
    except FileNotFoundError:
        return True
    except OSError as error:
        _tell_once("spool_unreadable", path, reason=error.strerror or "")
        return False
    try:
        until = time.monotonic() + patience_seconds
        while not _lock(handle):
            if time.monotonic() >= until:
                return False
            time.sleep(_PAUSE_SECONDS)
        if not os.fstat(handle).st_nlink:
            return True
        return _replay(path, handle)
    finally:
        os.close(handle)


def _replay(path: Path, handle: int) -> bool:
    call_id, number = path.name.removesuffix(SUFFIX).rsplit(".", 1)
    try:
        entries, skipped = _read(handle)
    except (DecryptionError, ValueError) as error:
        # Nothing is thrown away that the right key or version can read.
        _tell_once("spool_unreadable", path, reason=str(error))
        return False
    if skipped:
        log.error("spool_damaged", file=path.name, skipped_entries=skipped)
    call = Call.objects.select_related("revision", "number", "organisation").filter(pk=call_id)
    found = call.first()
    if found is not None:
        try:
            _store(found, int(number), entries)
        except (DataError, IntegrityError) as error:
            # The name alone: PostgreSQL quotes the row, and the row is what was said.
            _tell_once("spool_refused", path, error=type(error).__name__)
            return False
    path.unlink(missing_ok=True)
    log.warning(
        "spool_replayed", file=path.name, entries=len(entries), call_found=found is not None
    )
    return True


def _store(call: Call, number: int, entries: Sequence[Mapping[str, Any]]) -> None:
    """Store the newest state of everything, oldest first, then the end."""
    turns: dict[int, RecordTurn] = {}
    tools: dict[str, RecordTool] = {}
    news: dict[int, CallNews] = {}
    pieces: list[tuple[int, str]] = []
    marks: dict[str, Any] = {}
    ended: Mapping[str, Any] | None = None
    for entry in entries:
        turns |= {each["ordinal"]: RecordTurn(**each) for each in entry.get("turns", ())}
        tools |= {each["tool_call_id"]: _tool(each) for each in entry.get("tools", ())}
        news |= {each["number"]: CallNews(**each) for each in entry.get("news", ())}
        pieces += [(ordinal, text) for ordinal, text in entry.get("pieces", ())]
        marks |= {key: entry[key] for key in _MARKS if entry.get(key)}
        ended = entry.get("ended", ended)
    is_newest = call.stream_count == number and call.status != Call.Status.ENDED
    is_counted = any(each.get("number") == number for each in call.metrics.get("streams", []))
    target = target_of(call) if news else None
    base: dict[str, Any] = {"call_id": str(call.pk), "stream_number": number, "target": target}
    nothing: dict[str, Any] = {"turns": (), "tools": (), "policy": None, "pieces": ()}
    first = {
        "policy": PolicyLinePlayed(*marks["policy_ms"]) if "policy_ms" in marks else None,
        "refused": marks.get("refused", False),
        "emergency": marks.get("emergency", False),
        "dial_to": marks.get("dial_to", "") if is_newest else "",
        "spend_microusd": 0 if is_counted else marks.get("spend_microusd", 0),
        "stream_ms": marks.get("stream_ms", 0),
    }
    store.batch_store(**base, **nothing | first)
    kinds: dict[str, Sequence[Any]] = {
        "turns": _not_taken(call, number, [turns[each] for each in sorted(turns)]),
        "tools": list(tools.values()),
        "pieces": pieces,
        "news": [news[each] for each in sorted(news)],
    }
    for kind, rows in kinds.items():
        for start in range(0, len(rows), _AT_ONCE):
            store.batch_store(**base, **nothing | {kind: rows[start : start + _AT_ONCE]})
    if ended is not None:
        stream_finish(call_id=str(call.pk), stream_number=number, **ended)


_MARKS: Final = (
    *("policy_ms", "refused", "emergency", "dial_to"),
    *("spend_microusd", "stream_ms"),
)


def _not_taken(call: Call, number: int, turns: list[RecordTurn]) -> list[RecordTurn]:
    """Leave out turns whose places a later stream, begun without them elsewhere, has taken."""
    if call.stream_count <= number or not turns:
        return turns
    taken = dict(Turn.objects.filter(call=call).values_list("ordinal", "item_id"))
    free = [turn for turn in turns if taken.get(turn.ordinal, turn.item_id) == turn.item_id]
    if len(free) < len(turns):
        log.error("spool_places_taken", call_id=str(call.pk), turns=len(turns) - len(free))
    return free


def _tool(values: Mapping[str, Any]) -> RecordTool:
    return RecordMcpTool(**values) if "handle" in values else RecordTool(**values)


def _files(call_id: str = "") -> list[tuple[Path, int]]:
    """Return the files, of one call or of all, with their bytes, in the order of the streams."""
    found = []
    with contextlib.suppress(FileNotFoundError):
        for entry in os.scandir(folder()):
            if entry.name.startswith(call_id) and entry.name.endswith(SUFFIX):
                with contextlib.suppress(FileNotFoundError):
                    found.append((Path(entry.path), entry.stat().st_size))
    return sorted(found, key=lambda each: (len(each[0].name), each[0].name))


def _line(entry: Mapping[str, Any]) -> bytes:
    clear = json.dumps({"v": _VERSION, **entry}, separators=(",", ":")).encode()
    token = seal(zlib.compress(clear, 3))
    return b"%08x %s\n" % (zlib.crc32(token), token)


def _read(handle: int) -> tuple[list[dict[str, Any]], int]:
    """Return the entries, and how many lines were left out because they are no whole ones.

    Raises:
        DecryptionError: no key fits.
        ValueError: another version wrote it.
    """
    entries, skipped = [], 0
    for line in _lines(handle):
        checksum, _, token = line.partition(b" ")
        if checksum != b"%08x" % zlib.crc32(token):
            skipped += 1
            continue
        entry = json.loads(zlib.decompress(unseal(token)))
        if entry.pop("v") != _VERSION:
            raise ValueError("it is of another version. Fix: start the version that wrote it.")
        entries.append(entry)
    return entries, skipped


def _lines(handle: int) -> Iterator[bytes]:
    with os.fdopen(os.dup(handle), "rb") as file:
        file.seek(0)
        for line in file.read().split(b"\n"):
            if line:
                yield line


def _write(handle: int, line: bytes) -> None:
    written = 0
    while written < len(line):
        written += os.write(handle, line[written:])
    os.fdatasync(handle)


def _lock(handle: int) -> bool:
    """Lock a file until it is closed; a process that is killed lets go of it."""
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _sync_folder(path: Path) -> None:
    handle = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def _tell_once(event: str, path: Path, **details: Any) -> None:
    if f"{event} {path.name}" not in _told:
        _told.add(f"{event} {path.name}")
        log.error(event, file=path.name, **details)
