"""Whether a base can be exported, tried before it is trained: on a small model of its kind, with random weights."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from rankd.errors import ConfigError
from rankd.training.bases.base import Base, _line
from rankd.training.bases.transformer import TransformerBase
from rankd.training.data.lists import EncodedRows
from rankd.training.export.canonical_graph import to_bytes
from rankd.training.export.export import Precision, transformer_graph
from rankd.training.export.parity import one_thread, onnx_runner
from rankd.training.quiet import quiet_libraries

KNOWN = frozenset({"bert"})
"""Model types whose export is tried by tests, which need not be tried again before each run."""
_PROMPTS = 16


def check_exportable(base: Base, precisions: Sequence[Precision], *, spread: bool) -> None:
    """Export a small model of the base's kind in each precision, and run it once.

    Raises:
        ConfigError: which precision cannot be had, and what to do.
    """
    if not isinstance(base, TransformerBase) or base.model_type in KNOWN:
        return
    module = base.small_module(spread=spread)
    if module is None:
        return
    rows = _rows(base.truncation.max_tokens)
    for precision in precisions:
        try:
            with one_thread(), quiet_libraries():
                model, _ = transformer_graph(module, precision, rows)
                ids = rows.ids[0].astype(np.int64)[None]
                onnx_runner(to_bytes(model))(ids, np.ones_like(ids))
        except Exception as error:  # noqa: BLE001 - exporters and their tools raise anything
            raise ConfigError(
                f"--base {base.name}: {base.model_type} cannot be exported as {precision} ({_line(error)[:160]}): give "
                f"another --base{', or --precision fp32' if precision != 'fp32' else ''}"
            ) from None


def _rows(most: int) -> EncodedRows:
    """Rows of any length that the base reads, of the first few tokens."""
    random = np.random.default_rng(0)
    ids = [random.integers(0, 30, max(2, most - 3 * i % most)).astype(np.int32) for i in range(_PROMPTS)]
    tokens = np.arange(1, _PROMPTS + 1, dtype=np.float32)
    return EncodedRows(ids, tokens, np.ones(_PROMPTS, bool), np.zeros(_PROMPTS, np.int64), np.log(tokens))
