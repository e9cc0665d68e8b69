"""The child's half of a trial: ``python -m rankd.registry.trial_process``, which only ``trial`` starts.

Reads a ranker's files into descriptors that it was given, then loads and warms up what was read. A JSON line in, a JSON
line out, twice. What a ranker does to this process it does to nobody else.
"""

from __future__ import annotations

import json
import mmap
import os
import re
import sys
from pathlib import Path
from typing import Any

from rankd.errors import ArtifactError, ProviderError
from rankd.registry.artifact_files import CUDA_MODEL, MODEL, TOKENIZER, fill_files
from rankd.registry.external_data import refuse_external_data
from rankd.scoring import child_process
from rankd.scoring.memory_file import MemoryFile

_OUT_OF_MEMORY = re.compile(r"alloc|memory", re.IGNORECASE)


def main() -> None:
    """Answer on what was stdout; whatever libraries print goes nowhere."""
    answers = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(os.open(os.devnull, os.O_WRONLY), 1)

    def answer(**fields: Any) -> None:
        print(json.dumps(fields), file=answers, flush=True)

    try:
        _try(answer)
    except ArtifactError as error:
        memory = error.reason in {"BAD_MODEL", "BAD_OUTPUT", "BAD_TOKENIZER"} and _OUT_OF_MEMORY.search(str(error))
        answer(reason="OUT_OF_MEMORY" if memory else error.reason, message=str(error))
    except ProviderError as error:
        answer(provider=str(error))
    except MemoryError:
        answer(reason="OUT_OF_MEMORY", message="")
    os._exit(0)  # freeing what a ranker left behind may take as long as it likes


def _try(answer: Any) -> None:
    request = json.loads(sys.stdin.readline())
    child_process.begin(nice=request["nice"])
    child_process.lower("RLIMIT_FSIZE", request["max_bytes"])
    path, sha256 = fill_files(Path(request["path"]), request["descriptors"], request["max_bytes"])
    answer(path=str(path), sha256=sha256)
    line = sys.stdin.readline()
    if line:
        _load(json.loads(line), request, answer)


def _load(fields: Any, request: Any, answer: Any) -> None:
    # What takes a while to import waits until the files are in order, and new.
    from rankd.registry.preparation import LoadPlan, load_and_try, load_model, read_tokeniser  # noqa: PLC0415
    from rankd.scoring.gpu import cuda_device_present  # noqa: PLC0415
    from rankd.scoring.tokeniser_safety import belongs_apart  # noqa: PLC0415

    plan = LoadPlan(**fields)
    content = {name: MemoryFile.of(fd) for name, fd in request["descriptors"].items()}
    on_cuda = plan.provider != "cpu" and cuda_device_present()
    most = max(count for _, count in plan.workers)
    child_process.lower("RLIMIT_CPU", int(request["seconds"] * (plan.threads * most + 2)) + 1)
    if not on_cuda:  # CUDA reserves more than it takes
        child_process.bound_memory(request["memory"])
    for name in (MODEL, CUDA_MODEL):
        if content[name].size:
            # What this reads need not fit into memory twice.
            mapped = mmap.mmap(content[name].fd, 0, prot=mmap.PROT_READ)
            refuse_external_data(memoryview(mapped), str(Path(plan.model_path).with_name(name)))
    answer(began="reading the tokenizer")
    tokeniser = read_tokeniser(plan, content[TOKENIZER])
    apart = belongs_apart(content[TOKENIZER].read())
    load_and_try(
        plan,
        tokeniser,
        lambda chosen: load_model(chosen, content[Path(chosen.model_path).name]),
        lambda what: answer(began=what),
    )
    answer(passed=True, tokeniser_apart=apart)


if __name__ == "__main__":
    main()
