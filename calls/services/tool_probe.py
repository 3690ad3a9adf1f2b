"""Asks one tool's server the four questions of a check: reachable, TLS, secret, answer.

Owns the probe and its words. Without the owner's leave nothing but TLS and a HEAD request leaves
us, which no handler takes for a call; with it a marked test request does. No secret is shown and
nothing is stored here.
"""

from __future__ import annotations

import asyncio
import json
import ssl
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any, Final, Literal

from assistants.secret_probe import TEST_HEADER
from calls.services.tool_servers import own_server, server_for
from calls.services.tool_try import ToolTrial, TryRefused, revision_using, tool_try
from tools.addresses import plain_origin
from tools.dispatch import ToolServer
from tools.models import Tool
from tools.samples import sample_arguments
from tools.wire.vapi_server import NO_RESULT
from voiceplatform.base.egress import EgressRefused, destination, egress_client
from voiceplatform.base.http import HTTPError, InvalidURL

State = Literal["ok", "unsure", "failed", "not asked"]
PROBE_SECONDS: Final = 8.0
CHECK_KIND: Final = "check"

REACHABLE: Final = "Reachable"
TLS: Final = "TLS"
SECRET: Final = "Secret accepted"  # noqa: S105 - a question
ANSWER: Final = "Answer well-formed"

_POST_WOULD_TELL: Final = "Allow test requests on the tool's page and check again."
_NOT_ASKED: Final = "Not asked: only TLS and a HEAD request were tried."


@dataclass(frozen=True, slots=True)
class Answer:
    """One question with its answer in words, and what a person does about it."""

    question: str
    state: State
    words: str
    fix: str = ""


def tool_questions(tool: Tool, *, may_post: bool, actor: Any) -> list[Answer]:
    """Ask the server of ``tool`` all four questions; takes up to the tool's own timeout.

    Must not be called in a transaction or from an event loop.

    Args:
        may_post: the owner of the server allows a request that is marked as a test.
    """
    if tool.type == "apiRequest":
        return _api_questions(tool)
    server = server_for(tool, revision_using(tool))
    if server is None or not server.url:
        return [
            Answer(
                REACHABLE,
                "failed",
                "No server is known for it.",
                "Enter the address of its server, here or in its assistant.",
            )
        ]
    found = asyncio.run(_head(server))
    if may_post and not any(each.state == "failed" for each in found):
        kept = [each for each in found if each.question in (REACHABLE, TLS)]
        return [*kept, *_by_trial(tool, actor)]
    return found


def _api_questions(tool: Tool) -> list[Answer]:
    """Ask the host of an API for its root, without any proof: a path may mean something there."""
    server = own_server(tool)
    if server is None:
        return [Answer(REACHABLE, "failed", "It has no address.", "Enter its address.")]
    origin = plain_origin(server.url)
    if not origin:
        words = "Its host is filled in for each call, so nobody can be asked ahead."
        return [Answer(REACHABLE, "not asked", words, "Try it by hand on the tool's page.")]
    root = replace(server, url=f"{origin}/", secret="", headers={}, credential=None)
    status = asyncio.run(_status(root))
    if not isinstance(status, int):
        return status
    words = "Not asked: an API that is not yours knows no test request."
    return [
        Answer(REACHABLE, "ok", "Its host is there."),
        _tls(origin.lower().startswith("https:")),
        Answer(ANSWER, "not asked", words, "Try it by hand on the tool's page."),
    ]


async def _head(server: ToolServer) -> list[Answer]:
    status = await _status(server)
    if not isinstance(status, int):
        return status
    is_tls = server.url.strip().lower().startswith("https:")
    return [*_there(status), _tls(is_tls), *_by_status(status, has_secret=_proves(server))]


async def _status(server: ToolServer) -> int | list[Answer]:
    """Return what a HEAD request is answered with, or why it is not."""
    try:
        place = destination(server.url)
        headers = {
            "User-Agent": "voiceplatform",
            "Accept-Encoding": "identity",
            **({"Authorization": place.authorization} if place.authorization else {}),
            **({"X-Vapi-Secret": server.secret} if server.secret else {}),
            **server.headers,
            TEST_HEADER: CHECK_KIND,
        }
        async with (
            asyncio.timeout(PROBE_SECONDS),
            egress_client(connect_seconds=5.0, read_seconds=PROBE_SECONDS) as client,
            client.stream("HEAD", place.url, headers=headers) as response,
        ):
            return response.status_code
    except EgressRefused as error:
        return [Answer(REACHABLE, "failed", str(error))]
    except TimeoutError:
        return [
            Answer(
                REACHABLE,
                "failed",
                f"It did not answer within {PROBE_SECONDS:g} seconds.",
                "See that the server runs and lets this platform's addresses in.",
            )
        ]
    except (HTTPError, InvalidURL, OSError, ValueError) as error:
        return _not_reached(error)


def _proves(server: ToolServer) -> bool:
    return bool(server.secret or server.headers or getattr(server, "credential", None))


