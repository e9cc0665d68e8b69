"""What tenants that invent reports can do to what requests cost."""

import numpy as np
import pytest
from rankd_client.ordering import Policy, ServedRequest

from rankd.monitor.load import ModelLoad
from rankd.monitor.supported_costs import CostEvidence, supported_costs
from rankd.replay.engine.cost import EngineCost, at_load
from rankd.replay.engine.engine import run
from rankd.replay.policies.baselines import KeyOrder
from rankd.replay.trace.trace import Trace
from rankd.settings import OrderSection

COUNT = 1200
NAMES = ("a", "b", "c", "liar")
SHARES = (0.3, 0.2, 0.2, 0.3)


@pytest.fixture(scope="module")
def honest():
    """Completions of an engine with 16 slots, a little load on them, and whose they are."""
    rng = np.random.default_rng(1)
    prompt = np.ceil(rng.lognormal(6.5, 0.8, COUNT)).astype(np.int64)
    output = np.ceil(rng.lognormal(4.5, 0.7, COUNT)).astype(np.int64)
    cost = EngineCost(slots=16)
    trace = at_load(Trace(np.cumsum(rng.exponential(1.0, COUNT)), prompt, output), cost, 1.02)
    done = run(trace, KeyOrder(trace), cost)
    ran = (done.finish - done.start) * np.exp(0.03 * rng.standard_normal(COUNT))
    columns = (done.arrival, done.start - done.arrival, ran, output, output, prompt)
    names = rng.choice(NAMES, COUNT, p=SHARES).tolist()
    rows = [ServedRequest(*map(float, row)) for row in zip(*columns, strict=True)]
    return list(zip(rows, names, strict=True))


LIES = {
    "ran 100 times": lambda r: r._replace(ran=100 * r.ran),
    "ran 1.5 times": lambda r: r._replace(ran=1.5 * r.ran),
    "ran not at all": lambda r: r._replace(ran=1e-3),
    "ran as prompts are": lambda r: r._replace(ran=0.02 * r.prompt),
    "outputs times 10": lambda r: r._replace(output=10 * r.output),
    "outputs of 1": lambda r: r._replace(output=1.0),
    "no prompts": lambda r: r._replace(prompt=0.0),
    "prompts times 100": lambda r: r._replace(prompt=100 * r.prompt),
}


def told(rows, lie, liars=("liar",)):
    return [(lie(request) if name in liars else request, name) for request, name in rows]


def values(costs):
    return costs.per_prompt_token.value, costs.per_output_token.value, costs.running


@pytest.mark.parametrize("lie", LIES.values(), ids=LIES)
@pytest.mark.parametrize("first", [True, False], ids=["first", "later"])
def test_one_tenant_moves_costs_by_a_tenth_at_most(honest, lie, first):
    """Three in ten of the reports are its: at the very first fit, and when there was one."""
    before = supported_costs(CostEvidence.of(honest), None)
    found = supported_costs(CostEvidence.of(told(honest, lie)), None if first else before)
    assert values(found) == pytest.approx(values(before), rel=0.1)
    assert found.per_prompt_token.low <= found.per_prompt_token.value <= found.per_prompt_token.high
    assert found.per_prompt_token.high < 2 * before.per_prompt_token.value


@pytest.mark.parametrize("lie", [LIES["ran 100 times"], LIES["outputs times 10"]], ids=["ran", "outputs"])
def test_two_that_agree_are_left_out_one_after_the_other(honest, lie):
    """Two fifths of the reports, by two names."""
    before = supported_costs(CostEvidence.of(honest), None)
    found = supported_costs(CostEvidence.of(told(honest, lie, ("b", "c"))), before)
    assert values(found) == pytest.approx(values(before), rel=0.1)


def test_what_all_say_is_learned(honest):
    """Everything takes twice as long: believed at once, for all that was known before."""
    before = supported_costs(CostEvidence.of(honest), None)
    slower = [(r._replace(arrival=2 * r.arrival, waited=2 * r.waited, ran=2 * r.ran), name) for r, name in honest]
    found = supported_costs(CostEvidence.of(slower), before)
    assert found.per_prompt_token.value == pytest.approx(2 * before.per_prompt_token.value, rel=0.1)
    assert found.per_output_token.value == pytest.approx(2 * before.per_output_token.value, rel=0.1)


def test_without_tenants_everything_counts_as_it_comes(honest):
    rows = [(request, "") for request, _ in honest]
    evidence = CostEvidence.of(rows)
    assert evidence.examined == []
    lied = CostEvidence.of([(request._replace(ran=3 * request.ran), "") for request, _ in honest])
    before = supported_costs(evidence, None)
    assert supported_costs(lied, before).per_output_token.value > 2 * before.per_output_token.value


def test_prompts_of_one_tenant_count_for_a_few_times_the_others(honest):
    """The average prompt scales patience."""
    plain = CostEvidence.of(honest).prompts().mean()
    lied = CostEvidence.of(told(honest, LIES["prompts times 100"])).prompts().mean()
    assert lied < 5 * plain
    load = ModelLoad()
    load.fitted(None, CostEvidence.of(honest).prompts())
    assert load.mean_prompt == pytest.approx(plain)


def test_costs_are_learned_early_and_then_ever_more_rarely():
    order, load, fits = OrderSection(), ModelLoad(), []
    assert Policy(order.policy) is not None
    for load.taken in range(1, 4001):
        if load.fit_due(order):
            fits.append(load.taken)
            load.fitted_at = load.taken
    assert fits[0] == 64
    gaps = np.diff(fits)
    assert (np.diff(gaps) >= 0).all()
    assert gaps[-1] == order.tune_every
