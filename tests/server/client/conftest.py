"""Clients and streams of either kind."""

import pytest
from rankd_client import RankClient
from support.both_clients import AsyncioClient, AsyncioStream, SyncStream


@pytest.fixture(params=[RankClient, AsyncioClient], ids=["sync", "asyncio"])
def connect(request):
    """Makes clients of either kind."""
    made = []

    def make(target, **options):
        made.append(request.param(target, **options))
        return made[-1]

    yield make
    for client in made:
        client.close()


@pytest.fixture(params=[SyncStream, AsyncioStream], ids=["sync", "asyncio"])
def connect_stream(request):
    """Makes a client with a stream, of either kind."""
    made = []

    def make(target, **options):
        made.append(request.param(target, **options))
        return made[-1]

    yield make
    for client in made:
        client.close()
