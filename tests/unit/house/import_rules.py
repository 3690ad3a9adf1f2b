"""The import rules of the house (docs/adr/0014-import-layers.md), each a function that yields
findings.

Owns the rules and their lists; reading sources is ``source_tree``. A rule names the file, the line
and what to do instead, and must not excuse anything that the decision does not state.
"""

from __future__ import annotations

import ast
import re
import sys
from collections.abc import Callable, Iterator

from tests.unit.house.source_tree import PACKAGES, Import, Source, SourceTree

Rule = Callable[[SourceTree], Iterator[str]]

PURE = (
    "calls.analysis",
    "calls.bridge",
    "calls.conversation",
    "tools.spec",
    "tools.messages",
    "tools.rejection",
    "tools.handoffs",
    "assistants.overrides",
    "tools.schema",
    "tools.normalise",
    "tools.defaults",
    "tools.knowledge",
    "tools.argument_paths",
    "tools.masking",
    "tools.names",
    "tools.pointers",
    "tools.samples",
    "tools.loose_json",
    "tools.servers",
    "tools.switches",
    "tools.words",
    "assistants.prompt",
    "assistants.translate",
    "assistants.mcp_account",
    "assistants.importing",
    "assistants.knowledge.passages",
    "assistants.knowledge.texts",
    "assistants.knowledge.words",
    "calls.telephony.next_step",
    "calls.numbers.route",
    "calls.numbers.route_problems",
    "calls.numbers.canary",
    "calls.numbers.schedule",
    "calls.numbers.old_stack",
    "calls.numbers.hours",
    "calls.numbers.readiness",
    "calls.numbers.switch",
    "calls.numbers.net_parts",
    "calls.telephony.rest_rules",
    "calls.numbers.entries",
    "calls.numbers.sequential",
    "calls.numbers.guard",
    "calls.numbers.incident",
    "calls.numbers.incident_state",
    "calls.numbers.plan",
    "calls.numbers.plan_hours",
    "calls.numbers.plan_gates",
    "calls.numbers.plan_step",
    "calls.numbers.plan_calendar",
    "calls.numbers.plan_stored",
    "calls.numbers.plan_words",
    "calls.money.rates",
    "calls.money.carrier",
    "calls.events.retry",
    "calls.events.signature",
    "calls.previous",
    "calls.privacy",
    "calls.parity",
)
# A socket or thread of the standard library is no purer than Django. Other people's packages are
# named where they are allowed, below.
IMPURE = (
    *("asyncio", "socket", "ssl", "selectors", "threading", "multiprocessing", "subprocess"),
    *("sqlite3", "concurrent", "http.client", "urllib.request"),
)
PURE_MAY_USE = {
    "calls.parity.forms": ("phonenumbers",),
    "calls.wire.twilio_voice": ("twilio.twiml",),
    "tools.schema": ("jsonschema",),
    "assistants.prompt": ("liquid",),
}
BRIDGE_MAY_USE = (
    *("tools.spec", "tools.messages", "tools.rejection", "tools.handoffs"),
    *("calls.wire", "calls.money.rates", "calls.bridge"),
)
# Same inputs, same outputs: the machine is replayed from a record (docs/adr/0003 and 0016).
BRIDGE_NEVER = ("time", "random", "secrets", "uuid", "logging", "os", "django.conf")
WITHOUT_DJANGO = tuple(
    f"calls.media.{name}" for name in ("driver", "realtime_client", "live", "pool", "recording")
)
LAYERS = ("voiceplatform.base", "tools", "assistants", "calls")
DOORS = {
    "consumer": "consumers",
    "consumers": "consumers",
    "views": "views",
    "api": "REST",
    "admin": "admin",
    "tasks": "tasks",
    "management": "commands",
}
MAY_IMPORT_DOORS = re.compile(r"(^|\.)(routing|urls|celery)$")
POKE = ("calls.events.outbox", "calls.tasks")
WRITES = frozenset(
    name
    for verb in ("create", "update", "delete", "get_or_create", "update_or_create")
    for name in (verb, f"a{verb}", f"bulk_{verb}", f"abulk_{verb}")
)
SETTINGS_READERS = ("voiceplatform.settings", "voiceplatform.env")
# Where a process begins: these name the settings module for Django and read nothing.
ENTRY_POINTS = re.compile(
    r"manage|voiceplatform\.(asgi\w*|celery|serving|watching|(supervisor|demo)(\.\w+)*)"
)
# These start children and hand them an environment; they read none.
PARENTS_OF_PROCESSES = ("voiceplatform.supervisor", "voiceplatform.demo")
SUPERVISOR_MAY_USE = frozenset(
    {"child_environment", "run_dir", "set_settings_module", "tell_library", "EnvError"}
)
FAKE = re.compile(r"^_*(Fake|Stub|Mock|Dummy)")


