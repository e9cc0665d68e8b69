"""What learning the traffic would bring, on the page and in words."""

from __future__ import annotations

from html import escape

from rankd.html.parts import NBSP, NONE, card, count, keys, table
from rankd.quality.statistics.interval import Interval
from rankd.training.evaluation import pictures
from rankd.training.evaluation.prequential import FEWEST, FIRST, AdaptEvaluation, AdaptPoint, ModelLearned


def verdict(adapt: AdaptEvaluation) -> str:
    """Whether it pays, in words."""
    most = max((m.completions for m in adapt.models), default=0)
    if not adapt.points:
        return (
            f"Too few rows to tell: the first figure is of the {FEWEST} rows or more after {FIRST} completions of one "
            f"served model, and {'the largest' if len(adapt.models) > 1 else 'this one'} has {most:,}."
        )
    if (n := adapt.pays_from) is not None:
        return f"Learning pays from {n:,} completions{' of a served model' if len(adapt.models) > 1 else ''} on."
    return f"Learning does not pay on these rows: it is not surely better within {most:,} completions."


def model_text(learned: ModelLearned) -> str:
    """How it went for one served model, in words."""
    name = f"{learned.model}: " if learned.model else ""
    if learned.in_use_after is None:
        return f"{name}learned from {learned.completions:,} completions, never in use"
    back = f", switched {count(learned.switches, 'time')}" if learned.switches > 1 else ""
    now = "" if learned.state.value == "in_use" else f", {learned.state.value.replace('_', ' ')} at the end"
    return f"{name}learned from {learned.completions:,} completions, in use after {learned.in_use_after:,}{back}{now}"


def cells(point: AdaptPoint) -> tuple[str, ...]:
    """A point as a line of a table: completions, rows, both taus, their difference with its interval, in use."""
    difference = point.difference
    return (
        f"{point.completions:,}",
        f"{point.rows:,}",
        _number(point.base_tau),
        _number(point.adapted_tau),
        NONE if difference is None else f"{difference.value:+.3f}",
        NONE if difference is None else f"{difference.low:+.3f} to {difference.high:+.3f}",
        "yes" if point.in_use >= 1 else "no" if point.in_use <= 0 else f"{point.in_use:.0%} of them",
    )


COLUMNS = ("completions", "next rows", "ranker alone", "with learning", "difference", "95 %", "in use")


def learning_cards(adapt: AdaptEvaluation | None) -> tuple[str, ...]:
    """The picture and the table; nothing where it was not asked for."""
    if adapt is None:
        return ()
    models = "; ".join(escape(model_text(m)) for m in adapt.models[: pictures.MOST_LINES])
    note = (
        f"{escape(verdict(adapt))} Rows in their order, each predicted before it was learned from; pairs within a "
        f"served model. {models}."
    )
    shown = [p for p in adapt.points if p.base_tau is not None]
    picture = ""
    if shown:
        named = keys(("oracle", "the ranker alone"), ("ranker", f"with learning; the band is its 95{NBSP}% interval"))
        picture = named + pictures.learning_picture(adapt.points)
    figures = table(COLUMNS, [cells(p) for p in adapt.points]) if adapt.points else ""
    return (
        card("Learning the traffic", picture, note),
        *([card("The same as figures", figures, "")] if figures else []),
    )


def _number(value: Interval | None) -> str:
    return NONE if value is None else f"{value.value:.3f}"
