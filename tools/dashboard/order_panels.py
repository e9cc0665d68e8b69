"""What the order is for, what it goes by, and what that gains."""

from tools.dashboard.panel import Panel
from tools.dashboard.promql import BOTH, REPLICA

_WHOSE = "{{instance}} {{model}} {{ranker_version}}"

ORDER = [
    Panel(
        "Ordered for",
        "What queues are ordered for (order.objective), and how many replicas are. Two at a time are normal while a "
        "setting is being rolled out.",
        [(f"count by (objective) (rankd_order_objective{{{REPLICA}}})", "{{objective}}")],
        kind="stat",
        width=4,
    ),
    Panel(
        "Mean latency by objective",
        "What each objective would make of recent traffic: mean latency over that of arrival order, by replaying "
        "completions. 100 % is arrival order, less is faster. Empty until reports with waiting times have come.",
        [
            (
                f'avg by (model, objective) (rankd_order_objective_ratio{{{BOTH},of="mean"}})',
                "{{objective}} {{model}}",
            )
        ],
        unit="percentunit",
        width=10,
        low=0,
    ),
    Panel(
        "p99 of latency by objective",
        "The same of the slowest hundredth: what an objective costs those who wait longest. Above 100 % they wait "
        "longer than in arrival order.",
        [
            (
                f'avg by (model, objective) (rankd_order_objective_ratio{{{BOTH},of="p99"}})',
                "{{objective}} {{model}}",
            )
        ],
        unit="percentunit",
        width=10,
        low=0,
    ),
    Panel(
        "Tau of work, and of prompts alone",
        "Tau of what requests are ordered by: expected against realised work, which guards decide on, and how prompts "
        "alone would order. Where no prompts are counted the first is tau of lengths, the second absent. No unit.",
        [
            (f'rankd_quality_work_tau{{{BOTH},bound="value"}}', f"work {_WHOSE}"),
            (f'rankd_quality_prompt_work_tau{{{BOTH},bound="value"}}', f"prompts {_WHOSE}"),
        ],
        width=12,
        decimals=2,
        dashed="^prompts.*",
    ),
    Panel(
        "Prompts alone order",
        "1 while prompts alone order a queue: the guard found that the ranker's scores do not make that order better, "
        "or holds the ranker back. What the ranker says counts for nothing meanwhile.",
        [(f"rankd_order_ignores_lengths{{{BOTH}}}", _WHOSE)],
        kind="state-timeline",
        width=12,
        value_names={"0": ("scores count", "green"), "1": ("prompts alone", "orange")},
    ),
    Panel(
        "What a prompt token counts for",
        "In expected work, in output tokens: as it is set (order.prompt_cost), or as learned from completions with "
        "prompt counts and durations; 0.05 until then.",
        [(f"rankd_order_prompt_cost{{{BOTH}}}", _WHOSE)],
        width=12,
        low=0,
        decimals=2,
    ),
    Panel(
        "What the engine takes",
        "Seconds for a prompt token, from everybody who runs, for an output token of one request, and for every "
        "request beside, as learned. Empty until completions told of prompts and durations.",
        [
            (
                f'avg by (model, of) (rankd_order_service_cost_seconds{{{BOTH},bound="value"}})',
                "{{of}} {{model}}",
            )
        ],
        unit="s",
        width=12,
        low=0,
    ),
]
