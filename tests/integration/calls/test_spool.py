"""What the database did not take is on disk: kept through kills, replayed once, sealed, bounded."""

from __future__ import annotations

import asyncio
import stat
import threading
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from cryptography.fernet import Fernet
from django.db import DataError, OperationalError, connection
from django.utils import timezone

from calls.bridge.effects import CallNews, PolicyLinePlayed, StreamEnded
from calls.events.outbox import Destination
from calls.media import journal as journal_module
from calls.media.journal import CallJournal
from calls.models import Call, OutboxEvent, ToolInvocation, Turn
from calls.privacy.keeping import EVERYTHING, NOTHING, Keeping
from calls.privacy.patterns import PHONE, Redactor
from calls.services import media_open
from calls.services import spool as spool_module
from calls.services.call_finish import call_close
from calls.services.call_start import media_token
from calls.services.erasure import caller_erase
from calls.services.journal import record_text
from calls.services.server_messages.targets import Target
from calls.services.spool import Spool, Waiting, folder, spool_replay, spools_replay
from tests import factories
from tests.integration.calls.test_journal import Away, _tool, _turn

pytestmark = [pytest.mark.integration, pytest.mark.django_db(transaction=True)]

SAID = "My number is +14155550123"
ENDED = StreamEnded("customer-ended-call", call_over=True, metrics={"spend_microusd": 7})


