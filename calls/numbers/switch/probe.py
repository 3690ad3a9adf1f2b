"""What the nightly look at a moved number finds, and whether it may mend it by itself.

Pure. It mends what was lost (a net that is empty, overrides that are gone) and never what was
replaced: somebody meant that, and is asked (twilio.md 5.5). It says how the number is set up, not
that the net holds, which only a drill shows.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, Literal

from calls.numbers.switch.net import NET_MS, overrides_in, without_overrides
from calls.numbers.switch.voice import VoiceConfig
from calls.numbers.switch.writes import changed

_LOSABLE: Final = frozenset({"voice_fallback_url", "status_callback"})
# A method means nothing while its address is empty.
_METHOD_OF: Final = {
    "voice_fallback_method": "voice_fallback_url",
    "status_callback_method": "status_callback",
}


@dataclass(frozen=True, slots=True)
class Probe:
    """The state of a moved number's configuration, with the fields that are not as written.

    ``dead_ms`` and ``hanging_ms``: after how long Twilio asks the fallback, as it is set up now.
    """

    state: Literal["armed", "mend", "alarm"]
    words: str
    fields: tuple[str, ...] = ()
    dead_ms: int = 0
    hanging_ms: int = 0


def probe(live: VoiceConfig, *, written: VoiceConfig, snapshot: VoiceConfig) -> Probe:
    """Compare a number with what a finished move wrote.

    Args:
        live: as fetched just now.
        written: as the move left it.
        snapshot: as it was before.

    Raises:
        ValueError: these are different numbers.
    """
    if not live.sid == written.sid == snapshot.sid:
        raise ValueError("a number is compared with itself")
    names = changed(written, live)
    if not names:
        return _armed(live)
    if live.voice() == snapshot.voice():
        words = "the number is as it was before the move, and its calls go there. To save it again "
        words += "in Vapi does that"
        return Probe("alarm", words, names)
    replaced = [name for name in names if not _is_lost(name, live, written)]
    listed = ", ".join(replaced or names)
    if replaced:
        return Probe("alarm", f"somebody else has changed {listed}", names)
    return Probe("mend", f"{listed} has lost what the move wrote there", names)


def _is_lost(name: str, live: VoiceConfig, written: VoiceConfig) -> bool:
    now, then = live.voice(), written.voice()
    if name in _LOSABLE:
        return not now[name]
    if name in _METHOD_OF:
        return not now[_METHOD_OF[name]]
    # The same address of ours; only Twilio's patience with it is another.
    return name == "voice_url" and without_overrides(now[name]) == without_overrides(then[name])


def _armed(live: VoiceConfig) -> Probe:
    overrides = overrides_in(live.voice_url)
    dead_ms, hanging_ms = overrides.dead_ms, overrides.hanging_ms
    if not live.voice_fallback_url:
        return Probe(
            "armed", "as the move left it, which is without a net", (), dead_ms, hanging_ms
        )
    words = f"a caller is with the fallback after {dead_ms / 1000:g} s when our site is dead"
    if hanging_ms > NET_MS:
        words += f", and after {hanging_ms / 1000:g} s when it hangs"
    return Probe("armed", words, (), dead_ms, hanging_ms)
