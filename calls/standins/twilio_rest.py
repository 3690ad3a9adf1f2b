"""Twilio's REST API at the stand-in, and `/standin/` for whoever rehearses from another process
(twilio.md 4, 5, 6.2, 8.3). It translates requests; it must not run calls itself.
"""

from __future__ import annotations

import asyncio
import dataclasses
import json
import re
from typing import Any
from urllib.parse import parse_qs

from calls.standins.asgi import (
    BodyTooLarge,
    Receive,
    Scope,
    Send,
    headers_of,
    read_body,
    respond,
    respond_json,
    start,
)
from calls.standins.scenario import Scenario, ScenarioError, load_scenario, parse_scenario
from calls.standins.twilio_account import AccountRest, Form, RestError
from calls.standins.twilio_call import CallReport
from calls.standins.twilio_carrier import Carrier
from calls.standins.twilio_faults import Fault, Faults
from calls.standins.twilio_numbers import HOME_REGION, REGIONS, VoiceConfig

_FILE = re.compile(r"^/2010-04-01/Accounts/(?P<account>AC\w+)/Recordings/(?P<sid>RE\w+)\.wav$")
_PATH = re.compile(r"^/2010-04-01/Accounts/(?P<account>AC\w+)(?P<rest>/[^?]*)?\.json$")
_ROUTE = re.compile(r"^/v2/PhoneNumbers/(?P<number>\+?\d+)$")
# Twilio has a host per region; here it is the beginning of the path, as part of the base URL.
_REGION = re.compile(rf"^/(?P<region>{'|'.join(REGIONS)})(?P<rest>/.*)$")


