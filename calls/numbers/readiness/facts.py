"""What is known of a number before it is moved: values, each with the time at which it was so.

Owns the forms in which facts reach the rules. A fact that nobody has is None or '', never a guess;
the rules call it not known. Pure; where facts come from is the caller's.
"""

from __future__ import annotations

import datetime as dt
from dataclasses import dataclass, field
from typing import Final, Literal

from calls.numbers.switch.net import Net
from calls.numbers.switch.voice import Application, VoiceConfig

# ``live``: asked just then. ``imported``: an export of Vapi's says so. ``entered``: a person here.
Source = Literal["live", "imported", "entered"]
# The margin of the issue: last month's most, and half as much again.
MARGIN: Final = 1.5
# Calls at once by the account's profile (twilio.md 8.1); None: no limit.
PROFILE_CALLS: Final[dict[str, int | None]] = {
    "none": 2,
    "individual": 3,
    "business": None,
    "older": None,
}
TRIAL_CALLS: Final = 5


@dataclass(frozen=True, slots=True)
class Sms:
    """Where text messages go; told and never touched."""

    url: str = field(default="", repr=False)
    application_sid: str = ""
    application_url: str = field(default="", repr=False)


@dataclass(frozen=True, slots=True)
class AtTwilio:
    """What the organisation's Twilio accounts say of the number.

    Args:
        config: as listed; None: no account that could be read has it.
        at: when the account gave its list.
        application: the app that the number names, if it could be read.
        account_sid: the account that has it; '' with no ``config``.
        account_name: what people call it.
        account_region: of the credentials.
        voice_region: whose record decides, by the routes API; '' if not known.
        unread: the accounts that gave no list, each with why.
        accounts: how many accounts the organisation has entered.
    """

    config: VoiceConfig | None = None
    at: dt.datetime | None = None
    application: Application | None = None
    account_sid: str = ""
    account_name: str = ""
    account_region: str = "us1"
    voice_region: str = ""
    sms: Sms = Sms()
    unread: tuple[str, ...] = ()
    accounts: int = 1


@dataclass(frozen=True, slots=True)
class Imported:
    """What an export of Vapi's says of the number. ``account_is_known``: entered here too."""

    at: dt.datetime
    provider: str
    account_is_known: bool = True


@dataclass(frozen=True, slots=True)
class Accepted:
    """Who accepted that callers hear something differently, when, and why."""

    who: str
    at: dt.datetime
    why: str


@dataclass(frozen=True, slots=True)
class Audible:
    """One thing that callers will hear differently.

    Args:
        words: the finding of the import, made again of the document as it is now.
        source: the very document: ``revision:`` and its id, or ``document:`` and its SHA-256 where
            a squad holds it. Another revision is another source, so it is asked again.
        place: the member of a squad it is about, '' with a single assistant.
        accepted: None until a person has accepted exactly this of exactly this document.
    """

    words: str
    source: str = ""
    place: str = ""
    accepted: Accepted | None = None

    def shown(self) -> str:
        """Return the words with their place."""
        return f"{self.place}: {self.words}" if self.place else self.words


@dataclass(frozen=True, slots=True)
class Answering:
    """Who would answer here.

    Args:
        name: of the assistant, or of a squad's first member.
        at: when what it says now was published; None: nothing is.
        wrong: what in its documents needs a correction, in words.
        audible: what callers will hear differently, accepted or not.
        unsupported: how many fields do nothing here.
        is_deleted: the assistant is gone.
        sources: every document that was read for this, as in ``Audible``.
    """

    name: str
    assistant_id: str
    at: dt.datetime | None
    wrong: tuple[str, ...] = ()
    audible: tuple[Audible, ...] = ()
    unsupported: int = 0
    is_deleted: bool = False
    sources: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Secrets:
    """Secrets that the documents behind the number lack. ``perhaps``: the server may need none."""

    at: dt.datetime
    missing: tuple[str, ...] = ()
    perhaps: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Policy:
    """The call policy. ``lacks_person``: it promises a person whom nobody named."""

    name: str
    policy_id: str
    reviewed_at: dt.datetime | None
    has_wording: bool = True
    lacks_person: bool = False


@dataclass(frozen=True, slots=True)
class Connection:
    """The model connection that would be used.

    Args:
        forbidden: why its contract excludes it.
        at: when its contract was signed, else when it was entered.
    """

    name: str
    connection_id: str
    model: str
    region: str = ""
    forbidden: str = ""
    at: dt.datetime | None = None


@dataclass(frozen=True, slots=True)
class Peak:
    """Most calls at once in the last 31 days.

    ``at`` None: there was none. ``is_least``: the list was cut, so there may have been more.
    """

    calls: int
    at: dt.datetime | None
    checked_at: dt.datetime
    is_least: bool = False


@dataclass(frozen=True, slots=True)
class Account:
    """What is known of the limits of the number's Twilio account.

    Args:
        status, kind: Twilio's words, '' if not asked yet.
        profile: one of ``PROFILE_CALLS``, '' if nobody entered it.
        calls_per_second: outgoing; None if nobody entered it.
        peak: of all calls of the account; None if not counted.
    """

    status: str = ""
    kind: str = ""
    at: dt.datetime | None = None
    profile: str = ""
    calls_per_second: int | None = None
    entered_at: dt.datetime | None = None
    peak: Peak | None = None


@dataclass(frozen=True, slots=True)
class Limit:
    """A limit of a minute, and who said so when."""

    limit: int
    source: Source
    at: dt.datetime


@dataclass(frozen=True, slots=True)
class ModelUse:
    """The connection's limits, and what its calls will need of them.

    Args:
        tokens, requests: None if not known.
        tokens_per_call, requests_per_call: what one call uses in a minute, measured on
            ``measured_calls`` calls of the last 31 days; None if there were too few.
        peak: of the calls to all numbers of the connection; None if not counted.
    """

    tokens: Limit | None = None
    requests: Limit | None = None
    tokens_per_call: float | None = None
    requests_per_call: float | None = None
    measured_calls: int = 0
    measured_at: dt.datetime | None = None
    peak: Peak | None = None


@dataclass(frozen=True, slots=True)
class Check:
    """One result of the doctor's."""

    name: str
    state: Literal["ok", "warning", "failed"]
    detail: str
    fix: str = ""


@dataclass(frozen=True, slots=True)
class Health:
    """What the doctor found of this installation and of the number's account and connection."""

    at: dt.datetime
    checks: tuple[Check, ...] = ()


@dataclass(frozen=True, slots=True)
class NumberFacts:
    """Everything that is known of one number.

    Args:
        is_here: it has a row, so it can answer here.
        is_readable: false when something behind the row was sealed with a key that is gone.
        account_sid: the account of that row, '' without one.
        asks_server: a server names the assistant of each call.
        net: whom Twilio would ask when we do not answer.
        has_person: a caller can reach a person, or hears last words, when no model answers.
        slowest_ms: how long a hand-over of this number may take.
        our_url: any address of ours.
        at: when the rows here were read.
    """

    number_e164: str
    twilio: AtTwilio
    net: Net
    our_url: str
    is_here: bool = True
    is_readable: bool = True
    number_id: str = ""
    route: str = "vapi"
    account_sid: str = ""
    imported: Imported | None = None
    answering: Answering | None = None
    asks_server: bool = False
    secrets: Secrets | None = None
    policy: Policy | None = None
    connection: Connection | None = None
    account: Account = Account()
    model: ModelUse = ModelUse()
    has_person: bool = True
    health: Health | None = None
    slowest_ms: int = 1_000
    at: dt.datetime | None = None
