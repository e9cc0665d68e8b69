"""What is learned of agents' traffic, by which text of a request is ranked: ``python -m benchmarks.adaptation_agents``.

Conversations of agents, some at once and each step after the last one, come mixed with chat of other tenants. Every
step is a body of OpenAI's API, read as ``rankd proxy`` and the middleware read it, scored by a bundled ranker, packed
as the daemon does it, predicted by what was learned so far, and then learned from. Prints Kendall's tau of the answers'
lengths over all completions after the first ones. docs/adr/0023-what-of-a-request-is-ranked.md has the figures.

Files are `<source>__<model>.jsonl[.gz]`, a row of `{prompt, output_tokens, id}` a line; the agents' prompts are turns
that begin with ``User:``, ``Assistant:`` or ``Tool:``, and their ids end in the number of the turn.
"""

from __future__ import annotations

import argparse
import dataclasses
import gzip
import json
import math
import random
import re
import sys
import zlib
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from rankd_client import RequestShape
from rankd_client.integration import OpenAIRequest, PromptTokens, Route, read_request

from rankd.adaptation import Adaptation, FeatureHasher, LearnedCompletion
from rankd.quality.statistics.kendall import tau_b
from rankd.registry.artifact import load_artifact
from rankd.registry.bundled import ranker_path
from rankd.training.evaluation.offline_ranker import OfflineRanker
from rankd.types import Scored

Turns = list[tuple[str, str]]
"""Role and text of each message of a conversation."""

AGENTS = "taubench_airline__gpt-4o"
CHATS = ("flask__gpt4", "alpaca20k-seqsched__vicuna-7b")
AT_ONCE = 20
"""Conversations of agents that are under way at a time."""
_TURN = re.compile(r"(?:^|\n\n)(User|Assistant|Tool): ")
_CALL = re.compile(r'"name": "(\w+)"\}')


@dataclass(frozen=True, slots=True)
class Step:
    """A request and what became of it; ``turns`` is its conversation."""

    tenant: str
    turns: Turns
    tokens: int
    is_agent: bool

    def request(self) -> OpenAIRequest:
        """As it is read out of a body of the chat's API."""
        messages = [{"role": role, "content": text} for role, text in self.turns]
        body: dict[str, Any] = {"messages": messages}
        if self.is_agent:
            body["tools"] = [{"type": "function", "function": {"name": "a_tool"}}]
        read = read_request(Route.CHAT, json.dumps(body).encode())
        assert read is not None
        return read


def rows_of(path: Path) -> list[dict[str, Any]]:
    """Rows of a file."""
    data = path.read_bytes()
    text = gzip.decompress(data) if path.suffix == ".gz" else data
    return [json.loads(line) for line in text.splitlines()]


def turns_of(prompt: str) -> Turns:
    """The messages that a prompt of the agents' file holds."""
    parts = _TURN.split(prompt)
    return list(zip([role.lower() for role in parts[1::2]], parts[2::2], strict=True))


def conversations(rows: Sequence[dict[str, Any]]) -> list[list[Step]]:
    """Steps by conversation, in their order."""
    by_id: dict[str, list[tuple[int, Step]]] = defaultdict(list)
    for row in rows:
        conversation, _, turn = str(row["id"]).rpartition("_")
        turns = turns_of(row["prompt"])
        if turns:
            by_id[conversation].append((int(turn), Step("agents", turns, int(row["output_tokens"]), is_agent=True)))
    return [[step for _, step in sorted(steps, key=lambda s: s[0])] for steps in by_id.values()]


def interleaved(waiting: list[list[Step]], rng: random.Random) -> list[Step]:
    """Conversations in random order, some at once; a step comes after the one before it."""
    waiting = [list(steps) for steps in rng.sample(waiting, len(waiting))]
    live: list[list[Step]] = []
    out = []
    while waiting or live:
        while waiting and len(live) < AT_ONCE:
            live.append(waiting.pop())
        steps = rng.choice(live)
        out.append(steps.pop(0))
        if not steps:
            live.remove(steps)
    return out


