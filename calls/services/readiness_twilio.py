"""What Twilio says of an organisation's accounts: numbers, apps, regions, and last month's calls.

Owns the asking, with so many requests at a time, and the reading of answers. It only reads, so
read-only credentials suffice; it writes no rows and runs outside of transactions. An account that
does not answer hides no other one.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable, Iterable, Mapping
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from dataclasses import dataclass, field, replace
from email.utils import parsedate_to_datetime
from functools import partial
from typing import Any, Final, TypeVar

import structlog
from django.utils import timezone

from calls.models import TwilioAccount
from calls.numbers.readiness.facts import Sms
from calls.numbers.switch.voice import (
    Application,
    UnreadableNumber,
    VoiceConfig,
    read,
    read_application,
)
from calls.services.readiness_here import MONTH, CallSpan
from calls.telephony.twilio_rest import TwilioRefused, TwilioRest, TwilioSilent
from voiceplatform.base.fields import DecryptionError
from voiceplatform.base.phones import normalised

# Requests at a time, of all accounts together. Twilio turns away what is too concurrent (8.1);
# the wrapper waits and asks again then.
AT_ONCE: Final = 8
MOST_CALLS: Final = 100_000

log = structlog.get_logger(__name__)

_Done = TypeVar("_Done")
_Of = TypeVar("_Of")
Rest = Callable[[TwilioAccount], TwilioRest]
Tell = Callable[[int, int, str], None]


@dataclass(frozen=True, slots=True)
class NumberLook:
    """What Twilio says of one number."""

    config: VoiceConfig
    sms: Sms
    application: Application | None = None
    voice_region: str = ""


@dataclass(slots=True)
class AccountLook:
    """What Twilio says of one account. ``error``: why there is no whole list of its numbers.

    ``spans`` None: its calls could not be listed; ``is_cut``: not all of them were.
    """

    account: TwilioAccount
    at: dt.datetime
    error: str = ""
    status: str = ""
    kind: str = ""
    numbers: dict[str, NumberLook] = field(default_factory=dict)
    spans: list[CallSpan] | None = None
    is_cut: bool = False


def accounts_look(
    accounts: Iterable[TwilioAccount], *, tell: Tell, rest: Rest = TwilioRest
) -> list[AccountLook]:
    """Ask every account, several requests at a time, and return what each said.

    Args:
        accounts: with their secrets readable; see ``readable``.
        tell: is told how far it is: done, total, words. What it raises ends the looking.
        rest: how an account is asked.
    """
    looks: list[AccountLook] = []
    with ThreadPoolExecutor(AT_ONCE, thread_name_prefix="readiness") as pool:
        try:
            opened = [(each, _opened(each, rest)) for each in accounts]
            doing = {
                pool.submit(_account, account, found): found
                for account, found in opened
                if isinstance(found, TwilioRest)
            }
            looks += [
                AccountLook(account, timezone.now(), found)
                for account, found in opened
                if isinstance(found, str)
            ]
            named = dict(_each(doing, tell, "Listing the numbers of Twilio accounts"))
            details: dict[Future[NumberLook], tuple[AccountLook, str]] = {}
            for future, asked in named.items():
                look = future.result()
                looks.append(look)
                apps = _Applications(asked)
                for number_e164, number in look.numbers.items():
                    work = partial(_details, asked, apps, number)
                    details[pool.submit(work)] = (look, number_e164)
            for done, (look, number_e164) in _each(details, tell, "Reading numbers at Twilio"):
                look.numbers[number_e164] = done.result()
        finally:
            pool.shutdown(cancel_futures=True)
    return looks


def _each(
    doing: Mapping[Future[_Done], _Of], tell: Tell, words: str
) -> list[tuple[Future[_Done], _Of]]:
    """Wait for all, telling how far it is."""
    left = set(doing)
    while left:
        tell(len(doing) - len(left), len(doing), words)
        _, left = wait(left, timeout=0.5, return_when=FIRST_COMPLETED)
    return list(doing.items())


def readable(account_id: Any) -> TwilioAccount | str:
    """Return an account with its secrets, or why they cannot be read."""
    try:
        return TwilioAccount.objects.get(pk=account_id)
    except DecryptionError:
        return "its token was sealed with a key that is gone"


def _opened(account: TwilioAccount, rest: Rest) -> TwilioRest | str:
    try:
        return rest(account)
    except ValueError as error:
        return str(error)


def _account(account: TwilioAccount, rest: TwilioRest) -> AccountLook:
    """List one account; runs in a thread and touches no row."""
    look = AccountLook(account, timezone.now())
    try:
        found = rest.account()
        look.status, look.kind = str(found.get("status") or ""), str(found.get("type") or "")
        for resource in rest.numbers():
            _note(look, resource)
    except (TwilioRefused, TwilioSilent) as error:
        look.error = _why(error)
        log.info("account_not_listed", account_sid=account.account_sid[:6])
        return look
    try:
        look.spans, look.is_cut = _spans(rest, look.at)
    except (TwilioRefused, TwilioSilent):
        log.info("calls_not_listed", account_sid=account.account_sid[:6])
    return look


def _why(error: TwilioRefused | TwilioSilent) -> str:
    if isinstance(error, TwilioRefused) and error.is_login:
        return f"Twilio does not take its token or key ({error.status})"
    if isinstance(error, TwilioRefused):
        return f"Twilio refused the list ({error.status}, code {error.code})"
    return str(error)


def _note(look: AccountLook, resource: Mapping[str, Any]) -> None:
    try:
        config = read(resource)
    except UnreadableNumber:
        # Left out, it would look as if the account did not have it.
        look.error = "Twilio's list has a number that makes no sense; fetch it again"
        return
    sms = Sms(
        url=str(resource.get("sms_url") or ""),
        application_sid=str(resource.get("sms_application_sid") or ""),
    )
    look.numbers[normalised(config.number_e164)] = NumberLook(config, sms)


class _Applications:
    """The TwiML apps of one account, each asked for once as long as it can be read."""

    def __init__(self, rest: TwilioRest) -> None:
        self._rest = rest
        self._known: dict[str, Mapping[str, Any]] = {}

    def resource(self, sid: str) -> Mapping[str, Any]:
        """Return an app's resource, empty if it cannot be read. Two threads may both ask."""
        if sid not in self._known:
            try:
                self._known[sid] = self._rest.application(sid)
            except (TwilioRefused, TwilioSilent):
                self._known[sid] = {}
        return self._known[sid]


