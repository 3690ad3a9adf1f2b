"""The command plays files in its own process; its exit code and its JUnit are for builds."""

from __future__ import annotations

import io
import itertools
import json
import re
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import yaml
from django.core.management import CommandError, call_command

from assistants.models import Assistant
from calls.models import ParityRun
from calls.parity.played import CallResult
from calls.parity.sequence import Outcomes, Sequence, ToolCall
from calls.services import parity_runners
from calls.services.parity_runners import register_runner
from tests import factories
from tests.integration.parity.junit import read_junit

pytestmark = [pytest.mark.integration, pytest.mark.django_db]

BOOKING = {"name": "booking", **factories.parity.DOCUMENT}


@pytest.fixture
def scenarios(tmp_path: Path) -> Path:
    tool = factories.make_tool(name="check_availability", parameters={"type": "object"})
    factories.make_assistant(name="Harbour", tools=[tool])
    folder = tmp_path / "scenarios"
    folder.mkdir()
    put(folder, BOOKING)
    return folder


def put(folder: Path, document: dict[str, Any]) -> None:
    path = folder / f"{document['name']}.yaml"
    path.write_text(yaml.safe_dump(document, sort_keys=False), encoding="utf-8")


def ran(*words: str) -> tuple[int, str]:
    """Return the exit code and what was printed."""
    out = io.StringIO()
    try:
        call_command("parity", *words, stdout=out, stderr=io.StringIO())
    except SystemExit as end:
        return int(end.code or 0), out.getvalue()
    except CommandError as error:
        return error.returncode, str(error)
    return 0, out.getvalue()


def test_undecided_is_a_failure_unless_it_is_allowed(scenarios: Path, tmp_path: Path) -> None:
    given = ("run", str(scenarios), "--pairs", "3", "--parallel", "1")
    code, told = ran(*given, "--junit", str(tmp_path / "out.xml"))
    assert code == 1 and told.startswith("UNDECIDED: 3 pairs are too few to tell.")
    cases = read_junit((tmp_path / "out.xml").read_text(encoding="utf-8"))
    assert cases["parity.scenarios.booking"] == "passed"
    assert cases["parity.gates.Order of tool calls"] == "failed"
    code, _ = ran(*given, "--allow-undecided", "--junit", str(tmp_path / "out.xml"))
    assert code == 0
    assert "failed" not in read_junit((tmp_path / "out.xml").read_text(encoding="utf-8")).values()


def test_a_run_that_drifts_fails_its_build_and_names_the_scenario(
    scenarios: Path, tmp_path: Path
) -> None:
    put(scenarios, {**BOOKING, "name": "bad", "noise": {"ours": {"omit_percent": 100}}})
    out = tmp_path / "out.xml"
    code, told = ran("run", str(scenarios), "--pairs", "12", "--seed", "1", "--junit", str(out))
    assert code == 1 and told.startswith("FAIL: ")
    # As the report's page and its files name a pair, so that it can be found there.
    assert re.search(r"^  Pair \d+, bad: left out check_availability$", told, re.M)
    cases = read_junit(out.read_text(encoding="utf-8"))
    assert cases["parity.scenarios.bad"] == "failed"
    assert cases["parity.scenarios.booking"] == "passed"


