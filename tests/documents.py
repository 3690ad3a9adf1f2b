"""Small PDF and Word files for tests, made by hand: what a reader has to find in them is known."""

from __future__ import annotations

import io
import zipfile
from collections.abc import Sequence

_W = "http://schemas.openxmlformats.org/wordprocessingml/2006/main"


def pdf_bytes(pages: Sequence[str]) -> bytes:
    """Return a PDF with these texts (Latin, one line each); '' is a page without any text."""
    objects: list[bytes] = [b"<< /Type /Catalog /Pages 2 0 R >>"]
    kids = " ".join(f"{4 + 2 * number} 0 R" for number in range(len(pages)))
    objects.append(f"<< /Type /Pages /Kids [{kids}] /Count {len(pages)} >>".encode())
    objects.append(b"<< /Type /Font /Subtype /Type1 /BaseFont /Helvetica >>")
    for number, text in enumerate(pages):
        escaped = text.replace("\\", "\\\\").replace("(", "\\(").replace(")", "\\)")
        drawn = f"BT /F1 12 Tf 72 720 Td ({escaped}) Tj ET" if text else "0 0 10 10 re f"
        objects.append(
            f"<< /Type /Page /Parent 2 0 R /MediaBox [0 0 612 792] /Contents {5 + 2 * number} 0 R "
            "/Resources << /Font << /F1 3 0 R >> >> >>".encode()
        )
        stream = drawn.encode("latin-1")
        objects.append(b"<< /Length %d >>\nstream\n%s\nendstream" % (len(stream), stream))
    whole = io.BytesIO(b"%PDF-1.4\n")
    whole.seek(0, io.SEEK_END)
    places = []
    for number, each in enumerate(objects, 1):
        places.append(whole.tell())
        whole.write(b"%d 0 obj\n%s\nendobj\n" % (number, each))
    table = whole.tell()
    whole.write(b"xref\n0 %d\n0000000000 65535 f \n" % (len(objects) + 1))
    for place in places:
        whole.write(b"%010d 00000 n \n" % place)
    whole.write(b"trailer << /Size %d /Root 1 0 R >>\n" % (len(objects) + 1))
    whole.write(b"startxref\n%d\n%%%%EOF\n" % table)
    return whole.getvalue()


def docx_bytes(body: str, *, before: str = "") -> bytes:
    """Return a Word file with this XML in its body; ``before`` stands ahead of the document."""
    document = (
        f'<?xml version="1.0" encoding="UTF-8"?>{before}<w:document xmlns:w="{_W}">'
        f"<w:body>{body}</w:body></w:document>"
    )
    whole = io.BytesIO()
    with zipfile.ZipFile(whole, "w", zipfile.ZIP_DEFLATED) as packed:
        packed.writestr("[Content_Types].xml", "<Types/>")
        packed.writestr("word/document.xml", document)
    return whole.getvalue()


def paragraph(text: str, style: str = "") -> str:
    """Return a paragraph of a Word file."""
    about = f'<w:pPr><w:pStyle w:val="{style}"/></w:pPr>' if style else ""
    return f"<w:p>{about}<w:r><w:t>{text}</w:t></w:r></w:p>"
