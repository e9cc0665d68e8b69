"""The greatest value that each setting allows is one that works."""

import pytest
from annotated_types import Le
from rankd_client import Completed, RankClient

from rankd.settings import Settings

LEFT_OUT = {
    "scoring.threads": "256 threads of one model take the machine from other tests",
    "guard.floor": "bound to guard.margin",
    "guard.margin": "bound to guard.floor",
}


def greatest(model):
    """Sections of the settings as mappings, with the greatest value of every number."""
    values = {}
    for name, field in model.model_fields.items():
        if hasattr(field.annotation, "model_fields"):
            values[name] = {k: v for k, v in greatest(field.annotation).items() if f"{name}.{k}" not in LEFT_OUT}
        elif field.annotation in (int, float):
            values[name] = field.annotation(next(m.le for m in field.metadata if isinstance(m, Le)))
    return values


@pytest.mark.timeout(120)
def test_a_daemon_with_the_greatest_values(start_daemon, tmp_path):
    """It starts, serves by call and by stream, learns, writes its log and stops: nothing overflows on the way."""
    values = greatest(Settings)
    assert values.pop("drain_delay") > 0  # it would be waited for
    values["completion_log"]["directory"] = str(tmp_path)
    daemon = start_daemon(**values)
    with RankClient(daemon.target, timeout=30) as client:
        queue = client.rank(["long long", "short"])
        assert (queue.order, queue.reason) == ([1, 0], "")
        done = [Completed(r.request_id, r.prediction, 10 * r.position) for r in queue]
        assert client.report(done, timeout=30).accepted == 2
        assert client.quality(timeout=30).qualities[0].completions == 2
        with client.stream() as stream:
            assert stream.step(max_wait=5) == []
    daemon.stop()
    assert any(tmp_path.rglob("*.parquet"))
