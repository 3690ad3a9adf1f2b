// Fills in the samples of the voice page while a worker renders them. Knows nothing but the page's
// own data attributes; without it the page works after a reload.
"use strict";

(() => {
  const area = document.querySelector("[data-samples-url]");
  if (!area) return;
  const every = 800; // ms between two questions

  const show = (selector, text) => {
    const element = area.querySelector(selector);
    if (!element) return;
    if (text) element.textContent = text;
    element.hidden = !text;
  };

  const fill = (state) => {
    for (const sample of state.samples) {
      const row = area.querySelector(`[data-voice="${CSS.escape(sample.voice)}"]`);
      if (!row) continue;
      const audio = row.querySelector("audio");
      const words = row.querySelector("[data-state]");
      if (sample.url && audio.hidden) {
        audio.src = sample.url;
        audio.hidden = false;
        words.hidden = true;
      } else if (sample.error) {
        words.textContent = sample.error;
      }
    }
    show("[data-problem]", state.problem);
    show("[data-progress]", state.pending ? `${state.done} of ${state.total} spoken…` : "");
    const listen = area.querySelector("[data-listen]");
    if (listen) listen.hidden = state.pending || state.samples.every((sample) => sample.url);
  };

  const ask = async () => {
    try {
      const answer = await fetch(area.dataset.samplesUrl, { credentials: "same-origin" });
      if (!answer.ok) return;
      const state = await answer.json();
      fill(state);
      if (state.pending) setTimeout(ask, every);
    } catch {
      setTimeout(ask, 5 * every); // the server restarts, or the line is down
    }
  };

  if (area.dataset.pending === "1") setTimeout(ask, every);
})();
