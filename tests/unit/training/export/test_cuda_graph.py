"""The graph for CUDA that an encoder gets beside its int8 one: the same ranker, whatever stands beside a prompt."""

import sys
from collections import Counter

import numpy as np
import onnx
import pytest

torch = pytest.importorskip("torch", reason="needs rankd[train]")

from support.ranker_start import fields_of  # noqa: E402
from support.tiny_encoder import make_base, make_rows  # noqa: E402

from benchmarks.rankers import cuda  # noqa: E402
from benchmarks.rankers.int8_weights import read_int8_encoder  # noqa: E402
from rankd.errors import ConfigError  # noqa: E402
from rankd.registry.artifact import load_artifact  # noqa: E402
from rankd.registry.artifact_files import CUDA_MODEL, MANIFEST, MODEL  # noqa: E402
from rankd.registry.bundled import ranker_path  # noqa: E402
from rankd.scoring.onnx_model import OnnxModel, pad  # noqa: E402
from rankd.scoring.session import ModelSpec, SessionOptions  # noqa: E402
from rankd.scoring.tokeniser import Tokeniser, Truncation  # noqa: E402
from rankd.training.bases.base import Recipe  # noqa: E402
from rankd.training.bases.load import load_base  # noqa: E402
from rankd.training.data.lists import encode  # noqa: E402
from rankd.training.evaluation.offline_ranker import OfflineRanker  # noqa: E402
from rankd.training.export.canonical_graph import canonical, to_bytes  # noqa: E402
from rankd.training.export.cuda_encoder import CudaEncoder  # noqa: E402
from rankd.training.export.cuda_kernels import nodes_without_kernel  # noqa: E402
from rankd.training.export.export import ExportPlan, export  # noqa: E402
from rankd.training.export.int8_encoder import Int8Encoder  # noqa: E402
from rankd.training.export.int8_products import BatchGridProducts, TokenGridProducts  # noqa: E402
from rankd.training.export.onnx_graph import fused_graph  # noqa: E402
from rankd.training.export.parity import onnx_runner, scores_of, torch_runner  # noqa: E402
from rankd.training.export.read_encoder import read_encoder  # noqa: E402
from rankd.training.fit.fit import FitOptions, fit  # noqa: E402

ROWS = make_rows(400, cut_at=220)
RECIPE = Recipe(epochs=3, lr=3e-3, head_lr=1e-2, list_size=32, piece=8)
ABOUT = {"name": "made", "version": "1.2", "data": "generated", "licence": "Apache-2.0"}


def fitted_on(kind, place, layers=2):
    base = load_base(str(make_base(place / f"{kind}{layers}", kind=kind, layers=layers)), Truncation(64, 32, 32))
    return fit(base, ROWS[:300], ROWS[300:], FitOptions(recipe=RECIPE))


def exported(fitted, out, precision="int8", **more):
    return export(fitted, out, ExportPlan(precision=precision, calibration_rows=ROWS[300:], **ABOUT, **more))


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    return tmp_path_factory.mktemp("cuda")


@pytest.fixture(scope="module")
def fitted(place):
    return fitted_on("bert", place)


@pytest.fixture(scope="module")
def made(fitted, place):
    """Directory and report of an export with both graphs."""
    return place / "made", exported(fitted, place / "made")


@pytest.fixture(scope="module")
def ids(fitted):
    return encode(ROWS[300:], fitted.base.tokeniser(), "first").ids


