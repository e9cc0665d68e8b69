"""How many examples a property is tried with."""

import os

SOAK = bool(os.environ.get("SOAK"))


def examples(many):
    """``many`` with ``make examples``, a quarter of it in every run."""
    return many if SOAK else max(25, many // 4)
