// Elements from values. Texts become text nodes and nothing else: prompts and names are other people's words.

/**
 * Make an element.
 * @param {string} tag with classes after dots: "p.hint"
 * @param {object} properties `on…` are listeners, `aria-…`, `data-…` and the like attributes, undefined and false are left out
 * @param {...(Node|string|number|null|undefined|false|Array)} children
 */
export function el(tag, properties = {}, ...children) {
  const [name, ...classes] = tag.split(".");
  const node = document.createElement(name);
  if (classes.length) node.className = classes.join(" ");
  for (const [key, value] of Object.entries(properties)) {
    if (value === undefined || value === null || value === false) continue;
    if (key.startsWith("on")) node.addEventListener(key.slice(2), value);
    else if (key in node && key !== "list") node[key] = value;
    else node.setAttribute(key, value === true ? "" : value);
  }
  node.append(...flat(children));
  return node;
}

/** Put these in place of all that a node holds. */
export function fill(node, ...children) {
  node.replaceChildren(...flat(children));
  return node;
}

function flat(children) {
  return children
    .flat(Infinity)
    .filter((child) => child !== null && child !== undefined && child !== false)
    .map((child) => (child instanceof Node ? child : String(child)));
}

/**
 * A table that a screen reader can name and a phone can show as cards.
 * @param {string} caption what it holds
 * @param {Array<{title: string, cell: function(any): any, number?: boolean}>} columns
 * @param {Array} rows
 * @param {{empty?: string, row?: function(any): object}} options what to say when there are none; properties of each row
 */
export function table(caption, columns, rows, { empty = "Nothing yet.", row = () => ({}) } = {}) {
  if (!rows.length) return el("p.empty", {}, empty);
  const head = el("tr", {}, columns.map((column) => el("th", { scope: "col", className: column.number ? "number" : "" }, column.title)));
  const body = rows.map((one) =>
    el("tr", row(one), columns.map((column) =>
      el("td", { "data-title": column.title, className: column.number ? "number" : "" }, column.cell(one)),
    )),
  );
  return el("div.scroll", { role: "region", "aria-label": caption, tabIndex: 0 },
    el("table", {}, el("caption.hidden", {}, caption), el("thead", {}, head), el("tbody", {}, body)));
}

/** A dialog with a heading and a way out; Escape closes it and gives the focus back. */
export function dialog(title, ...children) {
  const heading = el("h2", { tabIndex: -1, id: `title-${crypto.randomUUID()}` }, title);
  const box = el("dialog", { "aria-labelledby": heading.id },
    el("div.dialog-head", {}, heading, el("button.quiet", { type: "button", onclick: () => box.close(), "aria-label": "Close" }, "✕")),
    ...children);
  box.addEventListener("close", () => box.remove());
  box.addEventListener("click", (event) => event.target === box && box.close());
  document.body.append(box);
  box.showModal();
  heading.focus();
  return box;
}

/** Say something once, aloud and at the foot of the page. */
export function say(text, isBad = false) {
  const said = document.getElementById("said");
  said.textContent = text;
  said.classList.toggle("bad", isBad);
  clearTimeout(say.timer);
  say.timer = setTimeout(() => { said.textContent = ""; }, isBad ? 12000 : 6000);
}