def stream(data: Path, chats: Sequence[str], seed: int) -> list[Step]:
    """Agents' steps, and as many chat requests, half of each tenant, in random places between them."""
    rng = random.Random(seed)  # noqa: S311 - nothing secret
    agents = interleaved(conversations(rows_of(found(data, AGENTS))), rng)
    chat = []
    for source in chats:
        rows = [row for row in rows_of(found(data, source)) if row["output_tokens"] is not None]
        chosen = rng.sample(rows, min(len(agents) // len(chats), len(rows)))
        chat += [Step(source, [("user", r["prompt"])], int(r["output_tokens"]), is_agent=False) for r in chosen]
    rng.shuffle(chat)
    is_agent = [True] * len(agents) + [False] * len(chat)
    rng.shuffle(is_agent)
    return [agents.pop(0) if agent else chat.pop(0) for agent in is_agent]


def found(data: Path, source: str) -> Path:
    """A source's file.

    Raises:
        FileNotFoundError: there is none.
    """
    return next((p for p in (data / f"{source}.jsonl.gz", data / f"{source}.jsonl") if p.exists()), data / source)


def user_text(turns: Turns) -> str:
    """The user's last message, whatever came after it."""
    return next((text for role, text in reversed(turns) if role == "user"), "")


def user_and_result(turns: Turns) -> str:
    """The user's last message, and behind it what a tool gave back, where that is last."""
    role, last = turns[-1]
    return user_text(turns) if role == "user" else f"{user_text(turns)}\n\n{last}"


def whole(turns: Turns) -> str:
    """All of it."""
    return "\n\n".join(f"{role.capitalize()}: {text}" for role, text in turns)


TEXTS: dict[str, Callable[[Step, OpenAIRequest], str]] = {
    "the user's last message": lambda step, _: user_text(step.turns),
    "it and a tool's result": lambda step, _: user_and_result(step.turns),
    "the whole conversation": lambda step, _: whole(step.turns) if step.is_agent else user_text(step.turns),
    "as ranked": lambda _, request: request.prompts[0] or "",
}


def step_of(step: Step) -> str:
    """What a workflow could name its steps by: the tool that was called last."""
    said = (_CALL.search(text) for role, text in reversed(step.turns) if role == "assistant")
    return next((match[1] for match in said if match is not None), "begin") if step.is_agent else ""


SHAPES = ("text", "tenant", "tenant, shape", "tenant, shape, step")


def features(
    hasher: FeatureHasher, step: Step, request: OpenAIRequest, scored: Scored, kind: str, tokens: PromptTokens
) -> bytes:
    """What a prediction carries, where so much of a request is known."""
    if kind == "text":
        return hasher.pack(scored.text)
    if kind == "tenant":
        return hasher.pack(scored.text, tenant=step.tenant)
    shape: RequestShape = request.shape
    if kind.endswith("step"):
        shape = dataclasses.replace(shape, step=step_of(step))
    count = tokens.estimate("", request.texts[0]).tokens
    return hasher.pack(scored.text, shape, prompt_tokens=count, max_tokens=request.max_tokens, tenant=step.tenant)


def learned_scores(
    base: NDArray[np.float64], packed: Sequence[bytes], steps: Sequence[Step]
) -> tuple[NDArray[np.float64], int]:
    """Each request predicted before it was learned from, and after how many what was learned came into use."""
    adaptation, out, in_use = Adaptation(), np.full(len(base), np.nan), -1
    for at, (score, one, step) in enumerate(zip(base.tolist(), packed, steps, strict=True)):
        out[at] = adaptation.scores(np.array([score]), [one])[0]
        source = zlib.crc32(step.tenant.encode())
        adaptation.completed(LearnedCompletion(score, one, step.tokens, True, source, float(at), out[at]))
        job = adaptation.job(float(at))
        if job is not None and adaptation.take(job(), float(at)) and in_use < 0:
            in_use = at + 1
    return out, in_use


def _tau(scores: NDArray[np.float64], answered: NDArray[np.float64]) -> float:
    found = tau_b(scores, answered)
    return math.nan if found is None else found


def tables(
    ranker: OfflineRanker, steps: Sequence[Step], after: int, texts: Sequence[str] = tuple(TEXTS)
) -> Iterator[tuple[str, str, list[float]]]:
    """Text, what is known beside it, and the ranker's tau and the learned one: of agents' requests, then of all."""
    requests, tokens = [step.request() for step in steps], PromptTokens()
    answered = np.array([float(step.tokens) for step in steps])
    agents = np.array([step.is_agent for step in steps])
    late = np.arange(len(steps)) >= after
    for name in texts:
        scored = ranker.scored([TEXTS[name](*pair) for pair in zip(steps, requests, strict=True)])
        base = np.array([one.score for one in scored])
        for kind in SHAPES:
            packed = [
                features(ranker.hasher, *three, kind, tokens) for three in zip(steps, requests, scored, strict=True)
            ]
            learned, in_use = learned_scores(base, packed, steps)
            figures = [
                _tau(scores[where], answered[where]) for where in (late & agents, late) for scores in (base, learned)
            ]
            yield name, kind, [*figures, float(in_use)]


def main(arguments: Sequence[str] | None = None) -> int:
    """Print a table for each ranker."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True, metavar="DIR", help="where the files are")
    parser.add_argument("--rankers", nargs="+", default=["minilm-l6", "ngram"], help="bundled rankers to try")
    parser.add_argument("--chats", nargs="*", default=list(CHATS), help="sources of chat, each a tenant; none: no chat")
    parser.add_argument("--texts", nargs="+", default=list(TEXTS), choices=list(TEXTS), help="texts to try")
    parser.add_argument("--after", type=int, default=1000, help="completions that are learned from before any counts")
    parser.add_argument("--seeds", type=int, default=3, help="orders of arrival to average over")
    args = parser.parse_args(arguments)
    streams = [stream(args.data, args.chats, seed) for seed in range(args.seeds)]
    for name in args.rankers:
        ranker = OfflineRanker(load_artifact(ranker_path(name)))
        print(f"{name}, {len(streams[0])} requests; tau of agents' and of all after the first {args.after}")
        print(f"{'text':26}{'known beside it':22}{'base':>7}{'learned':>9}{'base':>9}{'learned':>9}{'in use':>8}")
        for rows in zip(*(tables(ranker, steps, args.after, args.texts) for steps in streams), strict=True):
            agents, agents_learned, every, every_learned, in_use = np.mean([row[2] for row in rows], axis=0)
            figures = f"{agents:7.3f}{agents_learned:9.3f}{every:9.3f}{every_learned:9.3f}{in_use:8.0f}"
            print(f"{rows[0][0]:26}{rows[0][1]:22}{figures}", flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
