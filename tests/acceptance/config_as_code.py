"""A client that asks what Vapi's public config-as-code tool asks, in the same order.

The tool is VapiAI/gitops on GitHub (TypeScript, run from a checkout; it is in no package registry,
so it cannot be installed here). Read of it, in November 2026 and as a public index had stored it:
``src/setup.ts``, ``pull.ts``, ``push.ts``, ``audit.ts``, ``drift.ts``, ``snapshot.ts``,
``rollback-cmd.ts``, ``bindings.ts``, ``api.ts``, ``vapi-client.ts``, ``config.ts`` and
``docs/guides/how-it-works.md``; of the longest not the last pages, and not all at one commit.
Taken over are requests, their order and what is kept between them: folders and file names, the
state file, names in the place of ids, the content hash of the last pull, snapshots before each
PATCH. Not taken over: prompts, icons, ignore files, versions, its pause of 0.7 s between requests.
"""

from __future__ import annotations

import hashlib
import json
import re
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
import yaml

Document = dict[str, Any]

ENDPOINTS = {
    "tools": "/tool",
    "structuredOutputs": "/structured-output",
    "assistants": "/assistant",
    "squads": "/squad",
    "personalities": "/eval/simulation/personality",
    "scenarios": "/eval/simulation/scenario",
    "simulations": "/eval/simulation",
    "simulationSuites": "/eval/simulation/suite",
    "evals": "/eval",
}
FOLDERS = {
    **{name: name for name in ENDPOINTS},
    "personalities": "simulations/personalities",
    "scenarios": "simulations/scenarios",
    "simulations": "simulations/tests",
    "simulationSuites": "simulations/suites",
}
# Assistants before structured outputs, which name them.
PULL_ORDER = ("tools", "assistants", *(n for n in ENDPOINTS if n not in ("tools", "assistants")))
PUSH_ORDER = tuple(ENDPOINTS)
COMPUTED = {
    *("id", "orgId", "createdAt", "updatedAt", "analyticsMetadata", "isDeleted"),
    *("isServerUrlSecretSet", "workflowIds"),
}
NEVER_PATCHED = {"tools": {"type"}, "structuredOutputs": {"type"}, "evals": {"type"}}
# Which list or field of a document names objects of which type.
REFERENCES = {
    "toolIds": "tools",
    "structuredOutputIds": "structuredOutputs",
    "assistantIds": "assistants",
    "assistantId": "assistants",
    "personalityId": "personalities",
    "scenarioId": "scenarios",
    "simulationIds": "simulations",
    "structuredOutputId": "structuredOutputs",
    "credentialId": "credentials",
    "credentialIds": "credentials",
}


def slug(name: str) -> str:
    """Return a name as a file name."""
    return re.sub(r"[^a-z0-9]+", "-", name.lower()).strip("-")


def content_hash(document: Document) -> str:
    """Return the hash by which the tool sees whether something changed."""
    kept = {name: value for name, value in document.items() if name not in COMPUTED}
    return hashlib.sha256(json.dumps(kept, sort_keys=True).encode()).hexdigest()


def replaced(node: Any, exchange: Callable[[str, str], str], key: str = "") -> Any:
    """Return a document with every reference given to ``exchange(type, text)``."""
    if isinstance(node, dict):
        return {name: replaced(child, exchange, name) for name, child in node.items()}
    if isinstance(node, list):
        return [replaced(child, exchange, key) for child in node]
    if isinstance(node, str) and key in REFERENCES:
        return exchange(REFERENCES[key], node)
    return node


class Refused(Exception):
    """The server answered neither 2xx nor something to try again."""


