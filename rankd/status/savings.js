// Saved seconds: what ranking did to this traffic against arrival order, in words, as a picture, and who paid.

const MEASURES = { end_to_end: "E2E latency", first_token: "TTFT", per_token: "Time per output token" };
const TONES = { gains: "good", no_gain: "even", loses: "bad", no_queue: "quiet", idle: "idle", learning: "calm", falls_back: "held" };
const CERTAIN = ["gains", "no_gain", "loses"]; // states that are about the present, and have figures

const savingsOf = (state, w) => state.savings?.find((s) => s.model === w.model) ?? null;
const figureOf = (s, measure, statistic) => s?.latencies.find((l) => l.measure === measure && l.statistic === statistic) ?? null;

/** Whether an estimate is surely above 0 (1), surely below (-1), or neither (0). */
const sureSign = (e) => (e.low > 0 ? 1 : e.high < 0 ? -1 : 0);

/** Seconds as a size and a direction, such as "1.8 s sooner". */
function directed(seconds, [plus, minus]) {
  return seconds === 0 ? `0 s ${plus}` : `${lasting(Math.abs(seconds))} ${seconds > 0 ? plus : minus}`;
}

/** The interval of saved seconds in the same words: "1.2 s to 2.3 s", or with both directions where it holds 0. */
function spread(e, sides) {
  if (e.low === e.high) return "exactly";
  const [low, high] = e.value < 0 ? [-e.high, -e.low] : [e.low, e.high];
  if (low >= 0) return `${lasting(low)} to ${lasting(high)}`;
  return `${directed(e.low, sides)} to ${directed(e.high, sides)}`;
}

const SOONER = ["sooner", "later"], LESS = ["less", "more"];
const saidFully = (e, sides) => `${directed(e.value, sides)} (${spread(e, sides)})`;

/** What the figures rest on. */
const restsOn = (s) => `${count(s.completions)} completions${s.from_time && s.to_time ? ` from ${moment(s.from_time)} to ${moment(s.to_time)}` : ""}`;

/** Requests that waited, and who was slower for it. */
function whoPaid(s) {
  if (s.slower_share === null || s.slower_share === undefined) return "";
  return s.slower_share > 0
    ? `${percent(s.slower_share)} of requests ended later than in arrival order, by ${lasting(s.slower_by_seconds)} on average.`
    : "No request ended later than in arrival order.";
}

/** All that was saved so far. */
function inTotal(s) {
  const all = s.total_saved_seconds;
  return all && s.total_since ? ` Since ${moment(s.total_since)}: ${directed(all.value, LESS)} of latency in all (${spread(all, LESS)}), over ${count(s.total_completions)} requests.` : "";
}

/** The headline of a state that has figures: {title, lead}. */
function figuresInWords(s) {
  const mean = figureOf(s, "end_to_end", "mean").saved_seconds, worst = figureOf(s, "end_to_end", "p99")?.saved_seconds;
  const first = figureOf(s, "first_token", "mean")?.saved_seconds;
  const tail = worst && sureSign(worst) ? `, the slowest 1 % ${directed(worst.value, SOONER)}` : "";
  const titles = {
    gains: `Requests end ${directed(mean.value, SOONER)} on average than in arrival order${tail}`,
    loses: `Requests end ${directed(mean.value, SOONER)} on average than in arrival order${tail}`,
    no_gain: `No sure gain: requests end between ${directed(mean.low, SOONER)} and ${directed(mean.high, SOONER)} on average than in arrival order`,
  };
  const parts = [`E2E latency is ${saidFully(mean, LESS)} on average`];
  if (first) parts.push(`TTFT ${saidFully(first, LESS)}`);
  return { title: titles[s.state], lead: `${parts.join(", ")}, with 95 % confidence. Of ${restsOn(s)} ${percent(s.queued_share)} had to wait. ${whoPaid(s)}${inTotal(s)}` };
}

