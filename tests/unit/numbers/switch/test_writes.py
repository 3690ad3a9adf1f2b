"""The configuration to come, the difference shown before, and the fields of the one request."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from calls.numbers.switch.net import Net, net_for, overrides_for
from calls.numbers.switch.voice import VOICE_FIELDS, VoiceConfig, read, target_of
from calls.numbers.switch.writes import as_form, changed, changes, difference, effect, here
from voiceplatform.base.redaction_urls import redact_url

pytestmark = pytest.mark.unit

BASE = "https://voice.example.com"
VAPI = "https://vapi.example/twilio/inbound_call?token=parrot"
OURS = f"{BASE}/twilio/voice#ct=1500&rt=5000&tt=5500&rc=1&rp=ct"


def number(**fields: Any) -> VoiceConfig:
    resource = {"sid": "PN1", "account_sid": "AC1", "phone_number": "+15550001111"}
    return read({**resource, **fields})


def moved(before: VoiceConfig, net: Net | None = None) -> VoiceConfig:
    net = net or net_for(target_of(before), our_url=BASE)
    return here(before, base_url=BASE, net=net, overrides=overrides_for())


def form(wanted: VoiceConfig, over: VoiceConfig) -> dict[str, str]:
    return as_form(changes(wanted, over=over))


URL = number(voice_url=VAPI, voice_method="GET", status_callback="https://vapi.example/status")
APP = number(voice_application_sid="AP1", voice_url="https://stale.example/")
TRUNK = number(trunk_sid="TK1", voice_caller_id_lookup=True)
HERE = {
    "VoiceUrl": OURS,
    "VoiceMethod": "POST",
    "VoiceFallbackUrl": "",
    "VoiceFallbackMethod": "POST",
    "StatusCallback": f"{BASE}/twilio/status",
    "StatusCallbackMethod": "POST",
}


def test_an_address_is_replaced_and_becomes_the_net() -> None:
    net = {"VoiceFallbackUrl": VAPI, "VoiceFallbackMethod": "GET"}
    assert form(moved(URL), URL) == {**HERE, **net}


def test_t26_an_app_is_cleared_beside_the_address_and_a_trunk_too() -> None:
    assert form(moved(APP), APP) == {**HERE, "VoiceApplicationSid": ""}
    assert form(moved(TRUNK), TRUNK) == {**HERE, "TrunkSid": ""}


@pytest.mark.parametrize(
    ("before", "sent"),
    [
        (URL, {"VoiceUrl": VAPI, "VoiceMethod": "GET"}),
        (APP, {"VoiceUrl": "https://stale.example/", "VoiceApplicationSid": "AP1"}),
        (TRUNK, {"VoiceUrl": "", "TrunkSid": "TK1"}),
    ],
)
def test_the_way_back_sends_every_field_and_only_the_target_that_is_set(
    before: VoiceConfig, sent: dict[str, str]
) -> None:
    back = form(before, moved(before))
    assert back.items() >= sent.items()
    assert set(back) == set(HERE) | set(sent)
    assert back["VoiceFallbackUrl"] == ""
    assert back["StatusCallback"] == before.status_callback


def test_from_trunk_to_app_the_trunk_is_left_to_twilio_to_delete() -> None:
    assert "TrunkSid" not in form(APP, TRUNK)
    assert form(APP, TRUNK)["VoiceApplicationSid"] == "AP1"
    assert "VoiceApplicationSid" not in form(TRUNK, APP)


@pytest.mark.parametrize("before", [URL, APP, TRUNK])
def test_t25_everything_sent_is_a_text_and_nothing_of_it_is_about_messages(
    before: VoiceConfig,
) -> None:
    for wanted, over in ((moved(before), before), (before, moved(before))):
        sent = form(wanted, over)
        assert all(isinstance(value, str) for value in sent.values())
        assert not [name for name in sent if name.startswith(("Sms", "Emergency", "Friendly"))]


def test_what_is_no_question_of_who_answers_is_written_only_when_it_differs() -> None:
    assert moved(TRUNK).voice_caller_id_lookup == "true"
    assert "VoiceCallerIdLookup" not in form(moved(TRUNK), TRUNK)
    somebody = replace(moved(TRUNK), voice_caller_id_lookup="false")
    assert form(TRUNK, somebody)["VoiceCallerIdLookup"] == "true"


def test_nothing_is_sent_when_there_is_nothing_to_do() -> None:
    assert changes(URL, over=URL) == {}


def test_one_number_is_never_written_with_anothers_configuration() -> None:
    with pytest.raises(ValueError, match="made for"):
        changes(URL, over=replace(URL, sid="PN2"))


def test_a_field_that_is_none_of_the_voice_fields_has_no_form() -> None:
    with pytest.raises(KeyError):
        as_form({"sms_url": ""})


def test_every_field_is_shown_before_and_after() -> None:
    rows = {each.field: each for each in difference(APP, moved(APP), mask=redact_url)}
    assert list(rows) == list(VOICE_FIELDS)
    assert rows["voice_url"].old == "https://stale.example/"
    assert rows["voice_url"].new == OURS
    assert rows["voice_application_sid"].new == ""
    assert "passes over" in rows["voice_application_sid"].words
    assert not rows["voice_method"].is_changed
    assert changed(APP, moved(APP)) == ("voice_url", "status_callback", "voice_application_sid")


def test_a_secret_in_an_address_is_shown_to_nobody() -> None:
    renewed = replace(URL, voice_url=VAPI.replace("parrot", "macaw"))
    for rows in (
        difference(URL, moved(URL), mask=redact_url),
        difference(URL, renewed, mask=redact_url),
    ):
        assert "parrot" not in repr(rows)
        assert "macaw" not in repr(rows)
    assert changed(URL, renewed) == ("voice_url",)
    row = difference(URL, renewed, mask=redact_url)[0]
    assert row.old == row.new
    assert "secret" in row.words


def test_the_words_say_that_setting_one_deletes_the_other() -> None:
    rows = {each.field: each.words for each in difference(TRUNK, APP, mask=redact_url)}
    assert "by itself" in rows["trunk_sid"]
    assert "answers before" in rows["voice_application_sid"]


def test_the_effect_names_both_answerers_and_leaves_messages_alone() -> None:
    words = effect(target_of(TRUNK), target_of(moved(TRUNK)), mask=redact_url)
    assert "trunk TK1 now" in words
    assert f"{BASE}/twilio/voice" in words
    assert "Text messages are not touched" in words
    assert "not known" in effect(target_of(APP), target_of(URL), mask=redact_url)
    assert "nobody" in effect(target_of(number()), target_of(URL), mask=redact_url)
    assert "parrot" not in effect(target_of(URL), target_of(URL), mask=redact_url)
