"""What an import says of a field, and the call that shows it: imported, told, and then heard.

Three documents hold several findings each, as far as they do not disturb one another, because a
call takes as long as its words. What a finding says is read from the import itself, not rewritten.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable
from typing import Any

import pytest

from assistants.findings import Finding
from assistants.import_services import CREATED, ImportFile, import_files
from assistants.models import Assistant
from calls.media.database import in_database
from calls.models import PhoneNumber
from calls.services.call_plan import LEAD_IN_MS
from calls.standins.scenario import Scenario, parse_scenario
from calls.standins.tones import BYTES_PER_MS, encode
from calls.standins.twilio_call import CallReport
from tests.integration.calls.rig import CALLER, Rig
from tools.dispatch import NO_SERVER, close_client
from tools.messages import with_fillers

pytestmark = [pytest.mark.integration, pytest.mark.django_db(transaction=True)]

Told = tuple[Finding, ...]
SECRET = "the-secret-of-notes"

TALKING: dict[str, Any] = {
    "name": "Talking",
    "firstMessage": "Hi {{customer.number}}{{ nickname }}.",
    "endCallPhrases": ["take care"],
    "keypadInputPlan": {"enabled": True, "timeoutSeconds": 1},
    "startSpeakingPlan": {"waitSeconds": 0.5},
    "stopSpeakingPlan": {"numWords": 3},
    "backgroundDenoisingEnabled": True,
    "metadata": {"shelf": "metadata-of-theirs"},
    "voice": {"provider": "11labs", "voiceId": "burt", "speed": 2},
    "model": {
        "provider": "anthropic",
        "model": "claude-sonnet-4",
        "temperature": 0.3,
        "maxTokens": 250,
        "systemPrompt": "A prompt from long ago.",
        "messages": [
            {"role": "system", "content": "Be kind.{% shout %} Be brief to {{ nickname }}all."},
            {"role": "user", "content": "Is there parking?"},
            {"role": "assistant", "content": "Behind the house."},
            {"role": "tool", "content": "A result from long ago."},
        ],
    },
}
TALKING_TOLD = [
    ("$.firstMessage", "caller-audible", "Empty unless the call brings values: nickname."),
    ("$.model.messages[0].content", "invalid", "{% shout %} is no tag of Liquid and is left out"),
    ("$.model.messages[0].content", "mapped-lossy", "Empty unless the call brings values"),
    ("$.model.messages[1].content", "mapped", "every conversation begins with it; callers do not"),
    ("$.model.messages[3]", "unsupported", "only system, user and assistant messages with text"),
    ("$.model.systemPrompt", "kept", "Stored, but not given to the model"),
    ("$.model.model", "mapped-lossy", "the connection's speech model answers"),
    ("$.model.temperature", "unsupported", "it is kept and has no effect"),
    ("$.model.maxTokens", "mapped-lossy", "Not applied"),
    ("$.metadata", "kept", "Stored and returned, as at Vapi."),
    ("$.voice", "caller-audible", "11labs Burt -> cedar: callers hear the Realtime voice cedar"),
    ("$.voice.speed", "caller-audible", "The voice speaks at 1.5 times its speed"),
    ("$.startSpeakingPlan", "mapped-lossy", "finished after 420 ms of silence"),
    ("$.stopSpeakingPlan", "mapped-lossy", "with 3 words or 0.9 s of speech, whichever"),
    ("$.backgroundDenoisingEnabled", "mapped-lossy", "the session's own near-field filter"),
    ("$.endCallPhrases", "mapped", "ends when the caller has heard the assistant say this phrase"),
    ("$.keypadInputPlan", "mapped", "given to the model as text, 1 s after the last one."),
]
LONG_ANSWER = "No, on Sundays we rest, and on all other holidays of the year as well."

SLOT = {
    "type": "object",
    "required": ["when"],
    "properties": {
        "when": {
            "oneOf": [
                {"type": "string", "pattern": "^[0-9]{2}:[0-9]{2}$"},
                {"type": "integer", "minimum": 8, "maximum": 17},
            ]
        },
    },
}
TOOLS_TOLD = [
    ("$.voice", "mapped", "Callers hear the same voice, sage."),
    ("$.backgroundSound", "caller-audible", "No sound plays behind the assistant."),
    ("$.dialKeypadFunctionEnabled", "mapped-lossy", "The assistant can press keys: as tones"),
    ("$.model.url", "unsupported", "This address is not asked"),
    ("$.model.tools[0].type", "mapped", "Sends a text message to the caller"),
    ("$.model.tools[1].type", "unsupported", "type code do not run yet: the model is not offer"),
    ("$.model.tools[2].function.name", "mapped-lossy", "the tool server is told the old one"),
    ("$.model.tools[2].function.parameters.properties.when", "mapped-lossy",
     "told to the model in words; a call that breaks it goes back to be corrected"),
    ("$.model.tools[2].function.parameters.properties.when.oneOf[0]", "mapped-lossy",
     "The pattern is told to the model in words; your server checks it."),
    ("$.model.tools[2].server", "secret-missing", "Exports leave secrets out."),
    ("$.model.tools[2].parameters", "mapped", "Added to every call, over what the model gives."),
    ("$.model.tools[2].messages", "mapped", "Said word for word when it begins."),
    ("$.model.tools[2].rejectionPlan", "mapped", "a call that it rejects is refused"),
    ("$.model.tools[3].server.secret", "mapped", "sent as X-Vapi-Secret and never shown again"),
    ("$.model.tools[4].function", "invalid", "and nowhere without one"),
    ("$.model.tools[5].destinations[0].number", "invalid", "Calls are never transferred there"),
]  # fmt: skip

WAITING: dict[str, Any] = {
    "name": "Waiting",
    "firstMessage": "https://sounds.example.com/hello.mp3",
    "startSpeakingPlan": {"smartEndpointingPlan": {"provider": "livekit"}},
    "transcriber": {"provider": "deepgram", "language": "klingon", "keyterm": ["Zahnrad:2"]},
    "model": {"provider": "openai", "model": "gpt-4o", "maxTokens": 800},
    "messagePlan": {
        "idleMessages": ["Still there?", "Hello?"],
        "idleTimeoutSeconds": 1,
        "idleMessageMaxSpokenCount": 1,
    },
    "silenceTimeoutSeconds": 45,
}
WAITING_TOLD = [
    ("$.messagePlan", "mapped-lossy", "speaks for 1 s the caller is asked, once; never while"),
    ("$.messagePlan.idleMessages[0]", "mapped", "Said to a caller who says nothing."),
    ("$.silenceTimeoutSeconds", "mapped", "ended when nobody has spoken for 45 s"),
    ("$.firstMessage", "caller-audible", "It is not played; the assistant waits for the caller."),
    ("$.model.messages", "invalid", "so the assistant has no instructions"),
    ("$.model.maxTokens", "mapped-lossy", "One answer ends after 4096 tokens"),
    ("$.startSpeakingPlan", "mapped-lossy", "The speech model judges by the caller's words"),
    ("$.transcriber.language", "invalid", "English is assumed"),
    ("$.transcriber.keyterm", "mapped-lossy", "Boosts and longer texts are left out."),
    ("$.voice", "caller-audible", "No voice is named; callers hear the Realtime voice marin."),
]


async def imported(rig: Rig, document: dict[str, Any]) -> Told:
    """Import a document as a file, let the rig's number answer with it, return what was said."""

    def run() -> Told:
        number = PhoneNumber.objects.get(pk=rig.number.pk)
        file = ImportFile("assistant.json", json.dumps(document).encode())
        report = import_files(
            organisation=number.organisation, files=[file], actor=None, source="command"
        )
        (result,) = report.results
        assert result.outcome == CREATED, result.reason
        number.assistant = Assistant.objects.get(pk=result.object_id)
        number.save()
        return result.findings

    return await in_database(run)


