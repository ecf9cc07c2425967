// Long-term memory: searched by meaning, by words or by both; read, and removed one by one.

import { ask } from "../api.js";
import { el, fill, say, table } from "../dom.js";
import { count, score } from "../format.js";

const PER_PAGE = 50;

export function memory(place, signal) {
  const text = el("input", { type: "search", id: "memory-text" });
  const mode = el("select", { id: "memory-mode" }, [["semantic", "meaning"], ["keyword", "words"], ["hybrid", "both"]].map(([value, name]) => el("option", { value }, name)));
  const user = el("input", { type: "search", id: "memory-user", size: 14 });
  const space = el("input", { type: "search", id: "memory-namespace", size: 14 });
  const list = el("div", { "aria-live": "polite" });
  let offset = 0;

  async function refresh() {
    const is = (field) => (field.value.trim() ? { eq: field.value.trim() } : undefined);
    const body = { limit: PER_PAGE, offset, user_id: is(user), namespace: is(space) };
    if (text.value.trim()) Object.assign(body, { text: text.value.trim(), search_mode: mode.value });
    const found = await ask("/v1/long-term-memory/search", { method: "POST", body, signal });
    fill(list,
      el("p.note", {}, `${count(found.total)} found`),
      table("Memories", [
        { title: "Memory", cell: (one) => [one.text, one.replaced_by && el("span.note", {}, " (replaced)")] },
        { title: "Kind", cell: (one) => one.memory_type },
        { title: "User", cell: (one) => one.user_id ?? "–" },
        { title: "Namespace", cell: (one) => one.namespace ?? "–" },
        { title: "Topics", cell: (one) => one.topics?.join(", ") || "–" },
        { title: "Written", cell: (one) => new Date(one.created_at).toLocaleString() },
        { title: "Distance", number: true, cell: (one) => (text.value.trim() ? score(one.dist) : "–") },
        { title: "Remove", cell: (one) => removal(one, refresh) },
      ], found.memories, { empty: "No memories match." }),
      el("div.row", {},
        offset > 0 && el("button", { type: "button", onclick: () => turn(-PER_PAGE) }, "Earlier page"),
        found.memories.length === PER_PAGE && el("button", { type: "button", onclick: () => turn(PER_PAGE) }, "Next page")));
  }

  function turn(by) {
    offset = Math.max(0, offset + by);
    refresh().catch(fail);
  }

  const fail = (error) => signal.aborted || say(error.message, true);
  place.append(el("section.card", {}, el("h2", {}, "Long-term memory"),
    el("form.bar", { onsubmit: (event) => { event.preventDefault(); offset = 0; refresh().catch(fail); } },
      el("label", { htmlFor: "memory-text" }, "Text "), text, el("label", { htmlFor: "memory-mode" }, "By "), mode,
      el("label", { htmlFor: "memory-user" }, "User "), user, el("label", { htmlFor: "memory-namespace" }, "Namespace "), space,
      el("button.primary", { type: "submit" }, "Search")),
    list));
  return { refresh, every_s: 600 };
}

/** Two presses: the first asks whether it is meant. */
function removal(one, refresh) {
  const button = el("button", { type: "button", "aria-label": `Delete ${one.id}`, onclick: press }, "Delete");
  let isAsked = false;
  async function press() {
    if (!isAsked) {
      isAsked = true;
      button.classList.add("danger");
      fill(button, "Really delete?");
      button.setAttribute("aria-label", `Really delete ${one.id}?`);
      return;
    }
    try {
      await ask("/v1/long-term-memory", { method: "DELETE", query: { memory_ids: one.id } });
      say("The memory is gone.");
      await refresh();
    } catch (error) {
      say(error.message, true);
    }
  }
  return button;
}
