// Keeps parts of a page up to date: asks for each part again and again and puts in what the server
// has escaped. A part in which somebody is typing is left alone until they are done.
"use strict";

(() => {
  const everyMs = 1500;
  const slowestMs = 15000;

  // Tokens of forms differ in every answer and say nothing new.
  const plain = (part) => {
    const copy = part.cloneNode(true);
    for (const token of copy.querySelectorAll("[name=csrfmiddlewaretoken]")) token.remove();
    return copy.innerHTML.replace(/\s+/g, " ").trim();
  };

  const follow = (place) => {
    const state = place.querySelector("[data-follow-state]");
    const hint = state ? state.textContent : "";
    let waitMs = everyMs;

    const put = (text) => {
      const now = new DOMParser().parseFromString(text, "text/html").querySelector("[data-follow-part]");
      const old = place.querySelector("[data-follow-part]");
      if (!now || !old) throw new Error("no part");
      const isUsed = old.contains(document.activeElement) && document.activeElement.matches("input, textarea, select");
      if (isUsed) return false;
      if (plain(old) !== plain(now)) old.replaceWith(document.adoptNode(now));
      return now.dataset.followEnd === "1";
    };

    const ask = async () => {
      let isOver = false;
      try {
        const answer = await fetch(place.dataset.followUrl, {
          credentials: "same-origin",
          redirect: "error", // a session that ended would lead to the login page
        });
        if (!answer.ok) throw new Error(String(answer.status));
        isOver = put(await answer.text());
        if (state) state.textContent = hint;
        waitMs = everyMs;
      } catch {
        if (state) state.textContent = "The server does not answer, or you are signed out. What you see may be old; this page keeps trying.";
        waitMs = Math.min(waitMs * 2, slowestMs);
      }
      if (!isOver) window.setTimeout(ask, waitMs);
      else if (state) state.textContent = "";
    };

    const part = place.querySelector("[data-follow-part]");
    if (part && part.dataset.followEnd !== "1") window.setTimeout(ask, everyMs);
  };

  for (const place of document.querySelectorAll("[data-follow-url]")) follow(place);

  // A page that comes back from the browser's memory may be sent again.
  window.addEventListener("pageshow", () => {
    for (const form of document.querySelectorAll("[data-once]")) delete form.dataset.sent;
  });

  // A second click on a button whose work takes seconds would order it twice.
  document.addEventListener("submit", (event) => {
    const form = event.target;
    if (!form.matches("[data-once]")) return;
    if (form.dataset.sent) {
      event.preventDefault();
      return;
    }
    form.dataset.sent = "1";
    for (const button of form.querySelectorAll("button")) {
      if (form.dataset.once) button.textContent = form.dataset.once;
    }
  });
})();
