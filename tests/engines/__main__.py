"""Everything that is judged with real engines, one step after the other: `make engines`.

usage: python -m engines OUT [--only NAME ...] [--fitted RANKER_DIRECTORY] [--full]

Runs in .venv; each step in the environment of its engine, within its time. A step that fails does not end the run, but
the exit status says so. OUT gets a log and a JSON for each step, all of it in engines.json, and a page. Steps that
count iterations run two at a time where there are two cores; those that count seconds run alone.
"""

import argparse
import json
import os
import signal
import subprocess
import sys
import threading
import time
from dataclasses import dataclass
from pathlib import Path

from support.repository import ROOT
from support.subprocesses import environment as environment_of

from engines.page import page

RANKD = sys.executable
VLLM = os.environ.get("VLLM_PYTHON") or str(ROOT / ".venv-vllm" / "bin" / "python")
NEWER = os.environ.get("VLLM_SOURCE", "")
"""A folder with another vLLM than the one that is installed (engines/vllm/newer_source.py)."""
GRACE = 20
"""Seconds that a step has to end its engines and daemons once its time is over."""


@dataclass(frozen=True)
class Step:
    """A command; ``{out}`` in it is its JSON. ``lane``: the core it runs on beside others; None: alone."""

    name: str
    python: str
    arguments: tuple[str, ...]
    seconds: int
    lane: int | None = None
    environment: tuple[tuple[str, str], ...] = ()


def steps_of(options, out):
    """All steps, in the order in which they begin within a lane."""
    there = bool(os.environ.get("DATA"))
    fitted = options.fitted or (str(out / "ngram") if there else "")
    steps = []
    if there and not options.fitted:
        train = ("-m", "rankd", "train", "--base", "ngram", "--loss", "joint", "--ranks", "expected",
                 "--data", str(out / "rows.jsonl.gz"), "--cap", "alpaca20k-seqsched=512", "--threads", "1",
                 "--restart", "--out", fitted)  # fmt: skip
        steps = [Step("rows", RANKD, ("-m", "engines.vllm.unserved_rows", str(out / "rows.jsonl.gz")), 60),
                 Step("fitting", RANKD, train, 240)]  # fmt: skip
    both, pace = (("FITTED", fitted),), (("PACE", "0.006"),)
    more = (("STATIC", "yes"),) if options.full else (("BUNDLED", "no"),)
    for lane, load in enumerate(("0.9", "1.0")):
        count, limit = ("1000", 3000) if options.full else ("800", 480)
        arguments = ("-m", "engines.vllm.arrivals", "{out}", load, "5", count)
        steps.append(Step(f"arrivals_{load}", VLLM, arguments, limit, lane, both + pace + more))
    steps += [
        Step("prompts", VLLM, ("-m", "engines.vllm.prompt_counts", "{out}"), 120, 1),
        Step("bursts", VLLM, ("-m", "engines.vllm.bursts", "{out}"), 420, 0, both),
        Step("faults", VLLM, ("-m", "engines.vllm.faults", "{out}"), 240, 1),
        Step(
            "transformers",
            RANKD,
            ("-m", "engines.transformers.continuous_batching", "{out}", *(["--fitted", fitted] if fitted else [])),
            480,
            1,
        ),
        Step("cost", VLLM, ("-m", "engines.vllm.scheduler_cost", "{out}"), 240),
        *([Step("work_order", VLLM, ("-m", "engines.vllm.work_order", "{out}"), 900)] if options.full else []),
        *(
            [Step("learned", VLLM, ("-m", "engines.vllm.learned_bursts", "{out}"), 1800)]
            if options.full and there
            else []
        ),
        Step("http", VLLM, ("-m", "engines.vllm.http_server", "{out}", "100"), 360),
        Step("http_faults", VLLM, ("-m", "engines.vllm.http_faults", "{out}"), 180),
        Step("proxied", VLLM, ("-m", "engines.vllm.behind_proxy", "{out}", "80"), 240),
    ]
    return [step for step in steps if not options.only or step.name in options.only]


