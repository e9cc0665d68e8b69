"""Writes charts/rankd/files/rules/fleet.yaml: ``python tests/fleet/fleet_rules.py``. A test compares.

The letters are those of docs/science/fleet.md.
"""

import re
import textwrap
from pathlib import Path

RULES = Path(__file__).parents[2] / "charts" / "rankd" / "files" / "rules" / "fleet.yaml"
RANGE = "1h"
LEAST = 30
HEAD = """\
# The fleet's tau-b and realised gain over the last hour, from counters that every replica exports.
# docs/science/fleet.md says what they are, where they differ from all requests taken together, and derives the
# interval. Written by `python tests/fleet/fleet_rules.py`. Each expression stands by itself but for _low and _high,
# which use the two above.
"""


def grown(metric, **labels):
    """What a counter grew by, over all replicas."""
    chosen = ", ".join(f'{k}=~"{v}"' if "|" in v else f'{k}="{v}"' for k, v in labels.items())
    selector = f"{{{chosen}}}" if chosen else ""
    return f"sum by (model, ranker_version) (increase(rankd_quality_{metric}_total{selector}[{RANGE}]))"


def joined(operator, *terms):
    """Terms in brackets, a line each."""
    return "(\n" + textwrap.indent(f"\n{operator} ".join(terms), "  ") + "\n)"


N = grown("compared")
P = grown("pairs")
A = joined("-", grown("pairs", kind="concordant"), grown("pairs", kind="discordant"))
B = grown("pairs", kind="concordant|discordant|tied_length")
C = grown("pairs", kind="concordant|discordant|tied_score")
G = joined("-", grown("pair_tokens", kind="concordant"), grown("pair_tokens", kind="discordant"))
D = grown("pair_tokens")


def mean(of, metric="pair_products"):
    """A sum of products."""
    return grown(metric, of=of)


def signed(with_, metric="pair_products"):
    """The product of agreement, or gain, with something: a difference of two counters."""
    return joined("-", mean(f"concordant_{with_}", metric), mean(f"discordant_{with_}", metric))


def deviation(squares, scale):
    """The standard deviation from a sum of squares; rounding may leave it a hair below 0."""
    return f"2 * sqrt(clamp_min(\n{textwrap.indent(squares, '  ')},\n  0\n))\n{scale}\n/ ({N} >= {LEAST})"


X, Y, RATIO = f"({A} / {B})", f"({A} / {C})", f"({G} / {D})"
SQUARES = joined(
    "+",
    mean("agree_agree"),
    f"{X} ^ 2 * {mean('score_score')} / 4",
    f"{Y} ^ 2 * {mean('length_length')} / 4",
    f"{X} * {Y} * {mean('score_length')} / 2",
    f"-1 * {X} * {signed('score')}",
    f"-1 * {Y} * {signed('length')}",
)
GAIN_SQUARES = joined(
    "+",
    mean("gain_gain", "pair_token_products"),
    f"{RATIO} ^ 2 * {mean('spread_spread', 'pair_token_products')}",
    f"-2 * {RATIO} * {signed('spread', 'pair_token_products')}",
)


def end(name, sign):
    """One end of an interval: symmetric in atanh, one point where all pairs agree."""
    value = f"clamp(rankd:fleet_{name}, -0.999999, 0.999999)"
    return f"tanh(\n  atanh({value})\n  {sign} 1.959964 * rankd:fleet_{name}_deviation / (1 - {value} ^ 2)\n)"


def rules():
    """Name and expression of every rule, in order."""
    return {
        "rankd:fleet_tau": f"{A}\n/ sqrt(({B} > 0) * ({C} > 0))",
        "rankd:fleet_tau_deviation": deviation(SQUARES, f"* {P}\n/ sqrt(({B} > 0) * ({C} > 0))"),
        "rankd:fleet_tau_low": end("tau", "-"),
        "rankd:fleet_tau_high": end("tau", "+"),
        "rankd:fleet_realised_gain": f"{G}\n/ ({D} > 0)",
        "rankd:fleet_realised_gain_deviation": deviation(GAIN_SQUARES, f"* {P}\n/ ({D} > 0)"),
        "rankd:fleet_realised_gain_low": end("realised_gain", "-"),
        "rankd:fleet_realised_gain_high": end("realised_gain", "+"),
    }


def alone(name):
    """The rule's expression without other rules: their expressions in their place."""
    known = rules()
    return re.sub(r"rankd:\w+", lambda match: f"({known[match[0]]})", known[name])


def written():
    """The file."""
    out = HEAD + "groups:\n  - name: rankd-fleet\n    rules:\n"
    for name, expression in rules().items():
        out += f"      - record: {name}\n        expr: |\n{textwrap.indent(expression, ' ' * 10)}\n"
    return out


if __name__ == "__main__":
    RULES.write_text(written(), encoding="utf-8")