def is_in(name: str, *prefixes: str) -> bool:
    """Tell whether a dotted name is one of ``prefixes`` or lives inside one."""
    return any(name == prefix or name.startswith(prefix + ".") for prefix in prefixes)


def is_pure(module: str) -> bool:
    """Tell whether rule 1 holds a module."""
    return wire_subject(module) is not None or is_in(module, *PURE)


def wire_subject(module: str) -> str | None:
    """Return ``app.wire.subject`` of a module inside a wire package, else None."""
    parts = module.split(".")
    if len(parts) >= 3 and parts[1] == "wire":
        return ".".join(parts[:3])
    return None


def door(module: str) -> str | None:
    """Return the kind of door a module is, else None. Migrations and the like are none."""
    return next((DOORS[part] for part in module.split(".")[1:] if part in DOORS), None)


def rule_1_pure(tree: SourceTree) -> Iterator[str]:
    """Pure modules reach no framework, socket, thread or third-party package, even indirectly."""
    for module, source in tree.sources.items():
        if not is_pure(module):
            continue
        for chain, found in tree.reached(module):
            if is_in(found.target, *IMPURE) or _is_foreign(chain[-1], found.target):
                way = " -> ".join((*chain, found.target))
                yield f"{source.path}: pure code reaches {way}; pass the value in instead"


def rule_2_wire_and_bridge(tree: SourceTree) -> Iterator[str]:
    """Wire modules never import each other; the bridge sees only its own few neighbours."""
    for module, source in tree.sources.items():
        subject = wire_subject(module)
        for found in source.imports:
            other = wire_subject(found.target) if tree.owner(found.target) else None
            if subject and other and other != subject:
                yield _say(source, found, f"{subject} imports {other}; one format, one module")
            if not is_in(module, "calls.bridge"):
                continue
            ours = tree.owner(found.target) is not None
            if ours and not is_in(found.target, *BRIDGE_MAY_USE):
                yield _say(source, found, f"the bridge may not import {found.target}")
            if is_in(found.target, *BRIDGE_NEVER):
                yield _say(source, found, f"the bridge may not use {found.target}: no replay")


def rule_3_layers(tree: SourceTree) -> Iterator[str]:
    """Imports point down: base, tools, assistants, calls; the wiring is imported by nobody."""
    for module, source in tree.sources.items():
        layer = _layer(module)
        if layer is None:
            continue
        for found in source.imports:
            if tree.owner(found.target) is None:
                continue
            other = _layer(found.target)
            if other is None:
                yield _say(source, found, f"{module} imports the wiring ({found.target})")
            elif LAYERS.index(other) > LAYERS.index(layer):
                yield _say(source, found, f"{layer} imports {other}, a layer above it")
            elif is_in(module, "calls.standins") and not is_in(found.target, "calls.standins"):
                yield _say(source, found, f"a stand-in imports {found.target}; it is a peer")


def rule_4_models(tree: SourceTree) -> Iterator[str]:
    """Models know no services, tasks, wire or HTTP, and nobody hangs business on signals."""
    for module, source in tree.sources.items():
        parts = module.split(".")
        for found in source.imports:
            inside = found.target.split(".")
            ours = tree.owner(found.target) is not None
            if "models" in parts[1:]:
                upward = {"services", "tasks", "wire", "api", "admin", "views"} & set(inside)
                http = is_in(found.target, "httpx", "requests", "urllib.request", "http.client")
                http = http or is_in(found.target, "voiceplatform.base.http")
                if http or (ours and upward):
                    yield _say(source, found, f"a model imports {found.target}; services call it")
            if is_in(found.target, "django.db.models.signals") and parts[-1] != "apps":
                yield _say(source, found, "business flow by signal; call a service")


def rule_5_doors(tree: SourceTree) -> Iterator[str]:
    """Doors do not import other kinds of doors, nobody else imports them, and none writes rows.

    One kind may share a base class within itself (an admin mixin of a lower layer). The one late
    import is the outbox poke, which fetches its task inside the function.
    """
    for module, source in tree.sources.items():
        kind = door(module)
        for found in source.imports:
            owner = tree.owner(found.target)
            other = door(owner) if owner else None
            if other is None or other == kind:
                continue
            if kind is None and MAY_IMPORT_DOORS.search(module):
                continue
            if found.late and module == POKE[0] and is_in(found.target, POKE[1]):
                continue
            yield _say(source, found, f"{module} imports a door ({found.target}); call a service")
        if kind is not None and "migrations" not in module:
            yield from _writes(source)


def rule_6_media_without_django(tree: SourceTree) -> Iterator[str]:
    """The asyncio shell of a call reaches neither Django nor what stands on it."""
    for module in WITHOUT_DJANGO:
        for name, source in tree.sources.items():
            if not is_in(name, module):
                continue
            for chain, found in tree.reached(name):
                if is_in(found.target, "django", "channels", "rest_framework", "celery"):
                    way = " -> ".join((*chain, found.target))
                    yield f"{source.path}: {way}; hand it in through a port"


