"""What a replay recommends, in words: right for the traffic, and as the figures say."""

import re
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from support.engine_by_token import random_trace
from support.replays import COST, report_of
from support.traces import trace_of

from rankd.replay.engine.cost import EngineCost, at_load
from rankd.replay.report.front import dominating
from rankd.replay.report.recommendation import FAIR_P99, FAIR_QUARTER, gains
from rankd.replay.report.units import against_arrival
from rankd.replay.report.verdict import verdict
from rankd.settings import Settings

ENGINE = EngineCost(slots=32)


def asked(**order):
    return Settings(order=order)


def code_completions(seed=0, n=1500, load=0.95):
    """Prompts of thousands of tokens, answers of a dozen that tell little of each other."""
    rng = np.random.default_rng(seed)
    prompt = np.clip(rng.lognormal(np.log(1500), 1.0, n), 20, 8000).astype(int)
    output = np.clip(rng.lognormal(np.log(13), 0.7, n), 1, 300).astype(int)
    return at_load(trace_of(np.cumsum(rng.exponential(1.0, n)), prompt, output), ENGINE, load)


def chat(seed=0, n=1500, load=1.0):
    """Prompts that cost next to nothing, answers of all lengths."""
    return at_load(random_trace(seed, n=n), COST, load)


@pytest.fixture(scope="module")
def of_chat():
    """A busy chat service under a good ranker."""
    return report_of(chat(31), tau=0.6)


def test_code_completions_gain_by_the_work_of_prompts():
    """Scores that tell nothing of such answers, and long prompts: the order by prompts alone is recommended."""
    report = report_of(code_completions(), cost=ENGINE, steps=False, tau=0.3)
    found = verdict(report)
    assert found.kind == "gain"
    assert found.recommendation.point.mean < 0.9
    assert report.of(found.recommendation.objective).prompt_cost > 0
    assert re.search(r"prompt lengths, each token counted as [\d.]+ of an answer \(no cached tokens told\)", found.text)


