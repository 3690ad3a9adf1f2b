"""The policy line as audio: exact on its way through the speech endpoint, and errors kept."""

from __future__ import annotations

import base64
from typing import Any

import httpx
import pytest

from calls.media.database import in_database
from calls.models import PolicyWording
from calls.services import wording as module
from calls.services.call_plan import clip_of, wording_for
from calls.services.wording import RenderError, speech_render, wording_render
from calls.standins.tones import ToneDecoder, encode
from calls.tasks import render_wordings
from tests import factories
from tests.integration.calls.rig import Rig

pytestmark = [pytest.mark.integration, pytest.mark.django_db(transaction=True)]

LINE = "This is an automated assistant, and this call is recorded."


async def _wording(rig: Rig, **columns: Any) -> PolicyWording:
    return await in_database(
        lambda: factories.make_wording(rig.number.policy, **{"text": LINE, **columns})
    )


async def _rendered(wording: PolicyWording) -> PolicyWording:
    return await in_database(lambda: PolicyWording.objects.get(pk=wording.pk))


async def test_a_rendered_line_is_bit_exact_mu_law(rig: Rig) -> None:
    audio = await in_database(speech_render, rig.number.connection, LINE)
    assert audio == encode(LINE)
    wording = await _wording(rig)
    assert await in_database(wording_render, wording) is True
    stored = await _rendered(wording)
    assert bytes(stored.audio_mulaw or b"") == encode(LINE)
    assert (stored.render_error, stored.rendered_at is not None) == ("", True)


async def test_the_task_renders_what_numbers_use_and_nothing_else(rig: Rig) -> None:
    used = await _wording(rig)
    unused = await in_database(lambda: factories.make_wording(factories.make_policy()))
    assert await in_database(render_wordings) == 1
    assert await in_database(render_wordings) == 0
    assert (await _rendered(used)).audio_mulaw is not None
    assert (await _rendered(unused)).audio_mulaw is None


async def test_a_line_that_cannot_be_rendered_says_why(rig: Rig) -> None:
    wording = await _wording(rig)
    connection = rig.number.connection
    for change, reason in (
        ({"api_key": "sk-invalid"}, "answered 401"),
        ({"rest_base_url": "http://127.0.0.1:1/v1"}, "did not answer (ConnectError)"),
    ):
        before = {name: getattr(connection, name) for name in change}
        for name, value in change.items():
            setattr(connection, name, value)
        await in_database(connection.save)
        assert await in_database(wording_render, wording) is False
        stored = await _rendered(wording)
        assert (stored.audio_mulaw, stored.rendered_at) == (None, None)
        assert reason in stored.render_error
        assert "sk-" not in stored.render_error
        for name, value in before.items():
            setattr(connection, name, value)
    await in_database(connection.save)
    assert await in_database(wording_render, wording) is True
    assert (await _rendered(wording)).render_error == ""


async def test_a_line_changed_meanwhile_is_not_overwritten(rig: Rig) -> None:
    wording = await _wording(rig)
    await in_database(lambda: PolicyWording.objects.filter(pk=wording.pk).update(text="New."))
    await in_database(wording_render, wording)
    assert (await _rendered(wording)).audio_mulaw is None


def test_a_policy_without_a_number_names_the_fix(transactional_db: None) -> None:
    wording = factories.make_wording(factories.make_policy())
    assert wording_render(wording) is False
    wording.refresh_from_db()
    assert "Fix: give it one." in wording.render_error


def test_audio_of_no_size_or_too_much_is_refused(
    transactional_db: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    for content in (b"", b"x" * (module.MAX_AUDIO_BYTES + 1)):
        transport = httpx.MockTransport(lambda _, body=content: httpx.Response(200, content=body))
        monkeypatch.setattr(
            module.http,
            "client",
            lambda transport=transport, **_: httpx.Client(transport=transport),
        )
        with pytest.raises(RenderError, match="bytes of audio"):
            speech_render(factories.make_connection(), LINE)


def test_the_language_decides_which_wording_is_played(transactional_db: None) -> None:
    policy = factories.make_policy(wordings={"en": "Hello", "de": "Hallo"})
    newer = factories.make_wording(policy, language="de", text="Guten Tag", version=2)
    assert wording_for(policy, "de-CH") == newer
    assert wording_for(policy, "en-US").text == "Hello"  # type: ignore[union-attr]
    assert wording_for(policy, "fr").text == "Hello"  # type: ignore[union-attr]
    assert wording_for(factories.make_policy(), "en") is None


def test_a_clip_holds_the_audio_in_pieces_of_half_a_second() -> None:
    audio = encode(LINE)
    clip = clip_of(audio, LINE)
    pieces = [base64.b64decode(piece) for piece in clip.payloads]
    assert b"".join(pieces) == audio
    assert max(map(len, pieces)) == 4000
    decoder = ToneDecoder()
    assert [heard.text for piece in pieces for heard in decoder.feed(piece)] == [LINE]
