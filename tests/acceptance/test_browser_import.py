"""An import in a real browser and what follows it: preview, secrets, voices, revisions.

What an uploaded file says stays text: no planted script, handler, Alpine or htmx attribute acts,
and the console shows no violation. An account is read by the worker of a whole instance.
``SCREENSHOTS=/some/folder`` keeps pictures.
"""

from __future__ import annotations

import audioop
import json
import os
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import FilePayload, Page

from tests import factories
from tests import vapi_account as vapi
from tests.acceptance.outside import in_instance
from tests.acceptance.own_server import _call_database_template, _database_in_a_file, live_server
from tests.acceptance.test_browser_admin import PLANTED, page
from tests.platform import Platform
from tests.unit.house.source_tree import ROOT
from tests.vapi_account_server import AccountServer, served

__all__ = ["_call_database_template", "_database_in_a_file", "live_server", "page"]

pytestmark = [pytest.mark.acceptance, pytest.mark.django_db(transaction=True)]


def keep(page: Page, name: str) -> None:
    folder = os.environ.get("SCREENSHOTS")
    if folder:
        page.screenshot(path=str(Path(folder) / f"{name}.png"), full_page=True)


@pytest.fixture
def operator(transactional_db: None, settings: Any) -> str:
    """Make a person; before the browser, whose event loop forbids Django's database."""
    settings.SESSION_COOKIE_SECURE = settings.CSRF_COOKIE_SECURE = False
    factories.make_superuser("operator")
    return "operator"


@pytest.fixture
def account() -> Iterator[AccountServer]:
    """Serve an account: tools and a webhook whose secrets no answer holds."""
    webhook = {"serverUrl": "http://127.0.0.1:9/events", "isServerUrlSecretSet": True}
    objects = {
        "tool": [vapi.tool(1)],
        "assistant": [vapi.assistant(number, **webhook) for number in (1, 2)],
        "campaign": [{"id": vapi.object_id(4, 1), "createdAt": vapi.at(1)}],
    }
    with served(vapi.VapiAccount(objects)) as server:
        server.gate.clear()
        yield server


def sign_in(page: Page, base_url: str, person: str, password: str = "pass-Word-1") -> list[str]:
    """Sign in; return a list that collects what the console complains about."""
    complaints: list[str] = []
    page.on(
        "console",
        lambda message: complaints.append(message.text) if message.type == "error" else None,
    )
    page.goto(f"{base_url}/admin/login/")
    page.fill("input[name=username]", person)
    page.fill("input[name=password]", password)
    page.click("button[type=submit]")
    return complaints


def test_files_are_uploaded_looked_at_and_imported(
    operator: str, page: Page, live_server: Any, tmp_path: Path
) -> None:
    complaints = sign_in(page, live_server.url, operator)
    planted = {"name": PLANTED, "voice": {"provider": PLANTED}, PLANTED: PLANTED}
    (tmp_path / "planted.json").write_text(json.dumps(planted))
    (tmp_path / "broken.json").write_text("{")
    page.goto(f"{live_server.url}/admin/assistants/assistant/")
    page.click("text=Import from Vapi")
    keep(page, "import-upload")
    demo = sorted((ROOT / "calls" / "demo").glob("*.json"))
    page.set_input_files("input[type=file]", [*demo, *sorted(tmp_path.glob("*.json"))])
    page.click("text=Show what would happen")
    page.wait_for_selector("text=Harbour Dental reception")
    assert "Nothing has been written" in page.inner_text("body")
    keep(page, "import-preview")
    page.click("text=Import 5 objects")
    page.wait_for_selector("text=Imported:")
    keep(page, "import-done")
    page.click("section:has-text('Harbour Dental reception') >> text=Show every field")
    page.wait_for_selector("code[title='$.model.messages[0].content']")
    keep(page, "import-object")
    page.go_back()
    planted_card = page.locator("section", has=page.locator("h2", has_text="window.planted"))
    planted_card.locator("text=Show every field").click()
    page.wait_for_selector("text=Back to the import")
    page.goto(f"{live_server.url}/admin/assistants/assistant/")
    assert "Harbour Dental reception" in page.inner_text("body")
    page.goto(f"{live_server.url}/admin/assistants/importrun/")
    keep(page, "import-list")
    assert page.evaluate("window.planted") is None
    assert complaints == []