def _details(rest: TwilioRest, apps: _Applications, number: NumberLook) -> NumberLook:
    """Ask for a number's region and apps; runs in a thread."""
    try:
        region = rest.voice_region(number.config.number_e164)
    except TwilioSilent:
        region = ""
    config, sms = number.config, number.sms
    application = None
    if config.voice_application_sid and not config.trunk_sid:
        try:
            application = read_application(apps.resource(config.voice_application_sid))
        except UnreadableNumber:
            application = None
    if sms.application_sid:
        url = str(apps.resource(sms.application_sid).get("sms_url") or "")
        sms = replace(sms, application_url=url)
    return replace(number, application=application, voice_region=region, sms=sms)


def _spans(rest: TwilioRest, now: dt.datetime) -> tuple[list[CallSpan], bool]:
    """Return the account's calls of the last 31 days, and whether there were more of them."""
    since = now - MONTH
    spans: list[CallSpan] = []
    # Twilio's filter is by day (twilio.md 4.3).
    for count, row in enumerate(rest.pages("Calls.json", {"StartTime>": f"{since:%Y-%m-%d}"})):
        if count >= MOST_CALLS:
            return spans, True
        begin, end = _moment(row.get("start_time")), _moment(row.get("end_time"))
        if begin is None or begin < since.timestamp():
            continue
        number = normalised(str(row.get("to") or ""))
        spans.append(CallSpan(str(row.get("sid") or ""), number, begin, end or now.timestamp()))
    return spans, False


def _moment(text: Any) -> float | None:
    try:
        moment = parsedate_to_datetime(str(text))
    except ValueError:
        return None
    return (moment if moment.tzinfo else moment.replace(tzinfo=dt.UTC)).timestamp()
