"""Talk to it in a real browser: a microphone that plays words, a dry tool call, words out.

Chromium's fake microphone plays a file, so everything between microphone and model is the real
thing: permission, worklets, resampling, mu-law, socket, bridge, and the way back through the
loudspeaker's clock. ``SCREENSHOTS=/some/folder`` keeps a picture.
"""

from __future__ import annotations

import array
import json
import os
import re
import uuid
import wave
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from playwright.sync_api import FilePayload, Page, expect, sync_playwright

from calls.standins.tones import encode, silence
from calls.standins.tones_by_ear import sound
from tests.acceptance.test_browser_admin import CHROMIUM, FLAGS
from tests.acceptance.test_browser_import import sign_in
from tests.platform import Platform
from tools.messages import with_fillers

pytestmark = [pytest.mark.acceptance, pytest.mark.timeout(120)]

RATE_HZ = 48_000
# Words of the scenario "booking", which the model's stand-in knows.
WISH = "I would like to book a cleaning on Friday."
FILLER = re.compile("|".join(re.escape(each.text) for each in with_fillers((), "en")))
OFFER = "I have ten and eleven o'clock on Friday, which time suits you?"
# Six seconds, so that whoever speaks after three interrupts it.
GREETING = (
    "Good morning, this is Harbour Dental. All our calls are answered in the order in which they "
    "come in, by an assistant that can look at the calendar, book, move and cancel appointments. "
    "For emergencies outside our opening hours please go to the clinic at the harbour. And now: "
    "how can I help you today?"
)
DESK_ID = str(uuid.uuid4())
DESK = {
    "name": "Harbour Dental reception",
    "firstMessage": GREETING,
    "firstMessageInterruptionsEnabled": True,
    "model": {
        "provider": "openai",
        "model": "gpt-4o",
        "messages": [{"role": "system", "content": "You answer the phone of a dentist."}],
        "tools": [
            {
                "type": "function",
                "function": {
                    "name": "check_availability",
                    "description": "Return the free times of a day.",
                    "parameters": {"type": "object", "properties": {"date": {"type": "string"}}},
                },
                "server": {"url": "https://tools.harbour.example/free", "secret": "s3cret-of-it"},
            },
            {"type": "endCall"},
        ],
    },
    "voice": {"provider": "openai", "voiceId": "marin"},
}


def enter(page: Page, platform: Platform) -> list[str]:
    """Sign in and import the desk by the upload page; return what the console complains about."""
    password = (platform.var_dir / "keys" / "admin_password").read_text().strip()
    complaints = sign_in(page, platform.base_url, "admin", password)
    page.goto(f"{platform.base_url}/admin/assistants/assistant/import/")
    file: FilePayload = {
        "name": "desk.json",
        "mimeType": "text/json",
        "buffer": json.dumps({"id": DESK_ID, **DESK}).encode(),
    }
    page.set_input_files("input[type=file]", [file])
    page.click("text=Show what would happen")
    page.click("text=Import 1 object")
    page.wait_for_selector("text=Imported:")
    page.on("pageerror", lambda error: complaints.append(str(error)))
    return complaints


def recorded(path: Path, *parts: bytes) -> Path:
    """Write what a microphone hears: words and silence, once."""
    samples = array.array("h", sound(b"".join(parts), RATE_HZ))
    with wave.open(str(path), "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(RATE_HZ)
        file.writeframes(samples.tobytes())
    return path


@pytest.fixture
def speaking() -> Iterator[Callable[[Path], Page]]:
    """Open a browser whose microphone plays a file."""
    with sync_playwright() as playwright:
        browsers = []

        def start(path: Path) -> Page:
            microphone = [
                "--use-fake-device-for-media-stream",
                "--use-fake-ui-for-media-stream",
                f"--use-file-for-fake-audio-capture={path}%noloop",
                "--autoplay-policy=no-user-gesture-required",
            ]
            browser = playwright.chromium.launch(
                executable_path=str(CHROMIUM), args=[*FLAGS, *microphone]
            )
            browsers.append(browser)
            return browser.new_page(viewport={"width": 1360, "height": 860})

        yield start
        for browser in browsers:
            browser.close()


def test_words_in_an_interruption_a_tool_call_words_out(
    shared_platform: Platform, speaking: Callable[[Path], Page], tmp_path: Path
) -> None:
    file = recorded(
        tmp_path / "wish.wav",
        *(silence(3_000), encode(WISH), silence(5_000), encode("No, thank you. Goodbye.")),
        silence(1_000),  # Chromium repeats the last of it for ever
    )
    page = speaking(file)
    complaints = enter(page, shared_platform)
    page.goto(f"{shared_platform.base_url}/admin/assistants/assistant/{DESK_ID}/change/")
    page.click("text=Talk to it")
    expect(page.locator("[data-about-standin]")).to_be_visible()
    assert not page.is_checked("[name=calls_tools]")
    page.check("[name=headphones]")
    page.click("[data-start] button")
    expect(page.locator("[data-state]")).to_have_text("Connected, speak", timeout=10_000)
    expect(page.locator("[data-model]")).to_contain_text("the stand-in: gpt-realtime-2.1")
    said = page.locator("[data-conversation]")
    greeting = said.locator(".vp-talk-assistant").first
    expect(greeting).to_contain_text("interrupted", timeout=15_000)
    expect(said.locator(".vp-talk-user").first).to_contain_text(WISH, timeout=15_000)
    # What was heard of it is what the loudspeaker's clock has acknowledged: a part.
    unheard = greeting.locator(".vp-unheard").inner_text()
    assert GREETING.endswith(unheard)
    assert 20 < len(unheard) < len(GREETING) - 20
    tool = said.locator(".vp-tool").first
    expect(tool).to_contain_text("check_availability")
    expect(tool).to_contain_text("2026-11-27")
    expect(tool).to_contain_text("not sent")
    spoken = said.locator(".vp-talk-assistant")
    expect(spoken.nth(1)).to_contain_text(FILLER)  # its tool has no words for the start
    expect(spoken.nth(2)).to_contain_text(OFFER, timeout=15_000)
    folder = os.environ.get("SCREENSHOTS")
    if folder:
        page.screenshot(path=f"{folder}/talk.png")
    tool.locator("summary").click()
    expect(tool).to_contain_text("POST https://tools.harbour.example/free")
    assert "s3cret" not in page.content()
    expect(page.locator("[data-latency]")).to_contain_text("worst")
    page.click("[data-digit='5']")
    expect(said).to_contain_text("Keys pressed: 5", timeout=15_000)
    # Its goodbye is heard out, then the assistant hangs up.
    expect(said).to_contain_text("The talk is over: assistant ended call", timeout=20_000)
    expect(page.locator("[data-state]")).to_have_text("Not connected")
    expect(page.locator("[data-start]")).to_be_visible()
    assert said.locator(".vp-unheard").count() == 1, "all else was heard to its end"
    assert complaints == []
