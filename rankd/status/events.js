// What happened to what orders: marks on charts over time, and a list.

const MARKS = {
  pilot_began: { letter: "P", style: "mark-pilot" }, pilot_ended: { letter: "p", style: "mark-pilot" },
  promoted: { letter: "R", style: "mark-promoted" }, rolled_back: { letter: "R", style: "mark-promoted" },
  fallback_began: { letter: "F", style: "mark-fallback" }, fallback_ended: { letter: "f", style: "mark-fallback" },
};

/** Events that matter to a served model: its own, and those of all. */
const eventsOf = (state, w) => (state.events ?? []).filter((e) => e.model === null || e.model === w.model);

/** An event in a sentence. */
function happened(e) {
  const arms = `${e.treatment} against ${e.control}`, back = e.reason ? `: ${WHY[e.reason] ?? words(e.reason)}` : "";
  const of = e.model ? ` (${clean(e.model)})` : "";
  return {
    pilot_began: `A pilot began, ${arms}${of}.`,
    pilot_ended: `A pilot ended, ${arms}${of}: ${words(e.reason ?? "")}.`,
    promoted: `${e.ranker_version} came into service${e.previous ? `, after ${e.previous}` : ""}.`,
    rolled_back: `${e.ranker_version} came back into service${e.previous ? `, after ${e.previous}` : ""}.`,
    fallback_began: `${e.ranker_version} fell back${of}${back}.`,
    fallback_ended: `${e.ranker_version} left fallback${of}${back}.`,
  }[e.kind] ?? `${words(e.kind)}${of}.`;
}

/** Marks of events within a chart: a line across, a letter above, the sentence for who points at it. */
function marksOf(events, range, x, top, bottom) {
  return (events ?? []).filter((e) => e.at >= range[0] && e.at <= range[1]).map((e) => {
    const { letter, style } = MARKS[e.kind] ?? { letter: "·", style: "mark-other" }, at = x(e.at);
    return svg("g", { class: `event ${style}` }, svg("title", {}, `${moment(e.at)} ${happened(e)}`),
      svg("line", { x1: at, x2: at, y1: top, y2: bottom }), svg("text", { x: at, y: top + 4, "text-anchor": "middle" }, letter));
  });
}

function showEvents(state, w) {
  const events = eventsOf(state, w);
  const lines = events.slice(-ROWS).reverse().map((e) => el("li", {}, el("time", { datetime: new Date(e.at * 1000).toISOString() }, moment(e.at)), ` ${happened(e)}`));
  if (events.length > lines.length) lines.push(el("li", {}, `${count(events.length - lines.length)} before these`));
  $("events").replaceChildren(...(lines.length ? lines : [el("li", {}, "Nothing since the start: no pilot, promotion or fallback.")]));
}
