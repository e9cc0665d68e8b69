"""A replay as one page that needs no knowledge of queues: the verdict in words first, then figures and pictures."""

from __future__ import annotations

from html import escape

from rankd.html.parts import NBSP, NONE, card, document, headline, keys, percent, resource, table, tile_row
from rankd.replay.policies.by_name import POLICIES
from rankd.replay.report import pictures
from rankd.replay.report.descriptions import describe_engine, describe_scores, describe_trace
from rankd.replay.report.front_cards import front_card, picture_cards, who_pays_card
from rankd.replay.report.metrics import PolicyFigures
from rankd.replay.report.report import ReplayReport
from rankd.replay.report.units import DurationUnit
from rankd.replay.report.verdict import verdict


def page(report: ReplayReport) -> str:
    """The document."""
    found = verdict(report)
    first, *more = [_marked(sentence) for sentence in found.sentences]
    head = headline(
        f"rankd replay · {report.facts.name} · {report.facts.requests:,} requests",
        found.title,
        f"<b>{first}</b>",
    )
    reasons = "".join(f"<li>{sentence}</li>" for sentence in more)
    cards = (
        card("Why, and what else", f'<ul class="reasons">{reasons}</ul>', "", wide=True) if more else "",
        front_card(report),
        *picture_cards(report),
        _latency_card(report),
        who_pays_card(report),
        _policy_card(report),
        _tail_card(report),
        _tau_card(report),
        _load_card(report),
        _first_card(report),
        _rests_card(report),
        _terms_card(),
    )
    return document(
        f"{report.facts.name}: replay", head, _tiles(report, found.recommendation.objective or report.own), cards
    )


def _tiles(report: ReplayReport, policy: str) -> str:
    unit, fcfs, own = DurationUnit(report.steps), report.of("fcfs"), report.of(policy)
    waits = fcfs.wait.mean / fcfs.latency.mean
    return tile_row(
        (
            (
                f"Mean E2E latency, {escape(policy)}",
                unit(own.latency.mean),
                f"{unit(fcfs.latency.mean)} in arrival order, {_change(own.latency.mean, fcfs.latency.mean)}",
            ),
            (
                f"p99 of E2E latency, {escape(policy)}",
                unit(own.latency.p99),
                f"{unit(fcfs.latency.p99)} in arrival order, {_change(own.latency.p99, fcfs.latency.p99)}",
            ),
            (
                "Of the possible gain",
                NONE if own.gain is None else percent(own.gain),
                "true lengths, shortest first, would be 100" + NBSP + "%",
            ),
            ("Waiting, in arrival order", percent(waits), "of the mean latency is spent in the queue"),
        )
    )


def _policy_card(report: ReplayReport) -> str:
    unit, fcfs = DurationUnit(report.steps), report.of("fcfs")
    columns = (
        "", "mean", "p50", "p90", "p99", "longest", "per token, mean", "p90", "TTFT, mean", "possible gain",
    )  # fmt: skip

    def cell(value: float, before: float, f: PolicyFigures) -> str:
        more = "" if f is fcfs else f"<br/><small>{_change(value, before)}</small>"
        return unit.bare(value) + more

    rows = [
        (
            f"<b>{escape(f.policy)}</b>" if f.policy == report.own else escape(f.policy),
            cell(f.latency.mean, fcfs.latency.mean, f),
            cell(f.latency.p50, fcfs.latency.p50, f),
            cell(f.latency.p90, fcfs.latency.p90, f),
            cell(f.latency.p99, fcfs.latency.p99, f),
            cell(f.latency.max, fcfs.latency.max, f),
            cell(f.per_token.mean, fcfs.per_token.mean, f),
            cell(f.per_token.p90, fcfs.per_token.p90, f),
            cell(f.first_token.mean, fcfs.first_token.mean, f),
            NONE if f.gain is None else percent(f.gain),
        )
        for f in report.shown
    ]
    meanings = "".join(
        f"<dt>{escape(f.policy)}</dt><dd>{escape(POLICIES[f.policy.partition(':')[0]])}</dd>" for f in report.shown
    )
    note = (
        f"<b>{escape(report.own)}</b> is what the daemon does with these settings. "
        "Below each figure, its change against fcfs."
    )
    return card("Latency under every policy", table(columns, rows) + f"<dl>{meanings}</dl>", note, wide=True)


