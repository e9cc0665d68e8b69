"""``rankd promote``: a ranker into service, if it is better."""

from __future__ import annotations

import argparse
import dataclasses
import json
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Any

from rankd_client import (
    AdminClient,
    Estimate,
    Judgement,
    JudgeOptions,
    RankdRefusedError,
    RankdUnavailableError,
    RankerInfo,
    ShadowState,
)
from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn
from rich.table import Table

from rankd.cli.connection import DONE, REFUSED, add_admin_flags, administer
from rankd.cli.install import install
from rankd.cli.rankers.standing import in_service_already
from rankd.cli.streams import complain
from rankd.cli.terminal import PlainConsole, output
from rankd.cli.values import number, seconds, whole
from rankd.registry.artifact import load_artifact
from rankd.registry.bundled import ranker_path

_EVIDENCE = {"log": "completion_log", "shadow": "shadow_scores", None: None}
EVIDENCE_NAMES = {
    "completion_log": "prompts of the completion log",
    "shadow_scores": "shadow scores",
    "": "nothing",
}
_POLL = 0.5
_SHADOW_LIMIT = 3600.0


def add_flags(verb: argparse.ArgumentParser) -> None:
    """What to promote, and on what condition."""
    verb.description = (
        "Put a ranker into a running daemon's service, only if it beats the one in service on recent completions. Exit "
        "status: 0 promoted, 3 refused, 2 bad input, 1 the daemon does not answer."
    )
    verb.add_argument(
        "directory",
        metavar="DIR",
        type=ranker_path,
        help="the ranker: model.onnx, tokenizer.json, manifest.json, perhaps model.cuda.onnx; or a bundled one's name",
    )
    add_admin_flags(verb)
    verb.add_argument("--model", help="judge on the completions of this served model; default: all, each by itself")
    verb.add_argument(
        "--shadow",
        type=seconds,
        metavar="SECONDS",
        help="first let it score in the shadow for so long, and judge it on that",
    )
    verb.add_argument(
        "--shadow-completions",
        type=whole(1, 2**31 - 1),
        metavar="N",
        help="first let it score in the shadow until N completions are reported (within --shadow SECONDS, if given)",
    )
    verb.add_argument(
        "--margin",
        type=number("a difference in tau, -1 to 1", -1, 1),
        metavar="TAU",
        help="the lower bound of the difference in tau must be above this; -0.01 accepts a ranker that is surely worse "
        "by less than .01, as for a faster one; default: the daemon's promotion.margin (0)",
    )
    verb.add_argument(
        "--min-completions",
        type=whole(1, 2**31 - 1),
        metavar="N",
        help="judge on no fewer; default: the daemon's (200)",
    )
    verb.add_argument("--force", action="store_true", help="promote it whatever the verdict is")
    _evidence_flags(verb)


def _evidence_flags(verb: argparse.ArgumentParser) -> None:
    """What it is judged on."""
    verb.add_argument(
        "--evidence",
        choices=["log", "shadow"],
        help="judge on prompts of the completion log, or on shadow scores; default: shadow where it was asked for, "
        "else the log where it holds enough",
    )
    verb.add_argument(
        "--no-shadow",
        action="store_true",
        help="refuse it where too few completions are left that it was not made of; default: let it score new ones in "
        "the shadow, and judge it on these",
    )
    verb.add_argument(
        "--shadow-limit",
        type=seconds,
        default=_SHADOW_LIMIT,
        metavar="SECONDS",
        help="which lasts so long at most; default: 3600",
    )
    verb.add_argument(
        "--trust-evidence",
        action="store_true",
        help="judge a ranker that does not say what it was made of on older completions than its files too; if it was "
        "trained on them they flatter it",
    )


def run(arguments: argparse.Namespace) -> int:
    """Judge a ranker and, where it is better, put it into service.

    Returns:
        0 promoted, 3 refused with its figures, 2 bad input, 1 no daemon.
    """
    return administer(arguments, _promote)


def _promote(client: AdminClient, arguments: argparse.Namespace) -> int:
    artifact = load_artifact(arguments.directory)
    version = artifact.ranker_version
    console = PlainConsole(stderr=True)
    rankers = client.rankers()
    before = {r.ranker_version: r for r in rankers.rankers}
    if version in before and before[version].in_service:
        return in_service_already(client, rankers, version, arguments)
    with console.status(f"loading {version} ..."):
        client.load(install(artifact, rankers.registry))
    with _removed_unless_promoted(client, version, before.get(version)):
        if arguments.shadow is not None or arguments.shadow_completions is not None:
            _shadow(client, version, arguments, console)
        promoted, judgement = _judge_and_promote(client, version, arguments, console)
        if judgement is not None and _goes_to_the_shadow(arguments, judgement, promoted=promoted):
            console.print(f"{_too_few_unseen(judgement)} It goes to the shadow.", highlight=False)
            _shadow(client, version, _until_enough(arguments, judgement), console)
            promoted, judgement = _judge_and_promote(client, version, _on_the_shadow(arguments), console)
    _print_outcome(arguments, version, promoted=promoted, judgement=judgement, before=rankers.rankers[0].ranker_version)
    if promoted and (trouble := client.rankers().history_trouble):
        complain(f"{version} serves until the daemon restarts, no longer: {trouble}")
    return DONE if promoted else REFUSED


