"""The simulated engine beside what vLLM 0.32 really did, to the step (recorded by `make sim-check`)."""

import json

import numpy as np
import pytest
from engines.simulator import compare_steps, workloads
from support.repository import CONTRACT


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """The workloads, made anew: the record is of these."""
    path = tmp_path_factory.mktemp("engine") / "workloads.json"
    workloads.main(path)
    return json.loads(path.read_text())


@pytest.mark.parametrize("policy", ["fcfs", "ranked"])
@pytest.mark.parametrize("name", ["burst", "poisson", "memory"])
def test_every_request_ends_in_the_step_in_which_vllm_ended_it(made, name, policy):
    """A burst, prompts that fill the iterations, and too little KV memory; in arrival order and by priority."""
    recorded = json.loads((CONTRACT / "vllm_0_32_steps.json").read_text())[f"{name}/{policy}"]
    arrival = np.array([r["arrival"] for r in made[name]["requests"]])
    latency, preempted = compare_steps.simulated(made[name], policy)
    assert (latency + arrival).tolist() == recorded
    assert (preempted > 0) == (name == "memory")
