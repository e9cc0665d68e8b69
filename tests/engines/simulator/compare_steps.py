"""The simulator of `rankd replay` beside vLLM, in engine steps: `make sim-check`.

usage: python -m engines.simulator.compare_steps WORKLOADS.json VLLM.json OUT.json

Prints a table and writes it as JSON; exits with 1 where a mean or a p90 is more than 5 % off.
"""

import json
import sys
from pathlib import Path

import numpy as np

from rankd.replay.engine import engine
from rankd.replay.engine.cost import step_cost
from rankd.replay.policies.baselines import FixedKey, KeyOrder
from rankd.replay.trace.trace import Trace

BAR = 0.05


def simulated(workload, policy):
    """Steps at which the simulator finishes each request."""
    requests = workload["requests"]
    order = sorted(range(len(requests)), key=lambda n: (requests[n]["arrival"], n))
    column = {name: np.array([requests[n][name] for n in order]) for name in ("arrival", "input", "output", "priority")}
    trace = Trace(column["arrival"].astype(float), column["input"], column["output"])
    cost = step_cost(
        workload["slots"],
        # One block of vLLM's is never given out.
        kv_tokens=(workload["blocks"] - 1) * workload["block"],
        block=workload["block"],
        chunk=workload["chunk"],
    )
    queue = KeyOrder(trace) if policy == "fcfs" else FixedKey(trace, column["priority"].astype(float))
    result = engine.run(trace, queue, cost)
    latency = np.empty(len(order))
    latency[order] = result.finish - result.arrival
    return latency, int(result.preempted.sum())


def main(source, truth, target):
    """Compare every workload under every policy."""
    workloads, real = json.loads(Path(source).read_text()), json.loads(Path(truth).read_text())
    rows, worst = [], 0.0
    print(
        "| workload | order | vLLM mean | simulated | off | vLLM p90 | simulated | off | same to the step | preempted |"
    )
    print("|---|---|---|---|---|---|---|---|---|---|")
    for name, workload in workloads.items():
        arrival = np.array([r["arrival"] for r in workload["requests"]])
        for policy in ("fcfs", "ranked"):
            vllm = np.array(real[f"{name}/{policy}"]["last"]) - arrival
            ours, preempted = simulated(workload, policy)
            mean, p90 = ours.mean() / vllm.mean() - 1, np.quantile(ours, 0.9) / np.quantile(vllm, 0.9) - 1
            worst = max(worst, abs(mean), abs(p90))
            same = float((ours == vllm).mean())
            row = {"workload": name, "order": policy, "vllm_mean": vllm.mean(), "mean": ours.mean(), "same": same}
            rows.append(
                row | {"vllm_p90": np.quantile(vllm, 0.9), "p90": np.quantile(ours, 0.9), "preempted": preempted}
            )
            print(
                f"| {name} | {policy} | {vllm.mean():.1f} | {ours.mean():.1f} | {mean:+.2%} | "
                f"{np.quantile(vllm, 0.9):.1f} | {np.quantile(ours, 0.9):.1f} | {p90:+.2%} | {same:.0%} | {preempted} |"
            )
    Path(target).write_text(json.dumps({"rows": rows, "worst": worst, "bar": BAR}, indent=1))
    print(f"\nworst: {worst:.2%}, bar {BAR:.0%}")
    return int(worst > BAR)


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