def test_it_says_what_was_cached_and_where_there_are_no_prompts():
    """Whether cached tokens and prompt counts were there is part of what a recommendation rests on."""
    trace = code_completions(1, n=600)
    cached = at_load(replace(trace, cached=trace.prompt // 2), ENGINE, 1.0)
    assert "(50 % of them cached)" in verdict(report_of(cached, cost=ENGINE, steps=False)).text
    without = replace(trace, prompt=np.zeros(len(trace), np.int64))
    text = verdict(report_of(at_load(without, ENGINE, 1.0), cost=ENGINE, steps=False)).text
    assert "no prompt lengths, so that answers alone order" in text


def test_where_nothing_queues_it_says_so():
    """At a load at which nobody waits there is nothing to gain; and from which load on there is, with the sweeps."""
    found = verdict(report_of(at_load(random_trace(22, n=400), COST, 0.1), sweeps=True))
    assert found.kind == "nothing_queues"
    assert found.recommendation.objective is None
    assert found.sentences[0].startswith("Nothing queues, and there is nothing to gain")
    assert re.search(r"to pay, with 5 % off mean E2E latency, at a load of about 0\.\d\d of capacity", found.text)
    assert "this replay is at 0.10" in found.text


def test_where_all_are_alike_there_is_nothing_to_gain():
    """Requests that wait but are all of one length gain nothing from order, and that is told as the reason."""
    trace = trace_of(np.zeros(300), np.zeros(300, int), np.where(np.arange(300) < 1, 21, 20))
    found = verdict(report_of(trace, scores=np.random.default_rng(0).standard_normal(300)))
    assert found.kind == "nothing_to_gain"
    assert "all are of about the same work" in found.text


def test_a_load_that_is_too_low_is_told_as_the_reason():
    """Requests wait a little, too little for order to matter: the load is named."""
    found = verdict(report_of(at_load(random_trace(5, n=800), COST, 0.45)))
    assert found.recommendation.objective is None
    assert "The load is low: 0.45 of what the engine can do." in found.text


def test_a_useless_ranker_is_told_as_such():
    """Scores that tell nothing, and no prompts: no objective gains, the guard is named, and what could be had."""
    trace = replace(chat(23, n=2500, load=0.97), prompt=np.zeros(2500, np.int64))
    found = verdict(report_of(trace, tau=0.0))
    assert found.kind == "no_gain"
    assert found.recommendation.objective is None
    assert "guard" in found.text
    assert "perfectly predicted lengths" in found.text


def test_a_burst_is_told_of_its_first_and_of_its_whole():
    """All at once: what is recommended, and when the whole is done if that is what counts."""
    report = report_of(random_trace(24, n=2000).burst(), tau=0.7)
    found = verdict(report)
    assert found.kind == "gain"
    assert report.facts.load is None
    assert re.search(r"\d+ % lower than in arrival order \([\d,]+ steps instead of [\d,]+ steps\)", found.text)
    makespan = report.point("makespan")
    assert f"`makespan` has it done in {100 * makespan.makespan:.0f} % of the time" in found.text
    assert makespan.makespan < 1.0 < report.point("first").makespan + 0.05
    assert report.of("first").first_done[200] < report.of("fcfs").first_done[200]


def test_the_recommendation_can_be_acted_on(of_chat):
    """What to set where it is not what is configured, and that nothing need be set where it is."""
    best = verdict(of_chat).recommendation.objective
    other = next(name for name in ("tail", "mean") if name != best)
    same = verdict(report_of(chat(31), tau=0.6, settings=asked(objective=best)))
    assert same.recommendation.configured
    assert "It is what the daemon does with these settings." in same.text
    aged = verdict(report_of(chat(31), tau=0.6, settings=asked(policy="aged", objective=other)))
    assert f"RANKD_ORDER__OBJECTIVE={aged.recommendation.objective} and RANKD_ORDER__POLICY=boost" in aged.text
    assert "as configured (`aged`) mean E2E latency is" in aged.text


def test_overload_is_no_matter_of_order():
    """Beyond what the engine can do the queue grows under every order, and it says so."""
    assert "only more capacity ends the queue" in verdict(report_of(chat(31, n=600, load=1.3))).text
    assert "only more capacity" not in verdict(report_of(chat(31, n=600, load=0.9))).text


def test_classes_and_tenants_are_compared():
    """Groups are those of the trace, and no tenant's name is in the words."""
    rng = np.random.default_rng(3)
    trace = chat(33, n=800)
    trace = replace(
        trace, tenant=rng.integers(0, 2, 800), tenants=("acme", "b"), priority_class=rng.integers(0, 2, 800)
    )
    report = report_of(trace)
    groups = report.of("balanced").tenants
    assert [g.name for g in groups] == ["acme", "b"]
    assert [g.name for g in report.of("mean").classes] == ["class 0", "class 1"]
    assert "acme" not in verdict(report).text


def test_a_target_that_is_missed_in_arrival_order_and_kept_ranked(of_chat):
    """The target lies between what arrival order and the best objective keep: it names those that keep it."""
    within = f"{1.05 * np.median(latencies(of_chat, 'balanced')):.3f}"
    assert np.median(latencies(of_chat, "fcfs")) > 1.1 * float(within)
    target = f"50 % within {within} s"
    report = report_of(chat(31), tau=0.6, settings=asked(slo=target))
    found = verdict(report)
    outcome = found.recommendation.target
    assert not outcome.kept_in_arrival_order
    assert "balanced" in outcome.kept_by
    assert found.recommendation.objective in outcome.kept_by
    assert f"The target, {target}, is kept by" in found.text
    shares = {p.policy: p.slo_share for p in report.front}
    assert outcome.shares == {name: shares[name] for name in ("fcfs", "tail", "balanced", "mean", "slo")}
    assert shares["balanced"] == np.mean(latencies(report, "balanced") <= float(within))


def test_a_target_that_nothing_keeps_goes_to_who_comes_nearest():
    """Nobody can: the objective that keeps it for most is recommended, and it says that none keeps it."""
    report = report_of(chat(31), tau=0.6, settings=asked(slo="99.9 % first token within 60 s", objective="slo"))
    found = verdict(report)
    assert "is kept by no objective" in found.text
    shares = found.recommendation.target.shares
    assert shares[found.recommendation.objective] == max(shares.values())
    assert shares["fcfs"] < 0.999


def test_a_target_that_arrival_order_keeps_is_told(of_chat):
    """Everything keeps it: the best mean is recommended, and that arrival order would do."""
    slowest = max(f.latency.max for f in of_chat.figures)
    found = verdict(report_of(chat(31), tau=0.6, settings=asked(slo=f"99 % within {2 * slowest:.0f} s")))
    assert found.recommendation.target.kept_in_arrival_order
    assert "and in arrival order: it holds for 100.0 % of the requests in arrival order" in found.text
    assert found.recommendation.point.mean < 0.99


def latencies(report, policy):
    result = report.replayed[policy].result
    return result.finish - result.arrival


def stated(pattern, text):
    """The number that a sentence states, where it is there."""
    found = re.search(pattern, text)
    return None if found is None else int(found[1])


@settings(max_examples=12, deadline=None)
@given(
    seed=st.integers(0, 10**6),
    load=st.sampled_from([0.3, 0.8, 0.95, 1.05, 1.3]),
    tau=st.sampled_from([0.0, 0.3, 0.6, 0.9]),
    prompt=st.sampled_from([1, 40, 2000]),
    burst=st.booleans(),
)
def test_the_words_agree_with_the_figures(seed, load, tau, prompt, burst):
    """Whatever the traffic: every figure stated is a figure measured, and nothing is recommended that gains nothing."""
    cost = EngineCost(slots=8)
    trace = at_load(random_trace(seed, n=250, prompt=prompt), cost, load)
    report = report_of(trace.burst() if burst else trace, tau=tau, cost=cost, steps=False)
    found = verdict(report)
    fcfs, best = latencies(report, "fcfs"), found.recommendation.objective
    if best is None:
        assert found.kind != "gain"
        assert not any(gains(p) for p in report.front if p.objective in ("tail", "balanced", "mean"))
        return
    assert found.kind == "gain"
    own = latencies(report, best)
    point = found.recommendation.point
    assert gains(point)
    assert found.text.startswith(f"Use `{best}`: ")
    if (fewer := stated(r"`: mean E2E latency is (\d+) % lower", found.text)) is not None:
        assert fewer == pytest.approx(100 * (1 - own.mean() / fcfs.mean()), abs=0.51)
    p99 = np.quantile(own, 0.99) / np.quantile(fcfs, 0.99)
    more = stated(r"; p99 of E2E latency is (\d+) % higher ", found.text)
    fewer = stated(r"; p99 of E2E latency is (\d+) % lower ", found.text)
    assert more is None or more == pytest.approx(100 * (p99 - 1), abs=0.51)
    assert fewer is None or fewer == pytest.approx(100 * (1 - p99), abs=0.51)
    figures = report.of(best)
    worst = max(g.mean_of_fcfs for g in (*figures.lengths, *figures.prompts))
    said = stated(r"pays most: its mean E2E latency is (\d+) % higher", found.text)
    assert said == (None if worst <= 1.005 else round(100 * (worst - 1)))
    fair = [
        p for p in report.front
        if p.objective in ("tail", "balanced", "mean") and gains(p)
        and p.p99 <= FAIR_P99 and p.worst_quarter.mean <= FAIR_QUARTER
    ]  # fmt: skip
    assert not fair or (point.p99 <= FAIR_P99 and point.worst_quarter.mean <= FAIR_QUARTER)
    for other in found.recommendation.alternatives:
        assert f"With `{other.policy}` mean E2E latency would be {against_arrival(other.mean)}" in found.text
        assert other.mean < point.mean or other.p99 < point.p99
    for p in report.front:
        assert p.dominated_by == dominating(p, report.front, "mean", "p99")
        if p.dominated_by is not None:
            better = report.point(p.dominated_by)
            assert better.mean <= p.mean
            assert better.p99 <= p.p99
