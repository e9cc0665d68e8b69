"""Export: what is served is what was trained, in every precision, and the same bytes each time."""

import copy
import json
from dataclasses import replace

import numpy as np
import onnx
import pytest

torch = pytest.importorskip("torch", reason="needs rankd[train]")

from support.tiny_encoder import make_base, make_rows  # noqa: E402

from benchmarks.rankers.int8 import compare_recipes, recipes  # noqa: E402
from rankd.errors import ArtifactError, ConfigError  # noqa: E402
from rankd.registry.artifact import load_artifact  # noqa: E402
from rankd.scoring.onnx_model import OnnxModel, pad  # noqa: E402
from rankd.scoring.session import ModelSpec, SessionOptions  # noqa: E402
from rankd.scoring.tokeniser import Tokeniser, Truncation  # noqa: E402
from rankd.training.bases.base import Recipe  # noqa: E402
from rankd.training.bases.load import load_base  # noqa: E402
from rankd.training.bases.transformer import TransformerRanker  # noqa: E402
from rankd.training.data.lists import encode  # noqa: E402
from rankd.training.export.canonical_graph import to_bytes  # noqa: E402
from rankd.training.export.export import ExportPlan, export, transformer_graph  # noqa: E402
from rankd.training.export.int8_encoder import Int8Encoder  # noqa: E402
from rankd.training.export.int8_products import FloatProducts  # noqa: E402
from rankd.training.export.onnx_graph import fused_graph  # noqa: E402
from rankd.training.export.parity import batches, onnx_runner, scores_of, tau_lost, torch_runner  # noqa: E402
from rankd.training.export.read_encoder import read_encoder  # noqa: E402
from rankd.training.fit.fit import FitOptions, fit  # noqa: E402

CUT = Truncation(64, 32, 32)
ROWS = make_rows(400, cut_at=220)
RECIPE = Recipe(epochs=3, lr=3e-3, head_lr=1e-2, list_size=32, piece=8)
ABOUT = {"name": "made", "version": "1.2", "data": "generated", "licence": "Apache-2.0"}


@pytest.fixture(scope="module", params=["bert-listmle", "bert-lognormal", "opt-listmle"])
def fitted(request, tmp_path_factory):
    kind, loss = request.param.split("-")
    base = load_base(str(make_base(tmp_path_factory.mktemp("base"), kind=kind)), CUT)
    return fit(base, ROWS[:300], ROWS[300:], FitOptions(recipe=replace(RECIPE, loss=loss)))


def export_(fitted, out, precision="fp32", **more):
    return export(fitted, out, ExportPlan(**{"precision": precision, "calibration_rows": ROWS[300:]} | ABOUT | more))


@pytest.fixture(scope="module")
def exported(fitted, tmp_path_factory):
    """Directory and report by precision, each made once."""
    made = {}

    def get(precision):
        if precision not in made:
            out = tmp_path_factory.mktemp(precision)
            made[precision] = out, export_(fitted, out, precision)
        return made[precision]

    return get


@pytest.mark.parametrize("precision", ["fp32", "fp16", "int8"])
def test_the_daemon_serves_what_was_trained(fitted, exported, precision):
    """Loaded as the daemon does, an artifact scores prompts as PyTorch does, as near as its precision allows."""
    out, report = exported(precision)
    artifact = load_artifact(out)
    manifest = artifact.manifest
    model = OnnxModel(ModelSpec(str(artifact.model_path), manifest.inputs, manifest.output, 64), SessionOptions("cpu"))
    ids = Tokeniser(artifact.tokenizer_path, CUT).encode([r.prompt for r in ROWS[300:]])
    expected = scores_of(torch_runner(fitted.module), ids)
    actual = scores_of(model.run, ids)
    tolerance = {"fp32": 1e-5, "fp16": 0.01, "int8": 0.15}[precision] * expected.std()
    assert np.abs(actual - expected).max() == pytest.approx(report.largest_difference, abs=1e-5)
    assert report.largest_difference < tolerance
    assert manifest.precision == precision
    assert artifact.ranker_version == "made@1.2"
    assert "Apache-2.0" in (out / "README.md").read_text()


