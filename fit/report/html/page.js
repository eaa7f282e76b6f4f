// Draws the charts that the page holds, in the colours of its theme, again when that changes.
"use strict";

const VIRIDIS = [
  [68, 1, 84],
  [65, 68, 135],
  [42, 120, 142],
  [34, 168, 132],
  [122, 209, 81],
];
const drawn = new Map();

function themed(name) {
  return getComputedStyle(document.documentElement).getPropertyValue(name).trim();
}

// The i-th budget's colour of `count`, dark to light, kept off what the ground would swallow
function budgetColour(i, count) {
  const [from, to] = themed("--dark") === "1" ? [0.42, 1] : [0, 0.76];
  const at = (count > 1 ? from + ((to - from) * i) / (count - 1) : (from + to) / 2) * (VIRIDIS.length - 1);
  const left = Math.min(Math.floor(at), VIRIDIS.length - 2);
  const mix = VIRIDIS[left].map((c, k) => Math.round(c + (at - left) * (VIRIDIS[left + 1][k] - c)));
  return `rgb(${mix.join(",")})`;
}

function roleColour(role) {
  return themed({ ink: "--ink", band: "--band", faint: "--faint" }[role] ?? `--${role}`);
}

function inTheme(trace, count) {
  const { meta = {} } = trace;
  const colour = "budget" in meta ? budgetColour(meta.budget, count) : roleColour(meta.role);
  const copy = { ...trace, marker: { ...trace.marker, color: colour }, line: { ...trace.line, color: colour } };
  if (meta.outlined) copy.marker.line = { ...trace.marker.line, color: themed("--ink") };
  if (meta.role === "band") copy.fillcolor = colour;
  for (const name of ["error_x", "error_y"]) {
    if (trace[name]) copy[name] = { ...trace[name], color: meta.outlined ? themed("--ink") : colour };
  }
  return copy;
}

function drawChart(place, chart) {
  if (!place) return;
  drawn.set(place, chart);
  const places = chart.data.flatMap((trace) => (trace.meta && "budget" in trace.meta ? [trace.meta.budget] : []));
  const count = 1 + Math.max(-1, ...places);
  const narrow = place.clientWidth < 700;
  const axis = {
    gridcolor: themed("--grid"),
    linecolor: themed("--faint"),
    zeroline: false,
    exponentformat: "power",
    automargin: true,
  };
  // of a log axis over a decade or more 1, 2 and 5 are labelled; within one plotly chooses
  const over = (letter) => {
    const values = chart.data.flatMap((trace) => trace[letter] ?? []).filter((value) => value > 0);
    return values.reduce((a, b) => Math.max(a, b), 0) / values.reduce((a, b) => Math.min(a, b), Infinity);
  };
  const axisOf = (own, letter) => ({
    ...axis,
    ...own,
    ...(own.type === "log" && over(letter) >= 10 ? { dtick: "D2" } : {}),
  });
  const layout = {
    ...chart.layout,
    xaxis: axisOf(chart.layout.xaxis, "x"),
    yaxis: axisOf(chart.layout.yaxis, "y"),
    font: { family: "system-ui, sans-serif", size: narrow ? 12 : 14, color: themed("--ink") },
    paper_bgcolor: "rgba(0,0,0,0)",
    plot_bgcolor: "rgba(0,0,0,0)",
    margin: { l: 10, r: 10, t: 10, b: 10 },
    hoverlabel: { bgcolor: themed("--raised"), bordercolor: themed("--faint"), font: { color: themed("--ink") } },
    legend: narrow
      ? { orientation: "h", y: -0.25, font: { size: 11 } }
      : { bgcolor: "rgba(0,0,0,0)" },
  };
  const options = { responsive: true, displaylogo: false, displayModeBar: "hover" };
  Plotly.react(place, chart.data.map((trace) => inTheme(trace, count)), layout, options);
}

function redraw() {
  for (const [place, chart] of drawn) drawChart(place, chart);
}

addEventListener("DOMContentLoaded", () => {
  const data = JSON.parse(document.getElementById("data").textContent);
  for (const [name, chart] of Object.entries(data.charts)) {
    drawChart(document.getElementById(`chart-${name}`), chart);
  }
  if (data.panel) showPanel(data.panel);
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", redraw);
  addEventListener("beforeprint", () => {
    document.documentElement.classList.add("on-paper");
    for (const one of document.querySelectorAll("details")) one.open = true;
    redraw();
  });
  addEventListener("afterprint", () => {
    document.documentElement.classList.remove("on-paper");
    redraw();
  });
  document.documentElement.dataset.ready = "true";
});
