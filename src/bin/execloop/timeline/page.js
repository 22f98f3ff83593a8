const START = 0, TIME = 1, LANE = 2, OUTCOME = 3, NUMBER = 4, TRY = 5, CPU = 6, RSS = 7, OUTPUT = 8, NAME = 9, REASON = 10;
const OUTCOMES = ["succeeded", "failed", "cancelled", "tried again"];
const COLOURS = ["#3d8bd4", "#d9453d", "#8a8f99", "#e0a020"];
const AXIS = 22, LISTED = 12;
const element = id => document.getElementById(id);
const canvas = element("lanes"), tip = element("tip"), search = element("search");
const theme = matchMedia("(prefers-color-scheme: dark)");
const style = name => ({ text: ["#1d2330", "#d8dce5"], faint: ["#e6e9ef", "#2a2e37"], dim: ["#687083", "#8d95a5"] })[name][+theme.matches];

rows.pop();
const lanes = [];
let end = 1;
for (const row of rows) {
  (lanes[row[LANE]] ??= []).push(row);
  end = Math.max(end, row[START] + row[TIME]);
}
for (let lane = 0; lane < lanes.length; lane++) {
  (lanes[lane] ??= []).sort((a, b) => a[START] - b[START]);
}
let view = [0, end], matches = null, hovered = null, dragged = null, laneHeight = 1;

function time(us) {
  if (us < 1e3) return us.toFixed(0) + " us";
  if (us < 1e6) return (us / 1e3).toPrecision(3) + " ms";
  if (us < 6e7) return (us / 1e6).toPrecision(3) + " s";
  const seconds = Math.round(us / 1e6);
  return Math.floor(seconds / 60) + " min " + seconds % 60 + " s";
}

function bytes(count) {
  const units = ["B", "KiB", "MiB", "GiB", "TiB"];
  let unit = 0;
  while (count >= 1024 && unit < 4) { count /= 1024; unit++; }
  return (unit ? count.toPrecision(3) : count) + " " + units[unit];
}

/** A context whose unit is a CSS pixel, on a canvas of this height. */
function context(canvas, height) {
  const scale = devicePixelRatio, width = canvas.clientWidth;
  canvas.style.height = height + "px";
  canvas.width = width * scale;
  canvas.height = height * scale;
  const c = canvas.getContext("2d");
  c.scale(scale, scale);
  c.font = "11px system-ui, sans-serif";
  return [c, width];
}

/** The first of a lane's rows that ends behind `at`. */
function firstBehind(lane, at) {
  let low = 0, high = lane.length;
  while (low < high) {
    const middle = (low + high) >> 1;
    if (lane[middle][START] + lane[middle][TIME] < at) low = middle + 1; else high = middle;
  }
  return low;
}

function draw() {
  laneHeight = Math.max(3, Math.min(20, Math.floor((innerHeight * 0.62 - AXIS) / Math.max(1, lanes.length))));
  const height = AXIS + laneHeight * Math.max(1, lanes.length);
  const [c, width] = context(canvas, height), scale = width / (view[1] - view[0]);
  drawAxis(c, width, height);
  const gap = laneHeight > 5 ? 1 : 0;
  lanes.forEach((lane, number) => {
    const y = AXIS + number * laneHeight;
    // What has failed is drawn last: others that share its pixels do not hide it.
    for (const isFailed of [false, true]) {
      let drawnTo = -1, drawn = null;
      for (let at = firstBehind(lane, view[0]); at < lane.length && lane[at][START] <= view[1]; at++) {
        const row = lane[at], isDim = matches && !matches.has(row);
        if ((row[OUTCOME] === 1) !== isFailed) continue;
        let x = (row[START] - view[0]) * scale, w = row[TIME] * scale - 0.5;
        // Not between two pixels, where it would be pale.
        if (w < 1) [x, w] = [Math.min(Math.floor(x), width - 1), 1];
        const look = isDim ? "dim" : row[OUTCOME];
        // Many that are narrower than a pixel are one.
        if (x + w <= drawnTo + 0.5 && look === drawn) continue;
        c.globalAlpha = isDim ? 0.15 : 1;
        c.fillStyle = COLOURS[row[OUTCOME]];
        c.fillRect(x, y, w, laneHeight - gap);
        if (row === hovered) { c.strokeStyle = style("text"); c.strokeRect(x, y, w, laneHeight - gap); }
        if (laneHeight > 12 && w > 40) {
          c.fillStyle = "#fff";
          const from = Math.max(x, 0);
          c.save(); c.beginPath(); c.rect(from, y, x + w - from - 3, laneHeight); c.clip();
          c.fillText(row[NAME], from + 4, y + laneHeight / 2 + 3.5);
          c.restore();
        }
        drawnTo = x + w; drawn = look;
      }
    }
  });
  c.globalAlpha = 1;
}

