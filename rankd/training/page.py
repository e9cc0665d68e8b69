"""The verdict as one page: a self-contained HTML document with its pictures, for a desk and a phone, light and dark.

It holds figures and the names of sources and models, and no word of any prompt.
"""

from __future__ import annotations

from collections.abc import Sequence
from html import escape
from importlib.resources import files
from pathlib import Path

from rankd.errors import ConfigError
from rankd.quality.report import Bounded
from rankd.training import pictures
from rankd.training.evaluate import Evaluation
from rankd.training.figures import Figures
from rankd.training.verdict import estimator

_KEYS = {
    "ranker": '<line class="line-ranker" x1="1" x2="21" y1="6" y2="6"/>',
    "oracle": '<line class="line-oracle" x1="1" x2="21" y1="6" y2="6"/>',
    "chance": '<line class="line-chance" x1="1" x2="21" y1="6" y2="6"/>',
    "half": '<rect class="fill-ranker" width="22" height="12"/><rect class="fill-ranker" width="22" height="12"/>',
    "most": '<rect class="fill-ranker" width="22" height="12"/>',
    "dot": '<line class="whisker" x1="1" x2="21" y1="6" y2="6"/><circle class="dot-ranker" cx="11" cy="6" r="4.5"/>',
    "bin": '<circle class="dot-ranker" cx="11" cy="6" r="4.5"/>',
    "ceiling": '<line class="mark-ceiling" x1="11" x2="11" y1="1" y2="11"/>',
}
NONE = "\N{EN DASH}"
_NBSP = "\N{NO-BREAK SPACE}"
_SCRIPTS = "The script that most letters of a prompt are written in, which is the nearest to its language."


