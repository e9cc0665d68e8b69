"""The verdict as one page: a self-contained HTML document with its pictures, for a desk and a phone, light and dark.

It holds figures and the names of sources and models, and no word of any prompt.
"""

from __future__ import annotations

from collections.abc import Sequence
from html import escape
from pathlib import Path

from rankd.html.parts import (
    NBSP,
    NONE,
    card,
    count,
    document,
    headline,
    keys,
    percent,
    resource,
    table,
    tile_row,
    write_html,
)
from rankd.quality.statistics.interval import Interval
from rankd.training.evaluation import pictures
from rankd.training.evaluation.evaluate import Evaluation
from rankd.training.evaluation.figures import EvaluationFigures
from rankd.training.evaluation.graphs import in_words
from rankd.training.evaluation.json_report import estimator
from rankd.training.evaluation.learning_card import learning_cards

_SCRIPTS = "The script that most letters of a prompt are written in, which is the nearest to its language."


def write_page(evaluation: Evaluation, path: Path) -> None:
    """Write the page; directories are made.

    Raises:
        ConfigError: the file cannot be written.
    """
    write_html(page(evaluation), path)


def page(evaluation: Evaluation) -> str:
    """The document."""
    sections = (
        _gain_card(evaluation),
        _length_card(evaluation),
        _calibration_card(evaluation),
        *learning_cards(evaluation.adapt),
        _more_card(evaluation),
        _groups_card(evaluation),
        _table_card("By script", _SCRIPTS, evaluation.scripts),
        _terms_card(evaluation),
    )
    return document(f"{evaluation.ranker}: evaluation", _head(evaluation), _tiles(evaluation), sections)


def _head(e: Evaluation) -> str:
    models, sources = len(e.models), len(e.sources)
    data = f"{e.overall.rows:,} rows, {e.speed.prompts:,} prompts, {count(sources, 'source')}, {count(models, 'model')}"
    return headline(f"rankd evaluate · {data}", e.ranker, _sentence(e))


def _sentence(e: Evaluation) -> str:
    """The verdict in words."""
    tau, gain, ceiling = e.overall.tau, e.overall.realised_gain, e.overall.ceiling
    if tau is None or gain is None:
        return "These rows are too few, or too alike, to tell how well it orders."
    if tau.low <= 0:
        return (
            f"On these rows its order <b>cannot be told from chance</b>: tau is {tau.value:.2f}, "
            f"and its interval reaches down to {tau.low:.2f}."
        )
    saving = f"Its order brings <b>{percent(gain.value)} of the saving in waiting time</b> that a perfect order would"
    if ceiling is None or ceiling.tau_share is None:
        return f"{saving}. How much could be had at all is unknown: no row has several samples."
    return (
        f"{saving}. Answers to one and the same prompt vary, which sets a ceiling; "
        f"its tau comes to <b>{percent(ceiling.tau_share)} of that</b>."
    )


def _tiles(e: Evaluation) -> str:
    tau, gain, ceiling, speed = e.overall.tau, e.overall.realised_gain, e.overall.ceiling, e.speed
    share = None if ceiling is None else ceiling.tau_share
    of_rows = "unknown without several samples"
    if ceiling is not None:
        of_rows = f"ceiling {ceiling.tau:.3f}, from {ceiling.rows:,} rows"
    tiles = (
        ("tau", _number(tau), _range(tau)),
        ("Realised gain", _percent(gain), _range(gain, as_percent=True)),
        ("tau \N{DIVISION SIGN} ceiling", NONE if share is None else percent(share), of_rows),
        (
            "Prompts per second",
            f"{speed.prompts_per_second:,.0f}",
            f"{count(speed.threads, 'thread')}, {escape(speed.provider.upper())}",
        ),
    )
    return tile_row(tiles)


def _gain_card(e: Evaluation) -> str:
    if e.gain_curve is None:
        return ""
    shown = keys(("ranker", "this ranker"), ("oracle", "perfect order"), ("chance", "chance"))
    note = (
        "A good order gets many requests done before much of the work is. The blue area is "
        f"{_percent(e.overall.realised_gain)} of the whole area down to the perfect order: the realised gain."
    )
    return card("Gain", shown + pictures.gain_picture(e.gain_curve), note)


