"""An event loop whose clock stands still, and a model whose batches take time on that clock."""

import asyncio
import threading
import time


class VirtualLoop(asyncio.SelectorEventLoop):
    """Its time is what a test says; threads are real."""

    now = 1000.0

    def time(self):
        return self.now

    def until(self, condition, seconds=60.0):
        """Serve what threads bring, until the condition holds."""
        end = time.monotonic() + seconds
        while not condition():
            assert time.monotonic() < end, "the condition did not come true"
            self.run_until_complete(asyncio.sleep(0))
            time.sleep(0.0002)


class TimedModel:
    """Holds each batch in front of a real model until the clock has come to its end; fails those with a certain id."""

    def __init__(self, model, loop, seconds_per_token, bad=None):
        self.provider = model.provider
        self.running = []
        """(end, thread, release) of each batch that a worker holds."""
        self.most = 0
        self.open = False
        """Nothing is held any more."""
        self._model, self._loop, self._pace, self._bad = model, loop, seconds_per_token, bad
        self._lock = threading.Lock()

    def run(self, ids, mask):
        release = threading.Event()
        mine = (self._loop.now + self._pace * ids.size, threading.get_ident(), release)
        with self._lock:
            if self.open:
                release.set()
            self.running.append(mine)
            self.most = max(self.most, len(self.running))
        assert release.wait(60)
        with self._lock:
            self.running.remove(mine)
        if self._bad is not None and self._bad in ids:
            raise RuntimeError("injected")
        return self._model.run(ids, mask)

    def give_up(self, thread=None):
        self._model.give_up(thread)

    def let_go(self):
        """Hold nothing any more."""
        with self._lock:
            self.open = True
            for _, _, release in self.running:
                release.set()
