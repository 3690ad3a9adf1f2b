"""Moves of numbers against a small model of Twilio's number resource, made of twilio.md 5 alone:
whatever the number was, and wherever the process dies, it ends as it was.
"""

from __future__ import annotations

import copy
import random
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from calls.numbers.switch.net import net_for, overrides_for
from calls.numbers.switch.steps import (
    Accepted,
    Action,
    Ask,
    Confirmed,
    Event,
    Fetch,
    Finished,
    Found,
    Move,
    PlaceTestCall,
    Post,
    Posted,
    PostUnclear,
    Resumed,
    Step,
    TestCallEnded,
    Wait,
    WebhookSeen,
    advance,
    way_back,
)
from calls.numbers.switch.voice import Application, Snapshot, read, target_of
from calls.numbers.switch.writes import as_form, here
from calls.telephony.rest_rules import why_never

pytestmark = pytest.mark.property

BASE = "https://voice.example.com"
APP = Application("AP1", "https://app.example/voice", status_callback="https://app.example/s")
PATH = f"/2010-04-01/Accounts/AC{'a' * 32}/IncomingPhoneNumbers/PN{'c' * 32}.json"
URLS = ("https://vapi.example/in", "https://x.example/v?token=1#rt=3000&ct=900", "http://ü.example")
SWITCHES = {"VoiceCallerIdLookup": "voice_caller_id_lookup"}
TEXTS = {
    "VoiceUrl": "voice_url",
    "VoiceMethod": "voice_method",
    "VoiceFallbackUrl": "voice_fallback_url",
    "VoiceFallbackMethod": "voice_fallback_method",
    "StatusCallback": "status_callback",
    "StatusCallbackMethod": "status_callback_method",
    "VoiceReceiveMode": "voice_receive_mode",
}
TARGETS = {"TrunkSid": "trunk_sid", "VoiceApplicationSid": "voice_application_sid"}


@dataclass
class Twilio:
    """One number. ``outcomes``: what becomes of the next writes; ``made``: those that took."""

    resource: dict[str, Any]
    outcomes: list[str] = field(default_factory=list)
    dice: random.Random = field(default_factory=lambda: random.Random(1))
    requests: list[dict[str, str]] = field(default_factory=list)
    made: int = 0

    def get(self) -> dict[str, Any]:
        return copy.deepcopy(self.resource)

    def post(self, arguments: Mapping[str, str | None]) -> bool:
        """Take a write as the SDK sends it: None is dropped (T25). False: the answer is lost."""
        form = {name: value for name, value in arguments.items() if value is not None}
        assert why_never("POST", PATH, form) == ""
        assert not [name for name in form if name.startswith("Sms")]
        self.requests.append(form)
        outcome = self.outcomes.pop(0) if self.outcomes else "ok"
        if outcome != "turned away":
            self._write(form)
        return outcome == "ok"

    def _write(self, form: dict[str, str]) -> None:
        self.made += 1
        names = list(form)
        self.dice.shuffle(names)  # in which order it reads a form, Twilio does not say
        for name in names:
            value = form[name]
            if name in TARGETS:
                self.resource[TARGETS[name]] = value or self._nothing()
                if value:
                    (other,) = set(TARGETS.values()) - {TARGETS[name]}
                    self.resource[other] = self._nothing()
            elif name in SWITCHES:
                self.resource[SWITCHES[name]] = {"true": True, "false": False}[value]
            else:
                assert value in {"GET", "POST"} or not name.endswith("Method")
                self.resource[TEXTS[name]] = value or self._nothing()

    def _nothing(self) -> str | None:
        return self.dice.choice([None, ""])


def answers(resource: Mapping[str, Any]) -> tuple[str, ...]:
    """Return what a caller meets, by precedence."""
    if resource["trunk_sid"]:
        return ("trunk", resource["trunk_sid"])
    if resource["voice_application_sid"]:
        return ("app", resource["voice_application_sid"])
    names = ("voice_url", "voice_method", "voice_fallback_url", "voice_fallback_method")
    return ("url", *(resource[name] or "" for name in names))


def as_found(resource: Mapping[str, Any]) -> dict[str, Any]:
    """Return the resource without the differences that mean nothing."""
    methods = {name: resource[name] or "POST" for name in resource if name.endswith("_method")}
    rest = {name: resource[name] or "" for name in resource if name not in methods}
    return {**rest, **methods, "voice_receive_mode": resource["voice_receive_mode"] or "voice"}


