"""The call logs of our tests have the shape that the official Vapi SDK reads today.

Files in shapes of earlier years are left out: no SDK of today has a type for them.
"""

from __future__ import annotations

import json
import typing
from typing import Any

import pydantic
import pytest
from vapi.types.artifact import Artifact

from tests.unit.house.source_tree import ROOT

pytestmark = pytest.mark.unit

FOLDER = ROOT / "tests" / "fixtures" / "call_logs"
OF_TODAY = ("01-get-call", "02-report-parallel-and-no-result", "13-forwarded")


@pytest.mark.parametrize("name", OF_TODAY)
def test_messages_of_our_logs_are_those_of_the_official_sdk(name: str) -> None:
    log = json.loads((FOLDER / f"{name}.json").read_text("utf-8"))
    artifact = log.get("message", log)["artifact"]
    messages: pydantic.TypeAdapter[Any] = pydantic.TypeAdapter(
        typing.get_type_hints(Artifact)["messages"]
    )
    assert len(messages.validate_python(artifact["messages"])) >= 3
    broken = [*artifact["messages"], {"role": "tool_calls", "message": "Looking.", "time": 1}]
    with pytest.raises(pydantic.ValidationError):
        messages.validate_python(broken)
