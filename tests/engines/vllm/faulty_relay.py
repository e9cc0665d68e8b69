"""Between an engine and a real daemon: hands every call on, late or wrong where it is told to be."""

import random
import threading
import time
from concurrent import futures

import grpc

SLOW = 1.0
"""Seconds by which every call is late."""


class Odd(grpc.GenericRpcHandler):
    """``mode`` may change at any time.

    ``true``; ``slow``; ``noise``: bytes that are no message; ``wrong``: a message with other numbers in it; ``gone``.
    """

    def __init__(self, target):
        """Listen on a port of its own; ``target`` is the daemon."""
        self.mode = "true"
        self._random, self._lock = random.Random(0), threading.Lock()
        self._channel = grpc.insecure_channel(target)
        self._server = grpc.server(futures.ThreadPoolExecutor(64), handlers=[self])
        self.target = f"127.0.0.1:{self._server.add_insecure_port('127.0.0.1:0')}"
        self._server.start()

    def retarget(self, target):
        """Hand calls on to another daemon."""
        self._channel.close()
        self._channel = grpc.insecure_channel(target)

    def close(self):
        """End it."""
        self._server.stop(0)
        self._channel.close()

    def service(self, details):
        """Any method, as bytes; a single message is a stream of one."""
        return grpc.stream_stream_rpc_method_handler(lambda asked, context: self._call(details.method, asked, context))

    def _call(self, method, asked, context):
        if self.mode == "gone":
            context.abort(grpc.StatusCode.UNAVAILABLE, "gone")
        if self.mode == "slow":
            time.sleep(SLOW)
        left = context.time_remaining()  # beyond all bounds where the caller set no deadline
        try:
            for answer in self._channel.stream_stream(method)(asked, timeout=left if left and left < 1e6 else None):
                yield self._spoilt(answer)
        except grpc.RpcError as error:
            context.abort(error.code(), error.details())

    def _spoilt(self, answer):
        with self._lock:
            if self.mode == "noise":
                return self._random.randbytes(len(answer) + 7)
            if self.mode == "wrong":
                # Bytes of numbers are turned, those of text rarely: most of it still parses.
                spoilt = bytearray(answer)
                for place in self._random.sample(range(len(spoilt)), len(spoilt) // 8):
                    spoilt[place] ^= 1 << self._random.randrange(7)
                return bytes(spoilt)
            return answer
