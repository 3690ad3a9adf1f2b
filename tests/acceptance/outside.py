"""What tests that look at a running instance from outside share: code beside it, and an
organisation with its key.
"""

from __future__ import annotations

import json
import subprocess
import sys
import uuid
from dataclasses import dataclass
from typing import Any

from tests.platform import ROOT, Platform, clean_environment

_ROWS = """
import json
from tests import factories
organisation = factories.make_organisation({name!r})
_, clear = factories.make_api_key(organisation, scopes={scopes!r})
numbers = [factories.make_number(organisation) for _ in range(2)]
calls = [
    factories.make_call(
        number=number,
        status="ended",
        turns=[{{"text": "Hello"}}, {{"text": "Hi there"}}],
        tool_invocations=[{{}}],
    )
    for number in numbers
]
print(json.dumps({{
    "key": clear,
    "org_id": str(organisation.pk),
    "numbers": [str(number.pk) for number in numbers],
    "assistants": [str(number.assistant_id) for number in numbers],
    "calls": [str(call.pk) for call in calls],
}}))
"""


@dataclass(frozen=True)
class Account:
    """An organisation with a key, two numbers that have an assistant each, and a call on each."""

    key: str
    org_id: str
    numbers: list[str]
    assistants: list[str]
    calls: list[str]


def make_account(platform: Platform, *scopes: str) -> Account:
    """Make an account in the database of a running instance."""
    code = _ROWS.format(name=f"outside {uuid.uuid4().hex[:8]}", scopes=scopes)
    answer: dict[str, Any] = json.loads(in_instance(platform, code)[-1])
    return Account(**answer)


# Loads the application once and runs each piece of code in a copy of itself, as new as a process of
# its own. What else may be printed goes to standard error.
_COPIES = """
import contextlib, io, json, os, sys, traceback
import django
django.setup()
from tests import factories
answers = os.fdopen(os.dup(1), "w")
os.dup2(2, 1)
for line in sys.stdin:
    pid = os.fork()
    if pid:
        if os.waitpid(pid, 0)[1]:
            answers.write(json.dumps({"lines": [], "error": "it was killed"}) + "\\n")
            answers.flush()
        continue
    said, error = io.StringIO(), ""
    try:
        with contextlib.redirect_stdout(said):
            exec(json.loads(line), {"__name__": "outside"})
    except BaseException:
        error = traceback.format_exc()
    answers.write(json.dumps({"lines": said.getvalue().splitlines(), "error": error}) + "\\n")
    answers.flush()
    os._exit(0)
"""


def in_instance(platform: Platform, code: str) -> list[str]:
    """Run Python beside a running instance, on its database; return the lines it prints."""
    if platform.beside is None:
        platform.beside = subprocess.Popen(
            [sys.executable, "-c", _COPIES],
            cwd=ROOT,
            env=clean_environment(
                DJANGO_SETTINGS_MODULE="voiceplatform.settings", VAR_DIR=str(platform.var_dir)
            ),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
    requests, answers = platform.beside.stdin, platform.beside.stdout
    assert requests is not None and answers is not None
    requests.write(json.dumps(code) + "\n")
    requests.flush()
    answer = json.loads(answers.readline())
    assert answer["error"] == "", answer
    lines: list[str] = answer["lines"]
    return lines
