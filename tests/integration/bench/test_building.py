"""A machine without a compiler, or with one that refuses, is told what to do."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from bench import building
from bench.building import BenchError

pytestmark = pytest.mark.integration


def compiler_in(folder: Path, script: str, monkeypatch: pytest.MonkeyPatch) -> None:
    path = folder / "cc"
    path.write_text(f"#!/bin/sh\n{script}\n", encoding="utf-8")
    path.chmod(0o700)
    monkeypatch.setenv("PATH", f"{folder}{os.pathsep}/usr/bin{os.pathsep}/bin")


def test_without_a_compiler_the_message_says_what_to_install(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(BenchError, match="needs a C compiler .* Fix: apt-get install"):
        building.build(tmp_path / "build")


def test_what_a_compiler_refuses_is_shown_and_leaves_no_program(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    compiler_in(tmp_path, "echo broken header >&2; exit 1", monkeypatch)
    with pytest.raises(BenchError, match="broken header"):
        building.build(tmp_path / "build")
    assert list((tmp_path / "build").iterdir()) == []


def test_only_what_is_older_than_its_sources_is_compiled(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # The program is the argument after -o.
    compiler_in(tmp_path, 'echo x >> "$0.log"; echo x > "$5"', monkeypatch)
    programs = building.build(tmp_path / "build")
    assert {path.name for path in programs.values()} == set(building.PROGRAMS)
    building.build(tmp_path / "build")
    assert (tmp_path / "cc.log").read_text() == "x\n" * len(programs)
    os.utime(programs["loadgen"], (0, 0))
    building.build(tmp_path / "build")
    assert (tmp_path / "cc.log").read_text() == "x\n" * (len(programs) + 1)
