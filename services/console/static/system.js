// A system's page: its boxes, sentences, tables and pictures, every five seconds.

import { charts } from "./charts.js";
import { columns } from "./columns.js";
import { element, fill, follow, put } from "./live.js";

const boxes = document.querySelector(".boxes");
const dark = matchMedia("(prefers-color-scheme: dark)");
let shown = null; // what the pictures show

follow(boxes.dataset.address, 5000, show);
dark.addEventListener("change", () => shown && charts(shown.charts));
first();

async function first() {
  const answer = await fetch(boxes.dataset.address, { cache: "no-store" });
  if (answer.ok) show(await answer.json());
}

function show(figures) {
  for (const box of boxes.children) fill(box, figures.boxes[box.id.replace("box-", "")]);
  for (const [name, text] of Object.entries(figures.nothing)) {
    put(document.getElementById(`no-${name}`), text);
    put(document.getElementById(`no-chart-${name}`), text);
  }
  for (const [name, rows] of Object.entries(figures.tables)) table(name, rows);
  for (const [name, sentences] of Object.entries(figures.said)) say(document.getElementById(`said-${name}`), sentences);
  if (shown === null || differ(figures.columns, shown.columns)) columns(figures.columns);
  if (shown === null || differ(figures.charts, shown.charts)) charts(figures.charts);
  shown = { charts: figures.charts, columns: figures.columns };
}

function differ(now, before) {
  return JSON.stringify(now) !== JSON.stringify(before);
}

function say(where, sentences) {
  sentences.forEach((text, index) => {
    if (where.children[index]) put(where.children[index], text);
    else where.append(element("p", text));
  });
  while (where.children.length > sentences.length) where.lastElementChild.remove();
}

// Rows that are as they were stay, so that a link that has the focus keeps it.
function table(name, rows) {
  const body = document.querySelector(`#${name} tbody`);
  const nothing = document.getElementById(`no-${name}`);
  body.closest(".scroll").hidden = rows.length === 0;
  if (nothing) nothing.hidden = rows.length > 0;
  rows.forEach((cells, index) => {
    const row = document.createElement("tr");
    row.append(...cells.map(cell));
    const old = body.children[index];
    if (!old) body.append(row);
    else if (old.innerHTML !== row.innerHTML) old.replaceWith(row);
  });
  while (body.children.length > rows.length) body.lastElementChild.remove();
}

function cell({ text, href, state }) {
  const made = element("td", href ? "" : text);
  if (state) made.className = state;
  if (href) {
    const link = element("a", text);
    link.href = href;
    made.append(link);
  }
  return made;
}
