"""From rows to the lists that a step of training compares: drawn anew each epoch, within a source and model."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from rankd.scoring.onnx_model import Ids, pad
from rankd.scoring.tokeniser import Tokeniser
from rankd.training.data.dataset import Row

Samples = Literal["mean", "first", "draw"]
_ENCODED_AT_ONCE = 2048


@dataclass(frozen=True, slots=True)
class EncodedRows:
    """Rows ready for the model. Token ids are kept as int32, since they are most of the memory."""

    ids: list[NDArray[np.int32]]
    tokens: NDArray[np.float32]
    """Lengths or their lower bounds, [n]."""
    complete: NDArray[np.bool_]
    groups: NDArray[np.int64]
    log_tokens: NDArray[np.float32]
    """Logarithm of the length, less its median in the group: what the distributional head learns, [n]."""

    def __len__(self) -> int:
        """Rows."""
        return len(self.ids)


def encode(
    rows: Sequence[Row],
    tokeniser: Tokeniser,
    samples: Samples = "mean",
    seed: int = 0,
    on_progress: Callable[[int], None] | None = None,
) -> EncodedRows:
    """Tokenise rows and lay their lengths out in arrays.

    Args:
        rows: any number.
        tokeniser: the daemon's.
        samples: of several lengths of one prompt: their geometric mean, the row's own, or one drawn by ``seed``.
        seed: of the draw.
        on_progress: called with the number of rows that are done.
    """
    ids: list[NDArray[np.int32]] = []
    for start in range(0, len(rows), _ENCODED_AT_ONCE):
        prompts = [tokeniser.cut(r.prompt) for r in rows[start : start + _ENCODED_AT_ONCE]]
        ids += [row.astype(np.int32) for row in tokeniser.encode(prompts)]
        if on_progress is not None:
            on_progress(len(ids))
    names = {group: i for i, group in enumerate(sorted({r.group for r in rows}))}
    groups = np.array([names[r.group] for r in rows], dtype=np.int64)
    tokens = target_tokens(rows, samples, seed)
    return EncodedRows(ids, tokens, np.array([r.complete for r in rows], dtype=bool), groups, _levelled(tokens, groups))


def target_tokens(rows: Sequence[Row], samples: Samples, seed: int = 0) -> NDArray[np.float32]:
    """The length that each row is trained on, float32[n].

    A prompt's further samples come from the same distribution as the length that is to be ordered, so their geometric
    mean is nearer to what can be known of it. Of a row that was cut only its own bound counts.
    """
    random = np.random.default_rng(seed)
    out = np.empty(len(rows), dtype=np.float32)
    for i, row in enumerate(rows):
        lengths = [row.tokens, *row.samples] if row.complete and samples != "first" else [row.tokens]
        if samples == "draw":
            out[i] = lengths[random.integers(len(lengths))]
        else:
            out[i] = np.exp(np.log(np.maximum(lengths, 1)).mean()) if len(lengths) > 1 else row.tokens
    return out


def _levelled(tokens: NDArray[np.float32], groups: NDArray[np.int64]) -> NDArray[np.float32]:
    """Log lengths, less the median of their group: models differ by a factor that no prompt tells."""
    logs = np.log(np.maximum(tokens, 1.0))
    for group in np.unique(groups):
        logs[groups == group] -= np.median(logs[groups == group])
    result: NDArray[np.float32] = logs.astype(np.float32)
    return result


def draw_steps(groups: NDArray[np.int64], size: int, seed: int, epoch: int) -> list[NDArray[np.int64]]:
    """Draw an epoch: every row once, in steps of up to ``size`` rows; the number of steps is the same each epoch.

    A group is shuffled and cut into whole lists. What is left of the groups shares steps; rows of different groups
    are not compared there, since ``known_longer`` keeps groups apart.
    """
    random = np.random.default_rng([seed, epoch])
    whole: list[NDArray[np.int64]] = []
    left: list[NDArray[np.int64]] = []
    for group in np.unique(groups):
        rows = np.flatnonzero(groups == group)
        random.shuffle(rows)
        cut = len(rows) - len(rows) % size
        whole += [rows[i : i + size] for i in range(0, cut, size)]
        left.append(rows[cut:])
    order = random.permutation(len(left))
    rest = np.concatenate([left[i] for i in order]) if left else np.array([], dtype=np.int64)
    whole += [rest[i : i + size] for i in range(0, len(rest), size)]
    return [whole[i] for i in random.permutation(len(whole))]


def pieces(encoded: EncodedRows, rows: NDArray[np.int64], size: int) -> list[tuple[NDArray[np.int64], Tensor, Tensor]]:
    """Split rows into padded batches of similar token count.

    A list holds prompts of any length, so that short and long ones are compared; the model reads it in pieces.

    Returns:
        ``(places, ids, mask)``: positions within ``rows``, and int64[piece, tokens] each.
    """
    order = np.argsort([len(encoded.ids[r]) for r in rows], kind="stable")
    out = []
    for start in range(0, len(rows), size):
        places = order[start : start + size]
        batch: list[Ids] = [encoded.ids[rows[p]].astype(np.int64) for p in places]
        ids, mask = pad(batch)
        out.append((places, torch.from_numpy(ids), torch.from_numpy(mask)))
    return out
