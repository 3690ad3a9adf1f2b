"""``python -m voiceplatform.supervisor``: run a whole instance from the environment.

Takes the lock, generates what is missing, binds the sockets, then hands over to ``core``. Whatever
keeps it from starting is one sentence on standard error and exit code 1 (2: bad environment).
"""

from __future__ import annotations

import socket
import sys
from pathlib import Path
from types import ModuleType

from voiceplatform import env
from voiceplatform.supervisor import valkey
from voiceplatform.supervisor.children import Child, environment_for
from voiceplatform.supervisor.core import Parts, Supervisor
from voiceplatform.supervisor.errors import StartError
from voiceplatform.supervisor.folders import generate_missing_keys, lock, make_folder
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
            generate_missing_keys(settings.VAR_DIR, missing)
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
    environment = environment_for(env.child_environment)

    def python(
        name: str, *arguments: str, fd: socket.socket | None = None, ready: bool = False
    ) -> Child:
        descriptors = () if fd is None else (fd.fileno(),)
        command = [sys.executable, "-m", *arguments]
        if fd is not None:
            command += ["--fd", str(fd.fileno())]
        return Child(name, command, environment, base, descriptors, reports_ready=ready)

    prepare = ["voiceplatform.supervisor.prepare"]
    if standins is not None:
        prepare += ["--standins-url", origin(standins)]
    redis = None
    if settings.REDIS_IS_EMBEDDED:
        data_dir = settings.VAR_DIR / "valkey"
        make_folder(data_dir)
        command = valkey.command(socket_path=settings.REDIS_SOCKET, data_dir=data_dir)
        redis = Child("valkey", command, environment, base)
    celery = ("celery", "--app", "voiceplatform", "--quiet")
    return Parts(
        prepare=python("prepare", *prepare),
        media=python("media", "voiceplatform.serving", "media", fd=public, ready=True),
        web=python("web", "voiceplatform.serving", "web", fd=web, ready=True),
        worker=python(
            "worker", *celery, "worker", "--pool", "prefork", "--concurrency", "2",
            "--without-gossip", "--without-mingle", "--without-heartbeat",
        ),
        beat=python(
            "beat", *celery, "beat", "--pidfile", "",
            "--schedule", str(settings.VAR_DIR / "beat-schedule"),
        ),
        redis=redis,
        redis_socket=settings.REDIS_SOCKET,
        standins=None if standins is None else python("standins", "calls.standins", fd=standins),
    )  # fmt: skip


if __name__ == "__main__":
    sys.exit(main())
