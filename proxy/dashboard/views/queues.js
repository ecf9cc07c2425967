// Queues of tasks: how far behind they are, and their dead letters, which can be given another chance.

import { ask } from "../api.js";
import { el, fill, say, table } from "../dom.js";
import { count, moment, span } from "../format.js";

const REQUEUED_AT_ONCE = 1000;

export function queues(place, signal) {
  const list = el("div");
  const dead = el("div");
  let opened = null;

  async function refresh() {
    const found = await ask("/v1/queues", { query: { limit: 200 }, signal });
    fill(list, table("Queues", [
      { title: "Queue", cell: (one) => el("button.link", { type: "button", onclick: () => open(one.id) }, one.id) },
      { title: "Lag", number: true, cell: (one) => (one.oldest_ready_s == null ? "none" : span(one.oldest_ready_s)) },
      { title: "Ready", number: true, cell: (one) => count(one.tasks.submitted ?? 0) },
      { title: "Working", number: true, cell: (one) => count(one.tasks.working ?? 0) },
      { title: "Delayed", number: true, cell: (one) => count(one.delayed) },
      { title: "Done", number: true, cell: (one) => count(one.tasks.completed ?? 0) },
      { title: "Failed", number: true, cell: (one) => count(one.tasks.failed ?? 0) },
      { title: "Dead letters", number: true, cell: (one) => (one.dead ? el("button.link.bad", { type: "button", onclick: () => open(one.id) }, count(one.dead)) : "0") },
    ], found.data, { empty: "No queues. Submitting a task makes one." }));
    if (opened !== null && !dead.contains(document.activeElement)) await draw();
  }

  async function open(queue) {
    opened = queue;
    await draw();
    dead.querySelector("h2")?.focus();
  }

  async function draw() {
    const path = `/v1/queues/${encodeURIComponent(opened)}`;
    const found = await ask(`${path}/dead`, { query: { limit: 200 }, signal });
    fill(dead, el("section.card", {},
      el("div.bar", {}, el("h2", { tabIndex: -1 }, `Dead letters of ${opened}`), el("span.grow"),
        found.data.length > 0 && el("button", { type: "button", onclick: () => requeue(`${path}/dead/requeue`, { limit: REQUEUED_AT_ONCE }) }, "Requeue all")),
      table(`Dead letters of ${opened}`, [
        { title: "Task", cell: (one) => el("code", {}, one.task) },
        { title: "Since", cell: (one) => moment(one.at) },
        { title: "Why", cell: (one) => one.reason },
        { title: "Attempts", number: true, cell: (one) => one.attempts },
        { title: "Error", cell: (one) => el("span.clip", {}, one.error == null ? "–" : typeof one.error === "string" ? one.error : JSON.stringify(one.error)) },
        { title: "Again", cell: (one) => el("button", { type: "button", "aria-label": `Requeue ${one.task}`, onclick: () => requeue(`${path}/tasks/${encodeURIComponent(one.task)}/requeue`) }, "Requeue") },
      ], found.data, { empty: "None: every task came to an end, or is still to be tried." })));
  }

  async function requeue(path, body) {
    try {
      const told = await ask(path, { method: "POST", body: body ?? {} });
      say(body ? `${count(told.requeued)} tasks are ready again.` : `${told.id} is ready again.`);
      await draw();
      await refresh();
    } catch (error) {
      say(error.message, true);
    }
  }

  place.append(el("section.card", {}, el("h2", {}, "Queues"), list), dead);
  return { refresh, every_s: 3 };
}
