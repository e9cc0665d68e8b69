"""Which tokenisers may run in the daemon's own process, and which belong into one of their own.

Loading one, and forgetting it, holds the interpreter for as long as its vocabulary is large (1 ms for 1,500 words), and
everybody waits. Some kinds of steps make more text of a text, or search it by a regular expression that may take for
ever: which prompt would make them do so nobody can foresee.
"""

from __future__ import annotations

import json
from typing import Any

LARGEST = 2**20
"""Bytes of a ``tokenizer.json`` that are read in the daemon's process; WordPiece with 40,000 words has .6 MB."""
_LONGEST_WORD = 1000
_LONGEST_AFFIX = 16
_LONGEST_TEMPLATE = 8
"""Parts, of which each may be the whole text."""

_STEPS = frozenset(
    {
        "Sequence",
        # normalizers: each makes at most a few characters of one
        "BertNormalizer", "Lowercase", "NFC", "NFD", "NFKC", "NFKD", "Nmt", "Strip", "StripAccents", "ByteLevel",
        # pre-tokenizers: each cuts a text, or escapes a byte by a character
        "BertPreTokenizer", "Digits", "Metaspace", "Punctuation", "UnicodeScripts", "Whitespace", "WhitespaceSplit",
        # what adds special tokens
        "BertProcessing", "RobertaProcessing", "TemplateProcessing",
    }
)  # fmt: skip
_MODELS = frozenset({"WordPiece", "WordLevel", "BPE", "Unigram"})


def belongs_apart(content: bytes) -> bool:
    """Whether a ``tokenizer.json`` is large, or has a step whose work the length of a text does not bound."""
    if len(content) > LARGEST:
        return True
    fields = json.loads(content)
    parts = (fields.get(name) for name in ("normalizer", "pre_tokenizer", "post_processor"))
    return not (all(_harmless(part) for part in parts) and _plain(fields.get("model") or {}))


def _harmless(step: Any) -> bool:
    if step is None:
        return True
    inner = [each for name in ("normalizers", "pretokenizers", "processors") for each in step.get(name) or ()]
    # ByteLevel splits by a regular expression of its own, which is linear.
    short = len(step.get("replacement") or "") <= 1 and len(step.get("single") or ()) <= _LONGEST_TEMPLATE
    return step.get("type") in _STEPS and short and all(_harmless(each) for each in inner)


def _plain(model: Any) -> bool:
    affixes = ("continuing_subword_prefix", "end_of_word_suffix", "unk_token")
    return (
        model.get("type") in _MODELS
        and (model.get("max_input_chars_per_word") or 0) <= _LONGEST_WORD
        and all(len(model.get(name) or "") <= _LONGEST_AFFIX for name in affixes)
    )
