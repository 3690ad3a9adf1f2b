"""DATABASE_URL and the folder of sockets, as settings and env read them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from voiceplatform import env
from voiceplatform.settings import _database

pytestmark = pytest.mark.unit


def test_postgresql_url_is_unquoted_and_bounded() -> None:
    found: Any = _database(
        "postgresql://user%40x:p%2Fw@db.example.com:5433/na%20me?sslmode=require"
    )
    assert (found["NAME"], found["USER"], found["PASSWORD"]) == ("na me", "user@x", "p/w")
    assert (found["HOST"], found["PORT"]) == ("db.example.com", "5433")
    assert found["OPTIONS"]["sslmode"] == "require"
    assert found["OPTIONS"]["connect_timeout"] == 2
    assert found["OPTIONS"]["pool"]["timeout"] == 2


def test_postgresql_on_a_unix_socket() -> None:
    found: Any = _database("postgresql://postgres@/name?host=/Run/pg")
    assert (found["HOST"], found["NAME"], found["USER"]) == ("/Run/pg", "name", "postgres")
    assert "host" not in found["OPTIONS"]


@pytest.mark.parametrize(
    ("url", "path"), [("sqlite:////srv/a%20b.db", "/srv/a b.db"), ("sqlite:///b.db", "b.db")]
)
def test_sqlite_paths(url: str, path: str) -> None:
    assert _database(url)["NAME"] == path


@pytest.mark.parametrize("url", ["mysql://x/y", "sqlite://", "/srv/db", "sqlite:"])
def test_other_urls_are_refused_with_the_fix(url: str) -> None:
    with pytest.raises(env.EnvError, match="Fix: postgresql://"):
        _database(url)


def test_run_dir_fits_a_socket_address(tmp_path: Path) -> None:
    assert env.run_dir(Path("/srv/vp")) == Path("/srv/vp/run")
    long = Path("/srv") / ("x" * 90)
    folder = env.run_dir(long)
    assert len(str(folder / "valkey.sock")) < 100
    assert folder != env.run_dir(long / "y")


def test_secrets_come_from_files_too(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "s").write_text("line\n\n")
    monkeypatch.delenv("SOME_SECRET", raising=False)
    monkeypatch.setenv("SOME_SECRET_FILE", str(tmp_path / "s"))
    assert env.text("SOME_SECRET") == "line\n"
    monkeypatch.setenv("SOME_SECRET", "direct")
    assert env.text("SOME_SECRET") == "direct"
    monkeypatch.delenv("SOME_SECRET")
    monkeypatch.setenv("SOME_SECRET_FILE", str(tmp_path / "none"))
    with pytest.raises(env.EnvError, match="Fix: point it to a readable file"):
        env.text("SOME_SECRET")


@pytest.mark.parametrize(("value", "expected"), [("1", True), ("Off", False), ("", False)])
def test_flags(monkeypatch: pytest.MonkeyPatch, value: str, expected: bool) -> None:
    monkeypatch.setenv("SOME_FLAG", value)
    assert env.flag("SOME_FLAG") is expected


@pytest.mark.parametrize("value", ["9", "61", "ten", "1.5"])
def test_numbers_outside_or_odd_are_refused(monkeypatch: pytest.MonkeyPatch, value: str) -> None:
    monkeypatch.setenv("SOME_NUMBER", value)
    with pytest.raises(env.EnvError, match="Fix: e.g. SOME_NUMBER=10"):
        env.integer("SOME_NUMBER", 10, low=10, high=60)