@contextmanager
def _removed_unless_promoted(client: AdminClient, version: str, before: RankerInfo | None) -> Iterator[None]:
    """Take a candidate that did not make it out of the daemon's memory again, unless it was there before."""
    try:
        yield
    finally:
        with suppress(RankdUnavailableError, RankdRefusedError):
            now = {r.ranker_version: r for r in client.rankers().rankers}.get(version)
            if now is not None and not now.in_service:
                if before is None:
                    client.unload(version)
                elif before.shadow is None and now.shadow is not None:
                    client.stop_shadow(version)


def _shadow(client: AdminClient, version: str, arguments: argparse.Namespace, console: PlainConsole) -> None:
    """Let a candidate score in the shadow, for a time or until enough completions are there."""
    began = time.monotonic()
    client.start_shadow(version)
    wanted, seconds = arguments.shadow_completions, arguments.shadow
    total = wanted if wanted is not None else seconds
    columns = (TextColumn("{task.description}"), BarColumn(), TextColumn("{task.fields[state]}"), TimeRemainingColumn())
    with Progress(*columns, console=console) as progress:
        task = progress.add_task(f"{version} in the shadow", total=total, state="")
        while True:
            state = _state_of(client, version)
            passed = time.monotonic() - began
            progress.update(task, completed=state.completions if wanted is not None else passed, state=_line(state))
            if (wanted is not None and state.completions >= wanted) or (seconds is not None and passed >= seconds):
                return
            time.sleep(_POLL)


def _goes_to_the_shadow(arguments: argparse.Namespace, judgement: Judgement, *, promoted: bool) -> bool:
    """Whether new completions are to judge what the old ones cannot."""
    flattered = judgement.verdict == "too_few_unseen_completions"
    return flattered and not promoted and not arguments.no_shadow and arguments.evidence is None


def _until_enough(arguments: argparse.Namespace, judgement: Judgement) -> argparse.Namespace:
    """Flags of a shadow that lasts until a judgement can be had."""
    limits = {"shadow_completions": judgement.min_completions, "shadow": arguments.shadow_limit}
    return argparse.Namespace(**{**vars(arguments), **limits})


def _on_the_shadow(arguments: argparse.Namespace) -> argparse.Namespace:
    return argparse.Namespace(**{**vars(arguments), "evidence": "shadow"})


def _state_of(client: AdminClient, version: str) -> ShadowState:
    for ranker in client.rankers().rankers:
        if ranker.ranker_version == version and ranker.shadow is not None:
            return ranker.shadow
    raise RankdRefusedError(f"{version} scores in the shadow no more: somebody else ended it")


def _line(state: ShadowState) -> str:
    left_out = f", {state.dropped:,} left out" if state.dropped else ""
    return f"{state.scored:,} prompts scored{left_out}, {state.completions:,} completions"


def _judge_and_promote(
    client: AdminClient, version: str, arguments: argparse.Namespace, console: PlainConsole
) -> tuple[bool, Judgement | None]:
    """Judge with progress; then promote, which judges again on scores that are known by now."""
    evidence = _EVIDENCE[arguments.evidence]
    if evidence is None and (arguments.shadow is not None or arguments.shadow_completions is not None):
        evidence = "shadow_scores"
    options = JudgeOptions(
        arguments.model,
        arguments.margin,
        arguments.min_completions,
        evidence,  # type: ignore[arg-type]
        trust_older_completions=arguments.trust_evidence,
    )
    columns = (TextColumn("{task.description}"), BarColumn(), TextColumn("{task.completed:,.0f} of {task.total:,.0f}"))
    with Progress(*columns, TimeRemainingColumn(), console=console) as progress:
        task = progress.add_task(f"judging {version}: prompts scored", total=1)
        judgement = client.judge(
            version, options, lambda done, total: progress.update(task, completed=done, total=max(1, total))
        )
        progress.update(task, completed=1, total=1)
    if arguments.force:
        return client.promote(version)[0], judgement
    if judgement.verdict != "better":
        return False, judgement
    return client.promote(version, options)


