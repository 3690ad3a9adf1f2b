"""Why a call failed, in plain words: each thing that went wrong, its cause and its fix.

Reads one call's rows; never what was said. The codes are Twilio's (twilio.md 8.3), the model's
(``model_faults``) and the reasons of ``calls.bridge.reasons``. It must not guess: what is not
recorded is not named.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final

from calls.bridge.reasons import EndCause
from calls.doctor.model_faults import FAULTS, Fault, fault_of
from calls.doctor.refused import fault_of_refusal
from calls.models import Call, OutboxEvent, ToolInvocation
from calls.services.refusals import refusals_for_call

_CODE: Final = re.compile(r"\b\d{5}\b")
_WORD: Final = re.compile(r"[a-z][a-z0-9_]{2,59}").fullmatch


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that was recorded of a call: where, as what, why, and what to do."""

    where: str
    what: str
    cause: str
    fix: str


STREAM_CODES: Final[Mapping[str, Fault]] = {
    "31901": Fault(
        "Twilio could not connect to the media address in time.",
        "Check DNS, firewall, and that port 443 of the public URL reaches a healthy server.",
    ),
    "31902": Fault(
        "Nobody listened at the media address.", "See that the platform runs when calls come in."
    ),
    "31903": Fault(
        "The media connection broke.",
        "Look for a restart, a full memory or a proxy's idle limit at that time.",
    ),
    "31910": Fault(
        "TLS of the media address failed.",
        "Install the whole certificate chain; `manage.py doctor` asks it as Twilio does.",
    ),
    "31920": Fault(
        "The media address refused the WebSocket upgrade.",
        "Let the proxy pass upgrades for /twilio/media/ without redirects; if we refused, "
        "PUBLIC_BASE_URL is not what Twilio was told.",
    ),
    "31921": Fault(
        "We closed the media connection during the call.",
        "Look at this server's log at that time: a crash, a restart or an overload.",
    ),
    "31922": Fault("The media address has a scheme Twilio cannot use.", "PUBLIC_BASE_URL: https."),
    "31923": Fault("The media address is malformed.", "Check PUBLIC_BASE_URL."),
    "31924": Fault(
        "The WebSocket protocol was violated, mostly by a proxy.",
        "Turn off compression and buffering of the proxy for /twilio/media/.",
    ),
    "31930": Fault(
        "Twilio threw away audio because we read too slowly.",
        "The machine was overloaded: lower MAX_CONCURRENT_CALLS or add instances.",
    ),
    "31941": Fault("The stream asked for tracks that cannot be had.", "Report this as a bug."),
    "31950": Fault("Twilio could not decode a message of ours.", "Report this as a bug."),
    "31951": Fault("Twilio found a message of ours invalid.", "Report this as a bug."),
    "11100": Fault("An address that we named is invalid.", "Check PUBLIC_BASE_URL."),
    "11200": Fault(
        "A webhook of ours was slow, down, or refused the request.",
        "Run `manage.py doctor`: it tests the public URL and signatures.",
    ),
    "11205": Fault("Twilio could not connect to our webhook.", "Check DNS, firewall and proxy."),
    "12100": Fault("Our TwiML could not be read.", "Report this as a bug."),
    "12300": Fault(
        "Our webhook answered with another type than TwiML.",
        "A proxy or an error page answered in our place: look at its log.",
    ),
}
_MODEL_CAUSES: Final = {
    EndCause.MODEL_KEY: "invalid_api_key",
    EndCause.MODEL_QUOTA: "insufficient_quota",
    EndCause.MODEL_RATE: "rate_limit_exceeded",
    EndCause.MODEL_SERVER: "server_error",
}
_ENDS: Final[Mapping[str, Fault]] = {
    **{cause.ended_reason: FAULTS[code] for cause, code in _MODEL_CAUSES.items()},
    EndCause.MODEL_FAILED.ended_reason: Fault(
        "The model could not be reached or did not answer, also on a second try.",
        "Press Test connection at the model connection; then look at the provider's status page.",
    ),
    EndCause.CONFIG_REJECTED.ended_reason: Fault(
        "The provider refused the session's settings or the model.",
        "Press Test connection; if that works, `manage.py render_session` of this assistant shows "
        "what is sent.",
    ),
    EndCause.STREAM_LOST.ended_reason: Fault(
        "Twilio's audio connection ended without a hang-up.",
        "Look for a restart, a proxy's idle limit or a network fault at that time.",
    ),
    EndCause.STREAM_NEVER_STARTED.ended_reason: Fault(
        "Twilio got our answer and never opened the audio connection.",
        "Run `manage.py doctor`: its line “media socket” tests the upgrade through your proxy.",
    ),
    EndCause.NO_CALLER_AUDIO.ended_reason: Fault(
        "The audio connection was open and no sound of the caller came.",
        "Mostly the caller's line; if it is frequent, look at the proxy before /twilio/media/.",
    ),
    EndCause.SHUTDOWN.ended_reason: Fault(
        "This server was stopped during the call.",
        "Let it drain: raise DRAIN_SECONDS above your longest calls.",
    ),
    EndCause.CRASHED.ended_reason: Fault(
        "The process that carried the call died.",
        "Look at the server's log and memory at that time.",
    ),
    "twilio-failed-to-connect-call": Fault(
        "Twilio could not connect the call.", "Twilio's debugger shows why, by the call SID."
    ),
    "assistant-not-found": Fault(
        "No assistant is set for the number.", "Choose one on the number's page."
    ),
}
_COUNTERS: Final[Mapping[str, Fault]] = {
    "responses_failed": Fault(
        "Answers of the model failed.", "If it is frequent, look at the provider's status page."
    ),
    "dead_air": Fault(
        "The line was silent for longer than the model may take.",
        "If it is frequent, try another model or region.",
    ),
    "model_losses": Fault(
        "The model's connection broke and was replaced.", "Check the network to the provider."
    ),
    "start_mismatch": Fault(
        "A stream announced another call than it was opened for.",
        "If it comes back, somebody tries addresses: look at the log.",
    ),
    "twilio_malformed": Fault(
        "Messages on the audio connection could not be read.",
        "Look for a proxy that changes WebSocket frames.",
    ),
    "realtime_malformed": Fault(
        "Messages of the model could not be read.", "Check the dialect of the connection."
    ),
}


