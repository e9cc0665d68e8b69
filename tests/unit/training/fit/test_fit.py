"""The training loop on a tiny random encoder: it learns, it can be killed, it can be shared, it refuses bad rows."""

import signal
import subprocess
import sys
from dataclasses import replace

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="needs rankd[train]")

from support.subprocesses import environment  # noqa: E402
from support.tiny_encoder import make_base, make_rows  # noqa: E402
from support.tiny_fit import CUT, OPTIONS, RECIPE, digest  # noqa: E402

from rankd.errors import ConfigError  # noqa: E402
from rankd.quality.statistics.kendall import tau_b  # noqa: E402
from rankd.scoring.tokeniser import Truncation  # noqa: E402
from rankd.training.bases.load import load_base  # noqa: E402
from rankd.training.data.lists import draw_steps, encode, pieces, target_tokens  # noqa: E402
from rankd.training.fit import checkpoint  # noqa: E402
from rankd.training.fit.distributed import ALONE  # noqa: E402
from rankd.training.fit.fit import fit  # noqa: E402
from rankd.training.fit.loop import TrainingLoop  # noqa: E402


@pytest.fixture(scope="module")
def base(tmp_path_factory):
    return load_base(str(make_base(tmp_path_factory.mktemp("base"))), CUT)


@pytest.fixture(scope="module")
def whole(base):
    """A run from start to end."""
    rows = make_rows(144)
    return fit(base, rows[:128], rows[128:], OPTIONS)


def scores_of(base, module, rows):
    encoded = encode(rows, base.tokeniser(), "first")
    out = np.zeros(len(rows))
    with torch.inference_mode():
        for places, ids, mask in pieces(encoded, np.arange(len(rows)), 16):
            result = module(ids, mask)
            out[places] = (result[0] if isinstance(result, tuple) else result).numpy()
    return out


@pytest.mark.parametrize("loss", ["listmle", "pairwise", "lognormal", "joint"])
def test_each_loss_learns_the_order(base, loss):
    """Higher means longer, on prompts that were not trained on, though the longest quarter of answers was cut off."""
    rows, unseen = make_rows(320, cut_at=140), make_rows(100, seed=9)
    recipe = replace(RECIPE, loss=loss, epochs=10)
    fitted = fit(base, rows[:256], rows[256:], replace(OPTIONS, margin=0.5, recipe=recipe))
    tau = tau_b(scores_of(base, fitted.module, unseen), np.array([float(r.tokens) for r in unseen]))
    assert tau > 0.6
    assert fitted.validation_tau > 0.6
    assert fitted.has_spread == (loss in ("lognormal", "joint"))


def test_cut_rows_are_worth_having(base):
    """With answers cut at the median, training on them beats dropping them: the order above the cut is not lost."""
    rows, unseen = make_rows(320, cut_at=110), make_rows(150, seed=9)
    truth = np.array([float(r.tokens) for r in unseen])

    def tau(train):
        return tau_b(scores_of(base, fit(base, train, [], OPTIONS).module, unseen), truth)

    assert tau(rows) > tau([r for r in rows if r.complete]) + 0.01


@pytest.mark.parametrize("loss", ["lognormal", "joint"])
def test_the_spread_is_the_spread_of_log_length(base, loss):
    """The distributional head's second output comes near the true deviation of what it cannot know."""
    random = np.random.default_rng(0)
    rows = [
        replace(r, tokens=max(1, round(100 * (2 if r.prompt.count("long") > 3 else 1) * random.lognormal(0, 0.5))))
        for r in make_rows(400)
    ]
    fitted = fit(base, rows, [], replace(OPTIONS, recipe=replace(RECIPE, loss=loss)))
    encoded = encode(rows[:64], base.tokeniser(), "first")
    spreads = [fitted.module(ids, mask)[1] for _, ids, mask in pieces(encoded, np.arange(64), 16)]
    assert torch.cat(spreads).mean().item() == pytest.approx(0.5, abs=0.15)


def test_same_seed_same_weights(base, tmp_path):
    """Two runs agree in every byte, as does a finished one that is started again; another seed does not."""
    rows = make_rows(96)
    first, second, again = (
        fit(base, rows[:64], rows[64:], OPTIONS, checkpoint_dir=d) for d in (None, tmp_path, tmp_path)
    )
    other = fit(base, rows[:64], rows[64:], replace(OPTIONS, seed=1))
    assert digest(first) == digest(second) == digest(again) != digest(other)


