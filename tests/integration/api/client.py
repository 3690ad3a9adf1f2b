"""A REST client for tests: Django's own, with a key of a fresh organisation."""

from __future__ import annotations

import json
from typing import Any

from django.test import Client

from tests import factories


class Rest:
    """A client with one key; calling it sends JSON."""

    def __init__(self, scopes: tuple[str, ...] = ("read", "write")) -> None:
        self.organisation = factories.make_organisation()
        self.key, self.clear = factories.make_api_key(self.organisation, scopes=scopes)

    def __call__(self, method: str, path: str, body: Any = None, raw: bytes = b"") -> Any:
        return Client().generic(
            method,
            path,
            raw or (json.dumps(body) if body is not None else ""),
            content_type="application/json",
            headers={"authorization": f"Bearer {self.clear}"},
        )

    def upload(self, name: str, content: bytes, **fields: str) -> Any:
        """Send a multipart form with a file, as the SDK does."""
        boundary = "boundary-of-a-test"
        parts = [
            f'--{boundary}\r\nContent-Disposition: form-data; name="{key}"\r\n\r\n{value}\r\n'
            for key, value in fields.items()
        ]
        head = (
            f'--{boundary}\r\nContent-Disposition: form-data; name="file"; filename="{name}"\r\n'
            "Content-Type: text/plain\r\n\r\n"
        )
        body = "".join(parts).encode() + head.encode() + content + f"\r\n--{boundary}--".encode()
        return Client().generic(
            "POST",
            "/file",
            body,
            content_type=f"multipart/form-data; boundary={boundary}",
            headers={"authorization": f"Bearer {self.clear}"},
        )
