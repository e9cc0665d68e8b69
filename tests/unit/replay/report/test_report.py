"""The verdict, its JSON and the page: right in words, well-formed, complete in themselves."""

import json
import math
import re
import xml.etree.ElementTree as ET
from dataclasses import replace

import numpy as np
import pytest
from support.engine_by_token import random_trace
from support.replays import COST, plan_of, report_of
from support.traces import trace_of

from rankd.html.svg import linear_scale, log_scale
from rankd.replay.engine.cost import EngineCost, at_load
from rankd.replay.report.json_form import as_json
from rankd.replay.report.page import page
from rankd.replay.report.sweep import LoadPoint, pays_from, tau_sweep
from rankd.replay.report.units import DurationUnit
from rankd.replay.report.verdict import verdict
from rankd.settings import Settings

UGLY = '<script>alert("&")</script>'


@pytest.fixture(scope="module")
def busy():
    """A report with everything in it: tenants with an ugly name, classes, sweeps."""
    trace = at_load(random_trace(21, n=500), COST, 1.0)
    rng = np.random.default_rng(0)
    trace = replace(
        trace,
        tenant=rng.integers(0, 2, len(trace)),
        tenants=(UGLY, "b"),
        priority_class=rng.integers(0, 2, len(trace)),
    )
    return report_of(
        trace,
        name=UGLY,
        policies=("tail", "mean", "slo", "score", "paper", "aged:2"),
        settings=Settings(order={"slo": "90 % within 100 s"}),
        sweeps=True,
        notes=("a note & more",),
        skipped={"no arrival": 2},
    )


def test_the_fcfs_line_is_its_own_measure(busy):
    """FCFS gains nothing on itself, the oracle everything, and first-N times never decrease."""
    assert busy.of("fcfs").gain == 0.0
    assert busy.of("oracle").gain == 1.0
    for found in busy.figures:
        assert list(found.first_done.values()) == sorted(found.first_done.values())
        assert sum(g.requests for g in found.lengths) == found.requests == 500
        assert {g.mean_of_fcfs for g in busy.of("fcfs").lengths} == {1.0}


def elements(text):
    return list(ET.fromstring(text.removeprefix("<!DOCTYPE html>")).iter())


def test_the_page_is_well_formed_and_complete_in_itself(busy):
    """It parses, has its seven pictures with finite coordinates, and names nothing from elsewhere."""
    text = page(busy)
    found = elements(text)
    assert len([e for e in found if e.tag == "svg" and e.get("role") == "img"]) == 7
    for element in found:
        for name in ("points", "x", "y", "x1", "x2", "y1", "y2", "cx", "cy"):
            assert "nan" not in element.get(name, "")
            assert "inf" not in element.get(name, "")
    assert not {"script", "link", "img", "iframe", "object", "a"} & {e.tag for e in found}
    assert not re.search(r"https?:|url\(|@import|src=|href=", text)
    assert "prefers-color-scheme: dark" in text
    assert "a note &amp; more" in text


def test_the_page_begins_with_the_verdict(busy):
    """Before any figure stands the verdict, in words."""
    text = page(busy)
    first = verdict(busy).sentences[0]
    assert first.startswith("Use `")
    shown = "".join(ET.fromstring(text[text.index("<header>") : text.index("</header>") + 9]).itertext())
    assert shown.endswith(first.replace("`", "").replace(" %", "\N{NO-BREAK SPACE}%"))
    assert text.index("<header>") < text.index('class="tile"')


def test_pages_without_sweeps_and_at_other_verdicts_are_well_formed():
    """Nothing to gain, a burst, costs in seconds: each has a page."""
    for report in (
        report_of(at_load(random_trace(25, n=200), COST, 0.1)),
        report_of(random_trace(26, n=200).burst(), cost=EngineCost(8), steps=False),
        report_of(trace_of([0.0, 0.0], [1, 1], [1, 2]), tau=1.0),
    ):
        assert elements(page(report))


