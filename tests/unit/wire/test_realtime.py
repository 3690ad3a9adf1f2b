"""Realtime events in every dialect, held to the official SDK's types."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import pytest

from calls.wire import realtime
from calls.wire.realtime import FunctionTool, RealtimeWireError, SessionConfig, TurnDetection
from tests.contract import ContractError, check_realtime_client

pytestmark = pytest.mark.unit

SCHEMA = {"type": "object", "properties": {"slot_id": {"type": "string"}}}
FULL = SessionConfig(
    instructions='Be "brief" – ü.',
    voice="cedar",
    transcription_model="gpt-4o-transcribe",
    language="de",
    noise_reduction="far_field",
    turn_detection=TurnDetection(0.6, 200, 400, create_response=False, interrupt_response=False),
    tools=(FunctionTool("book_slot", "Book.", SCHEMA),),
)
RICH = SessionConfig(
    transcription_prompt="A clinic.",
    keywords=("Zahnrad", "Bleaching"),
    languages=("de", "en"),
    turn_detection=TurnDetection(kind="semantic_vad", eagerness="high"),
    speed=1.25,
    max_output_tokens=4096,
    reasoning_effort="low",
    temperature=0.3,
)
TRANSCRIBERS = (
    *("gpt-transcribe", "gpt-live-transcribe", "gpt-realtime-whisper", "gpt-4o-transcribe"),
    *("gpt-4o-transcribe-diarize", "whisper-1"),
)
DIALECTS: list[Any] = ["openai_ga", "azure_ga", "beta"]


def contract_of(dialect: str) -> Any:
    """Return the contract's name of a dialect."""
    return {"openai_ga": "ga", "azure_ga": "azure_ga", "beta": "beta"}[dialect]


@pytest.mark.parametrize("dialect", DIALECTS)
@pytest.mark.parametrize("config", [SessionConfig(), FULL, realtime.held(FULL), RICH])
def test_o3_o4_session_update_fits_the_types_of_each_dialect(
    config: SessionConfig, dialect: Any
) -> None:
    event = json.loads(realtime.session_update(config, dialect, "cfg-1"))
    check_realtime_client(event, contract_of(dialect))
    assert realtime.formats_are_mulaw(event, dialect)
    assert "null" not in json.dumps(event).replace('"noise_reduction": null', "").replace(
        '"input_audio_noise_reduction": null', ""
    )


@pytest.mark.parametrize("dialect", DIALECTS)
def test_the_walker_finds_one_undeclared_key_at_any_depth(dialect: Any) -> None:
    text = realtime.session_update(FULL, dialect, "cfg-1")
    places = 0

    def poison(node: Any, root: Any) -> None:
        nonlocal places
        if isinstance(node, list):
            for child in node:
                poison(child, root)
        elif isinstance(node, dict):
            if (
                "properties" not in node
                and "slot_id" not in node
                and "type" not in node.get("slot_id", {})
            ):
                node["undeclared"] = 1
                with pytest.raises(ContractError):
                    check_realtime_client(root, contract_of(dialect))
                del node["undeclared"]
                places += 1
            for key, child in node.items():
                if key != "parameters":
                    poison(child, root)

    event = json.loads(text)
    poison(event, event)
    assert places >= 6


def test_golden_ga_configuration() -> None:
    tools = ',"tools":[{"type":"function","name":"book_slot","description":"Book.","parameters":'
    assert realtime.session_update(FULL, "openai_ga", "cfg-1") == (
        '{"type":"session.update","event_id":"cfg-1","session":{"type":"realtime",'
        '"output_modalities":["audio"],"instructions":"Be \\"brief\\" – ü.","audio":{"input":{'
        '"format":{"type":"audio/pcmu"},"noise_reduction":{"type":"far_field"},'
        '"transcription":{"model":"gpt-4o-transcribe","language":"de"},"turn_detection":{'
        '"type":"server_vad","threshold":0.6,"prefix_padding_ms":200,"silence_duration_ms":400,'
        '"create_response":false,"interrupt_response":false}},"output":{"format":{'
        '"type":"audio/pcmu"},"voice":"cedar"}}'
        f'{tools}{{"type":"object","properties":{{"slot_id":{{"type":"string"}}}}}}}}],'
        '"tool_choice":"auto"}}'
    )


