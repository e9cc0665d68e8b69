"""Is a ranker's spread worth ordering by? ``python -m benchmarks.rankers.spread``.

The losses ``joint`` and ``lognormal`` learn a spread beside the score: the standard deviation of log length. Keys made
of both are held against the expected length alone, on prompts that neither ranker nor keys saw: order by tau-b and
realised gain, latency in the simulated engine. Half of a source's prompts calibrates, the other half judges. All keys
see the same resamples of prompts; intervals are of their differences.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from rankd_client.calibration import fit_monotone

from benchmarks.rankers.sources import BENCHMARK_ONLY, DATA_HELP, Source, drawn, read_source
from rankd.quality.statistics.kendall import tau_b
from rankd.quality.statistics.pair_sums import pair_sums
from rankd.registry.artifact import load_artifact
from rankd.registry.bundled import ranker_path
from rankd.replay.engine.cost import at_load, step_cost
from rankd.replay.engine.engine import run
from rankd.replay.policies.baselines import FixedKey
from rankd.replay.trace.trace import Trace
from rankd.training.data.dataset import Row

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]
Predict = Callable[[Sequence[str]], tuple[Floats, Floats]]
"""From prompts to scores and spreads."""

UNSEEN = ("alpaca20k-seqsched", "alpaca52k", "flask", "halueval2", "halueval_general", "instructwild_v2", "so_chatgpt")
"""Sources in English that no bundled ranker was trained on."""
RISKS = (0.3, 1.0)
TAIL = 0.1
"""What lies beyond the 90th percentile."""
Z90 = 1.2815515655446004
"""The 90th percentile of the standard normal distribution."""
LOAD = 0.95
COST = step_cost(16)
METRICS = ("tau-b", "realised gain", "burst mean", "burst p99", "queue mean", "queue p99")
ORDERS = 2
"""The first of them: differences; the others are ratios."""
BASE = "E, from the score"


@dataclass(frozen=True, slots=True)
class Answers:
    """What one model answered to prompts that were scored, [n] each."""

    score: Floats
    spread: Floats
    tokens: Ints


@dataclass(frozen=True, slots=True)
class JudgedModel:
    """One model's answers to the prompts that judge, and the keys that its other answers gave."""

    keys: dict[str, Floats]
    """Expected work in some sense, lower is served first, [n]."""
    tokens: Ints
    place: Ints
    """Of each prompt, its row; -1: this model did not answer it."""


@dataclass(frozen=True, slots=True)
class SpreadFacts:
    """What spreads are like on a source."""

    narrow: float
    """10th percentile."""
    wide: float
    """90th percentile."""
    tells: float
    """tau-b of the spread and of how far log lengths are from the expected ones."""
    beyond: float
    """Share of answers beyond the 90th percentile that E and the spread make."""


def keys_of(known: Answers, new: Answers) -> dict[str, Floats]:
    """What answers may be ordered by.

    A log-normal length of mean ``E`` and spread ``s`` has the 90th percentile ``E exp(z s - s^2 / 2)``, and the mean
    ``E Phi(s - z) / .1`` beyond it, with z the normal one's. The last key is a Poisson regression of the length on
    score and log spread: what a daemon could learn of spreads from completions, whatever their level.

    Args:
        known: answers to calibrate on.
        new: answers to order.
    """
    calibration = fit_monotone(known.score, known.tokens, np.ones(len(known.tokens), dtype=bool))
    expected, p90 = calibration.expected(new.score), calibration.p90(new.score)
    assert p90 is not None
    own_p90 = expected * np.exp(Z90 * new.spread - new.spread**2 / 2)
    beyond = _normal_cdf(new.spread - Z90) / TAIL
    keys = {BASE: expected, "log-normal mean": np.exp(new.score + new.spread**2 / 2)}
    keys |= {f"E and own p90, risk {r:g}": (1 - r) * expected + r * own_p90 for r in RISKS}
    keys |= {f"E and p90 of the score, risk {r:g}": (1 - r) * expected + r * p90 for r in RISKS}
    keys["TIE: E + mean beyond own p90"] = expected * (1 + beyond)
    keys["TIE: E + p90 of the score"] = expected + p90
    weights = poisson(_design(known), known.tokens.astype(np.float64))
    keys["regression on score and spread"] = np.exp(_design(new) @ weights)
    return keys


