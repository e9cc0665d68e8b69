"""Make a ranker of fewer layers that says what a larger one says: a student of a bundled encoder.

It starts from some of the base's layers, with word vectors, tokenizer and head of the teacher, and learns what the
teacher makes of each token, of the whole text (its features) and its score. Texts are those of ``distil_texts``.
"""

from __future__ import annotations

import copy
import hashlib
import json
import sys
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from tokenizers import Tokenizer
from torch import Tensor, nn

from benchmarks.rankers.distil_teacher import Labels, Teacher, deviations
from benchmarks.rankers.distil_texts import texts_from
from rankd.registry.artifact import Artifact
from rankd.scoring.onnx_model import pad
from rankd.training.bases.base import Base
from rankd.training.bases.transformer import TransformerBase, TransformerRanker
from rankd.training.data.dataset import Row
from rankd.training.data.lists import EncodedRows, encode
from rankd.training.evaluation.offline_ranker import OfflineRanker
from rankd.training.export.parity import scores_of, torch_runner
from rankd.training.fit import checkpoint
from rankd.training.fit.loop import rate
from rankd.training.fit.options import FitOptions, FittedRanker
from rankd.training.fit.validate import group_tau

_OBSERVED = 256
"""Texts whose activations say which inner units of a layer count least."""


@dataclass(frozen=True, slots=True)
class Round:
    """Texts that are learned from, and how fast."""

    own: int = 6_000
    """Prompts that it learns from."""
    made: int = 25_000
    """Texts made of all prompts, beside these."""
    epochs: int = 2
    lr: float = 7e-4
    """Peak learning rate; it rises from 0 and falls to 0."""
    words: bool = False
    """Whether word vectors learn too, of words that the texts have."""


@dataclass(frozen=True, slots=True)
class StudentRecipe:
    """How a student is made."""

    layers: tuple[int, ...] = (0, 2, 5)
    """The base's layers that it starts from."""
    inner: int = 1280
    """Inner units of a layer that are kept, those that matter most; the base has 1,536."""
    rounds: tuple[Round, ...] = (Round(), Round(made=30_000, epochs=1, lr=5e-4, words=True))
    """One after the other, each with texts of its own."""
    batch: int = 1024
    """Padded tokens of a step."""
    warm_up: float = 0.05
    weight_decay: float = 0.01
    state_weight: float = 1.0
    feature_weight: float = 1.0
    score_weight: float = 2.0


def distil(
    base: Base,
    artifact: Artifact,
    train: Sequence[Row],
    valid: Sequence[Row],
    recipe: StudentRecipe,
    options: FitOptions,
    work: Path | None = None,
) -> FittedRanker:
    """Train a student; of ``train`` only the prompts are used, ``valid`` judges it at the end.

    Args:
        base: what the teacher was trained from, an encoder.
        artifact: the teacher.
        train: rows of sources whose weights may be shipped.
        valid: rows of other prompts.
        recipe: of the student.
        options: seed, threads, bf16, and what the teacher was trained with, for the exporter.
        work: where the teacher's labels and checkpoints are kept, to go on after a kill.

    Raises:
        ConfigError: the teacher is no encoder; a checkpoint of another run.
    """
    torch.set_num_threads(options.threads)
    assert isinstance(base, TransformerBase)
    base = copy.copy(base)
    base.tokenizer = Tokenizer.from_file(str(artifact.tokenizer_path))
    teacher, prompts, fingerprint = Teacher(artifact), [r.prompt for r in train], artifact.ranker_version
    module: TransformerRanker | None = None
    for i, one in enumerate(recipe.rounds):
        texts = texts_from(prompts, one.own, one.made, options.seed + i)
        ids = encode([Row(t, 1, complete=True) for t in texts], base.tokeniser(), "first").ids
        fingerprint = _fingerprint(fingerprint, teacher, texts, replace(recipe, rounds=(one,)), options)
        place = None if work is None else work / f"round-{i + 1}"
        labels = teacher.labels(ids, place)
        module = module or start(base, teacher, ids, recipe, options.seed)
        run = _Distillation(module, teacher, ids, labels, recipe, one, replace(options, seed=options.seed + i))
        if place is not None and (content := checkpoint.read(place)) is not None:
            run.restore(checkpoint.parse(content, fingerprint))
        run.all_steps(place, fingerprint)
        tau = agreement(module, artifact, valid, encode(valid, base.tokeniser(), "first"))
    assert module is not None
    return FittedRanker(base, module, options, [], tau, fingerprint)


