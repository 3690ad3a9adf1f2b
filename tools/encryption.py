"""Encrypts values of arguments for their receiver alone: a credential's ``encryptionPlan``.

Owns RSA-OAEP with SHA-256, written as base64, and the form of the plan (vapi.md 2.5, the SDK's
``PublicKeyEncryptionPlan``). Which values those are is ``tools.argument_paths``'s. A value that
cannot be encrypted is not sent at all.
"""

from __future__ import annotations

import base64
import json
from collections.abc import Callable
from typing import Any, Final

from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import padding, rsa
from cryptography.hazmat.primitives.serialization import load_pem_public_key

from tools.loose_json import as_object, as_text

PLAN: Final = "encryptionPlan"
_ALGORITHM: Final = "RSA-OAEP-256"


class KeyUnusable(ValueError):
    """Nothing can be encrypted with this; the text says what to do."""


class TooLong(ValueError):
    """The value has more bytes than the key can take; ``most_bytes`` is what it can."""

    def __init__(self, most_bytes: int) -> None:
        super().__init__(f"more than {most_bytes} bytes")
        self.most_bytes = most_bytes


def read_encryption(document: Any) -> str:
    """Return the public key (PEM) of a credential's ``encryptionPlan``, '' without one.

    Raises:
        KeyUnusable: the plan asks for something else than RSA-OAEP-256.
    """
    plan = as_object(as_object(document).get(PLAN))
    if not plan:
        return ""
    pem = as_text(as_object(plan.get("publicKey")).get("pem"))
    if plan.get("type", "public-key") != "public-key" or not pem:
        raise KeyUnusable("Enter a public key (PEM).")
    if plan.get("algorithm", _ALGORITHM) != _ALGORITHM:
        raise KeyUnusable("Only RSA-OAEP-256 is known.")
    return pem


def encryption_plan(pem: str) -> dict[str, Any]:
    """Return the ``encryptionPlan`` of a key, in Vapi's form."""
    key = {"format": "spki-pem", "pem": pem}
    return {"type": "public-key", "algorithm": _ALGORITHM, "publicKey": key}


def encrypter(pem: str) -> Callable[[Any], str]:
    """Return what encrypts one value; texts as they are, anything else as compact JSON.

    It raises ``TooLong`` for a value that the key cannot take.

    Raises:
        KeyUnusable: the text is no public RSA key.
    """
    try:
        key = load_pem_public_key(pem.strip().encode())
    except (ValueError, UnsupportedAlgorithm):
        raise KeyUnusable("This is no public key (PEM). Enter it again.") from None
    if not isinstance(key, rsa.RSAPublicKey):
        raise KeyUnusable("This is no RSA key. Enter one.")
    scheme = padding.OAEP(padding.MGF1(hashes.SHA256()), hashes.SHA256(), None)
    most_bytes = key.key_size // 8 - 2 * hashes.SHA256.digest_size - 2

    def encrypted(value: Any) -> str:
        is_text = isinstance(value, str)
        text = value if is_text else json.dumps(value, ensure_ascii=False, separators=(",", ":"))
        clear = text.encode("utf-8", "replace")
        if len(clear) > most_bytes:
            raise TooLong(most_bytes)
        return base64.b64encode(key.encrypt(clear, scheme)).decode("ascii")

    return encrypted