class TwilioApp:
    """ASGI application of one or more accounts. `busy_requests` answers so many with 429.

    `faults` are what goes wrong otherwise, on order; `log` is every request that was allowed in, in
    order and whatever became of it.
    """

    def __init__(self, carrier: Carrier) -> None:
        self.carrier = carrier
        self.accounts = {carrier.account_sid: AccountRest(carrier)}
        self.busy_requests = 0
        self.faults = Faults()
        self.log: list[tuple[str, str, Form]] = []

    @property
    def requests(self) -> list[tuple[str, str, Form]]:
        """Return every request to the first account, in order."""
        return self.accounts[self.carrier.account_sid].requests

    async def close(self) -> None:
        """Hang up the calls of every account."""
        for account in self.accounts.values():
            await account.carrier.close()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request."""
        try:
            body = await read_body(receive)
        except BodyTooLarge:
            await respond_json(send, 413, _error_body(413, 20413, "Request body too large"))
            return
        if scope["path"].startswith("/standin/calls"):
            await self._standin(scope, body, send)
            return
        headers: dict[str, str] = {}
        try:
            if found := _FILE.match(scope["path"]):
                await respond(send, 200, self._file(scope, found), "audio/x-wav")
                return
            status, value, headers = await self._rest(scope, body)
        except RestError as error:
            status = error.status
            value = _error_body(error.status, error.code, error.message)
        if status == 204:
            await respond(send, status, b"", "application/json")
        else:
            content = json.dumps(value).encode()
            await respond(send, status, content, "application/json", headers)

    # -- Twilio's own surface -----------------------------------------------------------------

    async def _rest(self, scope: Scope, body: bytes) -> tuple[int, dict[str, Any], dict[str, str]]:
        path, region, method = scope["path"], HOME_REGION, scope["method"]
        if regional := _REGION.match(path):
            path, region = regional["rest"], regional["region"]
        header = headers_of(scope).get("authorization", "")
        raw = body.decode() if method == "POST" else scope["query_string"].decode()
        form = parse_qs(raw, keep_blank_values=True)
        found, routed = _PATH.match(path), _ROUTE.match(path)
        if found is not None:
            account = self._authorise(header, found["account"], region)
        elif routed is not None:
            account = self._by_login(header)
        else:
            raise RestError(404, 20404, f"The requested resource {path} was not found")
        self.log.append((method, path, form))
        if self.busy_requests:
            self.busy_requests -= 1
            raise RestError(429, 20429, "Too Many Requests")
        fault = self.faults.strikes(method, path)
        answer: tuple[int, dict[str, Any]] = (200, {})
        if fault is None or fault.when == "after":
            if routed is not None:
                answer = 200, account.route(method, routed["number"])
            else:
                rest = found["rest"] or "" if found is not None else ""
                answer = account.handle(method, rest, form, region)
        return (*answer, {}) if fault is None else await _struck(fault)

    def _file(self, scope: Scope, found: re.Match[str]) -> bytes:
        account = self._authorise(headers_of(scope).get("authorization", ""), found["account"])
        form = parse_qs(scope["query_string"].decode(), keep_blank_values=True)
        return account.recording_file(found["sid"], form)

    def _authorise(self, header: str, account_sid: str, region: str = HOME_REGION) -> AccountRest:
        account = self.accounts.get(account_sid)
        if account is not None and header in account.logins(region):
            return account
        raise RestError(401, 20003, "Authenticate")

    def _by_login(self, header: str) -> AccountRest:
        for account in self.accounts.values():
            if header in account.logins(HOME_REGION):
                return account
        raise RestError(401, 20003, "Authenticate")

    def open_account(self, sid: str, token: str) -> AccountRest:
        """Return the account of that SID; an unknown one is opened with the token given."""
        own = self.carrier
        if sid not in self.accounts:
            other = Carrier(own.base_public_url, token, sid, book=own.book)
            other.callees = own.callees
            self.accounts[sid] = AccountRest(other)
        return self.accounts[sid]

    # -- rehearsals from another process ------------------------------------------------------

    async def _standin(self, scope: Scope, body: bytes, send: Send) -> None:
        if scope["method"] == "GET":
            call_sid = scope["path"].rpartition("/")[2]
            every = (account.carrier.calls.get(call_sid) for account in self.accounts.values())
            call = next((call for call in every if call is not None), None)
            if call is None:
                await respond_json(send, 404, {"error": "no such call"})
            else:
                await respond_json(send, 200, report_json(call.report()))
            return
        try:
            request = _standin_request(body)
            scenario = _scenario(request.get("scenario", "hello"))
        except ScenarioError as error:
            await respond_json(send, 400, {"error": str(error)})
            return
        carrier = self._carrier_for(request)
        voice = carrier.voice_for(request["to"])
        if request.get("voice_url"):
            voice = VoiceConfig(
                voice_url=request["voice_url"],
                voice_fallback_url=request.get("fallback_url", ""),
                status_callback=request.get("status_callback", ""),
            )
        queue: asyncio.Queue[dict[str, Any]] = asyncio.Queue()
        call, task = carrier.start_call(
            request["to"], request["from"], voice, scenario, listener=queue.put_nowait
        )
        call.gather_keys.extend(str(each) for each in request.get("answers") or ())
        await start(send, 200, {"content-type": "application/x-ndjson"})
        await _line(send, {"kind": "call", "call_sid": call.call_sid})
        while not (task.done() and queue.empty()):
            getter = asyncio.ensure_future(queue.get())
            await asyncio.wait({getter, task}, return_when=asyncio.FIRST_COMPLETED)
            if getter.done():
                await _line(send, getter.result())
            else:
                getter.cancel()
        await _line(send, {"kind": "report", **report_json(task.result())})
        await send({"type": "http.response.body", "body": b""})

    def _carrier_for(self, request: dict[str, Any]) -> Carrier:
        """Return the account's carrier; an unknown account is opened with the token given."""
        own = self.carrier
        sid = request.get("account_sid", own.account_sid)
        token = request.get("auth_token", own.auth_token)
        carrier = self.open_account(sid, token).carrier
        carrier.webhooks.auth_token = token
        return carrier


def report_json(report: CallReport) -> dict[str, Any]:
    """Return a report as JSON-ready data."""
    return {**dataclasses.asdict(report), "ok": report.ok}


async def _struck(fault: Fault) -> tuple[int, dict[str, Any], dict[str, str]]:
    if not fault.status:
        await asyncio.sleep(fault.seconds)
    status = fault.status or 504
    code = 20429 if status == 429 else 20500
    headers = {"retry-after": fault.retry_after} if fault.retry_after else {}
    return status, _error_body(status, code, "as ordered"), headers


def _error_body(status: int, code: int, message: str) -> dict[str, Any]:
    more = f"https://www.twilio.com/docs/errors/{code}"
    return {"code": code, "message": message, "more_info": more, "status": status}


async def _line(send: Send, value: dict[str, Any]) -> None:
    body = json.dumps(value).encode() + b"\n"
    await send({"type": "http.response.body", "body": body, "more_body": True})


def _standin_request(body: bytes) -> dict[str, Any]:
    try:
        request = json.loads(body)
    except ValueError as error:
        raise ScenarioError(f"the body is not JSON: {error}") from error
    if not isinstance(request, dict) or not {"to", "from"} <= set(request):
        raise ScenarioError("the body needs to and from")
    return request


def _scenario(value: Any) -> Scenario:
    return parse_scenario(value) if isinstance(value, dict) else load_scenario(str(value))
