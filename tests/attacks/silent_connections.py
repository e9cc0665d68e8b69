"""Silent, half and slow connections by the thousand on both ports of a proxy, while others ask.

`python -m attacks.silent_connections` tries it once with all descriptors that there are, once with 256, and prints how
many others and probes were answered, and what it took.
"""

import asyncio
import contextlib
import itertools
import sys
import time

import psutil
from support.fake_engine import EVENTS, Client, ProxyProcess, Upstream, post, streamed
from support.process_memory import descriptors, resident

SECONDS = 30
SMALL = b'{"prompt": "a short answer", "stream": true}'
START = b"POST /v1/completions HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n"
SAID = [b"", b"G", START, START + b"Content-Length: 100\r\n\r\n{", b"\r\n", b"GET /livez HTTP/1.1\r\nHost: x\r\n\r\n"]
TLS = b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03"
PAGES = [b"GET /metrics HTTP/1.1\r\nHost: x\r\n\r\n" * 50]


async def flood(port, count, until, said):
    """So many connections at a time, each opened again when it ends."""

    async def one(said):
        while time.monotonic() < until:
            with contextlib.suppress(OSError, TimeoutError):
                async with asyncio.timeout(10), Client(port) as client:
                    client.writer.write(said)
                    await client.reader.read(1)
                    await asyncio.sleep(1)  # what else comes is not read
            await asyncio.sleep(0.2)

    await asyncio.gather(*(one(words) for words, _ in zip(itertools.cycle(said), range(count), strict=False)))


async def others(proxy, until, counts):
    """Well-behaved callers, and probes."""
    while time.monotonic() < until:
        for port, path, method in ((proxy.port, b"/v1/completions", b"POST"), (proxy.metrics_port, b"/livez", b"GET")):
            try:
                async with asyncio.timeout(5):
                    status = (await post(port, SMALL if method == b"POST" else b"", path, method=method))[0]
            except (OSError, TimeoutError, asyncio.IncompleteReadError):
                status = None
            counts.append(status == 200)
        await asyncio.sleep(0.02)


async def attack(proxy, count, counts):
    """Everything at once."""
    until = time.monotonic() + SECONDS
    asking = [others(proxy, until, counts) for _ in range(3)]
    await asyncio.gather(
        flood(proxy.port, count, until, [*SAID, TLS]),
        flood(proxy.metrics_port, count // 4, until, [*SAID, TLS, *PAGES]),
        *asking,
    )


def tried(count, *prefix):
    """One proxy; whether it held."""
    upstream = Upstream(streamed(EVENTS))
    proxy = ProxyProcess(upstream.url, "127.0.0.1:1", "--direction", "lower-first", prefix=prefix)
    process, counts = psutil.Process(proxy.process.pid), []
    before, open_before = resident(process.pid), descriptors(process.pid)
    asyncio.run(attack(proxy, count, counts))
    time.sleep(5)
    held = process.is_running() and sum(counts) >= 0.99 * len(counts) and descriptors(process.pid) <= open_before + 20
    print(f"{count} connections, {' '.join(prefix) or 'all descriptors'}: {sum(counts)} of {len(counts)} answered, "
          f"{(resident(process.pid) - before) / 2**20:.0f} MiB more 5 s later, {open_before} descriptors before and "
          f"{descriptors(process.pid)} after: {'held' if held else 'FAILED'}", flush=True)  # fmt: skip
    proxy.kill()
    upstream.close()
    return held


def main():
    """All of it."""
    held = [tried(400), tried(200, "prlimit", "--nofile=256:256")]
    return 0 if all(held) else 1


if __name__ == "__main__":
    sys.exit(main())
