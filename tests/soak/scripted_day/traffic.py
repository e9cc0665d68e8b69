"""Requests of an hour: prompts that tell something of how long their answers are, lengths, and when they come."""

import math
from dataclasses import dataclass

import numpy as np

from rankd.replay.engine.cost import EngineCost, at_load
from rankd.replay.trace.trace import Trace

ENGINE = EngineCost(slots=12, base=0.02, per_sequence=0.0004, per_prompt_token=0.00006, chunk=1024)
KINDS = (
    ("What is the capital of {}? Give a short answer, one word.", 12, 3),
    ("Translate this word to French, short: {}", 15, 2),
    ("Is {} true or false? Be short.", 25, 2),
    ("Summarise the article about {} in one short sentence.", 60, 2),
    ("Explain to a child how {} works.", 260, 2),
    ("List twenty ideas for a party about {}, with a line of explanation each.", 480, 1),
    ("Write a long python program that simulates {}, with tests and comments.", 750, 1),
    ("Write a long and detailed essay on the history of {}, in several parts.", 1100, 1),
)
"""Text, the median of what is answered, and how common it is."""
SUBJECTS = {
    "rivers": 0.6, "tax law": 2.2, "chess": 1.0, "volcanoes": 0.8, "the stock market": 1.8, "cats": 0.5,
    "quantum physics": 1.7, "bread": 0.7, "the Roman army": 1.2, "jazz": 0.9,
}  # fmt: skip
"""What each does to lengths: no ranker knows it before it has seen completions."""
_SYLLABLES = [c + v for c in "bdfgklmnprstvz" for v in "aeiou"]


@dataclass(frozen=True)
class Hour:
    """Requests by arrival, seconds from its beginning."""

    prompts: list[str]
    trace: Trace

    def __len__(self) -> int:
        return len(self.prompts)


def hour(rng: np.random.Generator, requests: int, load: float, *, noise: float = 0.35, swing: float = 0.0) -> Hour:
    """Requests at an offered load.

    Args:
        rng: what they are drawn from.
        requests: how many.
        load: 1 is all that the engine can do.
        noise: of lengths, standard deviation of the logarithm.
        swing: how much the rate swings around its mean, as a share of it.
    """
    shares = np.array([share for _, _, share in KINDS], dtype=np.float64)
    kinds = rng.choice(len(KINDS), requests, p=shares / shares.sum())
    subjects = rng.choice(list(SUBJECTS), requests)
    prompts, medians = [], []
    for kind, subject in zip(kinds, subjects, strict=True):
        text, median, _ = KINDS[kind]
        # No two are the same, in words that say nothing: prompts that differ by a number count as the same.
        prompts.append(f"{text.format(subject)} This is for {_name(rng)} and {_name(rng)}.")
        medians.append(median * SUBJECTS[subject])
    output = np.clip(np.exp(np.log(medians) + noise * rng.standard_normal(requests)), 1, 4000).astype(np.int64)
    prompt = np.clip(rng.lognormal(math.log(300), 0.8, requests), 8, 4000).astype(np.int64)
    gaps = rng.exponential(1, requests)
    at = np.cumsum(gaps) / requests
    gaps = gaps / (1 + swing * np.sin(2 * np.pi * (2 * at + rng.uniform())))
    return Hour(prompts, at_load(Trace(np.cumsum(gaps), prompt, output), ENGINE, load))


def _name(rng: np.random.Generator) -> str:
    return "".join(str(s) for s in rng.choice(_SYLLABLES, 4)).capitalize()