@pytest.mark.parametrize("dialect", DIALECTS)
@pytest.mark.parametrize("model", TRANSCRIBERS)
def test_o4_each_transcriber_gets_only_the_help_it_takes(model: str, dialect: Any) -> None:
    config = replace(RICH, transcription_model=model)
    event = json.loads(realtime.session_update(config, dialect, "cfg-1"))
    check_realtime_client(event, contract_of(dialect))
    session = event["session"]
    found = (
        session["input_audio_transcription"]
        if dialect == "beta"
        else session["audio"]["input"]["transcription"]
    )
    words = model in ("gpt-transcribe", "gpt-live-transcribe") and dialect != "beta"
    assert ("keywords" in found, "languages" in found) == (words, words)
    silent = model in ("gpt-realtime-whisper", "gpt-4o-transcribe-diarize")
    assert ("prompt" in found) is not silent
    if not silent:
        assert found["prompt"] == "A clinic." + ("" if words else "\nZahnrad, Bleaching")


def test_golden_rich_configuration() -> None:
    session = json.loads(realtime.session_update(RICH, "openai_ga", "cfg-1"))["session"]
    assert session["audio"]["input"]["turn_detection"] == {
        "type": "semantic_vad",
        "eagerness": "high",
        "create_response": True,
        "interrupt_response": True,
    }
    assert session["audio"]["output"]["speed"] == 1.25
    assert (session["max_output_tokens"], session["reasoning"]) == (4096, {"effort": "low"})
    assert "temperature" not in session  # GA has none (2.1)
    beta = json.loads(realtime.session_update(RICH, "beta", "cfg-1"))["session"]
    assert (beta["temperature"], beta["speed"]) == (0.6, 1.25)
    assert beta["max_response_output_tokens"] == 4096
    assert not {"reasoning", "max_output_tokens"} & beta.keys()
    one = replace(RICH, language="de")
    heard = json.loads(realtime.session_update(one, "openai_ga", "c"))["session"]["audio"]["input"]
    assert "languages" not in heard["transcription"]
    assert RICH.turn_detection.known_silence_ms == 0
    assert TurnDetection().known_silence_ms == 320


@pytest.mark.parametrize(
    ("model", "reasons"),
    [
        ("gpt-realtime-2.1", True),
        ("gpt-realtime-2.1-mini", True),
        ("gpt-realtime-2", True),
        ("gpt-realtime-2025-08-28", False),
        ("gpt-realtime-1.5", False),
        ("gpt-realtime", False),
        ("my-azure-deployment", False),
    ],
)
def test_only_models_that_reason_are_asked_to(model: str, reasons: bool) -> None:
    assert realtime.takes_reasoning(model) is reasons


def test_azure_speaks_ga() -> None:
    ga = realtime.session_update(FULL, "openai_ga", "cfg-1")
    assert realtime.session_update(FULL, "azure_ga", "cfg-1") == ga


def test_golden_beta_configuration_is_flat() -> None:
    session = json.loads(realtime.session_update(FULL, "beta", "cfg-1"))["session"]
    assert "audio" not in session
    assert "type" not in session
    assert session["modalities"] == ["audio", "text"]
    assert (session["input_audio_format"], session["output_audio_format"]) == ("g711_ulaw",) * 2
    # Beta lacks cedar (2.6); one voice it does not know would void the whole update.
    assert session["voice"] == "ash"
    other = json.loads(realtime.session_update(replace(FULL, voice="sage"), "beta", "cfg-1"))
    assert other["session"]["voice"] == "sage"


@pytest.mark.parametrize("dialect", DIALECTS)
def test_turn_detection_is_always_sent_complete(dialect: Any) -> None:
    text = realtime.turn_detection_update(TurnDetection(), dialect, "cfg-2")
    event = json.loads(text)
    check_realtime_client(event, contract_of(dialect))
    session = event["session"]
    detection = (
        session["turn_detection"]
        if dialect == "beta"
        else session["audio"]["input"]["turn_detection"]
    )
    assert set(detection) == {
        "type", "threshold", "prefix_padding_ms", "silence_duration_ms", "create_response",
        "interrupt_response",
    }  # fmt: skip


@pytest.mark.parametrize("dialect", DIALECTS)
def test_every_other_event_fits_the_types(dialect: Any) -> None:
    texts = [
        realtime.append("AAAA"),
        realtime.response_create(
            "ask-1", dialect, instructions="x", tools_allowed=False, purpose="greeting"
        ),
        realtime.response_create(
            "ask-1", dialect, instructions="", tools_allowed=True, purpose="turn"
        ),
        realtime.response_cancel("cancel-1", "resp_1"),
        realtime.response_cancel("cancel-1", ""),
        realtime.item_truncate("cut-1", "item_1", 1840),
        realtime.item_delete("del-1", "item_1"),
        realtime.message_item("seed-1", "user", "Hi", dialect),
        realtime.message_item("seed-2", "assistant", "Hello", dialect),
        realtime.message_item("note-1", "system", "Be brief", dialect),
        realtime.function_output("out-1", "call_1", '{"a":1}'),
    ]
    for text in texts:
        event = json.loads(text)
        check_realtime_client(event, contract_of(dialect))
        with pytest.raises(ContractError):
            check_realtime_client({**event, "undeclared": 1}, contract_of(dialect))


