"""The verdict on a ranker: its figures against scipy and definitions, its ceiling, its curves, and what it refuses."""

import json

import numpy as np
import pytest
from scipy.stats import kendalltau
from support.hostile_rankers import foreign
from support.ranker_start import with_second_graph
from support.tiny_ranker import make_artifact

from rankd.errors import ArtifactError, ConfigError
from rankd.registry.artifact import load_artifact
from rankd.training.data.dataset import Row
from rankd.training.data.scripts import script_of
from rankd.training.evaluation.ceiling import ceiling_of
from rankd.training.evaluation.evaluate import evaluate
from rankd.training.evaluation.figures import figures_of, pooled_tau, scored, sums_of
from rankd.training.evaluation.graphs import in_words
from rankd.training.evaluation.json_report import as_json
from rankd.training.evaluation.offline_ranker import OfflineRanker


def prompts(count, seed=0):
    """Different prompts whose score, under the tiny ranker, is about the number of "long" less that of "short"."""
    rng = np.random.default_rng(seed)
    return [
        " ".join(["long"] * rng.integers(0, 6) + ["short"] * rng.integers(0, 4) + [f"w{i % 58}", f"w{i // 58 % 58}"])
        for i in range(count)
    ]


def rows_of(count, *, model="m", source="s", noise=0.6, scale=20, seed=0, **more):
    """Rows whose length follows the tiny ranker's score, with noise."""
    rng = np.random.default_rng(seed + 1)
    return [
        Row(
            p,
            int(max(1, scale * np.exp(0.4 * (p.count("long") - p.count("short")) + noise * rng.standard_normal()))),
            complete=True,
            source=source,
            model=model,
            **more,
        )
        for p in prompts(count, seed)
    ]


@pytest.fixture(scope="module")
def ranker(tmp_path_factory):
    """A tiny ranker's directory; its scores are whole numbers, so that sums in any order are exact and ties stay."""
    return make_artifact(tmp_path_factory.mktemp("ranker") / "tiny", scale=100.0)


def scores_of(rows):
    """The tiny ranker's scores, from its definition: see ``make_artifact``."""
    words = [r.prompt.split() for r in rows]
    return np.array([100.0 * (w.count("long") - w.count("short")) + len(w) + 2 for w in words])


def test_tau_is_scipys_and_the_gain_that_of_its_definition(ranker):
    """On rows of one source and model, ties in score and length included, tau-b equals scipy's and gain its sum."""
    rows = rows_of(400)
    verdict = evaluate(ranker, rows)
    score, length = scores_of(rows), np.array([r.tokens for r in rows])
    assert verdict.overall.tau.value == pytest.approx(kendalltau(score, length).statistic, abs=1e-9)
    sign, step = np.sign(score[:, None] - score[None]), length[:, None] - length[None]
    assert verdict.overall.realised_gain.value == pytest.approx((sign * step).sum() / np.abs(step).sum())
    head = length <= np.median(length)
    assert verdict.head_tau == pytest.approx(kendalltau(score[head], length[head]).statistic)
    assert verdict.tail_tau == pytest.approx(kendalltau(score[~head], length[~head]).statistic)
    assert verdict.pooled_tau == verdict.overall.tau.value
    assert verdict.overall.tau.low < verdict.overall.tau.value < verdict.overall.tau.high


def test_lengths_of_two_models_are_not_compared(ranker):
    """A model that answers everything ten times longer leaves tau where it is, and shows in the one-queue tau only."""
    alike = [*rows_of(150, model="a"), *rows_of(150, model="b", seed=7)]
    apart = [*rows_of(150, model="a"), *rows_of(150, model="b", seed=7, scale=2000)]
    one, other = evaluate(ranker, alike), evaluate(ranker, apart)
    assert other.overall.tau.value == pytest.approx(one.overall.tau.value, abs=0.01)
    assert other.pooled_tau < one.pooled_tau - 0.1
    assert [f.name for f in other.models] == ["a", "b"]
    for f, model in zip(other.models, ("a", "b"), strict=True):
        mine = [r for r in apart if r.model == model]
        expected = kendalltau(scores_of(mine), [r.tokens for r in mine]).statistic
        assert f.tau.value == pytest.approx(expected)


def test_a_cut_answer_counts_where_its_order_is_known(ranker):
    """With everyone cut at one limit the pairs that tell are those of the lengths up to it; that is said."""
    rows = rows_of(300)
    cap = int(np.median([r.tokens for r in rows]))
    cut = [Row(r.prompt, min(r.tokens, cap), r.tokens < cap, r.source, r.model) for r in rows]
    verdict = evaluate(ranker, cut)
    expected = kendalltau(scores_of(rows), [min(r.tokens, cap) for r in rows]).statistic
    assert verdict.overall.tau.value == pytest.approx(expected)
    assert verdict.overall.censored == sum(r.tokens >= cap for r in rows)
    assert "order is known" in as_json(verdict)["estimator"]
    some = [r if i % 2 else c for i, (r, c) in enumerate(zip(rows, cut, strict=True))]
    assert 0.5 < evaluate(ranker, some).decided_pair_share < 1


