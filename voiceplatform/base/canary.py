"""The sealed row that proves that the configured field keys open what is stored.

Owns writing it once and reading it back. Whoever starts an instance writes it; checks and
readiness only read it.
"""

from __future__ import annotations

from voiceplatform.base.fields import DecryptionError, seal
from voiceplatform.base.models import EncryptionCanary

CLEAR = "voiceplatform canary"


def canary_ensure() -> None:
    """Write the row if it is missing; one that exists is never rewritten, whatever opens it."""
    if not EncryptionCanary.objects.filter(id=1).only("id").exists():
        EncryptionCanary.objects.bulk_create(
            [EncryptionCanary(id=1, token=CLEAR)], ignore_conflicts=True
        )


def canary_opens() -> bool:
    """Tell whether the row opens under the configured keys; a database without one counts as yes.

    Raises:
        ImproperlyConfigured, ValueError: there is no key, or one that is malformed.
        django.db.DatabaseError: the database did not answer.
    """
    seal(b"")  # without a row to open, keys that cannot even seal would go unnoticed
    try:
        tokens = list(EncryptionCanary.objects.filter(id=1).values_list("token", flat=True))
    except DecryptionError:
        return False
    return tokens in ([], [CLEAR])