class Run:
    """Steps as they go."""

    def __init__(self, out):
        """Write into a folder."""
        self.out, self.began, self.ended = out, time.monotonic(), {}
        self._lock = threading.Lock()

    def say(self, *words):
        """Progress, with the minutes since the beginning."""
        spent = int(time.monotonic() - self.began)
        with self._lock:
            print(f"{spent // 60:2d}:{spent % 60:02d}", *words, file=sys.stderr, flush=True)

    def run(self, step):
        """One step, within its time; what it prints of its progress is passed on, all of it goes into its log."""
        self.say(f"{step.name}: begins, {step.seconds} s at most")
        target, began = self.out / f"{step.name}.json", time.monotonic()
        target.unlink(missing_ok=True)
        command = [step.python, *(str(target) if a == "{out}" else a for a in step.arguments)]
        if step.lane is not None and (os.cpu_count() or 1) > 1:
            command = ["taskset", "-c", str(step.lane), *command]
        environment = environment_of(DAEMON_PYTHON=RANKD, OMP_NUM_THREADS="1", **dict(step.environment))
        if NEWER and step.python == VLLM:
            environment["PYTHONPATH"] = os.pathsep.join((NEWER, environment["PYTHONPATH"]))
        with (self.out / f"{step.name}.log").open("w") as log:
            process = subprocess.Popen(
                command, cwd=ROOT, env=environment, text=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
                start_new_session=True,
            )  # fmt: skip
            reader = threading.Thread(target=self._read, args=(step, process, log), daemon=True)
            reader.start()
            in_time = _wait(process, step.seconds)
            reader.join(5)
        took = time.monotonic() - began
        ended = {"seconds": round(took, 1), "status": process.returncode if in_time else "out of time"}
        self.ended[step.name] = ended
        self.say(
            f"{step.name}: {'done' if ended['status'] == 0 else 'FAILED'} in {took:.0f} s", _why(ended, self.out, step)
        )

    def _read(self, step, process, log):
        for line in process.stdout:
            log.write(line)
            if line.startswith("[") and line[3:4] == ":":
                self.say(f"{step.name}:", line.rstrip()[11:180])

    def lanes(self, steps):
        """Steps with a lane beside each other, those of one lane in turn."""
        threads = [
            threading.Thread(target=lambda mine=[s for s in steps if s.lane == lane]: [self.run(s) for s in mine])
            for lane in sorted({s.lane for s in steps})
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()


def _wait(process, seconds):
    """Whether it ended in time; one that did not is asked to end its own processes, and then ended."""
    try:
        process.wait(seconds)
    except subprocess.TimeoutExpired:
        for number in (signal.SIGINT, signal.SIGKILL):
            os.killpg(process.pid, number)
            try:
                process.wait(GRACE)
                break
            except subprocess.TimeoutExpired:
                continue
        return False
    return True


def _why(ended, out, step):
    """The last line that tells of an error, where there is one."""
    if ended["status"] == 0:
        return ""
    lines = (out / f"{step.name}.log").read_text().splitlines()
    told = [line for line in lines if "Error" in line]
    return f"({ended['status']}; {told[-1][:200] if told else 'see its log'})"


def main():
    """All of it; gives the exit status."""
    parser = argparse.ArgumentParser(prog="python -m engines", description=__doc__.split("\n", 1)[0])
    parser.add_argument("out", type=Path)
    parser.add_argument("--only", nargs="+", metavar="NAME", help="steps to run; what others left in OUT stays")
    parser.add_argument(
        "--fitted", metavar="DIR", help="a ranker fitted to the rows of unserved_rows.py; default: an ngram"
    )
    parser.add_argument("--full", action="store_true", help="what the documentation has: an hour and a half")
    options = parser.parse_args()
    out = options.out.resolve()
    out.mkdir(parents=True, exist_ok=True)
    run, steps = Run(out), steps_of(options, out)
    first = [step for step in steps if step.name in ("rows", "fitting")]
    for step in first:
        run.run(step)
    run.lanes([step for step in steps if step.lane is not None])
    for step in steps:
        if step.lane is None and step not in first:
            run.run(step)
    results = {p.stem: json.loads(p.read_text()) for p in sorted(out.glob("*.json")) if p.stem != "engines"}
    everything = {"seconds": round(time.monotonic() - run.began), "steps": run.ended, "results": results}
    (out / "engines.json").write_text(json.dumps(everything, indent=1))
    (out / "engines.html").write_text(page(everything))
    bad = [name for name, ended in run.ended.items() if ended["status"] != 0]
    run.say(f"all done; {out / 'engines.html'}" + (f"; FAILED: {', '.join(bad)}" if bad else ""))
    return int(bool(bad))


if __name__ == "__main__":
    sys.exit(main())