def test_golden_small_events() -> None:
    assert realtime.append("AAAA") == (
        '{"type":"input_audio_buffer.append","event_id":"audio","audio":"AAAA"}'
    )
    assert realtime.item_truncate("cut-1", "i", 7) == (
        '{"type":"conversation.item.truncate","event_id":"cut-1","item_id":"i","content_index":0,'
        '"audio_end_ms":7}'
    )
    plain: dict[str, Any] = {"instructions": "", "tools_allowed": True, "purpose": "tool"}
    assert realtime.response_create("a", "ga", **plain) == (
        '{"type":"response.create","event_id":"a",'
        '"response":{"metadata":{"purpose":"tool"},"output_modalities":["audio"]}}'
    )


@pytest.mark.parametrize("dialect", DIALECTS)
def test_o30_every_response_asks_for_audio_itself(dialect: Any) -> None:
    plain: dict[str, Any] = {"instructions": "", "tools_allowed": True, "purpose": "resume"}
    response = json.loads(realtime.response_create("a", dialect, **plain))["response"]
    wanted = {"modalities": ["audio", "text"]}
    assert response == {
        "metadata": {"purpose": "resume"},
        **(wanted if dialect == "beta" else {"output_modalities": ["audio"]}),
    }


def test_o30_assistant_history_is_text_of_the_dialect() -> None:
    def part(dialect: Any) -> str:
        event = json.loads(realtime.message_item("s", "assistant", "x", dialect))
        return str(event["item"]["content"][0]["type"])

    assert [part(dialect) for dialect in DIALECTS] == ["output_text", "output_text", "text"]


def test_o22_verbatim_quotes_the_sentence() -> None:
    assert realtime.verbatim('Say "hi" – ü').endswith('"Say \\"hi\\" – ü"')


@pytest.mark.parametrize(
    ("beta", "ga"),
    [
        ("response.audio.delta", "response.output_audio.delta"),
        ("response.audio.done", "response.output_audio.done"),
        ("response.audio_transcript.delta", "response.output_audio_transcript.delta"),
        ("response.audio_transcript.done", "response.output_audio_transcript.done"),
        ("response.text.delta", "response.output_text.delta"),
        ("response.text.done", "response.output_text.done"),
        ("conversation.item.created", "conversation.item.added"),
        ("response.done", "response.done"),
    ],
)
def test_o27_beta_names_are_renamed_at_the_door_only_for_beta(beta: str, ga: str) -> None:
    text = json.dumps({"type": beta})
    assert realtime.decode(text, "beta")[0] == ga
    assert realtime.decode(text, "openai_ga")[0] == beta


@pytest.mark.parametrize("text", ["", "[]", "3", "{}", '{"type":null}', "{" * 9, "[" * 90_000])
def test_what_is_no_event_is_refused(text: str) -> None:
    with pytest.raises(RealtimeWireError):
        realtime.decode(text, "openai_ga")


def test_emoji_survive_and_broken_surrogates_do_not() -> None:
    _, event = realtime.decode(
        r'{"type":"x","a":"\ud83d\ude00 \ud83d \u0000","b":["\uDC00"]}', "beta"
    )
    assert event["a"] == "😀 ? "
    assert event["b"] == ["?"]
    assert realtime.plain("plain") == "plain"
    assert realtime.plain("a\x00\ud800ü") == "a?ü"


@pytest.mark.parametrize(
    "session",
    [None, {}, [], {"audio": None}, {"audio": {"input": 1, "output": 2}},
     {"audio": {"input": {"format": {"type": "audio/pcmu"}}, "output": {"format": "audio/pcmu"}}}],
)  # fmt: skip
def test_o21_anything_but_mulaw_both_ways_is_no(session: Any) -> None:
    for dialect in DIALECTS:
        assert not realtime.formats_are_mulaw({"session": session}, dialect)


def test_an_item_is_put_behind_another_or_in_the_first_place() -> None:
    def where(**options: Any) -> Any:
        text = realtime.message_item("e", "assistant", "Hello", "openai_ga", **options)
        check_realtime_client(json.loads(text))
        return json.loads(text).get("previous_item_id")

    assert (where(), where(after="item_1"), where(after="")) == (None, "item_1", "root")
