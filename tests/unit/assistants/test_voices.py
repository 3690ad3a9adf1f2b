"""The catalogue of voices: every row leads to a Realtime voice, every spelling to its row."""

from __future__ import annotations

import csv
import importlib.util
import json
import sys
from pathlib import Path
from typing import Any

import pytest

from assistants import voices
from assistants.assistant_account import account_assistant
from assistants.findings import Notes
from assistants.voices import (
    DEFAULT_VOICE,
    FEEL,
    REALTIME_VOICES,
    VoiceKey,
    nearest,
    provider_name,
    stand_in,
)
from assistants.wire.vapi_config import is_voice_menu, voice_of

pytestmark = pytest.mark.unit

CATALOGUE = Path(voices.__file__).with_name("voice_catalogue.csv")
FIXTURES = Path(__file__).parents[2] / "fixtures" / "vapi"
# Vapi's names of its providers (vapi.md 2.4).
PROVIDERS = frozenset(
    "azure cartesia custom-voice deepgram 11labs hume lmnt neuphonic openai playht wellsaid "
    "rime-ai smallest-ai tavus vapi sesame inworld minimax xai microsoft".split()
)


def rows() -> list[dict[str, str]]:
    lines = CATALOGUE.read_text("utf-8").splitlines()
    return list(csv.DictReader(line for line in lines if not line.startswith("#")))


def test_every_row_of_the_catalogue_is_whole() -> None:
    seen: set[tuple[str, str]] = set()
    for row in rows():
        assert row["provider"] in PROVIDERS, row
        assert row["voice"] in REALTIME_VOICES, row
        assert row["known_as"] and row["about"].split(",")[0] in {"female", "male", "neutral"}, row
        for spelling in row["ids"].lower().split("|"):
            assert len(spelling) <= voices.ID_CHARACTERS
            assert (row["provider"], spelling) not in seen, row
            seen.add((row["provider"], spelling))
    assert len(seen) > 600


