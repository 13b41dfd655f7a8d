"use strict";
// Draws what compare_page.py wrote into the page: curves by metric, and the table of differences.
const data = JSON.parse(document.getElementById("data").textContent);
const byId = (id) => document.getElementById(id);
const element = (tag, text, className) => {
  const made = document.createElement(tag);
  if (text !== undefined) made.textContent = text;
  if (className) made.className = className;
  return made;
};

// Okabe & Ito 2008: told apart by colour-blind readers too. Viridis where there are more runs.
const FEW = ["#0072b2", "#d55e00", "#009e73", "#cc79a7", "#56b4e9", "#e69f00", "#8c6d31", "#7f3fbf"];
const VIRIDIS = [[68, 1, 84], [65, 68, 135], [42, 120, 142], [34, 168, 132], [122, 209, 81], [216, 204, 32]];
const MANY_POINTS = 40000; // in one chart, from which WebGL draws faster than SVG
const MAX_LINES_TWICE = 40; // runs whose raw curve stays, faint, behind the smoothed one
const hasWebGL = !!document.createElement("canvas").getContext("webgl");

const state = { hidden: new Set(), smoothing: 0, axis: "step", logarithmic: false, colours: [], strong: null };

function spread(share) {
  const place = share * (VIRIDIS.length - 1), low = Math.min(Math.floor(place), VIRIDIS.length - 2);
  const mix = VIRIDIS[low].map((c, i) => Math.round(c + (place - low) * (VIRIDIS[low + 1][i] - c)));
  return `rgb(${mix.join(",")})`;
}

function colourBy(name) {
  const row = data.rows.find((one) => one.key === name);
  if (!row) {
    const few = data.runs.length <= FEW.length;
    state.colours = data.runs.map((_, i) => few ? FEW[i] : spread(i / (data.runs.length - 1)));
    byId("scale").replaceChildren();
    return;
  }
  // By rank, so that one far value does not make all others one colour.
  const sorted = row.numbers.filter((n) => n !== null).sort((a, b) => a - b);
  state.colours = row.numbers.map((n) =>
    n === null ? "#c3cad2" : spread(sorted.length < 2 ? 0 : sorted.indexOf(n) / (sorted.length - 1)));
  const band = element("i");
  band.style.background = `linear-gradient(90deg, ${VIRIDIS.map((c) => `rgb(${c})`).join(",")})`;
  byId("scale").replaceChildren(element("span", short(sorted[0])), band, element("span", short(sorted.at(-1))));
}

const short = (n) => n === undefined ? "" : Number(n.toPrecision(3)).toString();

// Exponential moving average without its start's bias towards zero; gaps stay gaps.
function smooth(values, weight) {
  let mean = 0, total = 0;
  return values.map((value) => {
    if (value === null) return null;
    mean = weight * mean + (1 - weight) * value;
    total = weight * total + (1 - weight);
    return mean / total;
  });
}

function traces(metric) {
  const shown = metric.curves.filter((curve) => !state.hidden.has(curve.run));
  const points = shown.reduce((sum, curve) => sum + curve.y.length, 0);
  const type = points > MANY_POINTS && hasWebGL ? "scattergl" : "scatter";
  const made = [];
  for (const curve of shown) {
    const run = data.runs[curve.run], colour = state.colours[curve.run];
    const isStrong = state.strong === null || state.strong === curve.run;
    const base = {
      type, mode: curve.y.length === 1 ? "markers" : "lines", name: run.label, connectgaps: false,
      line: { color: colour, width: state.strong === curve.run ? 3 : shown.length > 40 ? 1 : 1.8 },
      opacity: isStrong ? (shown.length > 40 && state.strong === null ? 0.6 : 1) : 0.12,
      hovertemplate: `${run.hover}<br>%{x} : %{y:.4g}<extra></extra>`,
    };
    const x = (from) => state.axis === "step" ? from.x : from.t;
    if (!state.smoothing) { made.push({ ...base, x: x(curve), y: curve.y }); continue; }
    if (shown.length <= MAX_LINES_TWICE)
      made.push({ ...base, x: x(curve), y: curve.y, opacity: 0.18 * base.opacity, hoverinfo: "skip", hovertemplate: undefined });
    const from = curve.means || curve;
    made.push({ ...base, x: x(from), y: smooth(from.y, state.smoothing) });
  }
  return made;
}

function layout() {
  const axis = { gridcolor: "#e9edf2", zeroline: false, linecolor: "#c3cad2", ticks: "outside", tickcolor: "#c3cad2", ticklen: 4, automargin: true };
  return {
    margin: { l: 52, r: 14, t: 10, b: 44 }, showlegend: false, hovermode: "closest",
    font: { family: "system-ui, Segoe UI, Roboto, DejaVu Sans, sans-serif", size: 12, color: "#3e4c59" },
    paper_bgcolor: "#fff", plot_bgcolor: "#fff", uirevision: state.axis,
    xaxis: { ...axis, title: { text: state.axis === "step" ? "step" : "seconds since the run started", standoff: 6 } },
    yaxis: { ...axis, type: state.logarithmic ? "log" : "linear" },
  };
}

const inSight = new Set();
const draw = (place) => Plotly.react(place, traces(place.metric), layout(),
  { responsive: true, displayModeBar: false });
let asked = false;
function redraw() {
  if (asked) return; // once a frame, however many things changed
  asked = true;
  requestAnimationFrame(() => { asked = false; inSight.forEach(draw); });
}

