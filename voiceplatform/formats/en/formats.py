"""How dates and times read in the admin: 24 hours, no ambiguity of month and day, with the zone."""

from __future__ import annotations

DATETIME_FORMAT = "j M Y, H:i:s e"
DATE_FORMAT = "j M Y"
TIME_FORMAT = "H:i:s"
SHORT_DATETIME_FORMAT = "Y-m-d H:i e"
SHORT_DATE_FORMAT = "Y-m-d"