def test_it_scores_as_pytorch_does(fitted, made, ids):
    """As a CPU calculates it; features are what the head reads, and manifest, card and report say of it."""
    out, report = made
    assert fields_of(out)["cuda"] == {"precision": "fp16"}
    run = onnx_runner((out / CUDA_MODEL).read_bytes())
    expected, actual = scores_of(torch_runner(fitted.module), ids), scores_of(run, ids)
    assert np.abs(actual - expected).max() < 0.03 * expected.std()
    assert report.cuda.largest_difference == pytest.approx(np.abs(actual - expected).max(), abs=1e-5)
    assert report.cuda.bytes == (out / CUDA_MODEL).stat().st_size
    assert report.no_cuda == ""
    spec = ModelSpec(str(out / CUDA_MODEL), ("input_ids", "attention_mask"), "score", 64, features_name="features")
    scores, pooled = OnnxModel(spec, SessionOptions("cpu")).run_with_features(*pad([i.astype(np.int64) for i in ids]))
    assert (scores.dtype, pooled.dtype, pooled.shape) == (np.float64, np.float32, (len(ids), 32))
    card = (out / "README.md").read_text()
    assert "`model.cuda.onnx`, the same ranker in 16-bit floats" in card
    assert "The graph for CUDA costs" in card


@pytest.fixture(
    scope="module", params=[("bert", 2), ("bert", 4), ("relu", 2), ("relu", 3)], ids=lambda p: "".join(map(str, p))
)
def of_a_kind(request, place, fitted):
    """A ranker, its activation and its layers."""
    kind, layers = request.param
    return (fitted if (kind, layers) == ("bert", 2) else fitted_on(kind, place, layers)), kind, layers


def test_the_same_nodes_in_float32_are_the_module(of_a_kind, ids):
    """Without rounding nothing is left of the difference: the nodes are right, and only precision costs."""
    module = of_a_kind[0].module
    graph = fused_graph(module).model
    model = CudaEncoder(read_encoder(graph), np.float32).model(list(graph.graph.input), list(graph.graph.output))
    expected = scores_of(torch_runner(module), ids)
    assert scores_of(onnx_runner(to_bytes(model)), ids) == pytest.approx(expected, abs=1e-5 * expected.std())


def test_encoders_of_other_depths_and_activations_have_one_too(of_a_kind, tmp_path, ids):
    """With the same nodes in each layer, a kernel for each, and scores as near."""
    fitted, kind, layers = of_a_kind
    report = exported(fitted, tmp_path)
    model = onnx.load(tmp_path / CUDA_MODEL)
    kinds = Counter(node.op_type for node in model.graph.node)
    assert (kinds["Attention"], kinds["SkipLayerNormalization"]) == (layers, 2 * layers + 1)
    assert (kinds["BiasGelu"], kinds["Relu"]) == ((layers, 0) if kind == "bert" else (0, layers))
    assert nodes_without_kernel(model) == []
    expected, actual = scores_of(torch_runner(fitted.module), ids), scores_of(onnx_runner(to_bytes(model)), ids)
    assert np.abs(actual - expected).max() < 0.03 * expected.std()
    assert report.cuda.tau_lost < 0.001 + 2 * report.cuda.tau_lost_deviation


def test_padding_changes_no_score(made, ids):
    """Columns behind a prompt, whatever ids stand there, and other rows, longer ones and empty ones."""
    run = onnx_runner((made[0] / CUDA_MODEL).read_bytes())
    rows = [i.astype(np.int64) for i in ids[:20]]
    alone = np.array([run(*pad([row]))[0] for row in rows])
    together, mask = pad(rows, 32)
    near = 1e-3 * alone.std()
    assert run(together, mask) == pytest.approx(alone, abs=near)
    assert run(np.where(mask == 1, together, 7), mask) == pytest.approx(alone, abs=near)
    more = np.concatenate([together, together[:3]]), np.concatenate([mask, np.zeros_like(mask[:3])])
    found = run(*more)
    assert found[:20] == pytest.approx(alone, abs=near)


def test_fused_operators_in_half_precision(made):
    """An attention, two norms and an activation a layer; only what pools and scores is in float32."""
    graph = onnx.load(made[0] / CUDA_MODEL).graph
    kinds = [node.op_type for node in graph.node]
    counts = {k: kinds.count(k) for k in ("Attention", "SkipLayerNormalization", "BiasGelu", "MatMul", "Softmax")}
    assert counts == {"Attention": 2, "SkipLayerNormalization": 5, "BiasGelu": 2, "MatMul": 6, "Softmax": 0}
    large = {onnx.TensorProto.DataType.Name(w.data_type) for w in graph.initializer if np.prod(w.dims) > 200}
    assert large == {"FLOAT16", "INT8"}
    assert [i.name for i in graph.input] == ["input_ids", "attention_mask"]
    assert [o.name for o in graph.output] == ["score", "features"]


