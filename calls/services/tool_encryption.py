"""Arguments that leave encrypted, as a tool and its credential ask for it (vapi.md 2.5).

Owns when that applies. What cannot be encrypted is not sent: neither without its key nor in clear.
Without a credential, or with one that has no key, nothing is encrypted, as at Vapi.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from django.core.exceptions import ValidationError

from calls.services.tool_servers import encryption_key
from tools.argument_paths import changed_at, encrypted_paths
from tools.dispatch import ArgumentsRefused
from tools.encryption import KeyUnusable, TooLong, encrypter
from tools.models import Tool
from tools.wire.vapi_tool import read_tool


def sealed_arguments(
    tool: Tool, document: Mapping[str, Any], arguments: Mapping[str, Any]
) -> dict[str, Any]:
    """Return ``arguments`` with what is to be encrypted encrypted.

    Raises:
        ArgumentsRefused: a value is longer than the key can take.
        ValidationError: the key is not here, or is of no use.
    """
    paths = encrypted_paths(document)
    credential_id = read_tool(document).credential_id
    if not paths or not credential_id:
        return dict(arguments)
    assert tool.organisation_id is not None, "a column that is never null"
    try:
        pem = encryption_key(tool.organisation_id, credential_id)
        if pem is None:
            raise ValidationError("the credential that arguments are encrypted with is not here")
        if not pem:
            return dict(arguments)
        sealed: dict[str, Any] = changed_at(dict(arguments), paths, encrypter(pem))
    except KeyUnusable as error:
        raise ValidationError(f"arguments cannot be encrypted: {error}") from None
    except TooLong as error:
        raise ArgumentsRefused(
            f"The tool was not called: a value is too long to be encrypted (at most "
            f"{error.most_bytes} bytes). Correct this and call it again."
        ) from None
    return sealed
