"use strict";
(() => {
const byId = (id) => document.getElementById(id);
const facts = JSON.parse(byId("facts").textContent);
const style = (name) => getComputedStyle(document.documentElement).getPropertyValue(name).trim();

function element(tag, text, attributes) {
  const one = document.createElement(tag);
  if (text !== undefined) one.textContent = text;
  for (const [name, value] of Object.entries(attributes || {})) one.setAttribute(name, value);
  return one;
}

// Charts -----------------------------------------------------------------------------------

const looks = {
  base: ["star", "--base", 15], chosen: ["diamond", "--ours", 15],
  front: ["diamond", "--ours", 10], complete: ["circle", "--soft", 8],
  infeasible: ["x", "--bad", 8], stopped: ["square-open", "--soft", 8],
  pruned: ["triangle-down-open", "--bad", 9],
  running: ["circle-open", "--ours", 9], other: ["line-ew-open", "--soft", 9],
};
const shown = { base: "base", chosen: "the answer", ...facts.states };

function draw(id, traces, layout) {
  if (!byId(id)) return;
  const axis = { gridcolor: style("--line"), zerolinecolor: style("--line"), automargin: true };
  Plotly.react(id, traces, {
    paper_bgcolor: "transparent", plot_bgcolor: "transparent", dragmode: matchMedia("(pointer: coarse)").matches ? false : "zoom",
    font: { color: style("--text"), family: "system-ui, sans-serif", size: 13 },
    margin: { l: 50, r: 10, t: 10, b: 45 }, hovermode: "closest",
    hoverlabel: { align: "left" }, legend: { orientation: "h", x: 0, y: 1.02, yanchor: "bottom" },
    ...layout, xaxis: { ...axis, ...layout.xaxis }, yaxis: { ...axis, ...layout.yaxis },
  }, { displaylogo: false, responsive: true, displayModeBar: false });
}

const inRange = { range: [-0.03, 1.05] };

function staircase(points, x, y) {
  const sound = points.filter((one) => ["chosen", "front", "complete"].includes(one.kind))
    .map((one) => [one.numbers[x][0], one.numbers[y][0]])
    .sort((a, b) => b[0] - a[0] || b[1] - a[1]);
  const best = [];
  for (const one of sound) if (!best.length || one[1] > best.at(-1)[1]) best.push(one);
  return best;
}

function spread(points, name) {
  const numbers = points.map((one) => one.numbers[name]);
  return { type: "data", symmetric: false, thickness: 1, width: 0,
    array: numbers.map((one) => one[2] - one[0]),
    arrayminus: numbers.map((one) => one[0] - one[1]) };
}

function drawFront() {
  if (!byId("front-chart")) return;
  const x = byId("front-x").value, y = byId("front-y").value;
  const line = staircase(facts.points, x, y);
  const traces = [{ type: "scatter", mode: "lines", hoverinfo: "skip", showlegend: false,
    x: line.map((one) => one[0]), y: line.map((one) => one[1]),
    line: { color: style("--ours"), width: 1, dash: "dot", shape: "vh" } }];
  for (const kind of ["complete", "infeasible", "stopped", "pruned", "running", "other",
    "front", "base", "chosen"]) {
    const points = facts.points.filter((one) => one.kind === kind);
    if (!points.length) continue;
    const [symbol, colour, size] = looks[kind];
    const marked = kind === "base" || kind === "chosen";
    traces.push({ type: "scatter", mode: "markers", name: shown[kind],
      x: points.map((one) => one.numbers[x][0]), y: points.map((one) => one.numbers[y][0]),
      text: points.map((one) => one.hover), customdata: points.map((one) => one.key),
      hovertemplate: `%{text}<br>${x} %{x:.2f}, ${y} %{y:.2f}<extra></extra>`,
      marker: { symbol, size, color: style(colour), line: { color: style("--ground"), width: 1 } },
      ...(marked ? { error_x: spread(points, x), error_y: spread(points, y) } : {}) });
    if (symbol.endsWith("open")) traces.at(-1).marker.line = { color: style(colour), width: 2 };
  }
  draw("front-chart", traces, { xaxis: { title: { text: x }, ...inRange },
    yaxis: { title: { text: y }, ...inRange } });
}

function drawEffect() {
  if (!byId("effect-chart") || !byId("effect-x").value) return;
  const parameter = byId("effect-x").value, objective = byId("effect-y").value;
  const { values, numeric, log } = facts.effects.parameters[parameter];
  const levels = [...new Set(values)].filter((one) => one !== null);
  const ticks = numeric && levels.length <= 8 ? { tickvals: levels } : {};
  const kept = values.map((one, place) => [one, place]).filter(([one]) => one !== null);
  draw("effect-chart", [{ type: "scatter", mode: "markers",
    x: kept.map(([one]) => one),
    y: kept.map(([, place]) => facts.effects.objectives[objective][place]),
    customdata: kept.map(([, place]) => facts.effects.trials[place]),
    hovertemplate: "trial %{customdata}<br>%{x}<br>%{y:.2f}<extra></extra>",
    marker: { size: 9, opacity: 0.7, color: style("--ours") } }],
  { showlegend: false, yaxis: { title: { text: objective }, ...inRange },
    xaxis: { title: { text: parameter }, ...ticks,
      type: !numeric ? "category" : log ? "log" : "linear" } });
}

function drawCourse() {
  const colours = ["--ours", "--base"];
  const traces = facts.course.traces.map((one, place) =>
    ({ ...one, line: { ...one.line, color: style(colours[place]) } }));
  draw("course-chart", traces, facts.course.layout);
}

function drawCurves() {
  for (const [id, traces] of Object.entries(facts.curves || {}))
    draw(id, traces, { yaxis: { title: { text: "geometric mean" }, ...inRange },
      xaxis: { title: { text: id === "curve-steps" ? "step or epoch" : "strength" } } });
}

function drawAll() {
  drawCurves();
  drawFront();
  drawEffect();
  drawCourse();
}

// Samples ----------------------------------------------------------------------------------

function overlay(sample) {
  if (!sample.o && !sample.b) return [];
  const svg = document.createElementNS("http://www.w3.org/2000/svg", "svg");
  svg.setAttribute("viewBox", sample.s);
  for (const [name, path] of [["bones", sample.o], ["box", sample.b]]) {
    const one = document.createElementNS("http://www.w3.org/2000/svg", "path");
    one.setAttribute("class", name);
    one.setAttribute("d", path || "");
    svg.append(one);
  }
  return [svg];
}

function image(key, cell) {
  const sample = facts.samples[key][cell];
  const there = document.querySelector(`img[data-k="${key}"][data-c="${cell}"][src]`);
  const source = sample.i || (there && there.src);
  return source ? element("img", undefined, { src: source, alt: "" })
    : element("span", "gone", { class: "gone" });
}

const called = (key) => (key === "base" ? "base" : facts.names[key] || `trial ${key}`);
let open = null;

function showSample(key, cell) {
  const sample = facts.samples[key] && facts.samples[key][cell];
  if (!sample) return;
  open = [key, Number(cell)];
  const [prompt, seed] = facts.cells[cell];
  byId("sample-title").textContent = called(key);
  byId("sample-prompt").textContent = `${prompt || "empty prompt"}, seed ${seed}`;
  byId("sample-faults").textContent = sample.f || "";
  byId("sample-picture").replaceChildren(image(key, cell), ...overlay(sample));
  byId("sample-scores").replaceChildren(...facts.judges.map((name, place) => {
    const row = element("tr"), value = sample.v[place];
    const shown = value === null || value === undefined ? "abstained" : value.toFixed(2);
    row.append(element("th", name, { scope: "row" }), element("td", shown));
    return row;
  }));
  if (!byId("sample").open) byId("sample").showModal();
}

function step(across, down) {
  const [key, cell] = open;
  if (down) {
    const place = facts.rows.indexOf(key) + down;
    if (facts.rows[place] !== undefined) showSample(facts.rows[place], cell);
    return;
  }
  const cells = Object.keys(facts.samples[key]).map(Number).sort((a, b) => a - b);
  const next = cells[cells.indexOf(cell) + across];
  if (next !== undefined) showSample(key, next);
}

function showTrial(key) {
  const trial = facts.trials[key];
  if (!trial) return;
  byId("trial-title").textContent = trial.title;
  byId("trial-reason").textContent = trial.reason;
  byId("trial-parameters").textContent = trial.parameters;
  byId("trial-numbers").replaceChildren(...(trial.numbers || []).map((cells) => {
    const row = element("tr");
    row.append(element("th", cells[0], { scope: "row" }),
      ...cells.slice(1).map((one) => element("td", one)));
    return row;
  }));
  const samples = facts.samples[key] || {};
  const count = Object.keys(samples).length;
  let note = trial.numbers ? `${count} of ${trial.total} samples` : "It was never scored.";
  if (trial.numbers && count < trial.total && trial.folder) note += `; all are in ${trial.folder}`;
  byId("trial-note").textContent = note;
  byId("trial-samples").replaceChildren(...Object.entries(samples).map(([cell, sample]) => {
    const [prompt, seed] = facts.cells[cell];
    const one = element("button", undefined, { type: "button", "data-k": key, "data-c": cell,
      class: sample.f ? "cell flawed" : "cell",
      "aria-label": `${prompt}, seed ${seed}: ${sample.f || "no fault found"}` });
    one.append(image(key, cell), ...overlay(sample));
    if (sample.f) one.append(element("span", sample.f, { class: "flag" }));
    return one;
  }));
  byId("trial").showModal();
}

// Keys and clicks --------------------------------------------------------------------------

const arrows = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] };
const wall = byId("wall-table");