def _print_outcome(
    arguments: argparse.Namespace, version: str, *, promoted: bool, judgement: Judgement | None, before: str
) -> None:
    if arguments.json:
        print(json.dumps(as_json(judgement, version, promoted=promoted, before=before)))
        return
    console = output(120)
    if judgement is not None:
        console.print(figures(judgement))
        console.print(basis(judgement))
    if promoted:
        why = " (--force)" if arguments.force else ""
        console.print(f"{version} is in service{why}. `rankd rollback` puts {before} back.", style="green")
    else:
        console.print(f"{version} is refused: {refusal(judgement)} {before} stays in service.", style="red")


def as_json(judgement: Judgement | None, version: str, *, promoted: bool, before: str) -> dict[str, Any]:
    """The outcome as plain JSON values; ``incumbent`` is what it was judged against."""
    out: dict[str, Any] = {
        "promoted": promoted,
        "ranker_version": version,
        "in_service": version if promoted else before,
    }
    if judgement is not None:
        figures = dataclasses.asdict(judgement)
        figures["incumbent"] = figures.pop("in_service")
        out |= figures | {"evidence": EVIDENCE_NAMES.get(judgement.evidence, judgement.evidence)}
    return out


def figures(judgement: Judgement) -> Table:
    """Both rankers and their difference."""
    table = Table(title=f"{judgement.candidate.ranker_version} against {judgement.in_service.ranker_version}")
    for name in ("", "tau (95 % interval)", "realised gain (95 % interval)"):
        table.add_column(name, no_wrap=True)
    for label, one in (("candidate", judgement.candidate), ("in service", judgement.in_service)):
        table.add_row(label, _bounded(one.tau), _bounded(one.realised_gain))
    table.add_row(
        "difference", _bounded(judgement.tau_difference, "+"), _bounded(judgement.realised_gain_difference, "+")
    )
    return table


def basis(judgement: Judgement) -> str:
    """What the figures rest on."""
    text = (
        f"judged on {judgement.completions:,} completions ({judgement.censored:,} cut short, "
        f"{judgement.decided_pair_share:.0%} of pairs decided); evidence: {EVIDENCE_NAMES.get(judgement.evidence)}"
    )
    if judgement.excluded_completions:
        text += f"\nleft out: {left_out(judgement)}"
    if judgement.older_completions:
        text += (
            f"\n{judgement.older_completions:,} of them ended before this ranker's files were written, and are trusted "
            "(--trust-evidence): if it was trained on them they flatter it"
        )
    if judgement.tries > 1:
        text += (
            f"\njudgement {judgement.tries:,} on these completions: the lower bound is taken at an error of "
            f"{judgement.error_level:.2g} (one-sided), so that none of so many passes by luck"
        )
    return text


def left_out(judgement: Judgement) -> str:
    """Which completions of the log did not count, and why."""
    reasons = (
        (judgement.trained_completions, "with prompts that one of the two was trained or tuned on"),
        (judgement.learned_completions, "of the time that was baked into one of the two"),
        (
            judgement.undeclared_completions,
            "older than this ranker's files, as it does not say what it was trained on (--trust-evidence counts them)",
        ),
    )
    return "; ".join(f"{count:,} {why}" for count, why in reasons if count)


def _too_few_unseen(judgement: Judgement) -> str:
    return (
        f"{judgement.completions:,} completions to judge it on, at least {judgement.min_completions:,} are needed; "
        f"left out: {left_out(judgement)}."
    )


def refusal(judgement: Judgement | None) -> str:
    """Why it was not promoted."""
    if judgement is None:
        return "it was not judged."
    if judgement.verdict == "too_few_completions":
        return (
            f"{judgement.completions:,} completions to judge it on, at least {judgement.min_completions:,} are needed "
            f"({judgement.log_completions:,} with prompts in the completion log, {judgement.shadow_completions:,} with "
            "shadow scores). Wait, or gather some with --shadow-completions."
        )
    if judgement.verdict == "too_few_unseen_completions":
        return f"{_too_few_unseen(judgement)} Let new ones judge it: --shadow-completions {judgement.min_completions}."
    if judgement.verdict == "too_few_decided_pairs":
        return "too many completions were cut short to tell."
    low = judgement.strict_low if judgement.strict_low is not None else float("nan")
    return f"not better: the lower bound of the difference in tau, {low:+.3f}, is not above {judgement.margin:g}."


def _bounded(estimate: Estimate | None, sign: str = "") -> str:
    if estimate is None:
        return "undefined"
    return f"{estimate.value:{sign}.3f} ({estimate.low:{sign}.3f} to {estimate.high:{sign}.3f})"
