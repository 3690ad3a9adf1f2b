"""How one Realtime stand-in behaves: dialect, pace, and every failure of openai_realtime.md 1.5 and
7 as one field. It owns options only; no behaviour lives here.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

Dialect = Literal["ga", "azure_ga", "beta"]
Mutant = Literal["drop_frame", "swap_frames", "alter_byte", "undeclared_key"]
# Points of a session, each the server event that has just been sent; `ms` is the session's age.
LosePoint = Literal[
    "ms",
    "speech_started",
    "committed",
    "transcribed",
    "response_created",
    "audio",
    "tool_called",
    "response_done",
    "output_added",
]
LOSE_EVENTS: dict[str, str] = {
    "input_audio_buffer.speech_started": "speech_started",
    "input_audio_buffer.committed": "committed",
    "conversation.item.input_audio_transcription.completed": "transcribed",
    "response.created": "response_created",
    "response.output_audio.delta": "audio",
    "response.function_call_arguments.done": "tool_called",
    "response.done": "response_done",
    "conversation.item.added": "output_added",  # of a function call's output only
}

ClientEvent = Literal[
    "session.update",
    "input_audio_buffer.append",
    "input_audio_buffer.commit",
    "input_audio_buffer.clear",
    "conversation.item.create",
    "conversation.item.retrieve",
    "conversation.item.truncate",
    "conversation.item.delete",
    "response.create",
    "response.cancel",
]

REALTIME_MODELS: dict[str, str | None] = {  # model -> shutdown date, openai_realtime.md 9.1
    "gpt-realtime-2.1": None,
    "gpt-realtime-2.1-mini": None,
    "gpt-realtime-2": None,
    "gpt-realtime-1.5": None,
    "gpt-realtime": "2027-01-20",
    "gpt-realtime-mini": "2027-01-20",
}


@dataclass(frozen=True, slots=True)
class RealtimeProfile:
    """Options of one connection. Times are ms; the defaults describe a healthy GA server."""

    dialect: Dialect = "ga"
    api_keys: tuple[str, ...] = ()  # empty: any key but "sk-invalid"
    models: tuple[str, ...] = tuple(REALTIME_MODELS)
    seed: int = 1  # delta sizes and padding; same seed, same bytes
    # Audio is generated this many times faster than it plays.
    burst_factor: float = field(default=5.0, metadata={"least": 0.1})
    think_ms: int = 150  # response.created to the first output
    vad_onset_ms: int = 40  # voiced audio that counts as speech
    transcription_delay_ms: int = 400  # after committed, so mostly after response.created
    rate_limits_delay_ms: int = 40  # after response.done (openai_realtime.md 4)
    tokens_remaining: int = 39_000  # what rate_limits.updated says is left
    tokens_reset_seconds: float = 1.5
    max_session_ms: int = 3_600_000
    created_delay_ms: int = 0
    updated_delay_ms: int = 0
    obfuscation: bool = True
    call_undeclared_tools: bool = False  # a model that invents tool names
    mcp_lists: Literal["given", "failed", "never"] = "given"  # what MCP servers do when asked
    mcp_list_ms: int = 120
    mcp_call_ms: int = 600
    mcp_inside: bool = False  # the call runs within its response, not behind it (4.5)
    mcp_follows_up: bool = False  # the server then makes the next response by itself

    upgrade_delay_ms: int = 0  # over sockets: before the upgrade is answered
    upgrade_status: int | None = None  # 401, 403, 404, 429 or 500 instead of 101
    connect_error: str | None = None  # `error` with this code and a close after the upgrade (1.5)
    never_created: bool = False
    never_updated: bool = False
    reject_update: bool = False
    refuse_event: ClientEvent | None = None  # answered by an `error` instead of being obeyed
    refuse_code: str = "invalid_value"
    refuse_after: int = 0  # so many of them are obeyed first
    refuse_times: int | None = 1  # None is for ever
    error_code: str | None = None  # an `error` that belongs to no event of the client, once
    error_at: LosePoint = "response_created"
    error_after: int = 0  # more of them, or ms
    error_close: int | None = None  # the close behind it; None: the session goes on
    stall_after_commit: bool = False
    stall_after_created: bool = False
    stall_mid_response: bool = False  # after the second audio delta
    fail_response: Literal["server_error", "rate_limit", "inference_rate_limit", "quota"] | None = (
        None
    )
    retry_in_ms: int = 0  # how long a rate limit's message asks to wait; 0: it does not say
    status_details: Literal["object", "text", "missing"] = "object"  # old servers (7.2)
    incomplete: Literal["max_output_tokens", "content_filter"] | None = None
    text_only: bool = False  # text instead of audio, whatever the session asks for (trap 30)
    close_mid_response: int | None = None  # 1006 or 1011, after the second audio delta
    lose_at: LosePoint | None = None  # after `lose_after` more of them, or ms
    lose_after: int = 0
    lose_code: int = 1006  # 1006 is a reset; 1001 sends session_expired first (1.4); else a close
    junk: Literal["json", "unknown_event", "binary"] | None = None  # once, after session.updated
    late_deltas_after_cancel: int = 0
    done_without_created: bool = False
    counts_ms_less: int = 0  # a truncate may not go so close to the end of the audio (5.2)
    transcription_fails: bool = False
    first_faulty_response: int = 0  # response failures begin with this response, counted from 0
    faulty_responses: int | None = None  # and hold for so many; None is for ever
    mutant: Mutant | None = None  # a defect that a suite must notice

    def is_faulty(self, index: int) -> bool:
        """Tell whether the response failures above hold for response number `index`."""
        last = self.faulty_responses
        first = self.first_faulty_response
        return index >= first and (last is None or index < first + last)
