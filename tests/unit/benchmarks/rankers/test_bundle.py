"""`make rankers` on small made data: trained on what may be shipped, judged on the rest, described by itself."""

import gzip
import json
import random
import sys
from dataclasses import replace

import pytest

torch = pytest.importorskip("torch", reason="needs rankd[train]")

from benchmarks.rankers import bundle  # noqa: E402
from benchmarks.rankers import transfer as cross  # noqa: E402
from benchmarks.rankers.distil import Round, StudentRecipe  # noqa: E402
from benchmarks.rankers.sources import BENCHMARK_ONLY, SHIPPABLE  # noqa: E402
from rankd.registry.artifact import load_artifact  # noqa: E402
from rankd.registry.artifact_files import MANIFEST  # noqa: E402

LONG, SHORT = ("essay", "story", "explain", "detailed"), ("word", "number", "yes", "short")
PROMPTS = 60


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    """Every source with some prompts, whose length hangs on a few words."""
    place, random_ = tmp_path_factory.mktemp("data"), random.Random(0)
    (place / "wide").mkdir()
    for source in (*SHIPPABLE, *BENCHMARK_ONLY):
        rows = []
        for i in range(PROMPTS):
            words = random_.choices([*LONG, *SHORT], k=8)
            tokens = 40 + 25 * sum(w in LONG for w in words) + random_.randint(0, 9)
            rows.append((f"{' '.join(words)} {source.name} {i}", tokens))
        path = place / source.files[0]
        with gzip.open(path, "wt") as file:
            if path.parent.name == "wide":
                file.write(json.dumps({"models": ["a", "b"]}) + "\n")
                lines = [{"prompt": p, "output_tokens": [t, 2 * t], "source": source.name} for p, t in rows]
            else:
                lines = [{"prompt": p, "output_tokens": t, "model": "a", "source": source.name} for p, t in rows]
            file.writelines(json.dumps(line) + "\n" for line in lines)
    return place


@pytest.fixture(scope="module")
def made(data, tmp_path_factory):
    """The n-gram ranker as the command makes it."""
    out = tmp_path_factory.mktemp("rankers")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sys, "argv", ["bundle", "--data", str(data), "--out", str(out), "--only", "ngram"])
        assert bundle.main() == 0
    return out / "ngram"


def test_the_bundled_ranker_is_measured_on_what_it_never_saw(made):
    """Every source is in its manifest, told apart by whether it was trained on; the card agrees and gives languages."""
    manifest = load_artifact(made).manifest
    measured = {m.dataset: m for m in manifest.measurements}
    assert {n for n, m in measured.items() if m.trained_on} == {s.name for s in SHIPPABLE}
    assert {n for n, m in measured.items() if not m.trained_on} == {s.name for s in BENCHMARK_ONLY}
    assert min(m.kendall_tau for m in measured.values()) > 0.4
    assert manifest.precision == "int8"
    assert {d.name for d in manifest.data} == {s.name for s in SHIPPABLE}
    card = (made / "README.md").read_text()
    assert f"{manifest.measured_tau:.3f}" in card
    assert "Measured on prompts in Chinese, English, Korean." in card
    assert "python -m benchmarks.rankers.bundle --data" in card


def test_the_same_data_make_the_same_ranker(made, data, tmp_path, monkeypatch):
    """A second run writes the same bytes."""
    monkeypatch.setattr(sys, "argv", ["bundle", "--data", str(data), "--out", str(tmp_path), "--only", "ngram"])
    assert bundle.main() == 0
    for name in ("model.onnx", "tokenizer.json", MANIFEST):
        assert (tmp_path / "ngram" / name).read_bytes() == (made / name).read_bytes()


def test_a_student_is_a_ranker_like_the_others(data, tmp_path, monkeypatch):
    """Made only by name, of the bundled encoder: calibrated, measured, with features, its card names the teacher."""
    recipe = StudentRecipe(layers=(0, 5), inner=256, rounds=(Round(own=30, made=60, epochs=1),))
    monkeypatch.setattr(bundle, "STUDENT", replace(bundle.STUDENT, student=recipe))
    argv = ["bundle", "--data", str(data), "--out", str(tmp_path), "--only", "minilm-l3"]
    monkeypatch.setattr(sys, "argv", argv)
    assert bundle.main() == 0
    manifest = load_artifact(tmp_path / "minilm-l3").manifest
    assert (manifest.name, manifest.precision, manifest.features_output) == ("minilm-l3", "int8", "features")
    assert manifest.calibration is not None
    assert manifest.measured_tau is not None
    assert {m.dataset for m in manifest.measurements if m.trained_on} == {s.name for s in SHIPPABLE}
    assert "trained from minilm by what minilm-l6 says of texts." in (tmp_path / "minilm-l3" / "README.md").read_text()


def test_the_cross_study_compares_on_the_same_rows(made, data, monkeypatch, capsys):
    """A row per source that only judges, a column per ranker and the baseline, figures those of the manifest."""
    monkeypatch.setattr(sys, "argv", ["cross", "--data", str(data), "--ranker", str(made)])
    assert cross.main() == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].endswith("| ngram | TF-IDF + ridge |")
    measured = {m.dataset: m.kendall_tau for m in load_artifact(made).manifest.measurements}
    for source, line in zip(BENCHMARK_ONLY, lines[2:], strict=False):
        assert line.startswith(f"| {source.name} |")
        tau = float(line.split("|")[4].split()[0])
        assert tau == pytest.approx(measured[source.name], abs=0.001)
    assert lines[-1].startswith("| **median** |")


def test_groups_are_left_out_in_turn(data, monkeypatch, capsys):
    """Trained without a group, judged on its sources alone; on words that say the length it does well unseen."""
    argv = ["cross", "--data", str(data), "--leave-out", "reasoning", "--only", "ngram", "--threads", "1"]
    monkeypatch.setattr(sys, "argv", argv)
    assert cross.main() == 0
    lines = [line for line in capsys.readouterr().out.splitlines() if line]
    assert lines[0] == "Left out: reasoning"
    assert [line.split(" | ")[0] for line in lines[3:5]] == ["| mmlu_pro_cot", "| skythought_math"]
    assert float(lines[-1].split("**")[3]) > 0.4
