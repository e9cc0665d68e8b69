"""The ranker, the completion log and the process."""

from tools.dashboard.panel import Panel
from tools.dashboard.promql import REPLICA, WINDOW, mean, per_replica, rate_by

DAY = 86400

RANKER = [
    Panel(
        "Rankers in service",
        "Which replica serves which ranker, and where it runs.",
        [(f"rankd_ranker_info{{{REPLICA}}}", "")],
        kind="table",
    ),
    Panel(
        "Time on the GPU",
        "Of the time of models that run on the GPU, what did not pass in nodes on the CPU, in a run at their warm-up.",
        [(f"rankd_ranker_device_share{{{REPLICA}}}", "{{instance}} {{ranker_version}}")],
        unit="percentunit",
        low=0,
    ),
    Panel(
        "Products without CUDA kernel",
        "Matrix products that the GPU left to the CPU, by operator. Such a ranker was loaded for the CPU.",
        [
            (
                f"sum by (instance, ranker_version, operator) (rankd_ranker_cpu_products{{{REPLICA}}})",
                "{{instance}} {{ranker_version}} {{operator}}",
            )
        ],
        low=0,
    ),
    Panel(
        "Workers",
        "Batches that a ranker reads at the same time, as scoring.workers says or the daemon chose. A shadow has one.",
        [(f"max by (ranker_version) (rankd_ranker_workers{{{REPLICA}}})", "{{ranker_version}}")],
        low=0,
    ),
    Panel(
        "Batches",
        "Batches per second that models read, candidates in the shadow included, and that failed. Failed ones leave "
        "their requests without a score.",
        [
            (f"sum(rate(rankd_batch_prompts_count{{{REPLICA}}}{WINDOW}))", "read"),
            (f"sum(rate(rankd_batch_failures_total{{{REPLICA}}}{WINDOW}))", "failed"),
        ],
        unit="ops",
        low=0,
    ),
    Panel(
        "Prompts read",
        "Prompts per second that models read, candidates in the shadow included. What is in the cache is "
        "not read again.",
        [(f"sum by (instance) (rate(rankd_batch_prompts_sum{{{REPLICA}}}{WINDOW}))", "{{instance}}")],
        unit="ops",
        low=0,
    ),
    Panel(
        "Size of batches",
        "Prompts in a batch, and tokens with padding, on average. On a CPU batches are small on purpose.",
        [(mean("rankd_batch_prompts", REPLICA), "prompts"), (mean("rankd_batch_tokens", REPLICA), "tokens")],
        low=0,
        decimals=1,
    ),
    Panel(
        "Padding",
        "Share of the tokens read that are padding, work for nothing. Bounded by scoring.max_padding_share.",
        [
            (
                (
                    f"sum(rate(rankd_batch_padding_total{{{REPLICA}}}{WINDOW})) "
                    f"/ sum(rate(rankd_batch_tokens_sum{{{REPLICA}}}{WINDOW}))"
                ),
                "padding",
            )
        ],
        unit="percentunit",
        low=0,
    ),
    Panel(
        "Prompts that wait",
        "Prompts that wait for the model. Beyond scoring.max_queued_prompts further ones get no score.",
        per_replica("rankd_queue_prompts"),
        low=0,
    ),
    Panel(
        "Tokens that wait",
        "Their tokens. Beyond scoring.max_queued_tokens further prompts get no score.",
        per_replica("rankd_queue_tokens"),
        low=0,
    ),
    Panel(
        "Scores in the cache",
        "Scores kept, up to scoring.cache_entries; prompts themselves are not.",
        per_replica("rankd_cache_entries"),
        low=0,
    ),
    Panel(
        "Prompts read in the shadow",
        "Prompts per second offered to candidates that are tried out beside the ranker in service. dropped: there was "
        "no time for them; that costs the candidate evidence and nobody else anything.",
        [(rate_by("outcome", "rankd_shadow_prompts_total", REPLICA), "{{outcome}}")],
        unit="ops",
        low=0,
    ),
    Panel(
        "Candidates judged",
        "Judgements since the replicas began, by verdict and evidence. Empty where none was ever judged.",
        [
            (f"sum by (verdict, evidence) (rankd_judgements_total{{{REPLICA}}})", "{{verdict}} by {{evidence}}"),
        ],
        low=0,
    ),
]

LOG = [
    Panel(
        "Completion log: alarm",
        "1 while the log cannot be written or drops rows; serving goes on. Empty where the log is off.",
        [(f"max by (instance) (rankd_completion_log_failing{{{REPLICA}}})", "{{instance}}")],
        kind="state-timeline",
        value_names={"0": ("written", "green"), "1": ("failing", "red")},
    ),
    Panel(
        "Completion log: rows",
        "Prompts and completions per second that were written, and that were dropped because memory for them was full.",
        [(rate_by("kind, outcome", "rankd_completion_log_rows_total", REPLICA), "{{kind}} {{outcome}}")],
        unit="ops",
        low=0,
    ),
    Panel(
        "Completion log: waiting",
        "Memory of rows that wait to be written, bytes, up to completion_log.queue_bytes. It rises and falls with "
        "every flush; it only rises while nothing can be written.",
        per_replica("rankd_completion_log_queue_bytes"),
        unit="bytes",
        low=0,
    ),
    Panel(
        "Completion log: bytes",
        "Bytes per second that were written, and that were deleted for their age or because there were too many.",
        [(rate_by("outcome", "rankd_completion_log_bytes_total", REPLICA), "{{outcome}}")],
        unit="Bps",
        low=0,
    ),
    Panel(
        "Completion log: files",
        "Files per second that were written and deleted.",
        [(rate_by("outcome", "rankd_completion_log_segments_total", REPLICA), "{{outcome}}")],
        unit="ops",
        low=0,
    ),
]

PROCESS = [
    Panel(
        "Processor",
        "Cores in use. On a CPU the ranker takes one for each thread of each worker when busy.",
        [(f"rate(process_cpu_seconds_total{{{REPLICA}}}{WINDOW})", "{{instance}}")],
        decimals=2,
        low=0,
    ),
    Panel(
        "Memory",
        "Memory in use, bytes: the ranker, scores, and up to 7 MB per window of quality.",
        [(f"process_resident_memory_bytes{{{REPLICA}}}", "{{instance}}")],
        unit="bytes",
        low=0,
    ),
    Panel(
        "Open files and connections",
        "Share of what the system allows that is open.",
        [(f"process_open_fds{{{REPLICA}}} / process_max_fds{{{REPLICA}}}", "{{instance}}")],
        unit="percentunit",
        low=0,
    ),
    Panel(
        "Running for",
        "Time since the process began. A saw is a daemon that restarts again and again.",
        [(f"time() - process_start_time_seconds{{{REPLICA}}}", "{{instance}}")],
        unit="s",
        low=0,
    ),
    Panel(
        "Certificate's time left",
        "Time until the certificate that is served ends. Empty without TLS.",
        [(f"rankd_tls_certificate_expiry_seconds{{{REPLICA}}} - time()", "{{instance}}")],
        unit="s",
        kind="stat",
        steps=[(None, "red"), (DAY, "yellow"), (7 * DAY, "green")],
    ),
    Panel(
        "Versions",
        "Replicas by version of rankd. Two at a time are normal during an update.",
        [(f"count by (service_version) (target_info{{{REPLICA}}})", "{{service_version}}")],
        kind="stat",
    ),
]
