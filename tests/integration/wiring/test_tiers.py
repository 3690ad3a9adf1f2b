"""The rules of tests/conftest.py hold: a module without its tier fails, unit tests stay offline."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.platform import ROOT

pytestmark = pytest.mark.integration

MODULES = {
    "unit/test_no_tier.py": "def test_x(): pass",
    "unit/test_two_tiers.py": "pytestmark = [pytest.mark.unit, pytest.mark.property]\n"
    "def test_x(): pass",
    "unit/test_wrong_folder.py": "pytestmark = pytest.mark.integration\ndef test_x(): pass",
    "unit/test_offline.py": "pytestmark = pytest.mark.unit\nimport socket, threading, time\n"
    "go, told = threading.Event(), []\n"
    "def ring():\n"
    "    go.wait(10), time.sleep(0)\n"
    "    with socket.socket(socket.AF_UNIX) as client:\n"
    "        try: client.connect('valkey.sock')\n"
    "        except OSError as error: told.append(type(error))\n"
    "earlier = threading.Thread(target=ring)\n"
    "earlier.start()\n"
    "def test_thread_of_an_earlier_test():\n"
    "    go.set(), earlier.join(10)\n"
    "    assert told == [ConnectionRefusedError]\n"
    "def test_connect(): socket.create_connection(('127.0.0.1', 9))\n"
    "def test_bind(): socket.create_server(('127.0.0.1', 0))\n"
    "def test_sleep(): time.sleep(0)\n"
    "@pytest.mark.django_db\ndef test_database(): pass\n"
    "async def test_loop(): pass\n"
    "def test_plain(): pass",
}


def test_each_rule_is_enforced(tmp_path: Path) -> None:
    for name, source in MODULES.items():
        path = tmp_path / "tests" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(f"import pytest\n{source}\n")
        (path.parent / "__init__.py").touch()
    # What the rules and what they import are; not the tests.
    for path in (ROOT / "tests").glob("*.py"):
        shutil.copy(path, tmp_path / "tests")
    shutil.copy(ROOT / "pyproject.toml", tmp_path)
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "--continue-on-collection-errors", "-p",
         "no:cacheprovider", "-p", "no:xdist", "--rootdir", str(tmp_path), str(tmp_path / "tests")],
        cwd=tmp_path, env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True, text=True, timeout=100, check=False,
    )  # fmt: skip
    out = done.stdout
    assert "test_no_tier.py names 0 tiers" in out, out + done.stderr
    assert "test_two_tiers.py names 2 tiers (property, unit)" in out
    assert "test_wrong_folder.py lies in unit/ but is marked integration" in out
    for name in ("connect", "bind", "sleep"):
        assert f"FAILED tests/unit/test_offline.py::test_{name}" in out
    assert "ERROR tests/unit/test_offline.py::test_database" in out
    assert "3 passed" in out
