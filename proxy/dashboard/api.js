// Deja's API, asked with the key of this tab. The key lives in sessionStorage: it is gone with the tab.

const KEY = "deja.key";

/** What the API refused, in its own words. */
export class Refused extends Error {
  constructor(status, code, message) {
    super(message);
    this.status = status;
    this.code = code;
  }
}

export const key = () => sessionStorage.getItem(KEY) ?? "";

export function setKey(value) {
  if (value) sessionStorage.setItem(KEY, value);
  else sessionStorage.removeItem(KEY);
}

/** Told that a key is needed, or that the one there is does not do. */
let onLocked = () => {};
export function whenLocked(listener) {
  onLocked = listener;
}

/**
 * Ask once.
 * @param {string} path such as "/v1/agents"
 * @param {{method?: string, body?: any, query?: object, signal?: AbortSignal}} options empty query values are left out
 * @returns the parsed answer, null for an empty one
 */
export async function ask(path, { method = "GET", body, query, signal } = {}) {
  const answer = await send(path, { method, body, query, signal });
  const text = await answer.text();
  return text ? JSON.parse(text) : null;
}

async function send(path, { method, body, query, signal, accept = "application/json" }) {
  const headers = { Accept: accept };
  if (key()) headers.Authorization = `Bearer ${key()}`;
  if (body !== undefined) headers["Content-Type"] = "application/json";
  let answer;
  try {
    answer = await fetch(address(path, query), { method, headers, signal, body: body === undefined ? undefined : JSON.stringify(body) });
  } catch (error) {
    if (error.name === "AbortError") throw error;
    throw new Refused(0, "unreachable", "Deja cannot be reached.");
  }
  if (answer.ok || (path === "/ready" && answer.status === 503)) return answer;
  const refused = await refusal(answer);
  if (refused.status === 401) onLocked(refused);
  throw refused;
}

/** Relative to the page, so that it works behind a proxy's prefix, too. */
function address(path, query = {}) {
  const given = Object.entries(query).filter(([, value]) => value !== undefined && value !== null && value !== "");
  const asked = new URLSearchParams(given).toString();
  return `..${path}${asked ? `?${asked}` : ""}`;
}

async function refusal(answer) {
  let told = {};
  try {
    told = await answer.json();
  } catch {
    // Not ours: a proxy between, perhaps.
  }
  const error = told.error ?? told;
  return new Refused(answer.status, error.code ?? "", error.message ?? told.detail ?? `${answer.status} ${answer.statusText}`);
}

/**
 * Follow server-sent events until the signal ends it; comes back by itself. EventSource cannot send a key, so this reads them by hand.
 * @param {string} path
 * @param {AbortSignal} signal
 * @param {function(string, any)} onEvent event name and parsed data
 * @param {function(boolean)} onState whether it is connected
 */
export async function follow(path, signal, onEvent, onState) {
  for (let pause_ms = 500; !signal.aborted; pause_ms = Math.min(pause_ms * 2, 15000)) {
    try {
      const answer = await send(path, { method: "GET", signal, accept: "text/event-stream" });
      onState(true);
      pause_ms = 500;
      await read(answer.body.pipeThrough(new TextDecoderStream()).getReader(), onEvent);
    } catch (error) {
      if (error.status === 401 || error.status === 403) return onState(false);
    }
    if (signal.aborted) return;
    onState(false);
    await new Promise((resolve) => setTimeout(resolve, pause_ms));
  }
}

async function read(reader, onEvent) {
  for (let rest = ""; ; ) {
    const { value, done } = await reader.read();
    if (done) return;
    const blocks = (rest + value).split("\n\n");
    rest = blocks.pop();
    for (const block of blocks) {
      const lines = block.split("\n");
      const name = lines.find((line) => line.startsWith("event: "))?.slice(7);
      const data = lines.filter((line) => line.startsWith("data: ")).map((line) => line.slice(6));
      if (name) onEvent(name, JSON.parse(data.join("\n")));
    }
  }
}
