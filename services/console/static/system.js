// A system's page: its boxes, tables and charts, every five seconds.

import { element, fill, follow } from "./live.js";

const boxes = document.querySelector(".boxes");
const dark = matchMedia("(prefers-color-scheme: dark)");
let shown = null; // the history that the charts show

follow(boxes.dataset.address, 5000, show);
dark.addEventListener("change", () => shown && charts(shown));
first();

async function first() {
  const answer = await fetch(boxes.dataset.address, { cache: "no-store" });
  if (answer.ok) show(await answer.json());
}

function show(figures) {
  for (const box of boxes.children) fill(box, figures.boxes[box.id.replace("box-", "")]);
  for (const [name, rows] of Object.entries(figures.tables)) table(document.querySelector(`#${name} tbody`), rows);
  if (shown === null || JSON.stringify(figures.history) !== JSON.stringify(shown)) charts(figures.history);
}

// Rows that are as they were stay, so that a link that has the focus keeps it.
function table(body, rows) {
  rows.forEach((cells, index) => {
    const row = document.createElement("tr");
    row.append(...cells.map(cell));
    const old = body.children[index];
    if (!old) body.append(row);
    else if (old.innerHTML !== row.innerHTML) old.replaceWith(row);
  });
  while (body.children.length > rows.length) body.lastElementChild.remove();
}

function cell({ text, href }) {
  if (!href) return element("td", text);
  const link = element("a", text);
  link.href = href;
  const made = document.createElement("td");
  made.append(link);
  return made;
}

function charts(history) {
  shown = history;
  quality(history);
  drift(history);
}

function colours() {
  const style = getComputedStyle(document.documentElement);
  return Object.fromEntries(["ink", "soft", "line", "blue", "good", "bad", "band"].map(
    (name) => [name, style.getPropertyValue(`--${name}`).trim()]));
}

function layout(colour, height, more) {
  return {
    height,
    margin: { l: 56, r: 12, t: 8, b: 40 },
    paper_bgcolor: "rgba(0,0,0,0)",
    plot_bgcolor: "rgba(0,0,0,0)",
    font: { family: "system-ui, sans-serif", size: 12, color: colour.ink },
    xaxis: { type: "date", gridcolor: colour.line, linecolor: colour.line, nticks: innerWidth < 700 ? 4 : 10, tickangle: 0 },
    hovermode: "x unified",
    hoverlabel: { bgcolor: getComputedStyle(document.documentElement).getPropertyValue("--card").trim() },
    ...more,
  };
}

const CONFIG = { displayModeBar: false, responsive: true };

function quality(history) {
  const colour = colours();
  const where = document.getElementById("chart-quality");
  toggle(where, history.at.length > 0);
  if (history.at.length === 0) return;
  const line = { x: history.at, mode: "lines", hovertemplate: "%{y:.4f}" };
  const marks = { trained: colour.blue, refused: colour.soft, serves: colour.good };
  const traces = [
    { ...line, y: history.reference, name: "as on its hold-out", line: { color: colour.soft, width: 1 } },
    { ...line, y: history.harm, name: "harm from here", fill: "tonexty", fillcolor: colour.band,
      line: { color: colour.soft, width: 1, dash: "dot" } },
    { ...line, y: history.low, name: "lower bound", line: { color: colour.blue, width: 1, dash: "dash" } },
    { ...line, y: history.loss, name: "log loss", mode: "lines+markers", marker: { size: 4 },
      line: { color: colour.blue, width: 2 } },
    { x: history.alarms.map((each) => each.at), y: history.alarms.map((each) => each.loss), name: "alarm",
      mode: "markers", marker: { color: colour.bad, size: 11, symbol: "diamond" }, hovertemplate: "alarm" },
  ];
  const shapes = history.marks.map((each) => ({ type: "line", x0: each.at, x1: each.at, yref: "paper", y0: 0, y1: 1,
    line: { color: marks[each.kind], width: 1.5, dash: each.kind === "serves" ? "solid" : "dot" } }));
  const annotations = history.marks.map((each) => ({ x: each.at, yref: "paper", y: 1, text: each.said, textangle: -90,
    xanchor: "right", yanchor: "top", showarrow: false, font: { size: 10, color: marks[each.kind] } }));
  Plotly.react(where, traces, layout(colour, innerWidth < 700 ? 400 : 340, { shapes, annotations, legend: { orientation: "h", x: 0, y: 1.02, yanchor: "bottom" },
    yaxis: { gridcolor: colour.line, title: { text: "log loss a row" }, rangemode: "tozero" } }), CONFIG);
}

function drift(history) {
  const colour = colours();
  const where = document.getElementById("chart-drift");
  toggle(where, history.columns.length > 0);
  if (history.columns.length === 0) return;
  const at = history.drifted.flatMap((windows) => windows.map((index) => history.at[index]));
  const names = history.drifted.flatMap((windows, row) => windows.map(() => history.columns[row]));
  const traces = [{ x: at, y: names, mode: "markers", hovertemplate: "%{y} drifted, %{x}<extra></extra>",
    marker: { symbol: "square", size: innerWidth < 700 ? 5 : 8, color: colour.bad } }];
  const ends = [history.at[0], history.at[history.at.length - 1]];
  const more = layout(colour, 90 + 20 * history.columns.length, { hovermode: "closest",
    margin: { l: innerWidth < 700 ? 150 : 210, r: 12, t: 8, b: 40 },
    yaxis: { type: "category", categoryarray: history.columns, gridcolor: colour.line, tickfont: { size: 11 },
      range: [-0.6, history.columns.length - 0.4] } });
  if (ends[0] !== ends[1]) more.xaxis.range = ends;
  Plotly.react(where, traces, more, CONFIG);
}

// A chart, or the sentence that there is nothing to draw.
function toggle(where, drawn) {
  where.hidden = !drawn;
  where.parentElement.querySelector(".nothing").hidden = drawn;
}