def test_tools_that_the_revision_does_not_have_are_named(scenarios: Path) -> None:
    expect = ["check_availability", "book_slot", "endCall"]
    put(scenarios, {"name": "other", "caller": [{"say": "Book.", "expect": expect}]})
    code, told = ran("run", str(scenarios), "--pairs", "2", "--parallel", "1", "--seed", "1")
    assert code == 1
    assert "Revision 1 has no tool book_slot. Fix: " in told
    assert "no tool book_slot, " not in told and "no tool check" not in told


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let calls of rehearsals come out as the scenario says, without a conversation.

    How one is played is shown by the tests around; 76 pairs would show it 152 times.
    """
    tools = (ToolCall("check_availability"),)
    done = CallResult(Sequence("k", "direct", tools, Outcomes(tools_ok=True)))
    monkeypatch.setattr(parity_runners, "_RUNNERS", dict(parity_runners._RUNNERS))
    register_runner("rehearsal", lambda call: done)


@pytest.mark.usefixtures("quick")
def test_a_clean_run_of_enough_pairs_passes_beside_threads(scenarios: Path) -> None:
    code, told = ran("run", str(scenarios), "--pairs", "76", "--seed", "1", "--json")
    document = json.loads(told)
    assert code == 0 and document["verdict"] == "pass"
    assert document["run"]["pairs_done"] == 76
    code, told = ran("list", "--json")
    [row] = json.loads(told)
    assert (row["verdict"], row["assistant"], row["done"]) == ("pass", "Harbour", 76)
    code, told = ran("report", row["id"][:8], "--csv")
    assert code == 0 and len(told.splitlines()) == 77
    assert ran("report", row["id"])[1].startswith("PASS: ")


@pytest.mark.usefixtures("quick")
def test_a_run_that_is_decided_early_passes_its_build(scenarios: Path, tmp_path: Path) -> None:
    out = tmp_path / "out.xml"
    given = ("--pairs", "140", "--seed", "1", "--parallel", "4", "--stop-early")
    code, told = ran("run", str(scenarios), *given, "--junit", str(out))
    assert code == 0, told
    assert told.startswith("PASS: ") and "could not be compared" not in told
    assert "which were not played" in told
    assert set(read_junit(out.read_text(encoding="utf-8")).values()) == {"passed"}


def test_the_command_ends_with_its_run_however_often_that_is_handed_on(
    scenarios: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    clock = itertools.count(0, 3_600)
    monkeypatch.setattr(
        "calls.services.parity_playing.time", SimpleNamespace(monotonic=lambda: next(clock) / 2)
    )
    monkeypatch.setattr("calls.management.commands.parity._LOOK_SECONDS", 0)
    given = ("run", str(scenarios), "--pairs", "2", "--parallel", "1", "--allow-undecided")
    code, told = ran(*given)
    assert code == 0 and told.startswith("UNDECIDED: 2 pairs")


@pytest.mark.usefixtures("quick")
def test_without_a_number_of_pairs_as_many_are_played_as_a_pass_takes(scenarios: Path) -> None:
    code, told = ran("run", str(scenarios), "--seed", "1")
    assert code == 0 and told.startswith("PASS: ")
    assert ParityRun.objects.get().wanted == 76


@pytest.mark.usefixtures("quick")
def test_critical_fields_of_the_scenarios_decide_how_many_pairs_a_pass_takes(
    scenarios: Path,
) -> None:
    fields = {"type": "object", "properties": {"phone": {"type": "string"}}}
    tool = factories.make_tool(name="call_back", parameters=fields)
    factories.make_assistant(name="Desk", tools=[tool])
    given = ("run", str(scenarios), "--assistant", "Desk", "--seed", "1", "--allow-undecided")
    ran(*given)
    assert ParityRun.objects.latest("created_at").wanted == 76  # no scenario fills one in
    expect = [{"tool": "call_back", "arguments": {"phone": "+12025550143"}}]
    put(scenarios, {"name": "back", "caller": [{"say": "Call me.", "expect": expect * 4}]})
    ran(*given)
    # Four fields in every other pair; 387 show fewer than 1%.
    assert ParityRun.objects.latest("created_at").wanted == 193


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (("run", "nowhere"), "nowhere: it cannot be read"),
        (("run", "--assistant", "Nobody"), "there is no assistant 'Nobody'. Fix: --assistant"),
        (("run", "--revision", "9"), "has no revision 9. Fix: one of 1"),
        (("run", "--junit", "/nowhere/out.xml"), "there is no such folder"),
        (("run",), "there is nothing to play"),
        (("run", "--kind", "shadow"), "when they come. Fix: parity shadow NUMBER"),
        (("report", "ffff"), "no run begins with 'ffff'. Fix: parity list"),
    ],
)
@pytest.mark.usefixtures("scenarios")
def test_bad_usage_is_two_and_says_what_to_do(words: tuple[str, ...], says: str) -> None:
    code, told = ran(*words)
    assert code == 2 and says in told
    assert not ParityRun.objects.exists()


def test_a_run_is_of_a_number_that_the_assistant_answers(scenarios: Path) -> None:
    assistant = Assistant.objects.get()
    number = factories.make_number(assistant.organisation, assistant=assistant)
    other = factories.make_number(assistant.organisation)
    given = ("run", str(scenarios), "--assistant", "Harbour", "--pairs", "1", "--parallel", "1")
    given += ("--allow-undecided",)
    assert ran(*given, "--number", number.number_e164)[0] == 0
    assert ParityRun.objects.get().number == number
    code, told = ran(*given, "--number", other.number_e164)
    assert code == 2 and f"Fix: --number with one of {number.number_e164}" in told


def test_before_a_run_of_too_few_pairs_it_is_said_that_it_cannot_pass(
    scenarios: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    given = ("run", str(scenarios), "--pairs", "1", "--parallel", "1", "--allow-undecided")
    call_command("parity", *given)
    assert "1 pairs can fail and never pass" in capsys.readouterr().err


def test_every_problem_of_every_file_is_told(scenarios: Path) -> None:
    (scenarios / "no.yaml").write_text("caller: [{say: 1}]\n", encoding="utf-8")
    (scenarios / "yaml.yaml").write_text("a: b: c\n", encoding="utf-8")
    code, told = ran("run", str(scenarios))
    assert code == 2
    assert "no.yaml: caller[0].say: it is a number. Fix: " in told
    assert "yaml.yaml: the text: it cannot be read: not YAML" in told


@pytest.mark.parametrize(
    ("raw", "says"),
    [
        (b"caller:\n  - say: a\n    say: b\n", "the key 'say' is there twice in line 3"),
        (b"", "the text: it is empty. Fix: "),
        (b"# later\n", "the text: it is empty. Fix: "),
        (b"caller: []\n---\ncaller: []\n", "it holds 2 scenarios. Fix: one file each"),
        (b"\xff\xfe\x00", "it is not UTF-8. Fix: save it as UTF-8"),
        (b"#" * 300_000, "it is larger than 256 KiB. Fix: "),
    ],
)
def test_files_that_no_scenario_can_be_read_from(scenarios: Path, raw: bytes, says: str) -> None:
    (scenarios / "wrong.yaml").write_bytes(raw)
    code, told = ran("run", str(scenarios))
    assert code == 2 and says in told and "wrong.yaml" in told


def test_no_file_of_a_folder_is_left_out_in_silence(
    scenarios: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("calls.services.parity_scenarios.MOST_FILES", 1)
    put(scenarios, {**BOOKING, "name": "another"})
    code, told = ran("run", str(scenarios))
    assert code == 2 and "2 files, and 1 can be played in one run. Fix: " in told


def test_a_run_in_which_a_call_could_not_be_played_fails(
    scenarios: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("calls.parity.rehearsal.LONGEST_MS", 1_000)
    out = tmp_path / "out.xml"
    given = ("--pairs", "1", "--parallel", "1", "--junit", str(out), "--allow-undecided")
    assert ran("run", str(scenarios), *given)[0] == 1
    assert read_junit(out.read_text(encoding="utf-8"))["parity.scenarios.booking"] == "broken"


def test_tools_that_mean_the_same_are_named_with_the_run(scenarios: Path) -> None:
    given = ("run", str(scenarios), "--pairs", "1", "--parallel", "1", "--allow-undecided")
    code, _ = ran(*given, "--rename", "vapi_*=", "--rename", "book slot=book_slot")
    assert code == 0
    run = ParityRun.objects.get()
    assert run.options["renames"] == {"vapi_*": "", "book slot": "book_slot"}
    for wrong in ("book", "=x", "*=x"):
        code, told = ran(*given, "--rename", wrong)
        assert code == 2 and "Fix:" in told
