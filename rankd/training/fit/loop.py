"""The steps of training one ranker.

Everything random comes from the seed and the number of the epoch, so that a run that was killed and resumed takes the
same steps, and ends with the same weights, as one that was not.
"""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from rankd.errors import ConfigError
from rankd.training.bases.base import Base
from rankd.training.data.lists import EncodedRows, draw_steps, pieces
from rankd.training.fit.distributed import ProcessGroup
from rankd.training.fit.losses import known_longer, likely_longer, list_mle, log_normal, pairwise_logistic
from rankd.training.fit.options import WITH_SPREAD, EpochResult, FitOptions, TrainingProgress
from rankd.training.fit.validate import group_tau


class TrainingLoop:
    """One training run: its model, its optimiser, and how far it is."""

    def __init__(
        self, base: Base, train: EncodedRows, valid: EncodedRows, options: FitOptions, processes: ProcessGroup
    ) -> None:
        """Build a fresh model; ``train`` and ``valid`` are encoded by the base's tokeniser."""
        recipe = options.recipe
        self._base, self._options, self._processes = base, options, processes
        self._train, self._valid = train, valid
        self.module = base.module(options.seed, spread=options.loss in WITH_SPREAD)
        if options.loss in WITH_SPREAD and options.ranks == "expected":
            self.module.by_expected = True  # type: ignore[assignment]
        for layer in self.module.modules():
            if isinstance(layer, torch.nn.Dropout):
                layer.p = recipe.dropout
        groups = base.groups(self.module, recipe)
        self._rates = [g["lr"] for g in groups]
        self._optimiser = torch.optim.AdamW(groups, weight_decay=recipe.weight_decay, fused=True)
        self._epoch_steps = len(draw_steps(self._train.groups, recipe.list_size, options.seed, 0))
        self.steps = self._epoch_steps * recipe.epochs
        self.step = 0
        self._drawn: tuple[int, list[NDArray[np.int64]]] = (-1, [])
        self._loss_sum = 0.0
        self.history: list[EpochResult] = []
        self._best: dict[str, Tensor] = {}
        self._average: dict[str, Tensor] = {}

    @property
    def at_epoch_end(self) -> bool:
        """Whether the last step ended a pass over the rows."""
        return self.step % self._epoch_steps == 0

    def progress(self) -> TrainingProgress:
        """Where the run is."""
        done = (self.step - 1) % self._epoch_steps + 1
        last = self.history[-1] if self.history else None
        loss = last.loss if last and self.at_epoch_end else self._loss_sum / done
        epoch = (self.step - 1) // self._epoch_steps + 1
        tau = last.validation_tau if last else None
        return TrainingProgress(self.step, self.steps, epoch, loss, tau, self.at_epoch_end)

    def take_step(self) -> None:
        """One list: scores, loss, gradients, optimiser."""
        epoch, place = divmod(self.step, self._epoch_steps)
        if self._drawn[0] != epoch:
            self._drawn = (
                epoch,
                draw_steps(self._train.groups, self._options.recipe.list_size, self._options.seed, epoch),
            )
        rows = self._drawn[1][place]
        for group, peak in zip(self._optimiser.param_groups, self._rates, strict=True):
            group["lr"] = peak * rate(self.step, self.steps, self._options.warm_up)
        self.module.train()
        loss = self._loss(rows, self._scores(rows))
        if not torch.isfinite(loss):
            raise ConfigError(f"training diverged at step {self.step + 1}: start over with a lower --lr and --restart")
        self._optimiser.zero_grad(set_to_none=True)
        if loss.requires_grad:  # not where this process had no piece of a short list
            loss.backward()  # type: ignore[no-untyped-call]
        learning = [p for g in self._optimiser.param_groups for p in g["params"]]
        self._processes.sum_gradients(learning)
        torch.nn.utils.clip_grad_norm_(learning, 1.0)
        self._optimiser.step()
        self._loss_sum += float(loss.detach())
        self.step += 1
        if self._options.recipe.average > 0:
            self._move_average(self._options.recipe.average)

    @torch.no_grad()
    def _move_average(self, decay: float) -> None:
        """Move the running mean of the weights towards this step's; a young mean forgets faster."""
        if not self._average:
            self._average = {n: p.clone() for n, p in self._learned().items()}
        share = 1 - min(decay, self.step / (self.step + 9))
        for name, weights in self._learned().items():
            self._average[name].lerp_(weights, share)

    def _scores(self, rows: NDArray[np.int64]) -> Tensor:
        """Score a list, this process its share of the pieces: [n], or [n, 2] with the spread."""
        numbered = list(enumerate(pieces(self._train, rows, self._options.recipe.piece)))
        mine = numbered[self._processes.rank :: self._processes.size]
        outs = [self._score_piece(number, ids, mask) for number, (_, ids, mask) in mine]
        columns = 2 if self._options.loss in WITH_SPREAD else 1
        if outs:
            own = torch.cat([torch.stack(o, 1) if isinstance(o, tuple) else o[:, None] for o in outs]).float()
            places = torch.from_numpy(np.concatenate([places for _, (places, _, _) in mine]))
        else:
            own, places = torch.zeros(0, columns), torch.zeros(0, dtype=torch.int64)
        whole = self._processes.gather(own, places, len(rows))
        return whole if columns == 2 else whole[:, 0]

    def _score_piece(self, number: int, ids: Tensor, mask: Tensor) -> Tensor | tuple[Tensor, Tensor]:
        """Run a piece. Its dropout depends on seed, step and piece alone, not on who runs it or on what ran before."""
        seeds = np.random.SeedSequence([self._options.seed, self.step, number])
        with torch.random.fork_rng(devices=[]), torch.autocast("cpu", torch.bfloat16, enabled=self._options.bf16):
            torch.manual_seed(int(seeds.generate_state(1)[0]))
            out: Tensor | tuple[Tensor, Tensor] = self.module(ids, mask)
        return out

    def _loss(self, rows: NDArray[np.int64], scores: Tensor) -> Tensor:
        data, options = self._train, self._options
        if options.loss == "pairwise":
            return pairwise_logistic(scores, self._longer(rows), options.margin)
        if options.loss == "listmle":
            return list_mle(scores, self._longer(rows))
        mean, spread = scores[:, 0], scores[:, 1]
        complete = torch.from_numpy(data.complete[rows])
        likelihood = log_normal(mean, spread, torch.from_numpy(data.log_tokens[rows]), complete)
        return likelihood + likely_longer(mean, spread, self._longer(rows)) if options.loss == "joint" else likelihood

    def _longer(self, rows: NDArray[np.int64]) -> Tensor:
        """The pairs of a list whose order is known."""
        tokens, complete, groups = (
            torch.from_numpy(column[rows]) for column in (self._train.tokens, self._train.complete, self._train.groups)
        )
        return known_longer(tokens, complete, groups, self._options.bucket)

    def validate(self) -> None:
        """Judge the epoch that has ended, and keep its weights, or their running mean, if they are the best so far."""
        now = {k: v.clone() for k, v in self._learned().items()}
        averaged = {k: v.clone() for k, v in self._average.items()} or now
        self.module.load_state_dict(averaged, strict=False)
        tau = group_tau(self.score(self._valid), self._valid) if len(self._valid) else None
        before = [e.validation_tau for e in self.history if e.validation_tau is not None]
        self.history.append(EpochResult(self._loss_sum / self._epoch_steps, tau))
        self._loss_sum = 0.0
        if not self._best or tau is None or tau > max(before, default=-2.0):
            self._best = averaged
        self.module.load_state_dict(now, strict=False)

    def score(self, encoded: EncodedRows) -> NDArray[np.float64]:
        """Scores of all rows, in service's precision, shared among the processes."""
        self.module.eval()
        all_pieces = pieces(encoded, np.arange(len(encoded)), self._options.recipe.piece)
        mine = all_pieces[self._processes.rank :: self._processes.size]
        whole = torch.zeros(len(encoded))
        with torch.inference_mode():
            for places, ids, mask in mine:
                out = self.module(ids, mask)
                whole[torch.from_numpy(places)] = out[0] if isinstance(out, tuple) else out
        return self._processes.add_up(whole).double().numpy()

    def _learned(self) -> dict[str, Tensor]:
        names = {n for n, p in self.module.named_parameters() if p.requires_grad}
        return {n: p.detach() for n, p in self.module.named_parameters() if n in names}

    def state(self) -> dict[str, Any]:
        """Everything that a resumed run needs; what never changes is left out."""
        return {
            "step": self.step,
            "loss_sum": self._loss_sum,
            "history": [asdict(e) for e in self.history],
            "learned": self._learned(),
            "best": self._best,
            "average": self._average,
            "optimiser": self._optimiser.state_dict(),
        }

    def restore(self, state: dict[str, Any]) -> None:
        """Go on from a saved state."""
        self.module.load_state_dict(state["learned"], strict=False)
        self._optimiser.load_state_dict(state["optimiser"])
        self._best, self._average = state["best"], state["average"]
        self._loss_sum, self.step = state["loss_sum"], state["step"]
        self.history = [EpochResult(**e) for e in state["history"]]

    def take_best(self) -> float:
        """Put the best epoch's weights in place; returns its validation tau, NaN where nothing was validated."""
        self.module.load_state_dict(self._best, strict=False)
        self._base.finish(self.module)
        self.module.eval()
        return max((e.validation_tau for e in self.history if e.validation_tau is not None), default=float("nan"))


def rate(step: int, steps: int, warm_up: float) -> float:
    """The share of the peak learning rate at a step: up in a line, then down in a line."""
    rising = max(1, round(steps * warm_up))
    return min((step + 1) / rising, (steps - step) / max(1, steps - rising))
