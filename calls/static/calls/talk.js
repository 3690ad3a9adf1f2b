// Talks to an assistant: microphone to socket, socket to loudspeaker, and what was said to the page.
// The framing is that of calls/wire/web_media.py. Everything that comes in is written as text.
"use strict";

(() => {
  const page = document.querySelector("[data-talk]");
  const form = page && page.querySelector("[data-form]");
  if (!form) return;
  const find = (name) => page.querySelector(`[data-${name}]`);
  const conversation = find("conversation");
  const OUTPUT_HZ = 8000;
  const MOST_WAITING_BYTES = 64000; // of our sound in the socket: 8 s

  let talk = null; // what is open now

  const show = (name, text) => {
    const element = find(name);
    element.textContent = text;
    element.hidden = !text;
  };
  const say = (text) => { find("state").textContent = text; };
  const seconds = (ms) => (ms < 1000 ? `${ms} ms` : `${(ms / 1000).toFixed(2)} s`);
  const clock = (ms) => {
    const whole = Math.floor(ms / 1000);
    return `${Math.floor(whole / 60)}:${String(whole % 60).padStart(2, "0")}.${Math.floor((ms % 1000) / 100)}`;
  };

  // ---- what the page shows ----------------------------------------------------------------------

  const make = (tag, className, text) => {
    const element = document.createElement(tag);
    if (className) element.className = className;
    if (text) element.textContent = text;
    return element;
  };

  // Entries keep the order in which they began, whatever order news of them comes in.
  const entry = (id, kind, startedMs) => {
    let item = conversation.querySelector(`[data-entry="${CSS.escape(id)}"]`);
    if (!item) {
      item = make("li", `vp-talk-${kind}`);
      item.dataset.entry = id;
      item.dataset.at = startedMs;
      const later = [...conversation.children].find((other) => Number(other.dataset.at) > startedMs);
      conversation.insertBefore(item, later || null);
      find("nothing").hidden = true;
    }
    return item;
  };

  const latencies = [];
  const showTurn = (turn) => {
    if (!turn.text && !turn.text_unheard && turn.ended_ms === null) return;
    const item = entry(`turn-${turn.ordinal}`, turn.role, turn.started_ms);
    const head = make("div", "vp-talk-head");
    const who = { user: "You", assistant: "Assistant", system: "Line" }[turn.role] || turn.role;
    head.append(make("span", "", who), make("span", "", clock(turn.started_ms)));
    if (turn.latency_ms !== null) head.append(make("span", "", `after ${seconds(turn.latency_ms)}`));
    if (turn.interrupted) head.append(make("span", "vp-badge vp-badge-warning", "interrupted"));
    const bubble = make("div", "vp-bubble", turn.text || (turn.text_unheard ? "" : "(nothing understood)"));
    if (turn.text_unheard) {
      bubble.append(" ", make("span", "vp-unheard", turn.text_unheard));
    }
    item.replaceChildren(head, bubble);
    if (turn.latency_ms !== null) {
      latencies[turn.ordinal] = turn.latency_ms;
      const sorted = latencies.filter((value) => value !== undefined).sort((a, b) => a - b);
      show("latency", `${seconds(sorted[Math.floor((sorted.length - 1) / 2)])}, worst ${seconds(sorted[sorted.length - 1])}`);
    }
  };

  const pretty = (text) => {
    try {
      return JSON.stringify(JSON.parse(text), null, 2);
    } catch {
      return text;
    }
  };

  const requests = new Map(); // tool_call_id -> what was, or would have been, sent
  const tools = new Map();
  const block = (title, text) => {
    const part = make("div");
    part.append(make("h4", "", title), make("pre", "", text));
    return part;
  };
  const showTool = (id) => {
    const tool = tools.get(id);
    if (!tool) return;
    const colour = { ok: "success", running: "info" }[tool.state] || "danger";
    const item = entry(`tool-${id}`, "tool", tool.started_ms);
    const opened = item.querySelector("details")?.open;
    const card = make("div", `vp-tool vp-tool-${colour}`);
    const head = make("div", "vp-talk-head");
    head.append(make("span", "", clock(tool.started_ms)), make("b", "", tool.name));
    head.append(make("span", `vp-badge vp-badge-${colour}`, tool.state));
    const request = requests.get(id);
    if (request) {
      head.append(request.sent ? make("span", "vp-badge vp-badge-warning", "really sent") : make("span", "vp-badge vp-badge-info", "not sent"));
    }
    if (tool.duration_ms) head.append(make("span", "", seconds(tool.duration_ms)));
    const body = make("div", "vp-tool-body");
    body.append(block("Asked with", pretty(tool.arguments_json || "nothing")));
    body.append(block("Answer", pretty(tool.output || "none yet")));
    card.append(head, body);
    if (request) {
      const more = make("details");
      more.open = Boolean(opened);
      const words = request.sent ? "The request that was sent" : "The request that would have been sent";
      more.append(make("summary", "vp-hint", words));
      const headers = request.headers.length ? `\nwith ${request.headers.join(", ")}` : "";
      more.append(make("pre", "vp-json", `${request.method} ${request.url}${headers}\n\n${JSON.stringify(request.body, null, 2)}`));
      card.append(more);
    }
    item.replaceChildren(card);
  };

  const note = (text) => {
    const last = conversation.lastElementChild;
    const item = entry(`note-${conversation.children.length}`, "system", last ? Number(last.dataset.at) : 0);
    item.replaceChildren(make("div", "vp-bubble", text));
  };

  const NEXT = {
    dial: (to) => `A caller would be put through to ${to} now.`,
    resume: () => "A caller would be given another line now, and the conversation would go on.",
    apologise: () => "A caller would hear an apology now, and the line would end.",
  };

  const ended = (message) => {
    if (typeof message.stream_ms === "number") show("length", seconds(message.stream_ms));
    if (typeof message.spend_microusd === "number") {
      show("cost", message.spend_microusd ? `${(message.spend_microusd / 1e6).toFixed(4)} USD` : "nothing");
    }
    note(`The talk is over: ${message.ended_reason.replaceAll(".", ": ").replaceAll("-", " ")}.`);
  };

  // ---- sound ------------------------------------------------------------------------------------

  const LINEAR = Float32Array.from({ length: 256 }, (_, code) => {
    const inverted = ~code & 0xff;
    const size = ((((inverted & 0x0f) << 3) + 0x84) << ((inverted & 0x70) >> 4)) - 0x84;
    return (inverted & 0x80 ? -size : size) / 32768;
  });

  const openMicrophone = (headphones) => {
    if (!navigator.mediaDevices || !window.AudioWorkletNode) {
      throw new Error("This browser gives no microphone to pages without HTTPS.");
    }
    const on = !headphones;
    return navigator.mediaDevices.getUserMedia({
      audio: { channelCount: 1, echoCancellation: on, noiseSuppression: on, autoGainControl: on },
    });
  };

  const openSound = async (stream) => {
    const inward = new AudioContext();
    const outward = new AudioContext({ sampleRate: OUTPUT_HZ });
    await Promise.all([
      inward.audioWorklet.addModule(page.dataset.captureUrl),
      outward.audioWorklet.addModule(page.dataset.playerUrl),
      inward.resume(),
      outward.resume(),
    ]);
    const capture = new AudioWorkletNode(inward, "talk-capture", {
      channelCount: 1, channelCountMode: "explicit", numberOfOutputs: 0,
    });
    inward.createMediaStreamSource(stream).connect(capture);
    const player = new AudioWorkletNode(outward, "talk-player", {
      numberOfInputs: 0, outputChannelCount: [1],
    });
    player.connect(outward.destination);
    return { inward, outward, capture, player };
  };

  // ---- the socket -------------------------------------------------------------------------------

  const begin = async () => {
    const answer = await fetch(page.dataset.startUrl, {
      method: "POST", body: new FormData(form), credentials: "same-origin",
    });
    const told = await answer.json().catch(() => ({}));
    if (!answer.ok) throw new Error(told.problem || `The server answered ${answer.status}.`);
    return told;
  };

  const connect = (path) => new Promise((resolve, reject) => {
    const socket = new WebSocket(`${location.origin.replace("http", "ws")}${path}`);
    socket.binaryType = "arraybuffer";
    socket.onopen = () => resolve(socket);
    socket.onerror = () => reject(new Error("The server refused the connection."));
  });

  const carry = (socket, sound) => {
    const { outward, capture, player } = sound;
    const late = new Set(); // marks that the device has, and the ear has not yet
    const played = (name) => {
      if (socket.readyState === WebSocket.OPEN) socket.send(JSON.stringify({ type: "played", name }));
    };
    player.port.onmessage = ({ data }) => {
      if (data.dropped) return played(data.name);
      const wait = 1000 * (outward.outputLatency || outward.baseLatency || 0);
      const timer = setTimeout(() => { late.delete(mark); played(data.name); }, wait);
      const mark = { timer, name: data.name };
      late.add(mark);
    };
    capture.port.onmessage = ({ data }) => {
      find("level").value = data.peak;
      if (socket.readyState === WebSocket.OPEN && socket.bufferedAmount < MOST_WAITING_BYTES) {
        socket.send(data.frame);
      }
    };
    const told = {
      ready: (message) => {
        say("Connected, speak");
        show("model", `${talk.isStandin ? "the stand-in" : "the real model"}: ${message.model}, voice ${message.voice}`);
        find("model").classList.add(talk.isStandin ? "vp-badge-info" : "vp-badge-success");
      },
      clear: () => {
        for (const mark of late) { clearTimeout(mark.timer); played(mark.name); }
        late.clear();
        player.port.postMessage("clear");
      },
      mark: (message) => player.port.postMessage(message.name),
      turn: showTurn,
      tool: (message) => { tools.set(message.tool_call_id, message); showTool(message.tool_call_id); },
      request: (message) => { requests.set(message.tool_call_id, message); showTool(message.tool_call_id); },
      handoff: (message) => note(`${message.to || "Another assistant"} has taken over.`),
      next: (message) => { if (NEXT[message.step]) note(NEXT[message.step](message.dial_to)); },
      ended,
    };
    socket.onmessage = ({ data }) => {
      if (data instanceof ArrayBuffer) {
        if (!talk.heard) {
          talk.heard = true;
          show("first-word", seconds(Math.round(performance.now() - talk.openedAt)));
        }
        const samples = Float32Array.from(new Uint8Array(data), (code) => LINEAR[code]);
        player.port.postMessage(samples, [samples.buffer]);
        return;
      }
      const message = JSON.parse(data);
      if (told[message.type]) told[message.type](message);
    };
    socket.onclose = () => close("Not connected");
  };

  // ---- the buttons ------------------------------------------------------------------------------

  const settings = [...form.querySelectorAll("select, input")].filter((field) => !field.disabled);
  const set = (on) => {
    find("start").hidden = on;
    find("stop").hidden = !on;
    find("keys").hidden = !on;
    for (const field of settings) field.disabled = on;
  };

  const close = (words) => {
    if (!talk) return;
    const { stream, sound, socket } = talk;
    talk = null;
    if (stream) for (const track of stream.getTracks()) track.stop();
    if (sound) { sound.inward.close(); sound.outward.close(); }
    if (socket && socket.readyState === WebSocket.OPEN) socket.close();
    find("level").value = 0;
    say(words);
    set(false);
  };

  const start = async () => {
    if (talk) return;
    const mine = talk = { heard: false };
    show("problem", "");
    show("model", "");
    find("model").className = "vp-badge";
    conversation.replaceChildren();
    requests.clear();
    tools.clear();
    latencies.length = 0;
    for (const name of ["first-word", "latency", "length", "cost"]) show(name, "–");
    const headphones = form.elements.headphones.checked;
    try {
      say("Asking for the microphone…");
      mine.stream = await openMicrophone(headphones);
      mine.sound = await openSound(mine.stream);
      say("Connecting…");
      const told = await begin();
      mine.isStandin = told.is_standin;
      set(true);
      mine.socket = await connect(told.socket);
      mine.openedAt = performance.now();
      carry(mine.socket, mine.sound);
    } catch (error) {
      const refused = error.name === "NotAllowedError" || error.name === "NotFoundError";
      show("problem", refused ? "The browser gave no microphone. Allow it for this page, or plug one in." : error.message);
      close("Not connected");
    }
  };

  find("start").addEventListener("click", (event) => { event.preventDefault(); start(); });
  find("stop").addEventListener("click", (event) => {
    event.preventDefault();
    const socket = talk && talk.socket;
    if (!socket || socket.readyState !== WebSocket.OPEN) return close("Not connected");
    say("Ending…");
    socket.send(JSON.stringify({ type: "stop" }));
  });
  find("keys").addEventListener("click", (event) => {
    const digit = event.target.dataset.digit;
    const socket = talk && talk.socket;
    if (digit && socket && socket.readyState === WebSocket.OPEN) {
      socket.send(JSON.stringify({ type: "key", digit }));
    }
  });
  window.addEventListener("pagehide", () => close(""));
  const about = () => {
    find("about-standin").hidden = form.elements.connection.selectedOptions[0].dataset.standin !== "1";
  };
  form.elements.connection.addEventListener("change", about);
  about();
})();
