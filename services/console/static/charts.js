// A system's pictures over time, by Plotly, in the colours of the page.

import { put } from "./live.js";

const CONFIG = { displayModeBar: false, responsive: true };
const DRAWN = { quality, estimates, calibration, concept, shifts };

export function charts(found) {
  for (const [name, draw] of Object.entries(DRAWN)) {
    const where = document.getElementById(`chart-${name}`);
    put(document.getElementById(`words-${name}`), found[name].words ?? "");
    if (toggle(where, found[name])) draw(where, found[name], colours());
  }
}

// A chart, or the sentence that there is nothing to draw.
function toggle(where, found) {
  const drawn = found.known ?? (found.columns ?? found.predicted ?? found.at).length > 0;
  where.hidden = !drawn;
  where.parentElement.querySelector(".nothing").hidden = drawn;
  return drawn;
}

function colours() {
  const style = getComputedStyle(document.documentElement);
  return Object.fromEntries(["ink", "soft", "line", "blue", "good", "warn", "bad", "band", "card"].map(
    (name) => [name, style.getPropertyValue(`--${name}`).trim()]));
}

const narrow = () => innerWidth < 700;
const HOUR = 3_600_000; // milliseconds

// A line of one or two points is hardly seen; so few are marked.
const drawn = (times) => (times.length < 3 ? "lines+markers" : "lines");

// Around a single moment an axis would show milliseconds.
function axis(times, colour) {
  const first = times[0], last = times[times.length - 1];
  const made = { type: "date", gridcolor: colour.line, linecolor: colour.line, nticks: narrow() ? 4 : 8, tickangle: 0 };
  if (first === last) made.range = around(first, HOUR);
  return made;
}

function around(time, distance) {
  return [-distance, distance].map((off) => new Date(Date.parse(time) + off).toISOString());
}

function layout(colour, height, more) {
  return {
    height,
    margin: { l: 56, r: 12, t: 8, b: 40 },
    paper_bgcolor: "rgba(0,0,0,0)",
    plot_bgcolor: "rgba(0,0,0,0)",
    font: { family: "system-ui, sans-serif", size: 12, color: colour.ink },
    yaxis: { gridcolor: colour.line, zerolinecolor: colour.line },
    legend: { orientation: "h", x: 0, y: 1.02, yanchor: "bottom" },
    hovermode: "x unified",
    hoverlabel: { bgcolor: colour.card },
    ...more,
  };
}

function quality(where, found, colour) {
  const line = { x: found.at, mode: drawn(found.at), hovertemplate: "%{y:.4f}" };
  const marks = { trained: colour.blue, refused: colour.soft, serves: colour.good };
  const traces = [
    { ...line, y: found.reference, name: "as on its hold-out", line: { color: colour.soft, width: 1 } },
    { ...line, y: found.harm, name: "harm from here", fill: "tonexty", fillcolor: colour.band,
      line: { color: colour.soft, width: 1, dash: "dot" } },
    { ...line, y: found.low, name: "lower bound", line: { color: colour.blue, width: 1, dash: "dash" } },
    { ...line, y: found.loss, name: "log loss", mode: "lines+markers", marker: { size: 4 },
      line: { color: colour.blue, width: 2 } },
    { x: found.alarms.map((each) => each.at), y: found.alarms.map((each) => each.loss), name: "alarm",
      mode: "markers", marker: { color: colour.bad, size: 11, symbol: "diamond" }, hovertemplate: "alarm" },
  ];
  const shapes = found.marks.map((each) => ({ type: "line", x0: each.at, x1: each.at, yref: "paper", y0: 0, y1: 1,
    line: { color: marks[each.kind], width: 1.5, dash: each.kind === "serves" ? "solid" : "dot" } }));
  const annotations = found.marks.map((each) => ({ x: each.at, yref: "paper", y: 1, text: each.said, textangle: -90,
    xanchor: "right", yanchor: "top", showarrow: false, font: { size: 10, color: marks[each.kind] } }));
  Plotly.react(where, traces, layout(colour, narrow() ? 400 : 340, { shapes, annotations,
    xaxis: axis([...found.at, ...found.marks.map((each) => each.at)].sort(), colour),
    yaxis: { gridcolor: colour.line, title: { text: "log loss a row" }, rangemode: "tozero" } }), CONFIG);
}

