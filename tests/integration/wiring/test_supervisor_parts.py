"""Pieces of the supervisor against the real system: sockets, Valkey, the first administrator."""

from __future__ import annotations

import os
import socket
from pathlib import Path

import pytest
from django.contrib.auth import authenticate, get_user_model

from tests.servers import running_valkey
from voiceplatform.supervisor import valkey
from voiceplatform.supervisor.errors import StartError
from voiceplatform.supervisor.first_admin import first_admin
from voiceplatform.supervisor.sockets import bind_loopback, bind_public, bind_unix, origin

pytestmark = pytest.mark.integration


def test_a_taken_port_names_its_owner_and_the_next_port() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(StartError) as refused:
            bind_public("127.0.0.1", port, patient=False)
    assert f"port {port} is taken by pid {os.getpid()} (" in str(refused.value)
    assert f"PORT={port + 1} make serve" in str(refused.value)


def test_a_host_of_another_machine_is_a_sentence() -> None:
    with pytest.raises(StartError, match="cannot listen on 192.0.2.1"):
        bind_public("192.0.2.1", 8000, patient=False)
    with pytest.raises(StartError, match="no address of this machine"):
        bind_public("no.such.host.invalid", 8000, patient=False)


def test_origins_shown_can_be_opened_here() -> None:
    with bind_loopback() as listener:
        assert origin(listener) == f"http://127.0.0.1:{listener.getsockname()[1]}"
    with bind_public("0.0.0.0", 0, patient=False) as listener:
        assert origin(listener).startswith("http://127.0.0.1:")


def test_children_do_not_inherit_a_socket_by_accident() -> None:
    with bind_loopback() as listener:
        assert not listener.get_inheritable()


def test_a_stale_unix_socket_is_replaced(tmp_path_factory: pytest.TempPathFactory) -> None:
    path = tmp_path_factory.mktemp("u") / "web.sock"
    bind_unix(path).close()
    assert path.is_socket()
    with bind_unix(path), socket.socket(socket.AF_UNIX) as client:
        client.connect(str(path))
    assert path.stat().st_mode & 0o777 == 0o600


def test_valkey_answers_and_keeps_nothing(tmp_path: Path) -> None:
    with running_valkey() as path:
        assert valkey.answers(path)
    assert not valkey.answers(path)
    assert not valkey.answers(tmp_path / "none.sock")


@pytest.mark.django_db
def test_the_first_admin_is_made_once_with_a_password_kept_for_its_owner(tmp_path: Path) -> None:
    password = first_admin(tmp_path)
    assert password is not None
    user = authenticate(username="admin", password=password)
    assert user is not None
    assert user.is_superuser
    kept = tmp_path / "keys" / "admin_password"
    assert kept.read_text().strip() == password
    assert kept.stat().st_mode & 0o777 == 0o600
    assert first_admin(tmp_path) is None


@pytest.mark.django_db
def test_a_kill_between_password_and_account_keeps_the_password(tmp_path: Path) -> None:
    (tmp_path / "keys").mkdir()
    (tmp_path / "keys" / "admin_password").write_text("kept-from-before\n")
    get_user_model().objects.create_user("admin", password="half made")
    assert first_admin(tmp_path) == "kept-from-before"
    assert authenticate(username="admin", password="kept-from-before") is not None


@pytest.mark.django_db
def test_no_account_is_made_beside_an_existing_superuser(tmp_path: Path) -> None:
    get_user_model().objects.create_superuser("root", password="x")
    assert first_admin(tmp_path) is None
    assert not (tmp_path / "keys").exists()
