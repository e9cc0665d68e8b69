"""What page, ``status`` and metrics say, held against what is true. Each finding is a sentence."""

import re
from collections.abc import Iterator

from soak.scripted_day.faces import Faces
from soak.scripted_day.truth import MEASURES, Compared, Coverage, Truth

IDLE_AFTER = 300.0
_FEW = 1000
"""Completions with durations that are surely enough to say something."""
_NO_QUEUE = 0.02
"""Mean wait over mean latency below which there is no queue; between half of that and double both can be said."""
_SLOWER = 0.15
"""What the share of those that paid may be off."""
_HEADLINES = {
    "learning": "Learning what ranking saves", "idle": "Idle: no completion", "no_queue": "No queue",
    "falls_back": "Arrival order", "gains": "Requests end ", "loses": "Requests end ", "no_gain": "No sure gain",
}  # fmt: skip
_ALSO = ("Pilot ended", "Ranking on trust: this ranker has no completions yet")
_FACTS = {
    "learning": "learning", "idle": "idle", "no_queue": "no queue", "falls_back": "arrival order is in force",
    "gains": "requests end sooner", "loses": "requests end later", "no_gain": "no sure gain",
}  # fmt: skip


def findings(faces: Faces, truth: Truth, model: str, now: float) -> Iterator[str]:
    """What is not true."""
    yield from _service(faces, truth)
    yield from _counts(faces, truth)
    yield from _history(faces, truth)
    saved = next((s for s in faces.state["savings"] if s["model"] == model), None)
    if saved is None:
        if truth.sent.final:
            yield f"{truth.sent.final} completions were reported, and /status.json has no savings"
        return
    yield from _state(saved, truth, now)
    yield from _same_everywhere(faces, saved, model)
    yield from _headline(faces, saved, truth, model)
    if saved["latencies"]:
        yield from _figures(saved, truth, now)


def cover(faces: Faces, truth: Truth, model: str, now: float, coverage: Coverage, where: str) -> Compared | None:
    """Hold each interval of saved seconds against the truth; what they rest on, None where there are none."""
    saved = next((s for s in faces.state["savings"] if s["model"] == model), None)
    if saved is None or not saved["latencies"]:
        return None
    compared = truth.compared(saved, now)
    for one in saved["latencies"]:
        if not _exact(one["saved_seconds"]):
            name = f"{one['measure']} {one['statistic']}"
            coverage.add(name, compared.saved(one["measure"], one["statistic"]), one["saved_seconds"], where)
    # What a kill lost of the total is a hole in it that nothing tells of.
    if (total := saved["total_saved_seconds"]) is not None and not _exact(total) and not truth.before:
        coverage.add("total", truth.total(saved), total, where)
    return compared


def _exact(estimate: dict) -> bool:
    return estimate["low"] == estimate["high"] == 0


def _service(faces: Faces, truth: Truth) -> Iterator[str]:
    said = {
        "/status.json": next(r["version"] for r in faces.state["rankers"] if r["role"] == "in_service"),
        "status --json": faces.report["service"]["ranker_version"],
        "metrics": "".join(faces.labelled("rankd_ranker_info", "ranker_version")),
        "the page": faces.facts["ranker"].partition(" ")[0],
        "rankers list": next(r["ranker_version"] for r in faces.rankers["rankers"] if r["role"] == "in_service"),
    }
    for face, version in said.items():
        if version != truth.ranker:
            yield f"{face} says that {version} is in service: it is {truth.ranker}"
    if not re.search(rf"^ranker\s+{re.escape(truth.ranker)} ", faces.text, re.MULTILINE):
        yield f"status does not name {truth.ranker}"


