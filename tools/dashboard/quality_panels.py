"""How good is the order? Quality, guard, trust."""

from tools.dashboard.panel import Panel
from tools.dashboard.promql import BOTH, FLEET, REPLICA, WINDOW

Steps = list[tuple[float | None, str]]

GOOD: Steps = [(None, "red"), (0.14, "yellow"), (0.19, "blue")]
ALARM: Steps = [(None, "green"), (1, "red")]
MODES = {"0": ("warming up", "super-light-blue"), "1": ("ranked", "blue"), "2": ("fallback", "orange")}
_FALLBACK = 'reason=~"guard|ranker_unavailable|deadline|overloaded"'

HELP = [
    Panel(
        "Tau now",
        "How well scores order answer lengths, over all replicas: Kendall's tau-b, 1 is a perfect order, 0 is chance, "
        "below 0 is worse than chance. Colours are those of the guard's default thresholds, .14 and .19. "
        "No unit. Needs the recording rules of fleet.yaml; job and replica do not filter it.",
        [(f"rankd:fleet_tau{{{FLEET}}}", "{{model}} {{ranker_version}}")],
        kind="stat",
        width=4,
        height=5,
        decimals=2,
        steps=GOOD,
    ),
    Panel(
        "Realised gain now",
        "Share of the waiting time that a perfect order would save which this order really saves. 100 % is perfect, 0 "
        "is arrival order; by how many seconds, the row above says. Needs the recording rules of fleet.yaml.",
        [(f"rankd:fleet_realised_gain{{{FLEET}}}", "{{model}} {{ranker_version}}")],
        kind="stat",
        unit="percentunit",
        width=4,
        height=5,
        decimals=0,
        steps=[(None, "red"), (0.1, "yellow"), (0.3, "blue")],
    ),
    Panel(
        "Answers in ranked order",
        "Share of answers that were ordered by length, of those that were meant to be: what is left was answered in "
        "order of arrival, or by prompts alone, because of the guard, a failing ranker, a deadline or a full queue.",
        [
            (
                (
                    f"1 - (sum(rate(rankd_answers_total{{{REPLICA},{_FALLBACK}}}{WINDOW})) or vector(0)) "
                    f'/ sum(rate(rankd_answers_total{{{REPLICA},reason!="requested"}}{WINDOW}))'
                ),
                "ranked",
            )
        ],
        kind="stat",
        unit="percentunit",
        width=4,
        height=5,
        decimals=0,
        steps=[(None, "red"), (0.5, "yellow"), (0.9, "green")],
    ),
    Panel(
        "Guards in fallback",
        "Replicas, counted once per served model and ranker, whose guard holds the ranker back. They answer in order "
        "of arrival, or by prompts alone; nothing is lost.",
        [(f'sum(rankd_guard_mode{{{BOTH},mode="fallback"}})', "in fallback")],
        kind="stat",
        width=4,
        height=5,
        steps=ALARM,
    ),
    Panel(
        "Replicas",
        "Daemons that answer Prometheus now.",
        [(f"sum(up{{{REPLICA}}})", "up")],
        kind="stat",
        width=4,
        height=5,
        steps=[(None, "red"), (1, "green")],
    ),
    Panel(
        "Ranker in service",
        "Which ranker answers and where it runs; the number is how many replicas. Two names at a time are normal while "
        "a new one is being rolled out.",
        [
            (
                (
                    "count by (ranker_version, provider) "
                    f'(rankd_ranker_info{{{REPLICA},ranker_version=~"$ranker_version"}})'
                ),
                "{{ranker_version}} on {{provider}}",
            )
        ],
        kind="stat",
        width=4,
        height=5,
    ),
    Panel(
        "Tau of the fleet, its interval, and the guard's thresholds",
        "Tau with the ends of its 95 % interval. The guard ends ranking when tau is surely below the floor (the upper "
        "end is), and brings it back when tau is surely above the return line (the lower end is). No unit.",
        [
            (f"rankd:fleet_tau{{{FLEET}}}", "tau {{model}} {{ranker_version}}"),
            (f"rankd:fleet_tau_low{{{FLEET}}}", "low {{model}} {{ranker_version}}"),
            (f"rankd:fleet_tau_high{{{FLEET}}}", "high {{model}} {{ranker_version}}"),
            (f"max(rankd_guard_floor{{{REPLICA}}})", "floor"),
            (f"max(rankd_guard_return{{{REPLICA}}})", "return"),
        ],
        width=12,
        height=9,
        decimals=2,
        dashed="^(low|high|floor|return).*",
    ),
    Panel(
        "Realised gain of the fleet, and its interval",
        "Share of a perfect order's saving that is realised, with the ends of its 95 % interval. Lengths weigh in: "
        "one very long answer placed well counts for more than many short ones.",
        [
            (f"rankd:fleet_realised_gain{{{FLEET}}}", "gain {{model}} {{ranker_version}}"),
            (f"rankd:fleet_realised_gain_low{{{FLEET}}}", "low {{model}} {{ranker_version}}"),
            (f"rankd:fleet_realised_gain_high{{{FLEET}}}", "high {{model}} {{ranker_version}}"),
        ],
        unit="percentunit",
        width=12,
        height=9,
        dashed="^(low|high).*",
    ),
    Panel(
        "Completions that the fleet's figures rest on",
        "Completions of known length within the last hour that were compared with others. Below some hundreds the "
        "interval is wide and little can be said.",
        [
            (
                f"sum by (model, ranker_version) (increase(rankd_quality_compared_total{{{BOTH}}}[1h]))",
                "{{model}} {{ranker_version}}",
            )
        ],
        low=0,
        decimals=0,
    ),
    Panel(
        "Tau by replica",
        "The same figure as each replica sees it, over its own last requests, with requests that have not ended yet "
        "taken into account. Replicas differ by chance; one far from the others gets other traffic. No unit.",
        [(f'rankd_quality_tau{{{BOTH},bound="value"}}', "{{instance}} {{model}} {{ranker_version}}")],
        decimals=2,
    ),
    Panel(
        "Realised gain by replica",
        "Share of a perfect order's saving that is realised, as each replica sees it.",
        [(f'rankd_quality_realised_gain{{{BOTH},bound="value"}}', "{{instance}} {{model}} {{ranker_version}}")],
        unit="percentunit",
    ),
    Panel(
        "Pairs whose order is known",
        "Share of pairs of requests of which it is known which one is longer. Under about 85 % trust tau's interval "
        "more than tau: many requests were cut short or still wait.",
        [(f"rankd_quality_decided_pair_share{{{BOTH}}}", "{{instance}} {{model}} {{ranker_version}}")],
        unit="percentunit",
        low=0,
        high=1,
    ),
    Panel(
        "Guard's mode",
        "What each guard says. Warming up: too few reports yet; a ranker that was measured before it was shipped ranks "
        "meanwhile. Ranked: scores order the queue. Fallback: order of arrival, or by prompts alone.",
        [
            (
                (
                    f'sum by (instance, model, ranker_version) (rankd_guard_mode{{{BOTH},mode="ranked"}}) '
                    f'+ 2 * sum by (instance, model, ranker_version) (rankd_guard_mode{{{BOTH},mode="fallback"}})'
                ),
                "{{instance}} {{model}} {{ranker_version}}",
            )
        ],
        kind="state-timeline",
        width=16,
        value_names=MODES,
    ),
    Panel(
        "Changes of guards",
        "Changes since the replicas began, by what from, to and why; each step up is a change.",
        [(f"sum by (from, to, reason) (rankd_guard_transitions_total{{{REPLICA}}})", "{{from}} to {{to}}: {{reason}}")],
        low=0,
    ),
    Panel(
        "Changes of what orders",
        "Changes since the replicas began to scores that were learned of the traffic (learned), and back to the "
        "ranker's own (base).",
        [(f"sum by (to) (rankd_adaptation_switches_total{{{REPLICA}}})", "to {{to}}")],
        low=0,
    ),
    Panel(
        "Learned scores order",
        "1 where what was learned of the traffic orders, and the figures of quality are of it; 0 where the ranker's "
        "own scores do. A pilot under way keeps learned scores out of use.",
        [(f"rankd_adaptation_in_use{{{BOTH}}}", "{{instance}} {{model}} {{ranker_version}}")],
        kind="state-timeline",
        value_names={"0": ("the ranker's own", "blue"), "1": ("learned", "green")},
    ),
    Panel(
        "Completions that are learned from",
        "Those that are not forgotten, on each replica; peers' included. None where clients report without the "
        "features that predictions carry.",
        [(f"rankd_adaptation_completions{{{BOTH}}}", "{{instance}} {{model}} {{ranker_version}}")],
        low=0,
        decimals=0,
    ),
    Panel(
        "Tau of what was learned, and of the ranker",
        "Both on the same recent completions, each predicted before it was learned from. No unit; nothing while these "
        "are few.",
        [
            (f'rankd_adaptation_learned_tau{{{BOTH},bound="value"}}', "learned {{instance}} {{model}}"),
            (f'rankd_adaptation_base_tau{{{BOTH},bound="value"}}', "ranker {{instance}} {{model}}"),
        ],
        decimals=2,
        width=12,
        dashed="^ranker.*",
    ),
    Panel(
        "What learning adds to tau, and its interval",
        "Learned less the ranker's own, paired, with the ends of its interval. Learned scores come into use while it "
        "is surely above 0, and leave it when recent completions speak against them. No unit.",
        [
            (f'rankd_adaptation_difference{{{BOTH},bound="value"}}', "difference {{instance}} {{model}}"),
            (f'rankd_adaptation_difference{{{BOTH},bound="low"}}', "low {{instance}} {{model}}"),
            (f'rankd_adaptation_difference{{{BOTH},bound="high"}}', "high {{instance}} {{model}}"),
        ],
        decimals=2,
        width=12,
        dashed="^(low|high).*",
    ),
    Panel(
        "Guards held by an operator",
        "1 while somebody pinned a guard to a mode; it ends by itself at the time that was given. A held guard raises "
        "no alarm about fallback.",
        [(f"rankd_guard_pinned{{{BOTH}}}", "{{instance}} {{model}} {{ranker_version}}")],
        kind="state-timeline",
        width=12,
        value_names={"0": ("decides itself", "green"), "1": ("held", "orange")},
    ),
    Panel(
        "Replicas in touch",
        "How many replicas each one has heard of lately, itself included. 1 everywhere without fleet.peers; with it, a "
        "replica that shows less than the others cannot reach them.",
        [(f"sum by (instance) (rankd_fleet_replicas{{{REPLICA}}})", "{{instance}}")],
        width=12,
        low=0,
        decimals=0,
    ),
    Panel(
        "Trust",
        "How far the ranker is followed: 1 is fully, 0 is order of arrival. It grows with the lower end of tau's "
        "interval. No unit.",
        [(f"rankd_order_trust{{{BOTH}}}", "{{instance}} {{model}} {{ranker_version}}")],
        low=0,
        high=1,
        width=12,
    ),
    Panel(
        "Patience",
        "Seconds that a request is willing to wait per expected token, as found by replaying recent traffic, before "
        "trust. Larger lets short requests overtake more. Empty until reports with waiting times have come.",
        [(f"rankd_order_patience_seconds{{{BOTH}}}", "{{instance}} {{model}} {{ranker_version}}")],
        unit="s",
        width=12,
    ),
]
