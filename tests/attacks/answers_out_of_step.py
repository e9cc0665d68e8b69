"""Every way in which an engine gets out of step, and whether anybody gets an answer that is another's.

For each fault: a request that meets it, and requests behind it, one by one, at once, and a while later. All that are
not met by the fault must get their own answers; the one that is gets its own, or an error, and never another's.
"""

import asyncio
import json
import logging
import sys

import structlog
from support.engine_faults import FAULTS, FaultyEngine
from support.fake_engine import Client, Through

ROUNDS = 3


async def ask(port, name, method=b"POST", seconds=20):
    """The name in the answer; None where there is an error in its place."""
    try:
        async with asyncio.timeout(seconds), Client(port) as client:
            if method == b"POST":
                await client.send(json.dumps({"prompt": name}).encode(), b"/v1/completions")
            else:
                await client.send(path=b"/" + name.encode(), method=method)
            status, _, body = await client.answer(method)
    except (asyncio.IncompleteReadError, ConnectionError, ValueError, TimeoutError):
        return None
    if status != 200 or method == b"HEAD":
        return status if method == b"HEAD" else None
    try:
        return json.loads(b"".join(body) if isinstance(body, list) else body)["name"]
    except (ValueError, KeyError):
        return "no answer of anybody's"


async def wrong_answers(proxy, method=b"POST"):
    """What went wrong with one engine."""
    wrong = []
    for at in range(ROUNDS):
        bad = await ask(proxy.port, f"bad-{at}", method, seconds=2)
        if str(bad).startswith(("one", "two", "together", "later", "bad")) and bad != f"bad-{at}":
            wrong.append((f"bad-{at}", bad))
        names = [f"one-{at}", f"two-{at}"]
        got = [await ask(proxy.port, name) for name in names]
        together = [f"together-{at}-{i}" for i in range(6)]
        got += await asyncio.gather(*(ask(proxy.port, name) for name in together))
        await ask(proxy.port, f"bad-again-{at}", method, seconds=0.3)
        await asyncio.sleep(0.12)
        names += [*together, f"later-{at}"]
        got.append(await ask(proxy.port, f"later-{at}"))
        wrong += [(n, g) for n, g in zip(names, got, strict=True) if g != n]
    return wrong


async def tried(fault, method=b"POST", **options):
    """One fault, with a proxy of its own."""
    async with FaultyEngine(fault, **options) as engine:
        proxy = await asyncio.to_thread(Through, engine.url, "127.0.0.1:1", direction="lower-first")
        try:
            return await wrong_answers(proxy, method), engine.connections
        finally:
            await asyncio.to_thread(proxy.stop)


async def main():
    """All of them."""
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.CRITICAL))
    logging.disable(logging.CRITICAL)
    failed = 0
    cases = [(name, fault, b"POST") for name, fault in FAULTS.items()]
    cases += [(name, fault, b"HEAD") for name, fault in FAULTS.items() if "late" in name or "surplus" in name]
    cases += [(name, fault, b"GET") for name, fault in FAULTS.items() if "second answer" in name]
    for name, fault, method in cases:
        wrong, connections = await tried(fault, method)
        failed += bool(wrong)
        shown = f"WRONG: {wrong[:4]}" if wrong else "everybody got his own"
        print(f"{method.decode()} {name}: {shown} ({connections} connections)", flush=True)
    print(f"{failed} of {len(cases)} faults gave somebody another's answer, or none" if failed else "held")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(asyncio.run(main()))
