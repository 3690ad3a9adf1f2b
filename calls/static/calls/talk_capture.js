// The microphone's end of a talk, in the audio thread: what the device hears, at its own rate,
// becomes G.711 mu-law at 8 kHz in frames of 20 ms. It knows no socket and no page.
"use strict";

const RATE_HZ = 8000;
const FRAME = 160; // samples, 20 ms
const HALF_WIDTH = 24; // zero crossings of the low-pass on each side
const EDGE = 0.95; // of 4 kHz: what lies above would come back as a whistle

// Kaiser-windowed sinc, looked up by distance in output samples.
const STEPS = 512;
const TABLE = (() => {
  const bessel = (x) => {
    let sum = 1, term = 1;
    for (let k = 1; k < 30; k++) sum += term *= (x / (2 * k)) ** 2;
    return sum;
  };
  const beta = 9;
  const table = new Float32Array(HALF_WIDTH * STEPS + 2);
  for (let i = 0; i < table.length; i++) {
    const x = i / STEPS;
    const sinc = x === 0 ? EDGE : Math.sin(Math.PI * x * EDGE) / (Math.PI * x);
    const share = Math.min(1, x / HALF_WIDTH);
    table[i] = (sinc * bessel(beta * Math.sqrt(1 - share * share))) / bessel(beta);
  }
  return table;
})();

const mulaw = (sample) => {
  let value = Math.round(Math.max(-1, Math.min(1, sample)) * 32767);
  const sign = value < 0 ? 0x80 : 0;
  value = Math.min(Math.abs(value), 32635) + 0x84;
  const exponent = 31 - Math.clz32(value) - 7;
  return ~(sign | (exponent << 4) | ((value >> (exponent + 3)) & 0x0f)) & 0xff;
};

class TalkCapture extends AudioWorkletProcessor {
  constructor() {
    super();
    this.step = sampleRate / RATE_HZ;
    this.reach = HALF_WIDTH * Math.max(1, this.step);
    this.input = new Float32Array(0);
    this.next = this.reach; // where in `input` the next output sample lies
    this.frame = new Uint8Array(FRAME);
    this.filled = 0;
    this.peak = 0;
  }

  sample() {
    const scale = 1 / Math.max(1, this.step);
    const first = Math.ceil(this.next - this.reach);
    const last = Math.floor(this.next + this.reach);
    let sum = 0;
    for (let i = Math.max(0, first); i <= last; i++) {
      sum += this.input[i] * TABLE[Math.round(Math.abs(i - this.next) * scale * STEPS)];
    }
    return sum * scale;
  }

  process([[heard]]) {
    if (!heard) return true;
    const joined = new Float32Array(this.input.length + heard.length);
    joined.set(this.input);
    joined.set(heard, this.input.length);
    this.input = joined;
    while (this.next + this.reach < this.input.length) {
      const sample = this.sample();
      this.peak = Math.max(this.peak, Math.abs(sample));
      this.frame[this.filled++] = mulaw(sample);
      this.next += this.step;
      if (this.filled === FRAME) this.send();
    }
    const done = Math.max(0, Math.floor(this.next - this.reach));
    this.input = this.input.subarray(done);
    this.next -= done;
    return true;
  }

  send() {
    this.port.postMessage({ frame: this.frame.buffer, peak: this.peak }, [this.frame.buffer]);
    this.frame = new Uint8Array(FRAME);
    this.filled = 0;
    this.peak = 0;
  }
}

registerProcessor("talk-capture", TalkCapture);
