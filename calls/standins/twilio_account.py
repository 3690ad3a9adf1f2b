"""One account behind Twilio's REST API at the stand-in: calls and numbers (twilio.md 4, 5). It
answers a method, a path and a form with a status and a body; it must not speak HTTP or run calls.
"""

from __future__ import annotations

import base64
import hashlib
from email.utils import format_datetime
from typing import Any
from urllib.parse import urlencode

from calls.standins.twilio_call import LiveCall
from calls.standins.twilio_carrier import Carrier
from calls.standins.twilio_messages import Messages
from calls.standins.twilio_notifications import notifications_of
from calls.standins.twilio_numbers import HOME_REGION, VoiceConfig
from calls.standins.twilio_recordings import RecordingBook

Form = dict[str, list[str]]
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


def one(form: Form, name: str) -> str:
    """Return the last value of a form field, empty if it is absent."""
    return form.get(name, [""])[-1]


class AccountRest:
    """The resources of one carrier's account."""

    def __init__(self, carrier: Carrier) -> None:
        self.carrier = carrier
        self.keys: dict[str, str] = {}  # API keys and their secrets
        self.region_tokens: dict[str, str] = {}  # of regions that have a token of their own
        self.verified: list[str] = []  # numbers of others that may be called from
        self.requests: list[tuple[str, str, Form]] = []
        self.recordings: dict[str, str] = {}  # their SID to the call's
        self.book = RecordingBook(carrier.account_sid)
        self.messages = Messages(carrier.account_sid, self._owns, RestError)

    def logins(self, region: str = HOME_REGION) -> frozenset[str]:
        """Return the Authorization headers that open the account in a region (5.6)."""
        sid, token = self.carrier.account_sid, self.carrier.auth_token
        pairs = {sid: self.region_tokens.get(region, token), **self.keys}
        return frozenset(
            "Basic " + base64.b64encode(f"{user}:{password}".encode()).decode()
            for user, password in pairs.items()
        )

    def handle(
        self, method: str, path: str, form: Form, region: str = HOME_REGION
    ) -> tuple[int, dict[str, Any]]:
        """Answer a request below the account; raises RestError."""
        self.requests.append((method, path, form))
        _, *names = path.split("/")
        if not names:
            sid = self.carrier.account_sid
            return 200, {"sid": sid, "status": "active", "type": "Full", "friendly_name": "test"}
        if names[0] == "Calls":
            return self._calls(method, names[1:], form)
        if names == ["Messages"] and method == "POST":
            fields = (one(form, name) for name in ("To", "From", "Body"))
            return 201, self.messages.create(*fields)
        if names[0] == "Recordings" and len(names) == 2:
            return self._recording(method, names[1])
        if names == ["Notifications"] and method == "GET":
            return 200, self._notifications("", form)
        if names == ["Conferences"] and method == "GET":
            return 200, self._page("conferences", "Conferences", [], form)  # nobody is in one here
        if names[0] == "IncomingPhoneNumbers":
            return self._numbers(method, names[1:], form, region)
        if names[0] == "Applications":
            return self._applications(method, names[1:], form)
        if names == ["OutgoingCallerIds"] and method == "GET":
            return 200, self._page(
                "outgoing_caller_ids", "OutgoingCallerIds", self._caller_ids(), form
            )
        raise RestError(404, 20404, f"The requested resource {path} was not found")

    def _owns(self, number: str) -> bool:
        if number == "+15005550006" or number in self.verified:
            return True
        return self.carrier.numbers.find(number) is not None

    # -- calls (4.1, 4.3) ---------------------------------------------------------------------

    def _calls(self, method: str, names: list[str], form: Form) -> tuple[int, dict[str, Any]]:
        if not names:
            if method == "POST":
                return 201, self._create_call(form)
            calls = [self._call_body(call) for call in reversed(self.carrier.calls.values())]
            if parent := one(form, "ParentCallSid"):
                return 200, self._page("calls", "Calls", self._legs(parent), form)
            wanted = {"to": one(form, "To"), "from": one(form, "From")}
            for key, value in wanted.items():
                calls = [call for call in calls if not value or call[key] == value]
            return 200, self._page("calls", "Calls", calls, form)
        call = self.carrier.calls.get(names[0])
        if call is not None and names[1:2] == ["Recordings"]:
            return self._recordings_of(call, method, names, form)
        if call is not None and names[1:2] == ["Streams"] and method == "POST":
            return 200, self._stop_fork(call, names[2:], form)
        if call is not None and names[1:] == ["Notifications"] and method == "GET":
            return 200, self._notifications(call.call_sid, form)
        if call is None or len(names) > 1:
            raise RestError(404, 20404, "The requested resource was not found")
        if method == "POST":
            self._update_call(call, form)
        elif method != "GET":
            raise RestError(405, 20004, "Method not allowed")
        return 200, self._call_body(call)

    def _legs(self, parent_sid: str) -> list[dict[str, Any]]:
        """Return the legs that were dialled for a call."""
        call = self.carrier.calls.get(parent_sid)
        if call is None:
            return []
        return [
            self._call_body(call)
            | {"sid": f"{parent_sid[:-2]}{at:02x}", "to": to, "parent_call_sid": parent_sid}
            | {"date_created": format_datetime(call.dialled_at[at])}
            for at, to in enumerate(call.dialled)
        ]

    def _stop_fork(self, call: LiveCall, names: list[str], form: Form) -> dict[str, Any]:
        fork = next((f for f in call.forks if names == [f.stream_sid] or names == [f.name]), None)
        if fork is None or one(form, "Status") != "stopped" or fork.state not in ("opening", "on"):
            raise RestError(404, 20404, "The requested resource was not found")
        fork.stop()
        return {
            "sid": fork.stream_sid,
            "account_sid": self.carrier.account_sid,
            "call_sid": call.call_sid,
            "name": fork.name,
            "status": "stopped",
            "date_updated": None,
            "uri": "",
        }

    def _create_call(self, form: Form) -> dict[str, Any]:
        to, from_ = one(form, "To"), one(form, "From")
        if not to:
            raise RestError(400, 21201, "No 'To' number is specified")
        if not from_:
            raise RestError(400, 21213, "No 'From' number is specified")
        if not self._owns(from_):
            raise RestError(400, 21210, f"The source phone number {from_} is not verified")
        if to in _REFUSED_TO:
            code, text = _REFUSED_TO[to]
            raise RestError(400, code, f"The number {to} {text}")
        url, twiml = one(form, "Url"), one(form, "Twiml")
        if not url and not twiml:
            raise RestError(400, 21205, "Url parameter is required")
        if len(twiml) > 4000:
            raise RestError(400, 21612, "Twiml is longer than 4000 characters")
        voice = VoiceConfig(
            voice_url=url,
            voice_method=one(form, "Method") or "POST",
            voice_fallback_url=one(form, "FallbackUrl"),
            status_callback=one(form, "StatusCallback"),
            status_callback_method=one(form, "StatusCallbackMethod") or "POST",
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
        status, twiml, url = (one(form, key) for key in ("Status", "Twiml", "Url"))
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
            call.replace_by_rest("url", url, one(form, "Method") or "POST")

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

    def _recordings_of(
        self, call: LiveCall, method: str, names: list[str], form: Form
    ) -> tuple[int, dict[str, Any]]:
        call_sid = names[0]
        if len(names) == 3 and method == "POST" and names[2] in self.book.made:
            made = self.book.made[names[2]]
            if one(form, "Status") != "stopped":
                raise RestError(400, 21220, "This stand-in can only stop a recording")
            made.stop()
            return 200, self.book.body(made)
        if len(names) != 2:
            raise RestError(404, 20404, "The requested resource was not found")
        if method == "POST":
            if call.ended or call.status != "in-progress":
                raise RestError(400, 21220, "Requested resource is not eligible for recording")
            made = self.book.begin(call, form)
            self.recordings[made.sid] = call_sid
            return 201, self.book.body(made)
        sids = [sid for sid, owner in self.recordings.items() if owner == call_sid]
        rows = [self._recording_body(sid) for sid in sids]
        return 200, self._page("recordings", f"Calls/{call_sid}/Recordings", rows, form)

    def _recording_body(self, sid: str) -> dict[str, Any]:
        if sid in self.book.made:
            return self.book.body(self.book.made[sid])
        call_sid, account_sid = self.recordings[sid], self.carrier.account_sid
        return {"sid": sid, "call_sid": call_sid, "account_sid": account_sid}

    def recording_file(self, sid: str, form: Form) -> bytes:
        """Return the file of a recording; raises RestError."""
        self.requests.append(("GET", f"/Recordings/{sid}.wav", form))
        known = sid in self.recordings
        found = self.book.file(sid, int(one(form, "RequestedChannels") or "1")) if known else None
        if found is None:
            raise RestError(404, 20404, "The requested resource was not found")
        return found

    def _recording(self, method: str, sid: str) -> tuple[int, dict[str, Any]]:
        if sid not in self.recordings:
            raise RestError(404, 20404, "The requested resource was not found")
        if method == "DELETE":
            made = self.book.made.get(sid)
            if made is not None and made.status == "in-progress":
                raise RestError(400, 21220, "A recording in progress cannot be deleted")
            del self.recordings[sid]
            return 204, {}
        if method != "GET":
            raise RestError(405, 20004, "Method not allowed")
        return 200, self._recording_body(sid)

    def _notifications(self, call_sid: str, form: Form) -> dict[str, Any]:
        calls, sid = self.carrier.calls.values(), self.carrier.account_sid
        below = f"Calls/{call_sid}/" if call_sid else ""
        rows = notifications_of(calls, sid, call_sid)
        return self._page("notifications", f"{below}Notifications", rows, form)

    # -- numbers (5) --------------------------------------------------------------------------

    def _numbers(
        self, method: str, names: list[str], form: Form, region: str
    ) -> tuple[int, dict[str, Any]]:
        numbers = self.carrier.numbers
        if not names:
            if method != "GET":
                raise RestError(405, 20004, "Buying numbers is not part of this stand-in")
            wanted = one(form, "PhoneNumber")
            name = one(form, "FriendlyName")
            found = [
                numbers.seen_from(resource["sid"], region)
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
            values = {key: each[-1] for key, each in form.items()}
            if why := numbers.why_not(values):
                raise RestError(400, 20001, why)
            return 200, numbers.update(sid, values, region)
        return 200, numbers.seen_from(sid, region)

    def _applications(
        self, method: str, names: list[str], form: Form
    ) -> tuple[int, dict[str, Any]]:
        numbers = self.carrier.numbers
        if method != "GET":
            numbers.alarms.append(f"{method} of a TwiML app, which other numbers may use")
            raise RestError(405, 20004, "TwiML apps are read only at this stand-in")
        if not names:
            rows = [numbers.application(sid) or {} for sid in numbers.applications]
            return 200, self._page("applications", "Applications", rows, form)
        found = numbers.application(names[0])
        if found is None:
            raise RestError(404, 20404, "The requested resource was not found")
        return 200, found

    def _caller_ids(self) -> list[dict[str, Any]]:
        account_sid = self.carrier.account_sid
        return [
            {
                "sid": "PN" + hashlib.sha256(b"verified" + number.encode()).hexdigest()[:32],
                "account_sid": account_sid,
                "phone_number": number,
                "friendly_name": number,
                "date_created": "Sun, 01 Nov 2026 09:00:00 +0000",
                "date_updated": "Sun, 01 Nov 2026 09:00:00 +0000",
                "uri": f"/2010-04-01/Accounts/{account_sid}/OutgoingCallerIds.json",
            }
            for number in self.verified
        ]

    def route(self, method: str, number_e164: str) -> dict[str, Any]:
        """Answer which region handles a number's calls; raises RestError."""
        found = self.carrier.numbers.route(number_e164)
        if method != "GET" or found is None:
            raise RestError(404, 20404, "The requested resource was not found")
        return found

    def _page(
        self, key: str, resource: str, rows: list[dict[str, Any]], form: Form
    ) -> dict[str, Any]:
        size = min(_MAX_PAGE, max(1, int(one(form, "PageSize") or "50")))
        page = int(one(form, "Page") or "0")
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