def test_json_is_finite_and_its_keys_stay(busy):
    """Every number is finite, and the documented keys are there."""
    found = json.loads(json.dumps(as_json(busy), allow_nan=False))
    assert set(found) == {
        "verdict", "recommendation", "policy", "objective", "trace", "engine", "scores", "front", "policies",
        "tau_sweep", "load_sweep", "notes", "replay_seconds", "skipped", "learned", "columns",
    }  # fmt: skip
    assert found["skipped"] == {"no arrival": 2}
    assert found["scores"]["tau"] == pytest.approx(0.6, abs=0.011)
    own = found["policies"][found["policy"]]
    assert set(own) == {
        "latency", "wait", "first_token", "per_token", "first_done", "makespan", "tokens_per_second", "preempted",
        "gain", "tau_low", "trust", "prompt_cost", "slo_share", "by_tenants", "by_classes", "by_lengths", "by_prompts",
    }  # fmt: skip
    assert set(own["latency"]) == {"mean", "p50", "p90", "p99", "max"}
    assert set(found["recommendation"]) == {
        "objective", "configured", "point", "alternatives", "slo", "rests_on",
    }  # fmt: skip
    assert set(found["recommendation"]["rests_on"]) == {"tau", "prompt_token_cost", "prompt_tokens", "cached_tokens"}
    assert found["recommendation"]["slo"]["shares"].keys() == {"fcfs", "tail", "balanced", "mean", "slo"}
    for point in found["front"]:
        assert set(point) == {
            "policy", "objective", "mean", "first_token", "per_token_p90", "p99", "max", "makespan", "worst_quarter",
            "slo_share", "dominated_by",
        }  # fmt: skip


def test_the_own_policy_stands_under_both_names(busy):
    """What the settings call it, and its objective: one run, once on the front and twice under policies."""
    assert busy.policy == "boost"
    assert busy.own == "balanced"
    assert replace(busy.of("boost"), policy="balanced") == busy.of("balanced")
    assert [p.policy for p in busy.front].count("balanced") == 1
    assert "boost" not in {p.policy for p in busy.front}


def test_tenants_are_named_where_the_page_shows_them_only(busy):
    """In the table of who pays; neither in the verdict nor in the front."""
    assert UGLY not in verdict(busy).text
    found = as_json(busy) | {"trace": {}, "policies": {}}
    assert UGLY not in json.dumps(found)
    text = page(busy)
    assert text.count("&lt;script&gt;alert") == 3 + page(replace(busy, facts=replace(busy.facts, name="t"))).count(
        "&lt;script&gt;alert"
    )


def test_latency_falls_with_tau():
    """The sweep of rankers on a burst: a perfect one is better than a fair one is better than none; none does harm."""
    sweep = tau_sweep(plan_of(random_trace(27, n=2500).burst()))
    points = {p.tau: p for p in sweep.points}
    assert sweep.oracle.mean < points[1.0].mean < points[0.55].mean < 0.9 * sweep.fcfs.mean
    assert points[1.0].per_token < points[0.55].per_token < points[0.2].per_token
    assert points[0.0].mean < 1.05 * sweep.fcfs.mean
    assert points[-0.3].mean < 1.1 * sweep.fcfs.mean


def test_gain_grows_with_load(busy):
    """The sweep of loads: next to nothing where nobody waits, and a point from which on it pays."""
    points = busy.load_sweep.points
    assert points[0].mean / points[0].fcfs > points[-1].mean / points[-1].fcfs
    assert points[0].load < busy.load_sweep.pays_from <= points[-1].load


def test_the_point_from_which_it_pays():
    """Between the last load that saves less than 5 % and the next, on a line; none, or all, at the ends."""

    def points(*saved):
        return [LoadPoint(load, 1.0, 1 - s, 1.0, 1.0) for load, s in zip((0.5, 0.6, 0.7), saved, strict=True)]

    assert pays_from(points(0.0, 0.0, 0.04)) is None
    assert pays_from(points(0.0, 0.04, 0.06)) == pytest.approx(0.65)
    assert pays_from(points(0.06, 0.04, 0.06)) == pytest.approx(0.65)
    assert pays_from(points(0.06, 0.07, 0.08)) == 0.5


def test_durations_for_people():
    """Milliseconds to hours, and steps."""
    assert [DurationUnit(steps=False)(s) for s in (0.0042, 0.25, 4.2, 600, 9000)] == [
        "4.20 ms", "250 ms", "4.2 s", "10.0 min", "2.5 h",
    ]  # fmt: skip
    assert [DurationUnit(steps=True)(s) for s in (4.2, 4200)] == ["4.20 steps", "4,200 steps"]


@pytest.mark.parametrize(("low", "high"), [(0.0, 1.08), (-0.3, 1.0), (0.5, 1.1), (0, 7), (0.001, 0.0012)])
def test_linear_scales_have_a_few_round_ticks(low, high):
    """Two to seven ticks, all within."""
    scale = linear_scale(low, high, str)
    assert 2 <= len(scale.ticks) <= 8
    assert all(low - 1e-9 <= t <= high + 1e-9 for t in scale.ticks)


@pytest.mark.parametrize("values", [[0.001, 0.002], [3.0], [1e-4, 1e5], [0.5, 0.5]])
def test_log_scales_hold_their_values(values):
    """Below one as above: every value is within, and there is a tick."""
    scale = log_scale(values, least=1e-6)
    assert all(0 <= scale(v) <= 1 for v in values)
    assert scale.ticks
    assert all(math.isfinite(t) for t in scale.ticks)
