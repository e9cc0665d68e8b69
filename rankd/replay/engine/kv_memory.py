"""The KV memory of a simulated engine: given out in blocks, growing by a token per iteration and request."""

from __future__ import annotations

_NEVER = 2**62


class KvMemory:
    """Blocks in use.

    Requests that decode need a new block whenever what they hold is a multiple of the block. They are counted by where
    in its block a request is, less the iterations so far, which does not change while it runs: so what any number of
    iterations needs is known without looking at the requests.
    """

    def __init__(self, blocks: int, block: int) -> None:
        """Start empty; 0 blocks is no limit."""
        self.limited = blocks > 0
        self._limit = blocks or _NEVER
        self._block = block
        self._phase = [0] * block
        self._decoding = 0
        self._clock = 0
        self._used = self._reserved = 0
        self.most = 0

    def blocks_of(self, tokens: int) -> int:
        """Blocks that so many tokens take."""
        return -(-tokens // self._block)

    def fits(self, tokens: int) -> bool:
        """Whether a request that holds so many tokens can come in."""
        return self._used + self._reserved + self.blocks_of(tokens) <= self._limit

    def hold(self, tokens: int) -> None:
        """Take memory for a request whose prompt is about to be read."""
        self._used += self.blocks_of(tokens)

    def release(self, tokens: int) -> None:
        """Give back the memory of a request that does not decode."""
        self._used -= self.blocks_of(tokens)

    def start(self, tokens: int) -> None:
        """A request that holds so many tokens decodes from now on."""
        self._phase[(tokens - self._clock) % self._block] += 1
        self._decoding += 1

    def stop(self, tokens: int) -> None:
        """A request that decodes, and holds so many tokens, is gone."""
        self._phase[(tokens - self._clock) % self._block] -= 1
        self._decoding -= 1
        self._used -= self.blocks_of(tokens)

    def reserve(self) -> bool:
        """Set aside what the next iteration needs for those that decode; False where it is not there."""
        self._reserved = self._phase[-self._clock % self._block]
        return self._used + self._reserved <= self._limit

    def lasts(self) -> int:
        """Iterations for which memory lasts."""
        if not self.limited or not self._decoding:
            return _NEVER
        free = self._limit - self._used
        count, rest = divmod(free, self._decoding)
        count *= self._block
        while (need := self._phase[-(self._clock + count) % self._block]) <= rest:
            rest -= need
            count += 1
        return count

    def grow(self, count: int) -> None:
        """Let all that decode get so many tokens."""
        whole, part = divmod(count, self._block)
        self._used += whole * self._decoding
        self._used += sum(self._phase[-(self._clock + j) % self._block] for j in range(part))
        self._clock += count
        self._reserved = 0
        self.most = max(self.most, self._used)