def _not_reached(error: BaseException) -> list[Answer]:
    """Tell a wrong certificate from a server that is not there; texts may quote the address."""
    for each in _chain(error):
        if isinstance(each, ssl.SSLCertVerificationError):
            return [
                Answer(REACHABLE, "ok", "It is there."),
                Answer(
                    TLS,
                    "failed",
                    f"Its certificate is not accepted: {each.verify_message}.",
                    "Renew the certificate, with the whole chain, for the very name of the address."
                    " Calls to this tool fail until then.",
                ),
            ]
        if isinstance(each, ssl.SSLError):
            return [
                Answer(REACHABLE, "ok", "It is there."),
                Answer(TLS, "failed", "It does not speak TLS.", "Offer TLS 1.2 or newer there."),
            ]
    return [
        Answer(
            REACHABLE,
            "failed",
            f"It could not be reached ({type(error).__name__}).",
            "See that the address is right, its name resolves and the server runs.",
        )
    ]


def _chain(error: BaseException | None) -> Iterator[BaseException]:
    for _ in range(10):
        if error is None:
            return
        yield error
        error = error.__cause__ or error.__context__


def _there(status: int) -> Iterator[Answer]:
    if 300 <= status < 400:
        yield Answer(
            REACHABLE,
            "failed",
            f"It redirects (HTTP {status}), and calls follow no redirect.",
            "Enter the address that it redirects to.",
        )
    elif status >= 500 and status != 501:  # 501 and 405: it knows no HEAD, which is well
        yield Answer(
            REACHABLE,
            "unsure",
            f"It is there, but failed on a HEAD request (HTTP {status}).",
            "Look at its log; a server that only knows POST may do this.",
        )
    else:
        yield Answer(REACHABLE, "ok", "It is there.")


def _tls(is_tls: bool) -> Answer:
    if is_tls:
        return Answer(TLS, "ok", "Its certificate is accepted.")
    return Answer(
        TLS,
        "unsure",
        "Its address is plain http: what callers say can be read on the way.",
        "Offer it under https and enter that address.",
    )


def _by_status(status: int, *, has_secret: bool) -> list[Answer]:
    answer = Answer(ANSWER, "not asked", _NOT_ASKED, _POST_WOULD_TELL)
    if status in (401, 403):
        return [_refused(status, has_secret), answer]
    return [Answer(SECRET, "not asked", "Many servers check it on POST only."), answer]


def _refused(status: int, has_secret: bool) -> Answer:
    if has_secret:
        return Answer(
            SECRET,
            "failed",
            f"It refused us although the secret was sent (HTTP {status}).",
            "Enter the secret that the server expects.",
        )
    return Answer(
        SECRET,
        "failed",
        f"It refuses requests without a secret (HTTP {status}).",
        "Enter its secret under Missing secrets, or on the tool's page.",
    )


def _by_trial(tool: Tool, actor: Any) -> list[Answer]:
    arguments = json.dumps(sample_arguments(tool.parameters))
    try:
        trial = tool_try(tool=tool, arguments_json=arguments, actor=actor, through="check")
    except TryRefused as refusal:
        words = f"No test request could be made up for it. {refusal}"
        return [Answer(ANSWER, "unsure", words, "Try it by hand on the tool's page.")]
    if trial.status in (401, 403):
        return [_refused(trial.status, has_secret=len(trial.header_names) > 1)]
    if not trial.status:
        return [
            Answer(
                REACHABLE,
                "failed",
                f"A test request got no answer ({trial.error or trial.outcome}).",
                "Look at its log; callers wait as long for nothing.",
            )
        ]
    accepted = Answer(SECRET, "ok", "A test request was let in.")
    return [accepted, _well_formed(trial)]


def _well_formed(trial: ToolTrial) -> Answer:
    if trial.outcome == "ok":
        took = f"{trial.duration_ms} ms"
        if trial.warning:
            return Answer(ANSWER, "unsure", f"It was read after {took}, but: {trial.warning}.")
        return Answer(ANSWER, "ok", f"It answered after {took} in a form that assistants read.")
    if trial.output.startswith(NO_RESULT):
        return Answer(
            ANSWER,
            "failed",
            f"It answered (HTTP {trial.status}) without a result that assistants can read.",
            'Answer {"results": [{"toolCallId": …, "result": …}]}; see the guide on tools.',
        )
    return Answer(
        ANSWER,
        "unsure",
        f"It answered a made-up request with an error (HTTP {trial.status}), in a form that "
        "assistants read.",
        "Try it by hand with arguments that exist there.",
    )


def verdict_of(answers: list[Answer]) -> Literal["ok", "unsure", "failed"]:
    """Return the worst of the answers; what was not asked leaves it open."""
    states = {each.state for each in answers}
    if "failed" in states:
        return "failed"
    return "ok" if states == {"ok"} else "unsure"


def as_json(answers: list[Answer]) -> list[Mapping[str, str]]:
    """Return answers as they are stored."""
    return [
        {
            "question": each.question,
            "state": each.state,
            "words": each.words,
            "fix": each.fix,
        }
        for each in answers
    ]
