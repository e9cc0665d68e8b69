"""What an order needs to know of a ranker on a model."""

from __future__ import annotations

from dataclasses import dataclass, field

from rankd_client.calibration import Calibration
from rankd_client.ordering import LearnedCosts, trust_of

from rankd.adaptation import Adaptation
from rankd.monitor.load import ModelLoad
from rankd.quality import Guard, GuardReason, WorkModel
from rankd.settings import Settings
from rankd.types import GuardMode


@dataclass(frozen=True, slots=True)
class Trust:
    """What an order needs to know of a ranker on a model."""

    ranks: bool
    """Whether anything but arrival orders: scores, or prompts alone."""
    worth_waiting: bool
    """False while batches fail or take too long."""
    calibration: Calibration | None
    """From the scores in use to lengths: learned ones where ``learned_in_use``, else the ranker's own."""
    level: float
    """How far, 0 to 1: what patience is scaled by."""
    ignores_lengths: bool = field(default=False, kw_only=True)
    """Whether prompts alone order: what is expected of answers does worse."""
    adaptation: Adaptation | None = field(default=None, compare=False, kw_only=True)
    """What is learned of the model's traffic beside the ranker; None where nothing is."""
    learned_in_use: bool = field(default=False, kw_only=True)
    """Whether what was learned orders."""
    base_calibration: Calibration | None = field(default=None, kw_only=True)
    """From the ranker's own scores to lengths: for what has no learned score where these are in use, else None."""
    load: ModelLoad = field(compare=False)
    """How fast its model is served, and how long requests wait for it. Changes all the time, the trust does not."""

    def learned(self, policy_tuned: bool, prompt_cost: float | None = None) -> LearnedCosts:
        """What is known of the model's requests.

        Args:
            policy_tuned: whether the policy is the one that patience was tuned for.
            prompt_cost: what an uncached prompt token counts for, where it is set; None: as learned.
        """
        mean = self.calibration.mean_expected if self.calibration is not None else None
        load, costs = self.load, self.load.costs
        cost = load.prompt_cost if prompt_cost is None else prompt_cost
        return LearnedCosts(
            mean_length=mean,
            mean_work=mean + cost * load.mean_prompt if mean is not None and load.mean_prompt else None,
            prompt_cost=cost,
            pace=costs.per_output_token.value if costs is not None else 0.0,
            prompt_pace=costs.per_prompt_token.value if costs is not None else 0.0,
            patience={objective: o.patience for objective, o in load.outcomes.items()} if policy_tuned else {},
            backlog_share={objective: o.backlog_share for objective, o in load.outcomes.items()}
            if policy_tuned
            else {},
            ignore_lengths=self.ignores_lengths,
        )

    def drain(self, tokens: float) -> float | None:
        """Seconds that a backlog of so many tokens takes; None where nothing is known.

        At least what requests waited of late: a caller may ask for one request, and have many waiting.
        """
        known = [s for s in (self.load.rate.drain(tokens), self.load.wait.mean) if s is not None]
        # That nothing waited so far says nothing of a queue that there is now.
        return max(known, default=0.0) or None


def trust_in(
    guard: Guard,
    calibration: Calibration | None,
    load: ModelLoad,
    settings: Settings,
    *,
    adaptation: Adaptation | None = None,
    learned_in_use: bool = False,
    base_calibration: Calibration | None = None,
) -> Trust:
    """How far a ranker is to be trusted on a model. Pure: whoever has a guard asks it the same way.

    Args:
        guard: as it stands.
        calibration: from the scores in use to lengths, as learned.
        load: of the served model.
        settings: the daemon's.
        adaptation: what is learned of the model's traffic; None where nothing is.
        learned_in_use: whether that orders.
        base_calibration: from the ranker's own scores to lengths.
    """
    enabled = settings.guard.enabled
    ignores_lengths = enabled and guard.ignores_lengths
    ranks = guard.ranks or ignores_lengths or not enabled
    level, low = float(ranks), guard.order_tau_low
    if ranks and enabled and low is not None:
        level = trust_of(low, full=settings.order.full_trust_tau)
    scoring_fails = guard.mode is GuardMode.FALLBACK and guard.cause in (GuardReason.ERRORS, GuardReason.LATENCY)
    return Trust(
        ranks=ranks,
        worth_waiting=not scoring_fails,
        calibration=calibration,
        level=level,
        ignores_lengths=ignores_lengths,
        adaptation=adaptation,
        learned_in_use=learned_in_use,
        base_calibration=base_calibration if learned_in_use else None,
        load=load,
    )


def prompt_cost_of(load: ModelLoad, settings: Settings) -> float:
    """What an uncached prompt token counts for in expected work, in output tokens: as it is set, or as learned."""
    cost = settings.order.prompt_cost
    return load.prompt_cost if cost < 0 else cost


def work_model(calibration: Calibration | None, load: ModelLoad, settings: Settings) -> WorkModel:
    """What is expected of requests now: what their quality is judged by."""
    expected = None if calibration is None else calibration.expected
    return WorkModel(prompt_cost_of(load, settings), expected)
