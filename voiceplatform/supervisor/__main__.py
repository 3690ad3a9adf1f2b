"""``python -m voiceplatform.supervisor``: run a whole instance from the environment.

Takes the lock, generates what is missing, binds the sockets, then hands over to ``core``. Whatever
keeps it from starting is one sentence on standard error and exit code 1 (2: bad environment).
"""

from __future__ import annotations

import importlib
import socket
import sys
from pathlib import Path
from types import ModuleType

from voiceplatform import env
from voiceplatform.supervisor import valkey
from voiceplatform.supervisor.children import Child
from voiceplatform.supervisor.core import Parts, Supervisor
from voiceplatform.supervisor.errors import StartError
from voiceplatform.supervisor.folders import generate_missing_keys, lock, make_folder
from voiceplatform.supervisor.forking import Entry
from voiceplatform.supervisor.sockets import bind_loopback, bind_public, bind_unix, origin


def main() -> int:
    """Run an instance; return the exit code."""
    try:
        from voiceplatform import settings
        from voiceplatform.logconf import configure, set_process
    except env.EnvError as error:
        sys.stderr.write(f"{error}\n")
        return 2
    set_process("supervisor")
    configure(settings.LOGGING)
    try:
        return _run(settings)
    except StartError as error:
        sys.stderr.write(f"{error}\n")
        return 1


def _run(settings: ModuleType) -> int:
    make_folder(settings.VAR_DIR)
    held = lock(settings.VAR_DIR)
    try:
        make_folder(settings.RUN_DIR)
        if settings.DATABASE_IS_EMBEDDED:
            missing = {"secret_key"} if settings.SECRET_KEY_MISSING else set()
            missing |= set() if settings.FIELD_ENCRYPTION_KEYS else {"field_encryption_keys"}
            if missing:
                generate_missing_keys(settings.VAR_DIR, missing)
                importlib.reload(settings)  # the parts are copies of this process
        public = bind_public(settings.HOST, settings.PORT, patient=held.predecessor_crashed)
        web = bind_unix(settings.RUN_DIR / "web.sock")
        standins = bind_loopback() if settings.STANDINS else None
        return Supervisor(
            _parts(settings, public=public, web=web, standins=standins),
            admin_url=f"{origin(public)}/admin/",
            drain_seconds=settings.DRAIN_SECONDS,
        ).run()
    finally:
        held.release()


def _parts(
    settings: ModuleType,
    *,
    public: socket.socket,
    web: socket.socket,
    standins: socket.socket | None,
) -> Parts:
    """Return the children of this instance with their commands."""
    base: Path = settings.BASE_DIR
    # A part's title may fill the room of our arguments only: beyond it lies the environment, by
    # which people and tools find an instance's processes.
    env.tell_library("SPT_NOENV", "1")
    environment = env.child_environment({})

    def part(
        name: str,
        module: str,
        *arguments: str,
        fd: socket.socket | None = None,
        ready: bool = False,
    ) -> Child:
        descriptors = () if fd is None else (fd.fileno(),)
        named = () if fd is None else ("--fd", str(fd.fileno()))
        return Child(
            name, [*arguments, *named], environment, base, descriptors, Entry(module), ready
        )

    redis = None
    if settings.REDIS_IS_EMBEDDED:
        data_dir = settings.VAR_DIR / "valkey"
        make_folder(data_dir)
        command = valkey.command(socket_path=settings.REDIS_SOCKET, data_dir=data_dir)
        redis = Child("valkey", command, environment, base)
    standins_url = () if standins is None else ("--standins-url", origin(standins))
    celery = ("celery.__main__", "--app", "voiceplatform", "--quiet")
    return Parts(
        prepare=part("prepare", "voiceplatform.supervisor.prepare", *standins_url),
        media=part("media", "voiceplatform.serving", "media", fd=public, ready=True),
        web=part("web", "voiceplatform.serving", "web", fd=web, ready=True),
        worker=part(
            "worker", *celery, "worker", "--pool", "prefork", "--concurrency", "2",
            "--without-gossip", "--without-mingle", "--without-heartbeat",
        ),
        beat=part(
            "beat", *celery, "beat", "--pidfile", "",
            "--schedule", str(settings.VAR_DIR / "beat-schedule"),
        ),
        watcher=part("watcher", "voiceplatform.watching"),
        redis=redis,
        redis_socket=settings.REDIS_SOCKET,
        standins=part("standins", "calls.standins.__main__", fd=standins) if standins else None,
    )  # fmt: skip


if __name__ == "__main__":
    sys.exit(main())
