"""The recording rules, by Prometheus' own promtool, against the same figures in Python."""

import json
import os
import shutil
import subprocess

import numpy as np
import pytest

from benchmarks.fleet_coverage import Z, compared, drawn
from rankd.quality.statistics.pair_counters import CounterTotals, counters
from tools import recording_rules
from tools.generated import stale

PROMTOOL = shutil.which("promtool")
needs_promtool = pytest.mark.skipif(
    PROMTOOL is None and not os.environ.get("CI"), reason="no promtool here: apt-get install prometheus"
)


def test_the_file_is_what_its_script_writes():
    """The expressions are written once, by their letters."""
    assert stale(recording_rules.files()) == [], "run: make generate"


def series(replica, model, totals):
    """The counters of one replica, which grow from 0 to ``totals`` within an hour of scrapes."""
    for name, labels, value in counters(totals):
        chosen = labels | {"model": model, "ranker_version": "r@1", "instance": replica}
        named = ",".join(f'{k}="{v}"' for k, v in chosen.items())
        yield {
            "series": f"{name.replace('.', '_')}_total{{{named}}}",
            "values": " ".join(repr(value * minute / 60) for minute in range(61)),
        }


def near(expression, expected, by):
    """A promtool test that an expression is within ``by`` of a value."""
    return {
        "expr": f"abs(({expression}) - {expected!r}) < bool {by}",
        "eval_time": "60m",
        "exp_samples": [{"labels": '{model="m", ranker_version="r@1"}', "value": 1}],
    }


@needs_promtool
def test_prometheus_finds_the_same_tau_gain_and_intervals_as_the_formulas(tmp_path):
    """As recorded, and each as one expression of nothing but the replicas' counters."""
    rng = np.random.default_rng(5)
    replicas = [compared(*drawn(rng, size, 0.5, ties=True)) for size in (900, 500, 60)]
    sums = CounterTotals(np.sum(replicas, axis=0))
    checks = []
    for name, bounded in (("tau", sums.tau(Z)), ("realised_gain", sums.realised_gain(Z))):
        for end, value in (("", bounded.value), ("_low", bounded.low), ("_high", bounded.high)):
            recorded = f"rankd:fleet_{name}{end}"
            checks += [near(e, value, 1e-6) for e in (recorded, recording_rules.alone(recorded))]
    assert bounded.low < bounded.value - 0.01
    found = promtool(tmp_path, [s for i, t in enumerate(replicas) for s in series(f"r{i}", "m", t)], checks)
    assert found.returncode == 0, found.stdout + found.stderr


@needs_promtool
def test_what_is_undefined_is_absent_and_a_perfect_order_is_one_point(tmp_path):
    """No NaN is recorded: scores all alike have no tau, few reports no interval; perfect ones end at 1."""
    line = list(range(50))
    inputs = [
        *series("r0", "constant", compared([1.0] * 50, line)),
        *series("r0", "few", compared(line[:20], line[:20])),
        *series("r0", "perfect", compared(line, line)),
    ]
    label = '{{model="{}", ranker_version="r@1"}}'
    nothing = [f'rankd:fleet_tau{end}{{model="constant"}}' for end in ("", "_low", "_high")]
    nothing += [
        f'rankd:fleet_{name}_{end}{{model="few"}}' for name in ("tau", "realised_gain") for end in ("low", "high")
    ]
    checks = [{"expr": expression, "eval_time": "60m", "exp_samples": []} for expression in nothing]
    ones = [{"labels": label.format("perfect"), "value": 1}]
    checks += [
        {"expr": f'rankd:fleet_{name}{{model="perfect"}} > bool 0.999', "eval_time": "60m", "exp_samples": ones}
        for name in ("tau", "tau_low", "tau_high", "realised_gain", "realised_gain_low")
    ]
    found = promtool(tmp_path, inputs, checks)
    assert found.returncode == 0, found.stdout + found.stderr


def promtool(directory, inputs, checks):
    """Run a unit test of the rules; promtool reads JSON, which is YAML."""
    test = {
        "rule_files": [str(recording_rules.FILE)],
        "evaluation_interval": "1m",
        "tests": [{"interval": "1m", "input_series": inputs, "promql_expr_test": checks}],
    }
    path = directory / "rules_test.yaml"
    path.write_text(json.dumps(test), encoding="utf-8")
    command = [PROMTOOL, "test", "rules", str(path)]
    return subprocess.run(command, check=False, capture_output=True, text=True, timeout=60)
