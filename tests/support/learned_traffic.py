"""Completions whose lengths depend on what the ranker's score knows, and on words and an embedding that it does not."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from rankd.adaptation import Adaptation, FeatureHasher, LearnedCompletion

WORDS = 300
DIMENSIONS = 16


class LearnedTraffic:
    """One source of traffic; two of different seeds have nothing in common but the score."""

    def __init__(self, seed: int, *, score: float = 0.4, text: float = 0.8, noise: float = 0.5) -> None:
        """Draw what words are worth."""
        rng = np.random.default_rng([seed, 1])
        self._rng = np.random.default_rng([seed, 2])
        self._words = rng.standard_normal(WORDS) * text
        self._dense = rng.standard_normal(DIMENSIONS) * text / math.sqrt(DIMENSIONS)
        self._score, self._noise = score, noise
        self._hasher = FeatureHasher(b"key", "sha256:1")

    def completion(self, at: float = 0.0, *, tenant: str = "", worth: float = 0.0, source: int = 0) -> LearnedCompletion:
        """One completion; ``worth`` is what its tenant adds to the logarithm of its length."""
        rng = self._rng
        ids = rng.integers(0, WORDS, rng.integers(6, 20))
        pooled = rng.standard_normal(DIMENSIONS)
        score = float(rng.standard_normal())
        text = self._hasher.text([np.concatenate([[0], ids, [0]])], pooled[None].astype(np.float32))[0]
        logs = 5.0 + self._score * score + self._words[ids].mean() * 2.0 + float(self._dense @ pooled)
        tokens = int(np.exp(logs + worth + self._noise * rng.standard_normal()))
        features = self._hasher.pack(text, prompt_tokens=len(ids), tenant=tenant)
        return LearnedCompletion(score, features, tokens, True, source, at)

    def completions(self, size: int) -> list[LearnedCompletion]:
        """Some of them, a second apart."""
        return [self.completion(float(i)) for i in range(size)]


def serve(adaptation: Adaptation, completions: list[LearnedCompletion], start: float = 0.0) -> NDArray[np.float64]:
    """Predict each completion, then report it; do what work is due. Returns what was predicted, [n]."""
    predicted = []
    for i, one in enumerate(completions):
        learned = float(adaptation.scores(np.array([one.score]), [one.features])[0])
        predicted.append(learned)
        adaptation.completed(replace(one, learned=learned))
        if (job := adaptation.job(start + i)) is not None:
            adaptation.take(job(), start + i)
    return np.array(predicted)
