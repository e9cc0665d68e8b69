"""A daemon's state as plain facts, label by label: the page without a script."""

from __future__ import annotations

from rankd.adaptation import AdaptationState
from rankd.monitor.window import Window
from rankd.quality.savings.values import SavingsReport, SavingsState

_STATES = {
    SavingsState.LEARNING: "learning: too few completions with durations",
    SavingsState.IDLE: "idle: no completion of late",
    SavingsState.NO_QUEUE: "no queue: there is nothing to gain",
    SavingsState.FALLS_BACK: "arrival order is in force",
    SavingsState.GAINS: "requests end sooner",
    SavingsState.NO_GAIN: "no sure gain",
    SavingsState.LOSES: "requests end later",
}


def saved_facts(report: SavingsReport) -> dict[str, str]:
    """What ranking saved a served model's recent requests."""
    name, figures = f" {report.model}" if report.model else "", report.figures
    said = _STATES[report.state]
    if figures is not None and report.state in {SavingsState.GAINS, SavingsState.NO_GAIN, SavingsState.LOSES}:
        mean = figures.mean
        said += f": {mean.value:.3g} s ({mean.low:.3g} to {mean.high:.3g}) of E2E latency saved on average"
    return {f"saved{name}": said}


def facts_of(window: Window) -> dict[str, str]:
    """A window as plain facts."""
    name = f" {window.model}" if window.model else ""
    by_prompts = ", prompts alone order" if window.guard.ignores_lengths else ""
    mode, reason = (word.replace("_", " ") for word in (window.guard.mode.value, window.reason))
    facts = {f"guard{name}": f"{mode} ({reason}){by_prompts}"}
    if window.adaptation is not None:
        found = window.adaptation.status
        orders = "learned scores order" if window.learned_in_use else "the ranker's own scores order"
        held = found.state is AdaptationState.IN_USE and not window.learned_in_use
        state = "better" if held else found.state.value.replace("_", " ")
        facts[f"learned{name}"] = f"{state}, {found.completions:,} completions; {orders}"
    estimate = window.estimate
    if estimate is not None and estimate.tau is not None:
        tau = estimate.tau
        facts[f"tau{name}"] = f"{tau.value:.3f} ({tau.low:.3f} to {tau.high:.3f}), {estimate.cohort_size:,} requests"
    if estimate is not None and estimate.work_tau is not None and estimate.prompt_work_tau is not None:
        tau = estimate.work_tau
        facts[f"tau of work{name}"] = f"{tau.value:.3f} ({tau.low:.3f} to {tau.high:.3f})"
    if estimate is not None and estimate.realised_gain is not None:
        gain = estimate.realised_gain
        facts[f"realised gain{name}"] = f"{gain.value:.2f} ({gain.low:.2f} to {gain.high:.2f})"
    return facts
