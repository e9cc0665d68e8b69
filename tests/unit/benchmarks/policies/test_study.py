"""The ordering study: what is run, how runs become ratios, who dominates whom, and bars that are judged right."""

import json

import numpy as np
import pytest

from benchmarks.policies import bars, study
from benchmarks.policies.burst import Burst
from benchmarks.policies.front import Point, front, standing
from benchmarks.policies.results import StudyRows, markdown, number
from benchmarks.policies.runs import ENGINES, TARGETS, Run, case_of, work
from benchmarks.policies.tables import NAMES, report
from rankd.replay.policies.by_name import check_policy


def row(policy, mean, p99, *, tau=0.5, engine="model", trace="t", load=1.05, kept=(0.99, 0.95, 0.95), **more):
    figures = dict.fromkeys(("p50", "p90", "max", "first", "token", "later"), mean)
    shares = {
        "kept": dict(zip(TARGETS, kept, strict=True)),
        "target": dict(zip(TARGETS, (0.99, 0.95, 0.95), strict=True)),
    }
    place = {"engine": engine, "trace": trace, "load": load, "tau": tau, "policy": policy}
    quarters = {"outputs": [mean] * 4, "prompts": [mean] * 4}
    return place | figures | {"mean": mean, "p99": p99} | quarters | shares | more


def test_every_policy_has_a_meaning_and_a_name():
    """Each is known to replay, and to the tables; nothing runs twice."""
    for policy in study.POLICIES:
        check_policy(policy.partition("/")[0])
        assert policy in NAMES
    runs = list(study.runs_of(["mooncake_conversation", "azure2023_code"], [0.95, 1.05], [0.0, 0.5]))
    assert len(runs) == len(set(runs)) == len({run.key(9) for run in runs})
    assert {run.tau for run in runs if run.policy == "uniboost"} == {None}
    assert {run.load for run in runs if run.policy == "prefill"} == {0.9, 0.95, 1.02, 1.05}


@pytest.mark.parametrize("engine", ENGINES)
def test_a_run_is_one_row(engine):
    """Its figures are those of the latencies; quarters average to the mean; arrival order keeps what it should."""
    found = work("", 120, Run(engine, "generated", 1.05, None, "fcfs"))
    case = case_of("", 120, engine, "generated", 1.05)
    latency = case.fcfs.finish - case.fcfs.arrival
    assert found["mean"] == pytest.approx(latency.mean())
    assert found["max"] == pytest.approx(latency.max())
    assert found["kept"]["loose"] == 1.0 > found["target"]["loose"] > found["target"]["tight"] > found["kept"]["tight"]
    assert case.trace.prompt.any() == (engine != "untold")
    assert np.mean(found["outputs"]) == pytest.approx(found["mean"], rel=0.05)
    assert json.loads(json.dumps(found)) == found


@pytest.mark.parametrize("policy", ["slo/tight", "slo/first", "prompt-work/first", "mean"])
def test_variants_reach_the_settings(policy):
    """Targets and objectives of a run are the daemon's settings."""
    tau = None if policy.startswith("prompt") else 0.5
    found = work("", 120, Run("model", "generated", 1.1, tau, policy))
    assert found["policy"] == policy
    assert found["seconds"] >= 0


def test_who_dominates_whom():
    """Better in one and no worse in the other; a tie within rounding is none."""
    assert Point("a", 0.5, 1.1).dominates(Point("b", 0.6, 1.1))
    assert not Point("a", 0.5, 1.2).dominates(Point("b", 0.6, 1.1))
    assert not Point("a", 0.501, 1.1).dominates(Point("b", 0.5, 1.1))
    found = [row("fcfs", 10.0, 10.0, tau=None), row("mean", 5.0, 12.0), row("balanced", 6.0, 11.0)]
    found += [row("tie", 7.0, 13.0), row("prefill", 5.5, 10.5, tau=None)]
    rows = StudyRows([*found, row("oracle", 1.0, 1.0, tau=None), row("makespan", 20.0, 20.0)])
    said = front(rows, "model", 1.05, 0.5)
    assert said.splitlines()[0] == "On the front (mean, p99): mean (.50, 1.20); prefill (.55, 1.05); fcfs (1.00, 1.00)."
    assert "- balanced (.60, 1.10) is dominated by prefill (.55, 1.05)." in said
    assert "oracle" not in said
    assert standing(rows, "model", 1.05, 0.5, "balanced", "tie") == "ahead (.60, 1.10 to .70, 1.30)"
    assert standing(rows, "model", 1.05, 0.5, "balanced", "prefill") == "**behind** (.60, 1.10 to .55, 1.05)"
    assert standing(rows, "model", 1.05, 0.5, "mean", "prefill") == "neither (.50, 1.20 to .55, 1.05)"
    assert standing(rows, "model", 1.05, 0.5, "mean", "paper") is None


