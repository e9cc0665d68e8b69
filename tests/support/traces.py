"""Traces of plain columns."""

import numpy as np

from rankd.replay.trace.trace import Trace


def trace_of(arrival, prompt, output):
    """A trace of three columns of one length, sorted by arrival: seconds, input tokens, output tokens."""
    times = np.asarray(arrival, dtype=np.float64)
    order = np.argsort(times, kind="stable")
    return Trace(times[order], np.asarray(prompt, dtype=np.int64)[order], np.asarray(output, dtype=np.int64)[order])
