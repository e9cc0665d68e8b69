// The page itself: asks for /status.json every few seconds while it is looked at, and shows what it gets.

const SCHEMA = 1;
const PERIOD = 2000, PATIENCE = 5000; // milliseconds
const ROWS = 12, FEW = 8;
const WIDE = 84; // room for the names of modes, also beside tau, so that both pictures have one time axis
const $ = (id) => document.getElementById(id);

const wanted = new URLSearchParams(location.hash.slice(1));
let chosen = wanted.get("window") ?? "", span = wanted.get("span") === "long" ? "long" : "short";
let shown = null, lostAt = null, paused = false, timer = 0, asking = null, listed = 0;

/** Set text only where it changes: what is read aloud is read once, and what is selected stays selected. */
function say(node, text) {
  if (node.textContent !== text) node.textContent = text;
}

// -- at a glance ------------------------------------------------------------------------------------------------------

function showVerdict(state, w) {
  const told = verdict(state, w), { version, started_at: started } = state.rankd;
  say($("about"), `rankd ${version} · up ${lasting(state.at - started)} · ${w.model ? `model ${nameOf(w)}` : "any model"}`);
  say($("verdict"), told.title);
  say($("lead"), told.lead);
  document.body.dataset.tone = told.tone;
  document.title = `rankd: ${told.title}`;
  $("next").hidden = !told.todo.length;
  const steps = told.todo.map((parts) => el("li", {}, ...parts.map((text, i) => (i % 2 ? el("code", {}, text) : text))));
  if ($("todo").textContent !== steps.map((s) => s.textContent).join("")) $("todo").replaceChildren(...steps);
}

function showTiles(host, tiles) {
  host.replaceChildren(...tiles.map(([what, figure, more]) =>
    el("div", { class: "tile" }, el("span", { class: "what" }, what), el("span", { class: "figure" }, figure), el("span", { class: "more" }, more))));
}

function orderTiles(state, w) {
  const { traffic, history } = state, last = (name) => history.traffic[name].at(-1), share = last("not_ranked_share");
  const undecided = w.decided_pair_share === null ? "" : `, ${percent(w.decided_pair_share)} of pairs decided`;
  const gain = w.prompt_work_tau ? w.realised_work_gain : w.realised_gain, taught = learned(w.learned);
  return [
    w.prompt_work_tau
      ? ["Tau of work", tau(w.work_tau?.value), `${between(w.work_tau)}; prompts alone ${tau(w.prompt_work_tau.value)}, answers alone ${tau(w.tau?.value)}; ${count(w.cohort_size)} requests`]
      : ["Tau", tau(w.tau?.value), w.tau ? `${between(w.tau)}; ${count(w.cohort_size)} requests${undecided}` : `${count(w.completions)} completions so far`],
    ["Realised gain", percent(gain?.value), gain ? `${percent(gain.low)} to ${percent(gain.high)} of a perfect order's` : "of a perfect order's"],
    ...(taught ? [["Learned", taught.figure, taught.more]] : []),
    ["Guard", MODES[w.guard.mode], w.guard.since ? `since ${moment(w.guard.since)}` : WHY[w.guard.reason] ?? words(w.guard.reason)],
    ["Answers per second", rate(last("answers_per_second")), `${share === null || share === undefined ? "none of late" : `${percent(share)} in arrival order`}; ${count(traffic.answers)} since the start`],
  ];
}

function showChoice(state) {
  const select = $("window"), options = state.windows.map((w) => [w.id, titleOf(w)]);
  $("window-label").hidden = options.length < 2;
  if (JSON.stringify(options) !== select.dataset.options) {
    select.dataset.options = JSON.stringify(options);
    select.replaceChildren(...options.map(([value, text]) => el("option", { value }, text)));
  }
  select.value = state.history.window_id;
  for (const button of document.querySelectorAll("[data-span]")) {
    button.setAttribute("aria-pressed", String(button.dataset.span === span));
    say(button, `last ${lasting(state.settings.spans[button.dataset.span])}`);
  }
}

// -- over time --------------------------------------------------------------------------------------------------------

/** The times that pictures show: as far back as there is anything, at least a tenth of the span and two minutes. */
function rangeOf({ at, history }) {
  const most = history.every * history.points, first = Math.min(history.traffic.at[0] ?? at, history.window.at[0] ?? at);
  return [Math.max(at - Math.max(most, 120), Math.min(first, at - most / 10, at - 120)), at];
}

