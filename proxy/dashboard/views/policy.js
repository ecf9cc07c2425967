// How much a namespace may be wrong, changed at once for everyone who asks in it.

import { ask } from "../api.js";
import { el, fill } from "../dom.js";
import { namespace as named, percent } from "../format.js";

const DECIDED = ["mode", "ttl_s", "families", "models", "max_wrong_hit_rate"];
/** What the API calls the namespace without a name. */
const NAMELESS = "-";
const address = (namespace) => `/v1/cache/policies/${encodeURIComponent(namespace || NAMELESS)}`;

/** What was decided for a namespace, null for nothing. */
async function read(namespace) {
  try {
    return await ask(address(namespace));
  } catch (error) {
    if (error.status === 404) return null;
    throw error;
  }
}

async function put(namespace, policy) {
  const body = Object.fromEntries(DECIDED.map((name) => [name, policy?.[name]]).filter(([, value]) => value !== undefined && value !== null));
  if (Object.keys(body).length) await ask(address(namespace), { method: "PUT", body });
  else await ask(address(namespace), { method: "DELETE" });
}

/**
 * A button that sets a namespace's budget, and then one that takes it back.
 * @param {string} namespace
 * @param {function(): Promise<number>} choose the budget that a press sets
 * @param {string} title of the button
 */
export function budgetButton(namespace, choose, title) {
  const said = el("span", { role: "status" });
  const set = el("button", { type: "button", onclick: () => attempt(change) }, title);
  const box = el("div.row", {}, set, said);

  async function change() {
    const before = await read(namespace);
    const rate = await choose();
    await put(namespace, { ...before, max_wrong_hit_rate: rate });
    fill(said, `In namespace ${named(namespace)} at most ${percent(rate, 2)} of hits by meaning may be wrong from now on. `,
      el("button.link", { type: "button", onclick: () => attempt(() => undo(before)) }, "Undo"));
  }

  async function undo(before) {
    await put(namespace, before);
    fill(said, "It is as it was.");
    set.focus();
  }

  async function attempt(work) {
    set.disabled = true;
    try {
      await work();
    } catch (error) {
      fill(said, error.message);
    }
    set.disabled = false;
  }

  return box;
}