function moveOnWall(event) {
  const from = event.target.closest(".cell");
  if (!from) return;
  const row = from.closest("tr"), rows = [...wall.tBodies[0].rows];
  const [across, down] = arrows[event.key] || [0, 0];
  let line = rows[rows.indexOf(row) + down], column = Number(from.dataset.x) + across;
  if (event.key === "Home") column = 0;
  if (event.key === "End") column = row.querySelectorAll(".cell").length - 1;
  const to = line && line.querySelector(`.cell[data-x="${column}"]`);
  if (!to || to === from) return;
  event.preventDefault();
  from.tabIndex = -1;
  to.tabIndex = 0;
  to.focus();
  to.scrollIntoView({ block: "nearest", inline: "nearest" });
}

document.addEventListener("click", (event) => {
  const cell = event.target.closest(".cell"), trial = event.target.closest(".open");
  if (cell) showSample(cell.dataset.k, cell.dataset.c);
  else if (trial) showTrial(trial.dataset.k);
  else if (event.target.matches("dialog")) event.target.close();
  else if (event.target.matches(".copy")) copy(event.target);
});

function copy(button) {
  const code = button.previousElementSibling;
  getSelection().selectAllChildren(code);
  const done = document.execCommand("copy");
  button.textContent = done ? "Copied" : "Selected";
}