def rule_7_environment(tree: SourceTree) -> Iterator[str]:
    """Only ``env`` reads the environment and only ``settings`` calls it."""
    for module, source in tree.sources.items():
        if module != "voiceplatform.env":
            yield from _environment(source)
        for found in source.imports:
            target = tree.owner(found.target)
            if target != "voiceplatform.env" or module in SETTINGS_READERS:
                continue
            if not is_in(module, *PARENTS_OF_PROCESSES):
                yield _say(source, found, f"{module} imports env; read django.conf.settings")
        if is_in(module, *PARENTS_OF_PROCESSES):
            yield from _env_calls(source)


def rule_7_fakes_and_httpx(tree: SourceTree) -> Iterator[str]:
    """Fakes live in stand-ins and tests; only ``voiceplatform.base.http`` imports httpx."""
    for module, source in tree.sources.items():
        for found in source.imports:
            if is_in(found.target, "httpx") and module != "voiceplatform.base.http":
                yield _say(source, found, "imports httpx; use voiceplatform.base.http")
            if is_in(found.target, "unittest.mock"):
                yield _say(source, found, "a mock in shipped code")
        if is_in(module, "calls.standins"):
            continue
        for node in ast.walk(source.tree):
            if isinstance(node, ast.ClassDef) and FAKE.match(node.name):
                yield f"{source.path}:{node.lineno}: {node.name} belongs in calls/standins or tests"


RULES: tuple[Rule, ...] = (
    rule_1_pure,
    rule_2_wire_and_bridge,
    rule_3_layers,
    rule_4_models,
    rule_5_doors,
    rule_6_media_without_django,
    rule_7_environment,
    rule_7_fakes_and_httpx,
)


def _say(source: Source, found: Import, text: str) -> str:
    return f"{source.path}:{found.line}: {text}"


def _is_foreign(module: str, target: str) -> bool:
    """Tell whether ``target`` is another party's package that ``module`` may not use."""
    own_or_standard = target.split(".")[0] in (*sys.stdlib_module_names, *PACKAGES)
    return not own_or_standard and not is_in(target, *PURE_MAY_USE.get(module, ()))


def _layer(name: str) -> str | None:
    return next((layer for layer in LAYERS if is_in(name, layer)), None)


def _writes(source: Source) -> Iterator[str]:
    for node in ast.walk(source.tree):
        if not isinstance(node, ast.Call) or not isinstance(node.func, ast.Attribute):
            continue
        if node.func.attr not in WRITES:
            continue
        link: ast.expr = node.func.value
        while isinstance(link, ast.Attribute | ast.Call):
            if isinstance(link, ast.Attribute) and link.attr == "objects":
                yield f"{source.path}:{node.lineno}: a door writes rows; call a service"
                break
            link = link.func if isinstance(link, ast.Call) else link.value


def _environment(source: Source) -> Iterator[str]:
    names = {"environ", "environb", "getenv", "getenvb", "putenv", "unsetenv"}
    if not any(name in source.text for name in names):
        return  # to walk through a tree takes a hundred times as long
    allowed: set[ast.AST] = set()
    for node in ast.walk(source.tree):
        if (
            isinstance(node, ast.Call)
            and ast.unparse(node.func) == "os.environ.setdefault"
            and isinstance(node.args[0], ast.Constant)
            and node.args[0].value == "DJANGO_SETTINGS_MODULE"
            and ENTRY_POINTS.fullmatch(source.module)
        ):
            allowed.update(ast.walk(node))
    for node in ast.walk(source.tree):
        if isinstance(node, ast.Attribute) and node.attr in names and node not in allowed:
            if isinstance(node.value, ast.Name) and node.value.id == "os":
                yield f"{source.path}:{node.lineno}: os.{node.attr}; only env.py reads it"
        elif isinstance(node, ast.ImportFrom) and node.module == "os":
            for alias in node.names:
                if alias.name in names:
                    yield f"{source.path}:{node.lineno}: os.{alias.name}; only env.py reads it"


def _env_calls(source: Source) -> Iterator[str]:
    if "env" not in source.text:
        return
    for node in ast.walk(source.tree):
        if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name):
            if node.value.id == "env" and node.attr not in SUPERVISOR_MAY_USE:
                yield f"{source.path}:{node.lineno}: env.{node.attr}; read settings instead"
        elif isinstance(node, ast.ImportFrom) and node.module == "voiceplatform.env":
            for alias in node.names:
                if alias.name not in SUPERVISOR_MAY_USE:
                    yield f"{source.path}:{node.lineno}: env.{alias.name}; read settings instead"
