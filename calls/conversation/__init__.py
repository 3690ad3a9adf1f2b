"""What was said and done in a call, in order: one source, and the forms in which it is shown."""

from calls.conversation.entries import (
    Entry,
    Handover,
    Role,
    Speech,
    ToolUse,
    conversation,
    heard_until,
)

__all__ = ["Entry", "Handover", "Role", "Speech", "ToolUse", "conversation", "heard_until"]
