"""Whatever times and counts are reported: an estimate of finite numbers, or none, and soon."""

import math

import numpy as np
import pytest
from rankd_client.ordering import ServedRequests, fit_costs

from rankd.quality.savings.estimate import estimate_savings
from rankd.quality.savings.sample import SavingsSample

N = 300


def draw(rng, kind):
    return {
        "none": np.zeros(N),
        "same": np.full(N, 7.0),
        "tiny": rng.uniform(0, 1e-9, N),
        "usual": rng.lognormal(1, 1, N),
        "huge": rng.uniform(0, 86400, N),
        "all sizes": 10 ** rng.uniform(-6, 6, N),
        "one huge": np.where(np.arange(N) == 5, 1e6, 1.0),
    }[kind]


KINDS = ("none", "same", "tiny", "usual", "huge", "all sizes", "one huge")


@pytest.mark.parametrize("seed", range(60))
def test_no_report_breaks_it(seed):
    """Columns of all kinds, in any combination."""
    rng = np.random.default_rng(seed)
    arrival, waited, ran = (draw(rng, str(rng.choice(KINDS))) for _ in range(3))
    output = np.floor(draw(rng, str(rng.choice(KINDS))))
    prompt = np.where(rng.random(N) < rng.choice((0, 0.5, 1)), math.nan, np.floor(draw(rng, str(rng.choice(KINDS)))))
    arrival = 1.7e9 + np.cumsum(arrival) if rng.random() < 0.5 else 1.7e9 + arrival
    rows = np.column_stack((arrival, waited, ran, output, prompt))
    costs = fit_costs(ServedRequests(arrival, waited, ran, output, output, prompt)) if rng.random() < 0.5 else None
    now = float((arrival + waited + ran).max()) + float(rng.choice((0, 1e6)))
    since = -math.inf if rng.random() < 0.5 else float(np.quantile(arrival, 0.2))
    found = estimate_savings(SavingsSample.of(rows, since), costs, now, bounded=bool(rng.random() < 0.5))
    if found is None:
        return
    figures = [v for one in found.latencies for v in (one.observed, one.saved.value, one.saved.low, one.saved.high)]
    figures += [v for one in found.payers for v in (one.saved.value, one.saved.low, one.saved.high)]
    assert np.isfinite(figures).all()
    assert all(one.saved.low <= one.saved.value <= one.saved.high for one in (*found.latencies, *found.payers))
    assert 0 <= found.queued_share <= 1
    assert 0 <= found.slower_share <= 1
