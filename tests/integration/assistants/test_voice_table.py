"""The voice table: a decision wins over the catalogue, for one organisation, from the next call."""

from __future__ import annotations

import json
from typing import Any

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext

from assistants.import_results import ImportFile
from assistants.import_services import import_files
from assistants.models import Assistant, VoiceChoice
from assistants.services import assistant_delete, assistant_publish
from assistants.voice_table import (
    UnknownVoice,
    first_lines,
    realtime_voice,
    voice_decide,
    voice_for,
    voices_in_use,
    voices_seed,
)
from assistants.voices import VoiceKey
from tests import factories
from voiceplatform.base.models import AuditEntry, Organisation

pytestmark = [pytest.mark.integration, pytest.mark.django_db]

RACHEL = {"provider": "11labs", "voiceId": "21m00Tcm4TlvDq8ikWAM"}
CLONE = {"provider": "elevenlabs", "voiceId": "AbCdEfGhIjKlMnOpQrSt"}


@pytest.fixture
def organisation() -> Organisation:
    return factories.make_organisation()


def publish(organisation: Organisation, voice: Any, **fields: Any) -> Assistant:
    document = {"name": "Desk", "voice": voice, **fields}
    if voice is None:
        del document["voice"]
    return assistant_publish(
        organisation=organisation, document=document, source="import", actor=None
    )


def decide(organisation: Organisation, voice: str, **key: str) -> VoiceChoice:
    key = key or {"provider": "11labs", "voice_id": "21m00Tcm4TlvDq8ikWAM"}
    return voice_decide(
        organisation=organisation,
        provider=key["provider"],
        voice_id=key["voice_id"],
        realtime_voice=voice,
        actor=None,
    )


def test_without_a_decision_the_catalogue_speaks(organisation: Organisation) -> None:
    found = voice_for(organisation, RACHEL)
    assert (found.voice, found.known_as, found.decided) == ("marin", "Rachel", False)
    assert realtime_voice(organisation, None) == "marin"
    assert realtime_voice(organisation.pk, "alloy") == "alloy"
    assert voice_for(organisation, "alloy").is_same


def test_a_decision_wins_in_every_spelling_of_the_voice(organisation: Organisation) -> None:
    decide(organisation, "sage")
    for voice in (
        RACHEL,
        {"provider": "ElevenLabs", "voiceId": "rachel"},
        {"provider": "eleven-labs", "voiceId": "21M00TCM4TLVDQ8IKWAM"},
        {"options": [RACHEL, CLONE]},
    ):
        found = voice_for(organisation, voice)
        assert (found.voice, found.known_as, found.decided) == ("sage", "Rachel", True)
    assert realtime_voice(organisation, CLONE) == "marin"


def test_a_decision_is_of_one_organisation(organisation: Organisation) -> None:
    decide(organisation, "sage")
    assert realtime_voice(factories.make_organisation(), RACHEL) == "marin"


def test_a_row_without_a_decision_decides_nothing(organisation: Organisation) -> None:
    publish(organisation, RACHEL)
    voices_seed([organisation])
    VoiceChoice.objects.update(realtime_voice="echo")
    assert realtime_voice(organisation, RACHEL) == "marin"


def test_a_decided_voice_that_is_gone_is_not_spoken(organisation: Organisation) -> None:
    decide(organisation, "sage")
    VoiceChoice.objects.update(realtime_voice="retired-voice")
    assert voice_for(organisation, RACHEL).voice == "marin"


def test_no_voice_is_a_voice_to_decide_about(organisation: Organisation) -> None:
    decide(organisation, "ash", provider="", voice_id="")
    assert realtime_voice(organisation, None) == "ash"
    assert realtime_voice(organisation, {"speed": 1.2}) == "ash"
    assert realtime_voice(organisation, RACHEL) == "marin"


def test_the_same_voice_can_be_replaced_too(organisation: Organisation) -> None:
    decide(organisation, "cedar", provider="openai", voice_id="alloy")
    found = voice_for(organisation, "alloy")
    assert (found.voice, found.is_same) == ("cedar", False)
    decide(organisation, "alloy", provider="openai", voice_id="alloy")
    assert voice_for(organisation, "alloy").is_same


def test_asking_costs_one_query(organisation: Organisation) -> None:
    decide(organisation, "sage")
    with CaptureQueriesContext(connection) as queries:
        voice_for(organisation.pk, RACHEL)
    assert len(queries) == 1


def test_a_decision_is_audited_and_says_who(organisation: Organisation) -> None:
    user = factories.make_superuser()
    first = decide(organisation, "sage")
    second = voice_decide(
        organisation=organisation,
        provider="elevenlabs",
        voice_id="rachel",
        realtime_voice="coral",
        actor=user,
    )
    assert first.pk == second.pk
    assert (second.decided_by, second.realtime_voice) == (user, "coral")
    assert second.decided_at is not None
    entries = AuditEntry.objects.filter(action="voice.decide").order_by("pk")
    assert [entry.details for entry in entries] == [
        {"before": "marin", "after": "sage"},
        {"before": "sage", "after": "coral"},
    ]
    assert entries[1].actor == f"user:{user.username}"


def test_a_voice_that_realtime_does_not_have_is_refused(organisation: Organisation) -> None:
    with pytest.raises(UnknownVoice, match="Fix: use one of alloy"):
        decide(organisation, "rachel")
    assert not VoiceChoice.objects.exists()


