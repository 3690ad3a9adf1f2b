"""Lock and generated keys: whole or absent, owner only."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from cryptography.fernet import Fernet

from voiceplatform.supervisor.errors import StartError
from voiceplatform.supervisor.folders import (
    generate_missing_keys,
    lock,
    make_folder,
    write_whole,
)

pytestmark = pytest.mark.unit


def test_keys_are_made_once_and_are_usable(tmp_path: Path) -> None:
    both = {"secret_key", "field_encryption_keys"}
    assert set(generate_missing_keys(tmp_path, both)) == both
    first = {path.name: path.read_text() for path in (tmp_path / "keys").iterdir()}
    assert generate_missing_keys(tmp_path, both) == []
    assert {path.name: path.read_text() for path in (tmp_path / "keys").iterdir()} == first
    Fernet(first["field_encryption_keys"].strip())
    assert len(first["secret_key"]) >= 50
    for path in (tmp_path / "keys").iterdir():
        assert path.stat().st_mode & 0o777 == 0o600
    assert (tmp_path / "keys").stat().st_mode & 0o777 == 0o700


def test_what_a_killed_start_left_half_written_is_swept_and_not_used(tmp_path: Path) -> None:
    (tmp_path / "keys").mkdir()
    (tmp_path / "keys" / ".partial-secret_key-1").write_text("ha")
    generate_missing_keys(tmp_path, {"secret_key"})
    assert [path.name for path in (tmp_path / "keys").iterdir()] == ["secret_key"]


def test_a_file_that_exists_is_never_overwritten(tmp_path: Path) -> None:
    assert write_whole(tmp_path / "a", "one")
    assert not write_whole(tmp_path / "a", "two")
    assert (tmp_path / "a").read_text() == "one"
    assert [path.name for path in tmp_path.iterdir()] == ["a"]


def test_the_lock_names_its_holder_and_is_free_after_release(tmp_path: Path) -> None:
    held = lock(tmp_path)
    assert not held.predecessor_crashed
    with pytest.raises(StartError, match=f"already running as pid {os.getpid()}"):
        lock(tmp_path)
    held.release()
    held.release()
    again = lock(tmp_path)
    assert not again.predecessor_crashed
    again.release()


def test_a_lock_file_with_a_name_in_it_tells_of_a_crash(tmp_path: Path) -> None:
    (tmp_path / "lock").write_text("12345\n")
    held = lock(tmp_path)
    assert held.predecessor_crashed
    assert (tmp_path / "lock").read_text() == f"{os.getpid()}\n"
    held.release()


def test_a_folder_that_cannot_be_made_is_a_sentence(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(StartError, match="Fix: make it writable, or set VAR_DIR"):
        make_folder(tmp_path / "file" / "below")