@pytest.mark.parametrize("precision", ["fp16", "int8"])
def test_the_same_ranker_makes_the_same_bytes(fitted, exported, precision, tmp_path):
    """Two exports are equal in every file, wherever they are written to."""
    first, second = exported(precision)[0], tmp_path / "another" / "second"
    export_(fitted, second, precision)
    names = sorted(p.name for p in first.iterdir())
    assert names == sorted(p.name for p in second.iterdir())
    assert all((first / n).read_bytes() == (second / n).read_bytes() for n in names)
    assert str(tmp_path).encode() not in (second / "model.onnx").read_bytes()


def test_a_score_in_int8_does_not_depend_on_its_neighbours(fitted, exported):
    """A prompt alone and in any batch gets one score, since ranges are fixed beforehand."""
    if fitted.base.pooling != "mean":
        pytest.skip("decoders are quantised by onnxruntime's own tool, by batch")
    run = onnx_runner((exported("int8")[0] / "model.onnx").read_bytes())
    ids = encode(ROWS[300:], fitted.base.tokeniser(), "first").ids
    alone, together = scores_of(run, ids, budget=1), scores_of(run, ids, budget=512)
    assert np.abs(alone - together).max() < 1e-5 * alone.std()


def test_scaling_channels_changes_nothing_but_rounding(fitted):
    """With float products, dividing channels and multiplying weights by the same gives the same scores."""
    if fitted.base.pooling != "mean":
        pytest.skip("only encoders are rewritten")
    graph = fused_graph(fitted.module).model
    encoder, ids = read_encoder(graph), encode(ROWS[300:340], fitted.base.tokeniser(), "first").ids
    random = np.random.default_rng(0)
    sizes = {"attention": 32, "context": 32, "up": 32, "down": 64}
    scales = {f"{i}.{p}": random.uniform(0.5, 4, n).astype(np.float32) for i in range(2) for p, n in sizes.items()}
    ports = list(graph.graph.input), list(graph.graph.output)
    plain, scaled = (
        scores_of(onnx_runner(to_bytes(Int8Encoder(encoder, FloatProducts(), s).model(*ports))), ids)
        for s in (None, scales)
    )
    assert scaled == pytest.approx(plain, abs=1e-4 * plain.std())
    assert plain == pytest.approx(scores_of(torch_runner(fitted.module), ids), abs=0.05 * plain.std())


def test_every_recipe_of_the_comparison_is_the_same_ranker(fitted):
    """Each model in the table of recipes orders prompts as the float32 one does, so that their speeds compare."""
    graph = fused_graph(fitted.module).model
    encoded = encode(ROWS[300:], fitted.base.tokeniser(), "first")
    if fitted.base.pooling != "mean":
        with pytest.raises(ConfigError, match="no fused BERT-like encoder"):
            recipes(graph, encoded.ids)
        return
    built = {name: to_bytes(make()) for name, make in recipes(graph, encoded.ids).items()}
    compared = compare_recipes(built, {"made": encoded}, encoded.ids, rounds=1)
    assert len(compared) == len(built) > 10
    assert all(j.off < 0.2 and abs(j.lost[0][0]) < 0.05 and j.rate > 0 for j in compared)