function showQuality(state, w) {
  const { settings, history } = state, series = history.window, range = rangeOf(state);
  const least = Math.min(0, ...series.work_tau_low.filter((v) => v !== null), ...series.gain.filter((v) => v !== null));
  const low = Math.floor(least * 4) / 4;
  const marks = [{ value: settings.floor, style: "line-chance" }];
  if (settings.ceiling) marks.push({ value: settings.ceiling, style: "line-mark" });
  chart($("chart-tau"), {
    title: `Tau and realised gain of ${nameOf(w)} over time`,
    text: w.work_tau
      ? `Tau is now ${tau(w.work_tau.value)}, interval ${between(w.work_tau)}; the floor is ${tau(settings.floor)}, the ceiling ${tau(settings.ceiling)}. The table below has the figures.`
      : "Nothing is known yet.",
    height: 260, left: WIDE, range, at: series.at, gap: 2.5 * history.every, label: (v) => v.toFixed(2),
    ticks: Array.from({ length: Math.round((1 - low) * 4) + 1 }, (_, i) => low + i / 4),
    bands: [{ low: series.work_tau_low, high: series.work_tau_high, style: "fill-ranker" }],
    marks,
    lines: [{ values: series.gain, style: "line-gain" }, { values: series.work_tau, style: "line-ranker" }],
    events: eventsOf(state, w),
  });
  showModes(w, range, state.rankd.started_at);
  const said = judged(state, w);
  say($("order-said"), `${said.title}. ${said.lead}`);
  const rows = thinned(series.at.length, ROWS).map((i) => [
    moment(series.at[i]), tau(series.work_tau[i]), series.work_tau[i] === null ? NONE : `${tau(series.work_tau_low[i])} to ${tau(series.work_tau_high[i])}`, tau(series.tau[i]),
    percent(series.gain[i]), series.gain[i] === null ? NONE : `${percent(series.gain_low[i])} to ${percent(series.gain_high[i])}`, tau(series.trust[i]),
  ]);
  fill($("table-tau"), ["time", "tau", "interval", "of answers alone", "realised gain", "interval", "trust"], rows);
}

/** The guard's modes as blocks, from its changes: before the first one that is known it was in what that one left. */
function showModes(w, range, started) {
  const { changes, mode } = w.guard, level = { fallback: 0, warming_up: 1, ranked: 2 };
  const starts = [[Math.max(range[0], started), changes[0]?.from ?? mode], ...changes.map((c) => [c.at, c.to])];
  const blocks = starts.flatMap(([from, name], i) => {
    const to = Math.min(starts[i + 1]?.[0] ?? range[1], range[1]);
    return to <= range[0] ? [] : [{ from: Math.max(from, range[0]), to, low: level[name] - 0.3, high: level[name] + 0.3, style: `mode-${name}` }];
  });
  chart($("chart-mode"), {
    title: `The guard's mode for ${nameOf(w)} over time`,
    text: `It is now ${MODES[mode]}; ${changes.length ? "its changes are listed under guard history" : "it did not change"}.`,
    height: 116, left: WIDE, range, at: [], gap: 0, ticks: [-0.5, 0, 1, 2, 2.5], blocks,
    label: (v) => ["fallback", "warming up", "ranked"][v] ?? "",
  });
}

function showGuard(w) {
  const { guard } = w, pinned = guard.pinned_until ? ` until ${moment(guard.pinned_until)}` : "";
  say($("guard-now"), `${MODES[guard.mode]}${pinned}: ${WHY[guard.reason] ?? words(guard.reason)}.`);
  const events = guard.changes.slice(-ROWS).reverse().map((c) =>
    el("li", {}, el("time", { datetime: new Date(c.at * 1000).toISOString() }, moment(c.at)), ` ${MODES[c.from]} → `, el("b", {}, MODES[c.to]), `: ${WHY[c.reason] ?? words(c.reason)}`));
  const left = guard.transitions - events.length;
  if (left > 0) events.push(el("li", {}, `${count(left)} before these`));
  $("guard-changes").replaceChildren(...(events.length ? events : [el("li", {}, "No change so far.")]));
}

