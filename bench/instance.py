"""The platform that is measured: the supervisor with every part, on a fresh folder of its own.

Seeds a number whose assistant has a policy line, a greeting and one tool, and whose model and tool
server are the load generator's. Sends Twilio's webhooks. It must not touch another instance.
"""

from __future__ import annotations

import http.client
import json
import shutil
import subprocess
import sys
import time
import urllib.parse
import uuid
import xml.etree.ElementTree as ET
from dataclasses import dataclass, field
from pathlib import Path

from bench.building import BenchError
from bench.processes import free_port, start, stop
from calls.standins.server import DEFAULT_ACCOUNT_SID, DEFAULT_AUTH_TOKEN
from calls.standins.twilio_webhook import signature_of
from voiceplatform import env
from voiceplatform.supervisor.parent_death import before_exec

ACCOUNT_SID, AUTH_TOKEN = DEFAULT_ACCOUNT_SID, DEFAULT_AUTH_TOKEN
READY_SECONDS = 120.0
WEBHOOK_SECONDS = 15.0  # twilio.md 1.3
CALLER_HEAD = "+1555010"  # loadgen's CALLER_HEAD
ROOM_FOR_CALLS = 50  # calls of the step before whose last words are still being stored


@dataclass
class Instance:
    """One running instance; ``stop`` ends it and removes its folder."""

    folder: Path
    port: int
    process: subprocess.Popen[bytes]
    environment: dict[str, str]
    number_e164: str = ""
    webhook_ms: list[float] = field(default_factory=list)

    @classmethod
    def start(cls, folder: Path, *, calls: int, core: int | None) -> Instance:
        """Start an instance in ``folder`` and wait until it is ready.

        Raises:
            BenchError: it did not get ready; its log is beside the folder.
        """
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(parents=True)
        port = free_port()
        environment = env.child_environment(
            {
                "DJANGO_SETTINGS_MODULE": "voiceplatform.settings",
                "VAR_DIR": str(folder),
                "HOST": "127.0.0.1",
                "PORT": str(port),
                "PUBLIC_BASE_URL": f"http://127.0.0.1:{port}",
                "STANDINS": "1",  # they render the policy line; the calls do not meet them
                "DATABASE_URL": "",
                "REDIS_URL": "",
                "DEBUG": "0",
                "DRAIN_SECONDS": "1",
                "EGRESS_ALLOW": "127.0.0.0/8",
                "MAX_CONCURRENT_CALLS": str(2 * calls + ROOM_FOR_CALLS),
            }
        )
        log_path = folder.with_suffix(".log")
        with log_path.open("wb") as log:
            process = start(
                [sys.executable, "-m", "voiceplatform.supervisor"],
                core=core,
                output=log,
                environment=environment,
            )
        instance = cls(folder, port, process, environment)
        try:
            instance._wait_ready(log_path)
        except BaseException:
            instance.stop()
            raise
        return instance

    @property
    def base_url(self) -> str:
        """The public origin."""
        return f"http://127.0.0.1:{self.port}"

    def _wait_ready(self, log_path: Path) -> None:
        deadline = time.monotonic() + READY_SECONDS
        while f"ready: {self.base_url}" not in log_path.read_text("utf-8", errors="replace"):
            if self.process.poll() is not None or time.monotonic() > deadline:
                tail = log_path.read_text("utf-8", errors="replace")[-2000:]
                raise BenchError(f"the platform did not get ready; see {log_path}:\n{tail}")
            time.sleep(0.1)

    def seed(self, *, model_port: int, tools_port: int) -> None:
        """Write the rows of the bench in a process of its own (``bench.seed``).

        Raises:
            BenchError: it failed; the message holds what it said.
        """
        done = subprocess.run(  # noqa: S603 - our own module
            [sys.executable, "-m", "bench.seed", str(model_port), str(tools_port)],
            env=self.environment,
            preexec_fn=before_exec(),
            capture_output=True,
            text=True,
            check=False,
        )
        if done.returncode:
            raise BenchError(f"the rows of the bench were not written:\n{done.stderr[-2000:]}")
        self.number_e164 = done.stdout.split()[-1]

    def stop(self) -> None:
        """End the instance and remove what it stored; its log stays."""
        stop(self.process)
        shutil.rmtree(self.folder, ignore_errors=True)

    # ---- Twilio -------------------------------------------------------------------------------

    def call_line(self, number: int) -> tuple[str, str]:
        """Send the voice webhook of a new call; return its CallSid and loadgen's line for it.

        Raises:
            BenchError: the answer was no TwiML with a stream.
        """
        call_sid = f"CA{uuid.uuid4().hex}"
        began_ns = time.monotonic_ns()
        answer = self._post("/twilio/voice", self._form(call_sid, number, "ringing"))
        answered_ns = time.monotonic_ns()
        self.webhook_ms.append((answered_ns - began_ns) / 1e6)
        stream = next(ET.fromstring(answer).iter("Stream"), None)  # noqa: S314 - our own answer
        if stream is None:
            raise BenchError(f"the webhook's answer has no stream: {answer[:300]!r}")
        url = stream.attrib["url"]
        parameters = {each.attrib["name"]: each.attrib["value"] for each in stream}
        signature = signature_of(url, {}, AUTH_TOKEN)
        return call_sid, "\t".join(
            (
                "CALL",
                call_sid,
                urllib.parse.urlsplit(url).path,
                json.dumps(parameters),
                f"X-Twilio-Signature: {signature}",
                str(began_ns),
                str(answered_ns),
            )
        )

    def call_ended(self, call_sid: str, number: int) -> None:
        """Send the status callback of a call whose caller has hung up."""
        form = self._form(call_sid, number, "completed") | {"CallDuration": "30"}
        self._post("/twilio/status", form)

    def _form(self, call_sid: str, number: int, status: str) -> dict[str, str]:
        return {
            "AccountSid": ACCOUNT_SID,
            "ApiVersion": "2010-04-01",
            "CallSid": call_sid,
            "CallStatus": status,
            "Direction": "inbound",
            "From": f"{CALLER_HEAD}{number:04d}",
            "To": self.number_e164,
        }

    def _post(self, path: str, form: dict[str, str]) -> bytes:
        headers = {
            "Content-Type": "application/x-www-form-urlencoded",
            "User-Agent": "TwilioProxy/1.1",
            "X-Twilio-Signature": signature_of(self.base_url + path, form, AUTH_TOKEN),
        }
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=WEBHOOK_SECONDS)
        try:
            connection.request("POST", path, urllib.parse.urlencode(form), headers)
            response = connection.getresponse()
            body = response.read()
        except (OSError, http.client.HTTPException) as error:
            raise BenchError(f"{path} was not answered ({type(error).__name__})") from error
        finally:
            connection.close()
        if response.status >= 300:
            raise BenchError(f"{path} answered {response.status}: {body[:300]!r}")
        return body