@pytest.mark.parametrize("precision", ["fp32", "fp16", "int8"])
def test_features_are_what_the_head_reads(fitted, exported, precision):
    """The second output is PyTorch's pooled states, as near as the precision allows, in batches of any shape."""
    artifact = load_artifact(exported(precision)[0])
    manifest = artifact.manifest
    spec = ModelSpec(
        str(artifact.model_path), manifest.inputs, manifest.output, 64, features_name=manifest.features_output
    )
    model = OnnxModel(spec, SessionOptions("cpu"))
    assert (manifest.features_output, model.features) == ("features", 32)
    for batch in ([[2, 4, 4, 9, 3], [2, 5, 3]], [[2, 3]], [[2, *range(4, 30), 3]] * 3):
        ids, mask = pad([np.array(row) for row in batch])
        with torch.inference_mode():
            expected = fitted.module.pooled(torch.from_numpy(ids), torch.from_numpy(mask)).numpy()
        scores, pooled = model.run_with_features(ids, mask)
        assert scores.tobytes() == model.run(ids, mask).tobytes()
        near = {"fp32": 1e-5, "fp16": 0.01, "int8": 0.15}[precision]
        assert pooled == pytest.approx(expected, abs=near * float(expected.std()))


def test_features_of_a_wide_model_are_the_first_of_what_its_head_reads(tmp_path):
    """No more than may travel with a prediction are given out; the score reads all."""
    import transformers

    torch.manual_seed(0)
    sizes = {"hidden_size": 400, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 8}
    body = transformers.BertModel(transformers.BertConfig(vocab_size=36, **sizes), add_pooling_layer=False)
    module = TransformerRanker(body, 400, "mean", spread=True).eval()
    encoded = encode(ROWS[300:340], load_base(str(make_base(tmp_path / "base")), CUT).tokeniser(), "first")
    ids, mask = pad([row.astype(np.int64) for row in encoded.ids[:5]])
    with torch.inference_mode():
        expected = module.pooled(torch.from_numpy(ids), torch.from_numpy(mask)).numpy()
    for precision, near in (("fp32", 1e-4), ("fp16", 0.02), ("int8", 0.2)):
        path = tmp_path / f"{precision}.onnx"
        path.write_bytes(to_bytes(transformer_graph(module, precision, encoded)[0]))
        model = OnnxModel(
            ModelSpec(str(path), ("input_ids", "attention_mask"), "score", 64, features_name="features"),
            SessionOptions("cpu"),
        )
        scores, pooled = model.run_with_features(ids, mask)
        assert pooled == pytest.approx(expected[:, :384], abs=near * float(expected.std()))
        assert scores == pytest.approx(torch_runner(module)(ids, mask), abs=near)


@pytest.mark.parametrize("precision", ["fp32", "fp16", "int8"])
def test_scores_and_features_are_all_that_is_served(exported, precision):
    """The file has these outputs whatever the loss: a spread that was learned is not written, nothing would read it."""
    graph = onnx.load(exported(precision)[0] / "model.onnx").graph
    assert [o.name for o in graph.output] == ["score", "features"]
    assert not any(node.op_type == "Exp" for node in graph.node)


@pytest.mark.parametrize("precision", ["fp32", "int8"])
def test_a_ranker_may_order_by_expected_lengths(fitted, tmp_path, precision):
    """Its score is then the logarithm of the expected length, median and spread being what they are otherwise."""
    if not fitted.has_spread:
        pytest.skip("its loss learns no spread")
    ids, mask = pad([np.array([2, 4, 4, 9, 3]), np.array([2, 5, 3])])
    median, spread = (out.numpy() for out in torch.inference_mode()(fitted.module)(*map(torch.from_numpy, (ids, mask))))
    assert spread.std() > 0
    by_expected = copy.deepcopy(fitted.module)
    by_expected.by_expected = True
    export_(replace(fitted, module=by_expected), tmp_path, precision)
    assert [o.name for o in onnx.load(tmp_path / "model.onnx").graph.output] == ["score", "features"]
    spec = ModelSpec(str(tmp_path / "model.onnx"), load_artifact(tmp_path).manifest.inputs, "score", 64)
    assert OnnxModel(spec, SessionOptions("cpu")).run(ids, mask) == pytest.approx(
        median + spread**2 / 2, rel=0.05 if precision == "int8" else 1e-4
    )


