"""Rules by which two names of tools are one."""

from __future__ import annotations

import pytest

from calls.parity.renames import MOST_RENAMES, RenameWrong, renamed, renames_read

pytestmark = pytest.mark.unit


def test_the_longest_rule_that_fits_holds_and_a_whole_name_before_all() -> None:
    rules = {"vapi_*": "", "vapi_book slot": "book_slot"}
    assert renamed("vapi_book slot", rules) == "book_slot"
    assert renamed("vapi_cancel", rules) == "cancel"
    assert renamed("cancel_vapi_", rules) == "cancel_vapi_"
    assert renamed("ab_c", {"a*": "1", "ab_*": "2"}) == "2c"


def test_rules_are_read_a_line_each_with_room_around_them() -> None:
    lines = ["vapi_*=", "", "  book slot = book_slot ", "a=b", "a=c"]
    assert renames_read(lines) == {"vapi_*": "", "book slot": "book_slot", "a": "c"}


@pytest.mark.parametrize("line", ["book", "=x", "*=x", "a*b=c", "a=b*"])
def test_a_line_that_is_no_rule_is_named_with_the_fix(line: str) -> None:
    with pytest.raises(RenameWrong, match="Fix: e.g."):
        renames_read(["good=fine", line])


def test_long_names_and_long_lists_are_refused() -> None:
    with pytest.raises(RenameWrong, match="up to 200 characters"):
        renames_read(["a" * 201 + "=b"])
    with pytest.raises(RenameWrong, match=f"up to {MOST_RENAMES}"):
        renames_read(f"a{at}=b" for at in range(MOST_RENAMES + 1))
