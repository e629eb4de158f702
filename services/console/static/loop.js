// The first page: the loop's figures every two seconds, and small graphs of the last minutes.

import { fill, follow, put } from "./live.js";

const KEPT = 150; // points of a graph: five minutes
const WIDTH = 120, HEIGHT = 24;
const loop = document.querySelector(".loop");
const seen = new Map();

follow(loop.dataset.address, 2000, (figures) => {
  for (const [name, box] of Object.entries(figures.boxes)) fill(document.getElementById(`box-${name}`), box);
  for (const [name, text] of Object.entries(figures.arrows)) put(document.querySelector(`#arrow-${name} .flow`), text);
  for (const [name, row] of Object.entries(figures.rows)) {
    const state = document.getElementById(`state-${name}`);
    if (state) state.className = `state ${row.state}`;
    put(state, row.word);
    for (const [label, text] of Object.entries(row.cells)) {
      put(document.querySelector(`#row-${CSS.escape(name)} [data-cell="${label}"]`), text);
    }
  }
  for (const [name, value] of Object.entries(figures.series)) draw(name, value);
});

function draw(name, value) {
  const points = [...(seen.get(name) ?? []), value].slice(-KEPT);
  seen.set(name, points);
  const path = document.querySelector(`[data-series="${name}"] path`);
  const known = points.filter((each) => each !== null);
  if (!path || known.length < 2) return;
  const top = Math.max(...known) || 1;
  const left = WIDTH - points.length * (WIDTH / KEPT);
  let pen = "M";
  path.setAttribute("d", points.map((each, index) => {
    if (each === null) {
      pen = "M";
      return "";
    }
    const drawn = `${pen}${(left + index * (WIDTH / KEPT)).toFixed(1)} ${(HEIGHT - 1 - (each / top) * (HEIGHT - 3)).toFixed(1)}`;
    pen = "L";
    return drawn;
  }).join(""));
}
