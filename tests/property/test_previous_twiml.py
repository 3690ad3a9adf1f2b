"""Any TwiML: nothing but relative addresses changes, and what is written stays what it means."""

from __future__ import annotations

from urllib.parse import urljoin, urlsplit
from xml.etree import ElementTree
from xml.sax.saxutils import escape, quoteattr

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from calls.previous.twiml import NotTwiml, with_absolute_urls

pytestmark = pytest.mark.property

BASE = "https://previous.example.com:8443/a/in?x=1&y='2'"
ABSOLUTE = st.sampled_from(["https://a.example/x?a=1&b=2", "http://b/", "wss://a/s", "sip:a@b"])
RELATIVE = st.sampled_from(["/x", "x.wav", "../y?a=1&b=<2>", "?q='\"", "//h/x", "#rc=1", "ü", "./"])
TEXTS = st.text(st.sampled_from(list("ab &<>'\"]/ü\n")), max_size=8)
NAMES = st.sampled_from(["Say", "Play", "Redirect", "Gather", "Record", "Stream", "Dial", "Number"])
ATTRIBUTES = st.sampled_from(
    ["action", "url", "statusCallback", "waitUrl", "statusCallbackEvent", "name", "value"]
)


def _is_address(name: str) -> bool:
    return name.lower().endswith(("url", "action", "callback"))


@st.composite
def written(draw: st.DrawFn, text: str) -> str:
    """Write text in one of the ways in which XML may hold it, cut by comments."""
    cut = draw(st.integers(0, len(text)))
    parts = []
    for part in (text[:cut], text[cut:]):
        if draw(st.booleans()) and "]]>" not in part:
            parts.append(f"<![CDATA[{part}]]>")
        else:
            parts.append(escape(part))
    return draw(st.sampled_from(["", "<!-- /x <Redirect> -->", "<?pi /x?>"])).join(parts)


@st.composite
def elements(draw: st.DrawFn, *, relative: bool, depth: int = 0) -> str:
    """Write an element; without ``relative`` it holds no relative address, not even a default."""
    name = draw(NAMES)
    addresses = ABSOLUTE | RELATIVE if relative else ABSOLUTE
    attributes = {each: draw(addresses | TEXTS if relative or not _is_address(each) else addresses)
                  for each in draw(st.lists(ATTRIBUTES, unique=True, max_size=3))}  # fmt: skip
    if not relative and name in {"Gather", "Record"}:
        attributes["action"] = "https://a.example/g"
    space = draw(st.sampled_from([" ", "\n\t"]))
    head = name + "".join(f"{space}{key}={quoteattr(value)}" for key, value in attributes.items())
    if name in {"Play", "Redirect"}:
        value = draw(addresses)
        inner = draw(st.sampled_from(["", " \n"])) + draw(written(value))
    else:
        inner = draw(written(draw(TEXTS)))
        if depth < 2:
            inner += "".join(
                draw(elements(relative=relative, depth=depth + 1))
                for _ in range(draw(st.integers(0, 2)))
            )
    return f"<{head}>{inner}</{name}{draw(st.sampled_from(['', ' ']))}>"


@st.composite
def documents(draw: st.DrawFn, *, relative: bool) -> str:
    """Write a response."""
    inner = "".join(draw(st.lists(elements(relative=relative), max_size=3)))
    return draw(st.sampled_from(["", "<?xml version='1.0'?>\n"])) + f"<Response>{inner}</Response>"


def _meant(value: str, *, is_self: bool, is_socket: bool = False) -> str:
    """Say anew, by the standard library's tree, what an address has to become."""
    address = value.strip(" \t\r\n")
    if not address:
        return BASE if is_self else value
    try:
        if urlsplit(address).scheme:
            return value
        joined = urljoin(BASE, address)
    except ValueError:
        return value
    return "ws" + joined[4:] if is_socket else joined


def _expected(element: ElementTree.Element) -> None:
    for each in element.iter():
        for name, value in each.attrib.items():
            if _is_address(name):
                is_self = name == "action" and each.tag in {"Gather", "Record"}
                is_socket = name == "url" and each.tag == "Stream" and bool(value.strip())
                each.set(name, _meant(value, is_self=is_self, is_socket=is_socket))
        if each.tag in {"Gather", "Record"} and "action" not in each.attrib:
            each.set("action", BASE)
        if each.tag in {"Play", "Redirect"}:
            each.text = _meant(each.text or "", is_self=each.tag == "Redirect")


def _flat(root: ElementTree.Element) -> list[tuple[str, dict[str, str], str, str]]:
    return [
        (
            each.tag,
            each.attrib,
            (each.text or "").strip() if each.tag in {"Play", "Redirect"} else each.text or "",
            each.tail or "",
        )
        for each in root.iter()
    ]


@given(documents(relative=False))
def test_without_a_relative_address_it_is_returned_as_it_is(text: str) -> None:
    found = with_absolute_urls(text, BASE)
    assert (found.text, found.changed) == (text, 0)


@given(documents(relative=True))
@example("<Response><Play action='//]'/><Stream url='//]'/></Response>")
@example("<Response><Redirect>//[a</Redirect></Response>")
def test_the_tree_differs_in_relative_addresses_alone_and_a_second_time_in_nothing(
    text: str,
) -> None:
    found = with_absolute_urls(text, BASE).text
    tree = ElementTree.fromstring(text)  # noqa: S314 - our own text
    _expected(tree)
    assert _flat(ElementTree.fromstring(found)) == _flat(tree)  # noqa: S314 - our own text
    assert with_absolute_urls(found, BASE) == type(with_absolute_urls(found, BASE))(found, 0)


@given(st.text(st.sampled_from(list("<>/=\"'&;!?-[] aRU\n")) | st.characters(), max_size=40))
def test_any_text_is_edited_or_refused(inner: str) -> None:
    for text in (inner, f"<Response>{inner}</Response>", f"<Response><Play {inner}/></Response>"):
        try:
            found = with_absolute_urls(text, BASE).text
        except NotTwiml:
            continue
        assert with_absolute_urls(found, BASE).changed == 0
