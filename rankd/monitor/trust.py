"""What an order needs to know of a ranker on a model."""

from __future__ import annotations

from dataclasses import dataclass, field

from rankd_client.calibration import Calibration
from rankd_client.ordering import LearnedCosts, Objective

from rankd.monitor.load import ModelLoad


@dataclass(frozen=True, slots=True)
class Trust:
    """What an order needs to know of a ranker on a model."""

    ranks: bool
    worth_waiting: bool
    """False while batches fail or take too long."""
    calibration: Calibration | None
    level: float
    """How far, 0 to 1: what patience is scaled by."""
    ignores_lengths: bool = field(default=False, kw_only=True)
    """Whether prompts alone order: what is expected of answers does worse."""
    load: ModelLoad = field(compare=False)
    """How fast its model is served, and how long requests wait for it. Changes all the time, the trust does not."""

    def learned(self, policy_tuned: bool) -> LearnedCosts:
        """What is known of the model's requests.

        Args:
            policy_tuned: whether the policy is the one that patience was tuned for.
        """
        mean = self.calibration.mean_expected if self.calibration is not None else None
        load, costs = self.load, self.load.costs
        return LearnedCosts(
            mean_length=mean,
            mean_work=mean + load.prompt_cost * load.mean_prompt if mean is not None and load.mean_prompt else None,
            prompt_cost=load.prompt_cost,
            pace=costs.per_output_token.value if costs is not None else 0.0,
            prompt_pace=costs.per_prompt_token.value if costs is not None else 0.0,
            patience={objective: o.patience for objective, o in load.outcomes.items()} if policy_tuned else {},
            backlog_share={objective: o.backlog_share for objective, o in load.outcomes.items()}
            if policy_tuned
            else {},
            arrival_slo_share=slo.arrival_slo_share if (slo := load.outcomes.get(Objective.SLO)) is not None else None,
            ignore_lengths=self.ignores_lengths,
        )

    def drain(self, tokens: float) -> float | None:
        """Seconds that a backlog of so many tokens takes; None where nothing is known.

        At least what requests waited of late: a caller may ask for one request, and have many waiting.
        """
        known = [s for s in (self.load.rate.drain(tokens), self.load.wait.mean) if s is not None]
        # That nothing waited so far says nothing of a queue that there is now.
        return max(known, default=0.0) or None
