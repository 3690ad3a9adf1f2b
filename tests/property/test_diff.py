"""For any two documents: a diff tells every difference, no secret, and a text can be read off."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from assistants.diff import changes, with_gaps, word_spans
from assistants.secret_places import with_secrets_of
from voiceplatform.base.redaction import redact

pytestmark = pytest.mark.property

SECRET = "tell-nobody"
texts = st.text(alphabet="ab \n.é", max_size=60)
names = st.sampled_from(
    ["id", "name", "url", "secret", "serverUrl", "serverUrlSecret", "headers", "x-token", "tools"]
)
secrets = st.sampled_from([SECRET + "1", SECRET + "2"])
urls = st.sampled_from(
    [f"https://a.example/?token={SECRET}", f"https://{SECRET}@a.example/", "https://b.example"]
)


leaves = st.none() | st.booleans() | st.integers(0, 3) | texts
plain = st.recursive(
    leaves, lambda c: st.lists(c, max_size=4) | st.dictionaries(names, c, max_size=4)
)
plain_documents = st.dictionaries(names, plain, max_size=5)


@st.composite
def documents(draw: Any) -> Any:
    document = draw(plain_documents)
    for name in draw(st.lists(st.sampled_from(["secret", "serverUrlSecret", "x-token"]))):
        document[name] = draw(secrets)
    document["server"] = {"url": draw(urls | texts), "secret": draw(secrets)}
    return document


@example({"secret": None}, {"secret": 0})
@example({"secret": None}, {"secret": ""})
@given(documents(), documents())
def test_every_difference_is_told_and_no_secret(old: Any, new: Any) -> None:
    found = changes(old, new)
    if json.dumps(redact(old), sort_keys=True) != json.dumps(redact(new), sort_keys=True):
        assert found
    if json.dumps(old, sort_keys=True) == json.dumps(new, sort_keys=True):
        assert not found
    assert SECRET not in repr(found)


@given(texts, texts)
def test_both_texts_can_be_read_off_the_spans(old: str, new: str) -> None:
    spans = word_spans(old, new)
    assert "".join(span.text for span in spans if span.kind != "added") == old
    assert "".join(span.text for span in spans if span.kind != "removed") == new
    hidden = sum(span.lines for span in with_gaps(spans))
    shown = sum(len(s.text.splitlines()) for s in with_gaps(spans) if s.kind == "same")
    assert hidden + shown == sum(len(s.text.splitlines()) for s in spans if s.kind == "same")


@given(documents(), documents())
def test_a_revert_changes_secrets_only(current: Any, old: Any) -> None:
    assert with_secrets_of(old, old) == old
    back = with_secrets_of(current, old)
    for change in changes(old, back):
        assert change.kind in ("secret", "added", "removed"), change
        if change.kind != "secret":  # a cleared secret is an empty or a null one, which shows
            assert change.old in (None, "") and change.new in (None, "")