def assert_told(told: Told, expected: Iterable[tuple[str, str, str]]) -> None:
    """Hold the import to state and promise; of several findings on a path one must fit."""
    for path, state, words in expected:
        found = [each for each in told if each.path == path]
        assert any(e.state == state and words in e.message for e in found), (path, words, found)


def frames(rig: Rig, kind: str) -> list[dict[str, Any]]:
    """Return what the model was sent of one kind, in the only session there was."""
    (sent,) = rig.model_frames
    return [frame for frame in sent if frame["type"] == kind]


def items(rig: Rig, kind: str) -> list[dict[str, Any]]:
    """Return the conversation items of one kind that the model was sent."""
    created = (frame["item"] for frame in frames(rig, "conversation.item.create"))
    return [item for item in created if item["type"] == kind]


def everything_sent(rig: Rig) -> str:
    """Return all that the model was sent but sound, as text."""
    (sent,) = rig.model_frames
    words = [frame for frame in sent if frame["type"] != "input_audio_buffer.append"]
    return json.dumps(words, ensure_ascii=False)


def asked(entry: dict[str, Any]) -> tuple[str, dict[str, Any]]:
    """Return (name, arguments) of the one call that a tool server was posted."""
    (call,) = entry["body"]["message"]["toolCallList"]
    return call["function"]["name"], call["function"]["arguments"]