nothing = st.sampled_from([None, ""])
urls = st.one_of(nothing, st.sampled_from(URLS))
methods = st.sampled_from([None, "", "GET", "POST"])


@st.composite
def resources(draw: st.DrawFn) -> dict[str, Any]:
    """Numbers of all three kinds, and of none, with whatever lies below."""
    kind = draw(st.sampled_from(["trunk", "app", "url"]))
    return {
        "sid": "PN1",
        "account_sid": "AC1",
        "phone_number": "+15550001111",
        "voice_url": draw(urls),
        "voice_method": draw(methods),
        "voice_fallback_url": draw(urls),
        "voice_fallback_method": draw(methods),
        "status_callback": draw(urls),
        "status_callback_method": draw(methods),
        "voice_application_sid": "AP1" if kind == "app" else draw(nothing),
        "trunk_sid": "TK1" if kind == "trunk" else draw(nothing),
        "voice_caller_id_lookup": draw(st.sampled_from([None, True, False])),
        "voice_receive_mode": draw(st.sampled_from([None, "voice"])),
        "sms_url": draw(urls),
        "sms_method": draw(methods),
        "sms_application_sid": draw(st.sampled_from([None, "AP2"])),
    }


class Killed(Exception):
    """The process is gone, and with it all that was not stored."""


@dataclass
class Shell:
    """Does what a move asks for, and dies at the given points: before and after each request.

    ``meddles``: at these fetches somebody else writes first.
    """

    twilio: Twilio
    dies: set[int] = field(default_factory=set)
    meddles: dict[int, dict[str, str]] = field(default_factory=dict)
    points: int = 0
    fetches: int = 0

    def run(self, stored: Move) -> tuple[Move, Action | None]:
        """Bring a move as far as it goes, across all deaths; return it as it is stored."""
        while True:
            kept = [stored]
            try:
                return self._live(kept)
            except Killed:
                stored = kept[-1]

    def once(self, stored: Move) -> Move:
        """Do so until it dies for the first time."""
        kept = [stored]
        try:
            self._live(kept)
        except Killed:
            pass
        return kept[-1]

    def _live(self, kept: list[Move]) -> tuple[Move, Action | None]:
        move, action = advance(kept[-1], Resumed())
        while action is not None and not isinstance(action, Wait | Ask | Finished):
            kept.append(move)
            self._point()
            event = self._do(action)
            self._point()
            move, action = advance(move, event)
        kept.append(move)
        return move, action

    def _do(self, action: Action) -> Event:
        if isinstance(action, Fetch):
            self.fetches += 1
            self.twilio.resource |= self.meddles.pop(self.fetches, {})
            return Found(read(self.twilio.get()))
        if isinstance(action, Post):
            return Posted() if self.twilio.post(as_form(action.fields)) else PostUnclear()
        assert isinstance(action, PlaceTestCall)
        assert answers(self.twilio.resource)[1].startswith(f"{BASE}/twilio/voice#")
        return TestCallEnded(True)

    def _point(self) -> None:
        self.points += 1
        if self.points in self.dies:
            raise Killed


def preview(resource: Mapping[str, Any], address: str = "") -> tuple[Move, Snapshot]:
    """Return the move of a number to us, confirmed, and its snapshot out of its row."""
    before = read(resource)
    net = net_for(target_of(before, APP), our_url=BASE, address=address)
    wanted = here(before, base_url=BASE, net=net, overrides=overrides_for())
    move, _ = advance(Move("here", before, wanted), Confirmed("+15550001111"))
    taken = Snapshot(before, APP, "us1", "2026-11-23T03:00:00+00:00", "ops")
    return move, Snapshot.from_json(taken.as_json())


def restore(move: Move, snapshot: Snapshot) -> Move:
    """Return the confirmed way back, made of the snapshot's row."""
    back, _ = advance(way_back(move), Confirmed())
    assert back.wanted == snapshot.config
    return back


def there_and_back(twilio: Twilio, dies: Iterable[int], address: str = "") -> None:
    """Move a number here and back and look after each way."""
    first = twilio.get()
    move, snapshot = preview(first, address)
    shell = Shell(twilio, set(dies))
    move, action = shell.run(move)
    assert (move.step, action) == (Step.TESTED, Wait())
    move, action = advance(move, WebhookSeen("CA1"))
    assert (move.step, action) == (Step.DONE, Finished())
    assert answers(twilio.resource)[1].startswith(f"{BASE}/twilio/voice#")
    net_url = address or target_of(snapshot.config, APP).url
    assert (twilio.resource["voice_fallback_url"] or "") == net_url
    back, action = shell.run(restore(move, snapshot))
    assert (back.step, action) == (Step.DONE, Finished())
    assert as_found(twilio.resource) == as_found(first)
    assert answers(as_found(twilio.resource)) == answers(as_found(first))
    for name in first:
        if name.startswith("sms"):
            assert twilio.resource[name] is first[name]


