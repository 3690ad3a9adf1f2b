"""The old stack of a rehearsal: a model of it, since nothing outside may be reached.

Pure. It does what the scenario expects, but for the noise that the scenario states, and takes the
time that a chain of transcriber, text model and voice takes. So a rehearsal says whether *our*
stack does what is expected; of the real old stack it says nothing, and its report says so.
"""

from __future__ import annotations

import random
from dataclasses import replace
from decimal import Decimal
from typing import Final

from calls.parity.dealing import drifted
from calls.parity.played import CallLatency, CallResult, Utterance
from calls.parity.scenario import Scenario, sequence_of_calls

GREETING: Final = "Hello, how can I help you?"
FIRST_WORD_MS: Final = (700, 1_300)
ANSWER_MS: Final = (900, 1_800)
WORD_MS: Final = 380  # about 160 words a minute
# What Vapi's own parts cost a minute, model and voice included, as a round figure of vapi.md 6.
USD_PER_MINUTE: Final = Decimal("0.105")


def play_old_stack(scenario: Scenario, *, key: str, rng: random.Random) -> CallResult:
    """Return a call of the modelled old stack; ``rng`` decides noise and times."""
    followed = drifted(scenario, scenario.old_noise, rng)
    sequence = sequence_of_calls(followed, followed.expected, key=key, stack="vapi")
    first_word_ms = rng.randint(*FIRST_WORD_MS)
    now_ms = first_word_ms
    said = [Utterance("assistant", GREETING, now_ms)]
    now_ms += _spoken_ms(GREETING)
    answers: list[int] = []
    at_ms: list[int] = []
    seen: dict[str, int] = {}
    for turn in followed.caller:
        if turn.action == "hang_up":
            break
        said.append(Utterance("user", turn.text, now_ms))
        now_ms += _spoken_ms(turn.text)
        asked_ms = now_ms
        for call in turn.expect:
            at_ms.append(now_ms)
            nth = seen[call.tool] = seen.get(call.tool, -1) + 1
            now_ms += scenario.reply(call.tool, nth).delay_ms
        now_ms += rng.randint(*ANSWER_MS)
        answers.append(now_ms - asked_ms)
        words = " ".join(filter(None, (turn.first, turn.agent)))
        if words:
            said.append(Utterance("assistant", words, now_ms))
            now_ms += _spoken_ms(words)
    tools = tuple(
        replace(tool, at_ms=moment) for tool, moment in zip(sequence.tools, at_ms, strict=False)
    )
    return CallResult(
        sequence=replace(sequence, tools=tools),
        transcript=tuple(said),
        latency=CallLatency(first_word_ms, tuple(answers)),
        cost_usd=(USD_PER_MINUTE * now_ms / 60_000).quantize(Decimal("0.000001")),
    )


def _spoken_ms(text: str) -> int:
    return WORD_MS * max(len(text.split()), 1)