def test_bars_are_judged_by_their_figures():
    """Reached, not reached, and not judged where runs are missing."""
    rows = [
        row("fcfs", 10.0, 10.0, tau=None),
        row("balanced", 7.0, 12.0),
        row("paper", 8.0, 9.0, kept=(1.0, 0.96, 0.1)),
    ]
    rows += [row("slo/loose", 9.0, 9.0, kept=(0.985, 0, 0)), row("slo/tight", 9.0, 9.0, kept=(1, 0.93, 0))]
    rows += [row("balanced", 7.0, 9.0, tau=0.0), row("prompt-work/balanced", 6.5, 9.0, tau=None)]
    found = {j.bar: j for j in bars.judged(StudyRows(rows))}
    [balanced] = [j for bar, j in found.items() if bar.startswith("`balanced`, load 1.05, model, median")]
    assert balanced.reached is False  # the 90th percentile per token is above its bar
    assert balanced.figure == "mean .70, p90 per token .70, p99 1.20, max .70"
    [quarters] = [
        j for bar, j in found.items() if bar == "`balanced`, load 1.05, model: no quarter of lengths above 1.3"
    ]
    assert quarters.reached is True
    [slo] = [j for bar, j in found.items() if bar.startswith("`slo`") and bar.endswith("model")]
    assert (slo.reached, slo.figure[:6]) == (False, "1 of 2")
    [useless] = [j for bar, j in found.items() if bar.startswith("tau 0:") and bar.endswith("model")]
    assert (useless.reached, "worst 1.08 (balanced, t, 1.05)" in useless.figure) == (False, True)
    assert all(j.reached is None for bar, j in found.items() if "load 0.95, model" in bar or "no prompt counts" in bar)
    text = bars.table(found.values())
    assert "**not reached**" in text
    assert "not judged" in text


def test_makespan_is_judged_by_the_worst_burst():
    """Over longest first with true lengths."""
    done = [{"makespan": 102.0, "oracle-longest": 100.0}, {"makespan": 105.0, "oracle-longest": 100.0}]
    made = [Burst(f"t{i}", "steps", {}, d, {}) for i, d in enumerate(done)]
    assert bars.makespan(made[:1]).reached is True
    judged = bars.makespan(made)
    assert (judged.reached, "worst 1.050 (t1, steps)" in judged.figure) == (False, True)
    assert bars.makespan([]).reached is None


def test_numbers_and_tables():
    """As the other tables of this project have them."""
    assert [number(v) for v in (0.5, -0.25, 1.0, float("nan"))] == [".50", "-.25", "1.00", "-"]
    assert markdown(["a", "b"], [["1", "2"]]) == "| a | b |\n|---|---|\n| 1 | 2 |"


def test_runs_resume(tmp_path):
    """What stands in the file is not done again, and nothing else is counted; the report has tables of all."""
    wanted = [Run("steps", "generated", 1.05, tau, policy) for tau, policy in ((None, "fcfs"), (0.5, "balanced"))]
    done = study.rows_of(None, 120, wanted[:1], tmp_path, 1)
    path = tmp_path / "runs.jsonl"
    lines = path.read_text() + json.dumps(row("mean", 1.0, 1.0) | {"key": "other"}) + "\n"
    path.write_text(lines)
    rows = study.rows_of(None, 120, wanted, tmp_path, 1)
    assert rows[0] == done[0]
    assert [r["policy"] for r in rows] == ["fcfs", "balanced"]
    assert path.read_text().startswith(lines)
    assert len(path.read_text().splitlines()) == 3
    assert "2 runs took 0 minutes" in study.took(rows, 1.0, 2.0)
    text = report(StudyRows(rows), 120, 0.5)
    assert "### All policies: 16 slots in steps (prompts are free), load 1.05" in text
    assert "| **balanced** (default) |" in text
