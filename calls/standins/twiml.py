"""Strict reading of TwiML as Twilio does it (twilio.md 2, 8.3): what is unknown is ignored and
recorded as 12200, what is no TwiML is an error. It must not run anything.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from xml.etree import ElementTree

_ANY: frozenset[str] = frozenset()
_VERBS: dict[str, frozenset[str]] = {
    "Say": frozenset({"voice", "language", "loop"}),
    "Play": frozenset({"loop", "digits"}),
    "Pause": frozenset({"length"}),
    "Gather": frozenset(
        {"input", "action", "method", "timeout", "numDigits", "finishOnKey", "actionOnEmptyResult"}
        | {"language", "speechTimeout", "hints", "bargeIn"}
    ),
    "Connect": frozenset({"action", "method"}),
    "Start": frozenset({"action", "method"}),
    "Stop": _ANY,
    "Dial": frozenset(
        {"action", "method", "timeout", "timeLimit", "callerId", "answerOnBridge", "hangupOnStar"}
        | {"record", "recordingStatusCallback", "recordingStatusCallbackEvent", "ringTone", "trim"}
        | {"recordingStatusCallbackMethod", "referUrl", "referMethod", "sequential"}
    ),
    "Redirect": frozenset({"method"}),
    "Reject": frozenset({"reason"}),
    "Hangup": _ANY,
}
_CALLBACKS = frozenset({"statusCallback", "statusCallbackMethod"})
_NOUNS: dict[str, dict[str, frozenset[str]]] = {
    "Gather": {name: _VERBS[name] for name in ("Say", "Play", "Pause")},
    "Connect": {"Stream": frozenset({"url", "name", "track"}) | _CALLBACKS},
    "Start": {
        "Stream": frozenset({"url", "name", "track"}) | _CALLBACKS,
        "Recording": frozenset(
            {"channels", "track", "trim", "recordingStatusCallback"}
            | {"recordingStatusCallbackMethod", "recordingStatusCallbackEvent"}
        ),
        "Transcription": frozenset({"name", "track", "statusCallbackUrl", "languageCode"}),
    },
    "Stop": {
        "Stream": frozenset({"name"}),
        "Recording": _ANY,
        "Transcription": frozenset({"name"}),
    },
    "Dial": {
        "Number": frozenset({"url", "method", "sendDigits", "statusCallbackEvent", "byoc"})
        | _CALLBACKS,
        "Sip": frozenset({"url", "method", "username", "password", "statusCallbackEvent"})
        | _CALLBACKS,
        "Conference": frozenset(
            {"startConferenceOnEnter", "endConferenceOnExit", "beep", "waitUrl", "muted"}
            | {"statusCallbackEvent", "maxParticipants", "waitMethod"}
        )
        | _CALLBACKS,
    },
    "Stream": {"Parameter": frozenset({"name", "value"})},
}
_TEXT_VERBS = frozenset({"Say", "Play", "Redirect", "Dial", "Number", "Sip", "Conference"})


class TwimlError(Exception):
    """The document cannot be run; `code` is Twilio's (12100 or 12300)."""

    def __init__(self, code: int, text: str) -> None:
        super().__init__(text)
        self.code, self.text = code, text


@dataclass(frozen=True, slots=True)
class Verb:
    """One element with its known attributes and children."""

    name: str
    attributes: dict[str, str] = field(default_factory=dict)
    text: str = ""
    children: tuple[Verb, ...] = ()

    def child(self, name: str) -> Verb | None:
        """Return the first child of that name."""
        return next((child for child in self.children if child.name == name), None)


@dataclass(frozen=True, slots=True)
class Document:
    """A readable answer: verbs in order, and what was ignored as (12200, text)."""

    verbs: tuple[Verb, ...]
    notices: tuple[tuple[int, str], ...] = ()


def parse_twiml(body: str, content_type: str) -> Document:
    """Return the document; raises TwimlError for other types, bad XML and a wrong root."""
    if content_type.partition(";")[0].strip() not in ("text/xml", "application/xml"):
        raise TwimlError(12300, f"content type {content_type!r}")
    try:
        # The platform's own answer in a rehearsal; expansion bombs harm only the tester.
        root = ElementTree.fromstring(body)  # noqa: S314 - see above
    except ElementTree.ParseError as error:
        raise TwimlError(12100, str(error)) from error
    if root.tag != "Response":
        raise TwimlError(12100, f"root element {root.tag}")
    notices: list[tuple[int, str]] = []
    verbs = _children(root, _VERBS, "Response", notices)
    return Document(verbs, tuple(notices))


def _children(
    node: ElementTree.Element,
    known: dict[str, frozenset[str]],
    path: str,
    notices: list[tuple[int, str]],
) -> tuple[Verb, ...]:
    found: list[Verb] = []
    for element in node:
        place = f"{path}/{element.tag}"
        if element.tag not in known:
            notices.append((12200, f"{place} is not known here"))
            continue
        for name in element.attrib:
            if name not in known[element.tag]:
                notices.append((12200, f"{place}@{name} is not known"))
        text = (element.text or "").strip()
        if text and element.tag not in _TEXT_VERBS:
            notices.append((12200, f"{place} takes no text"))
        attributes = {k: v for k, v in element.attrib.items() if k in known[element.tag]}
        nouns = _NOUNS.get(element.tag, {})
        children = _children(element, nouns, place, notices)
        found.append(Verb(element.tag, attributes, text, children))
    return tuple(found)
