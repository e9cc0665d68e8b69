"""Permits: how many prompts and tokens may wait for the model. Pure counting."""

from __future__ import annotations


class Admission:
    """Counts prompts and tokens that wait or run; refuses what would go over a limit."""

    def __init__(self, max_prompts: int, max_tokens: int) -> None:
        """Set both limits."""
        self._max_prompts = max_prompts
        self._max_tokens = max_tokens
        self.prompts = 0
        self.tokens = 0

    def fits(self, tokens: int) -> bool:
        """Say whether one more prompt of that many tokens would be admitted."""
        return self.prompts < self._max_prompts and self.tokens + tokens <= self._max_tokens

    def take(self, tokens: int) -> None:
        """Take a permit; the caller has asked ``fits``."""
        self.prompts += 1
        self.tokens += tokens

    def resize(self, before: int, after: int) -> None:
        """Correct a permit once the true number of tokens is known; never refuses."""
        self.tokens += after - before

    def give_back(self, tokens: int) -> None:
        """Return a permit."""
        self.prompts -= 1
        self.tokens -= tokens
