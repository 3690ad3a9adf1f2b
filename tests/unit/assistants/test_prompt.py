"""Liquid as Vapi renders it: the idioms of real exports, what is broken, what is too much."""

from __future__ import annotations

import datetime as dt
from typing import Any

import pytest

from assistants import prompt
from assistants.liquid_dates import strftime
from assistants.prompt import problems, render

pytestmark = pytest.mark.unit

NOW = dt.datetime(2026, 11, 22, 15, 4, 5, 67_000, tzinfo=dt.UTC)
VARIABLES: dict[str, Any] = {
    "customer": {"number": "+15550100001", "name": None},
    "booked-time": "3 pm",
    "date & time": "soon",
    "Zip Code": "04103",
    "Zipcode": "10115",
    "plan.name": "Gold",
    "count": 5.0,
    "items": ["x", "y"],
}


def says(text: str, **more: Any) -> str:
    return render(text, VARIABLES | more, NOW)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("No variable at all.", "No variable at all."),
        ("{{customer.number}} {{ customer.name }}|", "+15550100001 |"),
        ("{{booked-time}} {{Zipcode}}", "3 pm 10115"),
        ("{{date & time}}, {{ Zip Code }}, {{ Zip Code | append: '!' }}", "soon, 04103, 04103!"),
        ("{{plan.name}}", "Gold"),
        ("{{count}} {{count | plus: 1}}", "5 6"),
        ("{{items | join: ', '}} {{items.size}} {{items[0]}}{{items.1}}", "x, y 2 xy"),
        ("{{name | default: 'friend'}}", "friend"),
        ("{% if customer.name %}{{customer.name}}{% else %}friend{% endif %}!", "friend!"),
        ("{% for i in items %}{{i}}{% unless forloop.last %}, {% endunless %}{% endfor %}", "x, y"),
        ("{% case count %}{% when 5 %}five{% else %}other{% endcase %}", "five"),
        ("{% assign a = 'b' %}{{ a | upcase }}", "B"),
        ("{%- if count == 5 -%} five {%- endif -%} .", "five."),
        ("{% raw %}{{customer.name}}{% endraw %}", "{{customer.name}}"),
        ("a{% comment %} {{ broken | }} {% endcomment %}b", "ab"),
        ("{{{count}}}", "{5}"),
        ("{{ customer | json }}", '{"number": "+15550100001", "name": null}'),
        ("{{ customer }}", '{"number": "+15550100001", "name": null}'),
        ("{% if count > 'a' %}x{% else %}y{% endif %}", "y"),
        ("{% for i in 5 %}x{% endfor %}.", "."),
    ],
)
def test_what_people_write_renders(text: str, expected: str) -> None:
    assert says(text) == expected
    assert problems(text) == []


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (
            '{{"now" | date: "%A, %B %d, %Y, %I:%M %p", "America/Los_Angeles"}}',
            "Sunday, November 22, 2026, 07:04 AM",
        ),
        ('{{"now" | date: "%A, %d.%m.%Y", "Europe/Berlin"}}', "Sunday, 22.11.2026"),
        ("{{ 'now' | date: '%H:%M', 'asia/tokyo' }}", "00:04"),
        ("{{ 'now' | date: '%H:%M', 480 }}", "07:04"),
        ("{{ 'today' | date: '%b %d, %Y' }}", "Nov 22, 2026"),
        ("{{ 'now' | date: '%Y-%m-%d' }}", "2026-11-22"),
        ("{{ '2026-07-04' | date: '%B %-d%q' }}", "July 4th"),
        ("{{ 'July 4, 2026' | date: '%d/%m' }}", "04/07"),
        ("{{ 1700000000 | date: '%F %T' }}", "2023-11-14 22:13:20"),
        ("{{ '1700000000' | date: '%F' }}", "2023-11-14"),
        ("{{ 'never' | date: '%F' }}", "never"),
        ("{{ nothing | date: '%F' }}", ""),
        ("{{ 'now' | date }}", "Sunday, November 22, 2026 at 3:04 pm +0000"),
        ("{{ 'now' | date_to_xmlschema }}", "2026-11-22T15:04:05+00:00"),
        ("{{ 99999999999999 | date: '%F' }}", "99999999999999"),
    ],
)
def test_v21_the_literal_now_takes_a_format_and_a_zone(text: str, expected: str) -> None:
    assert says(text) == expected
    assert problems(text) == []


