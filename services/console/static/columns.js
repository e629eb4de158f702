// The newest window, column by column: small distributions, now against what the past leads one to expect.

import { element } from "./live.js";

const SVG = "http://www.w3.org/2000/svg";
const WIDTH = 160, HEIGHT = 48;
const SHOWN = 8; // columns at first sight, and all that shifted
const list = document.getElementById("columns");
const more = document.getElementById("more");

more.addEventListener("click", () => unfold(more.getAttribute("aria-expanded") !== "true"));

export function columns(found) {
  document.getElementById("columns-legend").hidden = found.length === 0;
  list.replaceChildren(...found.map(column));
  unfold(more.getAttribute("aria-expanded") === "true");
}

function unfold(all) {
  let folded = 0;
  [...list.children].forEach((each, index) => {
    const foldable = index >= SHOWN && !each.classList.contains("shifted");
    each.hidden = foldable && !all;
    folded += foldable;
  });
  more.hidden = folded === 0;
  more.setAttribute("aria-expanded", String(all));
  more.textContent = all ? `Fold ${folded} columns away` : `Show ${folded} more columns`;
}

function column({ name, state, words, missing, bars }) {
  const made = document.createElement("li");
  made.className = `column ${state}`;
  const title = element("h3", `${name} `);
  const word = element("span", state);
  word.className = "state";
  title.append(word);
  made.append(title, bars.length > 0 ? picture(name, bars) : element("p", "Its distribution was not kept."));
  made.append(element("p", words), element("p", missing));
  return made;
}

function picture(name, bars) {
  const svg = document.createElementNS(SVG, "svg");
  svg.setAttribute("viewBox", `0 0 ${WIDTH} ${HEIGHT}`);
  svg.setAttribute("preserveAspectRatio", "none");
  svg.setAttribute("role", "img");
  svg.setAttribute("aria-label", `${name}: shares now and as expected`);
  const top = Math.max(...bars.flatMap((bar) => [bar.now, bar.reference])) || 1;
  const step = WIDTH / bars.length;
  bars.forEach((bar, index) => {
    const said = `${bar.label}: ${percent(bar.now)} now, ${percent(bar.reference)} expected`;
    svg.append(block("reference", index * step, step * 0.96, bar.reference / top, said));
    svg.append(block("now", index * step + step * 0.24, step * 0.48, bar.now / top, said));
  });
  return svg;
}

function block(kind, x, width, share, said) {
  const made = document.createElementNS(SVG, "rect");
  const height = Math.max(share * (HEIGHT - 2), share > 0 ? 0.8 : 0);
  const at = { x, y: HEIGHT - height, width, height, class: kind };
  for (const [name, value] of Object.entries(at)) made.setAttribute(name, typeof value === "number" ? value.toFixed(2) : value);
  const title = document.createElementNS(SVG, "title");
  title.textContent = said;
  made.append(title);
  return made;
}

function percent(share) {
  return `${(share * 100).toFixed(share < 0.1 ? 1 : 0)}%`;
}
