"""A number against which nothing speaks, and the ways to spoil it, one finding each."""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable
from dataclasses import replace
from typing import Any, Final

from calls.numbers.readiness.facts import (
    Account,
    Answering,
    AtTwilio,
    Check,
    Connection,
    Health,
    Imported,
    Limit,
    ModelUse,
    NumberFacts,
    Peak,
    Policy,
    Secrets,
)
from calls.numbers.switch.net import Net
from calls.numbers.switch.voice import VoiceConfig

NOW: Final = dt.datetime(2026, 11, 23, 12, tzinfo=dt.UTC)
NUMBER: Final = "+15550100001"
ACCOUNT: Final = "AC" + "a" * 32
OUR_URL: Final = "https://voice.example.com/twilio/voice"
OLD_URL: Final = "https://old.example/twilio/inbound_call"

Spoil = Callable[[NumberFacts], NumberFacts]


def ready(**changed: Any) -> NumberFacts:
    """Return the facts of a number that is ready in every respect."""
    config = VoiceConfig("PN1", ACCOUNT, NUMBER, voice_url=OLD_URL)
    facts = NumberFacts(
        number_e164=NUMBER,
        twilio=AtTwilio(
            config=config,
            at=NOW,
            account_sid=ACCOUNT,
            account_name="Main",
            voice_region="us1",
        ),
        net=Net("address", "https://bin.example/person"),
        our_url=OUR_URL,
        number_id="n1",
        account_sid=ACCOUNT,
        imported=Imported(NOW, "twilio"),
        answering=Answering("Harbour Dental", "a1", NOW),
        secrets=Secrets(NOW),
        policy=Policy("Ohio", "p1", NOW),
        connection=Connection("OpenAI", "c1", "gpt-realtime-2.1", "us", at=NOW),
        account=Account("active", "Full", NOW, "business", 1, NOW, Peak(4, NOW, NOW)),
        model=ModelUse(
            tokens=Limit(100_000, "live", NOW),
            tokens_per_call=4_000.0,
            measured_calls=40,
            measured_at=NOW,
            peak=Peak(4, NOW, NOW),
        ),
        at=NOW,
        health=Health(NOW, (Check("public URL", "ok", "/readyz answers 200"),)),
    )
    return replace(facts, **changed)


def at_twilio(facts: NumberFacts, **changed: Any) -> NumberFacts:
    """Change what Twilio says beside the configuration."""
    return replace(facts, twilio=replace(facts.twilio, **changed))


def configured(facts: NumberFacts, **changed: Any) -> NumberFacts:
    """Change the number's configuration at Twilio."""
    assert facts.twilio.config is not None
    return at_twilio(facts, config=replace(facts.twilio.config, **changed))


# Each spoils one thing, and no other one hides it. The code is what has to be found.
BLOCKERS: Final[dict[str, Spoil]] = {
    "other_account": lambda facts: replace(facts, account_sid="AC" + "b" * 32),
    "region_without_streams": lambda facts: at_twilio(facts, voice_region="br1"),
    "not_voice": lambda facts: configured(facts, voice_receive_mode="fax"),
    "net_is_ours": lambda facts: replace(facts, net=Net("address", OUR_URL)),
    "account_too_small": lambda facts: replace(
        facts, account=replace(facts.account, profile="individual")
    ),
    "no_assistant": lambda facts: replace(facts, answering=None),
    "secrets_missing": lambda facts: replace(
        facts, secrets=Secrets(NOW, ("Authorization for tools.example",))
    ),
    "policy_unreviewed": lambda facts: replace(facts, policy=Policy("Ohio", "p1", None)),
    "contract": lambda facts: replace(
        facts,
        connection=Connection(
            "OpenAI",
            "c1",
            "gpt-realtime-2.1",
            "us",
            "the number carries health data and the model connection has no signed BAA",
        ),
    ),
    "model_too_small": lambda facts: replace(
        facts, model=replace(facts.model, tokens=Limit(20_000, "live", NOW))
    ),
    "doctor_media_socket": lambda facts: replace(
        facts, health=Health(NOW, (Check("media socket", "failed", "InvalidURI", "Fix it."),))
    ),
    "policy_no_person": lambda facts: replace(
        facts, policy=replace(facts.policy or Policy("Ohio", "p1", NOW), lacks_person=True)
    ),
}
# What is found alone: with one of these the rest of Twilio's side is not looked at.
OWNERS: Final = ("other_account",)
BEHIND_OWNER: Final = ("region_without_streams", "not_voice", "net_is_ours")
