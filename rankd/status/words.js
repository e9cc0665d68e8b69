// Figures as people read them, and the state of a served model in a sentence.

const NONE = "–";
const MODES = { warming_up: "warming up", ranked: "ranked", fallback: "fallback" };
const WHY = {
  no_evidence: "nothing was reported yet",
  warmed_up: "enough completions, and it orders well enough",
  followed: "the fleet's guard decided so",
  quality: "tau was surely below the floor",
  errors: "batches failed",
  latency: "scoring took too long",
  recovered: "what was wrong has ended",
  pinned: "an administrator fixed the mode",
  unpinned: "the pin ended",
  judged: "it was just judged on recent completions",
};
const ROLES = { in_service: "in service", previous: "previous", shadow: "shadow", loaded: "loaded, idle" };

const number = new Intl.NumberFormat("en", { maximumFractionDigits: 0 });
const times = new Intl.DateTimeFormat(undefined, { hour: "2-digit", minute: "2-digit", hourCycle: "h23" });
const seconds = new Intl.DateTimeFormat(undefined, { hour: "2-digit", minute: "2-digit", second: "2-digit", hourCycle: "h23" });
const days = new Intl.DateTimeFormat(undefined, { month: "short", day: "numeric" });

const words = (name) => name.replaceAll("_", " ");
const count = (n) => number.format(n);
/** So many digits, and never a minus before nothing. */
const fixed = (v, digits) => v.toFixed(digits).replace(/^-(?=[0.]+$)/, "");
const tau = (v) => (v === null || v === undefined ? NONE : fixed(v, 2));
const percent = (share) => (share === null || share === undefined ? NONE : `${fixed(100 * share, share > 0 && share < 0.1 ? 1 : 0)} %`);
const between = (b) => (b ? `${tau(b.low)} to ${tau(b.high)}` : NONE);
const clock = (t) => times.format(new Date(t * 1000));
const toTheSecond = (t) => seconds.format(new Date(t * 1000));

/** A rate, with as many digits as it needs. */
const rate = (v) => (v === null || v === undefined ? NONE : v >= 100 ? count(v) : v >= 10 ? v.toFixed(0) : v.toFixed(v > 0 && v < 1 ? 2 : 1));

/** A ratio, two digits. */
const ratio = (v) => (v === null || v === undefined ? NONE : v.toFixed(2));
/** So many output tokens. */
const counted = (v) => String(Number(v.toPrecision(2)));
const replayed = (order) => (order.replayed ? `the last ${count(order.replayed)} completions` : "recent completions");

/** What the objective that is followed gains, live. */
function gains(order) {
  const found = order.outcomes.find((o) => o.objective === order.objective);
  if (!found) return "not known yet: it takes some hundred completions with their durations";
  const kept = found.slo_share === null ? "" : `, ${percent(found.slo_share)} within the SLO instead of ${percent(found.arrival_slo_share)}`;
  return `replaying ${replayed(order)}, mean E2E latency ${ratio(found.mean_ratio)} times that of arrival order, p99 ${ratio(found.p99_ratio)} times${kept}`;
}

/** What was learned of the traffic, and whether it orders: {figure, more}. */
function learned(l) {
  if (!l) return null;
  const says = {
    learning: "too few completions to say whether it orders better",
    not_better: "not better yet: the ranker's own scores are used",
    in_use: l.in_use ? `in use${l.since ? ` since ${moment(l.since)}` : ""}` : "better, and comes into use when no pilot is under way",
    stepped_back: `stepped back${l.since ? ` at ${moment(l.since)}` : ""}: traffic changed`,
  };
  const compared = l.difference ? `tau ${tau(l.learned_tau?.value)} against the ranker's ${tau(l.base_tau?.value)} (difference ${between(l.difference)}); ` : "";
  const figure = l.difference ? `${l.difference.value < 0.005 ? "" : "+"}${tau(l.difference.value)}` : NONE;
  return { figure, more: `${compared}${says[l.state] ?? words(l.state)}; from ${count(l.completions)} completions${l.left_out ? `, ${count(l.left_out)} left out` : ""}` };
}

/** What decides who goes first. */
function orderedBy(state, order, guard) {
  if (order.policy === "fcfs" || (!guard.ranking && state.settings.guard_enabled)) return "arrival";
  if (order.ignores_lengths) return "prompt lengths alone: the ranker's scores do not improve that order";
  return order.prompt_token_cost > 0 ? "expected work: answers, and prompts where they are counted" : "expected answers";
}

/** What the engine takes, with intervals. */
function costs(c) {
  const of = (e, what) => `${lasting(e.value)} (${lasting(e.low)} to ${lasting(e.high)}) ${what}`;
  return `${of(c.per_prompt_token, "a prompt token")}, ${of(c.per_output_token, "an output token")}; ${rate(c.running)} requests run at a time`;
}

