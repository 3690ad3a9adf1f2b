"""One whole call of an imported document: the caller hears its words with the variables filled in,
and the model takes every setting of the session without an error.
"""

from __future__ import annotations

from typing import Any

import pytest

from assistants.services import assistant_publish
from calls.media.database import in_database
from calls.models import PhoneNumber
from calls.standins.scenario import parse_scenario
from tests.integration.calls.rig import CALLER, Rig

pytestmark = [pytest.mark.integration, pytest.mark.django_db(transaction=True)]

DOCUMENT: dict[str, Any] = {
    "firstMessage": "Hello {{customer.number}}{{nothing}}, this is the desk.",
    "model": {
        "model": "gpt-realtime-2.1",
        "reasoningEffort": "minimal",
        "maxTokens": 800,
        "messages": [
            {"role": "system", "content": "You are reached at {{phoneNumber.number}}.{{ | }}"},
            {"role": "user", "content": "Do you open on Sunday?"},
            {"role": "assistant", "content": "We do not."},
        ],
    },
    "voice": {"provider": "openai", "voiceId": "sage", "speed": 1.1},
    "transcriber": {"language": "multi", "languages": ["en", "de"], "keyterm": ["Zahnrad"]},
    "startSpeakingPlan": {"smartEndpointingPlan": {"provider": "livekit"}},
    "backgroundDenoisingEnabled": True,
}


async def test_a_call_speaks_the_document_with_its_variables(rig: Rig) -> None:
    def publish() -> PhoneNumber:
        number = PhoneNumber.objects.get(pk=rig.number.pk)
        number.assistant = assistant_publish(
            organisation=number.organisation, document=DOCUMENT, source="import", actor=None
        )
        number.save()
        return number

    number = await in_database(publish)
    greeting = f"Hello {CALLER}, this is the desk."
    scenario = parse_scenario(
        {
            "name": "filled",
            "caller": [
                {"say": "Are you open?", "after": "greeting"},
                {"hang_up": {"heard": "Until six."}},
            ],
            "brain": {"rules": [{"when": "Are you open?", "say": "Until six."}]},
            "expect": {"agent_says": ["Until six."]},
        }
    )
    report = await rig.call(scenario)
    assert report.ok, report
    assert report.heard[0] == greeting
    call = await rig.only_call()
    assert await rig.spoken(call) == [
        *(("assistant", greeting), ("user", "Are you open?"), ("assistant", "Until six.")),
    ]
    model = rig.model_sessions[0]
    assert model.errors == []
    session = model.session
    assert session["instructions"] == f"You are reached at {number.number_e164}."
    assert session["audio"]["input"]["turn_detection"]["type"] == "semantic_vad"
    assert session["audio"]["input"]["transcription"]["keywords"] == ["Zahnrad"]
    assert session["audio"]["output"]["speed"] == 1.1
    assert (session["reasoning"], session["max_output_tokens"]) == ({"effort": "minimal"}, 4096)
