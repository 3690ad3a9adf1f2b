"""Every command of ours explains itself: ``--help`` ends with examples, a line each."""

from __future__ import annotations

import pytest
from django.core.management import get_commands, load_command_class

pytestmark = pytest.mark.unit

OURS = ("voiceplatform.base", "tools", "assistants", "calls")
COMMANDS = sorted((app, name) for name, app in get_commands().items() if app in OURS)


@pytest.mark.parametrize(("app", "name"), COMMANDS)
def test_help_ends_with_examples(app: str, name: str) -> None:
    shown = load_command_class(app, name).create_parser("manage.py", name).format_help()
    assert f"\nexamples:\n  manage.py {name}" in shown
    assert max(map(len, shown.splitlines())) <= 110


def test_commands_are_found() -> None:
    assert {"doctor", "import_vapi", "create_api_key"} <= {name for _, name in COMMANDS}