def _design(answers: Answers) -> Floats:
    return np.column_stack((np.ones(len(answers.score)), answers.score, np.log(answers.spread)))


def poisson(design: Floats, counts: Floats, steps: int = 50) -> Floats:
    """Weights of a Poisson regression by Newton's method: ``E[count] = exp(design @ weights)``.

    Args:
        design: [n, k], the first column ones.
        counts: at least 0, [n].
        steps: of Newton's method, at most.
    """
    weights = np.zeros(design.shape[1])
    weights[0] = np.log(counts.mean())
    for _ in range(steps):
        mean = np.exp(np.clip(design @ weights, -20, 20))
        ridge = 1e-9 * len(counts) * np.eye(len(weights))
        step = np.linalg.solve(design.T @ (design * mean[:, None]) + ridge, design.T @ (counts - mean))
        weights = weights + np.clip(step, -1, 1)
        if np.abs(step).max() < 1e-8:
            break
    return weights


def _normal_cdf(z: Floats) -> Floats:
    """To 1e-7, by Abramowitz and Stegun's 7.1.26."""
    t = 1 / (1 + 0.3275911 * np.abs(z) / np.sqrt(2))
    series = t * (0.254829592 + t * (-0.284496736 + t * (1.421413741 + t * (-1.453152027 + t * 1.061405429))))
    half = 0.5 * series * np.exp(-(z**2) / 2)
    below: Floats = np.where(z > 0, 1 - half, half)
    return below


def judge(keys: dict[str, Floats], tokens: Ints, seed: int, *, served: bool) -> Floats:
    """What each key is worth, [keys, metrics]: orders as they are, latencies as logarithms, NaN if not ``served``."""
    out = np.full((len(keys), len(METRICS)), np.nan)
    sums = pair_sums(list(keys.values()), tokens, np.ones(len(tokens), bool), np.zeros(len(tokens), np.int64))
    for i in range(len(keys)):
        tau, gain = sums.tau_b(i), sums.realised_gain(i)
        assert tau is not None
        assert gain is not None
        out[i, :ORDERS] = tau[0], gain[0]
    if served:
        out[:, ORDERS:] = np.log(_served(keys, tokens, seed))
    return out


def _served(keys: dict[str, Floats], tokens: Ints, seed: int) -> Floats:
    """Latencies of a burst in the order of each key, and of a queue under its boost of fixed patience, [keys, 4]."""
    prompts = np.zeros(len(tokens), np.int64)
    burst = Trace(np.zeros(len(tokens)), prompts, tokens)
    arrival = np.cumsum(np.random.default_rng(seed).exponential(1.0, len(tokens)))
    queue = at_load(Trace(arrival, prompts, tokens), COST, LOAD)
    patience = _latencies(queue, queue.arrival)[0]
    seen = dict[bytes, tuple[float, ...]]()
    out = []
    for key in keys.values():
        due = queue.arrival + patience * np.log(key / key.mean())
        orders = np.argsort(key, kind="stable"), np.argsort(due, kind="stable")
        same = np.concatenate(orders).tobytes()
        if same not in seen:
            seen[same] = (*_latencies(burst, key), *_latencies(queue, due))
        out.append(seen[same])
    return np.array(out)


def _latencies(trace: Trace, key: Floats) -> tuple[float, float]:
    """Mean and 99th percentile, in steps of the engine."""
    result = run(trace, FixedKey(trace, key), COST)
    latency = result.finish - result.arrival
    return float(latency.mean()), float(np.quantile(latency, 0.99))


