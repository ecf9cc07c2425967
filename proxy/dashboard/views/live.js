// The list of requests as they are decided: the last ones first, then what comes. A row opens its explanation.

import { ask, follow } from "../api.js";
import { el, fill, table } from "../dom.js";
import { isHit, namespace, outcome, percent, score, time } from "../format.js";
import { explain } from "./explain.js";

const KEPT = 300;
const CALM_MS = 400;

/** What a decision's outcome looks like: never by colour alone. */
export function badge(name) {
  const kind = isHit(name) ? name : name === "error" ? "bad" : "call";
  return el(`span.badge.${kind}`, {}, outcome(name));
}

/**
 * @param {AbortSignal} signal ends it
 * @param {{shown: number, filters?: boolean}} options rows at most; whether to offer filters
 */
export function liveRequests(signal, { shown, filters = false }) {
  const wanted = { outcome: "", namespace: "" };
  let rows = [];
  let isPaused = false;
  let isTouched = false;
  let waiting = 0;
  let leftOut = 0;
  const list = el("div.live");
  const state = el("span.note", { role: "status" }, "connecting …");
  const pause = el("button", { type: "button", "aria-pressed": "false", onclick: toggle }, "Pause");
  // Rows must not move under a pointer or a finger that is about to press one.
  list.addEventListener("pointerenter", () => { isTouched = true; });
  list.addEventListener("pointerleave", () => { isTouched = false; draw(); });
  list.addEventListener("focusin", () => { isTouched = true; });
  list.addEventListener("focusout", () => { isTouched = false; draw(); });

  function toggle() {
    isPaused = !isPaused;
    pause.setAttribute("aria-pressed", isPaused);
    fill(pause, isPaused ? "Go on" : "Pause");
    draw();
  }

  const fits = (row) => (!wanted.outcome || row.outcome === wanted.outcome) && (!wanted.namespace || row.namespace === wanted.namespace);

  function draw(isForced = false) {
    // An open dialog gives the focus back to the row it came from.
    const isHeld = isPaused || isTouched || document.querySelector("dialog[open]") !== null;
    if (isHeld && !isForced) {
      fill(state, waiting ? `${waiting} more since` : isPaused ? "paused" : "live");
      return;
    }
    waiting = 0;
    fill(state, leftOut ? `live; ${leftOut} exact hits in bursts not listed` : "live");
    fill(list, table("List of requests", COLUMNS, rows.filter(fits).slice(0, shown), {
      empty: "No requests yet. Send one to this Deja, and it appears here.",
      row: (one) => ({ className: "pressable", onclick: (event) => open(one, event) }),
    }));
  }

  function open(one, event) {
    if (!event.target.closest("a") && !String(getSelection())) explain(one.request_id);
  }

  let timer = null;
  function take(name, data) {
    if (name === "left_out") leftOut += data.count;
    if (name !== "decision" || rows.some((row) => row.request_id === data.request_id)) return;
    rows = [data, ...rows].slice(0, KEPT);
    waiting += fits(data) ? 1 : 0;
    timer ??= setTimeout(() => { timer = null; draw(); }, CALM_MS);
  }

  async function begin() {
    const found = await ask("/v1/cache/decisions", { query: { ...wanted, limit: KEPT }, signal });
    const known = new Set(found.data.map((row) => row.request_id));
    rows = [...rows.filter((row) => !known.has(row.request_id)), ...found.data].sort((a, b) => b.at - a.at).slice(0, KEPT);
    draw(true);
  }

  const again = () => begin().catch((error) => fill(state, error.message));
  follow("/v1/cache/decisions/tail", signal, take, (isOn) => (isOn ? again() : fill(state, "not connected; trying again")));
  return el("section.card", { "aria-labelledby": "live" },
    el("div.bar", {}, el("h2", { id: "live" }, "Requests"), state, el("span.grow"), filters && choices(wanted, again), pause),
    el("p.note", {}, "Press one to see why it was answered as it was, and to say that it was wrong."),
    list);
}

function choices(wanted, again) {
  const outcomes = ["", "exact", "semantic", "collapsed", "miss", "partial", "stale", "request", "bypass", "error"];
  return [
    el("label", {}, "Outcome ", el("select", { onchange: (event) => { wanted.outcome = event.target.value; again(); } },
      outcomes.map((name) => el("option", { value: name }, name ? outcome(name) : "all")))),
    el("label", {}, "Namespace ", el("input", { type: "search", size: 12, onchange: (event) => { wanted.namespace = event.target.value.trim(); again(); } })),
  ];
}

const COLUMNS = [
  { title: "Time", cell: (one) => el("button.link", { type: "button", "aria-label": `Explain ${outcome(one.outcome)} at ${time(one.at)}` }, time(one.at)) },
  { title: "Answered by", cell: (one) => [badge(one.outcome), one.feedback && el("span.note", {}, ` called ${one.feedback}`)] },
  { title: "Question", cell: (one) => el("span.clip", {}, one.asked ?? (one.outcome === "exact" ? "the same request as before" : "–")) },
  { title: "Why", cell: why },
  { title: "Model", cell: (one) => one.model },
  { title: "Namespace", cell: (one) => namespace(one.namespace) },
];

function why(one) {
  const sure = one.confidence == null ? "" : `${percent(one.confidence)} sure${one.level != null && one.level <= 1 ? `, ${percent(one.level)} needed` : ""}`;
  const near = sure || (one.similarity == null ? "" : `similarity ${score(one.similarity)}`);
  if (one.reason) return [el("code", {}, one.reason), one.would_hit && ` would hit: ${outcome(one.would_hit)}`, near && el("span.note", {}, ` ${near}`)];
  return near || "letter by letter";
}