def _counts(faces: Faces, truth: Truth) -> Iterator[str]:
    sent, traffic, service = truth.sent, faces.state["traffic"], faces.report["service"]
    metric = "rankd_completions_total"
    said = {
        "completions": (sent.final, traffic["completions"].get("accepted", 0), service["completions"],
                        faces.metric(metric, kind="final", outcome="accepted") or 0),
        "progress reports": (sent.progress, traffic["progress_reports"].get("accepted", 0),
                             service["progress_reports"],
                             faces.metric(metric, kind="progress", outcome="accepted") or 0),
    }  # fmt: skip
    for what, (true, *told) in said.items():
        if any(number != true for number in told):
            yield f"{true} {what} were reported; /status.json, status and metrics say {told}"
    if faces.facts["completions"] != f"{sent.final:,} accepted, and {sent.progress:,} progress reports":
        yield f"the page says {faces.facts['completions']!r}: {sent.final} and {sent.progress} were reported"
    if f"{sent.final:,} completions, {sent.progress:,} progress reports" not in faces.text:
        yield f"status does not say {sent.final} completions and {sent.progress} progress reports"
    if traffic["answers"] != sent.calls or service["rank_calls"] != sent.calls:
        yield f"{sent.calls} calls were made: {traffic['answers']} and {service['rank_calls']} are told"


def _history(faces: Faces, truth: Truth) -> Iterator[str]:
    told = [(s["kind"], s["version"], s["before"] or "") for s in faces.state["service"]["history"]]
    listed = [
        (s["kind"], s["ranker_version"], s.get("before") or s.get("before_ranker_version") or "")
        for s in faces.rankers["history"]
    ]
    for face, steps in (("/status.json", told), ("rankers list", listed)):
        if sorted(steps) != sorted(truth.steps):
            yield f"{face} tells the history {steps}: it is {truth.steps}"
    own = [e["kind"] for e in faces.state["events"] if e["ranker_version"] == truth.ranker]
    began = [kind for kind in own if kind.startswith("fallback")]
    if (began[-1:] == ["fallback_began"]) != (truth.mode != "ranked" and not truth.pilot):
        yield f"fallbacks of {truth.ranker} are told as {began}: queues are {truth.mode}"
    events = [(e["kind"], e["at"]) for e in faces.state["events"] if not e["kind"].startswith("fallback")]
    if [kind for kind, _ in events] != [kind for kind, _ in truth.events]:
        yield f"events are {[k for k, _ in events]}: they were {[k for k, _ in truth.events]}"
        return
    for (kind, at), (_, true) in zip(events, truth.events, strict=True):
        if abs(at - true) > 2.0:
            yield f"{kind} is told {at - true:+.0f} s off"


def _state(saved: dict, truth: Truth, now: float) -> Iterator[str]:
    state = saved["state"]
    idle = truth.last_end is not None and now - truth.last_end > IDLE_AFTER
    if idle != (state == "idle"):
        yield f"the state is {state}, {now - (truth.last_end or now):.0f} s after the last completion"
        return
    if idle:
        return
    if (state == "falls_back") != (truth.mode != "ranked"):
        yield f"the state is {state} where queues are {truth.mode}"
    if state == "learning" and truth.sent.final >= _FEW:
        yield f"still learning after {truth.sent.final} completions"
    if state in ("learning", "falls_back"):
        return
    if not saved["latencies"]:
        yield f"{state} is told without figures"
        return
    compared = truth.compared(saved, now)
    mean = compared.saved("end_to_end", "mean")
    waits = float(compared.waited.mean()) / compared.observed("end_to_end", "mean")
    if state == "no_queue" and waits > 2 * _NO_QUEUE:
        yield f"no queue is told, and requests wait for {waits:.1%} of their latency"
    if state != "no_queue" and waits < _NO_QUEUE / 2:
        yield f"{state} is told where requests wait for {waits:.1%} of their latency only"
    if (state == "gains" and mean <= 0) or (state == "loses" and mean >= 0):
        yield f"{state} is told: requests end {mean:.3f} s sooner than in arrival order"