def test_the_interval_covers_the_truth():
    """Of 200 samples, drawn from a law whose tau is known, some 95 % have it within their interval."""
    truth, held = 2 / np.pi * np.arcsin(0.6), 0
    rng = np.random.default_rng(0)
    for _ in range(200):
        score = rng.standard_normal(150)
        length = np.exp(5 + 0.6 * score + 0.8 * rng.standard_normal(150)).astype(int) + 1
        rows = [Row(str(i), int(n), complete=True) for i, n in enumerate(length)]
        sample = scored(rows, score, None)
        tau = figures_of("all", sample, sums_of(sample)).tau
        held += tau.low <= truth <= tau.high
    assert 180 <= held <= 198


def test_many_small_sources_do_not_feign_certainty():
    """Where every source has two rows the interval is as wide as the number of sources allows, and never empty."""
    rng = np.random.default_rng(2)
    rows = [Row(str(i), int(n), complete=True, source=f"s{i // 2}") for i, n in enumerate(rng.integers(1, 500, 40))]
    sample = scored(rows, rng.standard_normal(40), None)
    tau = figures_of("all", sample, sums_of(sample)).tau
    assert tau.high - tau.low > 0.5


def test_equal_prompts_are_one_piece_of_evidence():
    """The same prompts answered by ten alike models make the interval hardly narrower than one model's answers do."""
    rng = np.random.default_rng(3)
    score = rng.standard_normal(120)
    length = np.exp(5 + score + rng.standard_normal(120))
    one = [Row(str(i), int(n) + 1, complete=True, model="m0") for i, n in enumerate(length)]
    many = [Row(r.prompt, r.tokens, complete=True, model=f"m{k}") for k in range(10) for r in one]
    widths = []
    for rows, scores in ((one, score), (many, np.tile(score, 10))):
        sample = scored(rows, scores, None)
        tau = figures_of("all", sample, sums_of(sample)).tau
        widths.append(tau.high - tau.low)
    assert widths[1] > 0.9 * widths[0]


def test_the_ceiling_is_the_mean_tau_between_samples(ranker):
    """Three samples of each prompt give the mean of scipy's three taus, and the ranker's share of it."""
    rng = np.random.default_rng(4)
    rows = [
        Row(r.prompt, r.tokens, True, r.source, r.model, tuple(int(v) for v in r.tokens * rng.uniform(0.5, 2, 2) + 1))
        for r in rows_of(200)
    ]
    columns = np.array([(r.tokens, *r.samples) for r in rows]).T
    taus = [kendalltau(columns[a], columns[b]).statistic for a, b in ((0, 1), (0, 2), (1, 2))]
    ceiling = evaluate(ranker, rows).overall.ceiling
    assert ceiling.tau == pytest.approx(np.mean(taus))
    assert ceiling.rows == 200
    own = kendalltau(scores_of(rows), columns[0]).statistic
    assert ceiling.tau_share == pytest.approx(own / np.mean(taus))


def test_an_answer_listed_twice_is_no_second_sample():
    """A log whose `samples` repeat the answer itself must not raise the ceiling to 1."""
    rng = np.random.default_rng(5)
    lengths = rng.integers(1, 900, (50, 2))
    rows = [Row(str(i), int(a), True, samples=(int(a), int(b))) for i, (a, b) in enumerate(lengths)]
    ceiling = ceiling_of(rows, rng.standard_normal(50), np.zeros(50, np.int64))
    assert ceiling.sample_pairs == 1
    assert ceiling.tau == pytest.approx(kendalltau(*lengths.T).statistic)
    alone = [Row(str(i), int(a), True, samples=(int(a),)) for i, (a, _) in enumerate(lengths)]
    assert ceiling_of(alone, rng.standard_normal(50), np.zeros(50, np.int64)) is None


def test_the_area_of_the_gain_curve_is_the_realised_gain(ranker):
    """What the page draws is the figure: the ranker's share of the area between chance and the perfect order."""
    verdict = evaluate(ranker, [*rows_of(300, model="a"), *rows_of(100, model="b", scale=200, seed=9)])
    curve = verdict.gain_curve
    # Both ends are 0, and the steps are equal: the trapezoids' area is in proportion to the sum.
    area = [float((curve.served - line).sum()) for line in (curve.ranker, curve.oracle)]
    assert area[0] / area[1] == pytest.approx(verdict.overall.realised_gain.value, abs=0.01)


def test_calibration_is_held_against_true_lengths(tmp_path):
    """Bins hold all rows once, their means are those of the rows, and shares below the quantiles are counted."""
    rows = rows_of(300)
    quality = evaluate(make_artifact(tmp_path / "calibrated"), rows).calibration
    assert sum(b.rows for b in quality.bins) == 300
    assert sum(b.rows * b.actual for b in quality.bins) == pytest.approx(sum(r.tokens for r in rows))
    assert [b.expected for b in quality.bins] == sorted(b.expected for b in quality.bins)
    below = np.mean([r.tokens <= 80 + 8 * s for r, s in zip(rows, scores_of(rows) / 100.0, strict=True)])
    assert quality.below_p50 == pytest.approx(below, abs=0.01)


