"""What ranking saves: latency observed and in arrival order, who paid, and pilots beside it."""

from tools.dashboard.panel import Panel
from tools.dashboard.promql import REPLICA

_MODEL = f'{REPLICA},model=~"$model"'
_PRESENT = f'on (job, instance, model) rankd_saved_state{{{_MODEL},state=~"gains|no_gain|loses|no_queue"}} == 1'
_STATES = {
    "0": ("learning", "blue"),
    "1": ("idle", "#808080"),
    "2": ("no queue", "super-light-blue"),
    "3": ("arrival order", "orange"),
    "4": ("gains", "green"),
    "5": ("no sure gain", "purple"),
    "6": ("loses", "red"),
}
"""By the number that the panel makes of a state."""
_NUMBERS = {"idle": 1, "no_queue": 2, "falls_back": 3, "gains": 4, "no_gain": 5, "loses": 6}


def _saved(measure: str, statistic: str, bound: str = "value") -> str:
    """What is saved at present, over replicas; nothing while a model is idle, learning, or served as it comes."""
    which = f'{_MODEL},measure="{measure}",statistic="{statistic}",bound="{bound}"'
    return f"avg by (model) (rankd_saved_time_seconds{{{which}}} and {_PRESENT})"


def _now(title: str, measure: str, statistic: str, what: str) -> Panel:
    return Panel(
        title,
        f"{what} in arrival order less what was observed, of recent requests, the mean of replicas; below 0 it is more "
        "than in arrival order. Empty while nothing is said of the present: learning, idle, or arrival order in force.",
        [(_saved(measure, statistic), "{{model}}")],
        kind="stat",
        unit="s",
        width=4,
        height=5,
        steps=[(None, "red"), (0, "blue")],
    )


def _beside(title: str, measure: str, what: str) -> Panel:
    which = f'{_MODEL},measure="{measure}",statistic=~"mean|p99"'
    return Panel(
        title,
        f"{what} of recent requests, mean and p99, the mean of replicas: solid as observed, dashed as it would have "
        "been in arrival order.",
        [
            (
                f'avg by (model, statistic) (rankd_saved_latency_seconds{{{which},of="observed"}})',
                "{{statistic}} {{model}}",
            ),
            (
                f'avg by (model, statistic) (rankd_saved_latency_seconds{{{which},of="arrival_order"}})',
                "arrival order: {{statistic}} {{model}}",
            ),
        ],
        unit="s",
        low=0,
        dashed="^arrival order.*",
    )


SAVED = [
    Panel(
        "What ranking does to the traffic",
        "Per replica and served model. Green only while requests surely end sooner on average than in arrival order. "
        "Learning: too few completions with durations. Idle: none of late. No queue: nothing waits, nothing to gain.",
        [
            (
                " + ".join(
                    f'{number} * sum by (instance, model) (rankd_saved_state{{{_MODEL},state="{state}"}})'
                    for state, number in _NUMBERS.items()
                ),
                "{{instance}} {{model}}",
            )
        ],
        kind="state-timeline",
        width=8,
        height=5,
        value_names=_STATES,
    ),
    _now("E2E latency saved, mean", "end_to_end", "mean", "End-to-end latency, on average,"),
    _now("E2E latency saved, p99", "end_to_end", "p99", "End-to-end latency that 1 % of requests exceed,"),
    _now("TTFT saved, mean", "first_token", "mean", "Time to first token, on average,"),
    _now("Time per output token saved, mean", "per_token", "mean", "Latency over output tokens, on average,"),
    _beside("E2E latency, observed and in arrival order", "end_to_end", "End-to-end latency"),
    _beside("TTFT, observed and in arrival order", "first_token", "Time to first token"),
    _beside("Time per output token, observed and in arrival order", "per_token", "Latency over output tokens"),
    Panel(
        "E2E latency saved, and its interval",
        "Mean end-to-end latency in arrival order less what was observed, with the ends of its 95 % interval. Where "
        "both ends are above 0 requests surely gain. Gaps: nothing is said of the present.",
        [
            (_saved("end_to_end", "mean"), "saved {{model}}"),
            (_saved("end_to_end", "mean", "low"), "low {{model}}"),
            (_saved("end_to_end", "mean", "high"), "high {{model}}"),
        ],
        unit="s",
        dashed="^(low|high).*",
    ),
    Panel(
        "Who gained, and who paid",
        "Mean end-to-end latency saved by quarter of the requests' work, prompt and answer together. Below 0 they wait "
        "longer than in arrival order.",
        [
            (
                f'avg by (model, part) (rankd_saved_payer_time_seconds{{{_MODEL},bound="value"}} and {_PRESENT})',
                "{{part}} {{model}}",
            )
        ],
        unit="s",
    ),
    Panel(
        "Requests later than in arrival order",
        "Share of recent requests that ended later than they would have in arrival order, by more than a hundredth of "
        "the mean latency.",
        [(f"avg by (model) (rankd_saved_slower_share{{{_MODEL}}} and {_PRESENT})", "{{model}}")],
        unit="percentunit",
        low=0,
    ),
    Panel(
        "Saved in all",
        "End-to-end latency saved, summed up over all requests of all replicas since each began to count.",
        [(f'sum by (model) (rankd_saved_total_seconds{{{_MODEL},bound="value"}})', "{{model}}")],
        unit="s",
    ),
    Panel(
        "Pilots: latency over the other policy's",
        "End-to-end latency under the policy that a pilot tries over that under the other one, with the ends of the "
        "interval. Above 100 % the one on trial is slower. While a pilot runs, figures above are of both policies. "
        "Empty where there was no pilot.",
        [
            (f'max by (model, of) (rankd_pilot_ratio{{{_MODEL},bound="value"}})', "{{of}} {{model}}"),
            (f'max by (model, of) (rankd_pilot_ratio{{{_MODEL},bound="low"}})', "low: {{of}} {{model}}"),
            (f'max by (model, of) (rankd_pilot_ratio{{{_MODEL},bound="high"}})', "high: {{of}} {{model}}"),
        ],
        unit="percentunit",
        width=16,
        dashed="^(low|high).*",
    ),
]
