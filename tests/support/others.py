"""A well-behaved caller, while somebody else is not."""

import threading
from collections import Counter

import grpc

from support.wire import item, rank_stub, request


class Others(threading.Thread):
    """A well-behaved caller: small queues, fifty milliseconds each."""

    def __init__(self, target, token=None):
        super().__init__(daemon=True)
        self._target, self._metadata = target, (("authorization", f"Bearer {token}"),) if token else ()
        self.calls = self.late = 0
        self.statuses = Counter()
        self.over = threading.Event()

    def run(self):
        with grpc.insecure_channel(self._target, options=[("grpc.use_local_subchannel_pool", 1)]) as channel:
            rank = rank_stub(channel).Rank
            while not self.over.wait(0.02):
                self.calls += 1
                try:
                    rank(request(item("a", "short"), item("b", "long")), timeout=0.05, metadata=self._metadata)
                except grpc.RpcError as error:
                    self.late += 1
                    self.statuses[error.code().name] += 1

    @property
    def in_time(self):
        return 1 - self.late / max(1, self.calls)
