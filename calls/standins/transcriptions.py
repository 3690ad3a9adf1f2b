"""OpenAI's transcription of a file at the stand-in: reads the words that `tones` carries in a WAV
file of 16 bits at 8 kHz. What did not arrive bit-exact is not read. It must not open a file.
"""

from __future__ import annotations

import struct
from email import message_from_bytes
from typing import Any, Final

from calls.standins.tones import ToneDecoder, linear, silence

_CODES: Final = {linear(code): code for code in range(256) if code != 0x7F}
_FIELDS: Final = frozenset({"file", "model", "language", "response_format"})
_TAIL_MS: Final = 60


def transcription(body: bytes, content_type: str) -> tuple[int, dict[str, Any]]:
    """Return status and body of the answer to a request."""
    message = message_from_bytes(b"Content-Type: " + content_type.encode() + b"\r\n\r\n" + body)
    if not message.is_multipart():
        return _refused("multipart/form-data is expected.")
    parts: dict[str, bytes] = {}
    for part in message.get_payload():
        name = part.get_param("name", header="content-disposition")  # type: ignore[union-attr]
        content = part.get_payload(decode=True)  # type: ignore[union-attr]
        parts[str(name)] = bytes(content) if isinstance(content, bytes) else b""
    unknown = sorted(set(parts) - _FIELDS)
    if unknown:
        return _refused(f"Unknown parameter: '{unknown[0]}'.")
    if not parts.get("model"):
        return _refused("Missing required parameter: 'model'.")
    mulaw = _mulaw_of_wav(parts.get("file", b""))
    if mulaw is None:
        return _refused("This stand-in reads WAV of one channel, 16 bits, 8 kHz.")
    decoder = ToneDecoder()
    heard = [*decoder.feed(mulaw + silence(_TAIL_MS)), *decoder.flush()]
    return 200, {"text": " ".join(each.text for each in heard)}


def _mulaw_of_wav(data: bytes) -> bytes | None:
    if data[:4] != b"RIFF" or data[8:16] != b"WAVEfmt ":
        return None
    form, channels, rate, _, _, bits = struct.unpack("<HHIIHH", data[20:36])
    at = data.find(b"data", 36)
    if (form, channels, rate, bits) != (1, 1, 8_000, 16) or at < 0:
        return None
    (size,) = struct.unpack("<I", data[at + 4 : at + 8])
    samples = struct.iter_unpack("<h", data[at + 8 : at + 8 + size // 2 * 2])
    return bytes(_CODES.get(sample, 0) for (sample,) in samples)


def _refused(message: str) -> tuple[int, dict[str, Any]]:
    error = {"message": message, "type": "invalid_request_error", "param": None, "code": None}
    return 400, {"error": error}
