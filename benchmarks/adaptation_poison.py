"""What a tenant that invents lengths does to the others: ``python -m benchmarks.adaptation_poison --data DIR``.

Two honest tenants share a source's rows; a third brings a share of all completions, with invented lengths. Prints the
tau of what was in use over the honest tenants' last 1,000 completions, without the third and with it, as
docs/science/adaptation_proof.md has it. Some minutes on a core for each source.
"""

from __future__ import annotations

import argparse
import math
import sys
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from benchmarks.adaptation.sources import find, load, load_ranker
from benchmarks.adaptation_stream import served
from rankd.adaptation import Adaptation, LearnedCompletion

SOURCES = ("flask__gpt4", "halueval2__chatgpt", "alpaca20k")
HONEST, LIAR = (1, 2), 3
HONEST_ROWS = 2000
LAST = 1000
BAR = 0.02

Rows = list[LearnedCompletion]
Attack = Callable[[Rows, np.random.Generator], list[int]]


def inverted(rows: Rows, rng: np.random.Generator) -> list[int]:
    """The longest answer is said to have been the shortest."""
    del rng
    tokens = np.array([one.tokens for one in rows])
    places = np.argsort(np.argsort(tokens, kind="stable"))
    return [int(n) for n in np.sort(tokens)[::-1][places]]


def random(rows: Rows, rng: np.random.Generator) -> list[int]:
    """Lengths of other answers."""
    return [int(n) for n in rng.permutation([one.tokens for one in rows])]


def constant(rows: Rows, rng: np.random.Generator) -> list[int]:
    """All are equally long."""
    del rng
    return [50] * len(rows)


def around_the_score(rows: Rows, rng: np.random.Generator) -> list[int]:
    """Inverted around what the ranker's score says, so that its own order stays right."""
    del rng
    logs, scores = np.log([one.tokens + 4.0 for one in rows]), np.array([one.score for one in rows])
    expected = np.polyval(np.polyfit(scores, logs, 1), scores)
    return [max(1, round(math.exp(n) - 4)) for n in (2 * expected - logs).tolist()]


def honest(rows: Rows, rng: np.random.Generator) -> list[int]:
    """As they were."""
    del rng
    return [one.tokens for one in rows]


def slowly(rows: Rows, rng: np.random.Generator) -> list[int]:
    """Honest at first, inverted from the middle on."""
    half = len(rows) // 2
    return [*(one.tokens for one in rows[:half]), *inverted(rows[half:], rng)]


ATTACKS: dict[str, Attack] = {
    "inverted": inverted,
    "copies of the others' prompts, inverted": inverted,
    "honest at first, then inverted": slowly,
    "inverted around the score": around_the_score,
    "random": random,
    "constant": constant,
    "honest": honest,
}


def study(completions: Sequence[LearnedCompletion], share: float, seed: int) -> list[tuple[str, float, float, int]]:
    """Of each attack: tau of what was in use without it, and with it, and how many completions were left out."""
    rng = np.random.default_rng(seed)
    order = rng.permutation(len(completions)).tolist()
    most = min(HONEST_ROWS, int(len(order) * (1 - share)))
    size = int(most * share / (1 - share))
    good = [replace(completions[at], source=HONEST[place % 2]) for place, at in enumerate(order[:most])]
    last = np.arange(most)[-min(LAST, most // 2) :]
    base, alone = served(Adaptation(), good).agreement(last)
    found = [("nobody", base, alone, 0)]
    bad = [replace(completions[at], source=LIAR) for at in order[most : most + size]]
    for name, attack in ATTACKS.items():
        rows = (
            [replace(good[at], source=LIAR) for at in rng.integers(0, most, size).tolist()] if "copies" in name else bad
        )
        lies = [replace(one, tokens=n) for one, n in zip(rows, attack(rows, rng), strict=True)]
        mixed, places = together(good, lies, rng)
        out = served(Adaptation(), mixed)
        found.append((name, alone, out.agreement(places[last])[1], out.left_out))
    return found


def together(good: Rows, lies: Rows, rng: np.random.Generator) -> tuple[Rows, NDArray[np.int64]]:
    """Both mixed, each in its order, and the places of the first."""
    places = np.sort(rng.permutation(len(good) + len(lies))[: len(good)])
    first, second, own = iter(good), iter(lies), set(places.tolist())
    return [next(first) if at in own else next(second) for at in range(len(good) + len(lies))], places


def main() -> int:
    """Print the table."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.adaptation_poison", description=__doc__)
    parser.add_argument("--data", type=Path, required=True, help="directory of the files")
    parser.add_argument("--ranker", default="minilm-l6", help="a bundled ranker, or a directory")
    parser.add_argument("--sources", default=",".join(SOURCES), help="beginnings of the files' names")
    parser.add_argument("--rows", type=int, default=4000, help="most rows of a file")
    parser.add_argument("--shares", default="0.3,0.45", help="of all completions that the third tenant brings")
    parser.add_argument("--threads", type=int, default=1, help="that score")
    parser.add_argument("--seed", type=int, default=0)
    asked = parser.parse_args()
    ranker, missed = load_ranker(asked.ranker, asked.threads), 0
    for name in asked.sources.split(","):
        source = load(find(asked.data, name), ranker, asked.rows)
        for share in map(float, asked.shares.split(",")):
            for attack, before, after, left_out in study(source.completions, share, asked.seed):
                print(f"{name} {share:.0%} {attack:40s} {before:.3f} -> {after:.3f} ({after - before:+.3f}) {left_out}")
                missed += attack == "inverted" and after - before < -BAR
                sys.stdout.flush()
    print(f"{'MISSED' if missed else 'reached'}: inverted lengths cost the others at most {BAR}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
