"""Python sources of the repository as import facts: who imports whom, where, and how late.

Owns reading and parsing; it must not know any rule (``import_rules`` has them). A tree can be built
from texts too, so that every rule is tried on small bad examples.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path

ROOT = Path(__file__).resolve().parents[3]
PACKAGES = ("voiceplatform", "tools", "assistants", "calls")
_DYNAMIC = frozenset({"import_module", "__import__", "import_string"})


@dataclass(frozen=True, slots=True)
class Import:
    """One imported name: ``target`` is the full dotted path, the imported name included."""

    target: str
    line: int
    late: bool


@dataclass(frozen=True)
class Source:
    """One module and its imports; blocks under ``if TYPE_CHECKING`` do not count."""

    path: str
    text: str

    @cached_property
    def module(self) -> str:
        """Return the dotted name, e.g. ``calls.wire`` for ``calls/wire/__init__.py``."""
        return self.path.removesuffix(".py").removesuffix("/__init__").replace("/", ".")

    @cached_property
    def tree(self) -> ast.Module:
        """Return the parsed module."""
        return ast.parse(self.text, filename=self.path)

    @cached_property
    def imports(self) -> tuple[Import, ...]:
        """Return every import, those inside functions and by constant name included."""
        return tuple(self._imports(self.tree, late=False))

    def _imports(self, node: ast.AST, *, late: bool) -> Iterator[Import]:
        for child in ast.iter_child_nodes(node):
            if isinstance(child, ast.Import):
                for alias in child.names:
                    yield Import(alias.name, child.lineno, late)
            elif isinstance(child, ast.ImportFrom):
                base = self._resolve(child)
                for alias in child.names:
                    yield Import(f"{base}.{alias.name}", child.lineno, late)
            elif isinstance(child, ast.If) and _is_type_checking(child.test):
                for other in child.orelse:
                    yield from self._imports(ast.Module([other], []), late=late)
            else:
                if isinstance(child, ast.Call) and (name := _dynamic_target(child)):
                    yield Import(name, child.lineno, late)
                inner = late or isinstance(child, ast.FunctionDef | ast.AsyncFunctionDef)
                yield from self._imports(child, late=inner)

    def _resolve(self, node: ast.ImportFrom) -> str:
        if not node.level:
            return node.module or ""
        package = self.module.split(".")
        if not self.path.endswith("/__init__.py"):
            package = package[:-1]
        package = package[: len(package) - node.level + 1]
        return ".".join([*package, node.module] if node.module else package)


@dataclass(frozen=True)
class SourceTree:
    """The shipped modules, by dotted name."""

    sources: Mapping[str, Source] = field(default_factory=dict)

    @classmethod
    def of(cls, texts: Mapping[str, str]) -> SourceTree:
        """Build a tree from ``path -> text``."""
        found = (Source(path, text) for path, text in texts.items())
        return cls({source.module: source for source in found})

    @classmethod
    def shipped(cls) -> SourceTree:
        """Read ``manage.py`` and every module of the four packages."""
        paths = [ROOT / "manage.py"]
        for package in PACKAGES:
            paths += sorted((ROOT / package).rglob("*.py"))
        return cls.of({p.relative_to(ROOT).as_posix(): p.read_text("utf-8") for p in paths})

    def owner(self, target: str) -> str | None:
        """Return the module of ours that ``target`` names or lives in, if it is ours."""
        parts = target.split(".")
        for length in range(len(parts), 0, -1):
            name = ".".join(parts[:length])
            if name in self.sources:
                return name
        return None

    def reached(self, module: str) -> Iterator[tuple[tuple[str, ...], Import]]:
        """Yield what importing ``module`` pulls in: (chain of our modules, foreign or own import).

        Late imports count for ``module`` itself only: elsewhere they run only if called.
        """
        seen = {module}
        queue: list[tuple[str, ...]] = [(module,)]
        while queue:
            chain = queue.pop()
            for found in self.sources[chain[-1]].imports:
                if found.late and len(chain) > 1:
                    continue
                yield chain, found
                for name in self._executed(found.target):
                    if name not in seen:
                        seen.add(name)
                        queue.append((*chain, name))

    def _executed(self, target: str) -> Iterator[str]:
        """Yield our modules that importing ``target`` runs: the owner and its packages."""
        parts = (self.owner(target) or "").split(".")
        for length in range(1, len(parts) + 1):
            name = ".".join(parts[:length])
            if name in self.sources:
                yield name


def _is_type_checking(test: ast.expr) -> bool:
    return (isinstance(test, ast.Name) and test.id == "TYPE_CHECKING") or (
        isinstance(test, ast.Attribute) and test.attr == "TYPE_CHECKING"
    )


def _dynamic_target(call: ast.Call) -> str | None:
    function = call.func
    name = function.attr if isinstance(function, ast.Attribute) else getattr(function, "id", "")
    if name in _DYNAMIC and call.args and isinstance(call.args[0], ast.Constant):
        return str(call.args[0].value)
    return None
