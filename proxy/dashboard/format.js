// Numbers, times and names as people read them.

const whole = new Intl.NumberFormat("en");
const day = new Intl.DateTimeFormat(undefined, { dateStyle: "medium", timeStyle: "medium" });
const clock = new Intl.DateTimeFormat(undefined, { timeStyle: "medium" });

export const count = (n) => whole.format(n ?? 0);
export const percent = (share, digits = 1) => (share === null || share === undefined ? "–" : `${(share * 100).toFixed(digits)} %`);
export const score = (value) => (value === null || value === undefined ? "–" : value.toFixed(3));
export const moment = (unix) => (unix ? day.format(new Date(unix * 1000)) : "–");
export const time = (unix) => clock.format(new Date(unix * 1000));

/** Milliseconds with as many digits as matter. */
export function ms(value) {
  if (value === null || value === undefined) return "–";
  if (value >= 10000) return `${(value / 1000).toFixed(0)} s`;
  if (value >= 1000) return `${(value / 1000).toFixed(1)} s`;
  return `${value < 10 ? value.toFixed(1) : value.toFixed(0)} ms`;
}

/** USD from a decimal string or a number; small sums keep two digits that say something. */
export function usd(value) {
  const amount = Number(value);
  if (!amount) return "$0";
  return amount >= 0.01 ? `$${amount.toLocaleString("en", { minimumFractionDigits: 2, maximumFractionDigits: 2 })}` : `$${amount.toPrecision(2)}`;
}

/** A span of seconds in one unit. */
export function span(seconds) {
  if (seconds === null || seconds === undefined) return "–";
  const [size, unit] = [[86400, "d"], [3600, "h"], [60, "min"], [1, "s"]].find(([size]) => seconds >= size) ?? [1, "s"];
  return `${seconds < 10 && unit === "s" ? seconds.toFixed(1) : Math.round(seconds / size)} ${unit}`;
}

/** How long ago a moment was. */
export const ago = (unix) => (unix ? `${span(Math.max(0, Date.now() / 1000 - unix))} ago` : "–");

/** What an outcome is called here. */
export const OUTCOMES = {
  exact: "exact hit",
  semantic: "hit by meaning",
  collapsed: "shared a call",
  miss: "provider",
  partial: "in part",
  stale: "too old",
  request: "fresh wanted",
  bypass: "bypass",
  error: "error",
};
export const outcome = (name) => OUTCOMES[name] ?? name;
export const isHit = (name) => name === "exact" || name === "semantic";
export const namespace = (name) => name || "(none)";
