"""Eight scrapers in a loop beside a well-behaved caller with 50 ms: how many of its calls are in time.

``PYTHONPATH=tests python -m attacks.scrapers [SECONDS]`` measures without them, then with them; they may make no more
than 1 % late.
"""

import sys
import tempfile
import threading
import time
from concurrent.futures import ProcessPoolExecutor
from contextlib import suppress
from multiprocessing import get_context
from pathlib import Path

import grpc
from support.daemon import DaemonProcess
from support.tiny_ranker import make_artifact
from support.wire import item, rank_stub, request

from attacks.page_port import grow, scrape

DEADLINE = 0.05
SCRAPERS = 8


def in_time(target, seconds):
    """The share of calls that were answered within their deadline, one every 20 ms."""
    good = asked = 0
    with grpc.insecure_channel(target) as channel:
        stub = rank_stub(channel)
        stub.Rank(request(item("a", "w1")), timeout=10)
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            asked += 1
            queue = request(*(item(str(n), f"w{n % 50} w{asked % 50}") for n in range(20)))
            began = time.monotonic()
            with suppress(grpc.RpcError):
                stub.Rank(queue, timeout=1)
                good += time.monotonic() - began <= DEADLINE
            time.sleep(0.02)
    return good / asked


def scrapers(port, seconds):
    """Read metrics in eight threads for so long; gives how often."""
    scrapes, end = [], time.monotonic() + seconds

    def loop():
        while time.monotonic() < end:
            with suppress(OSError, StopIteration, IndexError):
                scrape(port)
                scrapes.append(1)

    threads = [threading.Thread(target=loop) for _ in range(SCRAPERS)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return len(scrapes)


def main():
    """Without, then with: scrapers in a process of their own, so that they hold up nobody here."""
    seconds = float(sys.argv[1]) if len(sys.argv) > 1 else 10.0
    with tempfile.TemporaryDirectory() as directory, ProcessPoolExecutor(1, get_context("spawn")) as pool:
        daemon = DaemonProcess(make_artifact(Path(directory) / "tiny"))
        try:
            grow(daemon)
            port = int(daemon.http.rstrip("/").rpartition(":")[2])
            pool.submit(scrapers, port, 0.0).result()
            alone = in_time(daemon.target, seconds)
            scraping = pool.submit(scrapers, port, seconds)
            beside = in_time(daemon.target, seconds)
            scrapes = scraping.result()
        finally:
            daemon.kill()
    print(f"in time: {alone:.2%} alone, {beside:.2%} beside {SCRAPERS} scrapers that read {scrapes} times")
    return int(beside < alone - 0.01)


if __name__ == "__main__":
    sys.exit(main())
