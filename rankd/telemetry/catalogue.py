"""Every metric and span of the daemon, declared once; log events are in ``events``."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

SECONDS = "s"
SECOND_BUCKETS = (0.0005, 0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1, 2, 5, 10, 60)
SIZE_BUCKETS = (1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 1024, 2048, 4096, 8192, 16384, 65536)


@dataclass(frozen=True, slots=True)
class Metric:
    """One metric."""

    kind: Literal["counter", "gauge", "histogram"]
    unit: str
    """By UCUM, as OpenTelemetry has it: ``s``, ``By``, ``1``, or what is counted in braces."""
    description: str
    labels: tuple[str, ...] = ()


METRICS: dict[str, Metric] = {
    "rpc.server.call.duration": Metric(
        "histogram",
        SECONDS,
        "Duration of calls, by method and status.",
        ("rpc.system.name", "rpc.method", "rpc.response.status_code", "error.type"),
    ),
    "rankd.stage.duration": Metric(
        "histogram",
        SECONDS,
        "Time per stage: queue (a batch's oldest prompt, until read), score (a call's wait), tokenise, infer, order.",
        ("stage",),
    ),
    "rankd.answers": Metric("counter", "{answer}", "Rank answers, by policy and reason.", ("policy", "reason")),
    "rankd.items": Metric(
        "counter", "{item}", "Items in Rank answers, by outcome: scored, echoed, or why unscored.", ("outcome",)
    ),
    "rankd.batch.prompts": Metric("histogram", "{prompt}", "Prompts in a batch."),
    "rankd.batch.tokens": Metric("histogram", "{token}", "Tokens in a batch, padding included."),
    "rankd.batch.padding": Metric("counter", "{token}", "Padding tokens that the model read."),
    "rankd.batch.failures": Metric("counter", "{batch}", "Batches that failed."),
    "rankd.completions": Metric(
        "counter",
        "{report}",
        "Reports, by kind (final: the request has ended; progress: it waits or runs) and outcome: accepted, "
        "not_followed (beyond quality.max_windows), over_share (beyond quality.max_tenant_share), duplicate, or why "
        "rejected.",
        ("kind", "outcome"),
    ),
    "rankd.engine.placed": Metric(
        "counter",
        "{request}",
        "Requests that engines' plug-ins and proxies say they placed, by how: ranked; in arrival order as their scores "
        "were too_late or the daemon unreachable; other (no text, the guard, a client's own priority).",
        ("outcome",),
    ),
    "rankd.guard.transitions": Metric(
        "counter", "{transition}", "Changes of a guard, by from, to and reason.", ("from", "to", "reason")
    ),
    "rankd.adaptation.switches": Metric(
        "counter",
        "{switch}",
        "Changes of what orders, by what does since: learned (scores that were learned of the traffic) or base (the "
        "ranker's own).",
        ("to",),
    ),
    "rankd.shadow.prompts": Metric(
        "counter", "{prompt}", "Prompts offered to shadows, by outcome: scored, failed, dropped.", ("outcome",)
    ),
    "rankd.judgements": Metric(
        "counter", "{judgement}", "Candidates judged, by verdict and evidence.", ("verdict", "evidence")
    ),
    "rankd.completion_log.rows": Metric(
        "counter",
        "{row}",
        "Rows of the completion log (prompts, completions), by outcome: written, dropped.",
        ("kind", "outcome"),
    ),
    "rankd.completion_log.segments": Metric(
        "counter",
        "{segment}",
        "Segments of the completion log, by outcome: written, deleted (too old, or too many).",
        ("outcome",),
    ),
    "rankd.completion_log.bytes": Metric("counter", "By", "Bytes of those segments.", ("outcome",)),
    "rankd.rate_limited": Metric("counter", "{call}", "Calls refused because their caller was beyond its rate."),
    "rankd.auth.refused": Metric(
        "counter",
        "{refusal}",
        "Calls that were refused, by reason: missing, unknown or expired (credential), role, "
        "tenant. And predictions that were not believed: signature, of an echo or a report; tenant, "
        "of a report.",
        ("reason",),
    ),
    "rankd.tls.certificate_expiry": Metric(
        "gauge",
        SECONDS,
        "When the first certificate of the served chain is over, in seconds since the epoch; absent without TLS.",
    ),
    "rankd.file.failing": Metric(
        "gauge",
        "1",
        "The alarm: 1 while a file that is followed cannot be read, or is wrong, by the setting that names it. What it "
        "held before stays in force: a token that was taken out since is still valid.",
        ("setting",),
    ),
    "rankd.queue.prompts": Metric("gauge", "{prompt}", "Prompts that wait for the model."),
    "rankd.queue.tokens": Metric("gauge", "{token}", "Tokens that wait for the model."),
    "rankd.cache.entries": Metric("gauge", "{score}", "Scores in the cache."),
    "rankd.completion_log.failing": Metric(
        "gauge", "1", "The alarm: 1 while the completion log cannot be written, or drops rows. Serving goes on."
    ),
    "rankd.completion_log.queue": Metric(
        "gauge", "By", "Memory of rows that wait to be written to the completion log."
    ),
    "rankd.ranker.info": Metric(
        "gauge", "1", "1 for the ranker in service, by version and provider.", ("ranker_version", "provider")
    ),
    "rankd.ranker.device_share": Metric(
        "gauge",
        "1",
        "Of the time of a model that was loaded for CUDA, what did not pass in nodes on the CPU, 0 to 1, in a run at "
        "warm-up; by loaded ranker. Absent where it runs on the CPU, or that is not known.",
        ("ranker_version",),
    ),
    "rankd.ranker.cpu_products": Metric(
        "gauge",
        "{node}",
        "The alarm: matrix products of a model that ran on the CPU though CUDA should have run them, by loaded ranker "
        "and operator: with provider auto such a ranker is loaded for the CPU. Absent where there are none.",
        ("ranker_version", "operator"),
    ),
    "rankd.ranker.workers": Metric("gauge", "{worker}", "Batches that a ranker reads at once.", ("ranker_version",)),
    "rankd.provider.wanted": Metric(
        "gauge",
        "1",
        "1 for the provider that the ranker should run on: as set; where that is auto, cuda if the machine has a GPU.",
        ("provider",),
    ),
    "rankd.order.trust": Metric(
        "gauge", "1", "How far a ranker is followed, 0 (arrival order) to 1.", ("model", "ranker_version")
    ),
    "rankd.order.patience": Metric(
        "gauge",
        SECONDS,
        "Patience per expected token that tuning found, before trust; absent until it found one.",
        ("model", "ranker_version"),
    ),
    "rankd.order.objective": Metric(
        "gauge", "1", "1 for what queues are ordered for (order.objective).", ("objective",)
    ),
    "rankd.order.objective_ratio": Metric(
        "gauge",
        "1",
        "What an objective makes of recent completions, by replaying them: mean or p99 of latency, or mean time to the "
        "first token, over arrival order's; absent until they were replayed.",
        ("model", "ranker_version", "objective", "of"),
    ),
    "rankd.order.ignores_lengths": Metric(
        "gauge",
        "1",
        "1 while prompts alone order, since the guard found that scores do not add to them, else 0.",
        ("model", "ranker_version"),
    ),
    "rankd.order.prompt_cost": Metric(
        "gauge",
        "1",
        "What an uncached prompt token counts for in expected work, in output tokens.",
        ("model", "ranker_version"),
    ),
    "rankd.order.service_cost": Metric(
        "gauge",
        SECONDS,
        "What the engine takes for a prompt_token, an output_token and a request, by bound; absent until learned.",
        ("model", "ranker_version", "of", "bound"),
    ),
    "rankd.saved.state": Metric(
        "gauge",
        "1",
        "1 for what ranking does to a served model's traffic now, by state: learning, idle, no_queue, falls_back, "
        "gains, no_gain or loses.",
        ("model", "state"),
    ),
    "rankd.saved.latency": Metric(
        "gauge",
        SECONDS,
        "Latency of recent requests, observed and as it would have been in arrival_order, by measure (end_to_end, "
        "first_token, per_token) and statistic (mean, p50, p90, p99); absent while learning.",
        ("model", "measure", "statistic", "of"),
    ),
    "rankd.saved.time": Metric(
        "gauge",
        SECONDS,
        "What ranking saves of that latency, below 0 where it loses, by bound.",
        ("model", "measure", "statistic", "bound"),
    ),
    "rankd.saved.payer_time": Metric(
        "gauge",
        SECONDS,
        "What ranking saves a part of the requests end to end on average, by quarter of their work and bound.",
        ("model", "part", "bound"),
    ),
    "rankd.saved.slower_share": Metric(
        "gauge", "1", "Share of recent requests that ended later than in arrival order.", ("model",)
    ),
    "rankd.saved.total": Metric(
        "gauge", SECONDS, "What ranking saved all requests since it is summed up, by bound.", ("model", "bound")
    ),
    "rankd.guard.mode": Metric(
        "gauge",
        "1",
        "1 for the mode a guard is in, by served model, ranker and mode.",
        ("model", "ranker_version", "mode"),
    ),
    "rankd.guard.pinned": Metric(
        "gauge", "1", "1 while an operator holds a guard in its mode, else 0.", ("model", "ranker_version")
    ),
    "rankd.guard.floor": Metric(
        "gauge",
        "1",
        "Tau below which, by its upper bound, a ranker is followed no more (guard.floor); absent with the guard off.",
    ),
    "rankd.guard.return": Metric(
        "gauge",
        "1",
        "Tau above which, by its lower bound, it is followed again (guard.floor + guard.margin); absent likewise.",
    ),
    "rankd.quality.tau": Metric(
        "gauge",
        "1",
        "Censoring-aware Kendall's tau-b, by bound: value, low, high.",
        ("model", "ranker_version", "bound"),
    ),
    "rankd.quality.work_tau": Metric(
        "gauge",
        "1",
        "The same of expected against realised work, which the guard decides on, by bound.",
        ("model", "ranker_version", "bound"),
    ),
    "rankd.quality.prompt_work_tau": Metric(
        "gauge",
        "1",
        "The same of prompts alone, by bound; absent where no prompt is known to cost anything.",
        ("model", "ranker_version", "bound"),
    ),
    "rankd.adaptation.in_use": Metric(
        "gauge",
        "1",
        "1 where learned scores order, and all figures of quality are of them; 0 where the ranker's own do.",
        ("model", "ranker_version"),
    ),
    "rankd.adaptation.completions": Metric(
        "gauge", "{completion}", "Completions that are learned from.", ("model", "ranker_version")
    ),
    "rankd.adaptation.base_tau": Metric(
        "gauge",
        "1",
        "Tau-b of the ranker's own scores on what both predicted, by bound; absent while that is little.",
        ("model", "ranker_version", "bound"),
    ),
    "rankd.adaptation.learned_tau": Metric(
        "gauge", "1", "The same of learned scores, of before.", ("model", "ranker_version", "bound")
    ),
    "rankd.adaptation.difference": Metric(
        "gauge", "1", "The second less the first, paired, by bound.", ("model", "ranker_version", "bound")
    ),
    "rankd.quality.realised_gain": Metric(
        "gauge", "1", "Share of the oracle's gain that is realised, by bound.", ("model", "ranker_version", "bound")
    ),
    "rankd.pilot.running": Metric(
        "gauge",
        "1",
        "1 while a pilot is under way for a served model, 0 once it has ended; absent where there was none.",
        ("model",),
    ),
    "rankd.pilot.ratio": Metric(
        "gauge",
        "1",
        "Latency under the policy that a pilot tries over latency under the other one, by metric (of) and bound; "
        "absent before its first block.",
        ("model", "of", "bound"),
    ),
    "rankd.fleet.replicas": Metric(
        "gauge", "{replica}", "Replicas heard of late, this one included; 1 without fleet.peers."
    ),
    "rankd.quality.compared": Metric(
        "counter",
        "{report}",
        "Complete reports compared with the quality.pair_window before them on this replica (docs/science/fleet.md).",
        ("model", "ranker_version"),
    ),
    "rankd.quality.pairs": Metric(
        "counter",
        "{pair}",
        "Their pairs, by kind: concordant, discordant, tied_score, tied_length, tied_both.",
        ("model", "ranker_version", "kind"),
    ),
    "rankd.quality.pair_tokens": Metric(
        "counter",
        "{token}",
        "Sum of the length differences of those pairs, by kind: concordant, discordant, tied_score.",
        ("model", "ranker_version", "kind"),
    ),
    "rankd.quality.pair_products": Metric(
        "counter",
        "{product}",
        "Sums of products of two averages over a report's pairs, for the interval of tau, by which two.",
        ("model", "ranker_version", "of"),
    ),
    "rankd.quality.pair_token_products": Metric(
        "counter",
        "{product}",
        "The same of length differences, for the interval of realised gain.",
        ("model", "ranker_version", "of"),
    ),
    "rankd.quality.decided_pair_share": Metric(
        "gauge", "1", "Share of pairs whose order is known.", ("model", "ranker_version")
    ),
}
"""All metrics by name."""


CHOSEN_LABELS = frozenset(("model", "ranker_version"))
"""Labels whose values callers or operators choose. How many there are at a time is bounded by ``quality.max_windows``,
and metrics with them are forgotten as soon as their window is; all other labels are words of ours."""


READ_ELSEWHERE = frozenset(
    f"rankd.quality.{name}" for name in ("compared", "pairs", "pair_tokens", "pair_products", "pair_token_products")
)
"""Counters that windows keep themselves, and that are read there when metrics are collected."""


PROCESS_METRICS: dict[str, tuple[str, str]] = {
    "process_cpu_seconds": ("counter", "Processor time, seconds."),
    "process_resident_memory_bytes": ("gauge", "Memory in use, bytes."),
    "process_virtual_memory_bytes": ("gauge", "Address space, bytes; much more than is in use."),
    "process_open_fds": ("gauge", "Open files and connections."),
    "process_max_fds": ("gauge", "Most of these that the system allows."),
    "process_start_time_seconds": ("gauge", "When the process began, seconds since the epoch."),
}
"""What prometheus_client exports of the process on Linux, by Prometheus name: kind, description. Only at /metrics."""
