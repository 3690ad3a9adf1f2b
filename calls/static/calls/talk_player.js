// The loudspeaker's end of a talk, in the audio thread: a queue of samples at 8 kHz with marks
// between them. It says which mark has been played; on "clear" it forgets all and gives every mark
// back at once, as Twilio does. It knows no socket and no page.
"use strict";

class TalkPlayer extends AudioWorkletProcessor {
  constructor() {
    super();
    this.queue = []; // Float32Array, or the name of a mark
    this.at = 0; // samples played of the first entry
    this.port.onmessage = ({ data }) => {
      if (data === "clear") this.clear();
      else this.queue.push(data);
    };
  }

  clear() {
    const marks = this.queue.filter((entry) => typeof entry === "string");
    this.queue = [];
    this.at = 0;
    for (const name of marks) this.port.postMessage({ name, dropped: true });
  }

  process(_inputs, [[out]]) {
    let filled = 0;
    while (this.queue.length && (filled < out.length || typeof this.queue[0] === "string")) {
      const entry = this.queue[0];
      if (typeof entry === "string") {
        this.queue.shift();
        this.port.postMessage({ name: entry, dropped: false });
        continue;
      }
      const part = entry.subarray(this.at, this.at + out.length - filled);
      out.set(part, filled);
      filled += part.length;
      this.at += part.length;
      if (this.at === entry.length) {
        this.queue.shift();
        this.at = 0;
      }
    }
    return true;
  }
}

registerProcessor("talk-player", TalkPlayer);
