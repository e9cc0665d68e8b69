"""Traffic and latency."""

from tools.dashboard.panel import Panel
from tools.dashboard.promql import CALLS, RANK, REPLICA, WINDOW, quantile, rate_by

_NOT_TIMED = ',rpc_method!~".*(Stream|Watch).*"'

TRAFFIC = [
    Panel(
        "Answers by policy and reason",
        "Rank answers per second, by the policy that ordered them and, where that was not the one wanted, why.",
        [(rate_by("policy, reason", "rankd_answers_total", REPLICA), "{{policy}} ({{reason}})")],
        unit="ops",
        stack=True,
        low=0,
    ),
    Panel(
        "Share of answers in order of arrival, by reason",
        "Of all answers, those that could not be ranked. guard: quality is too low. ranker_unavailable: the ranker "
        "fails or is too slow. deadline: scores came too late. overloaded: the queue was full. requested is the "
        "caller's own wish.",
        [
            (
                (
                    f'sum by (reason) (rate(rankd_answers_total{{{REPLICA},reason!="none"}}{WINDOW})) '
                    f"/ ignoring (reason) group_left () sum(rate(rankd_answers_total{{{REPLICA}}}{WINDOW}))"
                ),
                "{{reason}}",
            )
        ],
        unit="percentunit",
        stack=True,
        low=0,
        high=1,
    ),
    Panel(
        "Items by outcome",
        "Requests in Rank answers per second. scored: new, read by the ranker. echoed: known from an earlier answer. "
        "Others have no score, and why.",
        [(rate_by("outcome", "rankd_items_total", REPLICA), "{{outcome}}")],
        unit="ops",
        stack=True,
        low=0,
    ),
    Panel(
        "Completions by outcome",
        "Reports per second of what requests produced, of those that ended (final) and of those under way (progress). "
        "accepted is good; duplicate is harmless; not_followed is beyond quality.max_windows; anything else was "
        "refused and says why.",
        [(rate_by("kind, outcome", "rankd_completions_total", REPLICA), "{{kind}} {{outcome}}")],
        unit="ops",
        stack=True,
        low=0,
    ),
    Panel(
        "Engines' requests by how they were placed",
        "Requests per second, as engines' plug-ins and proxies tell. ranked is good; too_late and unreachable went in "
        "order of arrival though they were to be ranked; other had no text, or guard or client wanted it so.",
        [(rate_by("outcome", "rankd_engine_placed_total", REPLICA), "{{outcome}}")],
        unit="ops",
        stack=True,
        low=0,
    ),
    Panel(
        "Calls by method and status",
        "Calls that ended, per second.",
        [
            (
                rate_by("rpc_method, rpc_response_status_code", "rpc_server_call_duration_seconds_count", CALLS),
                "{{rpc_method}} {{rpc_response_status_code}}",
            )
        ],
        unit="ops",
        low=0,
    ),
    Panel(
        "Calls refused for their rate",
        "Calls per second of callers that were beyond limits.calls_per_second. Their clients keep to order of arrival.",
        [(rate_by("instance", "rankd_rate_limited_total", REPLICA), "{{instance}}")],
        unit="ops",
        low=0,
    ),
    Panel(
        "Refused for their credentials",
        "Refusals per second. missing, unknown, expired, role, tenant: calls, for their token or certificate. "
        "signature and tenant: predictions that were not believed when they were echoed or reported. "
        "Empty without auth.file.",
        [(rate_by("reason", "rankd_auth_refused_total", REPLICA), "{{reason}}")],
        unit="ops",
        low=0,
    ),
]

LATENCY = [
    Panel(
        "Rank calls",
        "How long a Rank call takes inside the daemon, waiting for scores included. Half of the calls are faster than "
        "p50, one in a hundred is slower than p99.",
        [(quantile(q, "", "rpc_server_call_duration_seconds", RANK), f"p{q * 100:.0f}") for q in (0.5, 0.9, 0.99)],
        unit="s",
        low=0,
    ),
    Panel(
        "All calls by method",
        "The same by method. Streams and watches are left out: they last for as long as their caller likes.",
        [
            (
                quantile(q, "rpc_method", "rpc_server_call_duration_seconds", CALLS + _NOT_TIMED),
                "{{rpc_method}} " + f"p{q * 100:.0f}",
            )
            for q in (0.5, 0.9, 0.99)
        ],
        unit="s",
        low=0,
    ),
    Panel(
        "Rank calls within 50 ms",
        "Share of Rank calls that were answered within 50 milliseconds, the client's usual timeout.",
        [
            (
                (
                    f'sum(rate(rpc_server_call_duration_seconds_bucket{{{RANK},le="0.05"}}{WINDOW})) '
                    f"/ sum(rate(rpc_server_call_duration_seconds_count{{{RANK}}}{WINDOW}))"
                ),
                "within 50 ms",
            )
        ],
        unit="percentunit",
        low=0,
        high=1,
    ),
    Panel(
        "Stages, median",
        "Where the time goes. tokenise: text to tokens. queue: a batch's oldest prompt, until the model began. infer: "
        "a batch in the model. score: a call's wait for its scores. order: making the order.",
        [(quantile(0.5, "stage", "rankd_stage_duration_seconds", REPLICA), "{{stage}}")],
        unit="s",
        width=12,
        low=0,
    ),
    Panel(
        "Stages, p99",
        "The same, for the slowest in a hundred. queue far above infer: more prompts come than the ranker can read.",
        [(quantile(0.99, "stage", "rankd_stage_duration_seconds", REPLICA), "{{stage}}")],
        unit="s",
        width=12,
        low=0,
    ),
]
