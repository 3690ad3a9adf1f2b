"""System checks of the calls layer."""

from __future__ import annotations
