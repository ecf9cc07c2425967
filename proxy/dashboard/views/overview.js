// Hits, wrong hits, savings and latency over time, and the requests that come in now.

import { ask } from "../api.js";
import { chart } from "../charts.js";
import { el, fill } from "../dom.js";
import { count, ms, percent, usd } from "../format.js";
import { liveRequests } from "./live.js";

const RANGES = {
  "1 hour": { step: "minute", limit: 60 },
  "3 hours": { step: "minute", limit: 180 },
  "24 hours": { step: "quarter", limit: 96 },
  "7 days": { step: "quarter", limit: 672 },
};

export function overview(place, signal) {
  let range = "1 hour";
  const tiles = el("dl.tiles");
  const buttons = Object.keys(RANGES).map((name) => el("button", { type: "button", onclick: () => choose(name) }, name));
  const hits = chart("Answers", [
    { label: "by meaning", colour: "--semantic", value: (slot) => slot.requests.semantic ?? 0, fill: true },
    { label: "exact", colour: "--exact", value: (slot) => slot.requests.exact ?? 0, fill: true },
    { label: "provider and shared", colour: "--call", value: others },
  ], { show: (n) => (Number.isInteger(n) ? count(n) : ""), note: "Requests by who answered, each minute or quarter of an hour." });
  const wrong = chart("Wrong hits by meaning", [
    { label: "estimate", colour: "--wrong", value: (slot) => slot.wrong_hit_rate?.estimate },
    { label: "at least", colour: "--wrong", value: (slot) => slot.wrong_hit_rate?.low, dash: [3, 5] },
    { label: "at most", colour: "--wrong", value: (slot) => slot.wrong_hit_rate?.high, dash: [3, 5] },
    { label: "budget", colour: "--muted", value: () => allowed, dash: [8, 4] },
  ], { show: (share) => percent(share), band: [1, 2], top: matters, note: "As audits judged them, all since the left edge together; with 95 % confidence between the dashed lines." });
  const money = chart("Saved and spent", [
    { label: "saved", colour: "--semantic", value: (slot) => slot.saved, fill: true },
    { label: "spent", colour: "--call", value: (slot) => slot.spent },
  ], { show: usd, note: "List prices in USD, summed from the left edge." });
  const latency = chart("Time to the last byte", [
    { label: "hits, median", colour: "--exact", value: (slot) => slot.hits_ms.p50 },
    { label: "hits, p95", colour: "--exact", value: (slot) => slot.hits_ms.p95, dash: [6, 4] },
    { label: "hits, p99", colour: "--exact", value: (slot) => slot.hits_ms.p99, dash: [2, 4] },
    { label: "provider, median", colour: "--call", value: (slot) => slot.calls_ms.p50 },
    { label: "provider, p95", colour: "--call", value: (slot) => slot.calls_ms.p95, dash: [6, 4] },
    { label: "provider, p99", colour: "--call", value: (slot) => slot.calls_ms.p99, dash: [2, 4] },
  ], { show: ms, isLog: true, note: "Milliseconds, logarithmic." });
  let allowed = null;

  /** The first audits leave nearly everything open; what matters lies near the budget and near what is known now. */
  function matters(slots) {
    const last = slots.at(-1)?.wrong_hit_rate;
    return Math.max(4 * (allowed ?? 0.01), 1.5 * (last?.high ?? 0), 2 * (last?.estimate ?? 0));
  }

  function choose(name) {
    range = name;
    for (const button of buttons) button.setAttribute("aria-pressed", button.textContent === range);
    refresh().catch(() => {});
  }

  async function refresh() {
    const [history, standing] = await Promise.all([
      ask("/v1/cache/history", { query: RANGES[range], signal }),
      ask("/v1/cache/budget", { signal }).catch(() => null), // not calibrated yet: everything else is still worth showing
    ]);
    allowed = standing?.max_wrong_hit_rate ?? null;
    let saved = 0, spent = 0;
    const slots = history.data.map((slot) => ({ ...slot, saved: (saved += Number(slot.saved_usd)), spent: (spent += Number(slot.spent_usd)) }));
    for (const each of [hits, wrong, money, latency]) each.update(slots);
    showTiles(tiles, history.total, slots.at(-1)?.wrong_hit_rate, allowed);
  }

  for (const button of buttons) button.setAttribute("aria-pressed", button.textContent === range);
  place.append(
    el("div.bar", {}, el("div.segments", { role: "group", "aria-label": "Time shown" }, buttons)),
    tiles,
    el("div.charts", {}, hits.figure, wrong.figure, money.figure, latency.figure),
    liveRequests(signal, { shown: 15 }),
  );
  return { refresh, every_s: 5 };
}

export const others = (slot) => Object.entries(slot.requests).reduce((sum, [name, n]) => sum + (name === "exact" || name === "semantic" ? 0 : n), 0);

/** What came of all requests. `allowed` is the budget for wrong hits, null for none in force, undefined where tenants have their own. */
export function showTiles(tiles, total, wrong, allowed) {
  const { exact = 0, semantic = 0 } = total.requests;
  const all = exact + semantic + others(total);
  const budget = allowed === undefined ? "budgets are each tenant's" : allowed === null ? "nothing is served by meaning yet" : `budget ${percent(allowed)}`;
  fill(tiles,
    tile("From the cache", all ? percent((exact + semantic) / all) : "–", `${count(exact + semantic)} of ${count(all)}: ${count(exact)} exact, ${count(semantic)} by meaning`),
    tile("Wrong hits by meaning", wrong ? percent(wrong.estimate) : "not known yet",
      wrong ? `${percent(wrong.low)} to ${percent(wrong.high)}, by ${count(total.audits.right + total.audits.wrong)} audits; ${budget}` : `no hit audited yet; ${budget}`),
    tile("Saved", usd(total.saved_usd), `${usd(total.spent_usd)} spent`),
    tile("Hits, p95", ms(total.hits_ms.p95), `provider ${ms(total.calls_ms.p95)}`),
  );
}

export const tile = (name, value, more) => el("div.card", {}, el("dt", {}, name), el("dd", {}, el("strong", {}, value), el("span", {}, more)));