def test_a_decoder_has_one_graph(place):
    """Its report says why; a manifest of one graph is as it always was."""
    report = exported(fitted_on("opt", place), place / "opt-out")
    assert report.cuda is None
    assert "BERT" in report.no_cuda
    assert "cuda" not in fields_of(place / "opt-out")
    assert len(load_artifact(place / "opt-out").graphs()) == 1


@pytest.mark.parametrize(("precision", "more"), [("int8", {"cuda": False}), ("fp32", {}), ("fp16", {})])
def test_no_second_graph_where_none_is_wanted(fitted, made, tmp_path, precision, more):
    """One that an earlier export left there is gone too, or it could not be loaded."""
    (tmp_path / CUDA_MODEL).write_bytes((made[0] / CUDA_MODEL).read_bytes())
    report = exported(fitted, tmp_path, precision, **more)
    assert (report.cuda, report.no_cuda) == (None, "")
    assert len(load_artifact(tmp_path).graphs()) == 1


def test_half_precision_that_overflows_leaves_the_int8_graph(fitted, tmp_path):
    """A CPU's ranker is not lost over what CUDA cannot hold; the report says what is missing and why."""
    weight = fitted.module.body.get_input_embeddings().weight
    before = weight.detach().clone()
    try:
        with torch.no_grad():
            weight.mul_(1e7)
        report = exported(fitted, tmp_path, most_tau_lost=1.0)
        assert report.cuda is None
        assert "overflow" in report.no_cuda
        assert not (tmp_path / CUDA_MODEL).exists()
    finally:
        with torch.no_grad():
            weight.copy_(before)


@pytest.fixture(scope="module")
def in_float32(fitted, place):
    exported(fitted, place / "float32", "fp32")
    return place / "float32"


def added(monkeypatch, ranker, *flags):
    monkeypatch.setattr(sys, "argv", ["cuda", "--artifact", str(ranker), *map(str, flags)])
    return cuda.main()


def test_it_is_added_to_a_ranker_that_was_exported_without(fitted, made, in_float32, tmp_path, monkeypatch):
    """Graph and manifest are the exporter's, byte for byte; the card lacks only what was not measured."""
    exported(fitted, tmp_path, cuda=False)
    assert added(monkeypatch, tmp_path, "--float32", in_float32) == 0
    for name in (MODEL, CUDA_MODEL, MANIFEST):
        assert (tmp_path / name).read_bytes() == (made[0] / name).read_bytes()
    card, whole = ((d / "README.md").read_text().splitlines() for d in (tmp_path, made[0]))
    assert set(card) <= set(whole)
    (missing,) = set(whole) - set(card)
    assert missing.startswith("The graph for CUDA costs")
    assert added(monkeypatch, tmp_path, "--float32", in_float32) == 0
    assert (tmp_path / "README.md").read_text().splitlines() == card


def test_it_is_made_of_the_int8_weights_where_there_are_no_others(of_a_kind, tmp_path, monkeypatch, ids):
    """It orders as the int8 graph does, in floats."""
    exported(of_a_kind[0], tmp_path, cuda=False)
    assert added(monkeypatch, tmp_path) == 0
    cpu, cuda_ = (scores_of(onnx_runner(g.content.read()), ids) for g in load_artifact(tmp_path).graphs())
    assert np.abs(cpu - cuda_).max() < 0.15 * cpu.std()
    assert np.corrcoef(cpu, cuda_)[0, 1] > 0.995


