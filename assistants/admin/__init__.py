"""Admin of assistants, their revisions and imports; importing it registers every page."""

from __future__ import annotations

from assistants.admin import assistants, files, import_sides, imports, resources, revisions

__all__ = ["assistants", "files", "import_sides", "imports", "resources", "revisions"]
