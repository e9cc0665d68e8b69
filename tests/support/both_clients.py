"""The client library's sync and asyncio halves behind one surface, so that one test body serves both."""

import asyncio
import threading

from rankd_client import AsyncRankClient, RankClient


class AsyncioClient:
    """The async client with the sync one's surface, so that one test body serves both."""

    def __init__(self, target, **options):
        self._loop = asyncio.new_event_loop()

        async def make():
            return AsyncRankClient(target, **options)

        self._client = self._loop.run_until_complete(make())

    @property
    def stats(self):
        return self._client.stats

    def rank(self, *a, **k):
        return self._loop.run_until_complete(self._client.rank(*a, **k))

    def report(self, *a, **k):
        return self._loop.run_until_complete(self._client.report(*a, **k))

    def quality(self, **k):
        return self._loop.run_until_complete(self._client.quality(**k))

    def watch_quality(self, interval=1.0):
        watch = self._client.watch_quality(interval)
        while True:
            try:
                yield self._loop.run_until_complete(anext(watch))
            except StopAsyncIteration:
                return

    def close(self):
        self._loop.run_until_complete(self._client.close())
        self._loop.close()


class SyncStream:
    """A sync client and its stream."""

    def __init__(self, target, **options):
        self.client = RankClient(target, **options)
        self.stream = self.client.stream()

    def step(self, *a, **k):
        return self.stream.step(*a, **k)

    def report(self, *a, **k):
        return self.client.report(*a, **k)

    def close_stream(self):
        self.stream.close()

    def close_client(self):
        self.client.close()

    def close(self):
        self.close_stream()
        self.close_client()


class AsyncioStream:
    """The asyncio ones with the same surface, on a loop that runs all the time, as an engine's does."""

    def __init__(self, target, **options):
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever)
        self._thread.start()
        self.client, self.stream = self._run(self._make(target, options))

    async def _make(self, target, options):
        client = AsyncRankClient(target, **options)
        return client, client.stream()

    def _run(self, coroutine):
        return asyncio.run_coroutine_threadsafe(coroutine, self._loop).result(60)

    def step(self, *a, **k):
        return self._run(self.stream.step(*a, **k))

    def report(self, *a, **k):
        return self._run(self.client.report(*a, **k))

    def close_stream(self):
        self._run(self.stream.close())

    def close_client(self):
        self._run(self.client.close())

    def close(self):
        self.close_stream()
        self.close_client()
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(10)
        self._loop.close()
