"""What is read: prompts of mixed length, prompts of 64 tokens, and rows of any length for fixed shapes."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from rankd.bench.prompts import PromptSupply
from rankd.registry.artifact import Artifact
from rankd.scoring.onnx_model import Ids
from rankd.scoring.tokeniser import Tokeniser, Truncation

WORKLOADS = ("mixed", "tokens64")
"""Made-up prompts of log-normal length, 27 tokens in the mean; and prompts of 64 tokens each."""
_LONG = 64


def tokeniser_of(artifact: Artifact) -> Tokeniser:
    """As the daemon makes it."""
    cut = artifact.manifest.truncation
    truncation = Truncation(cut.max_tokens, cut.head_tokens, cut.tail_tokens)
    return Tokeniser(artifact.tokenizer_path, truncation, artifact.tokenizer.read())


def texts(workload: str, count: int, tokeniser: Tokeniser, seed: int = 0) -> list[str]:
    """Different prompts of a workload; those of ``tokens64`` have 64 tokens, special ones counted."""
    supply = PromptSupply(None, seed)
    if workload == "mixed":
        return supply.take(count)
    words = [" ".join(supply.take(5)).split() for _ in range(count)]
    pending = list(range(count))
    for _ in range(_LONG):
        sizes = [len(ids) for ids in encode(tokeniser, [" ".join(words[i]) for i in pending])]
        for i, size in zip(pending, sizes, strict=True):
            if size < _LONG:
                words[i] += ["."] * (_LONG - size)
            else:
                del words[i][len(words[i]) - (size - _LONG + 1) // 2 :]
        pending = [i for i, size in zip(pending, sizes, strict=True) if size != _LONG]
        if not pending:
            break
    return [" ".join(w) for w in words]


def encode(tokeniser: Tokeniser, prompts: list[str]) -> list[Ids]:
    """Token ids of prompts, int64[tokens] each."""
    return tokeniser.encode([tokeniser.cut(p) for p in prompts])


def fixed_rows(rows: list[Ids], width: int, count: int) -> NDArray[np.int64]:
    """Rows of exactly ``width`` real tokens, int64[count, width], each begun and ended as the tokeniser does."""
    inner = np.concatenate([row[1:-1] for row in rows if len(row) > 2])
    body = max(1, width - 2)
    start = (np.arange(count) * 7919) % max(1, len(inner) - body)
    ids = np.stack([inner[s : s + body] for s in start])
    first, last = rows[0][0], rows[0][-1]
    return np.concatenate([np.full((count, 1), first), ids, np.full((count, 1), last)], axis=1)[:, :width]


def batches(rows: list[Ids], budget: int, multiple: int, most: int) -> list[list[int]]:
    """Rows sorted by length, as numbers, cut into batches of at most ``budget`` padded tokens and ``most`` rows."""
    order = sorted(range(len(rows)), key=lambda i: len(rows[i]))
    found: list[list[int]] = []
    for i in order:
        width = -(-len(rows[i]) // multiple) * multiple
        if found and len(found[-1]) < most and width * (len(found[-1]) + 1) <= budget:
            found[-1].append(i)
        else:
            found.append([i])
    return found