@pytest.fixture(autouse=True)
def _own_folder(settings: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    settings.VAR_DIR = tmp_path
    monkeypatch.setattr("calls.media.database.RETRY_PAUSES_SECONDS", (0.01,))
    monkeypatch.setattr(spool_module, "_told", set())


@pytest.fixture
def call(transactional_db: None) -> Call:
    """A call that is in its first stream."""
    made: Call = factories.make_call(stream_count=1)
    return made


def files() -> list[Path]:
    """Return what lies on disk."""
    return sorted(folder().iterdir()) if folder().is_dir() else []


def texts(call: Call) -> list[str]:
    """Return the stored words of a call."""
    return list(Turn.objects.filter(call=call).order_by("ordinal").values_list("text", flat=True))


def on_disk(call: Call, number: int = 1, **waiting: Any) -> Path:
    """Leave something on disk as a process does that is killed then."""
    spool = Spool(str(call.pk), number)
    assert spool.keep(Waiting(**waiting), EVERYTHING, spend_microusd=5, stream_ms=900)
    spool.release()
    return spool.path


def test_a_call_that_ends_while_the_database_is_away_is_stored_when_it_is_back(
    call: Call, monkeypatch: pytest.MonkeyPatch
) -> None:
    away = Away(monkeypatch)
    journal = CallJournal(str(call.pk), 1)
    for ordinal in range(120):
        journal.write(_turn(ordinal, f"word {ordinal}"))
    journal.write(_tool())
    journal.write(PolicyLinePlayed(0))
    journal.write_inputs("record")
    assert asyncio.run(journal.close(ENDED)) is False
    (path,) = files()
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert stat.S_IMODE(folder().stat().st_mode) == 0o700
    assert b"word" not in path.read_bytes()
    with pytest.raises(OperationalError):
        spools_replay()
    assert files() == [path]

    away.is_away = False
    assert spools_replay() == 1
    call.refresh_from_db()
    assert texts(call) == [f"word {ordinal}" for ordinal in range(120)]
    assert ToolInvocation.objects.get(call=call).state == "ok"
    assert (call.status, call.ended_reason) == ("ended", "customer-ended-call")
    assert call.policy_played_at is not None
    assert record_text(str(call.pk), 1) == "record"
    assert (files(), spools_replay()) == ([], 0)


def test_an_end_that_alone_was_refused_is_not_lost(call: Call) -> None:
    def refuses(**_: Any) -> None:
        raise OperationalError("away")

    journal = CallJournal(str(call.pk), 1)
    journal.write(_turn(0))
    assert asyncio.run(journal.close(ENDED, refuses)) is True  # by way of the disk
    call.refresh_from_db()
    assert (call.status, texts(call), files()) == ("ended", ["Hello"], [])


def test_a_process_that_is_killed_leaves_the_newest_state_of_everything(call: Call) -> None:
    spool = Spool(str(call.pk), 1)
    before = Waiting(turns={0: _turn(0, "half")}, tools={"call_1": _tool("running")})
    assert spool.keep(before, EVERYTHING, spend_microusd=1, stream_ms=1)
    assert spools_replay() == 0, "a journal still adds to it"
    size = spool.path.stat().st_size
    assert spool.keep(before, EVERYTHING, spend_microusd=1, stream_ms=1)
    assert spool.path.stat().st_size == size, "what is on it is not written again"
    now = Waiting(
        turns={0: _turn(0, "whole", ended_ms=9), 1: _turn(1)}, tools={"call_1": _tool("ok")}
    )
    assert spool.keep(now, EVERYTHING, spend_microusd=5, stream_ms=2)
    spool.release()
    assert spools_replay() == 1
    assert texts(call) == ["whole", "Hello"]
    assert ToolInvocation.objects.get(call=call).state == "ok"
    call.refresh_from_db()
    assert call.metrics["unreported"] == [{"number": 1, "spend_microusd": 5, "stream_ms": 2}]


def test_a_journal_that_gets_its_database_back_needs_its_file_no_more(
    call: Call, monkeypatch: pytest.MonkeyPatch
) -> None:
    away = Away(monkeypatch)
    told = CallNews(1, "said", 5, turn=0, text="Hello")
    target = Target(Destination(url="https://example.com/hook"), frozenset({"transcript"}))
    crashed: list[bytes] = []

    async def story() -> None:
        journal = CallJournal(str(call.pk), 1, target=target)
        journal.write(_turn(0, "first"))
        assert not await journal._store()
        away.is_away = False
        journal.write(_turn(0, "last", ended_ms=5))
        journal.write(told)
        discard = journal._spool.discard

        def look() -> None:
            crashed.append(journal._spool.path.read_bytes())
            discard()

        monkeypatch.setattr(journal._spool, "discard", look)
        assert await journal._store()

    asyncio.run(story())
    assert files() == []
    assert texts(call) == ["last"]
    # Killed between its commit and the removal: what is on disk is what was stored.
    path = folder() / f"{call.pk}.1.spool"
    path.write_bytes(crashed[0])
    events = set(OutboxEvent.objects.values_list("pk", flat=True))
    assert len(events) == 1
    monkeypatch.setattr(spool_module, "target_of", lambda _: target)
    assert spool_replay(path)
    assert texts(call) == ["last"]
    assert set(OutboxEvent.objects.values_list("pk", flat=True)) == events


def test_a_database_that_does_not_answer_is_not_waited_for(
    call: Call, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(journal_module, "PATIENCE_SECONDS", 0.01)
    answers = asyncio.Event()

    async def story() -> None:
        journal = CallJournal(str(call.pk), 1)

        async def hangs(*_: Any, **__: Any) -> Keeping:
            await answers.wait()
            return EVERYTHING

        monkeypatch.setattr(journal_module, "in_database", hangs)

        def words() -> str:
            if not files():
                return ""
            with files()[0].open("rb") as file:
                return str(spool_module._read(file.fileno())[0])

        async def are_on_disk(text: str) -> None:
            async with asyncio.timeout(20):
                while text not in words():  # noqa: ASYNC110 - a file tells nobody
                    await asyncio.sleep(0.01)

        journal.write(_turn(0, "before"))
        storing = asyncio.create_task(journal._store())
        await are_on_disk("before")
        journal.write(_turn(1, "meanwhile"))
        await are_on_disk("meanwhile")
        answers.set()
        assert await storing
        assert files() == []
        assert list(journal._turns) == [1], "it waits for the next batch"

    asyncio.run(story())


def test_half_a_line_at_the_end_is_left_out_and_told(
    call: Call, caplog: pytest.LogCaptureFixture
) -> None:
    spool = Spool(str(call.pk), 1)
    for ordinal in range(2):
        waiting = Waiting(turns={ordinal: _turn(ordinal)})
        assert spool.keep(waiting, EVERYTHING, spend_microusd=0, stream_ms=0)
    spool.release()
    spool.path.write_bytes(spool.path.read_bytes()[:-20])
    assert spools_replay() == 1
    assert texts(call) == ["Hello"]
    assert "spool_damaged" in caplog.text
    assert files() == []


def test_what_another_key_sealed_stays_until_that_key_is_back(
    call: Call, settings: Any, caplog: pytest.LogCaptureFixture
) -> None:
    path = on_disk(call, turns={0: _turn(0)})
    keys = settings.FIELD_ENCRYPTION_KEYS
    settings.FIELD_ENCRYPTION_KEYS = [Fernet.generate_key().decode()]
    assert spools_replay() == 0
    assert spools_replay() == 0
    assert caplog.text.count("spool_unreadable") == 1
    assert files() == [path]
    settings.FIELD_ENCRYPTION_KEYS = [*settings.FIELD_ENCRYPTION_KEYS, *keys]
    assert spools_replay() == 1
    assert texts(call) == ["Hello"]


def test_only_what_may_be_kept_is_on_disk(call: Call) -> None:
    masked = Keeping(Redactor((PHONE,), year=2026))
    for number, keeping in enumerate((masked, NOTHING), start=1):
        spool = Spool(str(call.pk), number)
        waiting = Waiting(
            turns={number: _turn(number, SAID, ended_ms=1)},
            tools={f"call_{number}": _tool(tool_call_id=f"call_{number}", output=SAID)},
            pieces=[(0, SAID)],
            news=[CallNews(1, "said", 5, turn=number, text=SAID)],
        )
        assert spool.keep(waiting, keeping, spend_microusd=0, stream_ms=0)
        spool.release()
        handle = spool.path.open("rb")
        with handle:
            entries, _ = spool_module._read(handle.fileno())
        assert "4155550123" not in str(entries)
    # Who has just taken over may have other rules, which nobody knows before they are looked up.
    spool = Spool(str(call.pk), 3)
    assert not spool.keep(Waiting(turns={3: _turn(3)}), None, spend_microusd=0, stream_ms=0)
    assert not spool.path.exists()


def test_the_oldest_is_kept_and_the_rest_waits_in_memory(
    call: Call, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(spool_module, "MOST_FILE_BYTES", 2_000)
    away = Away(monkeypatch)

    async def story() -> None:
        journal = CallJournal(str(call.pk), 1)
        for ordinal in range(4):
            # Words that do not get smaller when they are packed.
            journal.write(_turn(ordinal, Fernet.generate_key().decode() * 1 + "x" * ordinal))
            noise = "".join(Fernet.generate_key().decode() for _ in range(12))
            journal.write(_turn(ordinal, noise))
            assert not await journal._store()
        assert folder().joinpath(f"{call.pk}.1.spool").stat().st_size <= 2_000
        away.is_away = False
        assert await journal.close()

    asyncio.run(story())
    assert caplog.text.count("spool_full") == 1
    assert len(texts(call)) == 4
    assert files() == []


def test_a_disk_that_takes_nothing_costs_nothing(
    call: Call, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def full(*_: Any) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(spool_module, "_write", full)
    away = Away(monkeypatch)

    async def story() -> None:
        journal = CallJournal(str(call.pk), 1)
        journal.write(_turn(0))
        assert not await journal.close()
        away.is_away = False
        assert await journal.close(ENDED)

    asyncio.run(story())
    call.refresh_from_db()
    assert (texts(call), call.status) == (["Hello"], "ended")
    assert "No space left on device" in caplog.text


def test_a_damaged_write_spoils_no_later_one(call: Call, monkeypatch: pytest.MonkeyPatch) -> None:
    spool = Spool(str(call.pk), 1)
    write = spool_module._write

    def half(handle: int, line: bytes) -> None:
        write(handle, line[:30])
        raise OSError(28, "No space left on device")

    assert spool.keep(Waiting(turns={0: _turn(0)}), EVERYTHING, spend_microusd=0, stream_ms=0)
    waiting = Waiting(turns={0: _turn(0), 1: _turn(1)})
    with monkeypatch.context() as patch:
        patch.setattr(spool_module, "_write", half)
        assert not spool.keep(waiting, EVERYTHING, spend_microusd=0, stream_ms=0)
    assert spool.keep(waiting, EVERYTHING, spend_microusd=0, stream_ms=0)
    spool.release()
    assert spools_replay() == 1
    assert texts(call) == ["Hello", "Hello"]


def test_the_next_stream_goes_on_from_what_lay_on_disk(
    call: Call, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(media_open, "stream_signature_valid", lambda *_: True)
    monkeypatch.setattr(media_open, "ticket_for", texts)
    Call.objects.filter(pk=call.pk).update(
        media_token_used_at=None, media_token_expires_at=timezone.now() + timedelta(minutes=1)
    )
    call.refresh_from_db()
    on_disk(call, turns={0: _turn(0, "before"), 1: _turn(1, "the outage")})
    on_disk(factories.make_call(number=call.number), turns={0: _turn(0)})
    found: Any = media_open.media_open(
        call_id=str(call.pk), token=media_token(call), url="", signature=""
    )
    assert found == ["before", "the outage"]
    assert len(files()) == 1, "that of another call waits"


def test_the_next_stream_waits_for_whoever_replays_what_it_begins_with(
    call: Call, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = on_disk(call, turns={0: _turn(0)})
    replaying, go_on = threading.Event(), threading.Event()
    store = spool_module._store

    def slowly(*args: Any) -> None:
        replaying.set()
        assert go_on.wait(20)
        store(*args)

    monkeypatch.setattr(spool_module, "_store", slowly)
    monkeypatch.setattr(spool_module, "USED_SECONDS", 20.0)
    monkeypatch.setattr(spool_module.time, "sleep", lambda _: go_on.set())

    def replay() -> None:
        assert spool_replay(path)
        connection.close()

    watcher = threading.Thread(target=replay)
    watcher.start()
    assert replaying.wait(20)
    assert spools_replay(str(call.pk)) == 1
    assert texts(call) == ["Hello"]
    watcher.join()


def test_turns_of_a_later_stream_are_not_overwritten(
    call: Call, caplog: pytest.LogCaptureFixture
) -> None:
    path = on_disk(call, turns={0: _turn(0, "old"), 1: _turn(1, "older")}, dial_to="+15550100099")
    Call.objects.filter(pk=call.pk).update(stream_count=2)
    Turn.objects.create(call=call, ordinal=1, role="user", text="new", item_id="x", started_ms=1)
    assert spool_replay(path)
    assert texts(call) == ["old", "new"]
    assert "spool_places_taken" in caplog.text
    call.refresh_from_db()
    assert call.next_step == {}


def test_what_no_database_takes_stands_in_nobodys_way(
    call: Call, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    path = on_disk(call, turns={0: _turn(0, SAID)})

    def refuses(**_: Any) -> None:
        raise DataError(SAID)

    monkeypatch.setattr(spool_module.store, "batch_store", refuses)
    assert spools_replay() == 0
    assert files() == [path]
    assert "spool_refused" in caplog.text
    assert SAID not in caplog.text


def test_an_erasure_reaches_what_lies_on_disk_and_nothing_of_it_comes_back(call: Call) -> None:
    Call.objects.filter(pk=call.pk).update(caller="+14155550123")
    call_close(call_id=str(call.pk), reason="customer-ended-call")
    path = on_disk(call, turns={0: _turn(0, SAID)})
    kept = path.read_bytes()
    caller_erase(organisation=call.organisation, number="+14155550123", actor=None)
    assert files() == []
    path.write_bytes(kept)  # a copy that was being replayed
    assert spools_replay() == 1
    assert (files(), Turn.objects.count()) == ([], 0)
