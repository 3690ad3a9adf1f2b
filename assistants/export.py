"""Config as code: objects in, the text of files out that ``import_vapi`` reads back unchanged.

Owns the layout: one JSON file per object in a folder per kind, secrets as references. JSON and not
Markdown with front matter, because only JSON gives every value back as it was, white space in
prompts included. Pure: same objects, same bytes; it must not know rows or disks.
"""

from __future__ import annotations

import hashlib
import json
import re
import unicodedata
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from assistants.references import canonical_id, ids_pointed_at, references_changed
from assistants.secret_references import SECRETS_FILE, secrets_line, with_references
from voiceplatform.base.redaction import redact

# The folder names are those that ``kinds.place_of`` knows.
FOLDERS: Final[Mapping[str, str]] = {
    "assistant": "assistants",
    "tool": "tools",
    "squad": "squads",
    "phone-number": "phone-numbers",
    "structured-output": "structured-outputs",
    "eval": "evals",
    "eval/simulation/personality": "personalities",
    "eval/simulation/scenario": "scenarios",
    "eval/simulation": "simulations",
    "eval/simulation/suite": "simulation-suites",
}
EXPORTED_FROM: Final = "exportedFrom"
EXAMPLE_FILE: Final = f"{SECRETS_FILE}.example"
_EXAMPLE_HEAD: Final = (
    f"# The secrets of these files. Copy this file to {SECRETS_FILE}, fill it and keep it out of\n"
    "# version control. Where a name has no value, an import keeps the secret that is stored.\n"
)
_SLUG_LENGTH: Final = 60


@dataclass(frozen=True, slots=True)
class Item:
    """One object to export; ``document`` has its secrets and no computed fields."""

    kind: str
    object_id: str
    name: str
    created_at: str
    document: Mapping[str, Any] = field(repr=False)

    @property
    def stem(self) -> str:
        """Name of its file without extension: stable while its name is, and never another's."""
        return "-".join(filter(None, (_slug(self.name), self.object_id[:8])))


@dataclass(frozen=True, slots=True)
class Export:
    """Every file by its path below the folder, and the names of the secrets they refer to."""

    files: Mapping[str, str]
    secret_names: tuple[str, ...]


def export(items: Iterable[Item], *, portable: bool = False) -> Export:
    """Return the files of ``items``.

    Args:
        portable: leave out ids and point to files instead, so that the files can be imported as
            new objects into another organisation, even of the same installation.
    """
    items = sorted(items, key=lambda item: (item.kind, item.object_id))
    stems = _stems(items)
    files: dict[str, str] = {}
    example: list[str] = []
    names: list[str] = []
    for item in items:
        stem = stems[item.kind, item.object_id]
        path = f"{FOLDERS[item.kind]}/{stem}.json"
        document: Mapping[str, Any] = item.document
        if portable:
            document = references_changed(
                item.kind,
                document,
                lambda kind, value: stems.get((kind, canonical_id(value)), value),
            )
        prefix = re.sub(r"[^A-Z0-9]+", "_", f"{item.kind.rpartition('/')[2]}_{stem}".upper())
        template, secrets = with_references(document, prefix)
        files[path] = _text(item, template, portable=portable)
        if secrets:
            example.append(f"\n# {path}\n" + "".join(f"{secrets_line(n)}\n" for n in secrets))
            names += secrets
    if names:
        files[EXAMPLE_FILE] = _EXAMPLE_HEAD + "".join(example)
    return Export(files, tuple(names))


def _stems(items: Sequence[Item]) -> dict[tuple[str, str], str]:
    """Return each item's file name; the whole id where eight characters do not tell two apart."""
    stems: dict[tuple[str, str], str] = {}
    taken: set[tuple[str, str]] = set()
    for item in items:
        stem = item.stem
        if (item.kind, stem) in taken:
            stem = item.object_id
        taken.add((item.kind, stem))
        stems[item.kind, item.object_id] = stem
    return stems


def _text(item: Item, template: Mapping[str, Any], *, portable: bool) -> str:
    whole = dict(template)
    if not portable:
        whole = {"id": item.object_id, **whole, "createdAt": item.created_at}
        if item.kind != "phone-number":  # the importer of numbers does not ask for it
            whole[EXPORTED_FROM] = fingerprint(item.document)
    return json.dumps(whole, ensure_ascii=False, indent=2) + "\n"


def fingerprint(document: Mapping[str, Any]) -> str:
    """Return a short digest of a document without its secrets.

    An import compares it with what answers calls: equal, nobody changed it here since the export.
    """
    text = json.dumps(redact(document), sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(text.encode(errors="surrogatepass")).hexdigest()[:16]


def closure(chosen: Iterable[Item], every: Iterable[Item]) -> list[Item]:
    """Return ``chosen`` and all that they point at, directly or through one another."""
    known = {(item.kind, item.object_id): item for item in every}
    found = {(item.kind, item.object_id): item for item in chosen}
    fresh = list(found.values())
    while fresh:
        wanted = ids_pointed_at((item.kind, item.document) for item in fresh)
        keys = {(kind, object_id) for kind, ids in wanted.items() for object_id in ids}
        fresh = [known[key] for key in keys if key in known and key not in found]
        found |= {(item.kind, item.object_id): item for item in fresh}
    return list(found.values())


def _slug(name: str) -> str:
    plain = unicodedata.normalize("NFKD", name).encode("ascii", "ignore").decode()
    return re.sub(r"[^a-z0-9]+", "-", plain.lower())[:_SLUG_LENGTH].strip("-")
