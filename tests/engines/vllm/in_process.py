"""vLLM engines in this process, counted in engine steps, which do not depend on the machine."""

import os
import sys
import time
from contextlib import contextmanager, nullcontext

from engines.vllm.tiny_model import make_model, prepare_environment

prepare_environment()
os.environ.update(VLLM_ENABLE_V1_MULTIPROCESSING="0", VLLM_LOGGING_LEVEL="WARNING")
SLOTS = 16
OURS = "rankd_vllm.RankScheduler"


def say(*words):
    """Progress, on the terminal."""
    print(f"[{time.strftime('%H:%M:%S')}]", *words, file=sys.stderr, flush=True)


def engine_of(model, scheduler=None, *, asynchronous=False, stat_loggers=None, **more):
    """A vLLM engine in this process. ``asynchronous``: one that schedules a step ahead, as vLLM does on GPUs."""
    from vllm import EngineArgs, LLMEngine

    arguments = {"max_model_len": 2048, "max_num_seqs": SLOTS, "max_num_batched_tokens": 2048}
    arguments |= {"enable_prefix_caching": False} | more
    config = EngineArgs(
        model=model,
        load_format="dummy",
        dtype="float32",
        enforce_eager=True,
        scheduling_policy="priority",
        scheduler_cls=scheduler,
        **arguments,
    ).create_engine_config()
    # vLLM's platform turns it off on a CPU, after reading the arguments.
    config.scheduler_config.async_scheduling = asynchronous
    return LLMEngine.from_vllm_config(config, stat_loggers=stat_loggers)


@contextmanager
def streams_on_a_cpu():
    """Lets vLLM's asynchronous model runner run where there are no streams: what it starts is done when it returns.

    Its placeholders are vLLM's own for CPUs, which it lays aside once the runner is built.
    """
    import torch
    from vllm.v1.worker import cpu_model_runner

    with cpu_model_runner._torch_cuda_wrapper():
        own = {name: getattr(torch.cuda, name) for name in ("Event", "stream", "current_stream")}
        event, stream = torch.Event, torch.cuda.Stream
        torch.cuda.Event, torch.cuda.stream, torch.cuda.current_stream = event, lambda _: nullcontext(), stream
        inside = cpu_model_runner._torch_cuda_wrapper
        cpu_model_runner._torch_cuda_wrapper = nullcontext
        try:
            yield
        finally:
            cpu_model_runner._torch_cuda_wrapper = inside
            for name, value in own.items():
                setattr(torch.cuda, name, value)


def scheduler_of(engine):
    """The engine's scheduler."""
    return engine.engine_core.engine_core.scheduler


def add(engine, rows, tokens, priority=None, *, first=0):
    """Send rows at once, numbered from ``first`` on; all of their tokens must come.

    The end of the text is forced as soon as it is allowed: max_tokens would tell RankScheduler the length.
    """
    from vllm import SamplingParams

    for number, row in enumerate(rows, first):
        engine.add_request(
            str(number),
            {"prompt_token_ids": tokens[number - first]},
            SamplingParams(
                min_tokens=row["output_tokens"] - 1,
                logit_bias={2: 100},
                max_tokens=1500,
                temperature=0,
                detokenize=False,
            ),
            priority=priority(number) if priority else 0,
        )


def steps_of(engine, rows, *, at=None, texts=None, known=0):
    """Step until all is done; gives the step in which each was, with every token.

    Args:
        engine: the engine.
        rows: what was added.
        at: a step, and what to do before it.
        texts: a dictionary that takes the token ids of each answer.
        known: so many of the first rows were done before.
    """
    last, now = [0] * len(rows), 0
    while engine.has_unfinished_requests():
        now += 1
        if at is not None and now == at[0]:
            at[1]()
        for output in engine.step():
            number = int(output.request_id)
            if output.finished:
                last[number] = now
                assert len(output.outputs[0].token_ids) == rows[number]["output_tokens"], "a token is missing"
                if texts is not None:
                    texts[number] = tuple(output.outputs[0].token_ids)
    assert all(last[known:]), "a request did not finish"
    return last


def scored(engine, count, seconds=120):
    """Wait until so many scores are there to be taken, and rules."""
    scores, end = scheduler_of(engine)._scores, time.monotonic() + seconds
    while len(scores.new_predictions) < count or scores.rules(time.monotonic()).policy.value == "fcfs":
        assert time.monotonic() < end, "no scores came"
        time.sleep(0.05)


def tokens_of(rows, model):
    """Prompts as token ids, at most 500 of each."""
    from transformers import AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(model)
    tokens = [tokenizer.encode(row["prompt"])[:500] for row in rows]
    assert tokenizer.decode(tokens[0]) == rows[0]["prompt"], "what the ranker reads is not the prompt"
    return tokens


__all__ = ["OURS", "SLOTS", "add", "engine_of", "make_model", "say", "scheduler_of", "scored", "steps_of",
           "streams_on_a_cpu", "tokens_of"]  # fmt: skip
