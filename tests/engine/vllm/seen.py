"""A scheduler for tests that writes down which priority each request reached the engine with."""

import json
import os
from pathlib import Path

from vllm.v1.core.sched.scheduler import Scheduler


class SeenScheduler(Scheduler):
    """vLLM's own, and a line per request in the file that ``SEEN`` names."""

    def add_request(self, request):
        with Path(os.environ["SEEN"]).open("a") as file:
            print(json.dumps({"id": request.request_id, "priority": request.priority}), file=file)
        super().add_request(request)
