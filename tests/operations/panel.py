"""What a panel of the Grafana dashboard is, and the PromQL that many share."""

from dataclasses import dataclass, field

FLEET = 'model=~"$model",ranker_version=~"$ranker_version"'
"""Filter of what is recorded for the fleet as a whole."""
REPLICA = 'job=~"$job",instance=~"$instance"'
BOTH = f"{REPLICA},{FLEET}"
CALLS = REPLICA + ',rpc_method=~"rankd[.]v1[.].+"'
RANK = REPLICA + ',rpc_method="rankd.v1.RankService/Rank"'
WINDOW = "[$__rate_interval]"


@dataclass(frozen=True)
class Panel:
    """One panel; ``queries`` are (PromQL, legend). ``unit`` is Grafana's name for it, ``width`` in 24ths."""

    title: str
    description: str
    queries: list[tuple[str, str]]
    kind: str = "timeseries"
    unit: str = "short"
    width: int = 8
    height: int = 8
    low: float | None = None
    high: float | None = None
    decimals: int | None = None
    stack: bool = False
    steps: list[tuple[float | None, str]] = field(default_factory=list)
    """Thresholds: from which value on which colour."""
    words: dict[str, tuple[str, str]] = field(default_factory=dict)
    """Values that have a word, and its colour."""
    dashed: str = ""
    """Legends, as a regular expression, that are drawn as dashed lines: bounds and thresholds."""


def by(labels, metric, where, window=WINDOW):
    """Rate of a counter per second."""
    return f"sum by ({labels}) (rate({metric}{{{where}}}{window}))"


def quantile(q, labels, metric, where):
    """A quantile from a histogram's buckets."""
    return f"histogram_quantile({q}, {by(f'le, {labels}' if labels else 'le', metric + '_bucket', where)})"


def mean(metric, where):
    """Mean of a histogram."""
    return f"sum(rate({metric}_sum{{{where}}}{WINDOW})) / sum(rate({metric}_count{{{where}}}{WINDOW}))"


def per_replica(metric, where=REPLICA):
    return [(f"sum by (instance) ({metric}{{{where}}})", "{{instance}}")]
