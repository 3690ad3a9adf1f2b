"""How a run ends that could not be made or was stopped: by code, and with one sentence."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from bench import __main__ as module
from bench.building import BenchError

pytestmark = pytest.mark.integration


@pytest.fixture(autouse=True)
def _own_folder_and_signals(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setattr(module, "FOLDER", tmp_path)
    before = {number: signal.getsignal(number) for number in module.STOP_SIGNALS}
    yield
    for number, handler in before.items():
        signal.signal(number, handler)


def test_what_keeps_it_from_running_is_one_sentence(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def fail(bench: module.Bench) -> int:
        raise BenchError("there is no compiler")

    monkeypatch.setattr(module.Bench, "run", fail)
    assert module.main([]) == 2
    assert capsys.readouterr().err == "bench: there is no compiler\n"


def test_two_at_once_would_measure_each_other(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(module.Bench, "run", lambda bench: module.main([]))
    assert module.main([]) == 2
    assert "another bench runs" in capsys.readouterr().err


@pytest.mark.parametrize("number", module.STOP_SIGNALS)
def test_a_signal_ends_it_through_its_own_clean_up(
    number: signal.Signals, monkeypatch: pytest.MonkeyPatch
) -> None:
    cleaned: list[bool] = []

    def run(bench: module.Bench) -> int:
        try:
            signal.raise_signal(number)
        finally:
            # A second signal does not cut the clean-up short.
            signal.raise_signal(number)
            cleaned.append(True)
        return 0

    monkeypatch.setattr(module.Bench, "run", run)
    assert module.main([]) == 128 + number
    assert cleaned == [True]


@pytest.mark.parametrize("option", ["--calls", "--rounds", "--seconds"])
def test_nothing_is_no_load(option: str) -> None:
    with pytest.raises(SystemExit) as told:
        module.main([option, "0"])
    assert told.value.code == 2