def differences(models: Sequence[JudgedModel], prompts: int, draws: int, served: int) -> Floats:
    """Of every key to ``E``, the mean over models, [1 + draws, keys, metrics]: of all prompts, then of resamples.

    The first ``served`` resamples go through the engine.
    """
    random = np.random.default_rng(0)
    out = []
    for draw in range(1 + draws):
        chosen = np.arange(prompts) if draw == 0 else random.integers(0, prompts, prompts)
        found = []
        for model in models:
            rows = model.place[chosen]
            rows = rows[rows >= 0]
            values = judge(
                {n: k[rows] for n, k in model.keys.items()}, model.tokens[rows], draw, served=0 < draw <= served
            )
            found.append(values - values[0])
        out.append(np.mean(found, axis=0))
    return np.array(out)


def prepare(rows: Sequence[Row], predict: Predict, most_models: int) -> tuple[list[JudgedModel], int, SpreadFacts]:
    """Score a source's prompts, calibrate on half of them, and make the keys of the others: by model, how many, facts.

    A length is taken as it is, also where the answer was cut: so long did it hold its place.
    """
    prompts = sorted({r.prompt for r in rows})
    prompts = [prompts[i] for i in np.random.default_rng(1).permutation(len(prompts))]
    scores, spreads = predict(prompts)
    half = len(prompts) // 2
    at = {p: i for i, p in enumerate(prompts)}
    names = sorted({r.model for r in rows})
    names = [names[i] for i in np.unique(np.linspace(0, len(names) - 1, most_models).round().astype(int))]
    models, facts = [], []
    for name in names:
        mine = {at[r.prompt]: r.tokens for r in rows if r.model == name}
        parts = [np.array([i for i in sorted(mine) if (i >= half) == later]) for later in (False, True)]
        known, new = (Answers(scores[p], spreads[p], np.array([mine[i] for i in p])) for p in parts)
        place = np.full(len(prompts) - half, -1)
        place[parts[1] - half] = np.arange(len(parts[1]))
        models.append(JudgedModel(keys_of(known, new), new.tokens, place))
        facts.append(_facts(models[-1].keys, new))
    return models, len(prompts) - half, SpreadFacts(*np.mean(facts, axis=0).tolist())


def _facts(keys: dict[str, Floats], new: Answers) -> tuple[float, ...]:
    residual = np.log(new.tokens) - np.log(keys[BASE])
    tells = tau_b(new.spread, np.abs(residual - np.median(residual))) or 0.0
    beyond = new.tokens > keys[f"E and own p90, risk {RISKS[-1]:g}"]
    return (*np.quantile(new.spread, (0.1, 0.9)).tolist(), tells, float(beyond.mean()))


def of_artifact(path: Path) -> Predict:
    """A ranker's directory whose graph still has the output ``spread``."""
    from rankd.training.evaluation.offline_ranker import OfflineRanker

    artifact = load_artifact(path)
    both = [OfflineRanker(artifact)]
    both.append(OfflineRanker(replace(artifact, manifest=artifact.manifest.model_copy(update={"output": "spread"}))))
    return lambda prompts: (both[0].scores(prompts), both[1].scores(prompts))


