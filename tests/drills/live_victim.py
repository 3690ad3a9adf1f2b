"""A worker of a live run that is killed: ``python -m tests.drills.live_victim DATABASE JOB``.

Plays the job as the task does, in a process of its own, over the database of the test. Keys and
addresses come by the environment; the test says when it dies.
"""

from __future__ import annotations

import os
import sys


def main() -> None:
    """Play the run until its end, or until somebody kills this process."""
    import django
    from django.conf import settings

    database, job_id = sys.argv[1:]
    settings.DATABASES["default"]["NAME"] = database
    settings.EGRESS_ALLOW = ["127.0.0.0/8"]
    settings.VAPI_API_KEY = os.environ["DRILL_OLD_KEY"]
    settings.VAPI_BASE_URL = os.environ["DRILL_OLD_API"]
    django.setup()
    from calls.services.parity_playing import run_play

    run_play(job_id)


if __name__ == "__main__":
    main()
