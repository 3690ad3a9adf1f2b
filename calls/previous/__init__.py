"""Asking the stack that had a number before, as Twilio would, and reading its answer: pure."""
