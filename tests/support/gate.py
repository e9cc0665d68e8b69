"""A fault before a real model."""

import threading
import time

from rankd.errors import InferenceError


class Gate:
    """A fault in front of a real model: holds it, makes it fail, counts what it reads."""

    def __init__(self, daemon):
        self.open = threading.Event()
        self.open.set()
        self.fail = False
        self.seconds_per_token = 0.0
        self.batches = []
        self._model = daemon.scorer.runner.model
        daemon.scorer.runner.model = self

    def run(self, ids, mask):
        self._hold(ids)
        return self._model.run(ids, mask)

    def run_with_features(self, ids, mask):
        self._hold(ids)
        return self._model.run_with_features(ids, mask)

    def _hold(self, ids):
        self.batches.append(len(ids))
        assert self.open.wait(120)
        time.sleep(self.seconds_per_token * ids.size)
        if self.fail:
            raise InferenceError("injected")

    def give_up(self, thread=None):
        self._model.give_up(thread)

    def end(self):
        self._model.end()

    @property
    def prompts_read(self):
        return sum(self.batches)
