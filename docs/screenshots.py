"""Makes the pictures of the documents from a running `make demo`: ``make screenshots CALL=its_id``.

Signs in with the generated password of the instance in VAR_DIR and photographs what an operator
sees. Needs Chromium, as the browser tests do.
"""

from __future__ import annotations

import argparse
import json
import re
from pathlib import Path
from typing import Any

from playwright.sync_api import FilePayload, Page, sync_playwright

CHROMIUM = "/usr/bin/chromium"
FLAGS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]

# What a small customer exports: a desk with a webhook, and tools on one server of theirs.
EXPORT: dict[str, Any] = {
    "seaside-vet.json": {
        "id": "5ea51de0-0000-4000-8000-000000000001",
        "name": "Seaside Vet front desk",
        "firstMessage": "Seaside Vet, good {{time_of_day}}. How can I help?",
        "model": {
            "provider": "openai",
            "model": "gpt-4o",
            "temperature": 0.4,
            "messages": [
                {
                    "role": "system",
                    "content": "You answer the phone of a vet. Today is {{now}}. Ask for the "
                    "animal's name first. Emergencies go to the clinic at once.",
                }
            ],
            "toolIds": ["5ea51de0-0000-4000-8000-000000000002"],
            "tools": [
                {
                    "type": "function",
                    "function": {"name": "open_hours"},
                    "server": {"url": "https://tools.seaside.example/hours", "secret": "****"},
                }
            ],
        },
        "voice": {"provider": "11labs", "voiceId": "21m00Tcm4TlvDq8ikWAM"},
        "transcriber": {"provider": "deepgram", "model": "nova-2", "language": "en"},
        "serverUrl": "https://hooks.seaside.example/vapi",
        "isServerUrlSecretSet": True,
        "backgroundSound": "office",
        "analysisPlan": {"summaryPrompt": "Sum up the call in two sentences."},
        "metadata": {"team": "reception"},
    },
    "book-visit.json": {
        "id": "5ea51de0-0000-4000-8000-000000000002",
        "type": "function",
        "function": {"name": "book_visit"},
        "server": {"url": "https://tools.seaside.example/book", "secret": "****"},
    },
    "find-owner.json": {
        "id": "5ea51de0-0000-4000-8000-000000000003",
        "type": "function",
        "function": {"name": "find_owner"},
        "server": {
            "url": "https://crm.seaside.example/owners",
            "credentialId": "5ea51de0-0000-4000-8000-00000000000c",
        },
    },
}


def imports(page: Page, url: str, folder: Path) -> None:
    """Upload an export and photograph its preview, one object's fields and the missing secrets."""
    page.set_viewport_size({"width": 1360, "height": 1000})
    page.goto(f"{url}/admin/assistants/assistant/import/")
    files: list[FilePayload] = [
        {"name": name, "mimeType": "application/json", "buffer": json.dumps(value).encode()}
        for name, value in EXPORT.items()
    ]
    page.set_input_files("input[type=file]", files)
    page.click("text=Show what would happen")
    page.wait_for_selector("text=Seaside Vet front desk")
    page.screenshot(path=folder / "import-preview.png")
    page.click("section:has-text('Seaside Vet front desk') >> text=Show every field")
    page.wait_for_selector("text=Back to the import")
    page.screenshot(path=folder / "import-findings.png")
    page.click("text=Back to the import")
    if page.is_visible("text=Import 3 objects"):  # not the second time
        page.click("text=Import 3 objects")
        page.wait_for_selector("text=Imported:")
    page.goto(f"{url}/admin/assistants/importrun/missing-secrets/")
    page.screenshot(path=folder / "missing-secrets.png")


def voice(page: Page, url: str, to: Path) -> None:
    """Photograph a voice whose candidates can be heard."""
    page.set_viewport_size({"width": 1360, "height": 860})
    page.goto(f"{url}/admin/assistants/voicechoice/?decided_at__isempty=1")
    page.click("tbody th a >> nth=-1")
    if page.is_visible("[data-listen]"):
        page.click("[data-listen] button")
    page.wait_for_function("[...document.querySelectorAll('audio')].every(a => !a.hidden)")
    page.screenshot(path=to)


def revisions(page: Page, url: str, to: Path) -> None:
    """Change an assistant, save it as a draft and photograph what the draft changes."""
    page.set_viewport_size({"width": 1360, "height": 900})
    page.goto(f"{url}/admin/assistants/assistant/")
    page.click("a[href$='/change/'] >> nth=0")
    prompt = page.input_value("[name=instructions]").replace(" short ", " short and friendly ", 1)
    page.fill(
        "[name=instructions]",
        f"{prompt.rstrip()}\n- Whoever is in pain gets the next free time of today.\n",
    )
    greeting = page.input_value("[name=first_message]").removesuffix(" Who is speaking?")
    page.fill("[name=first_message]", f"{greeting} Who is speaking?")
    page.fill("[name=note]", "Ask for the name at once; pain goes first")
    page.click("button[name=_draft]")
    page.goto(f"{url}/admin/assistants/assistant/")
    page.click("a[href$='/change/'] >> nth=0")
    page.click("a[href*='/compare/'] >> nth=0")
    page.screenshot(path=to)


