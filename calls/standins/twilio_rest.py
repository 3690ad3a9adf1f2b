"""Twilio's REST API at the stand-in, and `/standin/` for whoever rehearses from another process
(twilio.md 4, 5, 6.2, 8.3). It translates requests; it must not run calls itself.
"""

from __future__ import annotations

import asyncio
import base64
import dataclasses
import json
import re
from email.utils import format_datetime
from typing import Any
from urllib.parse import parse_qs, urlencode

from calls.standins.asgi import (
    BodyTooLarge,
    Receive,
    Scope,
    Send,
    headers_of,
    read_body,
    respond_json,
    start,
)
from calls.standins.scenario import Scenario, ScenarioError, load_scenario, parse_scenario
from calls.standins.twilio_call import CallReport, LiveCall
from calls.standins.twilio_carrier import Carrier
from calls.standins.twilio_numbers import VoiceConfig

Form = dict[str, list[str]]
_PATH = re.compile(r"^/2010-04-01/Accounts/(?P<account>AC\w+)(?P<rest>/[^?]*)?\.json$")
_MAX_PAGE = 1000
_REFUSED_TO = {  # twilio.md 6.1
    "+15005550001": (21217, "is not a valid phone number"),
    "+15005550002": (21214, "is not reachable"),
    "+15005550003": (21215, "is not permitted"),
    "+15005550004": (21216, "is blocked"),
}


class RestError(Exception):
    """Becomes Twilio's error body with this HTTP status and code."""

    def __init__(self, status: int, code: int, message: str) -> None:
        super().__init__(message)
        self.status, self.code, self.message = status, code, message


