"""The fleet's recording rules of Prometheus: ``python -m tools.recording_rules`` writes the chart's file.

The letters are those of docs/science/fleet.md.
"""

import re
import sys
import textwrap
from pathlib import Path

from tools.generated import ROOT, main

FILE = ROOT / "charts" / "rankd" / "files" / "rules" / "fleet.yaml"
RANGE = "1h"
LEAST = 30
HEAD = """\
# The fleet's tau-b and realised gain over the last hour, from counters that every replica exports.
# docs/science/fleet.md says what they are, where they differ from all requests taken together, and derives the
# interval. Written by `make generate`. Each expression stands by itself but for _low and _high, which use the two
# above.
"""


def increase(metric: str, **labels: str) -> str:
    """What a counter grew by, over all replicas."""
    chosen = ", ".join(f'{k}=~"{v}"' if "|" in v else f'{k}="{v}"' for k, v in labels.items())
    selector = f"{{{chosen}}}" if chosen else ""
    return f"sum by (model, ranker_version) (increase(rankd_quality_{metric}_total{selector}[{RANGE}]))"


def joined(operator: str, *terms: str) -> str:
    """Terms in brackets, a line each."""
    return "(\n" + textwrap.indent(f"\n{operator} ".join(terms), "  ") + "\n)"


N = increase("compared")
P = increase("pairs")
A = joined("-", increase("pairs", kind="concordant"), increase("pairs", kind="discordant"))
B = increase("pairs", kind="concordant|discordant|tied_length")
C = increase("pairs", kind="concordant|discordant|tied_score")
G = joined("-", increase("pair_tokens", kind="concordant"), increase("pair_tokens", kind="discordant"))
D = increase("pair_tokens")


def product_sum(of: str, metric: str = "pair_products") -> str:
    """A sum of products."""
    return increase(metric, of=of)


def signed_sum(with_: str, metric: str = "pair_products") -> str:
    """The sum of products of agreement, or gain, with something: a difference of two counters."""
    return joined("-", product_sum(f"concordant_{with_}", metric), product_sum(f"discordant_{with_}", metric))


def deviation(squares: str, scale: str) -> str:
    """The standard deviation from a sum of squares; rounding may leave it a hair below 0."""
    return f"2 * sqrt(clamp_min(\n{textwrap.indent(squares, '  ')},\n  0\n))\n{scale}\n/ ({N} >= {LEAST})"


X, Y, RATIO = f"({A} / {B})", f"({A} / {C})", f"({G} / {D})"
SQUARES = joined(
    "+",
    product_sum("agree_agree"),
    f"{X} ^ 2 * {product_sum('score_score')} / 4",
    f"{Y} ^ 2 * {product_sum('length_length')} / 4",
    f"{X} * {Y} * {product_sum('score_length')} / 2",
    f"-1 * {X} * {signed_sum('score')}",
    f"-1 * {Y} * {signed_sum('length')}",
)
GAIN_SQUARES = joined(
    "+",
    product_sum("gain_gain", "pair_token_products"),
    f"{RATIO} ^ 2 * {product_sum('spread_spread', 'pair_token_products')}",
    f"-2 * {RATIO} * {signed_sum('spread', 'pair_token_products')}",
)


def interval_end(name: str, sign: str) -> str:
    """One end of an interval: symmetric in atanh, one point where all pairs agree."""
    value = f"clamp(rankd:fleet_{name}, -0.999999, 0.999999)"
    return f"tanh(\n  atanh({value})\n  {sign} 1.959964 * rankd:fleet_{name}_deviation / (1 - {value} ^ 2)\n)"


def rules() -> dict[str, str]:
    """Name and expression of every rule, in order."""
    return {
        "rankd:fleet_tau": f"{A}\n/ sqrt(({B} > 0) * ({C} > 0))",
        "rankd:fleet_tau_deviation": deviation(SQUARES, f"* {P}\n/ sqrt(({B} > 0) * ({C} > 0))"),
        "rankd:fleet_tau_low": interval_end("tau", "-"),
        "rankd:fleet_tau_high": interval_end("tau", "+"),
        "rankd:fleet_realised_gain": f"{G}\n/ ({D} > 0)",
        "rankd:fleet_realised_gain_deviation": deviation(GAIN_SQUARES, f"* {P}\n/ ({D} > 0)"),
        "rankd:fleet_realised_gain_low": interval_end("realised_gain", "-"),
        "rankd:fleet_realised_gain_high": interval_end("realised_gain", "+"),
    }


def alone(name: str) -> str:
    """The rule's expression without other rules: their expressions in their place."""
    known = rules()
    return re.sub(r"rankd:\w+", lambda match: f"({known[match[0]]})", known[name])


def files() -> dict[Path, str]:
    """The rules' file."""
    out = HEAD + "groups:\n  - name: rankd-fleet\n    rules:\n"
    for name, expression in rules().items():
        out += f"      - record: {name}\n        expr: |\n{textwrap.indent(expression, ' ' * 10)}\n"
    return {FILE: out}


if __name__ == "__main__":
    sys.exit(main("Write the chart's recording rules.", files))
