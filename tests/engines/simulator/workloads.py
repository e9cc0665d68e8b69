"""Three workloads on which the simulator is held against vLLM: `make sim-check`.

usage: python -m engines.simulator.workloads OUT.json

A burst with heavy-tailed answers; Poisson arrivals at capacity with prompts that fill the iterations' token budget; a
burst in so little KV memory that requests are preempted. Priorities are those of a ranker of tau about .5.
"""

import json
import sys
from pathlib import Path

import numpy as np


def lengths(rng, n, median, sigma, most):
    """Log-normal token counts, at least 1."""
    return np.clip(np.rint(rng.lognormal(np.log(median), sigma, n)), 1, most)


def workload(rng, arrival, prompt, output, **engine):
    """Requests with the priorities that a ranker would give them, and the engine that serves them."""
    scores = np.log(output) + rng.normal(size=len(output)) * 1.1
    priority = np.argsort(np.argsort(scores))
    columns = zip(arrival, prompt, output, priority, strict=True)
    requests = [{"arrival": int(a), "input": int(i), "output": int(o), "priority": int(p)} for a, i, o, p in columns]
    return {"requests": requests, "max_model_len": 1024, "block": 32, **engine}


def main(target):
    """Write all three."""
    rng = np.random.default_rng(7)
    out = {}
    prompt, output = lengths(rng, 300, 60, 0.6, 250), lengths(rng, 300, 32, 1.2, 400)
    out["burst"] = workload(rng, np.zeros(300), prompt, output, slots=16, chunk=2048, blocks=1000)
    prompt, output = lengths(rng, 400, 120, 0.8, 600), lengths(rng, 400, 32, 1.0, 300)
    arrival = np.cumsum(rng.exponential(output.mean() / 16, 400))
    out["poisson"] = workload(rng, arrival, prompt, output, slots=16, chunk=256, blocks=1000)
    prompt, output = lengths(rng, 250, 60, 0.6, 250), lengths(rng, 250, 64, 1.0, 400)
    out["memory"] = workload(rng, np.zeros(250), prompt, output, slots=32, chunk=512, blocks=96)
    Path(target).write_text(json.dumps(out))


if __name__ == "__main__":
    main(*sys.argv[1:])
