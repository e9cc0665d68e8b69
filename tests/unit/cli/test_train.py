"""``rankd train`` as a user meets it: a ranker comes out, a killed run goes on, and bad input is named."""

import json
import os
import signal
import subprocess
import sys
from dataclasses import replace

import pytest

torch = pytest.importorskip("torch", reason="needs rankd[train]")

from support.tiny_encoder import WITH_ROOM, make_base, make_rows  # noqa: E402

from rankd.cli import main  # noqa: E402
from rankd.registry.artifact import load_artifact  # noqa: E402


@pytest.fixture(scope="module")
def base(tmp_path_factory):
    return make_base(tmp_path_factory.mktemp("base") / "tiny", positions=128)


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    path = tmp_path_factory.mktemp("data") / "log.jsonl"
    write(path, make_rows(240, cut_at=150))
    return path


def write(path, rows):
    lines = [
        {
            "prompt": r.prompt,
            "output_token_count": r.tokens,
            "finish_reason": "stop" if r.complete else "length",
            "model": r.model,
        }
        for r in rows
    ]
    path.write_text("".join(json.dumps(line) + "\n" for line in lines))


def flags(base, data, out, *more):
    fixed = ["--epochs", "2", "--lr", "3e-3", "--head-lr", "1e-2", "--list-size", "32", "--threads", "1"]
    return ["train", "--data", str(data), "--base", str(base), "--out", str(out), "--precision", "fp32", *fixed, *more]


def test_a_ranker_comes_out_and_what_to_do_next(base, data, tmp_path, capsys):
    """The daemon can load the directory, its card is there, the checkpoint is gone, and the next step is named."""
    out = tmp_path / "ranker"
    assert main(flags(base, data, out, "--most-tau-lost", "0.02")) == 0
    said = capsys.readouterr()
    assert f"rankd evaluate --ranker {out}" in said.out
    assert f"rankd promote {out}" in said.out
    assert "epoch 2: loss" in said.err
    assert "validation tau" in said.err
    artifact = load_artifact(out)
    assert artifact.manifest.truncation.max_tokens == 128
    assert "up" in str(artifact.manifest.data)
    card = (out / "README.md").read_text()
    assert "--loss joint --epochs 2" in card
    assert "--most-tau-lost 0.02 --precision fp32" in card
    assert not (out / ".checkpoint").exists()
    prompts = {row.prompt for row in make_rows(240, cut_at=150)}
    assert not any(p in said.out + said.err for p in prompts)
    # What it was made of is listed, the rows to validate by too.
    assert artifact.prompts.has(list(prompts)).all()
    assert artifact.manifest.trained_rows.complete
    assert sum(s.rows for s in artifact.manifest.trained_rows.sources) == 240


def test_a_ranker_for_an_older_daemon_lists_no_rows(base, data, tmp_path):
    """Nothing of its directory says then what it was made of."""
    assert main(flags(base, data, tmp_path / "ranker", "--most-tau-lost", "0.02", "--no-list-rows")) == 0
    artifact = load_artifact(tmp_path / "ranker")
    assert (artifact.manifest.trained_rows, artifact.prompts) == (None, None)
    assert "--no-list-rows" in (tmp_path / "ranker" / "README.md").read_text()


def killed_and_resumed(base, data, place, capsys):
    """Train whole, and killed and started again; both directories, and the state that the killed run left."""
    whole, killed = place / "whole", place / "killed"
    assert main(flags(base, data, whole)) == 0
    command = [sys.executable, "-m", "rankd", *flags(base, data, killed, "--checkpoint-seconds", "0.000001")]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True, env=environment())
    for line in process.stderr:
        if line.startswith("epoch 1:"):
            process.send_signal(signal.SIGKILL)
            break
    assert process.wait() == -signal.SIGKILL
    process.stderr.close()
    state = torch.load(killed / ".checkpoint" / "state.pt", weights_only=True)["state"]
    capsys.readouterr()
    assert main(flags(base, data, killed)) == 0
    assert "going on from step" in capsys.readouterr().err
    return whole, killed, state


def assert_same_files(one, other):
    for name in ("model.onnx", "tokenizer.json", "manifest.json", "trained_rows.bin", "README.md"):
        assert (one / name).read_bytes() == (other / name).read_bytes()


def test_killed_and_started_again_it_writes_the_same_files(base, data, tmp_path, capsys):
    """After SIGKILL within training the same command goes on, and every file equals that of an uninterrupted run."""
    whole, killed, _ = killed_and_resumed(base, data, tmp_path, capsys)
    assert_same_files(whole, killed)


def test_killed_while_it_learns_characters_it_writes_the_same_files(tmp_path, capsys):
    """So it is where the vocabulary grows: what was learned of Chinese characters is in the checkpoint.

    Two of them start at their gloss, one at random.
    """
    base, data = make_base(tmp_path / "base", positions=128, words=WITH_ROOM), tmp_path / "log.jsonl"
    rows = [
        replace(r, prompt=r.prompt.replace("long", "\u957f").replace("short", "\u77ed"))
        for r in make_rows(240, cut_at=150)
    ]
    rows[::4] = [replace(r, prompt=f"{r.prompt} \u9f98") for r in rows[::4]]
    write(data, rows)
    whole, killed, state = killed_and_resumed(base, data, tmp_path, capsys)
    (learned,) = (weights for name, weights in state["learned"].items() if name.endswith(".added"))
    assert learned.any(dim=1).sum() == 3
    assert set("\u957f\u77ed\u9f98") <= set(json.loads((killed / "tokenizer.json").read_text())["model"]["vocab"])
    assert_same_files(whole, killed)