/** A time with its day, where that is not today. */
function moment(t) {
  const at = new Date(t * 1000);
  return at.toDateString() === new Date().toDateString() ? toTheSecond(t) : `${days.format(at)}, ${clock(t)}`;
}

function lasting(s) {
  if (s === null || s === undefined) return NONE;
  if (s === 0) return "0 s";
  if (s < 0.00095) return `${(s * 1e6).toFixed(0)} µs`;
  if (s < 0.95) return `${s * 1000 < 9.5 ? (s * 1000).toFixed(1) : (s * 1000).toFixed(0)} ms`;
  if (s < 90) return `${s < 9.5 ? s.toFixed(1) : s.toFixed(0)} s`;
  if (s < 5400) return `${(s / 60).toFixed(0)} min`;
  return s < 172800 ? `${(s / 3600).toFixed(s < 34200 && s % 3600 ? 1 : 0)} h` : `${(s / 86400).toFixed(0)} days`;
}

/** A name as a caller chose it, without signs that would turn the text around it. */
const clean = (name) => name.replace(/[\u0000-\u001f\u007f-\u009f\u200e\u200f\u202a-\u202e\u2066-\u2069]/g, "\ufffd");
const nameOf = (w) => clean(w.model) || "models without reports";

/** What a window is called in a choice: its ranker where that is not in service, and its mode where it does not rank. */
const titleOf = (w) => [nameOf(w), ...(w.in_service ? [] : [w.ranker_version]), ...(w.guard.ranking ? [] : [MODES[w.guard.mode]])].join(" · ");

/** The state in a headline, a sentence or two, and what to do about it: {tone, title, lead, todo}. */
function verdict(state, w) {
  const said = standing(state, w), failing = state.files.filter((f) => f.failing_for !== null);
  if (!failing.length) return said;
  const names = failing.flatMap((f, i) => [i ? ", " : "", f.setting]);
  return { ...said, tone: "bad", todo: [["A file cannot be read, or is wrong, and what it held before is still in force (a withdrawn token, too): ", ...names, ". The daemon's log says why."], ...said.todo] };
}

function standing(state, w) {
  if (!state.ready) {
    return { tone: "bad", title: `Not ready: ${state.reason}`, lead: "Calls under way are finished, new ones are refused: send them to another replica.", todo: [] };
  }
  if (!state.traffic.answers && !w.completions) {
    return {
      tone: "calm", title: "Ready, and nobody has asked yet",
      lead: "Send it the queue of an engine, and it answers with the order to serve it in.",
      todo: [
        ["Try it from a terminal on this machine: ", "rankd rank prompts.txt", " with one prompt a line."],
        ["Let an engine ask: ", "rankd_vllm.RankMiddleware", " for vLLM, or the Python client's ", "RankClient(target).rank(prompts)", "."],
        ["Let it report what each request produced (", "client.report(…)", "; the vLLM plug-in does by itself). Then this page shows how well the ranker orders."],
      ],
    };
  }
  const s = savingsOf(state, w);
  if (!w.completions) return unreported(w, s);
  return w.in_service ? besidePilot(foremost(state, w, s), pilotOf(state, w, s)) : judged(state, w);
}

/** What is said first: saved seconds, or why requests are served in arrival order. */
function foremost(state, w, s) {
  const order = judged(state, w), ranks = w.guard.ranking || !state.settings.guard_enabled;
  if (!s) return order;
  if (s.state === "falls_back" || !ranks) return { ...order, tone: "held" };
  const said = { ...savingsInWords(state, s), todo: [] }, notable = ["bad", "held"].includes(order.tone);
  if (s.state === "learning" && notable) return order;
  return notable || w.guard.pinned_until ? { ...said, lead: `${said.lead} ${order.title}. ${order.lead}` } : said;
}

/** Without a completion of this ranker; where the model has savings, others were reported, of the one before. */
function unreported(w, s) {
  const none = s ? "this ranker has no completions yet" : "no completion was reported";
  return {
    tone: w.guard.ranking ? "calm" : "bad",
    title: `${w.guard.ranking ? "Ranking on trust" : "Arrival order"}: ${none}`,
    lead: w.guard.ranking
      ? "The ranker orders the queue because it did well on the data it was measured on. How well it orders this traffic is not known."
      : "The ranker in service was never measured, so it orders nothing until completions show what it is worth.",
    todo: [
      ["Report what each request produced: ", "client.report([Completed(request_id, prediction, output_tokens=…, finish_reason=\"stop\")])", ". The vLLM plug-in does by itself."],
      ["Report those that still run too, with ", "finish_reason=\"in_progress\"", ": without them long answers are undercounted."],
    ],
  };
}

