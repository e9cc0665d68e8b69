"""One run: read, part by time, train, judge, promote; gone on with where an earlier one was killed.

Each step leaves a note in the plan before the next begins (``Plan``), and doing a step twice is as doing it once:
whatever the moment of a kill, the next run takes what is done for done. What it cannot do is leave a broken ranker in
service: a ranker comes into the registry by one rename, is checked by the daemon before it is loaded, and a replica
swaps one reference.
"""

from __future__ import annotations

import time
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from rankd_client import RankdRefusedError, RankdUnavailableError

from rankd.errors import ArtifactError, RankdError
from rankd.registry.artifact import Artifact, load_artifact
from rankd.registry.artifact_files import MANIFEST
from rankd.retraining.evidence import RunEvidence
from rankd.retraining.options import RetrainOptions, Tools, TrainingTask
from rankd.retraining.outcome import RunEndedError, RunOutcome, is_disk_full
from rankd.retraining.replicas import ReplicaPromotion, Replicas, addresses_of
from rankd.retraining.workspace import Plan, State, Workspace, remove


@dataclass(slots=True)
class RunRecord:
    """What became of a run; ``details`` is plain JSON."""

    run: str
    outcome: RunOutcome
    reason: str
    details: dict[str, Any]

    def as_json(self) -> dict[str, Any]:
        """As plain values."""
        head = {"run": self.run, "outcome": self.outcome.value, "exit_status": self.outcome.exit_status}
        return {**head, "reason": self.reason, **self.details}