def environment():
    return {k: v for k, v in os.environ.items() if not k.startswith("RANKD_")}


def test_without_the_extra_the_remedy_is_named(tmp_path):
    """Where torch is not installed the command says which extra to install, with no traceback."""
    code = "import sys; sys.modules['torch'] = None; from rankd.cli import main; sys.exit(main(sys.argv[1:]))"
    done = subprocess.run(
        [sys.executable, "-c", code, "train", "--data", "x", "--out", str(tmp_path / "out")],
        capture_output=True,
        text=True,
        check=False,
        env=environment(),
    )
    assert done.returncode == 2
    assert done.stderr == "rankd: rankd train needs the extra: pip install 'rankd[train]'\n"


def refused(capsys, *arguments):
    assert main([str(a) for a in arguments]) == 2
    said = capsys.readouterr()
    assert "Traceback" not in said.err
    return said.err.strip().splitlines()[-1]


def test_data_that_cannot_be_learned_from_is_refused(base, tmp_path, capsys):
    """An empty file, a missing one, too few rows and a file of one length: the message says what is wrong."""
    out = tmp_path / "out"
    (tmp_path / "empty.jsonl").write_text("")
    assert "empty.jsonl" in refused(capsys, *flags(base, tmp_path / "empty.jsonl", out))
    assert "none.jsonl" in refused(capsys, *flags(base, tmp_path / "none.jsonl", out))
    few = tmp_path / "few.jsonl"
    write(few, make_rows(12))
    assert "rows to train on, 32 are needed" in refused(capsys, *flags(base, few, out))
    same = tmp_path / "same.jsonl"
    same.write_text("".join(json.dumps({"prompt": f"w{i}", "output_token_count": 9}) + "\n" for i in range(99)))
    assert "have the same length, 9 tokens" in refused(capsys, *flags(base, same, out))


def test_an_out_that_holds_something_is_left_alone(base, data, tmp_path, capsys):
    """A finished ranker, foreign files, another run's checkpoint and a path that is a file are not written over."""
    other = tmp_path / "other"
    other.mkdir()
    (other / "thesis.tex").write_text("x")
    assert "holds other files" in refused(capsys, *flags(base, data, other))
    finished = tmp_path / "finished"
    finished.mkdir()
    (finished / "manifest.json").write_text("{}")
    assert "holds a finished ranker" in refused(capsys, *flags(base, data, finished))
    run = tmp_path / "run" / ".checkpoint"
    run.mkdir(parents=True)
    (run / "state.pt").write_bytes(b"nothing of ours")
    assert "--restart" in refused(capsys, *flags(base, data, run.parent))
    assert "cannot be written" in refused(capsys, *flags(base, data, data / "below-a-file"))
    assert (other / "thesis.tex").read_text() == "x"


@pytest.mark.parametrize(
    ("flag", "value"),
    [
        ("--epochs", "0"),
        ("--lr", "-1"),
        ("--valid-share", "0.9"),
        ("--cap", "x"),
        ("--list-size", "1"),
        ("--rows", "z"),
    ],
)
def test_a_wrong_flag_is_named(base, data, tmp_path, capsys, flag, value):
    """A value out of range ends with status 2 and the flag's name, before anything is read."""
    with pytest.raises(SystemExit) as stop:
        main(flags(base, data, tmp_path / "out", flag, value))
    assert stop.value.code == 2
    assert flag in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


def test_a_margin_for_a_loss_that_has_none_is_refused(base, data, tmp_path, capsys):
    """It would be ignored; with the loss that has one it is taken."""
    assert "--margin is of the pairwise loss" in refused(capsys, *flags(base, data, tmp_path, "--margin", "1"))
    assert main(flags(base, data, tmp_path / "out", "--margin", "1", "--loss", "pairwise")) == 0


def test_ranking_by_expected_lengths_needs_a_spread(base, data, tmp_path, capsys):
    """A loss without a spread knows no expected length; with one the card's command says what was chosen."""
    ranks = flags(base, data, tmp_path, "--ranks", "expected", "--loss", "pairwise")
    assert "--ranks needs a loss that learns a spread" in refused(capsys, *ranks)
    assert main(flags(base, data, tmp_path / "out", "--loss", "joint", "--ranks", "expected")) == 0
    assert "--ranks expected" in (tmp_path / "out" / "README.md").read_text()


def test_a_base_or_tail_that_cannot_be_is_named(base, data, tmp_path, capsys):
    """An unknown base, and a tail that leaves no head."""
    out = tmp_path / "out"
    assert "--base nowhere: no such base" in refused(capsys, *flags("nowhere", data, out))
    assert "--tail-tokens 128" in refused(capsys, *flags(base, data, out, "--tail-tokens", "128"))