/** The headline of every state but falling back, which the guard explains: {tone, title, lead}. */
function savingsInWords(state, s) {
  const tone = TONES[s.state] ?? "calm", mean = figureOf(s, "end_to_end", "mean");
  if (CERTAIN.includes(s.state) && mean) return { tone, ...figuresInWords(s) };
  if (s.state === "idle") {
    const before = mean ? ` Before that, requests ended ${saidFully(mean.saved_seconds, SOONER)} on average than in arrival order.` : "";
    const since = s.last_completion_at ? `no completion for ${lasting(state.at - s.last_completion_at)}` : "no completion of late";
    return { tone, title: `Idle: ${since}`, lead: `Nothing is known of the present, so nothing is claimed.${before}${inTotal(s)}` };
  }
  if (s.state === "no_queue") {
    return { tone, title: "No queue: there is nothing to gain", lead: `Of ${restsOn(s)} ${s.queued_share ? `only ${percent(s.queued_share)}` : "none"} had to wait. Order matters once requests wait for each other.` };
  }
  if (s.state === "learning") {
    if (!s.completions) return { tone, title: "Learning what ranking saves", lead: "No completion since the start says how long it waited and took (queue_duration, total_duration). rankd proxy cannot see how long requests wait: run a pilot there." };
    return { tone, title: "Learning what ranking saves here", lead: `${count(s.completions)} completions with their durations so far: too few of them can be compared with arrival order yet.` };
  }
  return { tone: "calm", title: "Ranking", lead: "What it saves is not known." };
}

// -- beside a pilot ---------------------------------------------------------------------------------------------------

const METRICS = { mean: "mean E2E latency", p50: "p50 of E2E latency", p90: "p90 of E2E latency", p99: "p99 of E2E latency" };

/** A served model's pilot, where it is under way, or ended within what the figures rest on. */
function pilotOf(state, w, s) {
  const pilot = state.pilots.find((p) => p.model === w.model && !p.shadow && p.effects.length + (p.state === "running") > 0);
  if (!pilot) return null;
  const recent = pilot.state === "running" || !s?.from_time || pilot.ends_at >= s.from_time;
  return recent && pilot.state !== "planned" ? pilot : null;
}

/** What a pilot found, the worst first. */
function pilotFound(pilot) {
  const worse = pilot.effects.filter((e) => e.low !== null && e.low > 1).sort((a, b) => b.ratio - a.ratio);
  const shown = (e) => `${METRICS[e.metric] ?? e.metric} × ${e.ratio.toFixed(2)} (${e.low.toFixed(2)} to ${e.high === null ? "∞" : e.high.toFixed(2)})`;
  const others = pilot.effects.filter((e) => !worse.includes(e));
  return { worse, text: [...worse, ...others].map(shown).join(", ") };
}

/** A headline with what must be known beside it: a pilot under way, and what a pilot surely found worse. */
function besidePilot(said, pilot) {
  if (!pilot) return said;
  const { worse, text } = pilotFound(pilot), arms = `${pilot.treatment} against ${pilot.control}`;
  const running = pilot.state === "running";
  const results = text ? ` With ${pilot.treatment}, over ${pilot.control}: ${text}.` : " No block of it is measured yet.";
  const lead = `${running ? `A pilot is under way: ${arms}, turn about, so figures are of both.` : `A pilot of ${arms} has ended (${words(pilot.state)}).`}${results} ${said.lead}`;
  if (worse.length) {
    const worst = worse[0];
    return { ...said, tone: "bad", title: `${running ? "Pilot under way" : "Pilot ended"}: ${METRICS[worst.metric] ?? worst.metric} is ${worst.ratio.toFixed(2)} times that of ${pilot.control}`, lead: `${lead}` };
  }
  if (!running) return { ...said, lead };
  if (pilot.arm && pilot[pilot.arm] === "fcfs") return { ...said, tone: "calm", title: "Pilot under way: it is the turn of arrival order", lead };
  return { ...said, tone: said.tone === "bad" ? "bad" : "calm", title: `Pilot under way. ${said.title}`, lead };
}

// -- tiles, picture, tables -------------------------------------------------------------------------------------------

/** Tiles: what, figure, more. */
function savingsTiles(s) {
  const until = s?.to_time && !CERTAIN.includes(s.state) ? `until ${moment(s.to_time)}: ` : "";
  return [["end_to_end", "mean"], ["end_to_end", "p99"], ["first_token", "mean"], ["per_token", "mean"]].map(([measure, statistic]) => {
    const l = figureOf(s, measure, statistic), what = `${MEASURES[measure]}, ${statistic}`;
    if (!l) return [what, NONE, "against arrival order: not known"];
    const instead = `${lasting(l.observed_seconds)} instead of ${lasting(l.arrival_order_seconds)} in arrival order`;
    return [what, directed(l.saved_seconds.value, LESS), `${until}${instead}; ${spread(l.saved_seconds, LESS)}`];
  });
}

