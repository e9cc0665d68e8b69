"""What a daemon hears of requests: every queue that it is asked about, as it ranks it."""

import contextlib
from dataclasses import dataclass


@dataclass(frozen=True)
class Heard:
    """One request as the daemon took it."""

    prompt: str | None
    prompt_tokens: int
    cached: int
    priority_class: int
    tenant: str
    deadline: float | None
    """Seconds after its arrival."""
    objective: object
    model: str
    shape: object = None


@contextlib.contextmanager
def heard(daemon):
    """A list that grows with every request that a daemon ranks; nothing of what it does changes."""
    requests, ranker = [], daemon.app.ranker
    rank = ranker.rank

    async def noted(queue, *arguments, **options):
        requests.extend(_requests(queue))
        return await rank(queue, *arguments, **options)

    ranker.rank = noted
    try:
        yield requests
    finally:
        del ranker.rank


def _requests(queue):
    asked = queue.constraints

    def of(column, i, otherwise):
        return otherwise if column is None else column[i]

    for i, prompt in enumerate(queue.prompts):
        deadline = of(asked.deadline, i, None)
        yield Heard(
            prompt,
            int(of(asked.prompt_tokens, i, 0)),
            int(of(asked.cached_prompt_tokens, i, 0)),
            int(of(asked.priority_class, i, 0)),
            of(asked.tenant, i, ""),
            None if deadline is None else round(deadline - queue.arrival[i], 3),
            queue.objective,
            queue.model,
            None if queue.shapes is None else queue.shapes[i],
        )
