// Shows state.json, and asks for it again: what is on the page is what the store says. Drawn by page.js.
"use strict";

const POLL_MS = 2000;
const MOST_LINES = 20;
const $ = (id) => document.getElementById(id);
let state = null;

function count(value) {
  for (const [size, suffix] of [[1e12, "T"], [1e9, "B"], [1e6, "M"], [1e3, "K"]]) {
    if (value >= 0.9995 * size) return Number((value / size).toPrecision(3)) + suffix;
  }
  return String(Math.round(value));
}

function flops(value) {
  return value.toExponential(2).replace(/\.?0+e/, "e");
}

function duration(seconds) {
  const whole = Math.round(seconds);
  if (whole < 60) return `${whole}s`;
  const two = (n) => String(n).padStart(2, "0");
  if (whole < 3600) return `${Math.floor(whole / 60)}m${two(whole % 60)}s`;
  if (whole < 48 * 3600) return `${Math.floor(whole / 3600)}h${two(Math.floor((whole % 3600) / 60))}m`;
  return `${(seconds / 86400).toFixed(1)}d`;
}

function percent(share) {
  return `${Math.round(100 * share)}%`;
}

function headline(s) {
  const c = s.counts;
  let text = `${s.cells} cells: ${c.finished} finished, ${c.running} running, ${c.waiting} waiting, ${c.failed} failed; ` +
    `${percent(s.share)} of ${flops(s.flops)} FLOPs`;
  if (s.left_s > 0) text += `; about ${duration(s.left_s)} left, ${s.at_once} at once, by the plan's estimate`;
  else if (s.concluded) text += "; its fit and report are in the sweep's folder";
  return text;
}

function list(section, items) {
  const node = $(section);
  node.hidden = items.length === 0;
  const shown = items.slice(0, MOST_LINES);
  if (items.length > MOST_LINES) shown.push(`and ${items.length - MOST_LINES} more`);
  node.querySelector("ul").replaceChildren(...shown.map((text) => {
    const item = document.createElement("li");
    item.textContent = text;
    return item;
  }));
}

function name(budget, cell) {
  return `${flops(budget.flops)} FLOPs, ${cell.shape}, seed ${cell.seed}, cell ${cell.id}`;
}

function told(cell) {
  if (cell.status === "running" || (cell.status === "waiting" && cell.share > 0)) return `${cell.status}, ${percent(cell.share)}`;
  return cell.status;
}

function rows(s) {
  return s.budgets.flatMap((budget) => budget.cells.map((cell) => {
    const row = document.createElement("tr");
    const loss = cell.loss === null ? "" : cell.loss.toFixed(4);
    for (const text of [flops(budget.flops), cell.shape, cell.seed, count(cell.params), count(cell.tokens), told(cell), loss]) {
      row.insertCell().textContent = text;
    }
    row.cells[5].className = cell.status;
    return row;
  }));
}

function draw() {
  const axis = document.querySelector("input[name=axis]:checked").value;
  drawChart($("valleys"), state.charts[axis]);
}

function show(s) {
  document.title = `${percent(s.share)} ${s.sweep}`;
  const text = headline(s);
  if ($("headline").textContent !== text) $("headline").textContent = text;
  $("progress").value = s.share;
  const all = s.budgets.flatMap((budget) => budget.cells.map((cell) => [budget, cell]));
  list("slurm", s.slurm);
  list("failed", all.filter(([, cell]) => cell.status === "failed").map(([budget, cell]) => `${name(budget, cell)}: ${cell.reason}`));
  list("running", all.filter(([, cell]) => cell.status === "running").map(([budget, cell]) => `${name(budget, cell)}: ${percent(cell.share)}${cell.again ? `, ${cell.again}` : ""}`));
  $("cells").replaceChildren(...rows(s));
  draw();
}

function complain(text) {
  $("error").textContent = text;
}

async function asked() {
  try {
    const answer = await fetch("state.json", { cache: "no-store" });
    return await answer.json();
  } catch {
    return { error: "python -m scaling_runs watch does not answer any more; what is shown is how the sweep stood then" };
  }
}

async function poll() {
  const found = await asked();
  setTimeout(poll, POLL_MS);
  take(found);
}

function take(found) {
  complain(found.error ?? "");
  if (found.error || JSON.stringify(found) === JSON.stringify(state)) return;
  state = found;
  show(state);
}

document.querySelectorAll("input[name=axis]").forEach((input) => input.addEventListener("change", () => state && draw()));
poll();
