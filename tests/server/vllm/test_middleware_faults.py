"""RankMiddleware while the daemon is absent, frozen or back, or vLLM is set up otherwise: requests are served."""

import asyncio
import logging
import signal
import time
import types

from rankd_client.integration.prediction_store import PredictionStore
from rankd_vllm import IntegrationSettings, RankMiddleware
from rankd_vllm import scheduling_mode as mode
from support.asgi_engine import Engine, Receiver, messages_of, post, run, scope_of
from support.ports import nobody
from support.vllm_middleware import middleware

SHORT, LONG = "a short answer", "a long long long answer"


async def ranked_again(app, engine, seconds=60):
    """Wait until a short prompt that came later goes before a long one."""
    end = time.monotonic() + seconds
    while True:
        await post(app, {"prompt": LONG, "max_tokens": 500})
        await post(app, {"prompt": SHORT, "max_tokens": 500})
        if engine.priority(-1) < engine.priority(-2):
            return
        assert time.monotonic() < end, "not ranked again in time"
        await asyncio.sleep(0.05)


def test_without_a_daemon_the_priority_is_the_arrival_and_soon_costs_nothing():
    """From the first request on there is a priority that rises with arrival; after three nobody waits any more."""

    async def story():
        engine = Engine()
        async with middleware(engine, nobody(), timeout=0.05) as app:
            for _ in range(40):
                await post(app, {"prompt": SHORT, "max_tokens": 500})
            keys = [engine.priority(at) for at in range(40)]
            assert keys == sorted(keys)
            assert abs(keys[-1] - time.time() * 1000) < 60_000
            assert app._breaker.open
            assert 3 <= app._breaker._client.stats.calls < 20, "nobody asks but the probe, with the circuit open"

    run(story())


def test_a_frozen_daemon_costs_its_deadline_thrice_and_is_found_again(start_process):
    """SIGSTOP: requests wait for at most the timeout, then for nothing; SIGCONT: ranked again."""
    process = start_process()

    async def story():
        engine = Engine()
        async with middleware(engine, process.target, timeout=0.1) as app:
            await post(app, {"prompt": SHORT, "max_tokens": 500})
            process.process.send_signal(signal.SIGSTOP)
            await asyncio.gather(*(post(app, {"prompt": LONG}) for _ in range(50)))
            assert app._breaker.open
            await post(app, {"prompt": LONG, "max_tokens": 500})
            assert len(engine.scopes) == 52
            process.process.send_signal(signal.SIGCONT)
            await ranked_again(app, engine)

    try:
        run(story())
    finally:
        process.process.send_signal(signal.SIGCONT)


def test_a_daemon_that_starts_later_is_found(start_process):
    """Killed in the middle and started again at its port, without anybody touching the engine."""
    process = start_process()

    async def story():
        engine = Engine()
        async with middleware(engine, process.target, timeout=0.2) as app:
            await post(app, {"prompt": SHORT, "max_tokens": 500})
            process.kill()
            for _ in range(5):
                await post(app, {"prompt": LONG, "max_tokens": 500})
            assert app._breaker.open
            await asyncio.to_thread(start_process, port=process.port)
            await ranked_again(app, engine)

    run(story())


def test_a_fault_of_the_middleware_itself_costs_no_request(daemon, monkeypatch):
    """Whatever raises in it, the request is served, by its arrival."""
    monkeypatch.setattr("rankd_vllm.middleware.read_request", lambda *_: 1 / 0)

    async def story():
        engine = Engine()
        async with middleware(engine, daemon.target) as app:
            await post(app, {"prompt": SHORT, "max_tokens": 500})
        assert engine.priority() > 1e12

    run(story())


def test_one_event_loop_after_another(daemon):
    """A new loop gets a connection of its own; grpc's belong to the loop they were made on."""
    engine = Engine()
    app = RankMiddleware(engine, IntegrationSettings(target=daemon.target, timeout=30.0), PredictionStore())
    for _ in range(2):
        run(post(app, {"prompt": SHORT}))
    assert app._breaker._failures == 0


def server(policy, scheduler_cls=None):
    """The scope's app as vLLM's server makes it."""
    config = types.SimpleNamespace(policy=policy, scheduler_cls=scheduler_cls)
    state = types.SimpleNamespace(vllm_config=types.SimpleNamespace(scheduler_config=config))
    return types.SimpleNamespace(state=state)


def test_a_server_that_ignores_priorities_is_named_once(daemon, caplog):
    """One warning, with the option to add; none in priority mode."""
    mode.warn_of.cache_clear()

    async def story():
        for policy in ("priority", "fcfs", "fcfs"):
            async with middleware(Engine(), daemon.target) as app:
                for _ in range(2):
                    await app(scope_of(kind="lifespan", app=server(policy)), None, None)

    with caplog.at_level(logging.INFO, "rankd_client.integration"):
        run(story())
    (record,) = caplog.records
    assert record.levelno == logging.WARNING
    assert "--scheduling-policy priority" in record.getMessage()


def test_it_steps_aside_for_the_scheduler(daemon):
    """With --scheduler-cls rankd_vllm.RankScheduler requests pass as they are."""

    async def story():
        engine = Engine()
        scope = scope_of(app=server("priority", "rankd_vllm.RankScheduler"))

        async def send(_):
            pass

        async with middleware(engine, daemon.target) as app:
            await app(scope, Receiver(messages_of(b'{"prompt": "short"}')), send)
        assert engine.scopes[0] is scope

    run(story())


def test_no_prompt_is_logged(caplog):
    """Neither prompts nor ids are in any log line, however things go wrong."""

    async def story():
        async with middleware(Engine(), nobody(), timeout=0.02) as app:
            for _ in range(5):
                await post(app, {"prompt": "sesame", "request_id": "sesame"})

    with caplog.at_level(logging.DEBUG):
        run(story())
    assert "does not answer" in caplog.text
    assert "sesame" not in caplog.text