def test_a_ranker_without_calibration_is_judged_all_the_same(tmp_path):
    """Calibration is optional in a manifest; without it there are no expected lengths, and everything else."""
    verdict = evaluate(make_artifact(tmp_path / "bare", calibration=False), rows_of(60))
    assert verdict.calibration is None
    assert as_json(verdict)["calibration"] is None
    assert verdict.overall.expected_tokens is None


def test_batches_do_not_change_scores_and_keep_their_order(ranker):
    """Sorting by length into the daemon's batches gives every prompt its own score, at its own place."""
    offline = OfflineRanker(load_artifact(ranker))
    texts = [*prompts(700), "long " * 300, "", "long"]
    done = []
    np.testing.assert_array_equal(offline.scores(texts, done.append), offline.alone(texts))
    assert done == [512, len(texts)]


def test_rows_without_a_finite_score_are_left_out_and_counted(tmp_path):
    """NaN from the model costs the row, not the verdict; where nothing is left that is the ranker's fault."""
    ranker = make_artifact(tmp_path / "nan", nan_word="w7")
    rows = rows_of(200)
    verdict = evaluate(ranker, rows)
    broken = sum("w7" in r.prompt.split() for r in rows)
    assert verdict.unscored == broken > 0
    assert verdict.overall.rows == 200 - broken
    with pytest.raises(ArtifactError) as caught:
        evaluate(ranker, [Row(f"w7 w{i}", i + 1, complete=True) for i in range(20)])
    assert caught.value.reason == "NAN_SCORES"


@pytest.mark.parametrize(
    ("rows", "says"),
    [
        ([Row("a", 3, complete=True)], "too few"),
        ([Row(str(i), 7, complete=True) for i in range(30)], "no two answers"),
        ([Row(str(i), i + 1, complete=True, source=f"s{i}") for i in range(30)], "no two answers"),
        ([Row(str(i), i + 1, complete=False) for i in range(30)], "cut off"),
    ],
)
def test_rows_without_an_order_are_refused(ranker, rows, says):
    """Too few rows, equal lengths, one row of each source, or nothing complete: each is named, none gives NaN."""
    with pytest.raises(ConfigError, match=says):
        evaluate(ranker, rows)


def test_the_verdict_is_plain_json_with_the_promised_keys(ranker):
    """Figures are numbers or null, never NaN, and no prompt is among them."""
    verdict = as_json(evaluate(ranker, rows_of(100)))
    text = json.dumps(verdict, allow_nan=False)
    assert {
        "kendall_tau",
        "kendall_tau_low",
        "kendall_tau_high",
        "realised_gain",
        "rows",
        "prompts_per_second",
    } <= set(verdict)
    assert "long" not in text


def test_every_graph_is_run_and_held_against_the_judged_one(tmp_path):
    """One that orders alike agrees; one that orders the other way round is seen; one that cannot be loaded is named."""
    plain = make_artifact(tmp_path / "plain")
    assert [(g.file, g.judged) for g in evaluate(plain, rows_of(60)).graphs] == [("model.onnx", True)]
    for scale, agreement, off in ((2.0, 1.0, 0.5), (-1.0, -1.0, 1.0)):
        other = make_artifact(tmp_path / f"other{scale}", scale=scale)
        ranker = with_second_graph(make_artifact(tmp_path / f"r{scale}"), other)
        evaluation = evaluate(ranker, rows_of(60))
        judged, second = evaluation.graphs
        assert (judged.file, judged.judged, second.file, second.judged) == (
            "model.onnx",
            True,
            "model.cuda.onnx",
            False,
        )
        assert second.agreement == pytest.approx(agreement)
        assert second.largest_difference > off
        assert ("NOT TWO GRAPHS OF ONE RANKER" in in_words(second)) is (agreement < 0)
        assert [g["judged"] for g in as_json(evaluation)["graphs"]] == [True, False]
    with_second_graph(plain, foreign(tmp_path / "foreign", domain="evil", operator="Run"))
    with pytest.raises(ArtifactError, match=r"model\.cuda\.onnx cannot be loaded"):
        evaluate(plain, rows_of(60))


@pytest.mark.parametrize(
    ("text", "script"),
    [
        ("Write a poem, please. 谢谢", "latin"),
        ("请写一首关于春天的诗 in English", "han"),
        ("桜についての短い詩を書いてください", "kana"),
        ("봄에 대한 시를 써 주세요", "hangul"),
        ("Напиши стихотворение про весну", "cyrillic"),
        ("اكتب قصيدة عن الربيع", "arabic"),
        ("वसंत पर एक कविता लिखो", "other"),
        ("2 + 2 = ?", "other"),
        ("", "other"),
    ],
)
def test_the_script_is_that_of_most_letters(text, script):
    """Signs and digits do not count, a few foreign words do not turn a prompt."""
    assert script_of(text) == script
    rows = [Row(f"{text} {i}", i + 1, complete=True) for i in range(3)]
    assert pooled_tau(scored(rows, np.arange(3.0), None)) == pytest.approx(1)
