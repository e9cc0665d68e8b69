"""The Indexed Job on this machine: each pod's own command, as rendered, as a process. Not part of the suite: minutes.

``python -m soak.two_nodes`` trains on two "nodes" that meet on loopback, kills one, starts both again as the Job
would, and says whether a ranker came out that went on from the checkpoint.
"""

import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import psutil
from support.rendered_chart import named

from tools.chart.helm import render


def main():
    """Train, kill, train on."""
    with tempfile.TemporaryDirectory() as directory:
        place = Path(directory)
        words = ["hi", "list", "story", "essay", "chart", "code", "poem", "song"]
        with (place / "rows.jsonl").open("w") as file:
            for i in range(4000):
                row = {"prompt": f"Write a {words[i % 8]} about {i}", "output_token_count": 10 + 40 * (i % 8)}
                file.write(json.dumps(row) + "\n")
        arguments = ["--epochs", "30", "--checkpoint-seconds", "0.5"]
        values = {
            "registry": {"enabled": True},
            "training": {
                "enabled": True, "data": [str(place / "rows.jsonl")], "base": "ngram", "threads": 1, "args": arguments,
            },
        }  # fmt: skip
        job = named(render(values), "Job")
        first = _start(job, place)
        _wait_for(place / "first" / ".checkpoint", first)
        time.sleep(4.0)  # an epoch or more
        # As a pod dies: all of it. torchrun's worker would live on without it.
        for process in [*psutil.Process(first[1].pid).children(recursive=True), first[1]]:
            process.send_signal(signal.SIGKILL)
        codes = [process.wait(120) for process in first]
        print(f"one node killed while it trained: both ended, {codes}")
        second = _start(job, place)
        codes = [process.wait(300) for process in second]
        manifest = json.loads((place / "first" / "manifest.json").read_text())
        print(f"both started again: {codes}, {manifest['name']}@{manifest['version']}")
        return max(codes)


def _start(job, place):
    spec = job["spec"]["template"]["spec"]
    (container,) = spec["containers"]
    host = f"{job['metadata']['name']}-0.{spec['subdomain']}.serving.svc"
    started = []
    for index in range(job["spec"]["completions"]):
        words = [
            word.replace("$(JOB_COMPLETION_INDEX)", str(index))
            .replace(host, "127.0.0.1")
            .replace("/var/lib/rankd/registry", str(place))
            for word in container["args"]
        ]
        command = [sys.executable, "-m", "torch.distributed.run", *words]
        started.append(subprocess.Popen(command, env=os.environ | {"OMP_NUM_THREADS": "1"}))
    return started


def _wait_for(path, processes):
    end = time.monotonic() + 120
    while not (path.is_dir() and any(path.iterdir())):
        if time.monotonic() > end or all(process.poll() is not None for process in processes):
            raise SystemExit("no checkpoint was written")
        time.sleep(0.1)


if __name__ == "__main__":
    sys.exit(main())
