// The page: sections by the address' hash, what is asked again every few seconds, key, theme and health.

import * as api from "./api.js";
import { dialog, el, fill, say } from "./dom.js";
import { agents } from "./views/agents.js";
import { budget } from "./views/budget.js";
import { memory } from "./views/memory.js";
import { overview } from "./views/overview.js";
import { queues } from "./views/queues.js";
import { requests } from "./views/requests.js";
import { sessions } from "./views/sessions.js";
import { tenants } from "./views/tenants.js";

/** Name in the address -> title, and what makes its view: `(place, signal)` -> {refresh, every_s}; the signal says that it is left. */
const SECTIONS = {
  overview: ["Overview", overview],
  requests: ["Requests", requests],
  budget: ["Near misses", budget],
  sessions: ["Sessions", sessions],
  agents: ["Agents", agents],
  queues: ["Queues", queues],
  memory: ["Memory", memory],
  tenants: ["All tenants", tenants], // for an admin's key, which opens nothing else
};
const HEALTH_S = 10;
const THEMES = ["system", "light", "dark"];

let left = new AbortController();
let current = null;

function show() {
  const name = location.hash.replace(/^#\//, "").split("/")[0];
  const [title, make] = SECTIONS[name] ?? SECTIONS.overview;
  left.abort();
  left = new AbortController();
  document.title = `${title} · Deja`;
  for (const link of document.querySelectorAll("#sections a")) {
    if (link.textContent === title) link.setAttribute("aria-current", "page");
    else link.removeAttribute("aria-current");
  }
  const place = fill(document.getElementById("main"), el("h1.hidden", {}, title));
  current = make(place, left.signal);
  keepFresh(current, left.signal);
}

/** Ask now and again, while the view stands and somebody can see it. */
async function keepFresh(view, signal) {
  while (!signal.aborted) {
    if (!document.hidden) await attempt(view.refresh, signal);
    await new Promise((resolve) => setTimeout(resolve, (view.every_s ?? 5) * 1000));
  }
}

async function attempt(work, signal) {
  try {
    await work();
  } catch (error) {
    if (!signal.aborted && error.status !== 401) say(error.message, true);
  }
}

// --- key ---------------------------------------------------------------------------------------------------------------------

let asking = null;

function askForKey(why) {
  if (asking) return;
  const input = el("input", { type: "password", id: "key-input", autocomplete: "off", spellcheck: false, value: api.key() });
  const done = (value) => {
    api.setKey(value);
    asking.close();
    showKey();
    show();
  };
  asking = dialog("API key",
    el("p", {}, why ?? "Everything here is asked with this key, and shows what belongs to it. It stays in this tab and is gone with it."),
    el("form", { onsubmit: (event) => { event.preventDefault(); done(input.value.trim()); } },
      el("label", { htmlFor: "key-input" }, "Key"), input,
      el("div.row", {}, el("button.primary", { type: "submit" }, "Use it"), el("button", { type: "button", onclick: () => done("") }, "Without a key"))));
  asking.addEventListener("close", () => { asking = null; });
  input.focus();
}

const showKey = () => fill(document.getElementById("key"), api.key() ? "Key: set" : "Key: none");

// --- theme and health --------------------------------------------------------------------------------------------------------

function setTheme(name) {
  localStorage.setItem("deja.theme", name);
  if (name === "system") document.documentElement.removeAttribute("data-theme");
  else document.documentElement.dataset.theme = name;
  fill(document.getElementById("theme"), `Theme: ${name}`);
}

async function showHealth() {
  const button = document.getElementById("health");
  try {
    const ready = await api.ask("/ready");
    button.className = `quiet state ${ready.status === "ok" ? "good" : "warn"}`;
    fill(button, ready.status === "ok" ? "All well" : `Deja is ${ready.status}`);
    button.onclick = () => dialog("Parts", el("dl.facts", {}, Object.entries(ready.parts).map(([name, part]) => [
      el("dt", {}, name), el("dd", {}, el(`span.state.${part.status === "ok" ? "good" : "warn"}`, {}, part.status), " ", part.detail),
    ])));
  } catch (error) {
    button.className = "quiet state bad";
    fill(button, error.status ? "Not ready" : "Away");
    button.onclick = () => dialog("Parts", el("p", {}, error.message));
  }
}

// --- begin -------------------------------------------------------------------------------------------------------------------

fill(document.getElementById("sections"), Object.entries(SECTIONS).map(([name, [title]]) => el("a", { href: `#/${name}` }, title)));
document.getElementById("key").onclick = () => askForKey();
document.getElementById("theme").onclick = () => {
  const now = localStorage.getItem("deja.theme") ?? "system";
  setTheme(THEMES[(THEMES.indexOf(now) + 1) % THEMES.length]);
};
api.whenLocked((refused) => askForKey(refused.message));
addEventListener("hashchange", () => { show(); document.getElementById("main").focus({ preventScroll: true }); });
document.addEventListener("visibilitychange", () => { if (!document.hidden && current) attempt(current.refresh, left.signal); });
setTheme(localStorage.getItem("deja.theme") ?? "system");
showKey();
showHealth();
setInterval(() => document.hidden || showHealth(), HEALTH_S * 1000);
show();
