// Follows the calls that go on: asks for their cards again and again, puts in what has changed, and
// sends the buttons' commands. What it puts in was escaped by the server; it makes no markup itself.
"use strict";

(() => {
  const page = document.querySelector("[data-live-calls]");
  if (!page) return;
  const list = page.querySelector("[data-live-list]");
  const none = page.querySelector("[data-live-none]");
  const state = page.querySelector("[data-live-state]");
  const hint = state.textContent;
  const everyMs = 1500;
  const slowestMs = 15000;
  let waitMs = everyMs;

  const down = (card) => {
    const talk = card.querySelector(".vp-live-talk");
    if (talk) talk.scrollTop = talk.scrollHeight;
  };

  // Who has scrolled up to read is left there; everybody else sees the newest words.
  const replace = (card, old, now) => {
    if (old.innerHTML === now.innerHTML) return;
    const talk = old.querySelector(".vp-live-talk");
    const place = talk ? talk.scrollTop : 0;
    const reads = talk && talk.scrollHeight - place - talk.clientHeight > 24;
    old.replaceWith(now);
    const next = card.querySelector(".vp-live-talk");
    if (reads && next) next.scrollTop = place;
    else down(card);
  };

  const put = (cards) => {
    const there = new Map([...list.querySelectorAll("[data-call]")].map((card) => [card.dataset.call, card]));
    const order = [];
    const fresh = [];
    for (const card of cards) {
      const known = there.get(card.dataset.call);
      if (!known) {
        order.push(card);
        fresh.push(card);
        continue;
      }
      there.delete(card.dataset.call);
      const old = known.querySelector("[data-live-part]");
      const now = card.querySelector("[data-live-part]");
      replace(known, old, now);
      const controls = known.querySelector("[data-live-controls]");
      if (controls && !card.querySelector("[data-live-controls]")) controls.remove();
      order.push(known);
    }
    for (const gone of there.values()) gone.remove();
    order.forEach((card, index) => {
      if (list.children[index] !== card) list.insertBefore(card, list.children[index] || null);
    });
    fresh.forEach(down);
    none.hidden = order.length > 0;
  };

  const ask = async () => {
    try {
      const answer = await fetch(page.dataset.rowsUrl, {
        credentials: "same-origin",
        redirect: "error", // a session that ended would lead to the login page
      });
      if (!answer.ok) throw new Error(String(answer.status));
      const rows = new DOMParser().parseFromString(await answer.text(), "text/html");
      put([...rows.querySelectorAll("[data-call]")].map((card) => document.adoptNode(card)));
      state.textContent = hint;
      waitMs = everyMs;
    } catch {
      state.textContent = "The server does not answer, or you are signed out. What you see may be old; this page keeps trying.";
      waitMs = Math.min(waitMs * 2, slowestMs);
    }
    window.setTimeout(ask, waitMs);
  };

  page.addEventListener("submit", async (event) => {
    const form = event.target;
    event.preventDefault();
    if (form.dataset.confirm && !window.confirm(form.dataset.confirm)) return;
    const result = form.closest("[data-live-controls]").querySelector("[data-live-result]");
    const buttons = form.querySelectorAll("button");
    for (const button of buttons) button.disabled = true;
    result.textContent = "…";
    try {
      const answer = await fetch(form.action, {
        method: "POST",
        body: new FormData(form),
        credentials: "same-origin",
        headers: { Accept: "application/json" },
        redirect: "error",
      });
      if (!answer.ok) throw new Error(String(answer.status));
      const { done, words } = await answer.json();
      result.textContent = words;
      if (done) form.reset();
    } catch {
      result.textContent = "That did not reach the server, or you may not do it.";
    }
    for (const button of buttons) button.disabled = false;
  });

  for (const card of list.querySelectorAll("[data-call]")) down(card);
  window.setTimeout(ask, everyMs);
})();