def test_the_running_mean_of_weights_is_what_is_kept(base):
    """The ranker is the mean of the last steps' weights, each weighing less the older it is, not the last step's."""
    rows, seen = make_rows(64), []
    recipe = replace(RECIPE, epochs=2, average=0.5)
    loop = TrainingLoop(base, *(encode(rows, base.tokeniser()),) * 2, replace(OPTIONS, recipe=recipe), ALONE)
    name = "head.weight"
    for step in range(1, loop.steps + 1):
        loop.take_step()
        weights = loop.module.state_dict()[name].clone()
        share = 1 - min(0.5, step / (step + 9))
        seen.append(weights if step == 1 else (1 - share) * seen[-1] + share * weights)
    loop.validate()
    assert torch.equal(loop.module.state_dict()[name], weights)
    loop.take_best()
    torch.testing.assert_close(loop.module.state_dict()[name], seen[-1])
    assert not torch.equal(loop.module.state_dict()[name], weights)


def test_the_best_epoch_is_kept(base):
    """Of several epochs the weights with the highest validation tau, not the last ones, are the ranker."""
    rows = make_rows(200)
    valid = [replace(r, tokens=1000 - r.tokens) for r in make_rows(64, seed=5)]  # what is learned is wrong here
    fitted = fit(base, rows, valid, OPTIONS)
    taus = [e.validation_tau for e in fitted.history]
    assert max(taus) > taus[-1]
    assert fitted.validation_tau == max(taus)
    got = tau_b(scores_of(base, fitted.module, valid), np.array([float(r.tokens) for r in valid]))
    assert got == pytest.approx(max(taus), abs=1e-6)


class StopError(Exception):
    """Ends a run in the middle."""


@pytest.mark.parametrize("stop_at", [1, 5, 8, 13])
def test_an_interrupted_run_ends_with_the_same_weights(base, whole, tmp_path, stop_at):
    """Stopped within an epoch or at its end, and gone on from its checkpoint, a run ends as if never stopped."""
    rows = make_rows(144)

    def stop(progress):
        if progress.step == stop_at:
            raise StopError

    for _ in range(2):
        with pytest.raises(StopError):
            fit(base, rows[:128], rows[128:], OPTIONS, checkpoint_dir=tmp_path, on_progress=stop)
    seen = []
    resumed = fit(base, rows[:128], rows[128:], OPTIONS, checkpoint_dir=tmp_path, on_progress=seen.append)
    assert digest(resumed) == digest(whole)
    assert seen[0].step <= stop_at
    assert resumed.history == whole.history


SCRIPT = """
import sys
from pathlib import Path
from support.tiny_encoder import make_rows
from support.tiny_fit import CUT, OPTIONS, digest
from rankd.training.bases.load import load_base
from rankd.training.fit.fit import fit
from rankd.training.fit.distributed import joined

base, out = load_base(sys.argv[1], CUT), Path(sys.argv[2])
rows = make_rows(144)
with joined() as processes:
    fitted = fit(base, rows[:128], rows[128:], OPTIONS, checkpoint_dir=out, processes=processes,
                 on_progress=lambda p: print(p.step, flush=True) if processes.first else None)
    if processes.first:
        print(digest(fitted), fitted.validation_tau, flush=True)
"""