function ofCeiling(value, ceiling) {
  if (!ceiling || value <= 0) return "";
  return value > ceiling ? `, above what is typical as a ceiling, ${tau(ceiling)}` : `, ${percent(value / ceiling)} of the ceiling of ${tau(ceiling)}`;
}

function judged(state, w) {
  const { guard, order } = w, settings = state.settings;
  // What the guard decides on: of work, where prompts count.
  const decisive = w.prompt_work_tau ? w.work_tau : w.tau, what = w.prompt_work_tau ? "tau of work" : "tau";
  const known = decisive ? `${what} is ${tau(decisive.value)} (${between(decisive)})` : "tau is not known yet";
  const share = w.tau && !w.prompt_work_tau ? ofCeiling(w.tau.value, settings.ceiling) : "";
  const since = guard.since ? ` since ${moment(guard.since)}` : "";
  const late = w.progress_seen ? "" : " Only requests that ended are reported: report those that still run too, or long answers are undercounted.";
  if (!w.in_service) {
    return { tone: "calm", title: `${w.ranker_version} is not in service`, lead: `For ${nameOf(w)} its ${known}${share}, from ${count(w.completions)} completions.`, todo: [] };
  }
  if (!settings.guard_enabled) {
    return { tone: "bad", title: "Ranking whatever the quality", lead: `The guard is off (guard.enabled = false); ${known}${share}.`, todo: [] };
  }
  if (guard.pinned_until) {
    return { tone: "calm", title: `Pinned: ${MODES[guard.mode]}`, lead: `An administrator fixed the mode until ${moment(guard.pinned_until)}; ${known}${share}.`, todo: [] };
  }
  if (guard.mode === "fallback") {
    const back = guard.reason === "quality"
      ? `It ranks again once tau is surely above ${tau(settings.return_above)}. A ranker trained on your own log does better: rankd train.`
      : "It ranks again once batches have succeeded in a row for a while.";
    const title = order.ignores_lengths ? "Ordered by prompt lengths alone: the ranker is not trusted" : "Arrival order: the ranker is not trusted";
    const alone = order.ignores_lengths ? ` Prompt lengths order well by themselves (tau of work ${tau(w.prompt_work_tau?.value)}), so the shortest prompt goes first.` : "";
    return { tone: "held", title, lead: `In fallback${since}: ${WHY[guard.reason] ?? words(guard.reason)}. Now ${known}${share}.${alone} ${back}`, todo: [] };
  }
  if (guard.mode === "warming_up") {
    const how = guard.ranking ? "Meanwhile it ranks: its manifest has a tau that was measured on unseen data." : "Until then requests are served in arrival order.";
    return { tone: "calm", title: `Warming up: ${count(Math.min(w.completions, settings.min_known))} of ${count(settings.min_known)} completions`, lead: `${how} So far ${known}.${late}`, todo: [] };
  }
  if (order.trust <= 0) {
    return { tone: "calm", title: "Arrival order: trust is 0", lead: `The guard lets it rank, but ${known}${share}: the lower end of the interval gives no reason to overtake anybody.${late}`, todo: [] };
  }
  if (order.policy === "fcfs") {
    const why = settings.policy === "fcfs" ? "as it is set (order.policy = fcfs)" : "it is the turn of a pilot's slot without ranking";
    return { tone: "calm", title: "Arrival order, not for want of trust", lead: `Requests are served as they come: ${why}. On this traffic ${known}${share}.${late}`, todo: [] };
  }
  if (order.patience_per_token === 0 && ["boost", "due"].includes(order.policy)) {
    return { tone: "calm", title: "Arrival order: overtaking would gain nothing", lead: `On this traffic ${known}${share}, and the ranker may rank. But replaying recent completions, no reordering lowered mean E2E latency within the limits of the objective.${late}`, todo: [] };
  }
  if (order.ignores_lengths) {
    return { tone: "calm", title: "Ordered by prompt lengths alone: scores do not improve that", lead: `On this traffic tau of work is ${tau(w.prompt_work_tau?.value)} by prompt lengths alone, and ${tau(w.work_tau?.value)} with what the ranker expects of answers. Its scores count again once they surely make the order better.${late}`, todo: [] };
  }
  const found = order.outcomes.some((o) => o.objective === order.objective);
  return { tone: "calm", title: "Ranking", lead: `On this traffic ${known}${share}. Ordered for ${order.objective}${found ? `, ${gains(order)}` : ""}. Ranked${since}; the guard ends it once tau is surely below ${tau(settings.floor)}.${late}`, todo: [] };
}