def test_operators_are_fused(fitted, exported):
    """An encoder's attention, norms and activations are single operators; a decoder's norms are."""
    report = exported("fp32")[1]
    if fitted.base.pooling == "mean":
        assert report.fused["Attention"] == 2
        assert report.fused["SkipLayerNormalization"] == 4
        assert report.fused["BiasGelu"] == 2
    else:
        assert report.fused["LayerNormalization"] == 5


def test_calibration_is_learned_on_what_is_served(exported):
    """The manifest's map rises with the score and lies within the lengths of the rows."""
    calibration = load_artifact(exported("int8")[0]).calibration()
    expected = [k.expected for k in calibration.knots]
    assert len(expected) > 5
    assert expected == sorted(expected)
    assert min(r.tokens for r in ROWS) <= expected[0] < expected[-1] <= max(r.tokens for r in ROWS)


def test_a_costly_precision_is_refused(fitted, tmp_path):
    """An export that loses more tau than allowed fails and leaves no manifest behind."""
    with pytest.raises(ArtifactError, match="tau on 100 rows") as caught:
        export_(fitted, tmp_path, "int8", most_tau_lost=-1.0)
    assert caught.value.reason == "TAU_LOST"
    assert not (tmp_path / "manifest.json").exists()


def test_nothing_to_calibrate_on_is_an_error(fitted, tmp_path):
    """Rows of which none is complete are refused by name, before anything is written."""
    cut = [replace(r, complete=False) for r in ROWS[300:]]
    with pytest.raises(ConfigError, match="calibration rows"):
        export_(fitted, tmp_path / "out", calibration_rows=cut)
    assert not (tmp_path / "out").exists()


def test_half_precision_that_overflows_is_refused(fitted, tmp_path):
    """Where float16 cannot hold what the model calculates, fp16 says so."""
    weight = fitted.module.body.get_input_embeddings().weight
    before = weight.detach().clone()
    try:
        with torch.no_grad():
            weight.mul_(1e7)
        with pytest.raises(ArtifactError, match="export fp32") as caught:
            export_(fitted, tmp_path, "fp16")
        assert caught.value.reason == "OVERFLOW"
    finally:
        with torch.no_grad():
            weight.copy_(before)


def test_batches_hold_every_row_once_within_their_budget():
    """Whatever the lengths, each row is scored once, and no batch but a single row is above the budget."""
    random = np.random.default_rng(0)
    ids = [np.ones(n, dtype=np.int32) for n in random.integers(1, 90, 200)]
    parts = batches(ids, 128)
    assert sorted(np.concatenate(parts)) == list(range(200))
    assert all(len(p) == 1 or len(p) * max(len(ids[i]) for i in p) <= 128 for p in parts)


def test_tau_lost_is_seen(fitted):
    """Scores that are noisier than PyTorch's lose tau, by more than the choice of rows explains; its own lose none."""
    encoded = encode(ROWS[300:], fitted.base.tokeniser(), "first")
    scores = scores_of(torch_runner(fitted.module), encoded.ids)
    noisy = scores + np.random.default_rng(0).normal(0, 2 * scores.std(), len(scores))
    assert tau_lost(scores, scores, encoded).tau == 0
    loss = tau_lost(scores, noisy, encoded)
    assert loss.tau > 3 * loss.deviation > 0


def test_the_manifest_says_what_it_is(fitted, tmp_path):
    """Data, licence, truncation and validation tau are those of the run."""
    export_(fitted, tmp_path, description="made for a test")
    fields = json.loads((tmp_path / "manifest.json").read_text())
    assert fields["data"] == [{"name": "generated", "licence": "Apache-2.0"}]
    assert fields["truncation"] == {"max_tokens": 64, "head_tokens": 32, "tail_tokens": 32}
    assert fields["measured_tau"] == pytest.approx(fitted.validation_tau, abs=1e-4)
    assert fields["description"] == "made for a test"