@dataclass
class ConfigAsCode:
    """One checkout that manages one organisation."""

    base_url: str
    token: str
    folder: Path
    log: list[tuple[str, str]] = field(default_factory=list)
    http: httpx.Client = field(default_factory=lambda: httpx.Client(timeout=60))

    # State between the commands, as the tool keeps it in files.

    @property
    def state_path(self) -> Path:
        """The committed names and ids."""
        return self.folder / ".vapi-state.org.json"

    def state(self) -> dict[str, dict[str, str]]:
        """Return name to id, by type."""
        empty: dict[str, dict[str, str]] = {name: {} for name in ("credentials", *ENDPOINTS)}
        if self.state_path.exists():
            empty.update(json.loads(self.state_path.read_text()))
        return empty

    def save(self, state: dict[str, dict[str, str]]) -> None:
        """Write the state file, keys sorted."""
        self.state_path.write_text(json.dumps(state, indent=2, sort_keys=True))

    def baseline(self, uuid: str) -> Path:
        """The hash of what the platform had when it was last seen."""
        return self.folder / ".vapi-state-hash" / uuid

    def remember(self, document: Document) -> None:
        """Take a platform document as the one that was last seen."""
        path = self.baseline(document["id"])
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(content_hash(document))

    # HTTP

    def request(self, method: str, path: str, body: Document | None = None) -> Any:
        """Send one request; repeat on 429 and 5xx, as the tool does."""
        headers = {
            "Authorization": f"Bearer {self.token}",
            "User-Agent": "vapi-gitops-push/1.0.0",
        }
        if body is not None:
            headers["Content-Type"] = "application/json"
        for _ in range(6):
            self.log.append((method, path))
            content = None if body is None else json.dumps(body)
            answer = self.http.request(
                method, self.base_url + path, headers=headers, content=content
            )
            if answer.is_success:
                return answer.json()
            if answer.status_code != 429 and answer.status_code < 500:
                break
            time.sleep(2)
        raise Refused(f"{method} {path} -> {answer.status_code}: {answer.text}")

    def listed(self, path: str) -> list[Document]:
        """Return a whole list: pages of 100, backwards by ``createdAt``."""
        found: list[Document] = []
        before = ""
        while True:
            data = self.request("GET", f"{path}?limit=100{before}")
            page = data["results"] if isinstance(data, dict) else data
            found += page
            if len(page) < 100:
                return found
            before = f"&createdAtLt={page[-1]['createdAt']}"

    # Commands

    def setup(self) -> None:
        """``npm run setup``: prove the key, fetch the bindings, then pull."""
        self.request("GET", "/assistant?limit=1")
        self._pull_credentials()
        seen = 0
        for number in range(1, 100):
            page = self.request("GET", f"/v2/phone-number?limit=1000&page={number}")
            seen += len(page["results"])
            if not page["results"] or seen >= page["metadata"]["totalItems"]:
                break
        self.pull()

    def _pull_credentials(self) -> None:
        state = self.state()
        names = {uuid: name for name, uuid in state["credentials"].items()}
        state["credentials"] = {
            names.get(row["id"], slug(row.get("name") or row["provider"])): row["id"]
            for row in self.listed("/credential")
        }
        self.save(state)

    def pull(self) -> None:
        """``npm run pull``: write every object into its file, references by name."""
        self._pull_credentials()
        state = self.state()
        for kind in PULL_ORDER:
            rows = self.listed(ENDPOINTS[kind])
            names = {uuid: name for name, uuid in state[kind].items()}
            state[kind] = {
                names.get(row["id"], f"{slug(name_of(row))}-{row['id'][:8]}"): row["id"]
                for row in rows
            }
            by_id = {uuid: name for name, uuid in state[kind].items()}
            for row in rows:
                self._write(kind, by_id[row["id"]], self._named(row, state))
                self.remember(row)
        self.save(state)

    def _named(self, row: Document, state: dict[str, dict[str, str]]) -> Document:
        names = {
            kind: {uuid: name for name, uuid in section.items()} for kind, section in state.items()
        }
        kept = {name: value for name, value in row.items() if name not in COMPUTED}
        document: Document = replaced(kept, lambda kind, text: names[kind].get(text, text))
        if "assistantIds" in document:
            document["assistant_ids"] = document.pop("assistantIds")
        return document

    def _write(self, kind: str, name: str, document: Document) -> None:
        folder = self.folder / "resources" / "org" / FOLDERS[kind]
        folder.mkdir(parents=True, exist_ok=True)
        model = document.get("model") or {}
        system = [m for m in model.get("messages") or () if m.get("role") == "system"]
        if kind == "assistants" and system and system[0].get("content"):
            others = [m for m in model["messages"] if m.get("role") != "system"]
            model = {key: value for key, value in model.items() if key != "messages"}
            document = {**document, "model": {**model, **({"messages": others} if others else {})}}
            front = yaml.safe_dump(document, sort_keys=True, allow_unicode=True)
            (folder / f"{name}.md").write_text(f"---\n{front}---\n\n{system[0]['content']}\n")
            return
        text = yaml.safe_dump(document, sort_keys=True, allow_unicode=True)
        (folder / f"{name}.yml").write_text(text)

    def local(self, kind: str) -> dict[str, Document]:
        """Return the documents of one folder by name."""
        found = {}
        folder = self.folder / "resources" / "org" / FOLDERS[kind]
        for path in sorted(folder.glob("*.*")):
            text = path.read_text()
            if path.suffix == ".md":
                _, front, prompt = text.split("---\n", 2)
                document = yaml.safe_load(front)
                system = {"role": "system", "content": prompt.strip("\n")}
                model = document.setdefault("model", {})
                model["messages"] = [system, *model.get("messages", ())]
            else:
                document = yaml.safe_load(text)
            found[path.stem] = document
        return found

    def _resolved(self, document: Document, state: dict[str, dict[str, str]]) -> Document:
        named = dict(document)
        if "assistant_ids" in named:
            named["assistantIds"] = named.pop("assistant_ids")
        resolved: Document = replaced(named, lambda kind, text: state[kind].get(text, text))
        return resolved

    def audit(self) -> list[str]:
        """``npm run audit``: what differs between files, state and platform."""
        state = self.state()
        findings = []
        for kind, endpoint in ENDPOINTS.items():
            local = self.local(kind)
            remote = {row["id"]: row for row in self.listed(endpoint)}
            section = state[kind]
            findings += [f"orphan {kind}/{name}" for name in local if name not in section]
            findings += [
                f"ghost {kind}/{name}" for name, uuid in section.items() if uuid not in remote
            ]
            known = set(section.values())
            findings += [f"untracked {kind}/{name_of(remote[i])}" for i in remote if i not in known]
            for name, document in local.items():
                row = remote.get(section.get(name, ""))
                if row is None:
                    continue
                ours = content_hash(self._resolved(document, state))
                seen, theirs = self.baseline(row["id"]).read_text(), content_hash(row)
                if ours != theirs:
                    ahead = "dashboard-ahead" if ours == seen else "local-ahead"
                    both = "both-diverged" if seen not in (ours, theirs) else ahead
                    findings.append(f"{both} {kind}/{name}")
        return findings

    def push(self, *, force: bool = False) -> list[str]:
        """``npm run push``: bring the platform to what the files say; return what was blocked."""
        state = self.state()
        snapshots = self.folder / ".vapi-state.org.snapshots" / str(time.time_ns())
        if force:
            self._delete_orphans(state)
        blocked = []
        for kind in PUSH_ORDER:
            for name, document in self.local(kind).items():
                payload = self._resolved(document, state)
                if name in state[kind]:
                    blocked += self._update(kind, name, state[kind][name], payload, snapshots)
                    continue
                made = self.request("POST", ENDPOINTS[kind], unlinked(kind, payload))
                state[kind][name] = made["id"]
                self.remember(made)
        self._link(state)
        self.save(state)
        return blocked

    def _update(
        self, kind: str, name: str, uuid: str, payload: Document, snapshots: Path
    ) -> Iterator[str]:
        path = f"{ENDPOINTS[kind]}/{uuid}"
        platform = self.request("GET", path)
        if content_hash(platform) != self.baseline(uuid).read_text():
            yield f"{kind}/{name}"
            return
        snapshot = snapshots / kind / f"{name}.json"
        snapshot.parent.mkdir(parents=True, exist_ok=True)
        snapshot.write_text(json.dumps({"outgoing": payload, "platform": platform}))
        unsent = NEVER_PATCHED.get(kind, set())
        body = {key: value for key, value in payload.items() if key not in unsent}
        self.remember(self.request("PATCH", path, body))

    def _link(self, state: dict[str, dict[str, str]]) -> None:
        """Name the assistants once they exist: handoff tools, then structured outputs."""
        for kind, key in (("tools", "destinations"), ("structuredOutputs", "assistantIds")):
            for name, document in self.local(kind).items():
                value = self._resolved(document, state).get(key)
                if value and "assistant" in json.dumps(document):
                    path = f"{ENDPOINTS[kind]}/{state[kind][name]}"
                    self.remember(self.request("PATCH", path, {key: value}))

    def _delete_orphans(self, state: dict[str, dict[str, str]]) -> None:
        for kind in reversed(PUSH_ORDER):
            local = self.local(kind)
            for name, uuid in list(state[kind].items()):
                if name not in local:
                    self.request("DELETE", f"{ENDPOINTS[kind]}/{uuid}")
                    del state[kind][name]

    def snapshots(self) -> list[Path]:
        """``npm run rollback -- --list``, oldest first."""
        return sorted((self.folder / ".vapi-state.org.snapshots").glob("*"))

    def rollback(self, snapshot: Path) -> None:
        """``npm run rollback -- --to``: PATCH what the platform had, computed fields and all."""
        state = self.state()
        for path in sorted(snapshot.glob("*/*.json")):
            kind = path.parent.name
            platform = json.loads(path.read_text())["platform"]
            self.request("PATCH", f"{ENDPOINTS[kind]}/{state[kind][path.stem]}", platform)


def name_of(row: Document) -> str:
    """Return what names an object: its name, or that of a tool's function."""
    return str(row.get("name") or (row.get("function") or {}).get("name") or "resource")


def unlinked(kind: str, payload: Document) -> Document:
    """Return a new object without what cannot exist yet."""
    if kind == "structuredOutputs":
        return {key: value for key, value in payload.items() if key != "assistantIds"}
    if kind == "tools" and "destinations" in payload:
        known = [
            each
            for each in payload["destinations"]
            if "assistantId" not in each or re.fullmatch(r"[0-9a-f-]{36}", each["assistantId"])
        ]
        return {**payload, "destinations": known}
    return payload
