"""Tables of the study."""

from __future__ import annotations

import numpy as np

from benchmarks.policies.front import front
from benchmarks.policies.results import FIGURES, StudyRows, markdown, number

NAMES = {
    "fcfs": "arrival order",
    "tail": "**tail**",
    "balanced": "**balanced** (default)",
    "mean": "**mean**",
    "slo/loose": "**slo**, 99 % within 1.5 times arrival order's p99",
    "slo/tight": "**slo**, 95 % within arrival order's p90",
    "slo/first": "**slo**, 95 % first token within arrival order's p90",
    "first": "**first**",
    "makespan": "**makespan**",
    "due": "due, balanced",
    "aged": "aged, exponent 1 (HRRN)",
    "work": "least expected work, no guard",
    "prompt-work/tail": "prompts alone, tail",
    "prompt-work/balanced": "prompts alone, balanced",
    "prompt-work/mean": "prompts alone, mean",
    "prompt-work/first": "prompts alone, first",
    "paper": "the paper's: score and its starvation rule",
    "uniboost": "UniBoost, gamma adapting",
    "uniboost:0.1": "UniBoost, gamma .1/s",
    "uniboost:0.01": "UniBoost, gamma .01/s",
    "prefill": "shortest prefill first",
    "tie": "TIE: expected length and upper tail",
    "unaware": "boost by tokens so far, preemptive",
    "oracle": "least true work",
    "oracle-boost": "balanced with true lengths",
    "srpt": "least remaining true work, preemptive",
}
ENGINE_NAMES = {
    "model": "default engine (64 slots, prompts take time)",
    "steps": "16 slots in steps (prompts are free)",
    "untold": "16 slots in steps, prompts not counted",
}
_HEADS = ("mean", "p50", "p90", "p99", "max", "mean first token", "p90 per token")


def report(study: StudyRows, requests: int, tau: float) -> str:
    """All tables of the grid."""
    parts = [
        (
            f"{len(study.traces)} traces, first {requests:,} requests of each, with their prompts and what of them was "
            "cached. Figures are ratios to arrival order's, medians over the traces (worst in brackets); scores are "
            f"made up, tau {tau:g} where nothing else is said."
        )
    ]
    for engine in ("model", "steps"):
        for load in study.loads(engine):
            title = f"{ENGINE_NAMES[engine]}, load {load:g}"
            parts += [
                f"### All policies: {title}",
                policies(study, engine, load, tau),
                front(study, engine, load, tau),
                f"#### Who pays: {title}; mean of each quarter over its own in arrival order",
                payers(study, engine, load, tau),
            ]
    return "\n\n".join([*parts, "### A useless or harmful ranker", useless(study), "### By quality", by_tau(study)])


def policies(study: StudyRows, engine: str, load: float, tau: float) -> str:
    """A row per policy, medians over the traces and in brackets the worst."""
    rows = []
    for policy, name in NAMES.items():
        if policy == "fcfs" or not study.ratios(engine, load, tau, policy, "mean"):
            continue
        cells = []
        for figure in FIGURES:
            values = study.ratios(engine, load, tau, policy, figure)
            cells.append(f"{number(float(np.median(values)))} ({number(max(values))})")
        rows.append([name, *cells, _kept(study, engine, load, tau, policy)])
    return markdown(["policy", *_HEADS, "targets kept"], rows)


def _kept(study: StudyRows, engine: str, load: float, tau: float, policy: str) -> str:
    """On how many traces each of the three targets is kept."""
    found = [row for t in study.traces if (row := study.row(engine, t, load, tau, policy))]
    names = found[0]["kept"] if found else {}
    return ", ".join(str(sum(row["kept"][n] >= row["target"][n] for row in found)) for n in names)


def payers(study: StudyRows, engine: str, load: float, tau: float) -> str:
    """By quarter of output lengths and of uncached prompt lengths."""
    shown = ("tail", "balanced", "mean", "first", "work", "uniboost:0.01", "prefill", "paper", "oracle")
    rows = []
    for policy in shown:
        quarters = [study.quarters(engine, load, tau, policy, by) for by in ("outputs", "prompts")]
        if not np.isnan(quarters[0]).all():
            rows.append([NAMES[policy], *(number(q) for both in quarters for q in both)])
    heads = [f"{by} {q}" for by in ("output", "prompt") for q in ("shortest", "2nd", "3rd", "longest")]
    return markdown(["policy", *heads], rows)


def useless(study: StudyRows) -> str:
    """The daemon's orders at taus of 0 and below, over the same order by prompts alone."""
    rows = []
    for engine in ("model", "steps"):
        for load in study.loads(engine):
            for tau in [t for t in study.taus if t <= 0]:
                for objective in ("tail", "balanced", "mean", "first"):
                    alone = f"prompt-work/{objective}"
                    cells = []
                    for figure in ("mean", "later", "p99"):
                        found = [study.between(engine, t, load, tau, objective, alone, figure) for t in study.traces]
                        known = [v for v in found if not np.isnan(v)]
                        cells.append(f"{number(float(np.median(known)))} ({number(max(known))})" if known else "-")
                    if cells[0] != "-":
                        rows.append([ENGINE_NAMES[engine], f"{load:g}", f"{tau:g}", objective, *cells])
    heads = ["engine", "load", "tau", "objective", "mean", "mean after 500 completions", "p99"]
    return "Over the same objective by prompts alone, median (worst) over the traces.\n\n" + markdown(heads, rows)


def by_tau(study: StudyRows) -> str:
    """The default by quality of the ranker."""
    rows = []
    for engine in ("model", "steps"):
        for load in study.loads(engine):
            for objective in ("balanced", "mean"):
                cells = [
                    f"{number(study.median(engine, load, tau, objective, 'mean'))}, "
                    f"{number(study.median(engine, load, tau, objective, 'p99'))}"
                    for tau in study.taus
                ]
                rows.append([ENGINE_NAMES[engine], f"{load:g}", objective, *cells])
    heads = ["engine", "load", "objective", *(f"tau {t:g}: mean, p99" for t in study.taus)]
    return markdown(heads, rows)