def test_an_account_is_read_with_progress_and_a_secret_entered_once_fills_two_places(
    account: AccountServer, shared_platform: Platform, page: Page
) -> None:
    platform = shared_platform
    complaints = admin_of(platform, page)
    page.goto(f"{platform.base_url}/admin/assistants/assistant/import/")
    page.fill("input[name=api_key]", vapi.KEY)
    page.fill("input[name=base_url]", account.base_url)
    page.click("text=Read the account")
    page.wait_for_selector("[data-job-words]:has-text('running')")
    assert vapi.KEY not in page.content()
    keep(page, "import-job")
    account.gate.set()
    page.wait_for_url("**/importrun/*/change/")
    assert "the account uses campaigns" in page.inner_text("body")
    page.click("text=Import 3 objects")
    page.wait_for_selector("text=Enter the missing secrets")
    keep(page, "import-account")
    page.click("text=Enter the missing secrets")
    card = page.locator("section", has=page.locator("h2", has_text="127.0.0.1:9"))
    assert "2 places" in card.inner_text()
    keep(page, "missing-secrets")
    card.locator("input[name=value]").fill("the-secret-of-the-parrot")
    card.locator("text=Store and try").click()
    page.wait_for_selector("text=Stored in 2 places")
    assert "could not be reached" in page.inner_text("#tried")
    assert "the-secret-of-the-parrot" not in page.content()
    assert complaints == []


def import_desks(page: Page, base_url: str, *desks: dict[str, Any]) -> list[str]:
    """Import assistants by the upload page; return their ids."""
    ids = [str(uuid.uuid4()) for _ in desks]
    raw = json.dumps([{"id": each, **desk} for each, desk in zip(ids, desks, strict=True)])
    page.goto(f"{base_url}/admin/assistants/assistant/import/")
    file: FilePayload = {"name": "a.json", "mimeType": "text/json", "buffer": raw.encode()}
    page.set_input_files("input[type=file]", [file])
    page.click("text=Show what would happen")
    page.click(f"text=Import {len(desks)} object")
    page.wait_for_selector("text=Imported:")
    return ids


def admin_of(platform: Platform, page: Page) -> list[str]:
    password = (platform.var_dir / "keys" / "admin_password").read_text().strip()
    return sign_in(page, platform.base_url, "admin", password)


# Plays an element; returns its seconds when it moves, or why it does not.
PLAY = """async (audio) => {
  const until = Date.now() + 15000;
  audio.muted = true;
  audio.play();
  while (!(audio.currentTime > 0)) {
    if (audio.error || Date.now() > until) return `${audio.error?.message} ${audio.readyState}`;
    await new Promise((done) => setTimeout(done, 20));
  }
  return audio.duration;
}"""
WAV_HEADER_BYTES = 58  # as `wav_of_mulaw` writes it
SESSIONS = """
import json
from assistants.models import Assistant
from calls.services.session_preview import preview_stored
for pk in {ids}:
    desk = Assistant.objects.get(pk=pk)
    found = preview_stored(organisation=desk.organisation, assistant_id=desk.pk, variables={{}})
    said = [each.message for each in found.findings if each.path == "$.voice"]
    print(json.dumps([found.session_update["session"]["audio"]["output"]["voice"], *said]))
"""