function showTraffic(state, w) {
  const { history, traffic } = state, series = history.traffic, range = rangeOf(state);
  for (const [name, what] of [["answers", "Answers"], ["items", "Requests in answers"], ["completions", "Completions"]]) {
    const values = series[`${name}_per_second`];
    chart($(`chart-${name}`), {
      title: `${what} per second over time`, text: `Now ${rate(values.at(-1))} per second.`,
      height: 150, range, at: series.at, gap: 2.5 * history.every, ticks: ticksTo(Math.max(1, ...values)), label: (v) => (Number.isInteger(v) ? count(v) : v.toFixed(1)),
      lines: [{ values, style: "line-ranker" }], events: eventsOf(state, w),
    });
  }
  say($("traffic-note"), `Since the start: ${count(traffic.answers)} answers with ${count(traffic.items)} requests, ${count(traffic.unscored)} of them without a score; `
    + `${count(traffic.completions.accepted ?? 0)} completions, and ${count(traffic.progress_reports.accepted ?? 0)} progress reports of requests under way. ${count(traffic.queued_prompts)} prompts wait for the ranker now.`);
  fill($("table-traffic"), ["time", "answers/s", "in arrival order", "requests/s", "unscored", "completions/s", "progress reports/s", "prompts waiting"], thinned(series.at.length, ROWS).map((i) => [
    moment(series.at[i]), rate(series.answers_per_second[i]), percent(series.not_ranked_share[i]), rate(series.items_per_second[i]),
    percent(series.unscored_share[i]), rate(series.completions_per_second[i]), rate(series.progress_reports_per_second[i]), count(series.queued_prompts[i]),
  ]));
}

// -- the rest ---------------------------------------------------------------------------------------------------------

function pairs(host, rows) {
  host.replaceChildren(...rows.flatMap(([name, value]) => [el("dt", {}, name), el("dd", {}, value)]));
}

function showOrder(state, { order, guard }) {
  const log = { written: "written", failing: "failing: see the daemon's log" };
  pairs($("order"), [
    ["Ordered for", order.objective + (order.objective === "slo" ? `: ${state.settings.slo}` : "")],
    ["What that gains", gains(order)],
    ["Ordered by", orderedBy(state, order, guard)],
    ["Policy", order.policy + (order.reason === "none" || order.ignores_lengths ? "" : `, not ${state.settings.policy}: ${words(order.reason)}`)],
    ["Trust", guard.ranking ? percent(order.trust) : `${percent(0)}: not ranking`],
    ["Patience", order.patience_per_token === null ? NONE : order.patience_per_token === 0 ? "none: arrival order" : `${lasting(order.patience_per_token)} a token`],
    ["Patience, as tuned", order.tuned_patience_per_token === null ? "not yet: completions with their durations are needed" : `${lasting(order.tuned_patience_per_token)} a token at full trust`],
    ["A prompt token counts for", `${counted(order.prompt_token_cost)} output tokens, ${state.settings.prompt_cost_is_learned ? (order.costs ? "as learned" : "until it is learned") : "as set"}`],
    ["The engine takes", order.costs ? costs(order.costs) : "not learned yet: completions with prompt counts and durations are needed"],
    ["Mean wait of late", order.mean_wait === null ? "not reported" : lasting(order.mean_wait)],
    ["Served", order.tokens_per_second === null ? "not known yet" : `${rate(order.tokens_per_second)} tokens/s`],
    ["Completion log", log[state.completion_log] ?? "off"],
  ]);
}

/** What each objective would make of recent traffic, beside the one that is followed. */
function showObjectives({ order }) {
  const slo = order.outcomes.some((o) => o.slo_share !== null);
  $("objectives-card").hidden = !order.outcomes.length;
  fill($("objectives"), ["objective", "mean", "p99", "first token", ...(slo ? ["within the target"] : [])], order.outcomes.map((o) => [
    o.objective === order.objective ? el("b", {}, `${o.objective}, followed`) : o.objective, ratio(o.mean_ratio), ratio(o.p99_ratio), ratio(o.first_token_ratio),
    ...(slo ? [`${percent(o.slo_share)}, ${percent(o.arrival_slo_share)} by arrival`] : []),
  ]));
  say($("objectives-note"), `Latencies over those of arrival order, by replaying ${replayed(order)}. Below 1 is faster.`);
}

/** A bar beside a figure: its length is the share. */
function bar(share) {
  const shape = svg("svg", { viewBox: "0 0 100 8", class: "share", "aria-hidden": "true", preserveAspectRatio: "none" },
    svg("rect", { class: "track-bar", width: 100, height: 8 }), svg("rect", { class: "share-bar", width: 100 * share, height: 8 }));
  return el("span", { class: "shared" }, percent(share), shape);
}

/** In what order an answer was, by its policy and its reason. */
function orderName({ policy, reason }) {
  if (policy === "fcfs") return "arrival order";
  return reason === "guard" ? `by prompts alone (${policy})` : `ranked (${policy})`;
}

