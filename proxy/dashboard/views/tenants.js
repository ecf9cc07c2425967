// All tenants, for an admin's key: together over time, each by itself, and what agents share in sum. No words of anybody's.

import { ask, key } from "../api.js";
import { chart } from "../charts.js";
import { el, fill, table } from "../dom.js";
import { count, percent, usd } from "../format.js";
import { others, showTiles, tile } from "./overview.js";

const RANGES = {
  "1 hour": { step: "minute", limit: 60 },
  "24 hours": { step: "quarter", limit: 96 },
  "7 days": { step: "quarter", limit: 672 },
};
const ENDED = ["completed", "failed", "canceled", "rejected"];

export function tenants(place, signal) {
  let range = "24 hours";
  let refusedKey = null;
  const tiles = el("dl.tiles");
  const shared = el("dl.tiles");
  const list = el("section.card");
  const buttons = Object.keys(RANGES).map((name) => el("button", { type: "button", onclick: () => choose(name) }, name));
  const hits = chart("Answers of all", [
    { label: "by meaning", colour: "--semantic", value: (slot) => slot.requests.semantic ?? 0, fill: true },
    { label: "exact", colour: "--exact", value: (slot) => slot.requests.exact ?? 0, fill: true },
    { label: "provider and shared", colour: "--call", value: others },
  ], { show: (n) => (Number.isInteger(n) ? count(n) : ""), note: "Requests of all tenants by who answered." });
  const money = chart("Saved and spent by all", [
    { label: "saved", colour: "--semantic", value: (slot) => slot.saved, fill: true },
    { label: "spent", colour: "--call", value: (slot) => slot.spent },
  ], { show: usd, note: "List prices in USD, summed from the left edge." });
  const all = [
    el("div.bar", {}, el("div.segments", { role: "group", "aria-label": "Time shown" }, buttons)),
    tiles, el("div.charts", {}, hits.figure, money.figure), list, shared,
  ];

  function choose(name) {
    range = name;
    press();
    refresh().catch(() => {});
  }

  function press() {
    for (const button of buttons) button.setAttribute("aria-pressed", button.textContent === range);
  }

  async function refresh() {
    if (refusedKey === key()) return; // asked again it would be refused again
    let seen;
    try {
      seen = await ask("/admin/overview", { query: RANGES[range], signal });
    } catch (error) {
      if (error.status !== 403) throw error;
      refusedKey = key();
      return showLocked(place);
    }
    let saved = 0, spent = 0;
    const slots = seen.data.map((slot) => ({ ...slot, saved: (saved += Number(slot.saved_usd)), spent: (spent += Number(slot.spent_usd)) }));
    for (const each of [hits, money]) each.update(slots);
    showTiles(tiles, seen.total, seen.total.wrong_hit_rate);
    showShared(shared, seen);
    fill(list, el("h2", {}, "Tenants"), el("p.note", {}, "Those that asked last, up to 50, of a week fewer; the tiles above are of all."), byTenant(seen.tenants));
  }

  press();
  place.append(...all);
  return { refresh, every_s: 20 };
}

function showLocked(place) {
  fill(place, el("h1.hidden", {}, "All tenants"), el("section.card", {}, el("h2", {}, "For admins"),
    el("p", {}, "This section is for an admin's key: one of DEJA_AUTH__ADMIN_KEYS, one made with the scope admin, or the one in the file admin-key of the data directory. Such a key opens this section and no tenant's data."),
    el("button.primary", { type: "button", onclick: () => document.getElementById("key").click() }, "Give an admin's key")));
}

function showShared(tiles, { agents, queues }) {
  const { tasks } = queues;
  const open = Object.entries(tasks).reduce((sum, [state, n]) => sum + (ENDED.includes(state) ? 0 : n), 0);
  fill(tiles,
    tile("Agents alive", count(agents.alive), `of ${count(agents.agents)}`),
    tile("Queues", count(queues.queues), `${count(open)} tasks open, ${count(tasks.working)} of them being worked at`),
    tile("Tasks done", count(tasks.completed), `${count(tasks.failed)} failed`),
    tile("Dead letters", count(queues.dead), "of all queues"));
}

function byTenant(rows) {
  const hits = ({ requests: { exact = 0, semantic = 0 } }) => exact + semantic;
  const asked = ({ requests }) => Object.values(requests).reduce((sum, n) => sum + n, 0);
  return table("Tenants", [
    { title: "Tenant", cell: (one) => el("div", {}, one.name ?? el("code", {}, one.tenant), one.keys.length > 0 && el("div.note", {}, one.keys.join(", "))) },
    { title: "Requests", number: true, cell: (one) => count(asked(one)) },
    { title: "From the cache", number: true, cell: (one) => (asked(one) ? percent(hits(one) / asked(one)) : "–") },
    { title: "Exact", number: true, cell: (one) => count(one.requests.exact) },
    { title: "By meaning", number: true, cell: (one) => count(one.requests.semantic) },
    { title: "Wrong by meaning", number: true, cell: (one) => rate(one.wrong_hit_rate) },
    { title: "Saved", number: true, cell: (one) => usd(one.saved_usd) },
    { title: "Spent", number: true, cell: (one) => usd(one.spent_usd) },
  ], rows, { empty: "Nobody asked in this time." });
}

const rate = (wrong) => (wrong ? `${percent(wrong.estimate)} (${percent(wrong.low)} to ${percent(wrong.high)})` : "–");
