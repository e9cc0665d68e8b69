"""Figures of a run."""

import numpy as np


def summary(latencies, lengths):
    """Mean and percentiles of latencies, and of latency per token."""
    latency, per_token = np.array(latencies, float), np.array(latencies, float) / np.array(lengths)
    out = {"mean": latency.mean()}
    out |= {f"p{q}": np.percentile(latency, q) for q in (50, 90, 99)}
    out |= {"max": latency.max(), "per_token_mean": per_token.mean(), "per_token_p90": np.percentile(per_token, 90)}
    return {name: round(float(value), 3) for name, value in out.items()}


def reach(fcfs, own, best):
    """The share of the best order's gain in the mean."""
    return round((fcfs["mean"] - own["mean"]) / (fcfs["mean"] - best["mean"]), 3)


def times_better(fcfs, own):
    """How many times better than arrival order, per token: mean and p90."""
    return [round(fcfs[name] / own[name], 2) for name in ("per_token_mean", "per_token_p90")]


def tau_b(scores, lengths):
    """Kendall's tau-b, pair by pair (Kendall 1945)."""
    x, y = np.array(scores, float), np.array(lengths, float)
    upper = np.triu_indices(len(x), 1)
    dx, dy = np.sign(x[:, None] - x)[upper], np.sign(y[:, None] - y)[upper]
    return float((dx * dy).sum() / np.sqrt((dx != 0).sum() * (dy != 0).sum()))