def _latency_card(report: ReplayReport) -> str:
    note = "The further to the left a line is, the sooner that share of the requests is done."
    return card("How latencies spread", _legend(report) + pictures.latency_picture(report), note)


def _tail_card(report: ReplayReport) -> str:
    note = (
        "The slowest requests, which means alone do not show. Shortest first makes a few wait very long; patience "
        "bounds by how much any request is overtaken."
    )
    return card("The slowest", _legend(report) + pictures.tail_picture(report), note)


def _tau_card(report: ReplayReport) -> str:
    sweep = report.tau_sweep
    if sweep is None or not sweep.points:
        return ""
    shown = keys(("ranker", "mean latency"), ("oracle", "per token"), ("chance", "99th percentile"))
    tau = report.source.tau
    yours = "" if tau is None else f" The scores of this replay have a tau of {tau:.2f}."
    note = (
        f"Tau says how well a ranker orders: 0 is chance, 1 is perfect. {sweep.requests:,} requests under "
        f"{escape(sweep.policy)} with made-up rankers of each quality.{yours} Below 0 a ranker misleads, and the guard "
        "ends it after some hundred completions."
    )
    return card("What a better ranker would buy", shown + pictures.tau_picture(sweep), note)


def _load_card(report: ReplayReport) -> str:
    sweep = report.load_sweep
    if sweep is None:
        return ""
    pays = (
        f"Ranking saves less than 5{NBSP}% of the mean at every load shown."
        if sweep.pays_from is None
        else f"From a load of about {percent(sweep.pays_from)} on it saves 5{NBSP}% of the mean: the upright line."
    )
    load = report.facts.load
    here = "" if load is None else f" This replay is at {percent(load)}."
    note = f"{pays}{here} {sweep.requests:,} requests, arriving faster or slower."
    return card("From which load on it pays", _legend(report) + pictures.load_picture(sweep, report), note)


def _first_card(report: ReplayReport) -> str:
    unit = DurationUnit(report.steps)
    own = [report.of("fcfs"), report.of(report.policy), report.of("oracle")]
    columns = ("done", *(escape(f.policy) for f in own))
    rows = [(f"first {n:,}", *(unit(f.first_done[n]) for f in own)) for n in own[0].first_done]
    rows.append(
        ("tokens per second" if not report.steps else "tokens per step", *(f"{f.tokens_per_second:,.1f}" for f in own))
    )
    rows.append(("slots taken away", *(f"{f.preempted:,}" for f in own)))
    return card("Time to the first answers", table(columns, rows), "Counted from the first arrival on.")


def _rests_card(report: ReplayReport) -> str:
    own = report.of(report.policy)
    rows = [
        ("Trace", escape(describe_trace(report))),
        ("Engine", escape(describe_engine(report))),
        ("Scores", escape(describe_scores(report))),
        ("Trust at the end", NONE if own.trust is None else f"{own.trust:.2f} of 1"),
        *(("Note", escape(note)) for note in report.plan.notes),
    ]
    body = "".join(f"<dt>{name}</dt><dd>{text}</dd>" for name, text in rows)
    note = "A simulation: the order is computed by the daemon's own code, the engine's times are the costs above."
    return card("What this rests on", f"<dl>{body}</dl>", note, wide=True)


def _terms_card() -> str:
    return card("What the words mean", f"<dl>{resource('rankd.replay.report', 'terms.html')}</dl>", "", wide=True)


def _legend(report: ReplayReport) -> str:
    return keys(("chance", "arrival order"), ("ranker", escape(report.own)), ("oracle", "true lengths"))


def _change(value: float, before: float) -> str:
    return f"{100 * (value / before - 1):+.0f}{NBSP}%"


def _marked(sentence: str) -> str:
    """A sentence as markup: names between backquotes stand out, and no line ends before a per cent sign."""
    parts = escape(sentence).replace(" %", f"{NBSP}%").split("`")
    return "".join(f"<code>{part}</code>" if number % 2 else part for number, part in enumerate(parts))
