"""The script a text is mostly written in: the nearest to its language that can be told without a model."""

from __future__ import annotations

from collections import Counter
from itertools import islice

SCRIPTS = ("latin", "han", "kana", "hangul", "cyrillic", "arabic", "other")
_LETTERS = 2000
"""Letters that are looked at: enough to tell, whatever the length."""
_RANGES = (
    (0x0041, 0x024F, "latin"),
    (0x1E00, 0x1EFF, "latin"),
    (0xFF21, 0xFF5A, "latin"),
    (0x0400, 0x052F, "cyrillic"),
    (0x0600, 0x06FF, "arabic"),
    (0x0750, 0x077F, "arabic"),
    (0xFB50, 0xFEFC, "arabic"),
    (0x1100, 0x11FF, "hangul"),
    (0x3130, 0x318F, "hangul"),
    (0xAC00, 0xD7AF, "hangul"),
    (0x3041, 0x30FF, "kana"),
    (0xFF66, 0xFF9D, "kana"),
    (0x3400, 0x9FFF, "han"),
    (0xF900, 0xFAFF, "han"),
    (0x20000, 0x323AF, "han"),
)


def script_of(text: str) -> str:
    """The script of most of its letters; ``other`` where it has none, or most are of no script listed.

    Japanese is ``kana`` where its kana outnumber its kanji, as in prose, and ``han`` where they don't.
    """
    found: Counter[str] = Counter()
    for letter, times in Counter(islice((c for c in text if c.isalpha()), _LETTERS)).items():
        found[_script(ord(letter))] += times
    return max(SCRIPTS, key=lambda script: found[script]) if found else "other"


def _script(code: int) -> str:
    return next((name for first, last, name in _RANGES if first <= code <= last), "other")