def script(base, out, tmp_path, *before):
    file = tmp_path / "run.py"
    file.write_text(SCRIPT)
    return subprocess.Popen(
        [sys.executable, *before, str(file), str(base.path), str(out)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env=environment(OMP_NUM_THREADS="1"),
        text=True,
    )


def test_kill_9_costs_nothing_but_time(base, whole, tmp_path):
    """A process killed with SIGKILL between two steps is taken up by the next, with the same weights at the end."""
    rows = make_rows(144)
    out = tmp_path / "out"
    process = script(base, out, tmp_path)
    for line in process.stdout:
        if line.strip() == "6":
            process.send_signal(signal.SIGKILL)
            break
    assert process.wait() == -signal.SIGKILL
    process.stdout.close()
    process.stderr.close()
    assert (out / checkpoint.FILE).is_file()
    steps = []
    resumed = fit(base, rows[:128], rows[128:], OPTIONS, checkpoint_dir=out, on_progress=lambda p: steps.append(p.step))
    assert steps[0] >= 6
    assert digest(resumed) == digest(whole)


def test_two_processes_train_the_same_ranker(base, whole, tmp_path):
    """Under torchrun each process reads half of a list; validation tau is that of one process, within rounding."""
    make_rows(144)
    process = script(
        base, tmp_path / "out", tmp_path, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node=2"
    )
    out, err = process.communicate(timeout=120)
    assert process.returncode == 0, err
    *_, last = out.strip().splitlines()
    assert float(last.split()[1]) == pytest.approx(whole.validation_tau, abs=0.02)


def test_a_checkpoint_of_another_run_is_refused(base, tmp_path):
    """Other rows or options do not go on from it, nor does a damaged file; the remedy is named."""
    rows = make_rows(96)
    fit(base, rows[:64], rows[64:], OPTIONS, checkpoint_dir=tmp_path)
    with pytest.raises(ConfigError, match=r"other data, base or options.*--restart"):
        fit(base, rows[:80], rows[80:], OPTIONS, checkpoint_dir=tmp_path)
    with pytest.raises(ConfigError, match="other data, base or options"):
        fit(base, rows[:64], rows[64:], replace(OPTIONS, seed=2), checkpoint_dir=tmp_path)
    content = (tmp_path / checkpoint.FILE).read_bytes()
    (tmp_path / checkpoint.FILE).write_bytes(content[: len(content) // 2])
    with pytest.raises(ConfigError, match="damaged"):
        fit(base, rows[:64], rows[64:], OPTIONS, checkpoint_dir=tmp_path)


def test_divergence_is_an_error_and_not_a_ranker(base):
    """Weights that run off to infinity stop the run with a remedy."""
    rows = make_rows(64)
    with pytest.raises(ConfigError, match=r"diverged.*lower --lr"):
        fit(base, rows, [], replace(OPTIONS, recipe=replace(RECIPE, lr=1e30, head_lr=1e30)))


def test_rows_that_teach_nothing_are_refused(base):
    """Too few rows, one length, or only cut answers: each is an error before any training."""
    rows = make_rows(64)
    with pytest.raises(ConfigError, match="8 rows to train on, 32"):
        fit(base, rows[:8], [], OPTIONS)
    with pytest.raises(ConfigError, match="same length"):
        fit(base, [replace(r, tokens=7) for r in rows], [], OPTIONS)
    with pytest.raises(ConfigError, match="all 64 answers were cut off"):
        fit(base, [replace(r, complete=False) for r in rows], [], OPTIONS)


def test_steps_keep_groups_together_and_leave_no_row_out():
    """An epoch holds every row once; whole lists are of one group, and each epoch has as many steps."""
    groups = np.repeat([0, 1, 2], [70, 40, 3])
    epochs = [draw_steps(groups, 16, 0, e) for e in range(3)]
    for steps in epochs:
        assert sorted(np.concatenate(steps).tolist()) == list(range(113))
        assert sum(len(set(groups[s])) == 1 for s in steps) >= 4 + 2
    assert len({len(s) for s in epochs}) == 1
    assert [s.tolist() for s in epochs[0]] != [s.tolist() for s in epochs[1]]
    assert [s.tolist() for s in draw_steps(groups, 16, 0, 1)] == [s.tolist() for s in epochs[1]]


def test_samples_are_averaged_but_not_those_of_a_cut_row():
    """The target is the geometric mean of all lengths; a cut row's is its bound alone."""
    row = replace(make_rows(1)[0], tokens=10, samples=(1000,))
    assert target_tokens([row], "mean")[0] == pytest.approx(100)
    assert target_tokens([row], "first")[0] == 10
    assert target_tokens([row] * 50, "draw", seed=1).tolist().count(1000) in range(10, 41)
    assert target_tokens([replace(row, complete=False)], "mean")[0] == 10


def test_decoders_are_read_at_their_last_token(tmp_path):
    """An OPT-class directory is pooled by its last token: padding changes no score, and it learns (random weights)."""
    base = load_base(str(make_base(tmp_path, kind="opt")), CUT)
    assert base.pooling == "last"
    rows = make_rows(160)
    fitted = fit(base, rows[:128], rows[128:], replace(OPTIONS, recipe=replace(RECIPE, loss="pairwise")))
    assert fitted.validation_tau > 0.3
    ids = torch.tensor([[2, 4, 9, 3]])
    padded = torch.tensor([[2, 4, 9, 3, 0, 0]]), torch.tensor([[1, 1, 1, 1, 0, 0]])
    with torch.inference_mode():
        alone, with_padding = fitted.module(ids, torch.ones_like(ids)), fitted.module(*padded)
    assert alone.item() == pytest.approx(with_padding.item(), abs=1e-5)


def test_bases_that_cannot_be_used_are_named(tmp_path):
    """No such directory, no tokenizer, no weights, too few positions, a foreign vocabulary: each says what to do."""
    with pytest.raises(ConfigError, match="no such base"):
        load_base(str(tmp_path / "nowhere"))
    good = make_base(tmp_path / "good")
    with pytest.raises(ConfigError, match="has 64 positions"):
        load_base(str(good), Truncation(128, 64, 64))
    with pytest.raises(ConfigError, match="do not belong together"):
        load_base(str(make_base(tmp_path / "words", words=[f"x{i}" for i in range(99)])), CUT)
    (good / "model.safetensors").unlink()
    with pytest.raises(ConfigError, match="safetensors"):
        load_base(str(good), CUT)
    (good / "tokenizer.json").unlink()
    with pytest.raises(ConfigError, match="save_pretrained"):
        load_base(str(good), CUT)