def write_page(evaluation: Evaluation, path: Path) -> None:
    """Write the page; directories are made.

    Raises:
        ConfigError: the file cannot be written.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(page(evaluation), encoding="utf-8")
    except OSError as error:
        raise ConfigError(f"--html {path} cannot be written: {error.strerror}; name another file") from None


def page(evaluation: Evaluation) -> str:
    """The document."""
    sections = (
        _gain_card(evaluation),
        _length_card(evaluation),
        _calibration_card(evaluation),
        _more_card(evaluation),
        _groups_card(evaluation),
        _table_card("By script", _SCRIPTS, evaluation.scripts),
        _terms_card(evaluation),
    )
    return (
        '<!DOCTYPE html>\n<html lang="en"><head><meta charset="utf-8"/>'
        '<meta name="viewport" content="width=device-width, initial-scale=1"/>'
        "<meta http-equiv=\"Content-Security-Policy\" content=\"default-src 'none'; style-src 'unsafe-inline'\"/>"
        f"<title>{escape(evaluation.ranker)}: evaluation</title><style>{_resource('page.css')}</style></head>"
        f"<body><main>{_head(evaluation)}{_tiles(evaluation)}"
        f'<div class="cards">{"".join(sections)}</div></main></body></html>\n'
    )


def _head(e: Evaluation) -> str:
    models, sources = len(e.models), len(e.sources)
    data = (
        f"{e.overall.rows:,} rows, {e.speed.prompts:,} prompts, {_count(sources, 'source')}, {_count(models, 'model')}"
    )
    return (
        f'<header><p class="over">rankd evaluate · {data}</p><h1>{escape(e.ranker)}</h1>'
        f'<p class="lead">{_sentence(e)}</p></header>'
    )


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
            f"{_count(speed.threads, 'thread')}, {escape(speed.provider.upper())}",
        ),
    )
    cells = "".join(
        f'<div class="tile"><span class="what">{what}</span><span class="figure">{figure}</span>'
        f'<span class="more">{more}</span></div>'
        for what, figure, more in tiles
    )
    return f'<section class="tiles">{cells}</section>'


def _gain_card(e: Evaluation) -> str:
    if e.gain_curve is None:
        return ""
    keys = _keys(("ranker", "this ranker"), ("oracle", "perfect order"), ("chance", "chance"))
    note = (
        "A good order gets many requests done before much of the work is. The blue area is "
        f"{_percent(e.overall.realised_gain)} of the whole area down to the perfect order: the realised gain."
    )
    return _card("Gain", keys + pictures.gain_picture(e.gain_curve), note)


def _length_card(e: Evaluation) -> str:
    keys = _keys(("ranker", "median"), ("half", "middle half"), ("most", f"middle 80{_NBSP}%"))
    note = (
        "True lengths along the ranker's order. The more steeply the median climbs and the narrower the bands are, the "
        "better; where it is flat, the ranker tells nothing."
    )
    return _card("Length against score", keys + pictures.length_picture(e.bands), note)


def _calibration_card(e: Evaluation) -> str:
    quality = e.calibration
    if quality is None:
        return _card("Calibration", "", "This ranker's manifest has no calibration.")
    keys = _keys(("bin", "about a tenth of the rows"), ("chance", "as expected"))
    note = (
        f"Expected were {quality.expected_tokens:,.0f} tokens on average, it was {quality.actual_tokens:,.0f}. "
        "Above the dashed line answers are longer than expected, below it shorter."
    )
    if quality.below_p50 is not None and quality.below_p90 is not None:
        note += (
            f" {percent(quality.below_p50)} of the answers end by the predicted median and "
            f"{percent(quality.below_p90)} by the predicted 90th percentile; 50 and 90{_NBSP}% would be right."
        )
    return _card("Calibration", keys + pictures.calibration_picture(quality), note)


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
    ]
    body = "".join(f"<tr><th>{name}</th><td>{value}</td></tr>" for name, value in rows)
    note = (
        f"Speed on {escape(s.machine)}, {_count(s.threads, 'thread')}, {s.latency_prompts:,} prompts timed alone; "
        "what else ran there at the time counts."
    )
    return _card("More figures", f'<div class="scroll"><table><tbody>{body}</tbody></table></div>', note)


def _groups_card(e: Evaluation) -> str:
    keys = _keys(("dot", f"tau with its 95{_NBSP}% interval"), ("ceiling", "ceiling"))
    lines = sorted(e.groups[: pictures.MOST_LINES], key=lambda f: -(f.tau.value if f.tau else -2.0))
    hidden = e.groups[pictures.MOST_LINES :]
    note = "Lengths compare within a source and model only; the figure on top weighs every one by its pairs."
    return _card("Tau by source and model", keys + pictures.dot_plot([*lines, *hidden]), note, wide=True)


def _table_card(title: str, note: str, lines: Sequence[Figures]) -> str:
    columns = ("", "rows", "tau", f"95{_NBSP}% interval", "realised gain", "mean tokens")
    head = "".join(f"<th>{column}</th>" for column in columns)
    body = "".join(
        f"<tr><th>{escape(f.name) or 'unnamed'}</th><td>{f.rows:,}</td><td>{_number(f.tau)}</td>"
        f"<td>{_range(f.tau)}</td><td>{_percent(f.realised_gain)}</td><td>{f.mean_tokens:,.0f}</td></tr>"
        for f in lines
    )
    table = f'<div class="scroll"><table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table></div>'
    return _card(title, table, note, wide=True)


def _terms_card(e: Evaluation) -> str:
    counted = f"Counted: {estimator(e)}."
    if e.overall.censored:
        counted += (
            f" {e.overall.censored:,} of {e.overall.rows:,} rows are lower bounds; "
            f"{percent(e.decided_pair_share or 0.0)} of the pairs are decided."
        )
    if e.unscored:
        counted += f" {e.unscored:,} rows got no finite score and are left out."
    return _card("What the words mean", f"<dl>{_resource('terms.html')}</dl>", counted, wide=True)


def _card(title: str, body: str, note: str, *, wide: bool = False) -> str:
    return f'<section class="card{" wide" if wide else ""}"><h2>{title}</h2>{body}<p class="note">{note}</p></section>'


def _keys(*keys: tuple[str, str]) -> str:
    items = "".join(f'<li><svg viewBox="0 0 22 12">{_KEYS[kind]}</svg>{text}</li>' for kind, text in keys)
    return f'<ul class="keys">{items}</ul>'


def _count(number: int, what: str) -> str:
    return f"{number:,} {what}" + ("" if number == 1 else "s")


def percent(share: float) -> str:
    """A share in per cent."""
    return f"{100 * share:.0f}{_NBSP}%"


def _number(value: Bounded | None) -> str:
    return NONE if value is None else f"{value.value:.3f}"


def _percent(value: Bounded | None) -> str:
    return NONE if value is None else percent(value.value)


def _plain(value: float | None) -> str:
    return NONE if value is None else f"{value:.3f}"


def _range(value: Bounded | None, *, as_percent: bool = False) -> str:
    if value is None:
        return "too few rows"
    if as_percent:
        return f"{100 * value.low:.0f} to {percent(value.high)}"
    return f"{value.low:.3f} to {value.high:.3f}"


def _resource(name: str) -> str:
    return files("rankd.training").joinpath(name).read_text(encoding="utf-8")
