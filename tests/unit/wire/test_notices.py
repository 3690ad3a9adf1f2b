"""The three forms of a notice hold ids and figures, and do no harm where they end."""

from __future__ import annotations

import json

import pytest

from calls.wire.notices import json_notice, mail_notice, slack_notice, without_numbers

pytestmark = pytest.mark.unit

IDS = {"incident": "5f0c", "number": "77aa"}


@pytest.mark.parametrize(
    "text", ["+15551230001", "at +44 20 7946 0018.", "(+1 (555) 123-0001)", "a+b +4930123456"]
)
def test_numbers_are_masked_in_every_form(text: str) -> None:
    said = {"subject": text, "words": text, "ids": IDS}
    forms = (json_notice("e", **said, at=""), slack_notice(**said), mail_notice(**said))  # type: ignore[arg-type]
    for form in forms:
        digits = "".join(
            filter(str.isdigit, json.dumps(form).replace("5f0c", "").replace("77aa", ""))
        )
        assert len(digits) <= 1, form  # the version


@pytest.mark.parametrize("text", ["try 3 of 8 after 54 s", "2026-11-23T12:00:00+00:00", "5+3"])
def test_figures_and_times_stay(text: str) -> None:
    assert without_numbers(text) == text


def test_slack_is_given_no_mention_and_no_link() -> None:
    text = slack_notice(subject="<!channel>", words="<https://x|y> & more", ids=IDS)["text"]
    assert "<" not in text
    assert "&lt;!channel&gt;" in text
    assert "incident: 5f0c" in text


def test_a_line_break_in_a_subject_is_no_header_of_a_mail() -> None:
    mail = mail_notice(subject="Incident\r\nBcc: other@example.com", words="w", ids=IDS)
    assert mail["subject"] == "Incident Bcc: other@example.com"
    assert mail["body"] == "w\n\nincident: 5f0c\nnumber: 77aa\n"