def test_the_catalogue_is_read_once_and_not_before_it_is_asked_for(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    read: list[object] = []
    monkeypatch.setattr(csv, "DictReader", lambda lines: read.append(lines) or [])
    spec = importlib.util.spec_from_file_location("voices_anew", voices.__file__)
    assert spec is not None and spec.loader is not None
    anew = importlib.util.module_from_spec(spec)
    monkeypatch.setitem(sys.modules, spec.name, anew)
    spec.loader.exec_module(anew)
    assert (anew.stand_in("openai", "alloy").is_same, read) == (True, [])
    for voice_id in ("sarah", "matilda"):
        assert anew.stand_in("", voice_id).voice == DEFAULT_VOICE
    assert len(read) == 1


def test_a_stand_in_keeps_the_gender() -> None:
    for row in rows():
        gender = row["about"].split(",")[0]
        if gender != "neutral":
            opposite = {"female": " male", "male": "female"}[gender]
            assert opposite not in f" {FEEL[row['voice']]}", row


def test_every_spelling_of_a_row_is_stored_as_one_voice() -> None:
    for row in rows():
        spellings = row["ids"].split("|")
        for spelling in spellings:
            for written in (spelling, spelling.upper(), f" {spelling} "):
                found = stand_in(row["provider"], written)
                assert found.key == VoiceKey(row["provider"], spellings[0].lower())
                assert (found.voice, found.known_as) == (row["voice"], row["known_as"])


@pytest.mark.parametrize(
    ("spelling", "name"),
    [
        *((each, "11labs") for each in ("11labs", "elevenlabs", "eleven-labs", "Eleven Labs")),
        *((each, "11labs") for each in ("ELEVEN_LABS", "11-labs", " ElevenLabs ")),
        *((each, "playht") for each in ("play.ht", "PlayHT", "play-ht")),
        *((each, "rime-ai") for each in ("rime", "rime_ai", "RimeAI")),
        ("open-ai", "openai"),
        ("Azure Speech", "azure"),
        ("something-new", "something-new"),
        ("", ""),
    ],
)
def test_providers_are_known_by_many_spellings(spelling: str, name: str) -> None:
    assert provider_name(spelling) == name


@pytest.mark.parametrize("name", sorted(PROVIDERS))
def test_vapis_own_names_stay_as_they_are(name: str) -> None:
    assert provider_name(name) == name


@pytest.mark.parametrize(
    ("provider", "voice_id", "known_as", "voice"),
    [
        ("11labs", "21m00Tcm4TlvDq8ikWAM", "Rachel", "marin"),
        ("11labs", "JBFqnCBsd6RMkjVDRZzb", "George", "ballad"),
        ("elevenlabs", "Matilda", "Matilda", "marin"),
        ("vapi", "Elliot", "Elliot", "cedar"),
        ("vapi", "Tara", "Tara", "coral"),
        ("deepgram", "aura-2-thalia-en", "Thalia", "coral"),
        ("deepgram", "aura-asteria-en", "Asteria", "coral"),
        ("azure", "fr-FR-DeniseNeural", "Denise", "marin"),
        ("azure", "en-US-AvaMultilingualNeural", "Ava", "coral"),
        ("azure", "en-US-Ava:DragonHDLatestNeural", "Ava", "coral"),
        ("azure", "andrew", "Andrew", "cedar"),
        ("minimax", "socialmedia_female_1_v1", "social media, female 1", "shimmer"),
        ("cartesia", "248be419-c632-4f23-adf1-5324ed7dbf1d", "Elizabeth, Manager", "marin"),
        ("openai", "onyx", "onyx", "cedar"),
        # Without a provider the id decides, when only one provider has it.
        ("", "socialmedia_female_1_v1", "social media, female 1", "shimmer"),
        ("", "Elliot", "Elliot", "cedar"),
        ("", "alloy", "alloy", "alloy"),
    ],
)
def test_voices_people_use(provider: str, voice_id: str, known_as: str, voice: str) -> None:
    found = stand_in(provider, voice_id)
    assert (found.known_as, found.voice) == (known_as, voice)


@pytest.mark.parametrize(
    ("provider", "voice_id", "voice", "why"),
    [
        ("11labs", "aCloneOfSomebody0000", "marin", "no stand-in is known"),
        ("", "harry", "marin", "no stand-in is known"),  # Vapi and 11labs both have one
        ("", "", "marin", "no voice is named"),
        ("11labs", "", "marin", "no voice is named"),
        ("custom-voice", "", "marin", "your own speech server is not asked"),
        ("minimax", "English_Trustworth_Man", "cedar", "its name says so"),
        ("minimax", "Korean_SweetGirl", "marin", "its name says so"),
        ("minimax", "German_Woman_7", "marin", "its name says so"),
        ("minimax", "x_female_9", "marin", "its name says so"),
        ("minimax", "man_and_woman", "marin", "no stand-in is known"),
        ("azure", "en-US-GermanNeural", "marin", "no stand-in is known"),
        # The same word, but Rime's voice: only OpenAI's is the same.
        ("rime-ai", "cedar", "marin", "no stand-in is known"),
    ],
)
def test_a_voice_in_no_catalogue_gets_a_default(
    provider: str, voice_id: str, voice: str, why: str
) -> None:
    found = stand_in(provider, voice_id)
    assert (found.voice, found.is_same) == (voice, False)
    assert found.reason.startswith(why)


def test_the_same_voice_is_said_to_be_the_same() -> None:
    for name in REALTIME_VOICES:
        found = stand_in("openai", name.upper())
        assert (found.voice, found.is_same) == (name, True)


def test_keys_hold_nothing_a_database_refuses() -> None:
    found = stand_in("x\x00\ud800" * 50, "\x00a\udfffb\n" * 500)
    assert len(found.key.provider) <= voices.PROVIDER_CHARACTERS
    assert len(found.key.voice_id) <= voices.ID_CHARACTERS
    for text in (*found.key, found.known_as):
        assert text.isprintable()
        text.encode()


def test_the_nearest_voices_have_the_same_gender_and_all_are_there() -> None:
    for voice in REALTIME_VOICES:
        ranked = nearest(voice)
        assert ranked[0] == voice
        assert sorted(ranked) == sorted(REALTIME_VOICES)
    assert nearest("sage")[:4] == ("sage", "marin", "coral", "shimmer")
    assert nearest("echo")[:4] == ("echo", "cedar", "ash", "ballad")
    assert nearest("gone")[0] == DEFAULT_VOICE


@pytest.mark.parametrize(
    ("voice", "known_as", "is_menu"),
    [
        ({"provider": "vapi", "voiceId": "Elliot"}, "Elliot", False),
        ({"provider": "vapi", "voice": "Elliot"}, "Elliot", False),
        ("Elliot", "Elliot", False),
        ({"options": [{"provider": "11labs", "voiceId": "sarah"}, "x"]}, "Sarah", True),
        ({"options": ["elliot", "kylie"]}, "Elliot", True),
        ({"male": {"provider": "vapi", "voiceId": "Elliot"}, "female": {}}, "Elliot", True),
        ([{"provider": "vapi", "voiceId": "Tara"}], "Tara", True),
        ({"speed": 1.1, "fallbackPlan": {"voices": [{"provider": "vapi"}]}}, "", False),
        ({}, "", False),
        (None, "", False),
        (7, "", False),
        ({"provider": ["vapi"], "voiceId": {"a": 1}}, "", False),
    ],
)
def test_corpus_surprise_11_a_voice_may_be_a_menu(voice: Any, known_as: str, is_menu: bool) -> None:
    assert voice_of(voice).known_as == known_as
    assert is_voice_menu(voice) is is_menu


def finding(document: dict[str, Any]) -> tuple[str, str]:
    notes = Notes()
    account_assistant(document, notes)
    return next((f.state, f.message) for f in notes.findings if f.path == "$.voice")


def test_a_substitution_says_old_and_new_and_where_to_change_it() -> None:
    state, words = finding({"voice": {"provider": "eleven-labs", "voiceId": "sarah"}})
    assert state == "caller-audible"
    assert words.startswith("11labs Sarah -> coral: callers hear the Realtime voice coral instead")
    assert 'decide under "Voices" in the admin' in words


def test_a_menu_is_named_as_one() -> None:
    state, words = finding({"voice": {"options": ["elliot", "kylie"]}})
    assert state == "caller-audible"
    assert words.startswith("A menu of voices, of which the first is taken. vapi Elliot -> cedar")


def test_the_same_voice_is_no_substitution() -> None:
    assert finding({"voice": {"provider": "openai", "voiceId": "Alloy"}})[0] == "mapped"


def test_every_fixture_gets_a_realtime_voice() -> None:
    known = 0
    for path in FIXTURES.glob("assistants/*.json"):
        document = json.loads(path.read_text("utf-8-sig"))
        voice = document.get("voice") if isinstance(document, dict) else None
        found = voice_of(voice)
        assert found.voice in REALTIME_VOICES
        known += found.reason.startswith(("the nearest", "the same"))
    assert known >= 10