def test_v21_the_variable_now_is_text_in_utc_and_no_date() -> None:
    assert says("{{now}}") == "Nov 22, 2026, 3:04 PM UTC"
    assert says("{{date}} {{time}} {{month}} {{day}} {{year}}") == (
        "Nov 22, 2026 3:04 PM November 22 2026"
    )
    text = '{{ now | date: "%A" }}'
    assert says(text) == says("{{now}}")
    assert "in quotes" in problems(text)[0]


def test_v22_undefined_is_empty_never_an_error() -> None:
    assert says("[{{nope}}{{nope.deeper.still}}{{nope[0].x}}{{ nope | upcase }}]") == "[]"
    assert problems("{{nope.deeper}}") == []
    assert says("{{ today }}") == ""  # a name of the library, not of Vapi


@pytest.mark.parametrize(
    ("code", "expected"),
    [
        *(("%a %A %b %B %h", "Sun Sunday Nov November Nov"), ("%d %e %-d %_d", "22 22 22 22")),
        *(("%H %I %k %l %-I", "15 03 15  3 3"), ("%M %S %L %3N", "04 05 067 670000000")),
        *(("%j %U %W %u %w", "326 47 46 7 0"), ("%y %Y %C", "26 2026 20")),
        *(("%p %P %^a %#p", "PM pm SUN pm"), ("%z %:z %Z", "+0000 +00:00 UTC")),
        *(("%c", "11/22/2026, 3:04:05 PM"), ("%x %X", "11/22/2026 3:04:05 PM")),
        *(("%s %%%n%t|", "1795359845 %\n\t|"), ("%Q %E%", "%Q %")),
        ("%99999999d|", "22|".rjust(41, "0")),
    ],
)
def test_strftime_spells_as_liquidjs_does(code: str, expected: str) -> None:
    assert strftime(NOW, code) == expected


@pytest.mark.parametrize(
    ("day", "ending"), [(1, "st"), (2, "nd"), (3, "rd"), (4, "th"), (11, "th"), (23, "rd")]
)
def test_the_ending_of_a_day(day: int, ending: str) -> None:
    assert strftime(NOW.replace(day=day), "%q") == ending


@pytest.mark.parametrize(
    ("text", "expected", "words"),
    [
        ("a {{ x | }} b", "a  b", "line 1: {{ x | }} cannot be read"),
        ("a {% if == %}b{% endif %} c", "a b c", "its text stays"),
        ("one\n{% if x %}two", "one\ntwo", "line 2: {% if x %} is never closed"),
        ("a{% endif %}b", "ab", "belongs to no opening tag"),
        ("a{% else %}b", "ab", "belongs to no opening tag"),
        ("a{% frobnicate %}b", "ab", "is no tag of Liquid"),
        ("a{% include 'x' %}b", "ab", "wants another file"),
        ("a{% break %}b", "ab", "outside of every loop"),
        ("a{% raw %}b{{count}}", "ab5", "{% raw %} is never closed"),
        ("a{% assign = 3 %}b", "ab", "cannot be read"),
        ("Hi {{name, this is {{Zipcode}}.", "Hi , this is 10115.", "{{name is never closed"),
        ("Hi {{name", "Hi ", "never closed"),
        ("a {% if x and see", "a  x and see", "never closed"),
        ("{{ count | frob }}", "5", "'frob' is unknown"),
        ("{{ 'now' | date: '%H', 'Mars/Base' }}", "15", "is no time zone"),
        (
            "{% if a %}{% for %}q{% endfor %}{% endif %}x{% if count %}y{% endif %}",
            "xy",
            "{% for %} cannot be read",
        ),
        ("{% if a %}{% for i in items %}q{% endif %}r", "r", "{% for i in items %} is never"),
        ('{{ {"a": 1} }}', "", "cannot be read"),
        ("{{" + "word " * 80 + "}}", "word " * 80, "its words are kept"),
        ("{% if count %}" * 25 + "x" + "{% endif %}" * 25, "x", "levels deep"),
    ],
)
def test_what_is_broken_renders_empty_and_is_named(text: str, expected: str, words: str) -> None:
    assert says(text) == expected
    assert words in " / ".join(problems(text))


