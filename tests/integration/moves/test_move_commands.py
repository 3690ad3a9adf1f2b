"""``route_number`` and ``restore_number``: what they print, their exit codes, what they need."""

from __future__ import annotations

import io
import json
from typing import Any

import pytest
from django.core.management import CommandError, call_command

from tests.integration.moves.test_moves import HERE
from tests.integration.moves.twilio import Twilio

pytestmark = [pytest.mark.integration, pytest.mark.django_db]


def run(*arguments: str) -> tuple[int, str]:
    out = io.StringIO()
    code: Any = 0
    try:
        call_command(*arguments, stdout=out, stderr=out)
    except SystemExit as end:
        code = end.code
    except CommandError as error:
        return error.returncode, str(error)
    return int(code or 0), out.getvalue()


def test_a_dry_run_shows_every_change_and_makes_none(twilio: Twilio) -> None:
    number = twilio.number(1)
    code, text = run("route_number", number.number_e164, "--to", "vapi", "--move-here", "--dry-run")
    assert code == 0
    assert f"-> {HERE}#ct=1500" in text
    assert "token=abc" not in text, "secrets in addresses are masked"
    assert "Text messages are not touched" in text
    assert not number.moves.exists()
    assert twilio.posts(number) == []


def test_a_number_is_moved_only_by_its_own_name(twilio: Twilio) -> None:
    number = twilio.number(0)
    order = ("route_number", number.number_e164, "--to", "canary:10", "--move-here")
    code, text = run(*order)
    assert (code, "--yes-i-typed" in text) == (2, True)
    code, text = run(*order, "--yes-i-typed", "+15550100000")
    assert code == 2
    assert not number.moves.exists()
    code, text = run(*order, "--yes-i-typed", number.number_e164, "--json")
    assert code == 0, text
    body = json.loads(text)
    assert (body["ok"], body["state"], body["route"]["before"]) == (True, "tested", "vapi")
    number.refresh_from_db()
    assert (number.route, number.canary_percent) == ("canary", 10)
    code, text = run("restore_number", number.number_e164, "--json")
    assert (code, json.loads(text)["numbers"][0]["state"]) == (0, "done")
    assert twilio.changed() == {}


@pytest.mark.parametrize(
    "bad",
    [
        ("route_number", "+15550100001", "--to", "canary:101"),
        ("route_number", "+15550100001", "--to", "elsewhere"),
    ],
)
def test_a_route_that_is_none_is_named(twilio: Twilio, bad: tuple[str, ...]) -> None:
    code, text = run(*bad)
    assert (code, "--to is" in text) == (2, True)
