"""Questions to the real services that documentation leaves open, asked with the user's own keys.

Owns the list of questions (openai_realtime.md 15, twilio.md 12), those that can be asked without a
call, and plain words for those that cannot. Blocking; without a call every question is a session
without speech or a read, so nothing is bought; ``live_call`` places one. It must not show a key.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, Final, Literal

from requests import RequestException
from twilio.base.exceptions import TwilioException, TwilioRestException

from calls.doctor.connection_test import connection_test, plain_session, session_try
from calls.doctor.live_call import LiveCallError, live_call
from calls.models import PhoneNumber, ProviderConnection, TwilioAccount
from calls.services.talk_plan import is_standin
from calls.telephony.twilio_client import access_of, client_for

State = Literal["answered", "failed", "not checked"]
Session = dict[str, Any]
_NEEDS_SPEECH: Final = "it takes a session in which somebody speaks, and this check says nothing"
_NEEDS_CALL: Final = "it takes a real call; place one with --number and --call"
_NOT_BY_A_CALL: Final = "one plain call does not show it"


@dataclass(frozen=True, slots=True)
class LiveItem:
    """One question: where it comes from, what came of it. ``by`` names who answered."""

    source: str
    question: str
    state: State
    answer: str
    by: str = ""


def _function(parameters: dict[str, Any], **more: Any) -> Session:
    return {
        "type": "function",
        "name": "probe",
        "description": "Never call this.",
        "parameters": parameters,
        **more,
    }


def _text(description: str = "") -> dict[str, Any]:
    return {"type": "object", "properties": {"a": {"type": "string", "description": description}}}


def _any_of(session: Session) -> None:
    either = {"anyOf": [{"type": "string"}, {"type": "integer"}]}
    session["tools"] = [_function({"type": "object", "properties": {"a": either}})]


def _ref(session: Session) -> None:
    parameters = {
        "type": "object",
        "properties": {"a": {"$ref": "#/$defs/A"}},
        "$defs": {"A": {"type": "string"}},
    }
    session["tools"] = [_function(parameters)]


def _nullable(session: Session) -> None:
    parameters = {"type": "object", "properties": {"a": {"type": ["string", "null"]}}}
    session["tools"] = [_function(parameters)]


def _strict(session: Session) -> None:
    session["tools"] = [_function(_text(), strict=True)]


def _many_tools(session: Session) -> None:
    session["tools"] = [{**_function(_text()), "name": f"probe_{n}"} for n in range(129)]


def _long_description(session: Session) -> None:
    session["tools"] = [{**_function(_text()), "description": "d" * 1_500}]


def _rate(session: Session) -> None:
    session["audio"]["input"]["format"] = {"type": "audio/pcmu", "rate": 8000}


_PROBES: Final[tuple[tuple[str, str, Callable[[Session], None]], ...]] = (
    ("15.1", "Does a tool's schema take a nested anyOf?", _any_of),
    ("15.1", "Does a tool's schema take $ref and $defs?", _ref),
    ("15.1", "Does a tool's schema take a type list with null?", _nullable),
    ("15.1", "Does a tool take strict?", _strict),
    ("15.1", "Are more than 128 tools taken?", _many_tools),
    ("15.1", "Is a description over 1024 characters taken?", _long_description),
    ("15.3", "Is a rate beside audio/pcmu taken?", _rate),
)
_MODEL_LATER: Final = (
    ("15.2", "Does a partial turn_detection merge or replace?"),
    ("15.4", "Is a verbatim greeting followed reliably?"),
    ("15.5", "How large are deltas of mu-law, and how fast do they come?"),
    ("15.6", "What does a replay of function calls after a reconnect do?"),
    ("15.7", "Does Azure still serve the preview address?"),
    ("15.8", "What happens when the quota ends during a call?"),
)
_CARRIER_LATER: Final = (
    ("12.1", "Headers and signed URL of the media handshake"),
    ("12.2", "What happens to a call on 403, a slow accept, a kill, our close"),
    ("12.3", "When marks come back, and in which order after clear"),
    ("12.4", "Gaps in the caller's audio"),
    ("12.5", "Channels and offset of a recording"),
    ("12.6", "The fallback URL to the previous stack"),
    ("12.7", "Time from an update of a number to its first call"),
    ("12.8", "A duplicate webhook on a slow answer"),
    ("12.9", "Completing a call that has ended"),
    ("12.10", "The gap of keys played through a reconnect"),
    ("12.11", "Billing lines of one call"),
    ("12.12", "The account's profile, ceilings and region"),
)


def live_items(
    connection: ProviderConnection | None,
    account: TwilioAccount | None,
    number: str = "",
    *,
    calls: bool = False,
    caller: str = "",
) -> Iterator[LiveItem]:
    """Ask what can be asked, one by one; every question yields exactly one item.

    Args:
        calls: place one real call to ``number``, which is put back as it was.
        caller: the number to call from, '' picks one.
    """
    yield from _model_items(connection)
    yield _number_item(account, number)
    later = {
        **{f"openai_realtime.md {source}": question for source, question in _MODEL_LATER},
        **{f"twilio.md {source}": question for source, question in _CARRIER_LATER},
    }
    told: dict[str, LiveItem] = {}
    if calls and account is not None:
        for item in _call_items(account, number, caller):
            if item.source in later:
                told[item.source] = item
            else:
                yield item
    if account is not None and number:
        told["twilio.md 12.12"] = _account_item(account)
    for source, question in later.items():
        spoken = source.startswith("openai") and not calls
        why = _NEEDS_SPEECH if spoken else _NOT_BY_A_CALL if calls else _NEEDS_CALL
        yield told.get(source) or LiveItem(source, question, "not checked", why)


def _call_items(account: TwilioAccount, number: str, caller: str) -> Iterator[LiveItem]:
    by = "the stand-in" if account.api_base_url else "Twilio"
    try:
        for each in live_call(account, number, caller):
            yield LiveItem(each.source, each.question, each.state, each.answer, by)
    except LiveCallError as error:
        yield LiveItem("the call", "Can a real call be placed?", "failed", str(error), by)


def _account_item(account: TwilioAccount) -> LiveItem:
    source, question = "twilio.md 12.12", dict(_CARRIER_LATER)["12.12"]
    by = "the stand-in" if account.api_base_url else "Twilio"
    access = access_of(account)
    try:
        row = client_for(access).api.v2010.accounts(account.account_sid).fetch()
    except TwilioRestException as error:
        return LiveItem(source, question, "failed", f"refused: {error.status} {error.code}", by)
    except (TwilioException, RequestException) as error:
        return LiveItem(source, question, "failed", type(error).__name__, by)
    return LiveItem(
        source,
        question,
        "answered",
        f"type {row.type}, {row.status}, region {account.region}; profile and ceilings are shown "
        "in the console only",
        by,
    )


def _model_items(connection: ProviderConnection | None) -> Iterator[LiveItem]:
    first = "Does a session open with this key and model?"
    if connection is None:
        missing = "there is no model connection; add one under Connections"
        yield LiveItem("openai_realtime.md 1", first, "not checked", missing)
        blocked = missing
    else:
        by = "the stand-in" if is_standin(connection) else connection.name
        test = connection_test(connection)
        words = test.words if test.is_ok else f"{test.words} {test.fix}"
        state: State = "answered" if test.is_ok else "failed"
        yield LiveItem("openai_realtime.md 1", first, state, words, by)
        blocked = "" if test.is_ok else "no session opens"
        if test.is_ok and connection.dialect == ProviderConnection.Dialect.BETA:
            blocked = "these are questions to the GA dialect"
    for source, question, change in _PROBES:
        source = f"openai_realtime.md {source}"
        if blocked or connection is None:
            yield LiveItem(source, question, "not checked", blocked)
        else:
            yield _probe(connection, source, question, change, by)


def _probe(
    connection: ProviderConnection,
    source: str,
    question: str,
    change: Callable[[Session], None],
    by: str,
) -> LiveItem:
    event = json.loads(plain_session(connection))
    change(event["session"])
    test = session_try(connection, json.dumps(event))
    # A refusal that names the session is an answer; a broken way there is none.
    if test.is_ok:
        return LiveItem(source, question, "answered", "yes", by)
    if test.opened_ms is not None and not test.code.startswith(("close_", "timeout")):
        return LiveItem(source, question, "answered", f"no: {test.code}", by)
    return LiveItem(source, question, "failed", test.words, by)


def _number_item(account: TwilioAccount | None, number: str) -> LiveItem:
    source, question = "twilio.md 5.1", "Does Twilio take the account's token and know the number?"
    if account is None:
        why = "there is no Twilio account; add one under Connections"
        return LiveItem(source, question, "not checked", why)
    if not number:
        return LiveItem(source, question, "not checked", "no number was given with --number")
    by = "the stand-in" if account.api_base_url else "Twilio"
    access = access_of(account)
    try:
        rows = client_for(access).incoming_phone_numbers.list(phone_number=number, limit=1)
    except TwilioRestException as error:
        return LiveItem(source, question, "failed", f"refused: {error.status} {error.code}", by)
    except (TwilioException, RequestException) as error:
        return LiveItem(source, question, "failed", type(error).__name__, by)
    if not rows:
        return LiveItem(source, question, "failed", f"the account has no number {number}", by)
    return LiveItem(source, question, "answered", "yes", by)


def account_of(number: str) -> TwilioAccount | None:
    """Return the account of a number we know, else the only account, else None."""
    known = PhoneNumber.objects.filter(number_e164=number).select_related("twilio_account").first()
    if known is not None:
        account: TwilioAccount = known.twilio_account
        return account
    accounts: list[TwilioAccount] = list(TwilioAccount.objects.all()[:2])
    return accounts[0] if len(accounts) == 1 else None