def test_weights_that_are_read_of_int8_are_those_that_were_rounded(of_a_kind, tmp_path):
    """Within half a step of an eight-bit grid, wherever they may be compared; norms are exact."""
    exported(of_a_kind[0], tmp_path, cuda=False)
    found, float32 = (
        read_int8_encoder(onnx.load(tmp_path / MODEL)),
        read_encoder(fused_graph(of_a_kind[0].module).model),
    )
    assert (found.heads, found.width, len(found.layers)) == (float32.heads, float32.width, len(float32.layers))
    assert found.epsilon == pytest.approx(float32.epsilon)
    assert np.array_equal(found.positions, float32.positions)
    assert found.start.weight == pytest.approx(float32.start.weight, rel=1e-5)
    pairs = [(found.words, float32.words)]
    for mine, theirs in zip(found.layers, float32.layers, strict=True):
        assert mine.relu == theirs.relu
        for norm in ("middle", "end"):
            assert getattr(mine, norm).weight == pytest.approx(getattr(theirs, norm).weight, rel=1e-5)
        keys = slice(0, 2 * found.width)  # a value's scale is behind the sum
        pairs += [(mine.qkv[:, keys], theirs.qkv[:, keys]), (mine.up @ mine.down, theirs.up @ theirs.down)]
    for mine, theirs in pairs:
        assert np.abs(mine - theirs).max() < 0.02 * np.abs(theirs).max()


def test_the_bundled_int8_graph_is_read_too():
    """It is of the form that the exporter wrote before."""
    path = ranker_path("minilm-l6")
    model = onnx.load(path / MODEL)
    encoder = read_int8_encoder(model)
    assert (len(encoder.layers), encoder.heads, encoder.width, encoder.layers[0].relu) == (6, 12, 384, False)
    written = CudaEncoder(encoder, np.float32).model(list(model.graph.input), list(model.graph.output))
    artifact = load_artifact(path)
    tokeniser = Tokeniser(artifact.tokenizer_path, Truncation(128, 64, 64))
    rows = tokeniser.encode(
        [f"Write {n} lines on {what}." for n in range(1, 9) for what in ("sea", "Go", "an API", "x")]
    )
    first, second = (scores_of(onnx_runner(c), rows) for c in (artifact.graph("cpu").content.read(), to_bytes(written)))
    assert np.corrcoef(first, second)[0, 1] > 0.98


@pytest.mark.parametrize("products", [BatchGridProducts(), TokenGridProducts()])
def test_int8_on_a_grid_of_another_kind_is_refused(fitted, products):
    """Its scales are looked for at run time, and are in no weight."""
    graph = fused_graph(fitted.module).model
    written = Int8Encoder(read_encoder(graph), products).model(list(graph.graph.input), list(graph.graph.output))
    assert read_int8_encoder(canonical(written)) is None


def test_another_ranker_is_refused(made, in_float32, tmp_path, monkeypatch):
    """One that is not in float32, or of another tokenizer; a graph of another kind."""
    with pytest.raises(ConfigError, match="precision fp32"):
        added(monkeypatch, in_float32, "--float32", made[0])
    with pytest.raises(ConfigError, match="BERT-like"):
        added(monkeypatch, in_float32)
    with pytest.raises(ConfigError, match="--float32"):
        added(monkeypatch, made[0], "--data", tmp_path)


def test_rounding_every_result_stays_near(fitted, ids):
    """What the measurement calculates with: half precision after each node, as far as a CPU can."""
    graph = fused_graph(fitted.module).model
    expected = scores_of(torch_runner(fitted.module), ids)
    found = scores_of(onnx_runner(to_bytes(cuda.rounded(read_encoder(graph), graph))), ids)
    assert 0 < np.abs(found - expected).max() < 0.05 * expected.std()


def test_the_bundled_encoder_has_both():
    """On a CPU both order prompts alike; the n-gram tier has one graph, which a CPU runs in microseconds."""
    artifact = load_artifact(ranker_path("minilm-l6"))
    assert [g.precision for g in artifact.graphs()] == ["int8", "fp16"]
    assert len(load_artifact(ranker_path("ngram")).graphs()) == 1
    prompts = [r.prompt for r in ROWS[:60]] + [f"Write an essay of {n} words on the sea." for n in range(60)]
    first, second = (OfflineRanker(artifact, graph=p).scores(prompts) for p in ("cpu", "cuda"))
    assert np.corrcoef(first, second)[0, 1] > 0.98
