// Pictures: just enough SVG for lines over time, drawn as wide as their place, so that letters keep their size.

const SVG = "http://www.w3.org/2000/svg";
const LEFT = 46, RIGHT = 10, TOP = 8, BOTTOM = 24;

/** An element with attributes and children; text is always text. */
function el(name, attributes = {}, ...children) {
  const out = document.createElement(name);
  for (const [key, value] of Object.entries(attributes)) out.setAttribute(key, value);
  out.append(...children);
  return out;
}

function svg(name, attributes = {}, ...children) {
  const out = document.createElementNS(SVG, name);
  for (const [key, value] of Object.entries(attributes)) out.setAttribute(key, value);
  out.append(...children);
  return out;
}

/** Round ticks from 0 up to at least `most`. */
function ticksTo(most) {
  const raw = Math.max(most, 1e-9) / 4;
  const power = 10 ** Math.floor(Math.log10(raw));
  const step = [1, 2, 5, 10].map((s) => s * power).find((s) => s >= raw);
  return Array.from({ length: Math.ceil(most / step - 1e-9) + 1 }, (_, i) => i * step);
}

/** Times with round minutes or hours, about one each 90 pixels. */
function timeTicks([from, to], width) {
  const wanted = (to - from) / Math.max(1, width / 90);
  const step = [60, 120, 300, 600, 900, 1800, 3600, 7200, 10800, 21600, 43200, 86400].find((s) => s >= wanted) ?? 172800;
  const shift = new Date(to * 1000).getTimezoneOffset() * 60;
  const out = [];
  for (let t = Math.ceil((from - shift) / step) * step + shift; t <= to; t += step) out.push(t);
  return out;
}

/** Runs of points without a gap: an unknown value, or a time without samples, ends a run. */
function runs(at, values, gap) {
  const out = [];
  let run = [];
  at.forEach((t, i) => {
    const broken = values[i] === null || (run.length && t - run[run.length - 1][0] > gap);
    if (broken && run.length) { out.push(run); run = []; }
    if (values[i] !== null) run.push([t, values[i]]);
  });
  return run.length ? [...out, run] : out;
}

/**
 * Draws into `host`. What it is given: `title` and `text` (what it shows, for those who cannot see it), `height`,
 * `range` (of times), `ticks` (of values; the outermost are the ends), `label` (of a tick), `at`, `gap`, and
 * `bands` ({low, high, style}), `lines` ({values, style}), `marks` ({value, style}), `blocks` ({from, to, low, high, style}),
 * `events` (of /status.json).
 */
function chart(host, spec) {
  const width = Math.max(240, host.clientWidth), height = spec.height, id = host.id;
  const [low, high] = [spec.ticks[0], spec.ticks[spec.ticks.length - 1]];
  const left = spec.left ?? LEFT, top = spec.events?.length ? TOP + 14 : TOP;
  const x = (t) => left + (width - left - RIGHT) * Math.min(1, Math.max(0, (t - spec.range[0]) / (spec.range[1] - spec.range[0])));
  const y = (v) => height - BOTTOM - (height - top - BOTTOM) * Math.min(1, Math.max(0, (v - low) / (high - low || 1)));
  const path = (points) => points.map(([t, v]) => `${x(t).toFixed(1)},${y(v).toFixed(1)}`).join(" ");
  const parts = [svg("title", { id: `${id}-title` }, spec.title), svg("desc", { id: `${id}-desc` }, spec.text)];
  for (const tick of spec.ticks) {
    parts.push(svg("line", { class: "grid", x1: left, x2: width - RIGHT, y1: y(tick), y2: y(tick) }));
    parts.push(svg("text", { x: left - 7, y: y(tick) + 4.5, "text-anchor": "end" }, spec.label(tick)));
  }
  for (const t of timeTicks(spec.range, width)) {
    const near = x(t) > width - 24 ? "end" : x(t) < left + 20 ? "start" : "middle";
    parts.push(svg("line", { class: "grid", x1: x(t), x2: x(t), y1: top, y2: height - BOTTOM }));
    parts.push(svg("text", { x: x(t), y: height - 6, "text-anchor": near }, clock(t)));
  }
  for (const b of spec.blocks ?? []) {
    const wide = Math.max(1.5, x(b.to) - x(b.from));
    parts.push(svg("rect", { class: b.style, x: x(b.from), width: wide, y: y(b.high), height: y(b.low) - y(b.high) }));
  }
  for (const band of spec.bands ?? []) {
    const upper = runs(spec.at, band.high, spec.gap), lower = runs(spec.at, band.low, spec.gap);
    upper.forEach((run, i) => parts.push(svg("polygon", { class: band.style, points: `${path(run)} ${path([...lower[i]].reverse())}` })));
  }
  for (const mark of spec.marks ?? []) {
    parts.push(svg("line", { class: mark.style, x1: left, x2: width - RIGHT, y1: y(mark.value), y2: y(mark.value) }));
  }
  for (const line of spec.lines ?? []) {
    for (const run of runs(spec.at, line.values, spec.gap)) {
      const [t, v] = run[run.length - 1];
      parts.push(run.length > 1
        ? svg("polyline", { class: line.style, points: path(run) })
        : svg("circle", { class: "dot-ranker", cx: x(t), cy: y(v), r: 3 }));
    }
  }
  parts.push(...marksOf(spec.events, spec.range, x, TOP, height - BOTTOM));
  if (![...(spec.lines ?? []), ...(spec.blocks ?? [])].some((l) => !l.values || l.values.some((v) => v !== null))) {
    parts.push(svg("text", { x: (left + width) / 2, y: height / 2, "text-anchor": "middle" }, "nothing measured yet"));
  }
  host.replaceChildren(svg("svg", {
    viewBox: `0 0 ${width} ${height}`, width, height, role: "img", "aria-labelledby": `${id}-title ${id}-desc`,
  }, ...parts));
}

/** A table of rows of text; a cell may be an element. The first cell of a row names it; a phone names the others. */
function fill(table, heads, rows) {
  const head = el("thead", {}, el("tr", {}, ...heads.map((h) => (h ? el("th", { scope: "col" }, h) : el("td")))));
  const body = rows.map(([name, ...cells]) => el("tr", {}, el("th", { scope: "row" }, name), ...cells.map((c, i) => el("td", { "data-label": heads[i + 1] }, c))));
  table.replaceChildren(head, el("tbody", {}, ...body));
}

/** At most `most` of so many places, evenly, the last one first. */
function thinned(length, most) {
  const count = Math.min(length, most);
  return Array.from({ length: count }, (_, i) => length - 1 - Math.round((i * (length - 1)) / Math.max(1, count - 1)));
}
