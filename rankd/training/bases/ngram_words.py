"""What the n-gram tier knows of words before it is trained: a vector for each token, in int8, and more Chinese.

The vectors are the word embeddings of MiniLM, brought down to their main directions. A few thousand prompts meet only
some words; with these, a ranker also knows words that are like them.

MiniLM's vocabulary has few of the Chinese characters, and everything else is one [UNK]. Its tokenizer splits text into
single characters nonetheless, so that the missing ones can simply be added; it stays the same tokenizer otherwise.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from tokenizers import Tokenizer

from rankd.errors import ConfigError
from rankd.training.bases.chinese_glosses import common_characters, gloss_vectors

UNIT = 0.3
"""Standard deviation of the vectors' numbers."""
_EMBEDDINGS = "embeddings.word_embeddings.weight"


@dataclass(frozen=True, slots=True)
class WordTable:
    """A vector for each token: ``table * scale``. Token 0 is padding and has zeros."""

    table: NDArray[np.int8]
    """[tokens, dimensions]."""
    scale: NDArray[np.float32]
    """[dimensions]."""


def read_tokenizer(path: Path) -> Tokenizer:
    """MiniLM's tokenizer with the missing Chinese characters added behind its own tokens.

    Raises:
        ConfigError: the file is no WordPiece tokenizer.
    """
    try:
        fields = json.loads(path.read_text(encoding="utf-8"))
        vocabulary: dict[str, int] = fields["model"]["vocab"]
        for character in common_characters():
            vocabulary.setdefault(character, len(vocabulary))
        fields["truncation"] = fields["padding"] = None
        tokenizer: Tokenizer = Tokenizer.from_str(json.dumps(fields, ensure_ascii=False))
    except Exception as error:  # noqa: BLE001 - tokenizers raises no narrower one
        raise ConfigError(f"--base ngram: {path} is not MiniLM's tokenizer: {error}; install it again") from None
    return tokenizer


def read_words(path: Path, tokenizer: Tokenizer, dimensions: int) -> WordTable:
    """Bring MiniLM's word embeddings down to ``dimensions``.

    A Chinese character has the vector of its English gloss, or, added without one, a random one, the same each time.

    Args:
        path: its ``model.safetensors``.
        tokenizer: with at least as many tokens as there are embeddings.
        dimensions: at most those of the embeddings.
    """
    from safetensors.numpy import load_file

    table = load_file(path)[_EMBEDDINGS]
    mean = table.mean(axis=0, dtype=np.float64)
    known = table.astype(np.float64) - mean
    _, directions = np.linalg.eigh(known.T @ known)
    main = directions[:, ::-1][:, :dimensions]
    # The sign of a direction is arbitrary; choose it, so that every machine makes the same one.
    main = main * np.sign(main[np.abs(main).argmax(axis=0), np.arange(dimensions)])
    vectors = known @ main
    added = tokenizer.get_vocab_size() - len(known)
    random = torch.randn(added, dimensions, generator=torch.Generator().manual_seed(0)).double().numpy()
    whole = np.concatenate([vectors, random * vectors.std(axis=0)])
    for character, vector in gloss_vectors(common_characters(), tokenizer, table).items():
        whole[tokenizer.token_to_id(character)] = (vector - mean) @ main
    whole *= UNIT / vectors.std()
    whole[0] = 0.0
    scale = (np.abs(whole).max(axis=0) / 127).astype(np.float32)
    return WordTable(np.round(whole / scale).astype(np.int8), scale)