function drawAxis(c, width, height) {
  const span = view[1] - view[0], about = span * 90 / width, power = 10 ** Math.floor(Math.log10(about));
  const step = [1, 2, 5, 10].map(n => n * power).find(n => n >= about) ?? about;
  c.fillStyle = style("dim"); c.strokeStyle = style("faint");
  for (let at = Math.ceil(view[0] / step) * step; at <= view[1]; at += step) {
    const x = (at - view[0]) / span * width;
    c.beginPath(); c.moveTo(x, AXIS - 6); c.lineTo(x, height); c.stroke();
    c.fillText(time(at), x + 3, 11);
  }
}

function show(from, to) {
  const least = Math.min(end, 10), span = Math.min(end, Math.max(least, to - from));
  from = Math.max(0, Math.min(from, end - span));
  view = [from, from + span];
  remember();
  requestAnimationFrame(draw);
}

/** What is looked at is part of the address, to be passed on. */
function remember() {
  const parts = new URLSearchParams();
  if (search.value) parts.set("search", search.value);
  if (view[1] - view[0] < end) { parts.set("from", Math.round(view[0])); parts.set("to", Math.round(view[1])); }
  try { history.replaceState(null, "", "#" + parts); } catch { /* A page of a file may not. */ }
}

function find() {
  const text = search.value.trim().toLowerCase();
  matches = text && new Set(rows.filter(row =>
    row[NAME].toLowerCase().includes(text) || row[REASON].toLowerCase().includes(text)
    || OUTCOMES[row[OUTCOME]] === text));
  element("found").textContent = text ? matches.size + " of " + rows.length : "";
  remember();
  requestAnimationFrame(draw);
}

/** Looks at the first match behind the middle of what is seen. */
function next() {
  if (!matches?.size) return;
  const middle = (view[0] + view[1]) / 2, sorted = [...matches].sort((a, b) => a[START] - b[START]);
  lookAt(sorted.find(row => row[START] + row[TIME] / 2 > middle + 1) ?? sorted[0]);
}

function lookAt(row) {
  hovered = row;
  const room = Math.max(row[TIME] * 4, 20);
  show(row[START] + row[TIME] / 2 - room, row[START] + row[TIME] / 2 + room);
}

function rowAt(event) {
  const box = canvas.getBoundingClientRect(), lane = Math.floor((event.clientY - box.top - AXIS) / laneHeight);
  const perPixel = (view[1] - view[0]) / box.width, at = view[0] + (event.clientX - box.left) * perPixel;
  const row = lanes[lane]?.[firstBehind(lanes[lane] ?? [], at - perPixel)];
  return row && row[START] <= at + perPixel ? row : null;
}

function tell(event) {
  const row = rowAt(event);
  if (row !== hovered) { hovered = row; requestAnimationFrame(draw); }
  tip.hidden = !row;
  if (!row) return;
  tip.textContent = describe(row);
  tip.style.left = Math.max(4, Math.min(event.clientX + 14, innerWidth - tip.offsetWidth - 8)) + "px";
  tip.style.top = Math.max(4, Math.min(event.clientY + 14, innerHeight - tip.offsetHeight - 8)) + "px";
}

function describe(row) {
  const lines = [row[NAME], OUTCOMES[row[OUTCOME]] + (row[REASON] && ": " + row[REASON])];
  lines.push("command " + row[NUMBER] + (row[TRY] > 1 ? ", try " + row[TRY] : "") + ", lane " + (row[LANE] + 1));
  lines.push(time(row[TIME]) + " from " + time(row[START]) + ", CPU " + time(row[CPU])
    + ", resident " + bytes(row[RSS] * 1024) + ", output " + bytes(row[OUTPUT]));
  return lines.join("\n");
}

function list(id, entries) {
  element(id).replaceChildren(...entries.map(([text, act]) => {
    const item = document.createElement("li"), button = document.createElement("button");
    button.textContent = text;
    button.onclick = act;
    item.append(button);
    return item;
  }));
}

