"""The simulator of `rankd replay`, which is held against vLLM to the step: for draws beyond the real runs."""

import numpy as np

from engines.vllm.in_process import SLOTS
from rankd.replay.engine import engine
from rankd.replay.engine.cost import step_cost
from rankd.replay.policies.baselines import FixedKey, KeyOrder
from rankd.replay.trace.trace import Trace


def simulated(rows, prompt_tokens, arrival=None, keys=None):
    """Latencies in steps of rows served by the lowest key, or in arrival order; all at once where no ``arrival``."""
    arrival = np.zeros(len(rows)) if arrival is None else np.asarray(arrival, float)
    trace = Trace(arrival, np.asarray(prompt_tokens), np.array([row["output_tokens"] for row in rows]))
    order = KeyOrder(trace) if keys is None else FixedKey(trace, np.asarray(keys, float))
    result = engine.run(trace, order, step_cost(SLOTS, chunk=2048))
    return result.finish - arrival
