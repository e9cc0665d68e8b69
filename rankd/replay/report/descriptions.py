"""What a replay rests on, in words."""

from __future__ import annotations

from rankd.replay.report.report import ReplayReport
from rankd.replay.report.units import DurationUnit


def describe_trace(report: ReplayReport) -> str:
    """How many requests, how fast, how long."""
    f, unit = report.facts, DurationUnit(report.steps)
    load = "" if f.load is None else f", {f.load:.2f} of what the engine can do"
    over = f" over {unit(f.span)}" if f.span > 0 else ""
    return (
        f"{f.name}: {f.requests:,} requests{over}, arrivals {f.arrivals}{load}; mean input {f.input_mean:,.0f}, "
        f"output {f.output_mean:,.0f} tokens (p50 {f.output_p50:,.0f}, p99 {f.output_p99:,.0f})"
    )


def describe_engine(report: ReplayReport) -> str:
    """What an iteration costs."""
    c = report.plan.cost
    limits = f"{c.slots:,} slots" + (f", {c.kv_tokens:,} KV tokens" if c.kv_tokens else "")
    if report.steps:
        return f"{limits}; every iteration takes one step, prompts are free"
    return (
        f"{limits}; an iteration takes {1000 * c.base:g} ms + {1000 * c.per_sequence:g} ms a sequence + "
        f"{1000 * c.per_prompt_token:g} ms a prompt token; at most {report.facts.capacity:,.2f} such requests a second"
    )


def describe_scores(report: ReplayReport) -> str:
    """Where scores come from, and how good they are."""
    s = report.source
    tau = "unknown" if s.tau is None else f"{s.tau:.2f}"
    if s.kind == "synthetic":
        return f"made up, with a Kendall's tau of {tau} to the true lengths (--tau)"
    if s.kind == "ranker":
        return f"of {s.name}, from the trace's prompts; Kendall's tau {tau}{_learned(report)}"
    return f"in the trace; Kendall's tau {tau}"


def _learned(report: ReplayReport) -> str:
    """What was learned beside the ranker."""
    learned = report.learned
    if learned is None:
        return ""
    text = f"; learned from {learned.completions:,} completions, "
    if learned.in_use_after is None:
        return f"{text}never in use"
    again = f", switched {learned.switches:,} times" if learned.switches > 1 else ""
    return f"{text}in use after {learned.in_use_after:,}{again}"
