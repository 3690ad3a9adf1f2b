"""A rehearsal of 50 pairs in a real browser: begun, watched, cancelled, resumed, read.

Supervisor, worker and pages are the real ones; both stacks are played on stand-ins by the worker.
``SCREENSHOTS`` keeps pictures, as docs/screenshots.py does.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Page, expect

from tests.acceptance.outside import in_instance
from tests.acceptance.test_browser_admin import page
from tests.acceptance.test_browser_import import keep, sign_in
from tests.platform import Platform

__all__ = ["page"]

pytestmark = [pytest.mark.acceptance, pytest.mark.timeout(300)]

PAIRS = 50
PHONE: Any = {"width": 390, "height": 844}
SOON_MS = 30_000
# A conversation of half a minute of its own time.
CALLER = [
    {
        "say": "Good morning, I would like to book a cleaning for this Friday, if you have time.",
        "first": "One moment, let me look.",
        "expect": [{"tool": "check_availability", "arguments": {"date": "2026-11-27"}}],
        "agent": "I have ten and eleven o'clock, which time suits you better?",
    },
    {
        "say": "Ten is fine. My name is Ada Park, my number ends with double zero two.",
        "after": {"heard": "which time"},
        "expect": [
            {
                "tool": "book_appointment",
                "arguments": {"date": "2026-11-27", "name": "Ada Park", "phone": "+15550100002"},
            },
            {"tool": "send_confirmation", "arguments": {"phone": "+15550100002"}},
        ],
        "agent": "You are booked for Friday at ten, and a confirmation is on its way.",
    },
    {
        "say": "Thank you. <b>Goodbye</b> then.",
        "after": {"silence_ms": 14_000},
        "expect": ["endCall"],
    },
]
_SEED = """
from assistants.services import assistant_publish
from calls.parity.scenario_reading import scenario_read
from calls.services.parity_scenarios import scenario_write
from voiceplatform.base.models import Organisation
fields = {{
    "check_availability": ["date"],
    "book_appointment": ["date", "name", "phone"],
    "send_confirmation": ["phone"],
}}
tools = [
    {{
        "type": "function",
        "server": {{"url": "https://tools.example.com/x"}},
        "function": {{
            "name": name,
            "description": "Does its part.",
            "parameters": {{
                "type": "object",
                "properties": {{each: {{"type": "string"}} for each in names}},
            }},
        }},
    }}
    for name, names in fields.items()
]
document = {{
    "name": "Parity desk",
    "firstMessage": "Harbour Dental, how can I help?",
    "model": {{
        "provider": "openai",
        "model": "gpt-4o",
        "messages": [{{"role": "system", "content": "Be brief."}}],
        "tools": [*tools, {{"type": "endCall"}}],
    }},
}}
organisation = Organisation.objects.order_by("created_at").first()
assistant = assistant_publish(
    organisation=organisation, document=document, source="seed", actor=None
)
for name, noise in (("books a cleaning", {{}}), ("has a changed prompt", {noise!r})):
    document = {{"name": name, "caller": {caller!r}, "noise": noise}}
    scenario_write(assistant=assistant, scenario=scenario_read(document), actor=None)
"""
NOISE = {"ours": {"omit_percent": 14, "argument_percent": 10, "swap_percent": 6}}


def test_a_rehearsal_of_fifty_pairs_is_watched_cancelled_resumed_and_read(
    shared_platform: Platform, page: Page
) -> None:
    platform, url = shared_platform, shared_platform.base_url
    in_instance(platform, _SEED.format(caller=CALLER, noise=NOISE))
    password = (platform.var_dir / "keys" / "admin_password").read_text().strip()
    complaints = sign_in(page, url, "admin", password)
    page.on("pageerror", lambda error: complaints.append(str(error)))
    page.set_viewport_size({"width": 1440, "height": 1000})

    page.goto(f"{url}/admin/calls/parityscenario/")
    expect(page.locator("#result_list")).to_contain_text("books a cleaning")
    page.click("a:has-text('books a cleaning')")
    keep(page, "scenario")

    page.goto(f"{url}/admin/calls/parityrun/add/")
    choose_assistant(page, "Parity desk")
    page.fill("input[name=pairs]", str(PAIRS))
    page.fill("input[name=seed]", "7")
    page.click("button[name=_save]")
    words = page.locator("[data-job-words]")
    expect(words).to_have_text("running", timeout=SOON_MS)
    page.click("button:has-text('Cancel')")
    expect(words).to_have_text("cancelled", timeout=SOON_MS)
    played = int(page.locator("[data-job-count]").inner_text().split()[0])
    assert played < PAIRS
    page.click("button:has-text('Resume')")
    # The page follows by itself: no reload here.
    expect(words).to_have_text("finished", timeout=120_000)
    expect(page.locator("[data-job-count]")).to_have_text(f"{PAIRS} of {PAIRS}")
    expect(page.locator(".vp-verdict h2")).to_have_text("fail")
    expect(page.locator(".vp-interval")).to_have_count(3)
    assert page.locator(".vp-pair").count() == PAIRS
    assert page.locator(".vp-diff-omitted").count() >= 1
    # Words of callers stay text.
    assert "<b>Goodbye</b>" in (page.locator(".vp-said").first.text_content() or "")
    shoot(page, "parity-report", 1_150)
    shoot(page, "parity-pairs", 900, at=".vp-pair[open]")
    widths = "document.documentElement.scrollWidth - document.documentElement.clientWidth"
    assert page.evaluate(widths) <= 0
    page.set_viewport_size(PHONE)
    page.reload()
    assert page.evaluate(widths) <= 0
    shoot(page, "parity-report-phone", 844)
    shoot(page, "parity-pairs-phone", 844, at=".vp-pair[open]")
    assert complaints == []


def shoot(page: Page, name: str, height: int, at: str = "") -> None:
    """Keep a picture of what fits on a screen, from the place ``at`` on."""
    folder = os.environ.get("SCREENSHOTS")
    if not folder:
        return
    size: Any = {"width": (page.viewport_size or PHONE)["width"], "height": height}
    page.set_viewport_size(size)
    page.locator(at or ".vp-verdict").first.evaluate("place => place.scrollIntoView()")
    page.screenshot(path=str(Path(folder) / f"{name}.png"))


def choose_assistant(page: Page, name: str) -> None:
    """Choose in the list that looks rows up while one types."""
    page.click(".field-assistant .select2-selection")
    page.fill(".select2-search__field", name)
    page.click(f".select2-results__option:has-text('{name}')")
