"""A fork for a call that the old stack has answered, while Twilio waits for that answer.

Owns the time it may take and that it fails open: whatever goes wrong here, Twilio is given the old
stack's answer as it came.
"""

from __future__ import annotations

import asyncio
from typing import Final

import structlog
from django.core.exceptions import ObjectDoesNotExist
from django.db import DatabaseError

from calls.media import live
from calls.media.database import in_database
from calls.media.pool import pool
from calls.media.reach import reach
from calls.models import Call
from calls.previous.answers import Answer
from calls.services.shadow_offers import shadow_offered
from voiceplatform.base.fields import DecryptionError

# The caller hears it ring so much longer at most.
PATIENCE_SECONDS: Final = 0.25
# A defect of ours, or a row that is not as it should be: no reason to lose a caller.
_DEFECTS: Final = (
    *(ArithmeticError, AssertionError, AttributeError, LookupError, OSError),
    *(RuntimeError, TypeError, ValueError),
)

log = structlog.get_logger(__name__)


async def heard_along(call: Call, answer: Answer) -> Answer:
    """Return the old stack's answer, with a fork before its first verb where one is to be."""
    try:
        async with asyncio.timeout(PATIENCE_SECONDS):
            return await in_database(
                shadow_offered,
                str(call.pk),
                answer,
                live_calls=live.active_count() + len(pool),
                is_lost=reach.is_lost,
            )
    except (DatabaseError, DecryptionError, ObjectDoesNotExist, *_DEFECTS) as error:
        log.warning("shadow_not_offered", call_id=str(call.pk), error=type(error).__name__)
        return answer