/** Times in which a lane was empty before a command, and for each lane when it was empty for good. */
function gaps() {
  const between = [], last = [];
  lanes.forEach((lane, number) => {
    let from = 0;
    for (const row of lane) {
      if (row[START] > from) between.push([from, row[START], number, row]);
      from = Math.max(from, row[START] + row[TIME]);
    }
    last.push(from);
  });
  return [between.sort((a, b) => b[1] - b[0] - (a[1] - a[0])), last];
}

/** The end, in which fewer and fewer lanes have a command, and the longest of the other gaps. */
function gapEntries(between, last) {
  const begin = Math.min(...last, end), row = rows.find(row => row[START] + row[TIME] === end);
  const look = (from, to, row) => () => { hovered = row; show(from - (to - from) / 2, to + (to - from) / 2); };
  const tail = begin < end ? [[time(end - begin) + " at the end, which waited for " + row[NAME], look(begin, end, row)]] : [];
  return tail.concat(between.slice(0, LISTED - tail.length).map(([from, to, lane, row]) =>
    [time(to - from) + " in lane " + (lane + 1) + " before " + row[NAME], look(from, to, row)]));
}

function histogram() {
  const [c, width] = context(element("histogram"), 120);
  // Powers of two of a microsecond, from the shortest to the longest.
  const counts = [];
  for (const row of rows) {
    const power = Math.floor(Math.log2(Math.max(1, row[TIME])));
    counts[power] = (counts[power] ?? 0) + 1;
  }
  const first = counts.findIndex(count => count), most = counts.reduce((a, b) => Math.max(a, b ?? 0), 0);
  const column = Math.min(80, width / Math.max(1, counts.length - first));
  for (let power = first; power >= 0 && power < counts.length; power++) {
    const count = counts[power] ?? 0, x = (power - first) * column, height = Math.ceil(count / most * 78);
    c.fillStyle = COLOURS[0];
    c.fillRect(x, 98 - height, column - 3, height);
    c.fillStyle = style("dim");
    if (count) c.fillText(count, x + 2, 94 - height);
    c.fillText(time(2 ** power), x + 2, 112);
  }
}

canvas.onwheel = event => {
  event.preventDefault();
  const box = canvas.getBoundingClientRect(), at = view[0] + (event.clientX - box.left) / box.width * (view[1] - view[0]);
  const factor = Math.exp(event.deltaY * 0.002);
  show(at - (at - view[0]) * factor, at + (view[1] - at) * factor);
};
canvas.onpointerdown = event => { dragged = [event.clientX, ...view]; };
onpointerup = () => { dragged = null; };
canvas.onpointermove = event => {
  if (!dragged) return tell(event);
  const [x, from, to] = dragged, by = (x - event.clientX) / canvas.clientWidth * (to - from);
  show(from + by, to + by);
};
canvas.onpointerleave = () => { tip.hidden = true; };
canvas.ondblclick = element("whole").onclick = () => show(0, end);
canvas.onkeydown = event => {
  const span = view[1] - view[0];
  const [from, to] = { "+": [0.25, -0.25], "-": [-0.5, 0.5], ArrowLeft: [-0.2, -0.2], ArrowRight: [0.2, 0.2] }[event.key] ?? [];
  if (from === undefined) return;
  event.preventDefault();
  show(view[0] + from * span, view[1] + to * span);
};
search.oninput = find;
search.onkeydown = event => { if (event.key === "Enter") next(); };
element("next").onclick = next;
onresize = () => { draw(); histogram(); };
theme.onchange = onresize;

const [between, last] = gaps(), count = outcome => rows.filter(row => row[OUTCOME] === outcome).length;
const idle = between.reduce((sum, [from, to]) => sum + to - from, last.reduce((sum, at) => sum + end - at, 0));
const busy = Math.round(100 * (1 - idle / (end * Math.max(1, lanes.length))));
element("summary").textContent = rows.length + " commands in " + lanes.length + " lanes, " + time(end) + ": "
  + OUTCOMES.map((name, at) => [count(at), name]).filter(([n]) => n).map(([n, name]) => n + " " + name).join(", ")
  + "; lanes busy " + busy + "%";
list("longest", [...rows].sort((a, b) => b[TIME] - a[TIME]).slice(0, LISTED)
  .map(row => [time(row[TIME]) + "  " + row[NAME], () => lookAt(row)]));
list("gaps", gapEntries(between, last));
const asked = new URLSearchParams(location.hash.slice(1));
search.value = asked.get("search") ?? "";
if (asked.has("from") && asked.has("to")) view = [+asked.get("from"), +asked.get("to")];
show(...view);
find();
histogram();
draw();