def test_placeholders_of_other_programs_stay() -> None:
    text = 'Ask ${NAME}, <<TEAM>>, [A COMPLETER], YOUR_KEY and {"a":{"b":1}} {'
    assert says(text) == text
    assert says(text + "{{count}}") == text + "5"


def test_braces_of_the_text_never_become_liquid() -> None:
    assert says("{{% frob %}{{ '{' }}") == "{" * 2
    assert says("{{% frob %}{x}}") == "{{x}}"
    assert says("{{% if count %}% {% endif %}") == "{% "


@pytest.mark.parametrize(
    "text",
    [
        "{% for i in (1..99999999) %}x{% endfor %}",
        "{% for i in (1..9999) %}{% for j in (1..9999) %}x{% endfor %}{% endfor %}",
        "{% assign a = 'xxxxxxxxxx' %}" + "{% assign a = a | append: a %}" * 60 + "{{a}}",
        "{% assign a = 9 %}" + "{% assign a = a | times: a %}" * 60 + "{{a}}",
        "{{ (1..99999999) | join: ',' }}",
        "{% for i in (1..9000) %}{{ 'now' | date: '%c %c %c %c %c %c' }}{% endfor %}",
    ],
)
def test_templates_that_want_too_much_end(text: str) -> None:
    assert len(says(text + "tail")) <= prompt.MAX_OUTPUT


def test_searching_a_long_range_or_list_does_not_count_through_it() -> None:
    numbers = "{% assign x = (1..99999999999) %}"
    assert says(numbers + "{% if x contains 5.5 %}yes{% else %}no{% endif %}") == "no"
    assert says(numbers + "{% unless x contains 'q' %}no{% endunless %}") == "no"
    assert says(numbers + "{% if x contains 500000 and x contains 7.0 %}yes{% endif %}") == "yes"
    letters = "".join(map(chr, range(0x10000, 0x10000 + 40_000)))
    assert render("{{ s | split: '' | uniq | size }}", {"s": letters}, NOW) == "40000"
    objects = [{"a": 1}, {"a": 1}, {"a": 2}, 1, "1", 1]
    assert render("{{ s | uniq | size }} {{ s | uniq: 'a' | size }}", {"s": objects}, NOW) == "4 3"


def test_brackets_without_end_are_named_not_counted() -> None:
    text = "{% if " + "(" * 60_000 + "b" + ")" * 60_000 + " %}x{% endif %}y"
    assert says(text) == "xy"
    assert "too many brackets" in problems(text)[0]
    assert says('{{ "' + "(" * 200 + '" | size }}') == "200"


def test_what_is_too_large_is_left_alone_and_said() -> None:
    long = "{{count}}" + "x" * prompt.MAX_TEXT
    assert says(long) == long
    assert "longer than" in problems(long)[0]
    many = "{{count}} " * 5_000
    assert says(many) == many
    assert "more than" in problems(many)[0]


def test_a_prompt_is_read_once_and_rendered_for_each_call(monkeypatch: pytest.MonkeyPatch) -> None:
    text = "Read me {{once}}."
    assert says(text, once=1) == "Read me 1."
    monkeypatch.setattr(prompt, "mend", None)
    assert says(text, once=2) == "Read me 2."


def test_values_that_are_no_json_become_words() -> None:
    assert says("{{a}} {{b}} {{c}}", a=NOW.date(), b=(1, 2), c=1.5) == "2026-11-22 12 1.5"
    assert says("{{a}}", a={"b": [{"c": None}]}) == '{"b": [{"c": null}]}'
