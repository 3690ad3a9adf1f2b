"""One number at several places, joined: its row here, what an import kept, and what Twilio lists.

Owns the joining by the number itself in one form (E.164), and the facts that need several places:
the most calls at once of an account and of a connection. Reads only; the asking and the storing are
others'.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Final
from uuid import UUID

from django.utils import timezone

from assistants.models import StoredResource
from assistants.selectors import NUMBER_KIND, resource_list
from calls.doctor.checks import Result
from calls.models import AccountFacts, PhoneNumber, ProviderConnection, TwilioAccount
from calls.numbers.readiness.capacity import most_at_once
from calls.numbers.readiness.facts import (
    Account,
    AtTwilio,
    Check,
    Health,
    Imported,
    ModelUse,
    NumberFacts,
    Peak,
)
from calls.numbers.readiness.verdict import Verdict, verdict_of
from calls.numbers.switch.net import Net, net_for
from calls.numbers.switch.voice import target_of
from calls.services.nets import net_address_of
from calls.services.readiness_here import (
    CallSpan,
    HereReader,
    e164_of,
    model_use,
    numbers_of,
    own_spans,
)
from calls.services.readiness_twilio import AccountLook, NumberLook
from calls.telephony.addresses import public_url
from voiceplatform.base.fields import DecryptionError
from voiceplatform.base.models import Organisation
from voiceplatform.base.phones import normalised
from voiceplatform.base.redaction_urls import redact_url

# Checks whose name ends in the name of an account or a connection concern its numbers alone.
_OF_ACCOUNT: Final = "signature "
_OF_CONNECTION: Final = "session "
_LONGEST: Final = 40


@dataclass(frozen=True, slots=True)
class Joined:
    """One number with the places at which it is. ``number_id`` without ``row``: not readable."""

    number_e164: str
    row: PhoneNumber | None = None
    number_id: UUID | None = None
    companion: StoredResource | None = None
    look: AccountLook | None = None

    @property
    def at_twilio(self) -> NumberLook | None:
        """Return what its account lists of it."""
        return self.look.numbers.get(self.number_e164) if self.look is not None else None

    @property
    def twilio_sid(self) -> str:
        """Return Twilio's id of it, '' if it was not listed."""
        found = self.at_twilio
        return found.config.sid if found is not None else ""

    @property
    def companion_id(self) -> UUID | None:
        """Return the id of what an import kept."""
        return self.companion.pk if self.companion is not None else None

    @property
    def account(self) -> TwilioAccount | None:
        """Return the account that lists it, else the one of its row."""
        if self.look is not None:
            return self.look.account
        return self.row.twilio_account if self.row is not None else None


