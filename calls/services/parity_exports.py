"""The report of a run as files: JSON for programs, CSV for a spreadsheet, JUnit for a build.

Owns these forms. What a report says is ``parity_reports``'. Arguments and words are in it only if
it was read with them.
"""

from __future__ import annotations

import csv
import io
import json
from collections import defaultdict
from typing import Any
from xml.etree import ElementTree as ET

from calls.models import ParityRun
from calls.services.parity_reports import CellLine, PairLine, Report


def report_json(report: Report) -> dict[str, Any]:
    """Return a report for programs; with arguments and words if it was read with them."""
    run = report.run
    return {
        "version": 1,
        "run": {
            "id": str(run.pk),
            "kind": run.kind,
            "state": run.state,
            "assistant": str(run.assistant_id),
            "revision": run.revision.number,
            "number": run.number.number_e164 if run.number is not None else None,
            "model": run.model,
            "seed": run.seed,
            "pairs_wanted": run.wanted,
            "pairs_done": run.done,
            "created_at": run.created_at.isoformat(),
            "finished_at": run.finished_at.isoformat() if run.finished_at else None,
            "cost_usd": str(run.cost_usd),
            "problem": run.problem,
        },
        "verdict": report.verdict,
        "says": report.says,
        "more_pairs": report.more,
        "withheld": report.withheld,
        "missing": report.missing,
        "unplayed": report.unplayed,
        "tries": [
            {
                "id": str(each.run_id),
                "created_at": each.created_at.isoformat(),
                "kind": each.kind,
                "ended": each.words,
            }
            for each in report.tries
        ],
        "notes": list(report.notes),
        "gates": [
            {
                "name": gate.name,
                "state": gate.state,
                "k": gate.k,
                "n": gate.n,
                "share": round(gate.share, 6),
                "lower": round(gate.lower, 6),
                "upper": round(gate.upper, 6),
                "limit": gate.limit,
                "more": gate.more,
                "words": gate.words,
            }
            for gate in report.gates
        ],
        "sides": [
            {
                "name": side.name,
                "calls": side.calls,
                "first_word_p50_ms": side.first_word_p50_ms,
                "first_word_p95_ms": side.first_word_p95_ms,
                "turn_p50_ms": side.turn_p50_ms,
                "turn_p95_ms": side.turn_p95_ms,
                "cost_usd": str(side.cost_usd),
            }
            for side in report.sides
        ],
        "pairs": [
            {
                "number": line.number,
                "scenario": line.scenario,
                "index": line.index,
                "state": line.state,
                "words": line.words,
                "cut": line.is_cut,
                "outcome": list(line.facts),
                "rows": [
                    {
                        "kind": row.kind,
                        "old": _cell_json(row.old),
                        "new": _cell_json(row.new),
                        "words": list(row.words),
                    }
                    for row in line.rows
                ],
                "problems": list(line.problems),
            }
            for line in report.pairs
        ],
    }


def _cell_json(cell: CellLine | None) -> dict[str, str] | None:
    if cell is None:
        return None
    return {"name": cell.name, "arguments": cell.arguments, "outcome": cell.outcome}


def report_csv(report: Report) -> str:
    """Return one line a pair, for a spreadsheet."""
    out = io.StringIO()
    writer = csv.writer(out)
    writer.writerow(
        ["pair", "scenario", "repetition", "state", "difference", "old tools", "new tools", "cut"]
    )
    for line in report.pairs:
        old = " > ".join(row.old.name for row in line.rows if row.old is not None)
        new = " > ".join(row.new.name for row in line.rows if row.new is not None)
        cells = [line.scenario, line.index, line.state, line.words, old, new]
        writer.writerow([line.number, *map(_plain, cells), "yes" if line.is_cut else ""])
    return out.getvalue()


def _plain(value: Any) -> Any:
    """Return a text that no spreadsheet takes for a formula."""
    text = str(value)
    return f"'{text}" if text[:1] in "=+-@\t\r" else value