def tool(page: Page, url: str, to: Path) -> None:
    """Try the demo's booking tool and photograph what came of it."""
    page.set_viewport_size({"width": 1360, "height": 1240})
    page.goto(f"{url}/admin/tools/tool/?q=check_availability")
    page.click("tbody th a >> nth=0")
    page.click("a:has-text('Try it')")
    page.fill("#id_argument-0", "2030-01-15")
    page.select_option("#id_argument-1", label="cleaning")
    page.click("button:has-text('Send a test request')")
    page.wait_for_selector("#result")
    page.screenshot(path=to)


def moves(page: Page, url: str, folder: Path) -> None:
    """Move the demo's first branch and put it back; photograph each step."""
    page.set_viewport_size({"width": 1360, "height": 900})
    page.goto(f"{url}/admin/calls/numberreadiness/")
    if page.is_visible("button:has-text('Check all numbers')"):
        page.click("button:has-text('Check all numbers')")
        page.wait_for_selector("#result_list", timeout=60_000)
        page.goto(f"{url}/admin/calls/numberreadiness/")
    page.screenshot(path=folder / "readiness.png")
    page.goto(f"{url}/admin/calls/phonenumber/moving/?q=Branch+1")
    page.click("a:has-text('+15550100011')")
    page.click("a:has-text('Preview the move')")
    page.screenshot(path=folder / "move-preview.png", full_page=True)
    found = re.search(r"http://[\d.]+:\d+(?=/old/)", page.inner_text("body"))
    assert found, "the demo's numbers are answered by the stand-in of the old stack"
    page.fill("input[name=typed]", "+15550100011")
    page.fill("input[name=why]", "the quietest branch first")
    page.click("button:has-text('Move it here')")
    page.wait_for_selector("#state:has-text('Waits for the first caller')", timeout=60_000)
    page.screenshot(path=folder / "move-live.png")
    call = {"to": "+15550100011", "from": "+15550107123", "scenario": "hello"}
    page.request.post(f"{found[0]}/standin/calls", data=call)
    page.wait_for_selector("#state:has-text('Done')", timeout=60_000)
    page.click("text=Back to the number")
    console = page.url
    page.click("text=Address, look now, drill")
    page.wait_for_url("**/numbernet/**")
    page.click("button:has-text('Look at Twilio now')")
    for _ in range(20):  # a worker looks; the page does not follow it
        page.wait_for_timeout(1000)
        page.reload()
        if page.is_visible("text=armed"):
            break
    page.screenshot(path=folder / "net.png", full_page=True)
    page.goto(console)
    page.screenshot(path=folder / "number-console.png")
    page.set_viewport_size({"width": 390, "height": 844})
    page.goto(f"{url}/admin/")
    page.screenshot(path=folder / "home-phone.png")
    page.click("a:has-text('Put back…') >> nth=0")
    page.screenshot(path=folder / "restore-phone.png")
    page.click("button:has-text('Put it back now')")
    page.wait_for_selector("text=back at Twilio as it was")


def main() -> None:
    """Photograph the page of one call, then those that need no id."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--url", default="http://127.0.0.1:8000")
    parser.add_argument("--call", default="", help="call_id, as the demo's last line has it")
    parser.add_argument("--only-moves", action="store_true", help="no picture but those of moves")
    parser.add_argument("--password-file", type=Path, required=True)
    parser.add_argument("--to", type=Path, default=Path(__file__).parent / "images")
    options = parser.parse_args()
    options.to.mkdir(exist_ok=True)
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=FLAGS)
        page = browser.new_page(viewport={"width": 1360, "height": 1240})
        page.goto(f"{options.url}/admin/login/")
        page.fill("input[name=username]", "admin")
        page.fill("input[name=password]", options.password_file.read_text().strip())
        page.click("button[type=submit]")
        moves(page, options.url, options.to)
        if options.only_moves:
            browser.close()
            return
        page.set_viewport_size({"width": 1360, "height": 1240})
        page.goto(f"{options.url}/admin/calls/call/{options.call}/change/")
        page.screenshot(path=options.to / "call.png")
        voice(page, options.url, options.to / "voice.png")
        revisions(page, options.url, options.to / "revision-diff.png")
        imports(page, options.url, options.to)
        tool(page, options.url, options.to / "tool-try.png")
        browser.close()


if __name__ == "__main__":
    main()