def test_voices_in_use_are_counted_by_voice(organisation: Organisation) -> None:
    for voice in (RACHEL, {"provider": "elevenlabs", "voiceId": "rachel"}, CLONE, None, "alloy"):
        publish(organisation, voice)
    publish(factories.make_organisation(), RACHEL)
    gone = publish(organisation, {"provider": "vapi", "voiceId": "Elliot"})
    assistant_delete(assistant=gone, actor=None)
    factories.make_assistant(organisation, voice="cedar")  # written as columns, no document
    decide(organisation, "sage")
    found = {each.key: each for each in voices_in_use(organisation)}
    assert {key: each.assistants for key, each in found.items()} == {
        VoiceKey("11labs", "21m00tcm4tlvdq8ikwam"): 2,
        VoiceKey("11labs", "abcdefghijklmnopqrst"): 1,
        VoiceKey("", ""): 1,
        VoiceKey("openai", "alloy"): 1,
        VoiceKey("openai", "cedar"): 1,
    }
    rachel = found[VoiceKey("11labs", "21m00tcm4tlvdq8ikwam")]
    assert (rachel.decision.voice, rachel.decision.decided) == ("sage", True)
    assert found[VoiceKey("", "")].decision.decided is False
    assert found[VoiceKey("openai", "cedar")].decision.is_same
    assert voices_in_use(organisation)[0].assistants == 2


def test_only_the_current_revision_counts(organisation: Organisation) -> None:
    assistant = publish(organisation, RACHEL)
    assistant_publish(
        organisation=organisation,
        document={"name": "Desk", "voice": "alloy"},
        source="api",
        actor=None,
        assistant=assistant,
    )
    assert [each.key for each in voices_in_use(organisation)] == [VoiceKey("openai", "alloy")]


def test_seeding_gives_each_voice_one_row_and_a_second_run_changes_nothing(
    organisation: Organisation,
) -> None:
    for voice in (RACHEL, RACHEL, CLONE, None, {"provider": "x", "voiceId": "y" * 500}):
        publish(organisation, voice)
    other = factories.make_organisation()
    publish(other, RACHEL)
    assert voices_seed([organisation, other]) == 5
    with CaptureQueriesContext(connection) as queries:
        assert voices_seed([organisation, other]) == 0
    assert not [q for q in queries if q["sql"].startswith(("INSERT", "UPDATE"))]
    rows = VoiceChoice.objects.for_organisation(organisation)
    rachel = rows.get(provider="11labs", known_as="Rachel")
    assert (rachel.realtime_voice, rachel.decided_at) == ("marin", None)
    assert "calm female" in rachel.reason
    assert rows.filter(known_as="AbCdEfGhIjKlMnOpQrSt").exists()  # as the document wrote it


def test_seeding_follows_the_catalogue_and_leaves_decisions_alone(
    organisation: Organisation,
) -> None:
    publish(organisation, RACHEL)
    publish(organisation, CLONE)
    voices_seed([organisation])
    VoiceChoice.objects.update(realtime_voice="echo", reason="an older catalogue")
    decide(organisation, "sage")
    voices_seed([organisation])
    rows = dict(VoiceChoice.objects.values_list("known_as", "realtime_voice"))
    assert rows == {"Rachel": "sage", "AbCdEfGhIjKlMnOpQrSt": "marin"}


def test_an_import_brings_its_voices_into_the_table_and_a_preview_does_not(
    organisation: Organisation,
) -> None:
    raw = json.dumps({"name": "Desk", "model": {"messages": []}, "voice": RACHEL}).encode()
    files = [ImportFile("desk.json", raw)]
    for dry_run, names in ((True, []), (False, ["Rachel"])):
        import_files(
            organisation=organisation, files=files, actor=None, source="command", dry_run=dry_run
        )
        rows = VoiceChoice.objects.for_organisation(organisation)
        assert [row.known_as for row in rows] == names


def test_a_proposal_goes_with_its_last_assistant_and_a_decision_stays(
    organisation: Organisation,
) -> None:
    assistants = [publish(organisation, voice) for voice in (RACHEL, CLONE)]
    voices_seed([organisation])
    decide(organisation, "sage")
    for assistant in assistants:
        assistant_delete(assistant=assistant, actor=None)
    voices_seed([organisation])
    assert [row.known_as for row in VoiceChoice.objects.all()] == ["Rachel"]


def test_the_number_of_assistants_costs_no_further_query(organisation: Organisation) -> None:
    def count() -> int:
        with CaptureQueriesContext(connection) as queries:
            voices_in_use(organisation)
        return len(queries)

    publish(organisation, RACHEL)
    few = count()
    for number in range(20):
        publish(organisation, {"provider": "11labs", "voiceId": f"clone-{number}"})
    assert count() == few


def test_first_lines_are_those_of_the_assistants_with_the_voice(
    organisation: Organisation,
) -> None:
    publish(organisation, RACHEL, name="B", firstMessage="Hello from B")
    publish(
        organisation,
        {"provider": "elevenlabs", "voiceId": "rachel"},
        name="A",
        firstMessage="Unheard",
        firstMessageMode="assistant-waits-for-user",
    )
    publish(organisation, CLONE, name="C", firstMessage="Hello from C")
    publish(factories.make_organisation(), RACHEL, name="D", firstMessage="Hello from D")
    voices_seed([organisation])
    choice = VoiceChoice.objects.get(known_as="Rachel")
    lines = first_lines(choice)
    assert [(line.name, line.text) for line in lines] == [("B", "Hello from B"), ("A", "")]
    assert len(first_lines(choice, limit=1)) == 1
