"""What Chinese characters mean, in English words: where their vectors start, in an encoder that reads English.

MiniLM has no use for a Chinese character, but it knows what "write", "list" and "short" ask for. A character whose
vector is the mean of its gloss's word vectors is read as something like these, before anything is learned of it.

The glosses are Unihan's ``kDefinition`` (``unihan/LICENSE``), shortened.
"""

from __future__ import annotations

import gzip
from collections.abc import Iterable, Mapping
from functools import cache
from importlib.resources import files
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from tokenizers import Tokenizer

FILE = "glosses.tsv.gz"
_COMMON = frozenset(
    {"a", "an", "the", "to", "of", "be", "in", "on", "or", "and", "for", "with", "by", "at", "as", "is", "it", "that"}
    | {"s", "etc", "one", "'", ".", "-"}
)
"""Words that say nothing of what a gloss means."""


def glosses_file() -> Path:
    """Where they are."""
    return Path(str(files("rankd.training.bases") / "unihan" / FILE))


@cache
def read_glosses() -> Mapping[str, tuple[str, ...]]:
    """The senses of each character."""
    lines = gzip.decompress(glosses_file().read_bytes()).decode("utf-8").splitlines()
    return {line[0]: tuple(line[2:].split(";")) for line in lines if not line.startswith("#")}


def gloss_vectors(
    characters: Iterable[str], tokenizer: Tokenizer, table: NDArray[np.float32]
) -> dict[str, NDArray[np.float32]]:
    """The mean of the vectors of a gloss's words, a sense counting like another, as long as a word's vector is.

    Args:
        characters: any; those without a gloss are left out.
        tokenizer: of the base.
        table: its word vectors, [tokens, dimensions].

    Returns:
        [dimensions] for each.
    """
    glosses, length = read_glosses(), float(np.median(np.linalg.norm(table, axis=1)))
    out = {}
    for character in characters:
        senses = [_mean(sense, tokenizer, table) for sense in glosses.get(character, ())]
        known = [s for s in senses if s is not None]
        if known:
            mean = np.mean(known, axis=0)
            out[character] = (mean * (length / np.linalg.norm(mean))).astype(np.float32)
    return out


def _mean(sense: str, tokenizer: Tokenizer, table: NDArray[np.float32]) -> NDArray[np.float32] | None:
    encoded = tokenizer.encode(sense, add_special_tokens=False)
    unknown = tokenizer.token_to_id("[UNK]")
    ids = [i for i, token in zip(encoded.ids, encoded.tokens, strict=True) if token not in _COMMON and i != unknown]
    mean: NDArray[np.float32] | None = table[ids].mean(axis=0) if ids else None
    return mean


def common_characters() -> list[str]:
    """The characters of GB 2312 and the frequent ones of Big5: simplified and traditional, 8,836 in all."""
    found: dict[str, None] = {}
    for codec, first_row, last_row, cells in (
        ("gb2312", 0xB0, 0xF7, range(0xA1, 0xFF)),
        ("big5", 0xA4, 0xC6, (*range(0x40, 0x7F), *range(0xA1, 0xFF))),
    ):
        for row in range(first_row, last_row + 1):
            for cell in cells:
                text = bytes([row, cell]).decode(codec, errors="ignore")
                if len(text) == 1 and "\u4e00" <= text <= "\u9fff":
                    found[text] = None
    return list(found)
