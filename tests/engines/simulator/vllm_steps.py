"""What vLLM does with a workload, counted in engine steps. Runs in vLLM's own environment: `make sim-check`.

usage: python -m engines.simulator.vllm_steps WORKLOADS.json OUT.json

A tiny Llama with random weights serves real requests; how long answers get is set per request (`ignore_eos`). Latencies
in steps do not depend on the machine, so that they can be compared with a simulation to the step.
"""

import json
import os
import sys
import tempfile
from pathlib import Path

os.environ.update(
    VLLM_ENABLE_V1_MULTIPROCESSING="0",
    VLLM_NO_USAGE_STATS="1",
    VLLM_CPU_KVCACHE_SPACE="1",
    VLLM_LOGGING_LEVEL="WARNING",
    HF_HUB_OFFLINE="1",
    OMP_NUM_THREADS="1",
)
CONFIG = {
    "architectures": ["LlamaForCausalLM"],
    "model_type": "llama",
    "vocab_size": 1024,
    "hidden_size": 128,
    "intermediate_size": 256,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "num_key_value_heads": 2,
    "head_dim": 64,
    "max_position_embeddings": 4096,
    "hidden_act": "silu",
    "rms_norm_eps": 1e-5,
    "tie_word_embeddings": True,
    "torch_dtype": "float32",
    "bos_token_id": 1,
    "eos_token_id": 2,
}


def engine_of(workload, policy, folder):
    """A vLLM engine in this process."""
    from vllm import EngineArgs, LLMEngine

    return LLMEngine.from_engine_args(
        EngineArgs(
            model=folder,
            skip_tokenizer_init=True,
            load_format="dummy",
            dtype="float32",
            enforce_eager=True,
            enable_prefix_caching=False,
            max_model_len=workload["max_model_len"],
            max_num_seqs=workload["slots"],
            max_num_batched_tokens=workload["chunk"],
            block_size=workload["block"],
            num_gpu_blocks_override=workload["blocks"],
            scheduling_policy="fcfs" if policy == "fcfs" else "priority",
        )
    )


def steps_of(engine, requests, policy):
    """Serve requests; gives the step in which each got its first token and its last, and the steps made."""
    from vllm import SamplingParams

    waiting = sorted(range(len(requests)), key=lambda n: (requests[n]["arrival"], n))
    first, last, now = [0] * len(requests), [0] * len(requests), 0
    while waiting or engine.has_unfinished_requests():
        if not engine.has_unfinished_requests():
            now = max(now, requests[waiting[0]]["arrival"])
        while waiting and requests[waiting[0]]["arrival"] <= now:
            number = waiting.pop(0)
            request = requests[number]
            engine.add_request(
                str(number),
                {"prompt_token_ids": [3 + (number + i) % 1000 for i in range(request["input"])]},
                SamplingParams(max_tokens=request["output"], ignore_eos=True, temperature=0, detokenize=False),
                priority=request["priority"] if policy != "fcfs" else 0,
            )
        now += 1
        for output in engine.step():
            number = int(output.request_id)
            first[number] = first[number] or now
            if output.finished:
                last[number] = now
    return {"first": first, "last": last, "steps": now}


def main(source, target):
    """Serve every workload under every policy."""
    workloads = json.loads(Path(source).read_text())
    out = {}
    with tempfile.TemporaryDirectory() as folder:
        (Path(folder) / "config.json").write_text(json.dumps(CONFIG))
        for name, workload in workloads.items():
            for policy in ("fcfs", "ranked"):
                engine = engine_of(workload, policy, folder)
                out[f"{name}/{policy}"] = steps_of(engine, workload["requests"], policy)
                print(name, policy, out[f"{name}/{policy}"]["steps"], "steps", file=sys.stderr, flush=True)
                del engine
    Path(target).write_text(json.dumps(out))


if __name__ == "__main__":
    main(*sys.argv[1:])