def _same_everywhere(faces: Faces, saved: dict, model: str) -> Iterator[str]:
    """JSON, the wire and metrics tell the same figures."""
    report = next(s for s in faces.report["savings"] if s["model"] == model)
    states = faces.labelled("rankd_saved_state", "state")
    if report["state"] != saved["state"] or states != [saved["state"]]:
        yield f"/status.json says {saved['state']}, status {report['state']}, metrics {states}"
    told = {(one["measure"], one["statistic"]): one["saved_seconds"] for one in report["latencies"]}
    for one in saved["latencies"]:
        labels = {"model": model, "measure": one["measure"], "statistic": one["statistic"]}
        for bound, value in one["saved_seconds"].items():
            by_metric = faces.metric("rankd_saved_time_seconds", bound=bound, **labels)
            others = told[one["measure"], one["statistic"]][bound], by_metric
            if any(other is None or abs(other - value) > 1e-6 for other in others):
                yield f"{labels} {bound}: /status.json {value}, status and metrics {others}"


def _headline(faces: Faces, saved: dict, truth: Truth, model: str) -> Iterator[str]:
    state, first = saved["state"], faces.text.lstrip().splitlines()[0]
    expected = _HEADLINES[state]
    if truth.pilot != first.startswith("Pilot under way"):
        yield f"a pilot is {'' if truth.pilot else 'not '}under way, and status begins {first!r}"
    elif not truth.pilot and not first.startswith(("Pilot ended", expected)):
        yield f"status begins {first!r} in state {state}"
    words = {"gains": "sooner", "loses": "later"}
    if first.startswith("Requests end") and words.get(state, "") not in first:
        yield f"status begins {first!r} in state {state}"
    if faces.verdict:
        yield from _in_browser(faces, state, truth)
    row = faces.facts.get(f"saved {model}", "")
    if not row.startswith(_FACTS[state]):
        yield f"the page says {row!r} in state {state}"
    if truth.pilot != any(name.startswith("pilot") for name in faces.facts):
        yield "the page does not say whether a pilot is under way"


def _in_browser(faces: Faces, state: str, truth: Truth) -> Iterator[str]:
    """The page as people see it: only what surely gains is green."""
    if (faces.tone == "good") != (state == "gains" and not truth.pilot):
        yield f"the page is {faces.tone} in state {state}"
    if truth.pilot != faces.verdict.startswith("Pilot under way"):
        yield f"a pilot is {'' if truth.pilot else 'not '}under way, and the page begins {faces.verdict!r}"
    elif not truth.pilot and state != "falls_back" and not faces.verdict.startswith((*_ALSO, _HEADLINES[state])):
        yield f"the page begins {faces.verdict!r} in state {state}"


def _figures(saved: dict, truth: Truth, now: float) -> Iterator[str]:
    compared = truth.compared(saved, now)
    if len(compared) < saved["completions"]:
        yield f"figures rest on {saved['completions']} completions since their begin: there are {len(compared)}"
        return
    if abs(compared.rows["end"].max() - saved["to_time"]) > 1.0:
        yield f"figures are said to end {saved['to_time'] - compared.rows['end'].max():+.0f} s off"
    observed, other = compared.latencies("end_to_end")
    slower = float((observed - other > 0.01 * observed.mean()).mean())
    if abs(saved["slower_share"] - slower) > _SLOWER:
        yield f"{saved['slower_share']:.0%} are said to have ended later than in arrival order: {slower:.0%} did"
    for one in saved["latencies"]:
        true, told = compared.observed(one["measure"], one["statistic"]), one["observed_seconds"]
        # Reports do not tell when the first token came: it is told by what reading a prompt takes, chunk or no chunk.
        share = 0.3 if one["measure"] == MEASURES[1] else 0.01
        if abs(told - true) > share * true + 0.01:
            yield f"observed {one['measure']} {one['statistic']} is {told:.3f} s: it was {true:.3f} s"
        if abs(one["arrival_order_seconds"] - told - one["saved_seconds"]["value"]) > 1e-6:
            yield f"{one['measure']} {one['statistic']}: saved is not the difference of the two"
