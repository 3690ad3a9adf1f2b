"""Who may never import whom (docs/adr/0014-import-layers.md).

The shipped tree keeps every rule, and each rule finds its own violation in a small bad example.
"""

from __future__ import annotations

import pytest

from tests.unit.house import import_rules as rules
from tests.unit.house.source_tree import Import, SourceTree

pytestmark = pytest.mark.unit


@pytest.fixture(scope="module")
def shipped() -> SourceTree:
    return SourceTree.shipped()


def test_the_tree_is_really_read(shipped: SourceTree) -> None:
    assert {"manage", "tools.spec", "calls.models", "voiceplatform.settings"} <= set(
        shipped.sources
    )
    assert any(found.target == "django.db.models" for found in _imports(shipped, "tools.models"))


@pytest.mark.parametrize("rule", rules.RULES, ids=lambda rule: rule.__name__)
def test_shipped_code_keeps(rule: rules.Rule, shipped: SourceTree) -> None:
    findings = list(rule(shipped))
    assert not findings, f"{rule.__doc__}\n" + "\n".join(findings)


def test_the_outbox_poke_is_the_one_late_import_of_a_door(shipped: SourceTree) -> None:
    late = [
        f"{source.path}:{found.line}"
        for module, source in shipped.sources.items()
        for found in source.imports
        if found.late
        and (owner := shipped.owner(found.target))
        and rules.door(owner) not in (None, rules.door(module))
    ]
    assert len(late) <= 1, late


BAD: list[tuple[rules.Rule, dict[str, str], str]] = [
    (rules.rule_1_pure, {"tools/spec.py": "import asyncio"}, "asyncio"),
    (rules.rule_1_pure, {"tools/spec.py": "from django.db import models"}, "django.db.models"),
    (rules.rule_1_pure, {"calls/wire/realtime.py": "import websockets"}, "websockets"),
    (rules.rule_1_pure, {"calls/wire/realtime.py": "from twilio import twiml"}, "twilio.twiml"),
    (rules.rule_1_pure, {"calls/bridge/machine.py": "def f():\n import celery"}, "celery"),
    (
        rules.rule_1_pure,
        {
            "calls/numbers/route.py": "from calls.exceptions import Refused",
            "calls/exceptions.py": "from calls.models import Call",
            "calls/models/__init__.py": "import django",
        },
        "calls.numbers.route -> calls.exceptions -> calls.models -> django",
    ),
    (
        rules.rule_1_pure,
        {
            "tools/schema.py": "import importlib\nimportlib.import_module('channels.layers')",
        },
        "channels.layers",
    ),
    (
        rules.rule_2_wire_and_bridge,
        {
            "calls/wire/twilio_media.py": "from calls.wire import realtime",
            "calls/wire/realtime.py": "",
        },
        "one format, one module",
    ),
    (
        rules.rule_2_wire_and_bridge,
        {
            "assistants/wire/vapi_config.py": "from tools.wire.vapi_server import read",
            "tools/wire/vapi_server.py": "",
        },
        "one format, one module",
    ),
    (
        rules.rule_2_wire_and_bridge,
        {"calls/bridge/machine.py": "from ..services import call_end", "calls/services.py": ""},
        "calls.services",
    ),
    (rules.rule_2_wire_and_bridge, {"calls/bridge/machine.py": "import time"}, "no replay"),
    (
        rules.rule_2_wire_and_bridge,
        {"calls/bridge/plan.py": "from django.conf import settings"},
        "django.conf",
    ),
    (
        rules.rule_3_layers,
        {"voiceplatform/base/models.py": "import tools.models", "tools/models.py": ""},
        "a layer above",
    ),
    (
        rules.rule_3_layers,
        {"tools/dispatch.py": "def f():\n from calls.models import Call", "calls/models.py": ""},
        "tools imports calls",
    ),
    (
        rules.rule_3_layers,
        {"assistants/services.py": "import calls.services", "calls/services.py": ""},
        "assistants imports calls",
    ),
    (
        rules.rule_3_layers,
        {"calls/services.py": "from voiceplatform import health", "voiceplatform/health.py": ""},
        "the wiring",
    ),
    (
        rules.rule_3_layers,
        {"calls/standins/peer.py": "from calls.bridge import plan", "calls/bridge/plan.py": ""},
        "it is a peer",
    ),
    (
        rules.rule_4_models,
        {"calls/models/records.py": "from calls.services import x", "calls/services.py": ""},
        "services call it",
    ),
    (
        rules.rule_4_models,
        {
            "tools/models.py": "from voiceplatform.base import http",
            "voiceplatform/base/http.py": "",
        },
        "voiceplatform.base.http",
    ),
    (
        rules.rule_4_models,
        {"calls/services/end.py": "from django.db.models.signals import post_save"},
        "signal",
    ),
    (
        rules.rule_5_doors,
        {"calls/api/calls.py": "from calls.tasks import drain_outbox", "calls/tasks.py": ""},
        "a door",
    ),
    (
        rules.rule_5_doors,
        {"calls/services/end.py": "def f():\n import calls.tasks", "calls/tasks.py": ""},
        "a door",
    ),
    (
        rules.rule_5_doors,
        {"calls/events/outbox.py": "import calls.tasks", "calls/tasks.py": ""},
        "a door",
    ),
    (rules.rule_5_doors, {"tools/admin.py": "Tool.objects.create(name='x')"}, "writes rows"),
    (
        rules.rule_5_doors,
        {"calls/telephony/views.py": "Call.objects.filter(pk=1).update(status='ended')"},
        "writes rows",
    ),
    (
        rules.rule_6_media_without_django,
        {"calls/media/driver.py": "from django.conf import settings"},
        "through a port",
    ),
    (
        rules.rule_6_media_without_django,
        {
            "calls/media/pool.py": "from calls.media import journal",
            "calls/media/journal.py": "import django",
        },
        "calls.media.pool -> calls.media.journal -> django",
    ),
    (rules.rule_7_environment, {"calls/media/pool.py": "import os\nos.getenv('X')"}, "os.getenv"),
    (rules.rule_7_environment, {"calls/apps.py": "from os import environ"}, "os.environ"),
    (
        rules.rule_7_environment,
        {"voiceplatform/celery.py": "import os\nos.environ.setdefault('SECRET_KEY', 'x')"},
        "os.environ",
    ),
    (
        rules.rule_7_environment,
        {"voiceplatform/health.py": "from voiceplatform import env", "voiceplatform/env.py": ""},
        "django.conf.settings",
    ),
    (
        rules.rule_7_environment,
        {"voiceplatform/supervisor/run.py": "env.text('SECRET_KEY')"},
        "env.text",
    ),
    (rules.rule_7_fakes_and_httpx, {"tools/dispatch.py": "import httpx"}, "base.http"),
    (rules.rule_7_fakes_and_httpx, {"tools/dispatch.py": "class FakeClock: ..."}, "FakeClock"),
    (rules.rule_7_fakes_and_httpx, {"calls/apps.py": "from unittest import mock"}, "mock"),
]