def test_candidates_are_heard_and_one_decision_holds_for_every_assistant_with_the_voice(
    shared_platform: Platform, page: Page
) -> None:
    base_url = shared_platform.base_url
    complaints = admin_of(shared_platform, page)
    voice = {"provider": "11labs", "voiceId": f"clone-{uuid.uuid4().hex}"}
    greetings = ("Kiln Lane surgery, how may I help?", "Kiln Lane pharmacy.")
    ids = import_desks(
        page,
        base_url,
        *({"name": text[:18], "firstMessage": text, "voice": voice} for text in greetings),
    )
    page.goto(f"{base_url}/admin/assistants/voicechoice/?q={voice['voiceId']}")
    assert "callers hear another voice" in page.inner_text("tbody").lower()
    page.click("tbody th a")
    page.wait_for_selector(f"text=“{greetings[1]}”")
    page.click("[data-listen] button")
    page.wait_for_function("[...document.querySelectorAll('audio')].every((a) => !a.hidden)")
    candidate = page.locator("[data-voice=shimmer]")
    audio = candidate.locator("audio")
    seconds = audio.evaluate(PLAY)
    sound = page.request.get(base_url + str(audio.get_attribute("src"))).body()[WAV_HEADER_BYTES:]
    assert seconds == pytest.approx(len(sound) / 8000, abs=0.01)
    assert audioop.max(audioop.ulaw2lin(sound, 2), 2) > 2_000
    keep(page, "voice")
    candidate.locator("input[type=radio]").check()
    page.click("text=Decide for 2 assistants")
    page.wait_for_selector("text=callers hear Shimmer from every assistant")
    heard = [json.loads(line) for line in in_instance(shared_platform, SESSIONS.format(ids=ids))]
    assert [each[0] for each in heard] == ["shimmer", "shimmer"]
    assert all("An operator decided so" in each[1] for each in heard)
    page.goto(f"{base_url}/admin/assistants/assistant/{ids[0]}/change/")
    assert page.input_value("[name=voice]") == "shimmer"
    assert complaints == []


def test_two_revisions_are_compared_by_words_and_keys_and_the_old_one_comes_back(
    shared_platform: Platform, page: Page
) -> None:
    base_url = shared_platform.base_url
    complaints = admin_of(shared_platform, page)
    prompt = "You answer the phone of a clinic.\nBe short.\nNever promise a price."
    messages = [{"role": "system", "content": prompt}]
    model = {"provider": "openai", "model": "gpt-4o", "messages": messages}
    document = {"name": "Mill Road", "model": model, "metadata": {"team": "front"}}
    (desk,) = import_desks(page, base_url, document)
    form = f"{base_url}/admin/assistants/assistant/{desk}/change/"
    page.goto(form)
    page.fill("[name=instructions]", prompt.replace("short", f"brief and kind {PLANTED}"))
    page.fill("[name=max_duration_seconds]", "900")
    page.fill("[name=note]", "Kinder")
    page.click("button[name=_save]")
    page.wait_for_selector("text=Revision 2 is live")
    page.goto(form)
    page.click("a:has-text('what changed since')")
    changed = page.locator("section.vp-change")
    by_words = changed.filter(has=page.locator("h2", has_text="Prompt"))
    assert by_words.locator("del").all_inner_texts() == ["short"]
    assert by_words.locator("ins").first.inner_text().startswith("brief and kind")
    assert "Never promise a price." in by_words.inner_text()
    by_key = changed.filter(has=page.locator("code", has_text="maxDurationSeconds"))
    assert by_key.locator("ins").inner_text() == "900"
    assert changed.filter(has=page.locator("code", has_text="metadata")).count() == 0
    keep(page, "revision-diff")
    page.fill("input[name=note]", "Too kind")
    page.click("text=Bring r1 back")
    page.wait_for_selector("text=Revision 3 is live")
    assert "Too kind" in page.inner_text("body")
    page.goto(form)
    assert page.input_value("[name=instructions]") == prompt
    assert page.evaluate("window.planted") is None
    assert complaints == []
