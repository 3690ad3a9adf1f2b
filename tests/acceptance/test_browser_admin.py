"""The admin in a real browser: login, overview, list and call page under the real policy.

Chromium drives Django's live server. Markup planted in what callers say must stay text: no script
runs, no handler fires, no Alpine or htmx attribute wakes up, and the console shows no violation of
the Content-Security-Policy. ``SCREENSHOTS=/some/folder`` keeps pictures of every page.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from django.urls import reverse
from django.utils import timezone
from playwright.sync_api import Page, sync_playwright

from calls.models import Call
from calls.services.tool_check import check_one
from tests import factories
from tests.acceptance.own_server import _call_database_template, _database_in_a_file, live_server
from tests.integration.tools.plain_server import answer_all, plain_server
from tools.models import Tool

__all__ = ["_call_database_template", "_database_in_a_file", "live_server"]

pytestmark = [pytest.mark.acceptance, pytest.mark.django_db(transaction=True)]

CHROMIUM = Path("/usr/bin/chromium")
FLAGS = [
    *("--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run"),
    *("--disable-background-networking", "--disable-component-update", "--disable-sync"),
]
PLANTED = (
    "<script>window.planted='script'</script>"
    "<img src=x onerror=\"window.planted='onerror'\">"
    '<div x-data="{}" x-init="window.planted=\'alpine\'"></div>'
    '<a hx-get="/admin/planted" hx-trigger="load">x</a>'
    "<svg onload=\"window.planted='svg'\"></svg>"
)
ATTRIBUTES = '" x-data x-init="window.planted=\'attribute\'" onmouseover="window.planted=\'o\'" "'


@pytest.fixture
def page() -> Iterator[Page]:
    """Open a page of a fresh browser; fail with the one command when Chromium is missing."""
    if not CHROMIUM.exists():
        pytest.fail("Chromium is missing. Fix: apt-get update && apt-get install -y chromium")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=str(CHROMIUM), args=FLAGS)
        context = browser.new_context(viewport={"width": 1440, "height": 1000})
        yield context.new_page()
        browser.close()


def make_rows() -> Call:
    """Make a believable call with planted markup, and some others around it."""
    organisation = factories.default_organisation()
    policy = factories.make_policy(
        organisation,
        name="California inbound",
        wordings={"en": "Hi, I am an AI assistant. This call is recorded."},
    )
    tool = factories.make_tool(organisation, name="book_table")
    assistant = factories.make_assistant(organisation, name="Riverside Dental", tools=[tool])
    number = factories.make_number(
        organisation, name="Front desk", policy=policy, assistant=assistant
    )
    factories.make_number(organisation, name="Billing", route="vapi", assistant=None, policy=None)
    turns: list[dict[str, Any]] = [
        {"role": "assistant", "text": "Riverside Dental, how can I help?", "latency_ms": None},
        {"role": "user", "text": f"I'd like an appointment {PLANTED}"},
        {"role": "assistant", "text": "Of course. Which", "text_unheard": "day suits you best?"},
        {"role": "user", "text": f"Tomorrow at ten {ATTRIBUTES}"},
        {"role": "assistant", "text": "You are booked for tomorrow at ten."},
        {"role": "system", "text": "The caller pressed 1."},
        {"role": "user", "text": "Thank you, bye."},
    ]
    spans = [
        *((450, 2900), (3300, 6200), (6900, 7600), (7600, 9400)),
        *((11_800, 14_100), (14_500, 14_500), (15_000, 16_400)),
    ]
    for index, ((started_ms, ended_ms), turn) in enumerate(zip(spans, turns, strict=True)):
        turn |= {"started_ms": started_ms, "ended_ms": ended_ms}
        turn["interrupted"] = index == 2
        if turn["role"] == "assistant" and index:
            turn["latency_ms"] = {2: 700, 4: 2400}[index]
    call = factories.make_call(
        number=number,
        status="ended",
        turns=turns,
        tool_invocations=[
            {
                "arguments_json": '{"day": "tomorrow", "time": "10:00", "note": "<b x-init=1>"}',
                "output": PLANTED,
                "started_ms": 9700,
                "duration_ms": 1700,
            },
            {"name": "send_sms", "state": "timeout", "started_ms": 14_200, "duration_ms": 1100},
        ],
        policy_wording=policy.wordings.get(),
        policy_played_at=timezone.now(),
        first_word_ms=450,
        turn_latency_p50_ms=700,
        turn_latency_p95_ms=2400,
        duration_seconds=17,
        route_reason="route is direct",
        metrics={"frames": {"in": 850, "out": 612}, "barge_ins": 1, "tokens": {"audio": 1840}},
    )
    factories.make_attempt(factories.make_event(call=call, state="delivered", attempt_count=1))
    factories.make_event(call=call, kind="status-update")
    for reason in ("pipeline-error-openai-llm-failed", "silence-timed-out", "assistant-ended-call"):
        factories.make_call(number=number, status="ended", ended_reason=reason)
    factories.make_call(number=number)
    return call


def picture(page: Page, name: str) -> None:
    folder = os.environ.get("SCREENSHOTS")  # a place to look at, not part of the product
    if folder:
        page.screenshot(path=f"{folder}/{name}.png", full_page=True)


@pytest.fixture
def call_path(transactional_db: None, settings: Any) -> str:
    """Make rows and a person; before the browser, whose event loop forbids Django's database."""
    settings.SESSION_COOKIE_SECURE = settings.CSRF_COOKIE_SECURE = False
    factories.make_superuser("operator")
    return reverse("admin:calls_call_change", args=[make_rows().pk])