@pytest.mark.parametrize(
    ("rule", "files", "says"), BAD, ids=[f"{rule.__name__}-{says}" for rule, _, says in BAD]
)
def test_rule_finds(rule: rules.Rule, files: dict[str, str], says: str) -> None:
    findings = list(rule(SourceTree.of(files)))
    assert len(findings) == 1, findings
    assert says in findings[0]
    assert findings[0].startswith(next(iter(files)))


def test_every_rule_has_an_example_that_breaks_it() -> None:
    assert {rule for rule, _, _ in BAD} == set(rules.RULES)


GOOD: list[dict[str, str]] = [
    {"calls/wire/twilio_voice.py": "from twilio.twiml.voice_response import VoiceResponse"},
    {"tools/schema.py": "import jsonschema"},
    {"assistants/prompt.py": "from liquid import Environment"},
    {
        "calls/bridge/machine.py": "import json\nfrom calls.wire import realtime\n"
        "from tools.spec import ToolSpec\nfrom calls.money.rates import cost",
        "calls/wire/realtime.py": "",
        "tools/spec.py": "",
        "calls/money/rates.py": "",
    },
    {
        "calls/wire/realtime/__init__.py": "from calls.wire.realtime import beta",
        "calls/wire/realtime/beta.py": "",
    },
    {
        "calls/media/driver.py": "from typing import TYPE_CHECKING\n"
        "if TYPE_CHECKING:\n from django.http import HttpRequest"
    },
    {
        "calls/events/outbox.py": "def poke():\n from calls.tasks import drain_outbox",
        "calls/tasks.py": "",
    },
    {"calls/urls.py": "from calls.telephony import views", "calls/telephony/views.py": ""},
    {
        "tools/admin.py": "from voiceplatform.base.admin import Scoped",
        "voiceplatform/base/admin.py": "",
    },
    {"tools/admin.py": "Tool.objects.filter(name='x').count()\ncache.update(a=1)"},
    {
        "voiceplatform/asgi.py": "import os\n"
        "os.environ.setdefault('DJANGO_SETTINGS_MODULE', 'voiceplatform.settings')"
    },
    {
        "voiceplatform/supervisor/run.py": "from voiceplatform import env\nenv.run_dir(x)",
        "voiceplatform/env.py": "import os\nos.environ.get('X')",
    },
    {"calls/standins/peer.py": "class FakeCarrier: ..."},
    {"voiceplatform/base/http.py": "import httpx"},
]


@pytest.mark.parametrize("files", GOOD, ids=[next(iter(files)) for files in GOOD])
def test_what_the_rules_allow(files: dict[str, str]) -> None:
    tree = SourceTree.of(files)
    assert [finding for rule in rules.RULES for finding in rule(tree)] == []


def _imports(tree: SourceTree, module: str) -> tuple[Import, ...]:
    return tree.sources[module].imports
