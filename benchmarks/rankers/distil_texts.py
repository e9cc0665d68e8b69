"""Texts that a teacher labels: the prompts of shippable sources, and others cut and put together from them.

A student learns what its teacher says of any text, so that texts need no answers. Other traffic's prompts are shorter
than most of these sources' and ask for other things; pieces of prompts, openings of some before the ends of others, and
common ways of asking stand for them.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

import numpy as np

_ENDS = r".!?\u3002\uff01\uff1f"
_SENTENCE = re.compile(rf"[^{_ENDS}\n]+[{_ENDS}]*")
_ASKING = (
    "Write a short story about {}",
    "Write a poem about {}",
    "Write an essay: {}",
    "Write a function in Python: {}",
    "Summarize the following text: {}",
    "Summarise in one sentence: {}",
    "Rewrite this sentence: {}",
    "Correct the grammar. {}",
    "Translate to French: {}",
    "Translate into English: {}",
    "Classify the following as positive or negative: {}",
    "Is this true or false? {}",
    "Explain in detail: {}",
    "Explain like I am five. {}",
    "Give me a list of ten ideas for {}",
    "List three examples: {}",
    "What is the difference between {}",
    "Answer with one word: {}",
    "Answer yes or no. {}",
    "{} Answer in one sentence.",
    "{} Think step by step.",
    "{} Keep it brief.",
    "{} Give a detailed answer with examples.",
    "{} Use bullet points.",
    "You are a helpful assistant. {}",
    "You are an expert in your field. {}",
    "Name the capital, author or year: {}",
    "Generate a tweet about {}",
    "Create a dialogue between two people: {}",
    "Write an email to a colleague: {}",
    "Fix this code: {}",
    "Extract the names: {}",
    "Suggest a title for this: {}",
    "How do I {}",
    "Why {}",
    "Describe {}",
    "{} and why",
)
"""Ways of asking; where {} is comes a piece of a prompt."""
_LONGEST_PIECE = 60
"""Words."""


def texts_from(prompts: Sequence[str], own: int, made: int, seed: int) -> list[str]:
    """A draw of ``own`` prompts, and up to ``made`` texts made of all of them; the same for the same arguments."""
    whole = sorted(set(prompts))
    pieces = [found for p in whole if (found := [s.strip() for s in _SENTENCE.findall(p) if len(s.strip()) > 2])]
    random = np.random.default_rng(seed)
    makers = (_piece, _two_sentences, _opening, _crossed, _asked, _asked, _joined)
    made_of = [makers[int(random.integers(len(makers)))](pieces, random) for _ in range(made)]
    drawn = [whole[i] for i in random.permutation(len(whole))[:own].tolist()]
    return list(dict.fromkeys([*drawn, *(text for text in made_of if text)]))


def _piece(pieces: Sequence[Sequence[str]], random: np.random.Generator) -> str:
    """One sentence."""
    found = pieces[int(random.integers(len(pieces)))]
    return _cut(found[int(random.integers(len(found)))])


def _two_sentences(pieces: Sequence[Sequence[str]], random: np.random.Generator) -> str:
    """Two of one prompt, in any order."""
    found = pieces[int(random.integers(len(pieces)))]
    return " ".join(_cut(found[i]) for i in random.permutation(len(found))[:2].tolist())


def _opening(pieces: Sequence[Sequence[str]], random: np.random.Generator) -> str:
    """The first words of a prompt."""
    words = pieces[int(random.integers(len(pieces)))][0].split()
    return " ".join(words[: int(random.integers(2, 16))])


def _crossed(pieces: Sequence[Sequence[str]], random: np.random.Generator) -> str:
    """The opening of one prompt and the end of another's sentence."""
    first = pieces[int(random.integers(len(pieces)))][0].split()
    second = _piece(pieces, random).split()
    return " ".join(first[: int(random.integers(2, 7))] + second[-int(random.integers(2, 16)) :])


def _asked(pieces: Sequence[Sequence[str]], random: np.random.Generator) -> str:
    """A common way of asking, about a piece of a prompt."""
    return _ASKING[int(random.integers(len(_ASKING)))].replace("{}", _piece(pieces, random))


def _joined(pieces: Sequence[Sequence[str]], random: np.random.Generator) -> str:
    """Sentences of two prompts."""
    return f"{_piece(pieces, random)} {_piece(pieces, random)}"


def _cut(sentence: str) -> str:
    return " ".join(sentence.split()[:_LONGEST_PIECE])