def of_trained(rows: Sequence[Row], threads: int) -> Predict:
    """An n-gram ranker, trained with the joint loss on rows of the source that it is judged on."""
    import torch

    from rankd.scoring.onnx_model import pad
    from rankd.training.bases.load import load_base
    from rankd.training.data.lists import encode
    from rankd.training.export.parity import batches
    from rankd.training.fit.fit import fit
    from rankd.training.fit.options import FitOptions

    base = load_base("ngram")
    options = FitOptions(recipe=replace(base.recipe, loss="joint", epochs=3), threads=threads)
    module = fit(base, rows[len(rows) // 20 :], rows[: len(rows) // 20], options).module

    def predict(prompts: Sequence[str]) -> tuple[Floats, Floats]:
        ids = encode([Row(p, 1, complete=True) for p in prompts], base.tokeniser()).ids
        out = np.empty((2, len(prompts)))
        with torch.inference_mode():
            for places in batches(ids, 2048):
                inputs = pad([ids[i].astype(np.int64) for i in places])
                out[:, places] = torch.stack(module(*map(torch.from_numpy, inputs))).numpy()
        return out[0], out[1]

    return predict


def main() -> int:
    """Print what spreads are like, then every key's difference to the expected length."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.rankers.spread", description=__doc__.partition("?")[0])
    parser.add_argument("--data", type=Path, required=True, help=DATA_HELP)
    parser.add_argument(
        "--ranker", type=ranker_path, help="a directory whose graph has an output spread; default: train the n-gram one"
    )
    parser.add_argument("--train", type=int, default=4000, help="prompts of a source to train on; default: 4000")
    parser.add_argument("--sources", nargs="+", choices=UNSEEN, default=UNSEEN)
    parser.add_argument("--prompts", type=int, default=1000, help="of a source, at most; default: 1000")
    parser.add_argument("--models", type=int, default=2, help="of a source, at most; default: 2")
    parser.add_argument("--draws", type=int, default=200, help="resamples; default: 200")
    parser.add_argument("--served", type=int, default=40, help="resamples that are served; default: 40")
    parser.add_argument("--threads", type=int, default=1, help="to train in; default: 1")
    arguments = parser.parse_args()
    served = of_artifact(arguments.ranker) if arguments.ranker else None
    print("| source | models | prompts | spread, p10 to p90 | tau of spread and error | beyond own p90 | tau-b of E |")
    print("|---|---|---|---|---|---|---|")
    found, names = [], list[str]()
    for source in BENCHMARK_ONLY:
        if source.name in arguments.sources:
            models, changes = study(source, served, arguments)
            names = list(models[0].keys)
            found.append(changes)
    print(table(names, np.median(found, axis=0), len(found)))
    for name in names[1:]:
        row = [f"{c[0, names.index(name), 1]:+.3f}" for c in found]
        print(f"realised gain of {name}, by source: {' '.join(row)}")
    return 0


def study(source: Source, served: Predict | None, arguments: argparse.Namespace) -> tuple[list[JudgedModel], Floats]:
    """One source: its line of facts, and the differences of ``differences``."""
    rows, trained = drawn(read_source(source, arguments.data), arguments.prompts), served
    if trained is None:
        every = drawn(read_source(source, arguments.data), arguments.prompts + arguments.train)
        judged = {r.prompt for r in rows}
        trained = of_trained([r for r in every if r.prompt not in judged], arguments.threads)
    models, prompts, facts = prepare(rows, trained, arguments.models)
    base = np.mean([tau_b(m.keys[BASE], m.tokens.astype(np.float64)) or 0.0 for m in models])
    spread = f"{facts.narrow:.2f} to {facts.wide:.2f} | {facts.tells:+.3f} | {facts.beyond:.0%}"
    print(f"| {source.name} | {len(models)} | {prompts} | {spread} | {base:.3f} |", flush=True)
    return models, differences(models, prompts, arguments.draws, arguments.served)


def table(names: Sequence[str], changes: Floats, sources: int) -> str:
    """The median over sources of every difference to ``E``, and the interval that resamples give it.

    Args:
        names: of the keys, ``E`` first.
        changes: [1 + draws, keys, metrics].
        sources: how many.
    """
    lines = [f"\n| key, median of {sources} sources | " + " | ".join(METRICS) + " |", "|---|" + "---|" * len(METRICS)]
    for i, name in enumerate(names[1:], 1):
        low, high = np.nanquantile(changes[1:, i], (0.025, 0.975), axis=0)
        cells = []
        for j in range(len(METRICS)):
            if j < ORDERS:
                cells.append(f"{changes[0, i, j]:+.4f} ({low[j]:+.4f} to {high[j]:+.4f})")
            else:  # arrivals are drawn with the prompts: no draw is the whole
                ratios = np.exp([np.nanmedian(changes[1:, i, j]), low[j], high[j]])
                cells.append("{:.3f} ({:.3f} to {:.3f})".format(*ratios))
        lines.append(f"| {name} | " + " | ".join(cells) + " |")
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    sys.exit(main())
