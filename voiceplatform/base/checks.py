"""System checks of the lowest layer: keys and origins."""

from __future__ import annotations
