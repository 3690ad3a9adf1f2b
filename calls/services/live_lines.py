"""Our own leg of a call that a run placed: what it is told, its stream, and what was said on it.

Owns that a stream is opened once, by who was given its token and whom Twilio signs for, and where a
next one goes on. It must not decide what the caller says: that is ``calls.parity.live_caller``.
"""

from __future__ import annotations

import hashlib
import hmac
from base64 import urlsafe_b64encode
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any, Final, Literal

from django.conf import settings
from django.db import transaction
from django.db.models import F
from django.utils import timezone

from calls.models import CallerClip, ProviderConnection, RunDial, TwilioAccount
from calls.parity.live_caller import Event
from calls.parity.scenario import Scenario
from calls.parity.scenario_reading import ScenarioWrong, scenario_read
from calls.parity.scripted_caller import call_seconds
from calls.services.call_plan import connection_for
from calls.services.live_dials import caller_path, dial_report
from calls.telephony.security import stream_signature_valid
from voiceplatform.base.fields import DecryptionError

# How a stream ended of which nobody knows whether its call is over.
CUT: Final = "cut"
# Each key that is pressed ends a stream.
MOST_STREAMS: Final = 12
_OPEN: Final = (RunDial.State.CLAIMED, RunDial.State.PLACED, RunDial.State.ON)


class LineRefused(Exception):
    """The handshake proves nothing; answer 403. The message is for our log only."""


@dataclass(frozen=True, slots=True)
class LineNext:
    """What our leg does next. ``digits`` are pressed before the stream begins."""

    kind: Literal["stream", "hangup"]
    stream_path: str = ""
    action_path: str = ""
    digits: str = ""


@dataclass(frozen=True, slots=True)
class LineTicket:
    """What one stream of our leg needs."""

    dial_id: str
    stream_number: int
    scenario: Scenario
    clips: Mapping[int, bytes] = field(repr=False)
    step: int
    most_ms: int
    connection: ProviderConnection | None


def line_token(dial: RunDial) -> str:
    """Return the token of the leg's newest stream; derived, so the database opens no socket."""
    text = f"run-caller:{dial.pk}:{dial.stream_count}".encode()
    digest = hmac.new(settings.SECRET_KEY.encode(), text, hashlib.sha256).digest()
    return urlsafe_b64encode(digest[:24]).decode()


def line_next(
    *, dial_id: str, account: TwilioAccount, caller_sid: str, is_over: bool
) -> LineNext | None:
    """Return what our leg does, when it is answered and after each stream; None: it is not ours."""
    with transaction.atomic():
        rows = RunDial.objects.select_for_update(of=("self",)).filter(
            pk=dial_id, number__twilio_account=account
        )
        dial: RunDial | None = rows.select_related("parity_call__run__job").first()
        if dial is None or dial.caller_sid not in ("", caller_sid):
            return None
        kind = dial.next_step.get("kind")
        if kind in ("open", CUT) and not is_over:
            # Whoever carried the last stream died, or its line: the caller cannot go on.
            rows.exclude(ended_by="cancelled").update(ended_by="lost")
        if (
            is_over
            or kind in ("open", CUT, "hangup")
            or dial.ended_by
            or _is_called_off(dial)
            or dial.state not in _OPEN
            or dial.stream_count >= MOST_STREAMS
        ):
            return LineNext("hangup")
        dial.stream_count += 1
        rows.update(
            caller_sid=caller_sid,
            state=RunDial.State.ON,
            answered_at=dial.answered_at or timezone.now(),
            stream_count=dial.stream_count,
            next_step={"kind": "stream"},
        )
    return LineNext(
        "stream",
        stream_path=f"/twilio/media/run/{dial.pk}/{line_token(dial)}",
        action_path=caller_path(dial),
        digits=str(dial.next_step.get("digits") or ""),
    )


def _is_called_off(dial: RunDial) -> bool:
    """Tell whether the run was cancelled or given up, also while no worker looks after the call."""
    job = dial.parity_call.run.job
    return job is not None and (job.cancel_requested or job.finished_at is not None)