function estimates(where, found, colour) {
  const line = { x: found.at, mode: drawn(found.at), hovertemplate: "%{y:.4f}" };
  const realised = { x: found.realised_at, hovertemplate: "%{y:.4f}" };
  const thin = { color: colour.blue, width: 0 };
  const traces = [
    { ...line, y: found.low, line: thin, showlegend: false, hoverinfo: "skip", hovertemplate: null },
    { ...line, y: found.high, name: "95% interval", fill: "tonexty", fillcolor: colour.band, line: thin, hoverinfo: "skip",
      hovertemplate: null },
    { ...line, y: found.estimated, name: "estimated", line: { color: colour.blue, width: 2, dash: "dot" } },
    { ...realised, y: found.realised, name: "measured", mode: "lines+markers", marker: { size: 4 },
      line: { color: colour.ink, width: 2 } },
    { ...realised, y: found.reference, name: "as on its hold-out", mode: drawn(found.at),
      line: { color: colour.soft, width: 1 } },
  ];
  Plotly.react(where, traces, layout(colour, 320, { xaxis: axis([...found.realised_at, ...found.at].sort(), colour),
    yaxis: { gridcolor: colour.line, title: { text: "log loss a row" } } }), CONFIG);
}

function calibration(where, found, colour) {
  const end = Math.max(...found.predicted, ...found.observed.map((each, index) => each + found.above[index])) * 1.05;
  const traces = [
    { x: [0, end], y: [0, end], mode: "lines", name: "scores are right", line: { color: colour.soft, width: 1, dash: "dot" },
      hoverinfo: "skip" },
    { x: found.predicted, y: found.observed, customdata: found.rows, mode: "lines+markers", name: "happened, with 95% interval",
      marker: { color: colour.blue, size: 7 }, line: { color: colour.blue, width: 1 },
      error_y: { type: "data", symmetric: false, array: found.above, arrayminus: found.below, color: colour.blue, thickness: 1 },
      hovertemplate: "predicted %{x:.3f}, happened %{y:.3f}, %{customdata:,} rows<extra></extra>" },
  ];
  const side = { gridcolor: colour.line, zerolinecolor: colour.line, linecolor: colour.line, range: [0, end] };
  Plotly.react(where, traces, layout(colour, 320, { hovermode: "closest", margin: { l: 56, r: 12, t: 8, b: 48 },
    xaxis: { ...side, title: { text: "predicted" } }, yaxis: { ...side, title: { text: "happened" } } }), CONFIG);
}

function concept(where, found, colour) {
  const line = { x: found.at, mode: drawn(found.at) };
  const traces = [
    { ...line, y: found.threshold, name: "threshold", line: { color: colour.bad, width: 1, dash: "dash" },
      hovertemplate: "%{y:.2f}" },
    { ...line, y: found.evidence, customdata: found.versions, name: "evidence", mode: "lines+markers", marker: { size: 4 },
      line: { color: colour.blue, width: 2 }, hovertemplate: "%{y:.2f} (version %{customdata})" },
    { x: found.alarms.map((each) => each.at), y: found.alarms.map((each) => each.evidence), name: "alarm", mode: "markers",
      marker: { color: colour.bad, size: 11, symbol: "diamond" }, hovertemplate: "alarm" },
  ];
  Plotly.react(where, traces, layout(colour, 280, { xaxis: axis(found.at, colour),
    yaxis: { gridcolor: colour.line, zerolinecolor: colour.line, title: { text: "evidence, logarithm" } } }), CONFIG);
}

function shifts(where, found, colour) {
  const sizes = found.effects.map((row) => row.map((each) => (each === null ? null : Math.abs(each))));
  const largest = Math.max(0.5, ...sizes.flat().filter((each) => each !== null));
  const marked = found.drifted.flatMap((windows, row) => windows.map((index) => [found.at[index], found.columns[row]]));
  const left = narrow() ? 150 : 210;
  const step = (where.clientWidth - left) / found.at.length; // pixels of a window
  const traces = [
    { type: "heatmap", x: found.at.length === 1 ? around(found.at[0], HOUR / 4) : found.at, y: found.columns, z: sizes,
      customdata: found.effects, zmin: 0, zmax: largest,
      xgap: step > 5 ? 1 : 0, ygap: 1, colorscale: [[0, colour.band], [1, colour.blue]], hoverongaps: false,
      showscale: false, // Plotly's colour bar sets styles inline, which the page's policy forbids
      hovertemplate: "%{y}: %{customdata:+.2f}σ, %{x}<extra></extra>" },
    { x: marked.map((each) => each[0]), y: marked.map((each) => each[1]), mode: "markers", name: "judged shifted",
      marker: { symbol: "diamond", size: Math.min(9, Math.max(3, step * 0.8)), color: colour.bad },
      hovertemplate: "%{y} judged shifted, %{x}<extra></extra>" },
  ];
  const more = layout(colour, 100 + 20 * found.columns.length, { hovermode: "closest", showlegend: false,
    margin: { l: left, r: 12, t: 12, b: 40 }, xaxis: axis(found.at, colour),
    yaxis: { type: "category", categoryarray: found.columns, tickfont: { size: 11 }, gridcolor: colour.line, showgrid: false,
      range: [-0.6, found.columns.length - 0.4] } });
  Plotly.react(where, traces, more, CONFIG);
}
