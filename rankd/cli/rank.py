"""``rankd rank``: order a file of prompts."""

from __future__ import annotations

import argparse
import io
import json
import sys
import time
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import IO, Any

from rankd_client import (
    MAX_ID_BYTES,
    Item,
    RankClient,
    RankdRefusedError,
    RankdUnavailableError,
    Ranked,
    RankedQueue,
)
from rankd_client.ordering import Policy
from rich.table import Table
from rich.text import Text

from rankd.cli.connection import add_target_flags, connect
from rankd.cli.streams import complain
from rankd.cli.terminal import PlainConsole, output
from rankd.cli.values import seconds
from rankd.errors import ConfigError
from rankd.text import printable

_CONNECT = 10.0
"""Seconds until the daemon must have answered at all."""
_SHOWN = 60
"""Characters of a prompt in the table."""
_EXAMPLE = '{"prompt": "..."}'


def add_flags(verb: argparse.ArgumentParser) -> None:
    """What to order, where and how."""
    verb.description = (
        "Order a file of prompts. It holds a prompt per line, or a JSON object per line, and is one or the other "
        "throughout: JSON lines where its name ends in .jsonl, or where its first line looks like one."
    )
    verb.add_argument(
        "file",
        metavar="FILE",
        help="a prompt per line, or JSONL with `prompt` and optional `request_id`, `prompt_tokens`; - reads stdin",
    )
    add_target_flags(verb)
    verb.add_argument("--model", default="", help="the served language model whose calibration and guard apply")
    verb.add_argument("--policy", choices=[p.value for p in Policy], help="default: the daemon's")
    verb.add_argument(
        "--timeout",
        type=seconds,
        default=60.0,
        metavar="SECONDS",
        help="deadline of the call, once it is connected; default: 60",
    )
    verb.add_argument("--json", action="store_true", help="print JSON lines and nothing else")


def run(arguments: argparse.Namespace) -> int:
    """Order the prompts of a file and print the order."""
    items = read_items(arguments.file)
    console = PlainConsole(stderr=True)
    policy = Policy(arguments.policy) if arguments.policy else None
    with connect(
        RankClient, arguments.target, arguments, model=arguments.model, timeout=arguments.timeout, policy=policy
    ) as client:
        with console.status(Text(f"ranking {len(items)} prompts at {arguments.target} ...")):
            if not _connected(client, arguments.target):
                return 1
            queue = client.rank(items)
        if queue.failed:
            complain(_failure(arguments, queue, client.stats.last_error or "no answer"))
            return 1
    if arguments.json:
        _print_json(queue, items)
    else:
        _print_table(queue, items)
    if late := sum(ranked.reason == "deadline" for ranked in queue):
        complain(
            f"{late:,} of {len(queue):,} prompts were not scored within --timeout {arguments.timeout:g} s and stand in "
            "order of arrival: give more time, or ask again, since what was scored is kept"
        )
    return 0


def _connected(client: RankClient, target: str) -> bool:
    """Connect before the deadline of the call begins; says why where that fails."""
    try:
        client.quality(timeout=_CONNECT)
    except RankdRefusedError:
        return True  # it answers; whether it ranks for this caller is for the call itself to say
    except RankdUnavailableError as error:
        complain(f"{target} does not answer ({error}). Is the daemon running? Start it with `rankd serve`.")
        return False
    return True


def _failure(arguments: argparse.Namespace, queue: RankedQueue, detail: str) -> str:
    """Why nothing was ranked, by a daemon that was reached."""
    if queue.reason == "timeout":
        return (
            f"{arguments.target} was reached and gave no answer within --timeout {arguments.timeout:g} s: give it more "
            f"time for {len(queue):,} prompts"
        )
    return f"{arguments.target} did not rank the prompts ({queue.reason}): {detail}"


def _print_json(queue: RankedQueue, items: list[Item]) -> None:
    for ranked in queue:
        row = {
            "position": ranked.position,
            "request_id": ranked.request_id,
            "score": ranked.score,
            "expected_tokens": ranked.expected_tokens,
            "expected_work": _work(queue, ranked, items[ranked.index]),
            "policy": queue.policy.value,
            "reason": ranked.reason,
            "ranker_version": queue.ranker_version,
        }
        print(json.dumps(row))  # in ASCII, which every stdout takes


def _work(queue: RankedQueue, ranked: Ranked, item: Item) -> float | None:
    """Expected output tokens, and prompt tokens at what each costs beside one; None where a length is not expected."""
    if ranked.expected_tokens is None:
        return None
    return ranked.expected_tokens + queue.prompt_token_cost * item.prompt_tokens


def _print_table(queue: RankedQueue, items: list[Item]) -> None:
    table = Table(title=f"{len(queue)} prompts, {queue.policy.value} order by {queue.ranker_version}")
    for name in ("#", "request", "score", "tokens", "policy"):
        table.add_column(name, justify="left" if name in ("request", "policy") else "right", no_wrap=True)
    table.add_column("prompt")
    for ranked in queue:
        prompt = (items[ranked.index].prompt or "").replace("\n", " ")
        table.add_row(
            str(ranked.position),
            printable(ranked.request_id),
            "-" if ranked.score is None else f"{ranked.score:.3f}",
            "-" if ranked.expected_tokens is None else f"{ranked.expected_tokens:.0f}",
            f"{queue.policy.value} ({ranked.reason})" if ranked.reason else queue.policy.value,
            prompt[:_SHOWN],
        )
    # Where nobody reads along, nothing is cut; on a terminal prompts wrap within its width.
    output(160).print(table)


