"""The child's half of a tokeniser in a process of its own, which only ``tokeniser_apart`` starts.

Lists of texts in, token ids out, as ``frames`` has them, until stdin ends.
"""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path

import numpy as np

from rankd.errors import ArtifactError
from rankd.scoring import child_process
from rankd.scoring.frames import read_frame, write_frame
from rankd.scoring.memory_file import MemoryFile
from rankd.scoring.tokeniser import Tokeniser, Truncation


def main() -> None:
    """Answer on what was stdout; whatever libraries print goes nowhere."""
    answers = os.fdopen(os.dup(1), "wb")
    os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
    requests = sys.stdin.buffer
    plan = json.loads(read_frame(requests))
    child_process.begin()
    child_process.bound_memory(plan["memory"])
    content = MemoryFile.of(plan["descriptor"])
    try:
        tokeniser = Tokeniser(Path(plan["path"]), Truncation(*plan["truncation"]), content.read())
    except ArtifactError as error:
        write_frame(answers, json.dumps({"reason": error.reason, "message": str(error)}).encode())
        return
    content.close()
    write_frame(answers, json.dumps({"limits": tokeniser.limits}).encode())
    while request := read_frame(requests):
        encoded = tokeniser.encode(json.loads(request))
        lengths = np.array([len(ids) for ids in encoded], dtype=np.int64)
        write_frame(answers, np.concatenate([[len(encoded)], lengths, *encoded]).astype("<i8").tobytes())


if __name__ == "__main__":
    main()
