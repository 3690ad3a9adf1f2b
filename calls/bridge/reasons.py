"""Why a call ended, in Vapi's words, by one table (vapi.md 6.4)."""

from __future__ import annotations

from enum import Enum


class EndCause(Enum):
    """What happened, with the ``endedReason`` that Vapi's clients know."""

    CALLER_HUNG_UP = "customer-ended-call"
    ASSISTANT_ENDED = "assistant-ended-call"
    ASSISTANT_SAID_GOODBYE = "assistant-ended-call-after-message-spoken"
    SAID_END_PHRASE = "assistant-said-end-call-phrase"
    TRANSFERRED = "assistant-forwarded-call"
    OPERATOR_ENDED = "manually-canceled"
    MAX_DURATION = "exceeded-max-duration"
    SILENCE = "silence-timed-out"
    # Vapi has no word for a spend or tool ceiling; the metrics say which one it was.
    CEILING = "assistant-ended-call-with-hangup-task"
    STREAM_LOST = "phone-call-provider-closed-websocket"
    STREAM_NEVER_STARTED = "call.in-progress.error-providerfault-transport-never-connected"
    NO_CALLER_AUDIO = "call.in-progress.error-assistant-did-not-receive-customer-audio"
    SHUTDOWN = "worker-shutdown"
    CRASHED = "call.in-progress.error-vapifault-worker-died"
    MODEL_KEY = "pipeline-error-openai-401-incorrect-api-key"
    MODEL_QUOTA = "pipeline-error-openai-429-exceeded-quota"
    MODEL_RATE = "pipeline-error-openai-429-rate-limit-reached"
    MODEL_SERVER = "pipeline-error-openai-500-server-error"
    MODEL_FAILED = "pipeline-error-openai-llm-failed"
    CONFIG_REJECTED = "assistant-not-valid"

    @property
    def ended_reason(self) -> str:
        """Vapi's word."""
        return self.value


_BY_ERROR_CODE = {
    "invalid_api_key": EndCause.MODEL_KEY,
    "account_deactivated": EndCause.MODEL_KEY,
    "insufficient_quota": EndCause.MODEL_QUOTA,
    "billing_hard_limit_reached": EndCause.MODEL_QUOTA,
    "rate_limit_exceeded": EndCause.MODEL_RATE,
    "inference_rate_limit_exceeded": EndCause.MODEL_RATE,
    "server_error": EndCause.MODEL_SERVER,
    "model_not_found": EndCause.CONFIG_REJECTED,
    "invalid_model": EndCause.CONFIG_REJECTED,
    "missing_model": EndCause.CONFIG_REJECTED,
    "beta_api_shape_disabled": EndCause.CONFIG_REJECTED,
}
# These never heal by retry (openai_realtime.md 7.1).
FATAL_CODES = frozenset(
    {
        "invalid_api_key",
        "account_deactivated",
        "insufficient_quota",
        "billing_hard_limit_reached",
        "model_not_found",
        "invalid_model",
        "missing_model",
        "beta_api_shape_disabled",
    }
)
# The server's own trouble; a close follows, or nothing.
TRANSIENT_CODES = frozenset(
    {
        "server_error",
        "rate_limit_exceeded",
        "inference_rate_limit_exceeded",
        "session_expired",
    }
)
# Two sides raced; the session is unaffected (7.1).
BENIGN_CODES = frozenset(
    {
        "response_cancel_not_active",
        "item_truncate_invalid_item_id",
        "item_retrieve_invalid_item_id",
        "item_delete_invalid_item_id",
        "unsupported_content_type",
        "input_audio_buffer_commit_empty",
        "invalid_tool_call_id",
    }
)


def cause_of_error(code: str) -> EndCause:
    """Return the cause for an error code of the model's API; unknown codes are MODEL_FAILED."""
    return _BY_ERROR_CODE.get(code, EndCause.MODEL_FAILED)
