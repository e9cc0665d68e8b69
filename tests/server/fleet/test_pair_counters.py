"""Real daemons export what they compared."""

import numpy as np
import pytest
from rankd_client import Completed, Item, RankClient
from support.fleet_calls import counted

from benchmarks.fleet_coverage import compared
from rankd.quality.statistics.pair_counters import counters


def test_each_final_complete_report_counts_once_on_the_replica_that_took_it(start_daemon):
    """Reports repeated, cut short or of requests still running add nothing; two replicas add up to all."""
    rng = np.random.default_rng(0)
    lengths = rng.integers(1, 500, size=(2, 40))
    words = rng.integers(0, 9, size=(2, 40))
    totals = np.zeros(21)
    found = {}
    for side in range(2):
        daemon = start_daemon(quality={"pair_window": 16})
        with RankClient(daemon.target, model="m", timeout=10) as client:
            items = [Item("long " * int(w), f"{side}-{i}") for i, w in enumerate(words[side])]
            queue = client.rank(items)
            predictions = {r.request_id: r.prediction for r in queue}
            sent = [
                Completed(item.request_id, predictions[item.request_id], int(n))
                for item, n in zip(items, lengths[side], strict=True)
            ]
            client.report(sent)
            client.report(sent)
            client.report([Completed(f"cut{side}", sent[0].prediction, 5, finish_reason="aborted")])
            client.report([Completed(f"on{side}", sent[0].prediction, 5, finish_reason="in_progress")])
        totals += compared([predictions[i.request_id].score for i in items], lengths[side], 16)
        for key, value in counted(daemon).items():
            found[key] = found.get(key, 0.0) + value
    expected = {
        (f"{name.replace('.', '_')}_total", next(iter(labels.values()), "")): value
        for name, labels, value in counters(totals)
    }
    assert found == pytest.approx(expected)