async def driven(
    rig: Rig, scenario: Scenario, ended_reason: str = "customer-ended-call"
) -> CallReport:
    """Place the call and see that neither side complained and that it ended as it should."""
    report = await rig.call(scenario)
    assert report.ok, report
    assert [peer.errors for peer in rig.model_sessions] == [[]]
    call = await rig.only_call()
    assert (call.status, call.ended_reason) == ("ended", ended_reason)
    return report


async def test_what_is_said_of_words_voice_and_turns(rig: Rig) -> None:
    told = await imported(rig, TALKING)
    assert_told(told, TALKING_TOLD)
    report = await driven(
        rig,
        parse_scenario(
            {
                "name": "talking",
                "caller": [
                    {"say": "Open?", "after": "greeting"},
                    {"dtmf": "5", "after": {"heard": "until six"}},
                    {"say": "Ok.", "barge_in": {"after_ms_of_agent_audio": 300}},
                    {"say": "Bye.", "after": {"heard": "holidays of the year"}},
                ],
                "brain": {
                    "rules": [
                        {"when": "Open", "say": "Yes, until six."},
                        {"when": "pressed: 5", "say": LONG_ANSWER},
                        {"when": "Ok", "say": "Nobody is to hear this."},
                        {"when": "Bye", "say": "Good day, take care!"},
                    ]
                },
            }
        ),
        ended_reason="assistant-said-end-call-phrase",
    )
    # $.firstMessage; $.keypadInputPlan: a key was answered; $.stopSpeakingPlan: one word neither
    # cut the answer nor was answered; $.endCallPhrases: heard, and nobody but us ended the call.
    assert report.heard == [
        f"Hi {CALLER}.", "Yes, until six.", LONG_ANSWER, "Good day, take care!"
    ]  # fmt: skip
    assert report.cut == []
    update, *_ = frames(rig, "session.update")
    session = update["session"]
    # $.model.messages[0]: the broken tag and the variable are gone, what stands around them not.
    assert session["instructions"] == "Be kind. Be brief to all."
    examples = [(i["role"], i["content"][0]["text"]) for i in items(rig, "message")]
    assert examples == [
        ("user", "Is there parking?"),
        ("assistant", "Behind the house."),
        ("user", "Keys pressed: 5"),
    ]
    assert len(frames(rig, "conversation.item.create")) == len(examples)
    greeted, keys_answered = frames(rig, "response.create")
    assert CALLER in json.dumps(greeted)
    assert keys_answered["response"]["metadata"] == {"purpose": "turn"}
    sent = everything_sent(rig)
    for unsaid in ("from long ago", "metadata-of-theirs", "temperature", "max_output_tokens"):
        assert unsaid not in sent, unsaid
    connection = rig.number.connection
    assert connection is not None
    model = rig.model_sessions[0].session
    assert model["model"] == connection.model
    sound = session["audio"]
    assert (sound["output"]["voice"], sound["output"]["speed"]) == ("cedar", 1.5)
    assert sound["input"]["noise_reduction"] == {"type": "near_field"}
    promised = promised_ms(told)
    assert sound["input"]["turn_detection"]["silence_duration_ms"] == promised == 420
    assert sound["input"]["turn_detection"]["interrupt_response"] is False


def promised_ms(told: Told) -> int:
    """Return the silence that the import promised, in ms."""
    (words,) = (each.message for each in told if each.path == "$.startSpeakingPlan")
    found = re.search(r"(\d+) ms of silence", words)
    assert found is not None
    return int(found[1])


def tooled(origin: str) -> dict[str, Any]:
    """Return a document whose tools are answered by the stand-in at ``origin``."""
    return {
        "name": "Tooled",
        "firstMessage": "Hello.",
        "backgroundSound": "office",
        "dialKeypadFunctionEnabled": True,
        "voice": {"provider": "openai", "voiceId": "sage"},
        "model": {
            "provider": "custom-llm",
            "model": "theirs",
            "url": f"{origin}/tools/model",
            "messages": [{"role": "system", "content": "You book."}],
            "tools": [
                {"type": "sms", "function": {"name": "text_them"}},
                {"type": "code", "function": {"name": "look_up"}},
                {
                    "type": "function",
                    "function": {"name": "find a slot", "parameters": SLOT},
                    "server": {"url": f"{origin}/tools/slots"},
                    "parameters": [{"key": "who", "value": "{{customer.number}}"}],
                    "messages": [{"type": "request-start", "content": "One moment please."}],
                    "rejectionPlan": {"conditions": [{"type": "regex", "regex": "^Cancel"}]},
                },
                {
                    "type": "function",
                    "function": {"name": "note"},
                    "messages": [{"type": "request-start", "content": ""}],
                    "server": {"url": f"{origin}/tools/notes", "secret": SECRET},
                },
                {"type": "function", "function": {"name": "nowhere"}},
                {
                    "type": "transferCall",
                    "function": {"name": "to_help"},
                    "destinations": [{"type": "number", "number": "911"}],
                },
            ],
        },
    }


