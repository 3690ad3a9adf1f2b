"""The child that brings the database up to date before anything serves it.

``python -m voiceplatform.supervisor.prepare``: migrations (which run the system checks), the
field-key canary, the instance's default rows, the first administrator. One process for all, because
starting Django takes most of its time. Prints only what an operator must read.
"""

from __future__ import annotations

import argparse
import gc
import io
import os
import sys


def main(arguments: list[str] | None = None) -> int:
    """Prepare the database; return the exit code."""
    parser = argparse.ArgumentParser(prog="python -m voiceplatform.supervisor.prepare")
    parser.add_argument("--standins-url", default="", help="origin of the stand-ins, if they run")
    options = parser.parse_args(arguments)

    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "voiceplatform.settings")
    import django
    from django.core.management import call_command
    from django.core.management.base import CommandError, SystemCheckError

    django.setup()
    from django.conf import settings
    from django.db import DatabaseError

    from voiceplatform.base.canary import canary_ensure
    from voiceplatform.logconf import set_process
    from voiceplatform.supervisor.first_admin import USER_NAME, first_admin

    set_process("prepare")
    try:
        # Migrations leave many objects; to look for garbage among them is two of five seconds in a
        # new folder, and this process ends soon.
        gc.disable()
        call_command("check", stdout=io.StringIO())  # first: it needs no database
        call_command("migrate", interactive=False, verbosity=0)
        canary_ensure()
        extra = ["--standins-url", options.standins_url] if options.standins_url else []
        call_command("prepare_instance", *extra)
    except SystemCheckError as error:
        sys.stderr.write(f"{error}\n")
        return 1
    except DatabaseError as error:
        sys.stderr.write(f"prepare: the database does not answer: {error}\n")
        return 1
    except CommandError as error:
        sys.stderr.write(f"prepare: {error}\n")
        return 1
    if settings.DATABASE_IS_EMBEDDED:
        password = first_admin(settings.VAR_DIR)
        if password is not None:
            sys.stdout.write(
                f"sign in: user {USER_NAME}, password {password} (shown once; kept in "
                f"{settings.VAR_DIR / 'keys' / 'admin_password'})\n"
            )
    return 0


if __name__ == "__main__":
    sys.exit(main())
