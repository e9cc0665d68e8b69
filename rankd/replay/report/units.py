"""Durations, ratios and shares as people write them."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class DurationUnit:
    """Durations for people."""

    steps: bool

    def bare(self, seconds: float) -> str:
        """For the cells of a table, where steps go without saying."""
        return self(seconds).removesuffix(" steps")

    def instead(self, now: float, before: float) -> str:
        """Two durations in the same unit: ``1.8 min instead of 2.5 min``."""
        like = max(now, before)
        return f"{self._in(now, like)} instead of {self._in(before, like)}"

    def __call__(self, seconds: float) -> str:
        """In steps, or in a unit of time that suits."""
        return self._in(seconds, seconds)

    def _in(self, seconds: float, like: float) -> str:
        """In the unit that suits ``like``."""
        like = abs(like)
        if self.steps:
            return f"{seconds:,.0f} steps" if like >= 10 else f"{seconds:,.2f} steps"
        if like < 1:
            return f"{1000 * seconds:,.0f} ms" if like >= 0.01 else f"{1000 * seconds:,.2f} ms"
        if like < 120:
            return f"{seconds:,.1f} s"
        return f"{seconds / 60:,.1f} min" if like < 7200 else f"{seconds / 3600:,.1f} h"


def in_percent(share: float) -> str:
    """A share of a whole: ``62 %``."""
    return f"{100 * share:z.0f} %"


def share_kept(share: float) -> str:
    """A share near to all, where a tenth of a per cent counts: ``98.7 %``; never rounded up to all."""
    return f"{min(100 * share, 99.9 if share < 1 else 100.0):.1f} %"


def longer(ratio: float) -> str:
    """A ratio of times: ``12 % longer``, ``8 % shorter``, ``2.1 times as long``, ``as long as before``."""
    more = round(100 * (ratio - 1))
    if ratio >= 2:
        return f"{ratio:.1f} times as long"
    if more == 0:
        return "as long as before"
    return f"{more} % longer" if more > 0 else f"{-more} % shorter"


def change(ratio: float) -> str:
    """A ratio for a cell: ``-38 %``, ``+12 %``, and from three times on ``x 3.4``."""
    if ratio >= 3:
        return f"x {ratio:.1f}"
    more = round(100 * (ratio - 1))
    return f"{more:+d} %" if more else "0 %"


def quarter_name(name: str, by: str) -> str:
    """A quarter of the requests: ``longest answers``, ``second quarter of prompts``."""
    what = {"output": "answers", "prompt": "prompts"}[by]
    short = name.removesuffix(" quarter")
    return f"{short} {what}" if short in ("shortest", "longest") else f"{name} of {what}"