def line_open(*, dial_id: str, token: str, url: str, signature: str) -> LineTicket:
    """Return the ticket of a stream and mark its token used, in one conditional UPDATE.

    Raises:
        LineRefused: unknown, not signed, a wrong or used token, or what it needs cannot be read.
    """
    rows = RunDial.objects.filter(pk=dial_id).select_related(
        "parity_call", "number__twilio_account", "number__connection", "organisation"
    )
    try:
        dial: RunDial | None = rows.first()
        if dial is None:
            raise LineRefused("unknown call")
        account = dial.number.twilio_account
        tokens = [account.auth_token, account.auth_token_secondary]
        if not stream_signature_valid(tokens, url, signature):
            raise LineRefused("wrong signature")
        if not hmac.compare_digest(line_token(dial).encode(), token.encode()):
            raise LineRefused("wrong token")
        call = dial.parity_call
        scenario = scenario_read(call.document, call.scenario)
        clips = CallerClip.objects.filter(run=call.run_id, scenario=call.scenario)
        ticket = LineTicket(
            dial_id=str(dial.pk),
            stream_number=dial.stream_count,
            scenario=scenario,
            clips={clip.turn: bytes(clip.audio_mulaw) for clip in clips},
            step=dial.step,
            most_ms=call_seconds(scenario) * 1_000,
            connection=connection_for(dial.number),
        )
    except (DecryptionError, ScenarioWrong) as error:
        raise LineRefused(f"it cannot be read ({type(error).__name__})") from error
    taken = RunDial.objects.filter(
        pk=dial.pk,
        state=RunDial.State.ON,
        stream_count=dial.stream_count,
        stream_used=dial.stream_count - 1,
    ).update(stream_used=dial.stream_count, next_step={"kind": "open"})
    if not taken:
        raise LineRefused("the token has been used, or the call is over")
    return ticket


def line_goes_on(dial_id: str) -> bool:
    """Tell whether a stream may go on; False: its run was cancelled, or the call is given up.

    The line looks by itself: nobody may be left to end the leg at Twilio.
    """
    job = "parity_call__run__job"
    # No sealed column: it is asked every few seconds, and a lost key is no reason to cut it off.
    columns = ("ended_by", "state", f"{job}__cancel_requested", f"{job}__finished_at")
    found = RunDial.objects.filter(pk=dial_id).values_list(*columns).first()
    if found is None:
        return False
    ended_by, state, is_cancelled, finished_at = found
    # Over at Twilio is no reason: what is on its way still belongs to the call.
    is_given_up = ended_by or state == RunDial.State.VOID
    return not (is_given_up or is_cancelled or finished_at is not None)


def line_left(
    *,
    dial_id: str,
    stream_number: int,
    step: int,
    events: Sequence[Event],
    said_seconds: float,
    heard_seconds: float,
    stream_seconds: float,
    ended: str,
    digits: str = "",
) -> None:
    """Store what a stream leaves: what was said and heard, where the next goes on, or the end.

    Args:
        ended: ``pressed``: keys are pressed and another stream follows; ``CUT``: the line is gone,
            and if Twilio asks what is next, the call went on without it; else why it is over, ''
            where the other side ended it.
    """
    with transaction.atomic():
        rows = RunDial.objects.select_for_update(of=("self",)).filter(
            pk=dial_id, stream_used=stream_number
        )
        dial = rows.first()
        if dial is None:
            return
        pressed = ended == "pressed"
        dial.heard = [*(dial.heard or []), [_kept(event) for event in events]]
        dial.step = step
        if pressed:
            dial.next_step = {"kind": "stream", "digits": digits}
        else:
            dial.next_step = {"kind": CUT if ended == CUT else "hangup"}
            told = "" if ended == CUT else ended
            dial.ended_by = dial.ended_by or told or "other side"
        dial.save(update_fields=["heard", "step", "next_step", "ended_by"])
        rows.update(
            said_seconds=F("said_seconds") + said_seconds,
            heard_seconds=F("heard_seconds") + heard_seconds,
            stream_seconds=F("stream_seconds") + stream_seconds,
        )


def _kept(event: Event) -> dict[str, Any]:
    # What the other side said is in the call's own rows, masked as its rules say; here only when.
    return asdict(event) if event.kind != "heard" else {"at_ms": event.at_ms, "kind": "heard"}


def line_reported(
    *, dial_id: str, account: TwilioAccount, caller_sid: str, status: str, seconds: int
) -> bool:
    """Note a status callback of our leg; False: it is not ours."""
    rows = RunDial.objects.filter(pk=dial_id, number__twilio_account=account)
    dial: RunDial | None = rows.first()
    if dial is None or dial.caller_sid not in ("", caller_sid):
        return False
    dial_report(dial, caller_sid=caller_sid, status=status, seconds=seconds)
    return True


def words_said(dial: RunDial) -> list[dict[str, Any]]:
    """Return what the caller said, and when it understood something; nothing if no key opens it."""
    try:
        return [event for stream in dial.heard or [] for event in stream]
    except DecryptionError:
        return []