points = st.sets(st.integers(1, 30), max_size=6)


@given(resources(), points, st.sampled_from(["", "https://bins.example/EH1"]), st.randoms())
def test_any_number_ends_as_it_was_with_one_post_each_way(
    resource: dict[str, Any], dies: set[int], address: str, dice: random.Random
) -> None:
    twilio = Twilio(resource, dice=dice)
    there_and_back(twilio, dies, address)
    assert len(twilio.requests) == twilio.made == 2


bad_days = st.lists(st.sampled_from(["turned away", "lost", "ok"]), max_size=5)


@given(resources(), points, bad_days, st.randoms())
def test_no_write_is_made_twice_while_twilio_fails(
    resource: dict[str, Any], dies: set[int], outcomes: list[str], dice: random.Random
) -> None:
    twilio = Twilio(resource, outcomes, dice)
    there_and_back(twilio, dies)
    assert twilio.made == 2


@given(resources(), st.integers(1, 12), points)
def test_the_way_back_may_begin_wherever_the_way_here_died(
    resource: dict[str, Any], death: int, dies: set[int]
) -> None:
    twilio = Twilio(resource)
    first = twilio.get()
    move, snapshot = preview(first)
    move = Shell(twilio, {death}).once(move)
    made = twilio.made
    back, action = Shell(twilio, dies).run(restore(move, snapshot))
    assert (back.step, action) == (Step.DONE, Finished())
    assert as_found(twilio.resource) == as_found(first)
    assert twilio.made == 2 * made


meddling = st.sampled_from(
    [
        {"voice_url": "https://somebody.example/"},
        {"voice_fallback_url": "https://somebody.example/", "voice_fallback_method": "GET"},
        {"trunk_sid": "TK9", "voice_application_sid": None},
        {"voice_application_sid": "AP9", "trunk_sid": None},
        {"voice_caller_id_lookup": True, "status_callback": "https://somebody.example/"},
    ]
)


@given(resources(), meddling, st.integers(1, 2), st.booleans(), points)
def test_what_somebody_else_wrote_is_never_written_over_without_a_question(
    resource: dict[str, Any], theirs: dict[str, Any], fetch: int, comes_back: bool, dies: set[int]
) -> None:
    twilio = Twilio(resource)
    move, snapshot = preview(twilio.get())
    if comes_back:
        move, _ = Shell(twilio).run(move)
        move = restore(move, snapshot)
    move, action = Shell(twilio, dies, {fetch: theirs}).run(move)
    assert isinstance(action, Ask)
    assert action.stop.code == "changed"
    assert twilio.resource.items() >= theirs.items()
    assert set(action.stop.fields) <= set(theirs) | set(TARGETS.values())
    # A yes to what was shown leads on, unless the snapshot would be older than what is there.
    if comes_back:
        move, _ = advance(move, Accepted(action.stop.fingerprint))
        back, action = Shell(twilio).run(move)
        assert (back.step, action) == (Step.DONE, Finished())
        assert read(twilio.resource) == snapshot.config


def every_kind(count: int) -> Iterator[dict[str, Any]]:
    """Yield numbers of all kinds in turn."""
    for n in range(count):
        yield {
            **dict.fromkeys(TEXTS.values()),
            "sid": f"PN{n}",
            "account_sid": "AC1",
            "phone_number": "+15550001111",
            "voice_url": (*URLS, None)[n % 4],
            "voice_method": ("GET", "POST", None)[n % 3],
            "voice_fallback_url": ("", "https://bins.example/EH1")[n % 2],
            "voice_caller_id_lookup": n % 5 == 0,
            "voice_application_sid": "AP1" if n % 3 == 1 else None,
            "trunk_sid": "TK1" if n % 3 == 2 else None,
            "sms_url": "https://vapi.example/sms",
        }


def test_two_hundred_numbers_of_all_kinds_killed_at_each_step_end_as_they_were() -> None:
    for n, resource in enumerate(every_kind(200)):
        twilio = Twilio(resource, dice=random.Random(n))
        death = n % 14 + 1
        there_and_back(twilio, [death])
        assert twilio.made == len(twilio.requests) == 2