class TwilioApp:
    """ASGI application of the carrier. `busy_requests` answers so many requests with 429."""

    def __init__(self, carrier: Carrier) -> None:
        self.carrier = carrier
        self.busy_requests = 0
        self.requests: list[tuple[str, str, Form]] = []

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
        try:
            status, value = self._rest(scope, body)
        except RestError as error:
            status = error.status
            value = _error_body(error.status, error.code, error.message)
        await respond_json(send, status, value)

    # -- Twilio's own surface -----------------------------------------------------------------

    def _rest(self, scope: Scope, body: bytes) -> tuple[int, dict[str, Any]]:
        found = _PATH.match(scope["path"])
        if found is None:
            raise RestError(404, 20404, f"The requested resource {scope['path']} was not found")
        self._authorise(headers_of(scope).get("authorization", ""), found["account"])
        if self.busy_requests:
            self.busy_requests -= 1
            raise RestError(429, 20429, "Too Many Requests")
        method = scope["method"]
        raw = body.decode() if method == "POST" else scope["query_string"].decode()
        form = parse_qs(raw, keep_blank_values=True)
        self.requests.append((method, scope["path"], form))
        _, *names = (found["rest"] or "").split("/")
        if not names:
            sid = self.carrier.account_sid
            return 200, {
                "sid": sid,
                "status": "active",
                "type": "Full",
                "friendly_name": "stand-in",
            }
        if names[0] == "Calls":
            return self._calls(method, names[1:], form)
        if names[0] == "IncomingPhoneNumbers":
            return self._numbers(method, names[1:], form)
        raise RestError(404, 20404, f"The requested resource {scope['path']} was not found")

    def _authorise(self, header: str, account: str) -> None:
        wanted = f"{self.carrier.account_sid}:{self.carrier.auth_token}"
        expected = "Basic " + base64.b64encode(wanted.encode()).decode()
        if header != expected or account != self.carrier.account_sid:
            raise RestError(401, 20003, "Authenticate")

    # -- calls (4.1, 4.3) ---------------------------------------------------------------------

    def _calls(self, method: str, names: list[str], form: Form) -> tuple[int, dict[str, Any]]:
        if not names:
            if method == "POST":
                return 201, self._create_call(form)
            calls = [self._call_body(call) for call in reversed(self.carrier.calls.values())]
            wanted = {"to": _one(form, "To"), "from": _one(form, "From")}
            for key, value in wanted.items():
                calls = [call for call in calls if not value or call[key] == value]
            return 200, self._page("calls", "Calls", calls, form)
        call = self.carrier.calls.get(names[0])
        if call is None or len(names) > 1:
            raise RestError(404, 20404, "The requested resource was not found")
        if method == "POST":
            self._update_call(call, form)
        elif method != "GET":
            raise RestError(405, 20004, "Method not allowed")
        return 200, self._call_body(call)

    def _create_call(self, form: Form) -> dict[str, Any]:
        to, from_ = _one(form, "To"), _one(form, "From")
        if not to:
            raise RestError(400, 21201, "No 'To' number is specified")
        if not from_:
            raise RestError(400, 21213, "No 'From' number is specified")
        owned = from_ == "+15005550006" or self.carrier.numbers.find(from_) is not None
        if not owned:
            raise RestError(400, 21210, f"The source phone number {from_} is not verified")
        if to in _REFUSED_TO:
            code, text = _REFUSED_TO[to]
            raise RestError(400, code, f"The number {to} {text}")
        url, twiml = _one(form, "Url"), _one(form, "Twiml")
        if not url and not twiml:
            raise RestError(400, 21205, "Url parameter is required")
        if len(twiml) > 4000:
            raise RestError(400, 21612, "Twiml is longer than 4000 characters")
        voice = VoiceConfig(
            voice_url=url,
            voice_method=_one(form, "Method") or "POST",
            voice_fallback_url=_one(form, "FallbackUrl"),
            status_callback=_one(form, "StatusCallback"),
            status_callback_method=_one(form, "StatusCallbackMethod") or "POST",
        )
        call = self.carrier.start_outbound(
            to,
            from_,
            voice,
            twiml=None if url else twiml,  # with both, Twiml is ignored (4.1)
            status_events=tuple(form.get("StatusCallbackEvent", ["completed"])),
        )
        return self._call_body(call)

    def _update_call(self, call: LiveCall, form: Form) -> None:
        if call.ended:
            # Twilio answers one or the other, depending on how long ago it ended (trap T16).
            if len(self.requests) % 2:
                raise RestError(400, 21220, "Call is not in-progress. Cannot redirect.")
            raise RestError(404, 20404, "The requested resource was not found")
        status, twiml, url = (_one(form, key) for key in ("Status", "Twiml", "Url"))
        if twiml and url:
            raise RestError(400, 21218, "Twiml and Url exclude each other")
        if status in ("completed", "canceled"):
            call.complete_by_rest()
        elif status:
            raise RestError(400, 21600, f"Invalid status {status}")
        elif twiml:
            if len(twiml) > 4000:
                raise RestError(400, 21612, "Twiml is longer than 4000 characters")
            call.replace_by_rest("twiml", twiml, "POST")
        elif url:
            call.replace_by_rest("url", url, _one(form, "Method") or "POST")

    def _call_body(self, call: LiveCall) -> dict[str, Any]:
        end = call.ended_at
        seconds = int((end - call.started_at).total_seconds()) if end is not None else None
        sid = self.carrier.account_sid
        return {
            "sid": call.call_sid,
            "account_sid": sid,
            "api_version": "2010-04-01",
            "to": call.to,
            "to_formatted": call.to,
            "from": call.from_,
            "from_formatted": call.from_,
            "direction": call.direction,
            "status": call.status,
            "answered_by": None,
            "parent_call_sid": None,
            "forwarded_from": None,
            "caller_name": None,
            "group_sid": None,
            "phone_number_sid": (self.carrier.numbers.find(call.to) or {}).get("sid"),
            "annotation": None,
            "date_created": format_datetime(call.started_at),
            "date_updated": format_datetime(end or call.started_at),
            "start_time": format_datetime(call.started_at),
            "end_time": format_datetime(end) if end is not None else None,
            "duration": None if seconds is None else str(seconds),
            "price": None,  # rated minutes later (4.3)
            "price_unit": "USD",
            "queue_time": "0",
            "trunk_sid": None,
            "uri": f"/2010-04-01/Accounts/{sid}/Calls/{call.call_sid}.json",
            "subresource_uris": {},
        }

    # -- numbers (5) --------------------------------------------------------------------------

    def _numbers(self, method: str, names: list[str], form: Form) -> tuple[int, dict[str, Any]]:
        numbers = self.carrier.numbers
        if not names:
            if method != "GET":
                raise RestError(405, 20004, "Buying numbers is not part of this stand-in")
            wanted = _one(form, "PhoneNumber")
            name = _one(form, "FriendlyName")
            found = [
                resource
                for resource in numbers.resources.values()
                if wanted.replace("*", "") in resource["phone_number"]
                and (not name or resource["friendly_name"] == name)
            ]
            key = "incoming_phone_numbers"
            return 200, self._page(key, "IncomingPhoneNumbers", found, form)
        sid = names[0]
        if sid not in numbers.resources or len(names) > 1:
            raise RestError(404, 20404, "The requested resource was not found")
        if method == "DELETE":
            numbers.alarms.append(f"DELETE {numbers.resources[sid]['phone_number']}")
            raise RestError(405, 20004, "Releasing a number is refused by this stand-in")
        if method == "POST":
            numbers.update(sid, {key: values[-1] for key, values in form.items()})
        return 200, numbers.resources[sid]

    def _page(
        self, key: str, resource: str, rows: list[dict[str, Any]], form: Form
    ) -> dict[str, Any]:
        size = min(_MAX_PAGE, max(1, int(_one(form, "PageSize") or "50")))
        page = int(_one(form, "Page") or "0")
        shown = rows[page * size : (page + 1) * size]
        base = f"/2010-04-01/Accounts/{self.carrier.account_sid}/{resource}.json"
        kept = {name: values[0] for name, values in form.items() if name not in ("Page",)}

        def uri(number: int) -> str:
            token = {"PageToken": f"PA{number}"} if number else {}
            return f"{base}?{urlencode({**kept, 'PageSize': size, 'Page': number, **token})}"

        more = (page + 1) * size < len(rows)
        return {
            "page": page,
            "page_size": size,
            "start": page * size,
            "end": page * size + max(0, len(shown) - 1),
            "uri": uri(page),
            "first_page_uri": uri(0),
            "previous_page_uri": uri(page - 1) if page else None,
            "next_page_uri": uri(page + 1) if more else None,
            key: shown,
        }

    # -- rehearsals from another process ------------------------------------------------------

    async def _standin(self, scope: Scope, body: bytes, send: Send) -> None:
        if scope["method"] == "GET":
            call = self.carrier.calls.get(scope["path"].rpartition("/")[2])
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
        self.carrier.calls[call.call_sid] = call
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
        if carrier is not self.carrier:
            await carrier.close()

    def _carrier_for(self, request: dict[str, Any]) -> Carrier:
        """Return this account's carrier, or one that signs for another account."""
        own = self.carrier
        sid = request.get("account_sid", own.account_sid)
        token = request.get("auth_token", own.auth_token)
        if (sid, token) == (own.account_sid, own.auth_token):
            return own
        other = Carrier(own.base_public_url, token, sid, book=own.book, reach=own.webhooks.reach)
        other.callees = own.callees
        return other


def report_json(report: CallReport) -> dict[str, Any]:
    """Return a report as JSON-ready data."""
    return {**dataclasses.asdict(report), "ok": report.ok}


def _one(form: Form, name: str) -> str:
    return form.get(name, [""])[-1]


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
