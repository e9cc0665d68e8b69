"""What a run would do, and nothing done: nothing is written, no daemon is told anything."""

from __future__ import annotations

from typing import Any

from rankd_client import RankdRefusedError, RankdUnavailableError

from rankd.errors import RankdError
from rankd.retraining.evidence import RunEvidence
from rankd.retraining.options import RetrainOptions, Tools
from rankd.retraining.outcome import RunEndedError, RunOutcome
from rankd.retraining.replicas import addresses_of
from rankd.retraining.run import RunRecord, why_outdated
from rankd.retraining.workspace import Plan, State, Workspace


def dry_run(options: RetrainOptions, tools: Tools) -> RunRecord:
    """Say what a run would do now."""
    workspace = Workspace(options.workspace)
    state, plan = workspace.state(), workspace.plan()
    details: dict[str, Any] = {"dry_run": True}
    try:
        replicas = _replicas(options, tools)
        reason = _would(options, tools, state, plan, details)
        details["decision"] = _decision(options) | {"replicas": replicas}
        lines = [f"{address}: {what}" for address, what in replicas.items()]
        return RunRecord(details.pop("run", ""), RunOutcome.WOULD_RUN, "\n".join([reason, *lines]), details)
    except RunEndedError as ended:
        return RunRecord("", ended.outcome, ended.reason, details)
    except RankdError as error:
        return RunRecord("", RunOutcome.BAD_INPUT, str(error), details)


def _would(
    options: RetrainOptions, tools: Tools, state: State | None, plan: Plan | None, details: dict[str, Any]
) -> str:
    if plan is not None and not plan.ended and not why_outdated(plan, options):
        done = "promoted on some replicas" if plan.in_service else "judged" if plan.judged else "trained"
        details |= {"run": plan.run, "data": plan.data, "trained": plan.trained, "judged": plan.judged}
        how_far = done if plan.trained or plan.in_service else "not trained yet"
        return f"would go on with run {plan.run}, which is {how_far}"
    evidence = RunEvidence(options, tools)
    data = evidence.described(evidence.choose(None if state is None else state.until))
    incumbent = evidence.incumbent()
    details["data"] = data
    details["incumbent"] = None if incumbent is None else incumbent.ranker_version
    against = "a ranker whose files are not here" if incumbent is None else incumbent.ranker_version
    since = f"since {data['since']}" if data["since"] else "since the log begins"
    return (
        f"would train on {data['train']:,} completions until {data['cutoff']}, judge by {data['held_back']:,} until "
        f"{data['until']} against {against}; {data['new']:,} are new {since}. {_words(options)}"
    )


def _decision(options: RetrainOptions) -> dict[str, Any]:
    """By what it would be decided."""
    return {
        "margin": options.margin,
        "min_completions": options.min_completions,
        "min_tau": options.min_tau,
        "promote": options.promote,
        "force": options.force,
        "shadow": options.shadow.mode,
        "shadow_completions": options.shadow.completions,
        "shadow_seconds": options.shadow.seconds,
    }


def _words(options: RetrainOptions) -> str:
    if options.force:
        return "It would be promoted whatever its figures are (--force)."
    better = f"Better is: the lower bound of the difference in tau is above {options.margin:g}, on at least "
    better += f"{options.min_completions:,} completions."
    return better if options.promote else f"{better} It would be left in the registry (--no-promote)."


def _replicas(options: RetrainOptions, tools: Tools) -> dict[str, str]:
    """By address, what it has in service, or that it does not answer."""
    found = {}
    for address in addresses_of(options) if options.promote else []:
        try:
            with tools.connect(address) as client:
                found[address] = client.rankers().rankers[0].ranker_version
        except RankdUnavailableError:
            found[address] = "does not answer"
        except RankdRefusedError as error:
            found[address] = f"refuses: {error}"
    return found