@pytest.fixture
def tool_path(call_path: str, settings: Any) -> Iterator[str]:
    """Let the tool of the rows be answered by a server that plants markup."""
    settings.EGRESS_ALLOW = ["127.0.0.0/8"]
    tool = Tool.objects.get(name="book_table")
    call = Call.objects.order_by("created_at").first()
    assert call is not None
    for number in range(40):
        factories.make_tool_invocation(
            call,
            tool=tool,
            name=tool.name,
            state="timeout" if number % 20 == 0 else "ok",
            started_ms=9700,
            duration_ms=180 + 35 * number,
            exchange=factories.make_tool_exchange(call),
        )
    with plain_server(answer_all(f"Booked for four on Monday at ten. {PLANTED}")) as server:
        tool.server_url, tool.server_url_host = server.url, "tools.riverside.example"
        tool.server_secret = "a-secret-of-the-tool"
        tool.parameters = {
            "type": "object",
            "required": ["day", "people"],
            "properties": {
                "day": {"type": "string", "enum": ["monday", "tuesday"]},
                "people": {"type": "integer", "minimum": 1, "description": "How many come"},
                "outside": {"type": "boolean", "description": "On the terrace"},
                "guest": {"type": "object", "description": PLANTED},
            },
        }
        tool.save()
        check_one(tool, may_post=False, actor=None)
        yield reverse("admin:tools_tool_change", args=[tool.pk])


def test_planted_markup_is_inert_and_the_policy_is_kept(
    call_path: str, tool_path: str, live_server: Any, page: Page
) -> None:
    complaints: list[str] = []
    asked: list[str] = []
    page.on("console", lambda message: complaints.append(f"{message.type}: {message.text}"))
    page.on("pageerror", lambda error: complaints.append(f"error: {error}"))
    page.on("request", lambda request: asked.append(request.url))
    page.on("dialog", lambda dialog: complaints.append(f"dialog: {dialog.message}"))

    page.goto(live_server.url + reverse("admin:login"))
    picture(page, "login")
    page.fill("input[name=username]", "operator")
    page.fill("input[name=password]", "pass-Word-1")
    page.click("button[type=submit]")
    page.wait_for_url("**/admin/")
    assert "Calls today" in page.inner_text("main, body")
    picture(page, "overview")

    page.click("a[href='/admin/calls/call/'] >> nth=0")
    page.wait_for_url("**/admin/calls/call/")
    assert page.locator("#result_list tbody tr, table tbody tr").count() >= 5
    picture(page, "calls")

    page.goto(live_server.url + call_path)
    text = page.inner_text("body")
    assert "window.planted='script'" in text  # shown as the caller's words
    assert "book_table" in text
    page.hover("text=Tomorrow at ten")
    page.wait_for_load_state("networkidle")
    picture(page, "call")

    assert page.evaluate("window.planted") is None
    assert page.locator(".vp-page script, .vp-page [onerror], .vp-page [x-init]").count() == 0
    assert page.locator(".vp-page [hx-get]").count() == 0
    assert page.locator("svg.vp-wave a").count() == 49

    page.goto(live_server.url + reverse("admin:tools_tool_changelist"))
    assert "95.0%" in page.inner_text("body")
    picture(page, "tools")
    page.goto(live_server.url + tool_path)
    picture(page, "tool")
    page.click("a:has-text('Try it')")
    page.select_option("#id_argument-0", label="monday")
    page.fill("#id_argument-1", "4")
    page.click("button:has-text('Send a test request')")
    page.wait_for_selector("#result")
    text = page.inner_text("#result")
    assert "HTTP 200" in text and "window.planted='script'" in text
    picture(page, "tool-try")
    page.goto(live_server.url + reverse("admin:calls_toolcheck_changelist"))
    assert "Check all tool servers" in page.inner_text("body")
    picture(page, "tool-checks")
    page.goto(live_server.url + reverse("admin:calls_toolinvocation_changelist"))
    picture(page, "tool-calls")

    assert page.evaluate("window.planted") is None
    assert page.locator(".vp-page script, .vp-page [onerror], .vp-page [x-init]").count() == 0
    assert not [url for url in asked if url.endswith("/admin/planted")]
    assert not [url for url in asked if not url.startswith((live_server.url, "data:"))]
    assert not [text for text in complaints if re.search(r"(?i)security policy|error", text)]
