"""Reads the text of PDF files, page by page, within bounds.

Owns what of such a file is looked at. Runs in a process of its own (``apart``): these files are
programs, and whoever wrote one may have meant harm.
"""

from __future__ import annotations

import io
from collections.abc import Iterator
from typing import Final

from pypdf import PdfReader
from pypdf.errors import DependencyError, PyPdfError

from assistants.knowledge.passages import Part
from assistants.knowledge.texts import Unreadable

MOST_PAGES: Final = 2_000
_SCAN: Final = (
    "It has pages but no text, as scans and photographs have. Fix: have its text recognised (OCR) "
    "and upload that."
)
_LOCKED: Final = "It is locked with a password. Fix: save it without one and upload that."
_BROKEN: Final = "It is no PDF that can be read. Fix: open it, save it again and upload that."
# What broken files make of a reader that takes them for whole.
_FAULTS: Final = (
    *(PyPdfError, ValueError, TypeError, KeyError, IndexError, AttributeError, AssertionError),
    *(RecursionError, OverflowError, ZeroDivisionError, NotImplementedError, OSError),
)


def pdf_parts(content: bytes) -> Iterator[Part]:
    """Yield the text of each page; a page that cannot be read is left out.

    Raises:
        Unreadable: no page has text, or the file is locked or broken.
    """
    try:
        reader = PdfReader(io.BytesIO(content), strict=False)
        if reader.is_encrypted and not reader.decrypt(""):
            raise Unreadable(_LOCKED)
        count = len(reader.pages)
    except DependencyError as error:
        raise Unreadable(_LOCKED) from error
    except _FAULTS as error:
        raise Unreadable(_BROKEN) from error
    if count > MOST_PAGES:
        raise Unreadable(f"It has {count:,} pages, and {MOST_PAGES:,} are read. Fix: split it.")
    has_text = has_page = False
    for number in range(count):
        try:
            text = reader.pages[number].extract_text()
        except _FAULTS:
            continue
        has_page = True
        if text.strip():
            has_text = True
            yield Part(text, page=number + 1)
    if not has_text:
        raise Unreadable(_SCAN if has_page else _BROKEN)
