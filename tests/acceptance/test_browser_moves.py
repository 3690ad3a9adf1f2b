"""A number moves in a real browser, from its preview to the way back, on a served instance.

The old stack, Twilio and the model are stand-ins; supervisor, worker and pages are the real ones.
The way back is shown on a telephone's screen, by clicks that are counted. ``SCREENSHOTS`` keeps
pictures, as docs/screenshots.py does.
"""

from __future__ import annotations

import json
import re
import urllib.request
from typing import Any

import pytest
from playwright.sync_api import Page, expect

from tests.acceptance.calls_rig import CallsRig
from tests.acceptance.outside import in_instance
from tests.acceptance.test_browser_admin import page
from tests.acceptance.test_browser_import import keep, sign_in
from tests.platform import Platform

__all__ = ["page"]

pytestmark = [pytest.mark.acceptance, pytest.mark.timeout(300)]

FIRST, SECOND, THIRD = "+15550100011", "+15550100012", "+15550100013"
CALLER = "+15550107123"
SOON_MS = 30_000
# Who answers is known when the line opens; a conversation would take as long as it takes.
BRIEF = {"name": "brief", "caller": [{"hang_up": {"ms": 200}}]}
PHONE: Any = {"width": 390, "height": 844}

# Moves a number as its page does, without the page.
_MOVE = """
from calls.models import PhoneNumber
from calls.services.number_moves import move_begin, move_continue, move_preview
for e164 in {numbers!r}:
    number = PhoneNumber.objects.select_related("twilio_account", "organisation").get(
        number_e164=e164
    )
    seen = move_preview(number=number)
    move = move_begin(
        number=number, actor="a test", why="", fingerprint=seen.fingerprint, typed=e164
    )
    move_continue(move.pk, within_seconds=0)
"""


def call_number(platform: Platform, number: str) -> dict[str, Any]:
    """Let somebody call, as Twilio has the number configured; return how the call went."""
    url = f"{CallsRig(platform.base_url, platform.var_dir / 'db.sqlite3').standins_url}"
    body = json.dumps({"to": number, "from": CALLER, "scenario": BRIEF}).encode()
    request = urllib.request.Request(f"{url}/standin/calls", data=body)  # noqa: S310 - ourselves
    with urllib.request.urlopen(request, timeout=60) as response:  # noqa: S310 - as above
        report: dict[str, Any] = [json.loads(line) for line in response][-1]
    return report


def open_console(page: Page, base_url: str, number: str) -> None:
    page.goto(f"{base_url}/admin/calls/phonenumber/moving/?q={number[-8:]}")
    page.click(f"a:has-text('{number}')")
    expect(page.locator(".vp-page h2").first).to_contain_text(number)


def set_route(page: Page, name: str, percent: str = "") -> None:
    """Change the route from the console, with its preview."""
    page.click("a:has-text('Change the route')")
    page.select_option("select[name=route]", name)
    if percent:
        page.fill("input[name=canary_percent]", percent)
    page.fill("input[name=why]", f"step {name}")
    page.click("button:has-text('Show what would change')")
    expect(page.locator("#preview")).to_contain_text(name)
    page.click("button:has-text('Change it now')")
    expect(page.locator("body")).to_contain_text("The route was changed")


def test_a_number_goes_the_whole_way_and_comes_back_in_two_clicks_on_a_telephone(
    shared_platform: Platform, page: Page
) -> None:
    platform, url = shared_platform, shared_platform.base_url
    password = (platform.var_dir / "keys" / "admin_password").read_text().strip()
    complaints = sign_in(page, url, "admin", password)
    page.on("pageerror", lambda error: complaints.append(str(error)))
    page.set_viewport_size({"width": 1360, "height": 1000})

    page.goto(f"{url}/admin/calls/numberreadiness/")
    page.click("button:has-text('Check all numbers')")
    # The worker asks Twilio; the job's page leads to what came of it.
    expect(page.locator("#result_list")).to_contain_text(FIRST, timeout=SOON_MS)
    keep(page, "readiness")
    open_console(page, url, FIRST)
    expect(page.locator("body")).to_contain_text("old stack")
    page.click("a:has-text('Preview the move')")
    expect(page.locator("#difference")).to_contain_text("/twilio/voice")
    keep(page, "move-preview")
    page.set_viewport_size(PHONE)
    assert page.evaluate("document.documentElement.scrollWidth") <= PHONE["width"]
    page.set_viewport_size({"width": 1360, "height": 1000})
    page.fill("input[name=typed]", FIRST)
    page.fill("input[name=why]", "the first one")
    page.click("button:has-text('Move it here')")
    # The worker writes, compares and has Twilio call the number; the page follows.
    expect(page.locator("#state")).to_have_text("Waits for the first caller", timeout=SOON_MS)
    keep(page, "move-waits")
    assert call_number(platform, FIRST)["call_sid"]
    expect(page.locator("#state")).to_have_text("Done", timeout=SOON_MS)
    expect(page.locator("body")).to_contain_text("handed to the old stack")
    keep(page, "move-done")

    page.click("text=Back to the number")
    set_route(page, "canary", "10")
    expect(page.locator("body")).to_contain_text("canary 10%, always the same ones")
    set_route(page, "direct")
    call_number(platform, FIRST)
    page.reload()
    expect(page.locator("table:has-text('Why that stack')")).to_contain_text("here")
    keep(page, "console")

    page.set_viewport_size(PHONE)
    page.goto(f"{url}/admin/")
    keep(page, "home-phone")
    clicks = 0
    for words in ("a:has-text('Put back…')", "button:has-text('Put it back now')"):
        page.locator(words).first.click()
        clicks += 1
    expect(page.locator("body")).to_contain_text("back at Twilio as it was", timeout=SOON_MS)
    assert clicks <= 3
    keep(page, "restored-phone")
    assert page.evaluate("document.documentElement.scrollWidth") <= PHONE["width"]

    in_instance(platform, _MOVE.format(numbers=[SECOND, THIRD]))
    page.goto(f"{url}/admin/")
    page.click("a:has-text('Put all 2 back…')")
    page.click("button:has-text('Put all 2 back now')")
    expect(page.locator("#done")).to_have_text(re.compile("2 of 2"), timeout=SOON_MS)
    keep(page, "restore-all-phone")
    page.goto(f"{url}/admin/calls/phonenumber/moving/")
    assert page.evaluate("document.documentElement.scrollWidth") <= PHONE["width"]
    keep(page, "moving-phone")
    assert complaints == []