def report_junit(report: Report, *, allows_undecided: bool = False) -> str:
    """Return a report as JUnit's XML: a case for each scenario, and one for each gate.

    A case of a scenario fails when one of its pairs differs and the gate has failed; while the
    gate holds, what differs is in its output. Undecided is a failure unless it is allowed.
    """
    run = report.run
    suites = ET.Element("testsuites", name="parity")
    gates = [_gate_case(gate, allows_undecided) for gate in report.gates if gate.applies]
    if report.withheld:
        gates.append(_withheld_case(report.withheld, allows_undecided))
    by_scenario: dict[str, list[PairLine]] = defaultdict(list)
    for line in report.pairs:
        by_scenario[line.scenario].append(line)
    failed = report.verdict == "fail"
    # What a run that was decided early did not play is no error; what one that broke off left is.
    broken = {"missing"} if run.state == ParityRun.State.DONE else {"missing", "unplayed"}
    scenarios = [_scenario_case(name, lines, failed, broken) for name, lines in by_scenario.items()]
    for name, cases in (("gates", gates), ("scenarios", scenarios)):
        suite = ET.SubElement(
            suites,
            "testsuite",
            name=f"parity.{name}",
            tests=str(len(cases)),
            failures=str(sum(case.find("failure") is not None for case in cases)),
            errors=str(sum(case.find("error") is not None for case in cases)),
            skipped="0",
            time="0",
            timestamp=f"{(run.begun_at or run.created_at):%Y-%m-%dT%H:%M:%S}",
            hostname="parity",
        )
        suite.extend(cases)
    for key in ("tests", "failures", "errors"):
        suites.set(key, str(sum(int(suite.get(key, "0")) for suite in suites)))
    return ET.tostring(suites, encoding="unicode", xml_declaration=True)


def _gate_case(gate: Any, allows_undecided: bool) -> ET.Element:
    case = ET.Element("testcase", classname="parity.gates", name=gate.title, time="0")
    if gate.state == "fail" or (gate.state == "undecided" and not allows_undecided):
        ET.SubElement(case, "failure", type=gate.state, message=_xml(gate.words))
    else:
        ET.SubElement(case, "system-out").text = _xml(gate.words)
    return case


def _withheld_case(words: str, allows_undecided: bool) -> ET.Element:
    case = ET.Element("testcase", classname="parity.gates", name="Pairs that are there", time="0")
    if allows_undecided:
        ET.SubElement(case, "system-out").text = _xml(words)
    else:
        ET.SubElement(case, "failure", type="undecided", message=_xml(words))
    return case


def _scenario_case(name: str, lines: list[PairLine], failed: bool, broken: set[str]) -> ET.Element:
    case = ET.Element("testcase", classname="parity.scenarios", name=_xml(name), time="0")
    differs = [line for line in lines if line.state == "differs"]
    missing = [line for line in lines if line.state in broken]
    told = "\n".join(f"pair {line.number}: {line.words}" for line in (*differs, *missing))
    words = f"{len(differs)} of {len(lines)} pairs differ"
    if missing:
        problem = next((each for line in missing for each in line.problems), "not played")
        ET.SubElement(case, "error", type="missing", message=_xml(problem)).text = _xml(told)
    elif differs and failed:
        ET.SubElement(case, "failure", type="differs", message=words).text = _xml(told)
    else:
        ET.SubElement(case, "system-out").text = _xml(f"{words}\n{told}".strip())
    return case


def _xml(text: str) -> str:
    """Return a text without the characters that XML 1.0 has no form for."""
    return "".join(c for c in text if c in "\t\n" or (c >= " " and not _is_no_character(c)))


def _is_no_character(c: str) -> bool:
    return "\ud800" <= c <= "\udfff" or c in "\ufffe\uffff"


def report_text(report: Report) -> str:
    """Return a report for a terminal, the verdict first; no arguments, no words."""
    lines = [f"{report.verdict.upper()}: {report.says}"]
    lines += [f"  {gate.title}: {gate.words}" for gate in report.gates]
    if report.more:
        lines.append(f"  About {report.more} more pairs without a difference would pass.")
    lines += [f"  Pair {line.number}, {line.scenario}: {line.words}" for line in report.worst]
    if report.missing:
        lines.append(f"  {report.missing} pairs could not be compared.")
    lines += [f"  {note}" for note in report.notes]
    return "\n".join(lines)


def report_dump(report: Report) -> str:
    """Return the JSON of a report as text."""
    return json.dumps(report_json(report), indent=2, ensure_ascii=False)
