"""The stand-ins' own numbers, with which a move is rehearsed: rows and Twilio agree about them."""

from __future__ import annotations

import pytest
from django.utils import timezone

from calls.models import PhoneNumber
from calls.services.previous_targets import previous_of
from calls.services.seed import instance_seed, movable_seed, standins_seed
from calls.standins.server import DEFAULT_ACCOUNT_SID
from calls.standins.twilio_numbers import MOVABLE, OLD_VOICE_PATH, Numbers
from tests import factories

pytestmark = [pytest.mark.integration, pytest.mark.django_db]

ORIGIN, LATER = "http://127.0.0.1:9100", "http://127.0.0.1:9200"


def test_each_rehearsal_number_is_handed_where_its_stand_in_says_until_it_is_moved() -> None:
    instance_seed()
    standins_seed(ORIGIN)
    assert movable_seed(ORIGIN) == len(MOVABLE)
    first, *others = PhoneNumber.objects.filter(number_e164__in=MOVABLE)
    assert {number.route for number in (first, *others)} == {"vapi"}
    factories.make_move(first)
    PhoneNumber.objects.filter(pk=first.pk).update(route="direct")
    movable_seed(LATER)  # the next start, on another port
    first.refresh_from_db()
    assert first.route == "direct"
    assert first.previous_voice_url == ORIGIN + OLD_VOICE_PATH
    first.moves.update(closed_at=timezone.now())  # put back; the next start finds it there
    movable_seed(LATER)
    first.refresh_from_db()
    assert previous_of(first).voice.url == LATER + OLD_VOICE_PATH
    for number in others:
        number.refresh_from_db()
        assert previous_of(number).voice.url == LATER + OLD_VOICE_PATH


def test_the_stand_in_has_them_by_address_and_by_app() -> None:
    numbers = Numbers(DEFAULT_ACCOUNT_SID)
    numbers.add_movable(ORIGIN)
    for number in MOVABLE:
        answer = numbers.effective(number)
        assert answer is not None and answer.voice_url == ORIGIN + OLD_VOICE_PATH
    sources = {numbers.effective(number).source for number in MOVABLE}  # type: ignore[union-attr]
    assert sources == {"number", "application"}