def _length_card(e: Evaluation) -> str:
    shown = keys(("ranker", "median"), ("half", "middle half"), ("most", f"middle 80{NBSP}%"))
    note = (
        "True lengths along the ranker's order. The more steeply the median climbs and the narrower the bands are, the "
        "better; where it is flat, the ranker tells nothing."
    )
    return card("Length against score", shown + pictures.length_picture(e.bands), note)


def _calibration_card(e: Evaluation) -> str:
    quality = e.calibration
    if quality is None:
        return card("Calibration", "", "This ranker's manifest has no calibration.")
    shown = keys(("bin", "about a tenth of the rows"), ("chance", "as expected"))
    note = (
        f"Expected were {quality.expected_tokens:,.0f} tokens on average, it was {quality.actual_tokens:,.0f}. "
        "Above the dashed line answers are longer than expected, below it shorter."
    )
    if quality.below_p50 is not None and quality.below_p90 is not None:
        note += (
            f" {percent(quality.below_p50)} of the answers end by the predicted median and "
            f"{percent(quality.below_p90)} by the predicted 90th percentile; 50 and 90{NBSP}% would be right."
        )
    return card("Calibration", shown + pictures.calibration_picture(quality), note)


def _more_card(e: Evaluation) -> str:
    s, decided = e.speed, e.decided_pair_share
    rows = [
        ("Tau of the head, shorter half", _plain(e.head_tau)),
        ("Tau of the tail, longer half", _plain(e.tail_tau)),
        ("Tau of all rows as one queue", _plain(e.pooled_tau)),
        ("Answers cut off", f"{e.overall.censored:,}"),
        ("Pairs whose order is known", NONE if decided is None else percent(decided)),
        ("Mean length of an answer", f"{e.overall.mean_tokens:,.0f} tokens"),
        ("Prompts per second, in batches", f"{s.prompts_per_second:,.1f}"),
        ("A prompt alone, median", f"{s.latency_p50_ms:.2f} ms"),
        ("A prompt alone, 99th percentile", f"{s.latency_p99_ms:.2f} ms"),
        *(("Graph", escape(in_words(g))) for g in e.graphs if len(e.graphs) > 1),
    ]
    note = (
        f"Speed on {escape(s.machine)}, {count(s.threads, 'thread')}, {s.latency_prompts:,} prompts timed alone; "
        "what else ran there at the time counts."
    )
    return card("More figures", table((), rows), note)


def _groups_card(e: Evaluation) -> str:
    shown = keys(("dot", f"tau with its 95{NBSP}% interval"), ("ceiling", "ceiling"))
    lines = sorted(e.groups[: pictures.MOST_LINES], key=lambda f: -(f.tau.value if f.tau else -2.0))
    hidden = e.groups[pictures.MOST_LINES :]
    note = "Lengths compare within a source and model only; the figure on top weighs every one by its pairs."
    return card("Tau by source and model", shown + pictures.dot_plot([*lines, *hidden]), note, wide=True)


def _table_card(title: str, note: str, lines: Sequence[EvaluationFigures]) -> str:
    columns = ("", "rows", "tau", f"95{NBSP}% interval", "realised gain", "mean tokens")
    rows = [
        (
            escape(f.name) or "unnamed",
            f"{f.rows:,}",
            _number(f.tau),
            _range(f.tau),
            _percent(f.realised_gain),
            f"{f.mean_tokens:,.0f}",
        )
        for f in lines
    ]
    return card(title, table(columns, rows), note, wide=True)


def _terms_card(e: Evaluation) -> str:
    counted = f"Counted: {estimator(e)}."
    if e.overall.censored:
        counted += (
            f" {e.overall.censored:,} of {e.overall.rows:,} rows are lower bounds; "
            f"{percent(e.decided_pair_share or 0.0)} of the pairs are decided."
        )
    if e.unscored:
        counted += f" {e.unscored:,} rows got no finite score and are left out."
    return card(
        "What the words mean", f"<dl>{resource('rankd.training.evaluation', 'terms.html')}</dl>", counted, wide=True
    )


def _number(value: Interval | None) -> str:
    return NONE if value is None else f"{value.value:.3f}"


def _percent(value: Interval | None) -> str:
    return NONE if value is None else percent(value.value)


def _plain(value: float | None) -> str:
    return NONE if value is None else f"{value:.3f}"


def _range(value: Interval | None, *, as_percent: bool = False) -> str:
    if value is None:
        return "too few rows"
    if as_percent:
        return f"{100 * value.low:.0f} to {percent(value.high)}"
    return f"{value.low:.3f} to {value.high:.3f}"