function showReasons({ traffic }) {
  const rows = [...traffic.answers_by].sort((a, b) => b.answers - a.answers);
  fill($("reasons"), ["order", "why", "answers", "share"], rows.length
    ? rows.map((r) => [orderName(r), r.reason === "none" ? "as set" : words(r.reason), count(r.answers), bar(r.answers / traffic.answers)])
    : [["none yet", NONE, "0", NONE]]);
  const reports = Object.entries(traffic.completions).concat(Object.entries(traffic.progress_reports));
  const others = Object.entries(reports.reduce((sum, [outcome, n]) => ({ ...sum, [outcome]: (sum[outcome] ?? 0) + n }), {})).filter(([outcome]) => outcome !== "accepted").map(([outcome, n]) => `${count(n)} ${words(outcome)}`);
  const refused = traffic.rate_limited ? ` ${count(traffic.rate_limited)} calls were beyond their rate.` : "";
  const failed = traffic.failed_batches ? ` ${count(traffic.failed_batches)} batches failed.` : "";
  say($("reports-note"), `Since the start: ${count(traffic.completions.accepted ?? 0)} completions accepted, ${count(traffic.progress_reports.accepted ?? 0)} progress reports accepted${others.length ? `; of both ${others.join(", ")}` : ""}.${failed}${refused}`);
}

function showStages({ stages }) {
  fill($("stages"), ["stage", "p50", "p90", "p99"], stages.map((s) => [s.stage, lasting(s.p50), lasting(s.p90), lasting(s.p99)]));
}

// Its graph's precision; and whether the GPU has no kernels for it.
function runsOn({ provider, precision, cpu_products: products }) {
  const left = Object.entries(products).map(([operator, n]) => `${count(n)} × ${operator}`);
  return [provider, precision, left.length ? `no CUDA kernel for ${left.join(", ")}` : null].filter(Boolean).join(", ");
}

const CHOICES = { setting: "it was named when the daemon started (--ranker, RANKD_RANKER)", promoted: "it was promoted", fallen_back: "the one promoted last cannot be loaded", bundled: "nothing was named or promoted" };

function showRankers({ rankers, service, events }) {
  const apart = service.follows_promotion ? "" : ` The registry says that ${service.promoted} was promoted last: it is not in service here.`;
  const changed = events.some((e) => e.kind === "promoted" || e.kind === "rolled_back");
  say($("service-said"), `${service.choice && !changed ? `In service because ${CHOICES[service.choice] ?? words(service.choice)}.` : ""}${apart}${service.history_trouble ? ` ${service.history_trouble}` : ""}`);
  fill($("rankers"), ["ranker", "role", "runs on", "of its time on the GPU", "tau when made", "waiting", "in the shadow"], rankers.map((r) => [
    r.version, ROLES[r.role] ?? words(r.role), runsOn(r), percent(r.device_share), tau(r.measured_tau), count(r.queued_prompts),
    r.shadow ? `${count(r.shadow.scored)} scored, ${count(r.shadow.completions)} completions, ${count(r.shadow.dropped)} left out` : NONE,
  ]));
}

function showModels({ windows, windows_left_out: left }) {
  if (windows.length !== listed) $("models-all").open = windows.length <= FEW;
  listed = windows.length;
  $("models-card").hidden = listed < 2;
  const modes = Object.keys(MODES).map((mode) => [windows.filter((w) => w.guard.mode === mode).length, MODES[mode]]);
  say($("models-sum"), `${count(listed)}: ${modes.filter(([n]) => n).map(([n, mode]) => `${count(n)} ${mode}`).join(", ")}`);
  fill($("models"), ["served model", "ranker", "guard", "tau", "interval", "realised gain", "trust", "completions"], windows.map((w) => [
    nameOf(w), w.ranker_version, MODES[w.guard.mode], tau(w.tau?.value), between(w.tau), percent(w.realised_gain?.value), percent(w.order.trust), count(w.completions),
  ]));
  say($("models-note"), left ? `${count(left)} more are followed but not listed (page.windows).` : "");
}

function showTenants({ tenants, other_tenants: others }) {
  const rows = tenants.map((t) => [clean(t.tenant) || "(unnamed)", t]);
  if (others.answers) rows.push(["(others)", others]);
  $("tenants-card").hidden = !tenants.some((t) => t.tenant) && !others.answers;
  const all = rows.reduce((sum, [, t]) => sum + t.items, 0);
  fill($("tenants"), ["tenant", "answers", "new requests", "requests in answers", "without a score", "share of requests"], rows.map(([name, t]) => [
    name, count(t.answers), count(t.scored), count(t.items), count(t.unscored), bar(t.items / Math.max(1, all)),
  ]));
}

