"""Traces of plain columns."""

import numpy as np

from rankd.replay.trace.trace import Trace


def trace_of(arrival, prompt, output, cached=None):
    """A trace of columns of one length, sorted by arrival: seconds, input and output tokens, cached input tokens."""
    times = np.asarray(arrival, dtype=np.float64)
    order = np.argsort(times, kind="stable")
    columns = (np.asarray(column, dtype=np.int64)[order] for column in (prompt, output))
    return Trace(times[order], *columns, cached=None if cached is None else np.asarray(cached, dtype=np.int64)[order])