class Retraining:
    """A run, from the lock to the record."""

    def __init__(self, options: RetrainOptions, tools: Tools) -> None:
        """Touch nothing yet."""
        self._options, self._tools = options, tools
        self._workspace = Workspace(options.workspace)
        self._details: dict[str, Any] = {}
        self._run = ""

    def run(self) -> RunRecord:
        """Do it. Never raises for what can go wrong: the record says it."""
        began = time.time()
        try:
            with self._workspace.locked():
                record = self._locked()
                return self._kept(record, began)
        except RunEndedError as ended:  # locked
            return RunRecord("", ended.outcome, ended.reason, {})
        except OSError as error:
            return RunRecord("", RunOutcome.FAILED, _written(self._options.workspace, error), {})

    def _locked(self) -> RunRecord:
        try:
            plan = self._begun()
            outcome, reason = self._steps(plan)
        except RunEndedError as ended:
            outcome, reason = ended.outcome, ended.reason
        except RankdUnavailableError as error:
            outcome, reason = RunOutcome.UNREACHABLE, f"a daemon does not answer any more: {error}"
        except RankdRefusedError as error:
            outcome, reason = RunOutcome.BAD_INPUT, f"a daemon refuses: {error}"
        except RankdError as error:
            outcome = RunOutcome.FAILED if is_disk_full(error) else RunOutcome.BAD_INPUT
            reason = str(error)
        except OSError as error:
            outcome, reason = RunOutcome.FAILED, _written(self._options.workspace, error)
        except KeyboardInterrupt:
            outcome, reason = RunOutcome.INTERRUPTED, "interrupted; the next run goes on from here"
        except Exception as error:  # noqa: BLE001 - a library's own, whose text may hold a prompt
            outcome, reason = (
                RunOutcome.FAILED,
                f"{type(error).__name__} in {_place_of(error)}; the next run tries again",
            )
            if is_disk_full(error):
                reason = f"{self._options.scratch} cannot be written: no space is left; free space, and run it again"
        return RunRecord(self._run, outcome, reason, self._details)

    def _kept(self, record: RunRecord, began: float) -> RunRecord:
        """Keep the record, and end the plan where the run is over."""
        record.details |= {"began_at": _iso(began), "seconds": round(time.time() - began, 3)}
        try:
            plan = self._workspace.plan()
            # A timer that finds nothing to do each hour must not push the runs out that did something.
            if plan is not None or not record.outcome.is_final:
                self._workspace.write_record(
                    record.run or self._new_run(began), record.as_json(), self._options.keep_runs
                )
            if plan is not None and record.outcome.is_final:
                self._end(plan, record.outcome)
        except OSError as error:
            if record.outcome.exit_status == 0:
                record.outcome = RunOutcome.FAILED
            record.reason += f" ({_written(self._options.workspace, error)})"
        return record

    def _end(self, plan: Plan, outcome: RunOutcome) -> None:
        """Leave nothing of a run but its record; done again where a kill came between."""
        if plan.ended != outcome.value:
            plan.ended = outcome.value
            self._workspace.write_plan(plan)
        if plan.judged is not None:  # these rows have had their say
            self._workspace.write_state(State(plan.until, plan.run))
        if outcome in (RunOutcome.NO_BETTER, RunOutcome.TOO_LITTLE_DATA):
            self._remove_refused(plan)
        self._tidy(plan)
        self._workspace.drop_plan()

    def _remove_refused(self, plan: Plan) -> None:
        if plan.installed and not plan.in_service and not self._options.keep_refused:
            remove(self._options.registry / plan.installed)

    def _tidy(self, plan: Plan) -> None:
        remove(self._options.scratch / plan.run)
        for unfinished in self._options.registry.glob(f".*@{plan.run}.*"):  # a copy that was killed
            remove(unfinished)

    # -- the plan ----------------------------------------------------------------------------------------------------

    def _begun(self) -> Plan:
        """The plan of the run that did not end, or a new one with its rows parted."""
        options, state = self._options, self._workspace.state()
        plan = self._workspace.plan()
        if plan is not None and plan.ended:
            self._end(plan, RunOutcome(plan.ended))
            plan, state = None, self._workspace.state()
        if plan is not None:
            why = why_outdated(plan, options)
            if not why:
                plan.attempts += 1
                self._tools.say(f"going on with run {plan.run}, attempt {plan.attempts}")
                self._run = plan.run
                self._note(plan)
                return plan
            self._tools.say(f"run {plan.run} is not gone on with: {why}")
            self._remove_refused(plan)
            self._tidy(plan)
            self._workspace.drop_plan()
        self._run = self._new_run(time.time())
        self._evidence = RunEvidence(options, self._tools)
        bounds = self._evidence.choose(None if state is None else state.until)
        plan = Plan(self._run, time.time(), options.training, bounds.since, bounds.cutoff, bounds.until)
        self._note(plan)
        return plan

    def _new_run(self, now: float) -> str:
        """A name for a run, which is its ranker's version: the time, and never that of another run."""
        while True:
            run = f"{datetime.fromtimestamp(now, UTC):%Y%m%d-%H%M%S}"
            if not self._workspace.has_record(run) and not any(self._options.registry.glob(f"*@{run}")):
                return run
            now += 1.0

    def _note(self, plan: Plan) -> None:
        self._workspace.write_plan(plan)
        self._details["attempts"] = plan.attempts
        for name in ("data", "trained", "judged"):
            if (found := getattr(plan, name)) is not None:
                self._details[name] = found

    # -- the steps ---------------------------------------------------------------------------------------------------

    def _steps(self, plan: Plan) -> tuple[RunOutcome, str]:
        artifact = self._trained(plan)
        shadow = self._judged(plan, artifact)
        if not plan.installed:
            plan.installed = self._tools.install(artifact, str(self._options.registry))
            self._note(plan)
        place = self._options.registry / plan.installed
        if not self._options.promote:
            return RunOutcome.KEPT, f"{artifact.ranker_version} is in the registry: rankd promote {place}"
        return self._promoted(plan, artifact.ranker_version, shadow=shadow)

    def _trained(self, plan: Plan) -> Artifact:
        """The ranker, trained now or before."""
        out = self._options.scratch / plan.run
        if plan.trained is not None and (out / MANIFEST).exists():
            try:
                return load_artifact(out)
            except ArtifactError:
                self._tools.say("what was trained is damaged; training it again")
        elif plan.installed:
            return load_artifact(self._options.registry / plan.installed)
        evidence = self._rows(plan)
        plan.trained = plan.judged = None
        if (out / MANIFEST).exists():
            remove(out)  # finished, and killed before that was noted, or damaged
        result = self._tools.train(TrainingTask(evidence.train, out, plan.run))
        artifact = load_artifact(out)
        plan.trained = {**asdict(result), "ranker_version": artifact.ranker_version}
        self._note(plan)
        return artifact

    def _rows(self, plan: Plan) -> RunEvidence:
        """The rows, parted as the plan has it; read once in a process."""
        evidence: RunEvidence | None = getattr(self, "_evidence", None)
        if evidence is None:
            evidence = self._evidence = RunEvidence(self._options, self._tools)
        plan.data = evidence.part(plan)
        self._note(plan)
        return evidence

    def _judged(self, plan: Plan, artifact: Artifact) -> bool:
        """Judge by the rows kept back; says whether only the shadow can tell.

        Raises:
            RunEndedError: NO_BETTER, or TOO_LITTLE_DATA where nothing else can tell.
        """
        if plan.judged is None:
            judgement = self._rows(plan).judge(artifact)
            plan.judged = judgement.as_json()
            self._note(plan)
            self._tools.say(judgement.in_words())
        verdict = plan.judged["verdict"]
        if self._options.force:
            return False
        if (tau := plan.judged["least_tau"]) is not None and tau < self._options.min_tau:
            raise RunEndedError(RunOutcome.NO_BETTER, f"tau {tau:.3f} is below --min-tau {self._options.min_tau:g}")
        if verdict == "not_better":
            low, margin = plan.judged["tau_difference"][1], self._options.margin
            raise RunEndedError(
                RunOutcome.NO_BETTER,
                f"not better on the completions kept back: the lower bound of the difference in tau, {low:+.3f}, is "
                f"not above {margin:g}",
            )
        undecided = str(verdict).startswith("too_few")
        if undecided and (not self._options.promote or self._options.shadow.mode == "never"):
            raise RunEndedError(
                RunOutcome.TOO_LITTLE_DATA,
                f"{plan.judged['completions']:,} completions to judge by, {self._options.min_completions:,} are needed"
                if verdict == "too_few_completions"
                else "too many completions were cut short to tell",
            )
        return undecided

    def _promoted(self, plan: Plan, version: str, *, shadow: bool) -> tuple[RunOutcome, str]:
        replicas = Replicas(self._tools, addresses_of(self._options))

        def note() -> None:
            plan.in_service = True
            self._note(plan)

        try:
            promotion = replicas.promote(
                version, plan.installed, self._options,
                shadow=shadow, promoted_before=plan.in_service, on_promoted=note,
            )  # fmt: skip
        finally:
            self._details["promotion"] = replicas.promotion.as_json()
        if not promotion.promoted:
            replicas.forget(version)
            return _refused(promotion)
        if not plan.in_service:
            note()
        left = [a for a, what in promotion.replicas.items() if what not in ("promoted", "in_service")]
        if left:
            return RunOutcome.UNREACHABLE, f"{version} is in service, but not on {', '.join(left)}; run it again"
        return RunOutcome.PROMOTED, f"{version} is in service on all {len(promotion.replicas)} replicas"