def read_items(name: str) -> list[Item]:
    """Read prompts: a file of plain lines, or one of JSON lines, which is one kind throughout.

    It is JSON lines where its name ends in .jsonl, or where its first line that is not blank looks like one.

    Raises:
        ConfigError: naming the line at fault and the remedy.
    """
    try:
        if name == "-":
            return list(_parse(_stdin(), "stdin"))
        with Path(name).open(encoding="utf-8-sig") as file:
            return list(_parse(file, name))
    except OSError as error:
        raise ConfigError(f"{name} cannot be read: {error.strerror}") from None
    except UnicodeDecodeError:
        raise ConfigError(f"{name} is not UTF-8 text: save it as UTF-8, a prompt per line or JSONL") from None


def _stdin() -> IO[str]:
    """What is piped in, as UTF-8 as files are read, whatever the locale says."""
    if sys.stdin is None:
        raise ConfigError("stdin is closed: pipe prompts into `rankd rank -`, or name a file")
    if isinstance(sys.stdin, io.TextIOWrapper):
        sys.stdin.reconfigure(encoding="utf-8-sig", errors="strict")
    return sys.stdin


def _parse(lines: IO[str] | Iterable[str], name: str) -> Iterator[Item]:
    now = time.time()
    seen: set[str] = set()
    position = 0
    json_since = "its name ends in .jsonl" if name.lower().endswith(".jsonl") else ""
    for number, line in enumerate(lines, 1):
        text = line.rstrip("\r\n")
        if not text.strip():
            continue
        position += 1
        where = f"{name}, line {number}"
        if position == 1 and not json_since and _looks_like_json(text):
            json_since = f"line {number} looks like one"
        row = _json_row(text, where, json_since) if json_since else _plain_row(text, where)
        request_id = row.get("request_id", str(position))
        if request_id in seen:
            raise ConfigError(f"{where}: request_id stands twice in the file; make them unique")
        seen.add(request_id)
        yield Item(row["prompt"], request_id, arrival=now, prompt_tokens=row.get("prompt_tokens", 0))


def _looks_like_json(text: str) -> bool:
    """Whether a line is a JSON object, or is broken and meant as one of ours; prose and code may begin with a brace."""
    if not text.lstrip().startswith("{"):
        return False
    if '"prompt"' in text or '"request_id"' in text:
        return True
    try:
        json.loads(text)
    except (ValueError, RecursionError):
        return False
    return True


def _plain_row(text: str, where: str) -> dict[str, Any]:
    """A line of plain text as it stands, unless it can hardly be meant as that."""
    if _looks_like_json(text):
        raise ConfigError(
            f"{where}: looks like a JSON line, but the first line of the file does not: "
            f"give every line as an object such as {_EXAMPLE}, or none"
        )
    return {"prompt": text}


def _json_row(text: str, where: str, since: str) -> dict[str, Any]:
    """A line of JSON; what is wrong with it is told by its place, since its text may be private."""
    fault = "is no JSON object"
    try:
        row = json.loads(text)
    except (ValueError, RecursionError) as error:
        row = None
        if isinstance(error, json.JSONDecodeError) and text.lstrip().startswith("{"):
            fault = f"is broken JSON, at column {error.colno}"
    if not isinstance(row, dict):
        raise ConfigError(
            f"{where}: {fault}. The file is read as JSON lines, because {since}: "
            f"give every line as an object such as {_EXAMPLE}"
        )
    if not isinstance(row.get("prompt"), str):
        raise ConfigError(f"{where}: a JSON line needs a string `prompt`, as in {_EXAMPLE}")
    out: dict[str, Any] = {"prompt": row["prompt"]}
    if (request_id := row.get("request_id")) is not None:
        out["request_id"] = _request_id(request_id, where)
    if (tokens := row.get("prompt_tokens")) is not None:
        if not isinstance(tokens, int) or isinstance(tokens, bool) or not 0 <= tokens < 2**32:
            raise ConfigError(f"{where}: prompt_tokens must be a whole number from 0 to {2**32 - 1:,}, or be left out")
        out["prompt_tokens"] = tokens
    return out


def _request_id(value: object, where: str) -> str:
    if not isinstance(value, str | int) or isinstance(value, bool) or value == "":
        raise ConfigError(f"{where}: request_id must be a string that is not empty, or be left out")
    request_id = str(value)
    try:
        size = len(request_id.encode())
    except UnicodeEncodeError:
        raise ConfigError(f"{where}: request_id must be Unicode text, without lone surrogates (\\ud800)") from None
    if size > MAX_ID_BYTES:
        raise ConfigError(f"{where}: request_id has {size} bytes, at most {MAX_ID_BYTES} are allowed")
    return request_id