// A chart is drawn when it comes into sight and freed when it leaves: browsers keep few WebGL contexts.
const watcher = new IntersectionObserver((entries) => {
  for (const { target, isIntersecting } of entries) {
    if (isIntersecting) { inSight.add(target); draw(target); } else if (inSight.delete(target)) Plotly.purge(target);
  }
}, { rootMargin: "200px" });

function addCharts() {
  for (const metric of data.metrics) {
    const box = element("div", undefined, "chart"), place = element("div", undefined, "plot");
    place.metric = metric;
    box.append(element("h3", metric.name), place);
    byId("charts").append(box);
    watcher.observe(place);
  }
  if (!data.metrics.length) byId("charts").append(element("p", "These runs share no curve.", "quiet"));
}

function addLegend() {
  data.runs.forEach((run, number) => {
    const item = element("li");
    item.title = `${run.label}\n${run.state}, started ${run.started}, id ${run.id}`;
    item.append(element("b"), element("span", run.label), element("small", run.duration));
    item.onclick = () => { state.hidden.has(number) ? state.hidden.delete(number) : state.hidden.add(number); legend(); };
    item.ondblclick = () => { state.hidden = new Set(data.runs.keys()); state.hidden.delete(number); legend(); };
    item.onmouseenter = () => { if (!state.hidden.has(number)) { state.strong = number; redraw(); } };
    byId("legend").append(item);
  });
  byId("legend").onmouseleave = () => { state.strong = null; redraw(); };
  byId("all").onclick = () => { state.hidden.clear(); legend(); };
  byId("none").onclick = () => { state.hidden = new Set(data.runs.keys()); legend(); };
  byId("findrun").oninput = (event) => {
    const word = event.target.value.toLowerCase();
    [...byId("legend").children].forEach((item) => { item.hidden = !item.title.toLowerCase().includes(word);
      item.style.display = item.hidden ? "none" : ""; });
  };
}

function legend() {
  [...byId("legend").children].forEach((item, number) => {
    item.classList.toggle("off", state.hidden.has(number));
    item.firstChild.style.background = state.colours[number];
  });
  redraw();
}

function cell(row, number) {
  const text = row.values[number];
  if (text === null) return element("td", "-", "none");
  const made = element("td", text, "");
  if (row.numbers[number] !== null || data.runs.length <= 8) made.className = "number";
  if (row.best.includes(number)) made.classList.add("best");
  made.title = text;
  return made;
}

// Few runs: a column each. Many: a row each, to be sorted by a click on a column.
function addTable() {
  const table = byId("table"), head = element("thead"), body = element("tbody");
  table.append(head, body);
  (data.runs.length <= 8 ? factsAsRows : runsAsRows)(head, body);
  byId("filter").oninput = (event) => {
    const words = event.target.value.toLowerCase().split(/\s+/).filter(Boolean);
    for (const line of body.rows) {
      const text = line.className === "group" ? "" : line.textContent.toLowerCase();
      line.style.display = words.every((word) => text.includes(word)) ? "" : "none";
    }
  };
}

function factsAsRows(head, body) {
  const top = head.insertRow();
  top.append(element("th", ""), ...data.runs.map((run) => element("th", run.label, "number")));
  let group = "";
  for (const row of data.rows) {
    if (row.group !== group) {
      const line = body.insertRow(), title = element("th", row.group);
      line.className = "group"; title.colSpan = data.runs.length + 1; line.append(title); group = row.group;
    }
    const line = body.insertRow();
    line.append(element("th", row.name), ...data.runs.map((_, number) => cell(row, number)));
  }
}

function runsAsRows(head, body) {
  const top = head.insertRow(), lines = [];
  top.append(element("th", "run"));
  data.runs.forEach((run, number) => {
    const line = body.insertRow();
    line.append(element("th", run.label), ...data.rows.map((row) => cell(row, number)));
    lines.push({ line, number });
  });
  data.rows.forEach((row) => {
    const title = element("th", row.name, row.numbers.some((n) => n !== null) ? "number" : "");
    title.setAttribute("role", "button"); title.title = `${row.group}: click to sort`;
    let sign = row.isLowerBetter ? 1 : -1;
    title.onclick = () => {
      const key = ({ number }) => row.numbers[number] ?? row.values[number];
      const rank = (a, b) => {
        const [x, y] = [key(a), key(b)];
        if (x === null || y === null) return (x === null) - (y === null);
        return sign * (typeof x === "number" && typeof y === "number" ? x - y : String(x).localeCompare(String(y)));
      };
      lines.sort(rank).forEach(({ line }) => body.append(line));
      sign = -sign;
    };
    top.append(title);
  });
}

function addControls() {
  byId("smoothing").oninput = (event) => { state.smoothing = Number(event.target.value); byId("smoothed").textContent = event.target.value; redraw(); };
  document.querySelectorAll("[name=axis]").forEach((one) => { one.onchange = () => { state.axis = one.value; redraw(); }; });
  byId("logarithmic").onchange = (event) => { state.logarithmic = event.target.checked; redraw(); };
  byId("colour").append(new Option("run", ""), ...data.rows.filter((row) => row.numbers.filter((n) => n !== null).length > 1)
    .map((row) => new Option(row.name, row.key)));
  byId("colour").value = data.colour;
  byId("colour").onchange = (event) => { colourBy(event.target.value); legend(); };
}

byId("about").textContent = data.about;
byId("alike").textContent = data.alike;
byId("method").textContent = data.method;
byId("findings").firstElementChild.append(...data.findings.map((line) => element("li", line)));
addControls();
colourBy(data.colour);
addCharts();
addLegend();
legend();
addTable();
document.body.dataset.ready = "yes";
