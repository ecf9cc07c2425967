// Sessions, and what happened in one as a timeline.

import { ask } from "../api.js";
import { el, fill, table } from "../dom.js";
import { ago, count, moment, time } from "../format.js";
import { explain } from "./explain.js";
import { badge } from "./live.js";

/** Fields of an event that stand elsewhere in its row, or say nothing to people. */
const ELSEWHERE = new Set(["id", "event_id", "type", "at", "session", "agent", "request_id", "outcome"]);

export function sessions(place, signal) {
  const list = el("div");
  const one = el("div", { "aria-live": "off" });
  const filter = el("input", { type: "search", id: "session-user", onchange: () => refresh() });
  let opened = null;

  async function refresh() {
    const found = await ask("/v1/sessions", { query: { user: filter.value.trim(), limit: 200 }, signal });
    fill(list, table("Sessions", [
      { title: "Session", cell: (row) => el("button.link", { type: "button", onclick: () => open(row.id) }, row.id) },
      { title: "User", cell: (row) => row.user ?? "–" },
      { title: "Last active", cell: (row) => ago(row.last_active_at) },
      { title: "Messages", number: true, cell: (row) => count(row.messages) },
      { title: "Tokens", number: true, cell: (row) => count(row.tokens) },
      { title: "Forked from", cell: (row) => row.parent ?? "–" },
    ], found.data, { empty: "No sessions. A request with the header X-Deja-Session begins one." }));
    if (opened !== null) await draw();
  }

  async function open(id) {
    opened = id;
    fill(one, el("section.card", {}, el("p", {}, "Asking …")));
    await draw().catch((error) => fill(one, el("section.card", {}, el("p.bad", {}, error.message))));
    one.querySelector("h2")?.focus();
  }

  async function draw() {
    const wasAtHeading = document.activeElement === one.querySelector("h2");
    const found = await ask(`/v1/sessions/${encodeURI(opened)}/timeline`, { query: { limit: 1000 }, signal });
    fill(one, el("section.card", {}, el("h2", { tabIndex: -1 }, `Timeline of ${opened}`),
      el("p.note", {}, `${count(found.events.length)} events${found.has_more ? ", the first ones" : ""}`),
      found.events.length ? el("ol.timeline", {}, found.events.map(event)) : el("p.empty", {}, "Nothing happened yet.")));
    if (wasAtHeading) one.querySelector("h2").focus();
  }

  place.append(
    el("section.card", {}, el("div.bar", {}, el("h2", {}, "Sessions"), el("span.grow"), el("label", { htmlFor: "session-user" }, "User "), filter), list), one);
  return { refresh, every_s: 10 };
}

function event(told) {
  const rest = Object.entries(told).filter(([name]) => !ELSEWHERE.has(name));
  return el("li", {},
    el("div.bar", {}, el("time", { dateTime: new Date(told.at * 1000).toISOString(), title: moment(told.at) }, time(told.at)),
      el("strong", {}, told.type), told.outcome && badge(told.outcome), told.agent && el("span.note", {}, `by ${told.agent}`),
      told.request_id && told.outcome && el("button.link", { type: "button", onclick: () => explain(told.request_id) }, "why?")),
    rest.length > 0 && el("p.note", {}, rest.map(([name, value]) => `${name} ${typeof value === "object" ? JSON.stringify(value) : value}`).join(" · ")));
}