/** Bars of one measure: observed, and in arrival order with the interval of what was saved. */
function savingsPicture(host, s, measure) {
  const rows = s ? s.latencies.filter((l) => l.measure === measure) : [];
  const width = Math.max(240, host.clientWidth), tall = 62, height = Math.max(1, rows.length) * tall;
  const most = Math.max(1e-9, ...rows.map((l) => Math.max(l.observed_seconds, l.arrival_order_seconds, l.observed_seconds + l.saved_seconds.high)));
  const x = (v) => (width - 12) * Math.min(1, Math.max(0, v / most));
  // What is of the past is neither good nor bad news.
  const present = s && [...CERTAIN, "no_queue"].includes(s.state), styles = { 1: "bar-less", 0: "bar-same", "-1": "bar-more" };
  const parts = rows.flatMap((l, i) => {
    const top = i * tall, e = l.saved_seconds, middle = top + 47;
    return [
      svg("text", { class: "strong", x: 0, y: top + 14 }, l.statistic),
      svg("text", { x: width - 4, y: top + 14, "text-anchor": "end" }, directed(e.value, LESS)),
      svg("rect", { class: present ? styles[sureSign(e)] : "bar-same", x: 0, y: top + 22, width: Math.max(1.5, x(l.observed_seconds)), height: 14 }),
      svg("rect", { class: "bar-arrival", x: 0, y: top + 40, width: Math.max(1.5, x(l.arrival_order_seconds)), height: 14 }),
      svg("line", { class: "whisker-arrival", x1: x(l.observed_seconds + e.low), x2: x(l.observed_seconds + e.high), y1: middle, y2: middle }),
    ];
  });
  if (!rows.length) parts.push(svg("text", { x: width / 2, y: tall / 2, "text-anchor": "middle" }, "nothing measured yet"));
  const told = rows.map((l) => `${l.statistic} ${lasting(l.observed_seconds)}, in arrival order ${lasting(l.arrival_order_seconds)}`).join("; ");
  host.replaceChildren(svg("svg", { viewBox: `0 0 ${width} ${height}`, width, height, role: "img", "aria-labelledby": `${host.id}-title ${host.id}-desc` },
    svg("title", { id: `${host.id}-title` }, `${MEASURES[measure]}, observed and in arrival order`), svg("desc", { id: `${host.id}-desc` }, told || "Nothing measured yet."), ...parts));
}

/** The card "What ranking saves". */
function showSavings(state, w) {
  const s = savingsOf(state, w);
  for (const measure of Object.keys(MEASURES)) savingsPicture($(`saved-${measure}`), s, measure);
  fill($("table-saved"), ["latency", "observed", "in arrival order", "saved", "95 % interval"], (s?.latencies ?? []).map((l) => [
    `${MEASURES[l.measure] ?? words(l.measure)}, ${l.statistic}`, lasting(l.observed_seconds), lasting(l.arrival_order_seconds),
    directed(l.saved_seconds.value, LESS), spread(l.saved_seconds, LESS),
  ]));
  const payers = s?.payers ?? [];
  $("payers").hidden = !payers.length;
  fill($("table-payers"), ["requests", "completions", "E2E latency, mean", "95 % interval"], payers.map((p) => [
    p.label, count(p.completions), directed(p.saved_seconds.value, LESS), spread(p.saved_seconds, LESS),
  ]));
  say($("saved-note"), s?.latencies.length ? `${whoPaid(s)} Figures rest on ${restsOn(s)}.${inTotal(s)}` : "Not known yet: it takes completions with their durations (queue_duration, total_duration).");
  const series = state.history.window, range = rangeOf(state);
  const known = ["saved", "saved_low", "saved_high"].flatMap((name) => series[name] ?? []).filter((v) => v !== null);
  const ticks = ticksAround(Math.min(0, ...known), Math.max(0, ...known));
  chart($("chart-saved"), {
    title: `Saved per request on average for ${nameOf(w)} over time, seconds`,
    text: "E2E latency in arrival order less what was observed; the table under How good is the order has figures over time.",
    height: 190, left: WIDE, range, at: series.at, gap: 2.5 * state.history.every, ticks, label: (v) => (v === 0 ? "0 s" : `${v < 0 ? "−" : ""}${lasting(Math.abs(v))}`),
    bands: [{ low: series.saved_low ?? [], high: series.saved_high ?? [], style: "fill-ranker" }],
    marks: [{ value: 0, style: "line-chance" }],
    lines: [{ values: series.saved ?? [], style: "line-ranker" }],
    events: eventsOf(state, w),
  });
}

/** Round ticks around values of either sign. */
function ticksAround(low, high) {
  const step = ticksTo(Math.max(high - low, 1e-6))[1];
  const first = Math.floor(low / step + 1e-9), last = Math.ceil(high / step - 1e-9);
  return Array.from({ length: Math.max(2, last - first + 1) }, (_, i) => (first + i) * step);
}
