"""A whole call of an assistant whose server wants to know everything: what it is told, in order."""

from __future__ import annotations

import pytest

from assistants.services import assistant_publish
from calls.media.database import in_database
from calls.standins.scenario import parse_scenario
from tests.integration.calls.rig import Rig
from tests.integration.events.sdk_messages import check_own, told_messages

pytestmark = [pytest.mark.integration, pytest.mark.django_db(transaction=True)]

GREETING = "Hello, this is the front desk."
QUESTION, ANSWER = "Are you open today?", "Yes, until six."
WANTED = [
    *("status-update", "assistant.started", "speech-update", "transcript", "conversation-update"),
    *("model-output", "voice-input", "assistant.speechStarted", "end-of-call-report"),
]


@pytest.mark.filterwarnings("ignore::DeprecationWarning:vapi")
async def test_a_call_is_told_while_it_is_on(rig: Rig) -> None:
    def publish() -> None:
        assert rig.number.assistant is not None
        assistant_publish(
            organisation=rig.number.organisation, source="api", actor=None,
            assistant=rig.number.assistant,
            document={
                "name": "Desk", "firstMessage": GREETING, "model": {"messages": []},
                "server": {"url": "https://hooks.example.com/vapi"}, "serverMessages": WANTED,
            },
        )  # fmt: skip

    await in_database(publish)
    scenario = parse_scenario(
        {
            "name": "told",
            "caller": [{"say": QUESTION, "after": "greeting"}, {"hang_up": {"heard": ANSWER}}],
            "brain": {"rules": [{"when": QUESTION, "say": ANSWER}]},
            "expect": {"agent_says": [ANSWER]},
        }
    )
    assert (await rig.call(scenario)).ok
    messages = await in_database(told_messages)
    for message in messages:
        if message["type"] not in ("assistant.started", "end-of-call-report", "status-update"):
            check_own(message)
    kinds = [each["type"] for each in messages]
    assert set(kinds) == set(WANTED)
    assert kinds[-2:] == ["status-update", "end-of-call-report"]
    final = [
        (each["role"], each["transcript"])
        for each in messages
        if each["type"] == "transcript" and each["transcriptType"] == "final"
    ]
    assert final == [("assistant", GREETING), ("user", QUESTION), ("assistant", ANSWER)]
    speech = [
        (each["role"], each["turn"], each["status"])
        for each in messages
        if each["type"] == "speech-update"
    ]
    assert sorted(speech) == [
        *(("assistant", 0, "started"), ("assistant", 0, "stopped")),
        *(("assistant", 2, "started"), ("assistant", 2, "stopped")),
        *(("user", 1, "started"), ("user", 1, "stopped")),
    ]
    update = [each for each in messages if each["type"] == "conversation-update"][-1]
    spoken = [each["content"] for each in update["messagesOpenAIFormatted"]]
    assert spoken == [GREETING, QUESTION, ANSWER]
    assert messages[-1]["transcript"] == f"AI: {GREETING}\nUser: {QUESTION}\nAI: {ANSWER}"