if (wall) {
  wall.addEventListener("keydown", (event) => {
    if (event.key in arrows || event.key === "Home" || event.key === "End") moveOnWall(event);
  });
  wall.addEventListener("focusin", (event) => {
    const cell = event.target.closest(".cell");
    if (!cell) return;
    for (const old of wall.querySelectorAll('.cell[tabindex="0"]')) old.tabIndex = -1;
    cell.tabIndex = 0;
  });
  byId("marks").addEventListener("change", (event) =>
    document.body.classList.toggle("plain", !event.target.checked));
}
const slider = byId("strength");
if (slider) slider.addEventListener("input", () => {
  const chosen = slider.dataset.strengths.split(",")[slider.value - 1];
  byId("strength-shown").textContent = chosen || "all";
  for (const row of wall.tBodies[0].rows)
    row.hidden = Boolean(chosen && row.dataset.strength && row.dataset.strength !== chosen);
});
byId("sample").addEventListener("keydown", (event) => {
  if (!(event.key in arrows)) return;
  event.preventDefault();
  step(...arrows[event.key]);
});
byId("sample-back").addEventListener("click", () => step(-1, 0));
byId("sample-next").addEventListener("click", () => step(1, 0));

for (const name of Object.keys(facts.effects.parameters))
  if (byId("effect-x")) byId("effect-x").append(element("option", name));
for (const id of ["front-x", "front-y"]) if (byId(id)) byId(id).onchange = drawFront;
for (const id of ["effect-x", "effect-y"]) if (byId(id)) byId(id).onchange = drawEffect;
drawAll();
for (const id of ["front-chart", "effect-chart", "curve-steps", "curve-strengths"])
  if (byId(id) && byId(id).on) byId(id).on("plotly_click", (event) => {
    const key = event.points[0].customdata;
    if (key !== undefined) showTrial(key);
  });
matchMedia("(prefers-color-scheme: dark)").addEventListener("change", drawAll);
})();
