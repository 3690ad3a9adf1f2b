"""The net of one number at Twilio without Vapi: written, read back, put back.

Owns the one write that leaving makes at Twilio, the fallback address of a number, and that the
row of its move knows of it: a probe and a restore compare with what that row says was written.
Asks outside of any transaction. Which address it is stands in ``NumberNet``.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import structlog
from django.db import transaction

from calls.models import NumberMove, NumberNet, PhoneNumber
from calls.numbers.switch import kept
from calls.numbers.switch.voice import UnreadableNumber, VoiceConfig, read
from calls.numbers.switch.writes import changed
from calls.services.leaving_look import address_problem
from calls.services.move_rows import open_move, way_back_row
from calls.telephony.twilio_rest import NeverSent, TwilioRefused, TwilioRest, TwilioSilent
from voiceplatform.base.fields import DecryptionError

_FIELDS = frozenset({"voice_fallback_url", "voice_fallback_method"})

log = structlog.get_logger(__name__)


class NetNotArmed(Exception):
    """The net could not be set as wanted; the text says why and what to do."""


def net_before(number: PhoneNumber) -> dict[str, str] | None:
    """Return the fallback that the number has at Twilio now; None where it has no use for one.

    Raises:
        NetNotArmed: Twilio cannot be asked.
    """
    if not needs_net(number):
        return None
    live = _live(number)
    return {"url": live.voice_fallback_url, "method": live.voice_fallback_method}


def needs_net(number: PhoneNumber) -> bool:
    """Tell whether Twilio may ask somebody in our place: a paused number has nobody to answer."""
    return number.route != PhoneNumber.Route.PAUSED


def net_arm(number: PhoneNumber) -> None:
    """See to it that the number's fallback at Twilio is the operator's own address.

    Written only if it is another one; read back in any case.

    Raises:
        NetNotArmed: there is no such address, somebody changed the number, or Twilio did not take
            it.
    """
    if not needs_net(number):
        return
    net = NumberNet.objects.filter(number=number).first()
    if net is None or not net.address:
        raise NetNotArmed("its net has no address of its own. Fix: enter one on the net's page.")
    problem = address_problem(net)
    if problem:
        raise NetNotArmed(f"the address of its net cannot be relied on: {problem}. Fix: change it.")
    _set(number, {"url": net.address, "method": net.method})


def net_put_back(number: PhoneNumber, before: Mapping[str, Any] | None) -> None:
    """Write the fallback that ``net_before`` has returned.

    Raises:
        NetNotArmed: somebody changed the number, or Twilio did not take it.
    """
    if before is not None:
        _set(number, {"url": str(before["url"]), "method": str(before["method"])})


def _set(number: PhoneNumber, wanted: Mapping[str, str]) -> None:
    if open_move(number) is not None:
        raise NetNotArmed("a move of it is open. Fix: finish it on the number's page.")
    live = _live(number)
    if live.trunk_sid:
        return  # Twilio asks nobody about its calls; a person has answered for that
    if live.voice_application_sid:
        _want_in_app(number, live.voice_application_sid, wanted["url"])
        return
    _want_ours(number, live, wanted)
    new = replace(
        live, voice_fallback_url=wanted["url"], voice_fallback_method=wanted["method"] or "POST"
    )
    if new.voice() != live.voice():
        form = {
            "VoiceFallbackUrl": new.voice_fallback_url,
            "VoiceFallbackMethod": new.voice_fallback_method,
        }
        try:
            _rest(number).post(f"IncomingPhoneNumbers/{live.sid}.json", form)
        except (TwilioSilent, TwilioRefused, NeverSent) as error:
            raise NetNotArmed(f"Twilio did not take it: {error}. Fix: try again.") from error
        found = _live(number)
        if found.voice() != new.voice():
            names = ", ".join(changed(new, found))
            raise NetNotArmed(f"Twilio has something else in {names}. Fix: look at it, try again.")
        log.info("net_rewritten", number_id=str(number.pk))
    _remember(number, new)


def _want_in_app(number: PhoneNumber, sid: str, url: str) -> None:
    """Refuse a number of a TwiML app whose own fallback is another: that one decides (5.2)."""
    try:
        found = str(_rest(number).application(sid).get("voice_fallback_url") or "")
    except (TwilioSilent, TwilioRefused) as error:
        raise NetNotArmed(f"its TwiML app cannot be read: {error}. Fix: try again.") from error
    if found != url:
        raise NetNotArmed(
            "a TwiML app answers it, and the app's fallback is another than its net's address. "
            "Fix: move the number here, or set the app's fallback in Twilio's console."
        )


def _want_ours(number: PhoneNumber, live: VoiceConfig, wanted: Mapping[str, str]) -> None:
    """Refuse to write over what somebody else has changed since the number came here."""
    row = way_back_row(number)
    if row is None or not row.may_be_written:
        return
    try:
        written = kept.from_json(row.state).wanted
    except UnreadableNumber as error:
        raise NetNotArmed(f"{error}. Fix: look at the number's moves.") from error
    names = set(changed(written, live))
    is_net_alone = names <= _FIELDS
    # A run that was cut off has written already what is wanted.
    is_known = live.voice_fallback_url in {written.voice_fallback_url, wanted["url"], ""}
    if not is_net_alone or not is_known:
        listed = ", ".join(sorted(names))
        raise NetNotArmed(
            f"somebody changed {listed} at Twilio. Fix: look at the number's page, then look again."
        )


def _remember(number: PhoneNumber, now: VoiceConfig) -> None:
    """Let the row of the move know what stands at Twilio, for probe and restore."""
    with transaction.atomic():
        rows = NumberMove.objects.select_for_update().filter(
            number=number, direction=NumberMove.Direction.HERE, closed_at__isnull=True
        )
        row = rows.first()
        if row is None or row.finished_at is None:
            return
        move = kept.from_json(row.state)
        if move.wanted.voice() == now.voice() or set(changed(move.wanted, now)) - _FIELDS:
            return
        row.state = kept.as_json(
            replace(
                move,
                wanted=replace(
                    move.wanted,
                    voice_fallback_url=now.voice_fallback_url,
                    voice_fallback_method=now.voice_fallback_method,
                ),
            )
        )
        row.save(update_fields=["state"])


def _live(number: PhoneNumber) -> VoiceConfig:
    try:
        rest = _rest(number)
        if number.twilio_sid:
            return read(rest.number(number.twilio_sid))
        found = rest.number_by_e164(number.number_e164)
    except (TwilioSilent, TwilioRefused, UnreadableNumber) as error:
        raise NetNotArmed(f"Twilio cannot be asked: {error}. Fix: try again.") from error
    if found is None:
        raise NetNotArmed("its Twilio account has no such number. Fix: delete it here, or add it.")
    return read(found)


def _rest(number: PhoneNumber) -> TwilioRest:
    try:
        return TwilioRest(number.twilio_account)
    except ValueError as error:
        raise NetNotArmed(f"{error}. Fix: see Twilio accounts.") from error
    except DecryptionError as error:
        raise NetNotArmed("no key opens the account's token. Fix: enter it again.") from error