class Joiner:
    """Joins the numbers of one organisation and judges each."""

    def __init__(
        self, organisation: Organisation, looks: Sequence[AccountLook], unread: Sequence[str]
    ) -> None:
        self.looks = looks
        self.health: Sequence[Result] = ()
        self._organisation = organisation
        self._now = timezone.now()
        self._here = HereReader(organisation, now=self._now)
        self._unread = (
            *unread,
            *(f"{look.account.name}: {look.error}" for look in looks if look.error),
        )
        self._accounts = TwilioAccount.objects.for_organisation(organisation)
        self._sids = set(self._accounts.values_list("account_sid", flat=True))
        self._facts = {
            row.account_id: row for row in AccountFacts.objects.for_organisation(organisation)
        }
        self._spans = self._all_spans()
        self._joined = self._join()
        self._uses: dict[Any, ModelUse] = {}

    def numbers(self) -> list[Joined]:
        """Return every number once, in order."""
        return [self._joined[key] for key in sorted(self._joined)]

    def silent_accounts(self) -> list[Any]:
        """Return the ids of accounts that gave no whole list."""
        listed = [look.account.pk for look in self.looks if not look.error]
        return list(self._accounts.exclude(pk__in=listed).values_list("pk", flat=True))

    def connections(self) -> list[ProviderConnection]:
        """Return the connections that the numbers would use, each once."""
        found = {}
        for each in self._joined.values():
            row = self._here.connection_of(each.row) if each.row is not None else None
            if row is not None:
                found[row.pk] = row
        return _readable(found)

    def judge(self, joined: Joined) -> Verdict:
        """Return the verdict on one number."""
        return verdict_of(self._number_facts(joined), redact_url)

    # ---- joining --------------------------------------------------------------------------

    def _join(self) -> dict[str, Joined]:
        rows: dict[str, tuple[UUID, PhoneNumber | None]] = {}
        lost: list[UUID] = []
        for pk, row in numbers_of(self._organisation):
            if row is None:
                lost.append(pk)
            else:
                rows[normalised(row.number_e164)] = (pk, row)
        for pk, number_e164 in e164_of(lost).items():
            rows[normalised(number_e164)] = (pk, None)
        kept = self._companions()
        listed: dict[str, AccountLook] = {}
        for look in self.looks:
            for number_e164 in look.numbers:
                # Of two accounts that list it the one that it is entered with counts.
                _, row = rows.get(number_e164, (None, None))
                is_own = row is not None and row.twilio_account_id == look.account.pk
                if number_e164 not in listed or is_own:
                    listed[number_e164] = look
        found = {}
        for key in {*rows, *kept, *listed}:
            pk, row = rows.get(key, (None, None))
            found[key] = Joined(key, row, pk, kept.get(key), listed.get(key))
        return found

    def _companions(self) -> dict[str, StoredResource]:
        """Return what imports kept, the newest of each number."""
        rows = resource_list(self._organisation, NUMBER_KIND).defer("document")
        found: dict[str, StoredResource] = {}
        for row in rows.order_by("updated_at", "pk"):
            said = row.document_redacted
            texts = (said.get(name) for name in ("number", "twilioPhoneNumber", "sipUri"))
            text = next((each for each in texts if isinstance(each, str) and each), "")
            if text:
                found[normalised(text)[:_LONGEST]] = row
        return found

    # ---- last month's calls ---------------------------------------------------------------

    def _all_spans(self) -> dict[Any, list[CallSpan]]:
        """Return the calls of each account whose list was given, ours among them, each once."""
        own = own_spans(self._organisation, self._now)
        found: dict[Any, list[CallSpan]] = {}
        for look in self.looks:
            if look.spans is not None:
                account_id = look.account.pk
                by_sid = {each.call_sid: each for each in own.get(account_id, ())}
                by_sid |= {each.call_sid: each for each in look.spans}
                found[account_id] = list(by_sid.values())
        return found

    def peak_of_account(self, look: AccountLook) -> Peak | None:
        """Return the most calls at once of an account, None if its calls were not listed."""
        spans = self._spans.get(look.account.pk)
        return None if spans is None else self._peak(spans, is_least=look.is_cut)

    def _peak(self, spans: Iterable[CallSpan], *, is_least: bool) -> Peak:
        most, at = most_at_once((each.begin, each.end) for each in spans)
        moment = dt.datetime.fromtimestamp(at, dt.UTC) if at is not None else None
        return Peak(most, moment, self._now, is_least)

    def _use_of(self, connection: ProviderConnection) -> ModelUse:
        if connection.pk not in self._uses:
            peak = self._peak_of(connection)
            self._uses[connection.pk] = model_use(connection, peak=peak, now=self._now)
        return self._uses[connection.pk]

    def _peak_of(self, connection: ProviderConnection) -> Peak | None:
        """Return the most calls at once to the numbers of a connection; None if not all known."""
        numbers: set[str] = set()
        accounts: set[Any] = set()
        for key, each in self._joined.items():
            used = self._here.connection_of(each.row) if each.row is not None else None
            if used is not None and used.pk == connection.pk and each.row is not None:
                numbers.add(key)
                accounts.add(each.row.twilio_account_id)
        if not accounts <= self._spans.keys():
            return None
        spans = (
            span
            for account_id in accounts
            for span in self._spans[account_id]
            if span.number_e164 in numbers
        )
        is_least = any(look.is_cut for look in self.looks if look.account.pk in accounts)
        return self._peak(spans, is_least=is_least)

    # ---- facts ----------------------------------------------------------------------------

    def _number_facts(self, joined: Joined) -> NumberFacts:
        row, look, found = joined.row, joined.look, joined.at_twilio
        facts = NumberFacts(
            number_e164=joined.number_e164,
            twilio=self._at_twilio(look, found),
            net=self._net(row, found),
            our_url=public_url("/twilio/voice"),
            is_here=joined.number_id is not None,
            is_readable=row is not None or joined.number_id is None,
            number_id=str(joined.number_id or ""),
            route=row.route if row is not None else "",
            account_sid=row.twilio_account.account_sid if row is not None else "",
            imported=self._imported(joined),
            account=self._account(look),
            at=self._now,
        )
        if row is None:
            return facts
        return self._with_here(facts, row)

    def _with_here(self, facts: NumberFacts, row: PhoneNumber) -> NumberFacts:
        try:
            here = self._here.facts_of(row)
        except DecryptionError:
            return replace(facts, is_readable=False)
        connection = self._here.connection_of(row)
        return replace(
            facts,
            answering=here.answering,
            asks_server=here.asks_server,
            secrets=here.secrets,
            policy=here.policy,
            connection=here.connection,
            has_person=here.has_person,
            model=self._use_of(connection) if connection is not None else ModelUse(),
            health=self._health(row, connection),
        )

    def _at_twilio(self, look: AccountLook | None, found: NumberLook | None) -> AtTwilio:
        if look is None or found is None:
            listed = [each.at for each in self.looks if not each.error]
            return AtTwilio(
                at=max(listed, default=None),
                unread=self._unread,
                accounts=len(self._sids),
            )
        return AtTwilio(
            config=found.config,
            at=look.at,
            application=found.application,
            account_sid=look.account.account_sid,
            account_name=look.account.name,
            account_region=look.account.region,
            voice_region=found.voice_region,
            sms=found.sms,
            accounts=len(self._sids),
        )

    def _net(self, row: PhoneNumber | None, found: NumberLook | None) -> Net:
        if found is None:
            return Net("none")
        address, method = net_address_of(row) if row is not None else ("", "POST")
        before = target_of(found.config, found.application)
        our_url = public_url("/twilio/voice")
        return net_for(before, our_url=our_url, address=address, method=method)

    def _imported(self, joined: Joined) -> Imported | None:
        if joined.companion is None:
            return None
        said: Mapping[str, Any] = joined.companion.document_redacted
        return Imported(
            at=joined.companion.updated_at,
            provider=str(said.get("provider") or "twilio"),
            account_is_known=str(said.get("twilioAccountSid") or "") in self._sids,
        )

    def _account(self, look: AccountLook | None) -> Account:
        if look is None:
            return Account()
        entered = self._facts.get(look.account.pk)
        return Account(
            status=look.status,
            kind=look.kind,
            at=look.at if look.status else None,
            profile=entered.profile if entered is not None else "",
            calls_per_second=entered.calls_per_second if entered is not None else None,
            entered_at=entered.entered_at if entered is not None else None,
            peak=self.peak_of_account(look),
        )

    def _health(self, row: PhoneNumber, connection: ProviderConnection | None) -> Health | None:
        if not self.health:
            return None
        own = {
            f"{_OF_ACCOUNT}{row.twilio_account.name}",
            f"{_OF_CONNECTION}{connection.name}" if connection is not None else "",
        }
        checks = tuple(
            Check(each.check, each.state, each.detail, each.fix)
            for each in self.health
            if each.check in own or not each.check.startswith((_OF_ACCOUNT, _OF_CONNECTION))
        )
        return Health(self._now, checks)


def _readable(rows: Mapping[Any, ProviderConnection]) -> list[ProviderConnection]:
    """Return the connections whose key can be read; the others are told of by the doctor's page."""
    found = []
    for row in rows.values():
        try:
            row.refresh_from_db(fields=["api_key"])
        except DecryptionError:
            continue
        found.append(row)
    return found
