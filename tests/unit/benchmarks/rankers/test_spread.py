"""The study of spreads: its keys are what they are called, and it runs on small made data."""

import gzip
import json
import math
import random
import sys

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="needs rankd[train]")

from benchmarks.rankers import spread  # noqa: E402
from benchmarks.rankers.spread import Answers, keys_of, poisson  # noqa: E402


def answers(n, seed, *, wide):
    """Log-normal lengths of known score and spread; ``wide`` says how much spreads differ."""
    rng = np.random.default_rng(seed)
    score, deviation = rng.normal(0, 0.5, n), np.exp(rng.normal(-0.5, wide, n))
    tokens = np.rint(np.exp(5 + score + deviation * rng.normal(0, 1, n))).astype(np.int64)
    return Answers(score, deviation, np.maximum(tokens, 1))


def test_keys_of_one_spread_are_the_order_of_the_score():
    """Where all spreads are alike no key can know more than the score."""
    keys = keys_of(answers(2000, 0, wide=0.0), answers(300, 1, wide=0.0))
    first = np.argsort(keys[spread.BASE])
    assert len(keys) == 9
    assert all((np.diff(key[first]) > -1e-9 * key.max()).all() for key in keys.values())


def test_keys_are_mean_and_tail_of_the_log_normal():
    """Where lengths are log-normal, they are beyond the key for the 90th percentile in a tenth of the cases."""
    new = answers(20_000, 1, wide=0.0)
    keys = keys_of(answers(20_000, 0, wide=0.0), new)
    p90 = keys["E and own p90, risk 1"]
    assert (new.tokens > p90).mean() == pytest.approx(0.1, abs=0.015)
    beyond = keys["TIE: E + mean beyond own p90"] - keys[spread.BASE]
    assert beyond.mean() == pytest.approx(new.tokens[new.tokens > p90].mean(), rel=0.1)


def test_the_regression_finds_what_spreads_tell():
    """Mean lengths rise with the spread: the regression says so, and its weights are those of the counts."""
    rng = np.random.default_rng(0)
    design = np.column_stack((np.ones(5000), rng.normal(0, 1, (5000, 2))))
    weights = poisson(design, rng.poisson(np.exp(design @ [1.0, 0.5, -0.3])).astype(float))
    assert weights == pytest.approx([1.0, 0.5, -0.3], abs=0.03)
    new = answers(5000, 1, wide=0.5)
    changes = spread.judge(keys_of(answers(5000, 0, wide=0.5), new), new.tokens, 0, served=False)
    assert changes[-1, 1] > changes[0, 1] + 0.01


def test_the_normal_distribution():
    """To six digits."""
    z = np.linspace(-4, 4, 81)
    assert spread._normal_cdf(z) == pytest.approx([(1 + math.erf(x / math.sqrt(2))) / 2 for x in z], abs=1e-6)


def test_it_runs(tmp_path, monkeypatch, capsys):
    """On a source of its own it trains, calibrates, orders, serves and prints a row for every key but the score's."""
    random_ = random.Random(0)
    words = ("essay", "story", "explain", "detailed"), ("word", "number", "yes", "short")
    with gzip.open(tmp_path / "so_chatgpt__gpt-3.5-turbo.jsonl.gz", "wt") as file:
        for i in range(200):
            drawn = random_.choices([*words[0], *words[1]], k=8)
            tokens = 40 + 25 * sum(w in words[0] for w in drawn) + random_.randint(0, 9)
            prompt = f"{' '.join(drawn)} {i}"
            file.write(json.dumps({"prompt": prompt, "output_tokens": tokens, "model": "a", "source": "s"}) + "\n")
    flags = ["--sources", "so_chatgpt", "--prompts", "80", "--train", "120", "--draws", "3", "--served", "2"]
    monkeypatch.setattr(sys, "argv", ["spread", "--data", str(tmp_path), *flags])
    assert spread.main() == 0
    printed = capsys.readouterr().out
    assert printed.count("\n| E and ") == 4
    assert "nan" not in printed