def explain(call: Call) -> list[Finding]:
    """Return what is recorded of a call's trouble, the most telling first."""
    return [
        *_end(call),
        *_stream_errors(call),
        *_refused(call),
        *_model_errors(call),
        *_counters(call),
        *_tools(call),
        *_deliveries(call),
        *_route(call),
    ]


def _end(call: Call) -> Iterator[Finding]:
    fault = _ENDS.get(call.ended_reason)
    if fault is not None:
        yield Finding("how it ended", call.ended_reason, fault.cause, fault.fix)


def _stream_errors(call: Call) -> Iterator[Finding]:
    told = [*map(str, call.metrics.get("stream_errors", ())), str(call.metrics.get("twilio_error"))]
    for code in dict.fromkeys(code for text in told for code in _CODE.findall(text)):
        fault = STREAM_CODES.get(code)
        yield Finding(
            "Twilio",
            code,
            fault.cause if fault else "Twilio reported this code.",
            fault.fix if fault else f"See twilio.com/docs/api/errors/{code}.",
        )
    for text in call.metrics.get("stream_errors", ()):
        if not _CODE.search(str(text)):
            yield Finding(
                "Twilio",
                str(text)[:200],
                "Twilio reported this of the stream.",
                "See its debugger.",
            )


def _refused(call: Call) -> Iterator[Finding]:
    """Name the requests that were refused of this call, and of its account at that time."""
    told: Counter[tuple[str, str, str]] = Counter()
    for row in refusals_for_call(call)[:50]:
        told[(row.url, row.cause, row.signed_url)] += row.count
    for (url, cause, signed_url), count in told.items():
        fault = fault_of_refusal(cause, signed_url)
        times = f" ({count} times)" if count > 1 else ""
        yield Finding("a refused request", f"{url}{times}", fault.cause, fault.fix)


def _streams(call: Call) -> list[Mapping[str, Any]]:
    return [each for each in call.metrics.get("streams", ()) if isinstance(each, dict)]


def _model_errors(call: Call) -> Iterator[Finding]:
    """Name the codes of the model's last error and close; nothing but a plain code is repeated."""
    codes: list[str] = []
    for stream in _streams(call):
        notes = stream.get("notes") or {}
        error, close = str(notes.get("realtime_error", "")), str(notes.get("realtime_close", ""))
        codes += [error] if _WORD(error) else []
        codes += [f"close_{close}"] if close.isdecimal() else []
        codes += ["timeout"] if close == "never ready" else []
    for code in dict.fromkeys(codes):
        fault = fault_of(code)
        yield Finding("the model", code, fault.cause, fault.fix)


def _counters(call: Call) -> Iterator[Finding]:
    total: Counter[str] = Counter()
    for stream in _streams(call):
        counters = stream.get("counters") or {}
        total.update({name: counters[name] for name in _COUNTERS if counters.get(name)})
    for name, fault in _COUNTERS.items():
        if total[name]:
            yield Finding("during the call", f"{name} {total[name]}", fault.cause, fault.fix)


def _tools(call: Call) -> Iterator[Finding]:
    states = {
        ToolInvocation.State.ERROR: (
            "The tool's server refused or failed.",
            "Look at its log; the call's page shows what it answered.",
        ),
        ToolInvocation.State.TIMEOUT: (
            "The tool's server took too long.",
            "Make it answer sooner, or raise the tool's time limit.",
        ),
        ToolInvocation.State.REFUSED: (
            "The request was not sent.",
            "Look at the tool's address and at the arguments its schema allows.",
        ),
    }
    rows = call.tool_invocations.filter(state__in=states).values_list("name", "state")
    for (name, state), count in sorted(Counter(rows).items()):
        cause, fix = states[ToolInvocation.State(state)]
        yield Finding("a tool", f"{name}: {state} {count}", cause, fix)


def _deliveries(call: Call) -> Iterator[Finding]:
    dead = OutboxEvent.objects.filter(call=call, state=OutboxEvent.State.DEAD)
    for kind in sorted(set(dead.values_list("kind", flat=True))):
        yield Finding(
            "a report",
            kind,
            "It was tried until the end and never taken.",
            "Mend the receiver, then send it again from the outbox.",
        )


def _route(call: Call) -> Iterator[Finding]:
    if call.route_reason:
        yield Finding("who answered", call.route_reason, "This is why the call came here.", "")
