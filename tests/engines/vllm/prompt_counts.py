"""Prompts and the prefix cache of a real vLLM, as RankScheduler sees and reports them: `make engines`.

usage: python -m engines.vllm.prompt_counts OUT.json

Every check that fails ends the run.
"""

import json
import os
import sys
import tempfile
from pathlib import Path

from engines.vllm.in_process import (
    OURS,
    add,
    engine_of,
    make_model,
    say,
    scheduler_of,
    scored,
    steps_of,
    streams_on_a_cpu,
)
from engines.vllm.serving import Daemon, running

BLOCK = 32
SHARED = [7] * 640
"""Tokens of a system prompt."""


def reports_of(scheduler):
    """Takes reports down as they are handed over; they go on to the daemon."""
    seen, put = [], scheduler._reports.put

    def noted(done):
        seen.append(done)
        put(done)

    scheduler._reports.put = noted
    return seen


def prompts_and_cache(model, name, *, asynchronous=False):
    """One request reads a long prompt; then others wait for the only place: who has it cached goes before."""
    os.environ["RANKD_MODEL"] = name
    engine = engine_of(
        model, OURS.replace("Rank", "RankAsync") if asynchronous else OURS, asynchronous=asynchronous,
        max_num_seqs=1, enable_prefix_caching=True, block_size=BLOCK, num_gpu_blocks_override=200,
    )  # fmt: skip
    scheduler = scheduler_of(engine)
    seen = reports_of(scheduler)
    rows = [{"output_tokens": 4}] * 4
    tokens = [SHARED + [9] * 8, [11] * 600, [13] * 64, SHARED + [15] * 8]
    add(engine, rows[:1], tokens[:1])
    scored(engine, 1)
    steps_of(engine, rows[:1])
    add(engine, rows[1:], tokens[1:], first=1)
    scored(engine, 3)
    cached = {r.request_id[0]: scheduler._cached_tokens(r) for r in scheduler.waiting}
    assert cached == {"1": 0, "2": 0, "3": len(SHARED)}, cached
    ended = steps_of(engine, rows, known=1)
    assert ended[3] < ended[2] < ended[1], ended
    final = [done for done in seen if done.finish_reason != "in_progress"]
    counts = [(done.prompt_tokens, done.cached_prompt_tokens) for done in final]
    assert counts == [(648, 0), (648, 640), (64, 0), (600, 0)], counts
    scheduler.shutdown()
    say(name, {"ended": ended, "reported": counts})
    return {"ended": ended, "reported": counts}


def main(target):
    """All of it."""
    import vllm

    out = {"vllm": vllm.__version__}
    # Whatever a ranker says of such prompts, it is their length that decides.
    order = {"RANKD_ORDER__POLICY": "score", "RANKD_ORDER__PROMPT_COST": "10"}
    with tempfile.TemporaryDirectory() as folder, running(Daemon(ranker="ngram", **order)) as daemon:
        os.environ["RANKD_TARGET"] = daemon.target
        model = make_model(folder, hidden=64, layers=1)
        out["scheduler"] = prompts_and_cache(model, "scheduler")
        with streams_on_a_cpu():
            out["asynchronous"] = prompts_and_cache(model, "asynchronous", asynchronous=True)
    Path(target).parent.mkdir(parents=True, exist_ok=True)
    Path(target).write_text(json.dumps(out, indent=1))


if __name__ == "__main__":
    main(*sys.argv[1:])
