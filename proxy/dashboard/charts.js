// Pictures over time by uPlot, each with a table that says the same.

import { el, fill, table } from "./dom.js";
import { moment } from "./format.js";

const HEIGHT_PX = 190;

/** A CSS colour as a canvas understands it: variables and `light-dark` worked out. */
function colour(css) {
  probe.style.color = css;
  return getComputedStyle(probe).color;
}
const probe = document.body.appendChild(el("span", { hidden: true }));
const plain = (name) => () => colour(`var(${name})`);
const faint = (name) => () => colour(`color-mix(in srgb, var(${name}) 14%, transparent)`);
const powers = (_, splits) => splits.map((value) => (Number.isInteger(Math.log10(value)) ? value : null));

/**
 * A figure: title, picture, table.
 *
 * @param {string} title
 * @param {Array<{label: string, colour: string, value: function(any): number|null, dash?: number[], fill?: boolean}>} lines
 *   `colour` is a CSS variable, `value` reads a slot
 * @param {{show: function(number): string, note?: string, isLog?: boolean, band?: [number, number], top?: function(Array): number}} options
 *   how a value is written; what the picture cannot say; whether the scale is logarithmic; two lines (by place) to fill between;
 *   where the scale ends at most, from the slots
 */
export function chart(title, lines, { show, note, isLog = false, band, top = () => Infinity } = {}) {
  const canvas = el("div.plot", { "aria-hidden": "true" });
  const sentence = el("p.hidden");
  const data = el("details.data", {}, el("summary", {}, `${title} as a table`));
  const figure = el("figure.card", {}, el("figcaption", {}, el("h2", {}, title), note && el("p.note", {}, note)), sentence, canvas, data);
  let plot = null;
  let slots = [];

  function options(width) {
    const axis = { stroke: plain("--muted"), grid: { stroke: plain("--line"), width: 1 }, ticks: { show: false }, font: "12px system-ui" };
    const across = isLog ? { ...axis, filter: powers, grid: { ...axis.grid, filter: powers } } : axis;
    return {
      width,
      height: HEIGHT_PX,
      scales: { y: isLog ? { distr: 3 } : { range: (_, __, high) => [0, high > 0 ? Math.min(top(slots), high * 1.1) : 1] } },
      axes: [{ ...axis }, { ...across, size: 64, values: (_, splits) => splits.map((value) => (value === null ? "" : show(value))) }],
      series: [{}, ...lines.map((line) => ({
        label: line.label,
        stroke: plain(line.colour),
        width: 2,
        dash: line.dash,
        fill: line.fill ? faint(line.colour) : undefined,
        points: { show: (u, index) => isolated(u.data[index]) },
        value: (_, value) => (value === null ? "–" : show(value)),
      }))],
      bands: band ? [{ series: [band[1] + 1, band[0] + 1], fill: faint(lines[band[0]].colour) }] : [],
      cursor: { drag: { x: false, y: false } },
      hooks: { setCursor: [(u) => u.cursor.idx ?? latest(u)] },
    };
  }

  function draw() {
    const width = canvas.clientWidth;
    if (!width || !slots.length) return;
    const values = [slots.map((slot) => slot.at), ...lines.map((line) => slots.map((slot) => line.value(slot) ?? null))];
    if (plot === null) plot = new uPlot(options(width), values, canvas);
    else plot.setData(values);
    latest(plot);
  }

  /** While nothing is pointed at, the legend tells the last slot. */
  function latest(u) {
    if (slots.length) u.setLegend({ idx: slots.length - 1 }, false);
  }

  function tell() {
    const columns = [{ title: "Time", cell: (slot) => moment(slot.at) }, ...lines.map((line) => ({
      title: line.label, number: true, cell: (slot) => written(line.value(slot)),
    }))];
    const told = slots.filter((slot) => lines.some((line) => line.value(slot))).reverse();
    fill(data, data.firstChild, table(title, columns, told));
  }

  const written = (value) => (value === null || value === undefined ? "–" : show(value));
  data.addEventListener("toggle", () => data.open && tell());
  new ResizeObserver(() => (plot === null ? draw() : canvas.clientWidth && plot.setSize({ width: canvas.clientWidth, height: HEIGHT_PX }))).observe(canvas);
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => plot?.redraw());
  new MutationObserver(() => plot?.redraw(false)).observe(document.documentElement, { attributeFilter: ["data-theme"] });

  return {
    figure,
    /** Show these slots, oldest first. */
    update(next) {
      slots = next;
      const last = slots.at(-1);
      sentence.textContent = last ? `Latest: ${lines.map((line) => `${line.label} ${written(line.value(last))}`).join(", ")}.` : "";
      draw();
      if (data.open) tell();
    },
  };
}

/** Points that have no neighbour, which a line alone would not show. */
function isolated(values) {
  return values.some((value, at) => value !== null && (values[at - 1] ?? null) === null && (values[at + 1] ?? null) === null);
}
