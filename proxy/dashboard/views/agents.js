// Agents: who lives, what they say they do, and how they came to it.

import { ask } from "../api.js";
import { dialog, el, fill, table } from "../dom.js";
import { ago, moment, span } from "../format.js";

export function agents(place, signal) {
  const list = el("div");
  const status = el("input", { type: "search", id: "agent-status", size: 12, onchange: () => refresh() });
  const alive = el("select", { id: "agent-alive", onchange: () => refresh() },
    [["", "all"], ["true", "alive"], ["false", "not alive"]].map(([value, name]) => el("option", { value }, name)));

  async function refresh() {
    const found = await ask("/v1/agents", { query: { status: status.value.trim(), alive: alive.value, limit: 500 }, signal });
    fill(list, table("Agents", [
      { title: "Agent", cell: (one) => el("button.link", { type: "button", onclick: () => open(one.id) }, one.id) },
      { title: "Life", cell: life },
      { title: "Status", cell: (one) => one.status ?? "–" },
      { title: "Task", cell: (one) => short(one.current_task) },
      { title: "Assigned by", cell: (one) => one.assigned_by ?? "–" },
      { title: "Changed", cell: (one) => ago(one.last_updated) },
      { title: "Version", number: true, cell: (one) => one.version },
    ], found.data, { empty: "No agents. PUT /v1/agents/{name} makes one." }));
  }

  place.append(el("section.card", {},
    el("div.bar", {}, el("h2", {}, "Agents"), el("span.grow"), el("label", { htmlFor: "agent-status" }, "Status "), status, el("label", { htmlFor: "agent-alive" }, "Life "), alive), list));
  return { refresh, every_s: 3 };
}

function life(one) {
  if (one.alive === null || one.alive === undefined) return el("span.state", {}, "no heartbeat");
  if (!one.alive) return el("span.state.bad", {}, `dead for ${span(Date.now() / 1000 - one.alive_until)}`);
  return el("span.state.good", {}, "alive");
}

async function open(id) {
  const body = el("div", {}, "Asking …");
  dialog(id, body);
  const path = `/v1/agents/${encodeURI(id)}`;
  try {
    const [state, history] = await Promise.all([ask(path), ask(`${path}/history`, { query: { limit: 200 } })]);
    fill(body, el("h3", {}, "State"), el("pre", {}, JSON.stringify(state, null, 2)), el("h3", {}, "History"),
      table(`History of ${id}`, [
        { title: "When", cell: (one) => moment(one.at) },
        { title: "What", cell: (one) => one.type },
        { title: "Version", number: true, cell: (one) => one.version },
        { title: "Changed", cell: (one) => el("code.clip", {}, JSON.stringify(one.changed)) },
      ], history.data.reverse()));
  } catch (error) {
    fill(body, el("p.bad", {}, error.message));
  }
}

const short = (value) => (value == null ? "–" : el("span.clip", {}, typeof value === "string" ? value : JSON.stringify(value)));
