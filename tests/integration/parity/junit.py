"""A reader of JUnit's XML that takes nothing but what the common schema allows.

The schema is that of the Jenkins xUnit plugin (junit-10.xsd), as far as elements, attributes,
their types and their order go; counts are compared with what is there.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from xml.etree import ElementTree as ET

_DECIMAL, _WHOLE, _ANY = re.compile(r"\d+(\.\d+)?"), re.compile(r"\d+"), re.compile(r".*", re.S)
_MOMENT = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d")
_COUNTS = {"tests": _WHOLE, "failures": _WHOLE, "errors": _WHOLE}
_ATTRIBUTES: Mapping[str, Mapping[str, re.Pattern[str]]] = {
    "testsuites": {"name": _ANY, "time": _DECIMAL, "disabled": _WHOLE, **_COUNTS},
    "testsuite": {
        "name": _ANY,
        "skipped": _WHOLE,
        "time": _DECIMAL,
        "timestamp": _MOMENT,
        "hostname": _ANY,
        "id": _ANY,
        "package": _ANY,
        **_COUNTS,
    },
    "testcase": {"name": _ANY, "classname": _ANY, "time": _DECIMAL, "status": _ANY},
    "failure": {"message": _ANY, "type": _ANY},
    "error": {"message": _ANY, "type": _ANY},
    "system-out": {},
}
_CHILDREN = {
    "testsuites": {"testsuite"},
    "testsuite": {"testcase"},
    "testcase": {"failure", "error", "system-out"},
}
_REQUIRED = {
    "testsuite": {"name", "tests", "failures", "errors"},
    "testcase": {"name", "classname"},
}


def read_junit(text: str) -> dict[str, str]:
    """Return each case by ``class.name`` as passed, failed or broken; AssertionError else."""
    root = ET.fromstring(text)  # noqa: S314 - our own text
    assert root.tag == "testsuites"
    _check(root)
    found: dict[str, str] = {}
    for suite in root:
        cases = list(suite)
        states = [_state(case) for case in cases]
        assert int(suite.attrib["tests"]) == len(cases)
        assert int(suite.attrib["failures"]) == states.count("failed")
        assert int(suite.attrib["errors"]) == states.count("broken")
        for case, state in zip(cases, states, strict=True):
            key = f"{case.attrib['classname']}.{case.attrib['name']}"
            assert key not in found, f"{key} is there twice"
            found[key] = state
    assert int(root.attrib["tests"]) == len(found)
    return found


def _state(case: ET.Element) -> str:
    if case.find("error") is not None:
        return "broken"
    return "failed" if case.find("failure") is not None else "passed"


def _check(element: ET.Element) -> None:
    known = _ATTRIBUTES[element.tag]
    for name, value in element.attrib.items():
        assert name in known, f"{element.tag} has no attribute {name}"
        assert known[name].fullmatch(value), f"{element.tag} {name}={value!r}"
    missing = _REQUIRED.get(element.tag, set()) - element.attrib.keys()
    assert not missing, f"{element.tag} lacks {missing}"
    for child in element:
        assert child.tag in _CHILDREN.get(element.tag, set()), f"{child.tag} in {element.tag}"
        _check(child)