def start(
    base: TransformerBase, teacher: Teacher, ids: Sequence[NDArray[np.int32]], recipe: StudentRecipe, seed: int
) -> TransformerRanker:
    """The student before its first step."""
    module = base.module(seed, spread=True)
    body: Any = module.body
    body.encoder.layer = nn.ModuleList([copy.deepcopy(body.encoder.layer[i]) for i in recipe.layers])
    body.config.num_hidden_layers = len(recipe.layers)
    for layer in module.modules():
        if isinstance(layer, nn.Dropout):
            layer.p = 0.0
    weight, bias = teacher.head()
    with torch.no_grad():
        body.embeddings.word_embeddings.weight.copy_(torch.from_numpy(teacher.words()))
        module.head.weight.copy_(torch.from_numpy(weight.copy()))
        module.head.bias.copy_(torch.from_numpy(bias.copy()))
    if recipe.inner < body.config.intermediate_size:
        _narrow(module, ids, recipe.inner)
    return module


@torch.no_grad()
def _narrow(module: TransformerRanker, ids: Sequence[NDArray[np.int32]], inner: int) -> None:
    """Keep the inner units whose change moves a layer's output most; the others' means go into its bias."""
    body: Any = module.body
    seen: dict[int, list[Tensor]] = {}
    hooks = [
        layer.intermediate.register_forward_hook(
            lambda _module, _inputs, out, at=i: seen.setdefault(at, []).append(out[0])
        )
        for i, layer in enumerate(body.encoder.layer)
    ]
    for place in np.unique(np.linspace(0, len(ids) - 1, _OBSERVED).round().astype(int)).tolist():
        real, mask = pad([ids[place].astype(np.int64)])
        module(torch.from_numpy(real), torch.from_numpy(mask))
    for i, layer in enumerate(body.encoder.layer):
        hooks[i].remove()
        active, down, up = torch.cat(seen[i]), layer.output.dense, layer.intermediate.dense
        matters = active.var(dim=0) * down.weight.square().sum(dim=0)
        kept = matters.argsort(descending=True)[:inner].sort().values
        mean = active.mean(dim=0)
        mean[kept] = 0
        down.bias += down.weight @ mean
        down.weight = nn.Parameter(down.weight[:, kept].clone())
        up.weight, up.bias = nn.Parameter(up.weight[kept].clone()), nn.Parameter(up.bias[kept].clone())
        down.in_features = up.out_features = inner
    body.config.intermediate_size = inner


def agreement(module: TransformerRanker, artifact: Artifact, valid: Sequence[Row], encoded: EncodedRows) -> float:
    """Say how near the student is on prompts of neither's training; returns its tau on their rows."""
    module.eval()
    own = scores_of(torch_runner(module), encoded.ids)
    theirs = OfflineRanker(artifact).scores([r.prompt for r in valid])
    mine, its = group_tau(own, encoded), group_tau(theirs, encoded)
    r = float(np.corrcoef(own, theirs)[0, 1])
    print(f"held-out prompts: correlation {r:.4f}, tau {mine}, teacher's {its}", file=sys.stderr, flush=True)
    return float("nan") if mine is None else mine


