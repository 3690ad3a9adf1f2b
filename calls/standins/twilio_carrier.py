"""The telephone company of the stand-ins: an account with numbers, calls in progress, and the means
to place more. It owns which call exists and who answers; it must not speak REST or run verbs.
"""

from __future__ import annotations

import asyncio
import contextlib
import uuid
from collections.abc import Callable, Mapping
from typing import Any

from calls.standins.book import StandinBook
from calls.standins.scenario import Scenario, load_scenario
from calls.standins.twilio_call import Callee, CallReport, LiveCall
from calls.standins.twilio_numbers import Numbers, VoiceConfig
from calls.standins.twilio_webhook import Webhooks

DEFAULT_VOICE_PATH = "/twilio/voice"
DEFAULT_STATUS_PATH = "/twilio/status"
KEPT_CALLS = 1000


class Carrier:
    """One Twilio account. `base_public_url` is the platform's origin, as Twilio would be told it.

    `reach` maps public origins to where they really listen, when the two differ.
    """

    def __init__(
        self,
        base_public_url: str,
        auth_token: str,
        account_sid: str,
        *,
        book: StandinBook | None = None,
        reach: Mapping[str, str] | None = None,
        connect_seconds: float = 5.0,
        total_seconds: float = 15.0,
    ) -> None:
        self.base_public_url = base_public_url.rstrip("/")
        self.account_sid = account_sid
        self.book = book or StandinBook()
        self.numbers = Numbers(account_sid)
        self.webhooks = Webhooks(auth_token, reach or {}, connect_seconds, total_seconds)
        self.calls: dict[str, LiveCall] = {}
        self.callees: dict[str, Callee] = {}
        self.outbound_scenario = Scenario("outbound")
        self.incoming_scenario: Scenario | str = "hello"
        # Whether a call by REST to a number of the account is heard at both ends.
        self.joins_legs = False
        self._running: set[asyncio.Task[CallReport]] = set()

    @property
    def auth_token(self) -> str:
        """Return the account's auth token."""
        return self.webhooks.auth_token

    def voice_for(self, to: str) -> VoiceConfig:
        """Return what answers `to`: the number's configuration, else the platform's own routes."""
        known = self.numbers.effective(to)
        if known is not None:
            return known
        return VoiceConfig(
            voice_url=self.base_public_url + DEFAULT_VOICE_PATH,
            status_callback=self.base_public_url + DEFAULT_STATUS_PATH,
        )

    def start_call(
        self,
        to: str,
        from_: str,
        voice: VoiceConfig | None = None,
        scenario: Scenario | str = "hello",
        *,
        listener: Callable[[dict[str, Any]], None] | None = None,
        extra_fields: Mapping[str, str] | None = None,
    ) -> tuple[LiveCall, asyncio.Task[CallReport]]:
        """Begin an inbound call and return it with the task that ends in its report."""
        plan = load_scenario(scenario) if isinstance(scenario, str) else scenario
        call = self._new_call(to, from_, voice or self.voice_for(to), plan)
        call.extra_fields.update(extra_fields or {})
        if listener is not None:
            call.listeners.append(listener)
        return call, self._run(call)

    async def place_call(
        self,
        to: str,
        from_: str,
        voice: VoiceConfig | None = None,
        scenario: Scenario | str = "hello",
        *,
        listener: Callable[[dict[str, Any]], None] | None = None,
        extra_fields: Mapping[str, str] | None = None,
    ) -> CallReport:
        """Place an inbound call and return its report when it is over."""
        _, task = self.start_call(
            to, from_, voice, scenario, listener=listener, extra_fields=extra_fields
        )
        return await asyncio.shield(task)

    def start_outbound(
        self,
        to: str,
        from_: str,
        voice: VoiceConfig,
        *,
        twiml: str | None = None,
        status_events: tuple[str, ...] = ("completed",),
    ) -> LiveCall:
        """Begin a call that the platform ordered through REST (4.1).

        To a number of the account it also comes in: as ``incoming_scenario``, like any other call,
        or with ``joins_legs`` as the other leg of this one, in which nothing is said but what its
        streams say to each other.
        """
        call = self._new_call(to, from_, voice, self.outbound_scenario)
        call.direction = "outbound-api"
        call.first_twiml = twiml
        call.status_events = status_events
        is_own = self.numbers.find(to) is not None
        if is_own and self.joins_legs:
            called = self._new_call(to, from_, self.voice_for(to), Scenario("called"))
            call.far, called.far = called, call
            self._run(called)
        self._run(call)
        if is_own and not self.joins_legs:
            self.start_call(to, from_, scenario=self.incoming_scenario)
        return call

    async def close(self) -> None:
        """Hang up every call and close connections."""
        for call in self.calls.values():
            if not call.ended:
                call.hang_up()
        if self._running:
            _, late = await asyncio.wait(set(self._running), timeout=3)
            for task in late:
                task.cancel()
                with contextlib.suppress(asyncio.CancelledError):
                    await task
        await self.webhooks.close()

    def _new_call(self, to: str, from_: str, voice: VoiceConfig, plan: Scenario) -> LiveCall:
        call = LiveCall(
            call_sid="CA" + uuid.uuid4().hex,
            account_sid=self.account_sid,
            to=to,
            from_=from_,
            direction="inbound",
            voice=voice,
            scenario=plan,
            webhooks=self.webhooks,
            callees=self.callees,
        )
        self.calls[call.call_sid] = call
        if len(self.calls) > KEPT_CALLS:
            oldest = next((sid for sid, each in self.calls.items() if each.ended), None)
            if oldest is not None:
                del self.calls[oldest]
        return call

    def _run(self, call: LiveCall) -> asyncio.Task[CallReport]:
        async def run() -> CallReport:
            with self.book.playing(call.scenario):
                return await call.run()

        task = asyncio.get_running_loop().create_task(run())
        self._running.add(task)
        task.add_done_callback(self._running.discard)
        return task
