"""What becomes of an assistant document: findings on every field that matters in a call.

Owns what this version does with each field of vapi.md 2 and the words that say so. Pure; reading
the fields themselves is ``wire.vapi_config``.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from assistants import speech_models
from assistants.address_account import account_url
from assistants.analysis_account import account_analysis
from assistants.circumstances import NOTHING_KNOWN, Answering, Circumstances
from assistants.conversation_account import account_conversation
from assistants.findings import (
    AUDIBLE,
    INVALID,
    KEPT,
    LOSSY,
    MAPPED,
    SECRET_MISSING,
    UNSUPPORTED,
    Notes,
    short,
    summarise_kept,
)
from assistants.legacy import forwarding_numbers, tool_today
from assistants.speech_account import account_speech, account_text, given_names, says_nothing
from assistants.tool_account import (
    account_secret,
    account_secret_text,
    account_tool,
)
from assistants.voice_account import account_voice
from assistants.wire import vapi_config
from assistants.wire.files import step
from assistants.wire.vapi_compliance import CONSENT_PLAN, PLAN_SWITCHES, consent_plan

_CUT: Final = (
    "@{"  # how PowerShell prints an object it was told not to follow (corpus, surprise 10)
)

COMPLIANT: Final = (
    "Nothing that is said is kept: no transcript, no recording, no bodies of tools. Reports are "
    "sent without them."
)
# Fields without effect yet: state, and what happens instead. A field that is off or empty is kept.
_NOT_YET: Final[Mapping[str, tuple[str, str]]] = {
    "voicemailDetection": (UNSUPPORTED, "Answering machines are not recognised."),
    "voicemailDetectionEnabled": (UNSUPPORTED, "Answering machines are not recognised."),
    "voicemailMessage": (UNSUPPORTED, "No message is left on answering machines."),
    "hooks": (UNSUPPORTED, "Nothing happens at these events."),
    "backchannelingEnabled": (AUDIBLE, "The assistant says no 'mhm' while the caller speaks."),
    "fillersEnabled": (AUDIBLE, "The assistant speaks without added fillers."),
    "artifactPlan": (
        LOSSY,
        "Transcripts are always kept. With recordingEnabled false no call is recorded; else it is "
        "where the organisation records calls and the number's call policy allows it, always as "
        "WAV. Nothing is put into a storage of your own.",
    ),
    "recordingEnabled": (
        LOSSY,
        "Calls are recorded where the organisation records calls and the number's call policy "
        "allows it, not by this switch alone.",
    ),
    "monitorPlan": (
        LOSSY,
        "Whether calls can be listened to and controlled follows this plan, and whether that needs "
        "a key; the monitors it names do not run.",
    ),
    "hipaaEnabled": (MAPPED, COMPLIANT),
    "transportConfigurations": (UNSUPPORTED, "Calls are placed with the platform's own settings."),
    "observabilityPlan": (UNSUPPORTED, "Nothing is sent to that service."),
    "credentials": (UNSUPPORTED, "Stored sealed; connections are set up in the admin."),
    "credentialIds": (UNSUPPORTED, "Credentials are not in an export; set up a connection."),
    "tools:append": (UNSUPPORTED, "Belongs into overrides; the tools in it are not offered."),
}
_MODEL_NOT_YET: Final[Mapping[str, tuple[str, str]]] = {
    "knowledgeBase": (UNSUPPORTED, "The assistant does not search these documents."),
    "knowledgeBaseId": (UNSUPPORTED, "The assistant does not search these documents."),
    "url": (UNSUPPORTED, "This address is not asked; the connection's speech model answers."),
}
_KEPT_WHY: Final[Mapping[str, str]] = {
    "metadata": "Stored and returned, as at Vapi.",
    "clientMessages": "Stored; only web clients of Vapi read them.",
    "orgId": "Replaced by the organisation that imports.",
    "updatedAt": "Replaced by the time of the import.",
}


def account_assistant(
    document: Mapping[str, Any], notes: Notes, around: Circumstances = NOTHING_KNOWN
) -> None:
    """Add the findings on an assistant document; every leaf is spoken of afterwards."""
    reading = vapi_config.read_assistant(document)
    notes.mark("$.id", "$.createdAt", "$.name", "$.isServerUrlSecretSet", "$.endCallMessage")
    # What is said of these depends on the other files of the import.
    notes.mark("$.model.toolIds", "$.model.toolRefs")
    _account_prompt(document, notes)
    _account_greeting(document, reading, notes)
    _account_model(document, reading, around.answering, notes)
    account_voice(document, around.decided, notes)
    account_speech(document, notes, around.answering)
    account_conversation(document, notes)
    _account_duration(document, reading, notes)
    _account_server(document, reading, notes)
    _account_tools(document, bool(reading.server_url), notes)
    _account_noise(document, notes)
    _account_table(document, "$", _NOT_YET, notes)
    account_analysis(document, notes)
    _account_compliance(document, notes)
    model = document.get("model")
    if isinstance(model, Mapping):
        _account_table(model, "$.model", _MODEL_NOT_YET, notes)
    _account_cuts(document, "$", notes)
    summarise_kept(document, notes, _KEPT_WHY)


def _account_prompt(document: Mapping[str, Any], notes: Notes) -> None:
    places = vapi_config.prompt_places(document)
    for place in places:
        if not place.is_used:
            notes.add(
                place.path,
                KEPT,
                "A second prompt. Stored, but not given to the model: the one in "
                f"{places[0].path} is.",
            )
            continue
        account_text(
            place.path,
            place.text,
            "These are the instructions.",
            notes,
            given=given_names(document),
        )
    if not places:
        notes.add(
            "$.model.messages",
            INVALID,
            "No prompt anywhere in the document, so the assistant has no instructions. "
            "Fix: put it into model.messages as a system message, or write it in the admin.",
        )


def _account_greeting(
    document: Mapping[str, Any], reading: vapi_config.AssistantReading, notes: Notes
) -> None:
    mode, message = document.get("firstMessageMode"), document.get("firstMessage")
    if mode is not None and mode not in vapi_config.FIRST_MESSAGE_MODES:
        notes.add(
            "$.firstMessageMode",
            INVALID,
            "No mode that Vapi knows; the assistant speaks first, as without the field.",
        )
    elif mode is not None:
        notes.mark("$.firstMessageMode")
    speaks = reading.first_message_mode == vapi_config.SPEAKS_FIRST
    if isinstance(message, str) and vapi_config.is_audio_url(message):
        notes.add(
            "$.firstMessage",
            AUDIBLE,
            "The address of a sound file. It is not played; the assistant waits for the caller.",
        )
    elif isinstance(message, str) and not message.strip():
        words = "the assistant waits for the caller" if speaks else "the mode does not need one"
        notes.add("$.firstMessage", MAPPED, f"Empty on purpose: {words}.")
    elif isinstance(message, str) and not speaks:
        who = "the model greets" if "speaks-first" in str(mode) else "the caller speaks first"
        notes.add("$.firstMessage", KEPT, f"Not spoken: by the mode {who}.")
    elif isinstance(message, str):
        words = "Spoken word for word as the greeting."
        if says_nothing(message):
            words = "Spoken as the greeting; when it is empty, the assistant waits for the caller."
        _account_spoken(document, "$.firstMessage", message, words, notes)
    elif message is not None:
        notes.add("$.firstMessage", INVALID, "Not text; the assistant waits for the caller.")
    elif speaks:
        notes.add(
            "$.firstMessage",
            AUDIBLE,
            "No greeting is given, so the assistant waits for the caller.",
        )
    notes.mark("$.firstMessageInterruptionsEnabled")
    goodbye = document.get("endCallMessage")
    if isinstance(goodbye, str) and goodbye:
        words = "Spoken before the call is ended."
        _account_spoken(document, "$.endCallMessage", goodbye, words, notes)


def _account_spoken(
    document: Mapping[str, Any], path: str, text: str, words: str, notes: Notes
) -> None:
    account_text(path, text, words, notes, given=given_names(document), lossy=AUDIBLE)


def _account_model(
    document: Mapping[str, Any],
    reading: vapi_config.AssistantReading,
    answering: Answering | None,
    notes: Notes,
) -> None:
    model = document.get("model")
    entry = model if isinstance(model, Mapping) else {}
    name = model if isinstance(model, str) else entry.get("model")
    path = "$.model" if isinstance(model, str) else "$.model.model"
    asked = bool(reading.model)
    if reading.model and answering is not None and answering.deployment:
        asked = reading.model == answering.deployment
        _account_deployment(path, reading.model, answering, notes)
    elif reading.model:
        ends = speech_models.shutdown_date(reading.model)
        notes.add(
            path,
            MAPPED,
            f"The speech model {reading.model} answers; at Azure the connection's deployment does."
            + (f" It is shut down on {ends}. Fix: name its successor before." if ends else ""),
        )
    elif isinstance(name, str) and name:
        provider = entry.get("provider")
        whose = f" of {short(provider)}" if isinstance(provider, str) and provider else ""
        notes.add(
            path,
            LOSSY,
            f"{short(name)}{whose} {speech_models.why_no_speech_model(name)}; the connection's "
            "speech model answers with the same instructions. Rehearse it before the switch.",
        )
    notes.mark("$.model.provider", state=MAPPED if asked else LOSSY)
    if model is None:
        notes.add("$.model", INVALID, "No model is named; the connection's speech model answers.")


def _account_deployment(path: str, model: str, answering: Answering, notes: Notes) -> None:
    """Say that Azure knows deployments, not models (openai_realtime.md 1.3)."""
    whose = f"of the connection {short(answering.name)}"
    if model == answering.deployment:
        notes.add(path, MAPPED, f"The deployment {model} {whose} answers.")
        return
    notes.add(
        path,
        LOSSY,
        f"{model} is not asked for: at Azure the deployment {short(answering.deployment)} {whose} "
        "answers. Fix: if it runs another model, enter the right deployment as the model under "
        f"Connections, or give the number a connection that offers {model}.",
    )


def _account_duration(
    document: Mapping[str, Any], reading: vapi_config.AssistantReading, notes: Notes
) -> None:
    value = document.get("maxDurationSeconds")
    if value is None:
        return
    used = reading.max_duration_seconds
    if value == used and not isinstance(value, bool):
        words = f"A call is ended after {used} seconds, or at its number's own ceiling before."
        notes.add("$.maxDurationSeconds", MAPPED, words)
    else:
        low, high = vapi_config.DURATION_SECONDS
        notes.add(
            "$.maxDurationSeconds",
            LOSSY,
            f"Not a whole number from {low} to {high}; a call is ended after {used} seconds.",
        )


def _account_server(
    document: Mapping[str, Any], reading: vapi_config.AssistantReading, notes: Notes
) -> None:
    server = document.get("server")
    entry = server if isinstance(server, Mapping) else {}
    if reading.server_url:
        path = "$.server.url" if entry.get("url") else "$.serverUrl"
        before = len(notes.findings)
        account_url(reading.server_url, notes, path)
        if len(notes.findings) == before:
            notes.add(path, MAPPED, "Events and calls of tools without a server go there.")
    if isinstance(document.get("serverMessages"), list):
        words = "Selects what the webhook is sent; kinds that are not sent yet stay away."
        notes.add("$.serverMessages", LOSSY, words)
    if entry:
        account_secret(entry, notes, "$.server")
    secret = document.get("serverUrlSecret")
    if isinstance(secret, str) and secret:
        account_secret_text(secret, notes, "$.serverUrlSecret")
    elif document.get("isServerUrlSecretSet") is True and not reading.server_secret:
        notes.add(
            "$.isServerUrlSecretSet",
            SECRET_MISSING,
            "A webhook secret is set at Vapi, but exports leave it out. Fix: enter it in the admin "
            "as 'Webhook secret', or your server refuses our requests.",
        )


def _account_tools(document: Mapping[str, Any], has_server: bool, notes: Notes) -> None:
    model = document.get("model")
    entry = model if isinstance(model, Mapping) else {}
    places = (
        *(("$.model", key, entry.get(key)) for key in ("tools", "functions")),
        *(("$", key, document.get(key)) for key in ("tools", "functions")),
    )
    for parent, key, tools in places:
        path = step(parent, key)
        for index, tool in enumerate(tools if isinstance(tools, list) else ()):
            each = step(path, index)
            if not isinstance(tool, Mapping):
                notes.add(each, INVALID, "No tool object; it is left out.")
                continue
            today = tool_today(tool)
            if today != tool:
                notes.add(each, MAPPED, f"An old form of a tool, read as type {today['type']}.")
            if key == "functions" and today["type"] == "function":
                notes.add(
                    each,
                    MAPPED,
                    "Its server is sent the old function-call message, as it is used to; a switch "
                    "of the tool turns to tool-calls.",
                )
            account_tool(today, notes, each, assistant_has_server=has_server)
    for key, words in (
        ("endCallFunctionEnabled", "The assistant can end the call."),
        ("forwardingPhoneNumber", "Callers can be transferred there."),
        ("forwardingPhoneNumbers", "Callers can be transferred there."),
    ):
        if document.get(key) is True or (key[0] == "f" and forwarding_numbers(document)):
            if key in document:
                notes.add(step("$", key), MAPPED, words)
    if document.get("dialKeypadFunctionEnabled") is True:
        notes.add(
            "$.dialKeypadFunctionEnabled",
            LOSSY,
            "The assistant can press keys: as tones in the audio, which most phone menus "
            "understand and none is bound to.",
        )


def _account_noise(document: Mapping[str, Any], notes: Notes) -> None:
    sound = document.get("backgroundSound")
    if sound == "off":
        notes.add("$.backgroundSound", MAPPED, "Nothing plays behind the assistant.")
    elif sound is None:
        notes.add(
            "$.backgroundSound",
            AUDIBLE,
            "Vapi plays office noise on phone calls unless told not to; here it is quiet.",
        )
    else:
        notes.add("$.backgroundSound", AUDIBLE, "No sound plays behind the assistant.")


_CONSENT: Final = {
    "notice": "Becomes the line of a call policy that gives notice, for a number that is imported "
    "with this assistant. Fix: have the policy reviewed, and choose it for other numbers.",
    "ask": "Becomes the line of a call policy that asks, for a number that is imported with this "
    "assistant; the question, with keys 1 and 2, is asked behind it. No answer twice is a refusal. "
    "Fix: have the policy reviewed, and choose it for other numbers.",
}
_CONSENT_PARTS: Final = {
    "type": (MAPPED, "As the policy's recording consent."),
    "voice": (AUDIBLE, "The line is said in the voice of call policies."),
    "firstMessageMode": (AUDIBLE, "The line is said at once; nothing waits for the caller."),
    "waitSeconds": (AUDIBLE, "The assistant goes on as soon as the line was said or answered."),
    "declineTool": (
        LOSSY,
        "A transfer becomes “hand over to a person”, to the number's operator destination; any "
        "other tool is not run, and the call ends.",
    ),
    "declineToolId": (LOSSY, "The tool is not run: who declines hears a goodbye, and it ends."),
}


def _account_compliance(document: Mapping[str, Any], notes: Notes) -> None:
    plan = document.get("compliancePlan")
    if not isinstance(plan, Mapping):
        return
    for key, value in plan.items():
        place = step("$.compliancePlan", key)
        if key in PLAN_SWITCHES and value is True:
            notes.add(place, MAPPED, COMPLIANT)
        elif key == CONSENT_PLAN and isinstance(value, Mapping):
            _account_consent(document, value, place, notes)
        elif value and key not in PLAN_SWITCHES:
            notes.add(
                place,
                UNSUPPORTED,
                "Has no effect. Fix: set the number's call policy, and a redaction rule.",
            )


def _account_consent(
    document: Mapping[str, Any], plan: Mapping[str, Any], place: str, notes: Notes
) -> None:
    found = consent_plan(document)
    if found is None:
        notes.add(
            place,
            UNSUPPORTED,
            "Has no effect: `type` is none of stay-on-line and verbal, or `message` is empty. "
            "Fix: set the number's call policy.",
        )
        return
    notes.add(step(place, "message"), LOSSY, _CONSENT[found.kind])
    for key, (state, words) in _CONSENT_PARTS.items():
        if plan.get(key):
            notes.add(step(place, key), state, words)


def _account_table(
    place: Mapping[str, Any], path: str, table: Mapping[str, tuple[str, str]], notes: Notes
) -> None:
    for key, (state, words) in table.items():
        value = place.get(key)
        if value and value != "off":
            notes.add(step(path, key), state, words)


def _account_cuts(value: Any, path: str, notes: Notes) -> None:
    """Report objects that an export cut off, at most a few: the fix is the same."""
    cuts = list(_cuts(value, path))
    for place in cuts[:5]:
        notes.add(
            place,
            INVALID,
            "The export was cut off here. Fix: export again, with a larger -Depth in PowerShell.",
        )


def _cuts(value: Any, path: str) -> list[str]:
    if isinstance(value, Mapping):
        return [cut for key, child in value.items() for cut in _cuts(child, step(path, key))]
    if isinstance(value, list):
        return [cut for index, child in enumerate(value) for cut in _cuts(child, step(path, index))]
    is_cut = isinstance(value, str) and value.startswith(_CUT) and value.endswith("}")
    return [path] if is_cut else []
