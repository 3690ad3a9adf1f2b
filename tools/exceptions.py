"""Errors of the tools layer.

ToolError
├── ToolInUse        detach the tool from the assistants it names, then delete it
└── ToolTypeIsFixed  make a new tool; the type of an old one never changes
"""

from __future__ import annotations


class ToolError(Exception):
    """Base of this layer's errors."""


class ToolInUse(ToolError):
    """An assistant still uses the tool."""


class ToolTypeIsFixed(ToolError):
    """A change tried to give the tool another type."""