class _Distillation:
    """One run: the student, its optimiser, and how far it is."""

    def __init__(
        self,
        module: TransformerRanker,
        teacher: Teacher,
        ids: Sequence[NDArray[np.int32]],
        labels: Labels,
        recipe: StudentRecipe,
        one: Round,
        options: FitOptions,
    ) -> None:
        self._module, self._ids, self._labels, self._recipe, self._options = module, ids, labels, recipe, options
        self._round = one
        self._state_scale, self._feature_scale = deviations(labels.states), deviations(labels.features)
        with torch.no_grad():
            self._head = copy.deepcopy(module.head)
            for own, theirs in zip(self._head.parameters(), teacher.head(), strict=True):
                own.copy_(torch.from_numpy(theirs.copy()))
            self._score_scale = self._head(torch.from_numpy(labels.features)).std(dim=0)
        vectors = list(module.token_embeddings().requires_grad_(one.words).parameters())
        learns = [p for p in module.parameters() if p.requires_grad]
        matrices = [p for p in learns if p.ndim > 1 and not any(p is v for v in vectors)]
        groups: list[dict[str, Any]] = [
            {"params": matrices},
            {"params": [p for p in learns if not any(p is m for m in matrices)], "weight_decay": 0.0},
        ]
        self._learns = learns
        self._optimiser = torch.optim.AdamW(groups, lr=one.lr, weight_decay=recipe.weight_decay, fused=True)
        self._per_epoch = len(self._batches(0))
        self._texts_a_step = len(ids) / self._per_epoch
        self.step, self.steps = 0, sum(len(self._batches(e)) for e in range(one.epochs))

    def _batches(self, epoch: int) -> list[NDArray[np.int64]]:
        """Every text once, those of similar length together, in an order of the epoch's own."""
        random = np.random.default_rng([self._options.seed, epoch])
        lengths = np.array([len(row) for row in self._ids])
        order = np.argsort(lengths + random.uniform(0, 2, len(lengths)), kind="stable")
        out, first = [], 0
        while first < len(order):
            last = first + 1
            while last < len(order) and lengths[order[last]] * (last + 1 - first) <= self._recipe.batch:
                last += 1
            out.append(order[first:last])
            first = last
        return [out[i] for i in random.permutation(len(out)).tolist()]

    def all_steps(self, work: Path | None, fingerprint: str) -> None:
        """From where it is to the end."""
        self._module.train()
        saved, began, at = time.monotonic(), time.monotonic(), 0
        sums = np.zeros(3)
        for epoch in range(self._round.epochs):
            for rows in self._batches(epoch):
                at += 1
                if at <= self.step:
                    continue
                sums += self._take_step(rows)
                if self.step % 50 == 0:
                    seconds = time.monotonic() - began
                    parts = " ".join(f"{s:.4f}" for s in sums / 50)
                    print(f"step {self.step}/{self.steps} {parts} {seconds:.0f} s", file=sys.stderr, flush=True)
                    sums[:] = 0
                done = self.step == self.steps
                if work is not None and (done or time.monotonic() - saved > self._options.checkpoint_seconds):
                    checkpoint.save(work, self.state(), fingerprint)
                    saved = time.monotonic()
        self._module.eval()

    def _take_step(self, rows: NDArray[np.int64]) -> NDArray[np.float64]:
        """One batch; returns the losses of states, features and scores."""
        recipe = self._recipe
        for group in self._optimiser.param_groups:
            group["lr"] = self._round.lr * rate(self.step, self.steps, recipe.warm_up)
        real, mask = (torch.from_numpy(a) for a in pad([self._ids[r].astype(np.int64) for r in rows]))
        active = mask.bool()
        starts = self._labels.starts
        wanted = torch.from_numpy(
            np.concatenate([self._labels.states[starts[r] : starts[r] + len(self._ids[r])] for r in rows])
        ).float()
        features = torch.from_numpy(self._labels.features[rows])
        with torch.autocast("cpu", torch.bfloat16, enabled=self._options.bf16):
            states = self._module.states(real, mask)
        states = states.float()
        pooled = self._module.pool(states, mask)
        share = len(rows) / self._texts_a_step  # texts count alike, whatever shares their batch
        losses = torch.stack(
            [
                ((states[active] - wanted) / self._state_scale).square().mean(),
                ((pooled - features) / self._feature_scale).square().mean() * share,
                ((self._module.head(pooled) - self._head(features)) / self._score_scale).square().mean() * share,
            ]
        )
        weights = torch.tensor([recipe.state_weight, recipe.feature_weight, recipe.score_weight])
        self._optimiser.zero_grad(set_to_none=True)
        (losses * weights).sum().backward()  # type: ignore[no-untyped-call]
        torch.nn.utils.clip_grad_norm_(self._learns, 1.0)
        self._optimiser.step()
        self.step += 1
        found: NDArray[np.float64] = losses.detach().double().numpy()
        return found

    def state(self) -> dict[str, Any]:
        """All that a resumed run needs."""
        learned = {n: p.detach() for n, p in self._module.named_parameters() if p.requires_grad}
        return {"step": self.step, "learned": learned, "optimiser": self._optimiser.state_dict()}

    def restore(self, state: dict[str, Any]) -> None:
        """Go on from a saved state."""
        self._module.load_state_dict(state["learned"], strict=False)
        self._optimiser.load_state_dict(state["optimiser"])
        self.step = state["step"]


def _fingerprint(
    before: str, teacher: Teacher, texts: Sequence[str], recipe: StudentRecipe, options: FitOptions
) -> str:
    """What makes a round the same, those before it included."""
    digest = hashlib.sha256(teacher.content)
    digest.update(json.dumps([before, asdict(recipe), options.seed, options.bf16, options.threads, texts]).encode())
    return digest.hexdigest()
