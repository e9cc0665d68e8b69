"""748 uploads of 4 MB that stall, and answers that nobody reads, against a proxy with 512 MiB.

`python -m attacks.stalled_uploads` says what the proxy took, and whether others were served meanwhile.
"""

import asyncio
import contextlib
import sys
import time

import psutil
from support.control_group import ControlGroup
from support.fake_engine import Client, ProxyProcess, Upstream, post
from support.process_memory import peak, resident

LIMIT = 512 * 2**20
SECONDS = 40
START = b"POST %s HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n%s\r\n"
SMALL = b'{"prompt": "a short answer"}'


async def engine(seen, _reader, writer):
    """A great answer to those who ask for one, else a little one."""
    if b"/great" not in seen.line:
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}")
        return
    writer.write(b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 900000000\r\n\r\n")
    for _ in range(9000):
        writer.write(b"x" * 100_000)
        await writer.drain()


async def upload(stack, port, path, length, sent):
    """One that stalls."""
    with contextlib.suppress(ConnectionError, TimeoutError):
        client = await stack.enter_async_context(Client(port))
        client.writer.write(START % (path, length) + sent)
        async with asyncio.timeout(5):
            await client.writer.drain()


async def others(proxy, until, counts):
    """Well-behaved callers."""
    while time.monotonic() < until:
        began = time.monotonic()
        try:
            async with asyncio.timeout(5):
                status = (await post(proxy.port, SMALL))[0]
                probe = (await post(proxy.metrics_port, b"", b"/livez", method=b"GET"))[0]
        except (OSError, TimeoutError, asyncio.IncompleteReadError):
            status = probe = None
        counts.append((status, probe, time.monotonic() - began))
        await asyncio.sleep(0.02)


async def attack(proxy, counts):
    """All of it, while others are served."""
    until = time.monotonic() + SECONDS
    asking = [asyncio.create_task(others(proxy, until, counts)) for _ in range(3)]
    async with contextlib.AsyncExitStack() as stack:
        for at in range(748):
            kind = at % 4
            if kind == 0:
                sent = b'{"prompt":"' + b"x" * 4_000_000
                await upload(stack, proxy.port, b"/v1/completions", b"Content-Length: 4190000\r\n", sent)
            elif kind == 1:
                sent = b"%x\r\n%s\r\n" % (4_000_000, b'{"prompt":"' + b"x" * 3_999_989)
                await upload(stack, proxy.port, b"/v1/chat/completions", b"Transfer-Encoding: chunked\r\n", sent)
            elif kind == 2:
                await upload(stack, proxy.port, b"/files", b"Content-Length: 90000000\r\n", b"x" * 4_000_000)
            else:
                client = await stack.enter_async_context(Client(proxy.port))
                client.writer.write(b"GET /great HTTP/1.1\r\nHost: x\r\n\r\n")
                client.writer.transport.pause_reading()
        await asyncio.gather(*asking)


def main():
    """Start, attack, judge."""
    upstream, group = Upstream(engine), ControlGroup("rankd-attack-uploads", LIMIT)
    try:
        proxy = ProxyProcess(upstream.url, "127.0.0.1:1", *("--direction", "lower-first"), prefix=group.prefix)
        process, counts = psutil.Process(proxy.process.pid), []
        before = resident(process.pid)
        asyncio.run(attack(proxy, counts))
        time.sleep(5)
        served = sum(status == probe == 200 for status, probe, _ in counts)
        slowest = sorted(seconds for *_, seconds in counts)[int(len(counts) * 0.99)]
        print(f"limit by {group.kind}; {before / 2**20:.0f} MiB before, {peak(process.pid) / 2**20:.0f} MiB at most, "
              f"{resident(process.pid) / 2**20:.0f} MiB 5 s later; {served} of {len(counts)} others served, "
              f"the hundredth slowest in {slowest:.3f} s")  # fmt: skip
        lives = proxy.process.poll() is None
        held = lives and served >= 0.99 * len(counts) and resident(process.pid) < before + 150 * 2**20
        print("held" if held else "FAILED")
        proxy.kill()
    finally:
        upstream.close()
        group.close()
    return 0 if held else 1


if __name__ == "__main__":
    sys.exit(main())
