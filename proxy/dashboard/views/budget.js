// The error budget: where it stands, and what another would have done with the requests of this key.

import { ask } from "../api.js";
import { el, fill, table } from "../dom.js";
import { count, moment, percent, score } from "../format.js";
import { explain } from "./explain.js";
import { budgetButton } from "./policy.js";

const LOWEST = 0.001;
const HIGHEST = 0.2;
const NOTCHES = 100;
const CALM_MS = 250;

/** The slider is logarithmic: between 0.1 % and 1 % lies as much as between 1 % and 10 %. */
const atNotch = (notch) => Number((LOWEST * (HIGHEST / LOWEST) ** (notch / NOTCHES)).toPrecision(2));
const notchOf = (rate) => Math.round((NOTCHES * Math.log(rate / LOWEST)) / Math.log(HIGHEST / LOWEST));

export function budget(place, signal) {
  let namespace = "";
  let isSet = false;
  const standing = el("section.card", { "aria-live": "off" });
  const slider = el("input", { type: "range", id: "budget", min: 0, max: NOTCHES, step: 1, oninput: moved });
  const shown = el("output", { htmlFor: "budget" });
  const result = el("div", { role: "status" });
  const pairs = el("div");
  const use = el("div");
  const spaces = el("select", { id: "namespace", onchange: () => { namespace = spaces.value; isSet = false; refresh().catch(fail); } }, el("option", { value: "" }, "(none)"));

  let timer = null;
  function moved() {
    isSet = true;
    name();
    clearTimeout(timer);
    timer = setTimeout(() => replay().catch(fail), CALM_MS);
  }

  function name() {
    const rate = atNotch(Number(slider.value));
    fill(shown, percent(rate, rate < 0.01 ? 2 : 1));
    slider.setAttribute("aria-valuetext", `${percent(rate, 2)} of hits may be wrong`);
  }

  const fail = (error) => signal.aborted || fill(result, el("p.bad", {}, error.message));

  async function replay() {
    const found = await ask("/v1/cache/what-if", {
      query: { max_wrong_hit_rate: atNotch(Number(slider.value)), namespace: namespace || undefined, show: 50 }, signal,
    });
    fill(result, told(found));
    fill(pairs,
      list("Hits that would go", "Served now, and not under this budget.", found.lost),
      list("Hits that would come", "The least certain first: read some before you loosen a budget.", found.gained),
      list("Near misses that stay misses", "The nearest to the level first.", found.near),
      list("Kept apart by a gate", "Near in meaning, and no budget serves them: a number, a name, a negation or the like differs.", await gated()));
  }

  /** Pairs that a gate refused lately, the nearest first, each once. */
  async function gated() {
    const found = await ask("/v1/cache/decisions", { query: { outcome: "miss", namespace: namespace || undefined, limit: 500 }, signal });
    const pairs = new Map();
    for (const one of found.data.filter((row) => row.reason?.startsWith("gate-"))) {
      const key = JSON.stringify([one.asked, one.nearest]);
      const met = pairs.get(key);
      pairs.set(key, { asked: one.asked, question: one.nearest, confidence: one.confidence, similarity: one.similarity, request_id: one.request_id, count: (met?.count ?? 0) + 1 });
    }
    return [...pairs.values()].sort((a, b) => b.similarity - a.similarity).slice(0, 50);
  }

  async function refresh() {
    const [report, usage] = await Promise.all([
      ask("/v1/cache/budget", { query: { namespace }, signal }).catch((error) => ({ in_words: error.message })),
      ask("/v1/usage", { query: { group_by: "namespace" }, signal }).catch(() => ({ data: [] })),
    ]);
    const names = [...new Set(["", ...usage.data.map((row) => row.namespace)])];
    if (names.length !== spaces.options.length) fill(spaces, names.map((one) => el("option", { value: one, selected: one === namespace }, one || "(none)")));
    fill(standing, el("h2", {}, "Where the budget stands"), state(report), el("p", {}, report.in_words));
    if (!isSet) {
      fill(use, budgetButton(namespace, async () => atNotch(Number(slider.value)), "Use this budget in this namespace"));
      slider.value = notchOf(report.max_wrong_hit_rate ?? 0.01);
      name();
      await replay();
    }
  }

  place.append(
    el("div.bar", {}, el("label", { htmlFor: "namespace" }, "Namespace "), spaces),
    standing,
    el("section.card", {}, el("h2", {}, "What if the budget were another?"),
      el("p.note", {}, "Your own last requests, decided again under this budget. Moving the slider changes nothing; the button does."),
      el("div.bar", {}, el("label", { htmlFor: "budget" }, "Wrong hits among hits by meaning, at most"), shown), slider, use, result),
    pairs);
  return { refresh, every_s: 30 };
}

function state(report) {
  if (!report.wrong_hit_rate) return null;
  const { estimate, low, high } = report.wrong_hit_rate;
  return el("dl.facts", {},
    el("dt", {}, "Budget"), el("dd", {}, percent(report.max_wrong_hit_rate)),
    el("dt", {}, "Wrong hits"), el("dd", {}, estimate == null ? "not known yet" : `${percent(estimate)} (${percent(low)} to ${percent(high)})`),
    el("dt", {}, "Confidence needed"), el("dd", {}, report.level == null ? "exact hits only" : percent(report.level, 2)),
    el("dt", {}, "State"), el("dd", {}, el("code", {}, report.state)));
}

function told(found) {
  if (!found.decisions) return el("p.empty", {}, "No request was matched by meaning yet, so there is nothing to replay.");
  const row = (name, tally) => ({ name, ...tally });
  return [
    el("p", {}, `${count(found.decisions)} requests since ${moment(found.since)}. `,
      found.exact_only ? "No level keeps this budget: only exact hits would be served." : `A hit would need ${percent(found.level, 2)} confidence.`,
      found.undecided ? ` Of ${count(found.undecided)} it cannot be said.` : ""),
    table("Now and then", [
      { title: "Budget", cell: (one) => el("strong", {}, one.name) },
      { title: "Hits by meaning", number: true, cell: (one) => count(one.hits) },
      { title: "Wrong among them, expected", number: true, cell: (one) => `${one.expected_wrong.toFixed(1)} (${one.wrong_between[0]} to ${one.wrong_between[1]})` },
      { title: "Share", number: true, cell: (one) => percent(one.expected_wrong_rate, 2) },
    ], [row("as it was", found.now), row("under this budget", found.then)]),
  ];
}

function list(title, note, found) {
  return el("section.card", {}, el("h2", {}, `${title} (${count(found.length)})`), el("p.note", {}, note),
    table(title, [
      { title: "Asked", cell: (one) => el("button.link", { type: "button", onclick: () => explain(one.request_id) }, one.asked) },
      { title: "Stored question", cell: (one) => one.question },
      { title: "Sure", number: true, cell: (one) => percent(one.confidence, 2) },
      { title: "Similarity", number: true, cell: (one) => score(one.similarity) },
      { title: "Times", number: true, cell: (one) => count(one.count) },
    ], found, { empty: "None." }));
}
