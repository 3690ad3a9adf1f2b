// Asks how far a job is until it ends, then goes to what came of it. Writes text, never markup.
(() => {
  "use strict";
  const box = document.querySelector("[data-job-url]");
  if (!box) return;
  const part = (name) => box.querySelector(`[data-job-${name}]`);
  const everyMs = 1000;
  const slowestMs = 15000;
  let waitMs = everyMs;

  const show = (job) => {
    const bar = part("bar");
    if (job.total > 0) {
      bar.max = job.total;
      bar.value = Math.min(job.done, job.total);
      part("count").textContent = `${job.done} of ${job.total}`;
    }
    part("message").textContent = job.message;
    part("words").textContent = job.words;
    part("words").className = `vp-badge vp-badge-${job.colour}`;
  };

  const ask = async () => {
    try {
      const answer = await fetch(box.dataset.jobUrl, {
        credentials: "same-origin",
        headers: { Accept: "application/json" },
        redirect: "error", // a session that ended would lead to the login page
      });
      if (!answer.ok) throw new Error(String(answer.status));
      const job = await answer.json();
      show(job);
      waitMs = everyMs;
      if (job.has_ended) {
        if (job.state === "done" && job.result_url.startsWith("/")) {
          window.location.assign(job.result_url);
        } else {
          window.location.reload();
        }
        return;
      }
    } catch {
      // The server may be restarting; the job is not affected.
      waitMs = Math.min(waitMs * 2, slowestMs);
    }
    window.setTimeout(ask, waitMs);
  };
  window.setTimeout(ask, everyMs);
})();
