"""Our own marks in a tool document."""

from __future__ import annotations

import pytest

from tools.switches import LEGACY, Switches, read_switches, write_switches

pytestmark = pytest.mark.unit


@pytest.mark.parametrize(
    "switches",
    [
        Switches(),
        Switches(text_arguments=True),
        Switches(aliases=False, legacy_message=True),
        Switches(object_answers=True),
    ],
)
def test_what_is_written_is_read(switches: Switches) -> None:
    document = {"type": "function", "voiceplatform": {"other": 1}}
    written = write_switches(document, switches)
    assert read_switches(written) == switches
    assert written["voiceplatform"]["other"] == 1
    assert document["voiceplatform"] == {"other": 1}


def test_usual_switches_leave_no_mark() -> None:
    assert write_switches({"type": "function", **LEGACY}, Switches()) == {"type": "function"}


@pytest.mark.parametrize(
    "document",
    [None, [], {"voiceplatform": "x"}, {"voiceplatform": {"aliases": 0, "argumentsAsText": 1}}],
)
def test_what_has_the_wrong_type_is_as_usual(document: object) -> None:
    assert read_switches(document) == Switches()


def test_the_mark_of_an_old_function_asks_for_the_old_message() -> None:
    assert read_switches(LEGACY).legacy_message
