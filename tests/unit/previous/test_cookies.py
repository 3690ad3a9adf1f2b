"""Cookies of the previous stack: kept for a call, sent where they belong."""

from __future__ import annotations

import pytest

from calls.previous.cookies import MOST_COOKIES, Cookie, cookie_header, kept_cookies

pytestmark = pytest.mark.unit

HERE = "https://app.a.example/calls/in"


def sent(set_cookie: str, url: str) -> str:
    return cookie_header(kept_cookies((), HERE, [set_cookie]), url)


@pytest.mark.parametrize(
    ("set_cookie", "url", "header"),
    [
        ("s=1", "https://app.a.example/calls/x", "s=1"),
        ("s=1", "https://app.a.example/other", ""),
        ("s=1; Path=/", "https://app.a.example/other", "s=1"),
        ("s=1; Path=/call", "https://app.a.example/calls", ""),
        ("s=1; Path=/", "https://other.a.example/", ""),
        ("s=1; Path=/; Domain=.a.example", "https://other.a.example/", "s=1"),
        ("s=1; Path=/; Domain=b.example", "https://b.example/", ""),
        ("s=1; Path=/; Domain=example", "https://b.example/", ""),
        ("s=1; Path=/; Secure", "http://app.a.example/", ""),
        ("s=1; Path=/; HttpOnly; SameSite=Lax", "http://app.a.example/", "s=1"),
        ('s="a b"; Path=/', "https://app.a.example/", 's="a b"'),
        ("s=a=b; Path=/", "https://app.a.example/", "s=a=b"),
        ("nonsense; Path=/", "https://app.a.example/", ""),
        ("s=1\r\nX: 1; Path=/", "https://app.a.example/", ""),
        (f"s={'x' * 5000}", "https://app.a.example/calls/x", ""),
    ],
)
def test_a_cookie_goes_where_a_browser_would_send_it(
    set_cookie: str, url: str, header: str
) -> None:
    assert sent(set_cookie, url) == header


def test_the_newest_wins_and_the_longest_path_comes_first() -> None:
    kept = kept_cookies((), HERE, ["a=1; Path=/", "a=2; Path=/", "b=3"])
    assert cookie_header(kept, HERE) == "b=3; a=2"


@pytest.mark.parametrize(
    "deleting",
    ["a=; Max-Age=0", "a=; Max-Age=-1", "a=; Expires=Thu, 01 Jan 1970 00:00:00 GMT"]
    + ["a=; expires=Thu, 01-Jan-1970 00:00:01 GMT"],
)
def test_a_cookie_is_deleted_as_servers_delete(deleting: str) -> None:
    kept = kept_cookies((), HERE, ["a=1"])
    assert kept_cookies(kept, HERE, [deleting]) == ()
    assert len(kept_cookies(kept, HERE, ["a=2; Expires=Wed, 09 Jun 2060 10:18:14 GMT"])) == 1


def test_there_is_a_bound() -> None:
    kept = kept_cookies((), HERE, [f"c{number}=1" for number in range(100)])
    assert len(kept) == MOST_COOKIES and kept[-1].name == "c99"


def test_a_cookie_survives_the_call_row_and_hides_its_value() -> None:
    (cookie,) = kept_cookies((), HERE, ["s=secret; Secure"])
    assert Cookie.from_json(cookie.as_json()) == cookie
    assert "secret" not in repr(cookie)
