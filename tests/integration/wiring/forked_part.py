"""What a forked part sees of itself, as one JSON line; and its ways to end."""

from __future__ import annotations

import atexit
import json
import os
import signal
import sys
from pathlib import Path


def main() -> int:
    """Tell, or end as the first argument says."""
    match sys.argv[1]:
        case "tell":
            handled = (signal.SIGTERM, signal.SIGHUP, signal.SIGCHLD)
            facts = {
                "argv": sys.argv,
                "descriptors": sorted(
                    int(name)
                    for name in os.listdir("/proc/self/fd")
                    if (Path("/proc/self/fd") / name).exists()
                ),
                "input": Path("/proc/self/fd/0").readlink().as_posix(),
                "leads_session": os.getsid(0) == os.getpid(),
                "default_signals": all(signal.getsignal(n) == signal.SIG_DFL for n in handled),
                "wakeup_fd": signal.set_wakeup_fd(-1),
                "blocked": len(signal.pthread_sigmask(signal.SIG_BLOCK, [])),
                "title": Path("/proc/self/cmdline").read_bytes().rstrip(b"\0").decode(),
                "environment_kept": b"\0MARKER=kept\0" in Path("/proc/self/environ").read_bytes(),
            }
            sys.stdout.write(json.dumps(facts) + "\n")
            return 0
        case "fail":
            raise RuntimeError("a part that fails")
        case "exit":
            atexit.register(lambda: sys.stdout.write("said good-bye\n"))
            sys.exit(int(sys.argv[2]))
        case _:
            signal.pause()
    return 0
