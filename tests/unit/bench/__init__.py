"""The bench's judge and its page."""
