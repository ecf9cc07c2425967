// Why one request was answered as it was, and what can be done about it.

import { ask } from "../api.js";
import { dialog, el, fill, table } from "../dom.js";
import { isHit, moment, namespace, percent, score } from "../format.js";
import { badge } from "./live.js";
import { budgetButton } from "./policy.js";

/** Open the explanation of a request. */
export async function explain(requestId) {
  const body = el("div.explain", {}, el("p", {}, "Asking …"));
  dialog("Why was it answered so?", body);
  try {
    const found = await ask(`/v1/cache/explain/${encodeURIComponent(requestId)}`);
    fill(body,
      el("p.bar", {}, badge(found.outcome), el("span.note", {}, `${moment(found.at)} · ${found.model} · namespace ${namespace(found.namespace)}`)),
      el("p.summary", {}, found.summary),
      found.asked && el("blockquote", {}, el("span.note", {}, "Asked"), found.asked),
      isHit(found.outcome) && verdict(found),
      el("ul", {}, found.sentences.map((sentence) => el("li", {}, sentence))),
      found.neighbours.length > 0 && el("section", {}, el("h3", {}, "Stored questions it was compared with"), neighbours(found)),
      found.served_entry && answer(found.served_entry),
      facts(found));
  } catch (error) {
    fill(body, el("p.bad", {}, error.message));
  }
}

/** Right or wrong: the second and last press on the way to a hit that never comes again. */
function verdict(found) {
  const said = el("p", { role: "status" });
  const vote = async (word) => {
    for (const button of buttons) button.disabled = true;
    try {
      const taken = await ask("/v1/cache/feedback", { method: "POST", body: { request_id: found.request_id, verdict: word } });
      fill(said, word === "right" ? "Noted: it was right." : stopped(taken));
      buttons[0].disabled = word === "wrong";
      buttons[1].disabled = word === "wrong";
    } catch (error) {
      fill(said, error.message);
      for (const button of buttons) button.disabled = false;
    }
  };
  const isOver = found.feedback === "wrong";
  const buttons = [
    el("button", { type: "button", disabled: isOver, onclick: () => vote("right") }, "✓ It was right"),
    el("button.danger", { type: "button", disabled: isOver, onclick: () => vote("wrong") }, "✗ It was wrong: stop it"),
  ];
  if (found.feedback) fill(said, isOver ? "It was called wrong, and stopped." : "It was called right.");
  return el("section.verdict", { "aria-label": "Your verdict" }, el("div.row", {}, buttons),
    el("p.note", {}, "Wrong removes the stored answer, and never matches these two questions again. The next request asks the provider."), said,
    found.outcome === "semantic" && stricter(found.namespace));
}

/** For what is wrong more often than once: half the budget for all who ask in this namespace. */
function stricter(space) {
  const half = async () => {
    const { max_wrong_hit_rate: rate } = await ask("/v1/cache/budget", { query: { namespace: space } });
    return Number((rate / 2).toPrecision(2));
  };
  return el("div", {}, budgetButton(space, half, `Be stricter in namespace ${namespace(space)}`),
    el("p.note", {}, "Halves the share of hits by meaning that may be wrong there. Near misses shows what that would change."));
}

function stopped(taken) {
  const gone = taken.evicted ? "The stored answer is removed" : "The stored answer was gone already";
  return `Stopped. ${gone}${taken.pair_never_equal ? ", and these two questions never match again" : ""}.`;
}

function neighbours(found) {
  const isLevel = found.level != null && found.level <= 1;
  return table("Stored questions it was compared with", [
    { title: "Stored question", cell: (one) => [one.question, one.chosen && el("strong", {}, " (served)")] },
    { title: "Similarity", number: true, cell: (one) => score(one.similarity) },
    { title: isLevel ? `Sure (${percent(found.level)} needed)` : "Sure", number: true, cell: (one) => percent(one.confidence) },
    { title: "Gates", cell: (one) => gates(one) },
    { title: "So", cell: (one) => one.why },
  ], found.neighbours);
}

function gates(one) {
  if (one.refused_by) return el("code", {}, one.refused_by);
  if (one.confidence == null && one.logit == null) return "not asked";
  return one.objections.length ? one.objections.map((name) => [el("code", {}, name), " "]) : "none objected";
}

function answer(entryId) {
  const shown = el("pre");
  const details = el("details", {}, el("summary", {}, "The stored answer"), shown);
  details.addEventListener("toggle", async () => {
    if (!details.open || shown.textContent) return;
    try {
      const entry = await ask(`/v1/cache/entries/${encodeURIComponent(entryId)}`);
      shown.textContent = text(entry.answer) ?? JSON.stringify(entry.answer ?? entry, null, 2);
    } catch (error) {
      shown.textContent = error.status === 404 ? "It is not stored any more." : error.message;
    }
  });
  return details;
}

/** What an answer says, where it is a plain text in the shape of chat, completions or messages. */
function text(answer) {
  const choice = answer?.choices?.[0];
  const said = choice?.message?.content ?? choice?.text ?? answer?.content?.[0]?.text;
  return typeof said === "string" && said ? said : null;
}

function facts(found) {
  const told = [
    ["Request", found.request_id],
    ["Reason", found.reason],
    ["Confidence needed", found.level == null ? null : found.level > 1 ? "exact hits only" : percent(found.level, 2)],
    ["Served entry", found.served_entry],
    ["Stored as", found.stored_entry],
    ["Not stored", found.not_stored],
    ["Fields that differ from the nearest", found.changed_fields?.join(", ")],
  ].filter(([, value]) => value);
  return el("dl.facts", {}, told.map(([name, value]) => [el("dt", {}, name), el("dd", {}, el("code", {}, value))]));
}