def why_outdated(plan: Plan, options: RetrainOptions) -> str:
    """Why a run that did not end is not gone on with; empty where it is."""
    if plan.training != options.training:
        return "it was begun with other flags"
    if time.time() - plan.begun > options.resume_hours * 3600 and not plan.in_service:
        return f"it was begun more than {options.resume_hours:g} hours ago"
    return ""


def _refused(promotion: ReplicaPromotion) -> tuple[RunOutcome, str]:
    judgement = promotion.judgement
    verdict = "" if judgement is None else judgement.verdict
    if judgement is not None and verdict == "not_better" and judgement.strict_low is not None:
        return RunOutcome.NO_BETTER, (
            f"{promotion.judged_by} judges it not better: the lower bound of the difference in tau, "
            f"{judgement.strict_low:+.3f} in judgement {judgement.tries:,} on these completions, is not above "
            f"{judgement.margin:g}"
        )
    if judgement is not None and verdict in ("too_few_completions", "too_few_unseen_completions"):
        return RunOutcome.TOO_LITTLE_DATA, (
            f"{promotion.judged_by} has {judgement.completions:,} completions to judge by, "
            f"{judgement.min_completions:,} are needed"
        )
    return (
        RunOutcome.NO_BETTER,
        f"{promotion.judged_by} does not promote it: {verdict.replace('_', ' ') or 'no verdict'}",
    )


def _iso(at: float) -> str:
    return datetime.fromtimestamp(at, UTC).isoformat(timespec="seconds")


def _written(workspace: Path, error: OSError) -> str:
    where = error.filename or workspace
    return f"{where} cannot be written: {error.strerror or type(error).__name__}; free space, and run it again"


def _place_of(error: BaseException) -> str:
    """The module that raised, without its words."""
    step = error.__traceback__
    while step is not None and step.tb_next is not None:
        step = step.tb_next
    return "rankd" if step is None else str(step.tb_frame.f_globals.get("__name__", "rankd"))
