"""PromQL that many panels share: filters by the dashboard's variables, rates, quantiles and means."""

FLEET = 'model=~"$model",ranker_version=~"$ranker_version"'
"""Filter of what is recorded for the fleet as a whole."""
REPLICA = 'job=~"$job",instance=~"$instance"'
BOTH = f"{REPLICA},{FLEET}"
CALLS = REPLICA + ',rpc_method=~"rankd[.]v1[.].+"'
RANK = REPLICA + ',rpc_method="rankd.v1.RankService/Rank"'
WINDOW = "[$__rate_interval]"


def rate_by(labels: str, metric: str, where: str, window: str = WINDOW) -> str:
    """Rate of a counter per second, summed by labels."""
    return f"sum by ({labels}) (rate({metric}{{{where}}}{window}))"


def quantile(q: float, labels: str, metric: str, where: str) -> str:
    """A quantile, 0 to 1, from a histogram's buckets."""
    return f"histogram_quantile({q}, {rate_by(f'le, {labels}' if labels else 'le', metric + '_bucket', where)})"


def mean(metric: str, where: str) -> str:
    """Mean of a histogram."""
    return f"sum(rate({metric}_sum{{{where}}}{WINDOW})) / sum(rate({metric}_count{{{where}}}{WINDOW}))"


def per_replica(metric: str, where: str = REPLICA) -> list[tuple[str, str]]:
    """A gauge, a line a replica: the queries of a panel."""
    return [(f"sum by (instance) ({metric}{{{where}}})", "{{instance}}")]
