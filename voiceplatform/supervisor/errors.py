"""What keeps an instance from starting.

StartError      one sentence for a person, with the fix; the process exits 1
"""

from __future__ import annotations


class StartError(Exception):
    """The instance cannot start; print the message and exit 1."""