function showPilots({ pilots }) {
  $("pilots-card").hidden = !pilots.length;
  $("pilots").replaceChildren(...pilots.flatMap((p) => {
    const table = el("table", { class: "stack" });
    fill(table, ["latency", p.control, p.treatment, "ratio", "95 % interval"], p.effects.map((e) => [
      e.metric, lasting(e.control), lasting(e.treatment), e.ratio.toFixed(2), `${e.low.toFixed(2)} to ${e.high === null ? "∞" : e.high.toFixed(2)}`,
    ]));
    const arm = p.arm ? `, now by ${p[p.arm]}` : "", shadow = p.shadow ? "; in the shadow: nothing is treated" : "";
    const what = `${p.treatment} against ${p.control}: ${p.state}${arm}, ${p.blocks_measured} of ${p.blocks} blocks known, ${count(p.requests)} requests${shadow}${p.reason ? `; ${p.reason}` : ""}.`;
    return [el("h3", {}, clean(p.model) || "any model"), el("p", {}, what), ...(p.effects.length ? [el("div", { class: "scroll" }, table)] : [])];
  }));
}

function show(state) {
  const w = state.windows.find((one) => one.id === state.history.window_id);
  $("plain").hidden = true;
  $("live").hidden = $("bar").hidden = false;
  showVerdict(state, w);
  showChoice(state);
  showTiles($("tiles"), savingsTiles(savingsOf(state, w)));
  showTiles($("order-tiles"), orderTiles(state, w));
  showSavings(state, w);
  showEvents(state, w);
  showQuality(state, w);
  showGuard(w);
  showOrder(state, w);
  showObjectives(w);
  showTraffic(state, w);
  showReasons(state);
  showStages(state);
  showRankers(state);
  showModels(state);
  showTenants(state);
  showPilots(state);
}

// -- keeping up -------------------------------------------------------------------------------------------------------

function found(state) {
  const restarted = shown && state.rankd.started_at !== shown.rankd.started_at;
  const other = state.schema !== SCHEMA || (shown && state.rankd.version !== shown.rankd.version);
  document.body.dataset.link = "up";
  if (other) say($("link"), "The daemon is another version now: load the page anew.");
  else if (restarted) say($("link"), `Restarted at ${toTheSecond(state.rankd.started_at)}: histories begin anew.`);
  else if (lostAt || !shown) say($("link"), "Live");
  lostAt = null;
  say($("updated"), `figures of ${toTheSecond(state.at)}`);
  shown = state;
  if (state.schema === SCHEMA) show(state);
}

function lost() {
  lostAt ??= Date.now() / 1000;
  $("bar").hidden = false;
  document.body.dataset.link = "down";
  say($("link"), `Not reachable since ${toTheSecond(lostAt)}; trying again`);
}

async function ask() {
  clearTimeout(timer);
  asking?.abort();
  const mine = (asking = new AbortController());
  const late = setTimeout(() => mine.abort(), PATIENCE);
  try {
    const query = new URLSearchParams({ window: chosen, span });
    const answer = await fetch(`status.json?${query}`, { signal: mine.signal, cache: "no-store" });
    if (!answer.ok) throw new Error(String(answer.status));
    const state = await answer.json();
    if (mine === asking) found(state);
  } catch {
    if (mine === asking) lost();
  } finally {
    clearTimeout(late);
    if (mine === asking && !paused && !document.hidden) timer = setTimeout(ask, PERIOD);
  }
}

function choose() {
  history.replaceState(null, "", `#${new URLSearchParams({ window: chosen, span })}`);
  ask();
}

$("window").addEventListener("change", (event) => { chosen = event.target.value; choose(); });
for (const button of document.querySelectorAll("[data-span]")) {
  button.addEventListener("click", () => { span = button.dataset.span; choose(); });
}
$("pause").addEventListener("click", () => {
  paused = !paused;
  $("pause").setAttribute("aria-pressed", String(paused));
  document.body.dataset.link = paused ? "paused" : "up";
  say($("link"), paused ? "Paused" : "Live");
  if (paused) clearTimeout(timer); else ask();
});
document.addEventListener("visibilitychange", () => { if (document.hidden) clearTimeout(timer); else if (!paused) ask(); });
let resizing = 0;
addEventListener("resize", () => { cancelAnimationFrame(resizing); resizing = requestAnimationFrame(() => { if (shown) show(shown); }); });
ask();