async def test_what_is_said_of_tools(settings: Any, rig: Rig) -> None:
    settings.EGRESS_ALLOW = ["127.0.0.0/8"]
    told = await imported(rig, tooled(rig.standin_origin))
    assert_told(told, TOOLS_TOLD)
    chain: dict[str, Any] = {"tool": {"name": "look_up"}}
    for name, arguments in (
        ("to_help", {}),
        ("nowhere", {}),
        ("note", {}),
        ("find_a_slot", {"when": "soon"}),
        ("find_a_slot", {"when": 9, "who": "the model"}),
        ("find_a_slot", {"when": 20}),
    ):
        chain = {"tool": {"name": name, "arguments": arguments}, "then": chain}
    report = await driven(
        rig,
        parse_scenario(
            {
                "name": "tooled",
                "caller": [
                    {"say": "Book.", "after": "greeting"},
                    {"hang_up": {"heard": "I cannot do that."}},
                ],
                "brain": {"rules": [{"when": "Book", **chain}]},
            }
        ),
    )
    async with rig.session.get(f"{rig.standin_origin}/tools/ledger") as answered:
        ledger = await answered.json()
    await close_client()
    # The stand-in says "I cannot do that." where a model wants a tool that it was not offered.
    # tools[2].messages: its words, ours where there are none, and none where it has '' for them.
    filler = report.heard[4]
    assert filler in {each.text for each in with_fillers((), "en")}
    moment = ["One moment please."] * 3
    assert report.heard == ["Hello.", *moment, filler, "I cannot do that."]
    # $.backgroundSound: nothing else was played.
    said_ms = sum(len(encode(text)) for text in report.heard) // BYTES_PER_MS
    assert report.played_ms == LEAD_IN_MS + said_ms
    update, *_ = frames(rig, "session.update")
    offered = {tool["name"]: tool for tool in update["session"]["tools"]}
    assert set(offered) == {"dtmf", "find_a_slot", "note", "nowhere", "text_them", "to_help"}
    when = offered["find_a_slot"]["parameters"]["properties"]["when"]
    assert "oneOf" not in when
    assert "(>= 8, <= 17)" in when["description"]
    outputs = [item["output"] for item in items(rig, "function_call_output")]
    refused, found, passed_on, noted, nowhere, helped = outputs
    assert refused.startswith("The tool was not called: ")
    assert refused.endswith("Correct this and call it again.")
    assert (found, passed_on, noted, nowhere) == ("OK", "OK", "OK", NO_SERVER)
    assert helped == "There is nobody to transfer this call to. Offer the caller another way."
    assert report.dialled == []
    # What broke the schema never left, $.model.url was never asked, and names are the old ones.
    # A pattern is the server's to check, and what the caller's number fills in is not the model's.
    posts = [(e["path"], *asked(e), "x-vapi-secret" in e["headers"]) for e in ledger]
    assert posts == [
        ("/tools/slots", "find a slot", {"when": 9, "who": CALLER}, False),
        ("/tools/slots", "find a slot", {"when": "soon", "who": CALLER}, False),
        ("/tools/notes", "note", {}, True),
    ]
    assert ledger[-1]["headers"]["x-vapi-secret"] == SECRET
    assert update["session"]["audio"]["output"]["voice"] == "sage"


async def test_what_is_said_of_a_document_that_waits(rig: Rig) -> None:
    told = await imported(rig, WAITING)
    assert_told(told, WAITING_TOLD)
    report = await driven(
        rig,
        parse_scenario(
            {
                "name": "waiting",
                "caller": [{"say": "Hi.", "after": {"ms": 0}}, {"hang_up": {"heard": "there"}}],
                "brain": {"rules": [{"when": "Hi", "say": "Hey."}]},
            }
        ),
    )
    assert report.heard == ["Hey.", "Still there?"]
    (asked_once,) = frames(rig, "response.create")
    assert asked_once["response"]["metadata"] == {"purpose": "idle"}
    assert "sounds.example.com" not in everything_sent(rig)
    update, *_ = frames(rig, "session.update")
    session = update["session"]
    assert not session.get("instructions")
    assert session["max_output_tokens"] == 4096
    sound = session["audio"]
    assert sound["output"]["voice"] == "marin"
    assert sound["input"]["turn_detection"]["type"] == "semantic_vad"
    assert sound["input"]["transcription"]["language"] == "en"
    assert "Zahnrad" in json.dumps(sound["input"]["transcription"])
    assert "Zahnrad:2" not in everything_sent(rig)
